#!/usr/bin/env bash
# Is ci/Containerfile well formed, not root, and of files that are there? Faults planted in copies must be found. Built it
# is only where asked for, by a builder and from a base image that are there: minutes, and 2 GB with --target gpu.
# Exit code 77 (skipped) where there is no hadolint.
#
#   tests/ci/container.sh [FOLDER]                FOLDER/hadolint: see ci/setup.sh (default: build)
#   tests/ci/container.sh --build BASE TARGET     buildah; BASE: Debian 12; TARGET: host or gpu
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
file=$root/ci/Containerfile

if [ "${1:-}" = --build ]; then
  image=gemmark-test-$3
  buildah bud --isolation chroot -f "$file" --target "$3" --build-arg "DEBIAN=$2" -t "$image" "$root"
  container=$(buildah from "$image")
  trap 'buildah rm "$container" >/dev/null' EXIT
  # shellcheck disable=SC2016 # the container's shell
  buildah run --isolation chroot "$container" -- sh -euc '
    [ "$(id -u)" != 0 ]
    gemmark model make --arch gemma3-tiny -o t.gguf
    gemmark bench -m t.gguf -p 4 -n 8 -r 3 -t 1 --out run >/dev/null
    gemmark plot run >/dev/null
    gemmark report run -o report.html
    grep -q "\"commit\": \"[0-9a-f]*\"" run/env.json'
  [ "$3" != gpu ] || buildah run --isolation chroot "$container" -- gemmark kernels --compile-only --arch sm_90 >/dev/null
  echo "container: $3 is built and runs"
  exit
fi

hadolint=${1:-$root/build}/hadolint/bin/hadolint
[ -x "$hadolint" ] || { echo "skipped: there is no $hadolint; ci/setup.sh fetches it"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
bad() { echo "container: $*"; failed=1; }

# What hadolint does not ask: the last user, and the files that are copied from the tree.
properties() { # FILE
  [[ "$(grep '^USER ' "$1" | tail -n 1)" =~ ^USER\ [1-9][0-9]*:[1-9][0-9]*$ ]] || { echo 'it runs as root'; return 1; }
  [ "$(sed -n 's/^ENV .*NVIDIA_DRIVER_CAPABILITIES=\([^ ]*\).*/\1/p' "$1")" = compute,utility ] || { echo 'no capabilities'; return 1; }
  grep -q '^ENV NVIDIA_VISIBLE_DEVICES=all ' "$1" || { echo 'no GPU is seen'; return 1; }
  local words word
  while read -ra words; do
    for word in "${words[@]:1:${#words[@]}-2}"; do
      [ -e "$root/$word" ] || { echo "$word is not in the tree"; return 1; }
    done
  done < <(grep '^COPY [^-]' "$1")
  # Fetched is by hash only.
  ! grep -E 'pip install|curl|wget' "$1" | grep -v -- --require-hashes || return 1
}
"$hadolint" "$file" || bad 'hadolint finds faults'
properties "$file" || bad 'its properties are others'
planted() { # WHAT SED
  sed -E "$2" "$file" >"$work/Containerfile"
  ! cmp -s "$file" "$work/Containerfile" || bad "$1: nothing was planted"
  ! { "$hadolint" "$work/Containerfile" && properties "$work/Containerfile"; } >/dev/null || bad "$1 is not found"
}
planted 'root' 's/^USER .*/USER root/'
planted 'the user of no number' 's/^USER .*/USER gemmark/'
planted 'a file that is not there' 's/^COPY LICENSE/COPY LICENCE/'
planted 'a package without a hash' 's/--require-hashes//'
planted 'the lists of packages left behind' 's/ && rm -rf .*lists.*//'
planted 'an unknown instruction' 's/^WORKDIR/WORKDIRECTORY/'
planted 'a driver without its utilities' 's/compute,utility/compute/'
# Both names of the list of what is not sent, and nothing in it that git has: results would say -dirty.
[ "$(readlink "$root/.dockerignore")" = .containerignore ] || bad '.dockerignore is another list'
if git -C "$root" rev-parse 2>/dev/null; then
  hidden=$(git -C "$root" ls-files -c -i -X "$root/.containerignore")
  [ -z "$hidden" ] || bad "the image would not have: $hidden"
fi
[ $failed -eq 0 ] && echo 'container: well formed'
exit $failed
