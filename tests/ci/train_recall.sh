#!/usr/bin/env bash
# ci/train-recall.py: text writes the bytes that are kept, of another seed others; bad options are one line and exit
# code 2. Exit code 77 (skipped) behind the latter where there is no numpy. Training is nobody's test here.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
recall=$root/ci/train-recall.py
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "train_recall: $*"; exit 1; }

# refuses TEXT WORD...
refuses() {
  local text=$1 rc=0
  shift
  python3 -B "$recall" "$@" >"$work/out" 2>"$work/said" || rc=$?
  [ $rc -eq 2 ] || fail "$*: exit code $rc, not 2: $(cat "$work/said")"
  [ ! -s "$work/out" ] || fail "$*: writes to standard output"
  [ "$(wc -l <"$work/said")" -eq 1 ] || fail "$*: no single line: $(cat "$work/said")"
  grep -qF -- "$text" "$work/said" || fail "$*: says '$(cat "$work/said")', not '$text'"
}
refuses 'arguments are required: command'
refuses "invalid choice: 'tell'" tell
refuses "argument --tokens: '0' is no whole number from 1 to" text --tokens 0
refuses "argument --tokens: '5e3' is no whole number" text --tokens 5e3
refuses "argument --tokens: '99999999999999999999' is no whole number" text --tokens 99999999999999999999
refuses "argument --seed: '999' is no whole number from 1000 to 4294967295: lower ones are the model's" text --seed 999
refuses 'unrecognized arguments: --words 5' text --words 5
refuses 'arguments are required: --out' train
refuses "argument --seed: '999' is no whole number from 0 to 998" train --out "$work/m" --seed 999
refuses "argument --minutes: 'nan' is no number above 0" train --out "$work/m" --minutes nan
refuses "argument --lengths: '64' is no whole number from 96" train --out "$work/m" --lengths 256,64
if python3 -c 'import numpy' 2>/dev/null; then
  refuses 'argument --shares: 4 of 2 lengths; give one of each' train --out "$work/m" --lengths 128,256
else
  refuses 'numpy is not there' text
  echo "train_recall: skipped: the text needs numpy, which is not there"
  exit 77
fi
[ ! -e "$work/m" ] || fail "a refused training leaves its folder"

python3 -B "$recall" text --tokens 5000 >"$work/text"
cmp "$work/text" "$root/tests/golden/recall/text.txt" || fail "text --tokens 5000 is not tests/golden/recall/text.txt"
python3 -B "$recall" text --tokens 200 --seed 1001 >"$work/other"
! cmp -s <(head -c 200 "$work/text") <(head -c 200 "$work/other") || fail "seed 1001 has the text of 1000"
echo "train_recall: the text is the one that is kept"
