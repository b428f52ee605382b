#!/usr/bin/env bash
# cmake --install, and the program from where it was put: from another folder, with nothing of the tree.
#
#   tests/ci/install.sh BUILD
set -uo pipefail
build=$(realpath "${1:?usage: tests/ci/install.sh BUILD}")
tree=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
fail() { echo "install: $*" >&2; exit 1; }

cmake --install "$build" --prefix "$folder/a prefix" >"$folder/log" 2>&1 || fail "$(cat "$folder/log")"
cd "$folder/a prefix" || exit 1
found=$(find . -type f ! -path '*/results/*/*' | sort | tr '\n' ' ')
wanted="./bin/gemmark ./share/doc/gemmark/LICENSE ./share/doc/gemmark/README.md"
wanted+=" ./share/doc/gemmark/ci/full.args ./share/doc/gemmark/ci/quick.args"
wanted+=" $(cd "$tree" && printf './share/doc/gemmark/%s ' doc/*.md)./share/doc/gemmark/results/README.md ./share/doc/gemmark/results/SCHEMA.md "
[ "$found" = "$wanted" ] || fail "there is $found"
for paper in LICENSE README.md $(cd "$tree" && echo doc/*.md) results/README.md results/SCHEMA.md; do
  cmp "$tree/$paper" "share/doc/gemmark/$paper" || fail "$paper"
done
# What the papers link to is there.
grep -o ']([^)#][^)]*)' share/doc/gemmark/README.md | sed 's/^](//; s/[#)].*$//' | grep -v '^[a-z]*:' | sort -u >"$folder/links"
[ -s "$folder/links" ] || fail "no links found in README.md"
while IFS= read -r link; do
  [ -e "share/doc/gemmark/$link" ] || fail "README.md links to $link, which is not there"
done <"$folder/links"
[ -x bin/gemmark ] || fail "the program is not to be run"
if command -v readelf >/dev/null; then
  readelf -d bin/gemmark | grep -iE 'r(un)?path' && fail "the program looks for libraries in the build"
fi

# Moved once more: no path of the installation is in it either. The tree is hidden where the system lets us.
mv "$folder/a prefix" "$folder/moved"
mkdir "$folder/work"
cd "$folder/work" || exit 1
gemmark="$folder/moved/bin/gemmark"
doc="$folder/moved/share/doc/gemmark"
export HOME="$folder/work" XDG_CACHE_HOME="$folder/work/cache"
attempt() {
  if [ -n "${hidden:-}" ]; then
    unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none "$0" && exec "$@"' "$tree" "$@"
  else
    "$@"
  fi >said 2>&1
}
run() { attempt "$@" || fail "$*: $(cat said)"; }
if unshare --user --map-root-user --mount sh -c 'mount -t tmpfs none "$0"' "$tree" 2>/dev/null; then hidden=1; fi
run "$gemmark" --version
[ "$("$gemmark" --version)" = "$("$build/gemmark" --version)" ] || fail "another version"
run "$gemmark" model make --arch qwen3-tiny -o m.gguf
run "$gemmark" eval -m m.gguf --tokens 1,2,3
run "$gemmark" bench -m m.gguf "@$doc/ci/quick.args" -ngl 0 --dry-run
run "$gemmark" bench -m m.gguf -ngl 0 -t 1 -p 0 -n 2 -r 1 --mode direct --telemetry 0 --out run
grep -q '"ok"' run/runs.csv || fail "no run went well: $(cat run/runs.csv)"
if command -v gnuplot >/dev/null; then
  run "$gemmark" plot run
  [ -s run/plots/latency.svg ] && [ -s run/plots/latency.png ] || fail "no pictures"
fi
# The CUDA kernels, where there is something to compile them with.
if attempt "$gemmark" kernels --compile-only --arch sm_90 --head-dims 64 --cache-type f16 --source attention; then
  grep -q 'kernels compiled' said || fail "kernels: $(cat said)"
else
  grep -q -i 'nvrtc' said || fail "kernels: $(cat said)"
fi
echo "install: runs from elsewhere${hidden:+, without the tree}"
