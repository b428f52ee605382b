#!/usr/bin/env bash
# Does ci/demo.sh go through on a user's own file, also where its path holds spaces, and
# does it refuse in one line what it cannot use?
#
#   tests/ci/demo.sh GEMMARK
set -euo pipefail
gemmark=${1:?usage: tests/ci/demo.sh GEMMARK}
demo=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/ci/demo.sh
folder=$(mktemp -d)
results=
cleanup() { rm -rf "$folder"; [ -z "$results" ] || rm -rf "$results"; }
trap cleanup EXIT
fail() { echo "demo test: $*" >&2; exit 1; }

# refuses PATTERN ARGUMENT...: exit code 2, and one line that matches
refuses() {
  local pattern=$1 code=0 message
  shift
  message=$("$demo" "$@" 2>&1) || code=$?
  # shellcheck disable=SC2053 # the right side is a pattern
  if [ "$code" -ne 2 ] || [[ "$message" != $pattern ]] || [ "$(wc -l <<<"$message")" -ne 1 ]; then
    fail "demo.sh $*: exit code $code: $message"
  fi
}
refuses 'demo: */no such.gguf: no such file' "$folder/no such.gguf"
refuses "demo: $folder: no such file" "$folder"
refuses 'demo: unknown option --nope *' --nope

mkdir "$folder/a b"
"$gemmark" model make --arch gemma4-e2b-tiny --type q8_0 --seed 1 -o "$folder/a b/tiny model.gguf"
output=$("$demo" --short "$folder/a b/tiny model.gguf" 2>&1) || fail "exit code $?: $output"
echo "$output"
results=$(dirname "$demo")/../$(sed -n 's/^demo: a row per run *\(.*\)\/runs.csv$/\1/p' <<<"$output")
# 2 depths x 4 modes x 2 fusions x 2 repetitions, and the header
[ "$(wc -l <"$results/runs.csv")" -eq 33 ] || fail "runs.csv holds $(wc -l <"$results/runs.csv") lines, not 33"
[ -s "$results/tokens.csv" ] || fail "no tokens.csv"
[ -s "$results/env.json" ] || fail "no env.json"
[ -s "$results/report.html" ] || fail "no report.html"
[ "$(find "$results/plots" -name '*.svg' -size +1k | wc -l)" -ge 4 ] || fail "fewer than 4 SVG pictures"
[ "$(find "$results/plots" -name '*.png' -size +1k | wc -l)" -ge 4 ] || fail "fewer than 4 PNG pictures"
