#!/usr/bin/env bash
# Reports in headless Chromium: nothing asked of a network, nothing on the console, as wide as the screen at a phone's
# 390 px, a dark look where that is preferred, tables that sort, points that show their rows.
#
#   tests/ci/report_html.sh GEMMARK
set -euo pipefail
gemmark=$(readlink -f "${1:?usage: tests/ci/report_html.sh GEMMARK}")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
if ! chromium --version >/dev/null 2>&1; then
  echo "skipped: there is no chromium here; ci/setup.sh installs it where it is a package"
  exit 77
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
export XDG_STATE_HOME=$work/state

# page NAME WIDTH OPTIONS... -- TESTS...: Python expressions over the page's facts, each of which must hold
page() {
  local name=$1 width=$2 options=()
  shift 2
  while [ "$1" != -- ]; do options+=("$1"); shift; done
  shift
  printf '%q ' "$work/$name.html" --width "$width" "${options[@]+"${options[@]}"}" >>"$work/pages"
  echo >>"$work/pages"
  printf '%s\t' "$name at $width px ${options[*]-}" 'not requests' 'not complaints' "width == $width" 'sorted' "$@" >>"$work/tests"
  echo >>"$work/tests"
}

"$gemmark" report "$root/results/h100-e4b" -o "$work/e4b.html"
"$gemmark" report "$root/results/h100-snapkv" -o "$work/snapkv.html"
cp -r "$root/results/h100-e4b" "$work/base"
"$gemmark" report "$root/results/h100-e4b" --base "$work/base" -o "$work/change.html"
"$gemmark" report "$root/results/host-demo" -o "$work/demo.html"
# As long as that column's texts are where results are mixed.
sed 's/too few runs: [0-9]* of [0-9]* pairs/1 faster, 1 slower, 2 cannot tell, 1 too noisy/' "$work/demo.html" >"$work/mixed.html"
grep -q '1 too noisy' "$work/mixed.html" || { echo "no text of that column was replaced"; failures=$((failures + 1)); }
python3 "$here/hostile_run.py" "$root/results/host-demo" "$work/hostile"
(cd "$work" && "$gemmark" report hostile -o hostile.html)
[ ! -e "$work/pwned" ] || { echo "a text was run"; failures=$((failures + 1)); }

# The run that a point shows is of the rows, whichever are kept.
mapfile -t first < <(python3 -c 'import csv, sys
row = next(csv.DictReader(open(sys.argv[1])))
print(row["run_id"], row["commit"], sep="\n")' "$root/results/h100-e4b/runs.csv")
page e4b 1100 --open -- 'sections >= 8' 'tables >= 10' 'points > 1000' 'page == "rgb(255, 255, 255)"' \
  '"runs.csv line " in tip' "\"run_id ${first[0]%-*}-\" in tip" "\"commit ${first[1]}\" in tip"
# No table scrolls for a few pixels, the first one not at all, and its answer is in sight on a telephone.
needless='any(0 < x < 20 for x in overhangs)'
page e4b 1400 --open -- "not $needless" 'overhangs[0] == 0'
page e4b 1000 --open -- "not $needless" 'overhangs[0] == 0'
page e4b 1280 --open -- 'not any(overhangs)'
page snapkv 1280 --open -- 'not any(overhangs)'
# There the first one is stacked: it scrolls neither way, and each entry says what it is.
for width in 390 500; do
  page e4b $width -- 'answer <= 0' 'overhangs[0] == 0' 'heights[0] == 0' '"tokens/s" in titles'
  page mixed $width -- 'answer <= 0' 'overhangs[0] == 0' 'heights[0] == 0'
  page change $width -- 'overhangs[0] == 0' 'heights[0] == 0'
done
page mixed 1000 --open -- "not $needless" 'overhangs[0] == 0'
page e4b 390 --dark --open -- 'page == "rgb(13, 17, 23)"' '"run_id" in tip'
page snapkv 390 --open -- 'sections >= 9'
page change 390 --open -- '"base " in tip' 'sections >= 9'
page hostile 390 --open -- 'points > 100' '"onerror" not in page'
page hostile 1100 -- 'sections >= 8'

python3 "$here/browse.py" chromium --list "$work/pages" >"$work/facts" || failures=$((failures + 1))
python3 - "$work/facts" "$work/tests" <<'PY' || failures=$((failures + 1))
import json
import sys
facts = [json.loads(line) for line in open(sys.argv[1])]
tests = [line.rstrip("\t\n").split("\t") for line in open(sys.argv[2])]
bad = []
if len(facts) != len(tests):
    bad.append("%d pages were looked at, not %d" % (len(facts), len(tests)))
for page, (name, *each) in zip(facts, tests):
    bad += ["%s: not so: %s: %s" % (name, test, page) for test in each if not eval(test, {}, page)]
print("\n".join(bad), end="\n" if bad else "")
sys.exit(bool(bad))
PY

[ "$failures" -eq 0 ] || exit 1
echo "report_html: all pages as expected"
