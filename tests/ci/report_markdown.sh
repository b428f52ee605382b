#!/usr/bin/env bash
# Reports through GitHub's Markdown parser: the elements that they are to have, and no other.
#
#   tests/ci/report_markdown.sh GEMMARK
set -euo pipefail
gemmark=$(readlink -f "${1:?usage: tests/ci/report_markdown.sh GEMMARK}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
parser=$root/build/cmarkgfm
if ! PYTHONPATH=$parser python3 -c 'import cmarkgfm' 2>/dev/null; then
  echo "skipped: there is no cmarkgfm for this python3 in build/cmarkgfm; ci/setup.sh fetches it"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_STATE_HOME=$work/state

render() { # NAME OPTIONS...
  local name=$1
  shift
  python3 "$here/render_markdown.py" "$parser" "$work/$name.md" "$@" >"$work/facts.json" || exit 1
}

"$gemmark" report "$root/results/h100-e4b" -o "$work/e4b.md" --images https://example.org/r
render e4b --images 6 --word 'tg64 @ d16384' --word 'graph-params is faster than direct launches in all 12 cells' --word 'CLOCK_MONOTONIC_RAW'
for set in h100-snapkv h100-hybrid h100-sync h100-host; do
  "$gemmark" report "$root/results/$set" -o "$work/$set.md"
  words=(--word '●')
  [ "$set" != h100-hybrid ] || words+=(--word 'Too few runs to tell of a single cell: 3 pairs measured, 9 needed')
  render "$set" "${words[@]}"
done
cp -r "$root/results/h100-e4b" "$work/base"
"$gemmark" report "$root/results/h100-e4b" --base "$work/base" -o "$work/change.md"
render change --word 'Common to all 60 cells:' --word 'No change shown'
python3 "$here/hostile_run.py" "$root/results/host-demo" "$work/hostile"
(cd "$work" && "$gemmark" report hostile -o hostile.md)
render hostile --word '</script><img src=x onerror=alert(1)>|`$(touch pwned)`\n```mermaid\ngraph TD\n```'
[ ! -e "$work/pwned" ] || { echo "a text was run"; exit 1; }
echo "report_markdown: all reports as expected"
