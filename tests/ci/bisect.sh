#!/usr/bin/env bash
# Does ci/bisect.sh name the commit that was planted, in a repository of 16 whose builds and sweeps take no time?
#
#   tests/ci/bisect.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/ci/bisect.sh GEMMARK}")
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
root=$(cd "$tests/.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_STATE_HOME="$folder/state" GIT_CONFIG_GLOBAL=/dev/null GIT_CONFIG_SYSTEM=/dev/null
export GIT_AUTHOR_NAME=gemmark GIT_AUTHOR_EMAIL=none GIT_COMMITTER_NAME=gemmark GIT_COMMITTER_EMAIL=none
failures=0
fail() {
  echo "bisect: $*" >&2
  failures=$((failures + 1))
}
model=$tests/golden/gemma4-e2b-tiny.q8_0.gguf
if command -v shellcheck >/dev/null; then
  # A && B || fail is meant: fail does not return.
  (cd "$root" && shellcheck -e SC2015 ci/bisect.sh tests/ci/bisect.sh) || fail "shellcheck"
fi
cd "$folder" || exit 1

# ---- sweeps that are made up: what each kind of program does ----
export FAKE=$folder/fake
mkdir "$FAKE"
ln -s "$gemmark" "$FAKE/real"
cp "$root/ci/compare-commits/csv.awk" "$FAKE"
"$gemmark" bench -m "$model" -p 0 -n 2 -d 0 -r 1 --mode direct --telemetry 0 -t 1 -ngl 0 --out "$FAKE/template" \
  >template.log 2>&1 || fail "the template: $(cat template.log)"
for kind in fast nearly slow noisy wrong clearing; do
  mkdir "$FAKE/$kind"
  cp "$tests/ci/compare_commits/fake_gemmark.sh" "$FAKE/$kind/gemmark"
done
echo "direct 2" >"$FAKE/nearly/slow"
echo "direct 8" >"$FAKE/slow/slow"
echo 40 >"$FAKE/noisy/noise"
# Slow, in noise that takes more pairs.
echo "direct 8" >"$FAKE/clearing/slow"
echo 6 >"$FAKE/clearing/noise"
echo "0 0000a042 all" >"$FAKE/wrong/bits"

# ---- a repository whose build copies its program.sh ----
git init -q -b main toy
cp -r "$root/ci" toy/ci
cat >toy/CMakeLists.txt <<'CMAKE'
cmake_minimum_required(VERSION 3.20)
project(toy NONE)
add_custom_target(gemmark ALL COMMAND sh ${CMAKE_SOURCE_DIR}/build.sh ${CMAKE_BINARY_DIR} WORKING_DIRECTORY ${CMAKE_SOURCE_DIR})
CMAKE
cat >toy/CMakePresets.json <<'JSON'
{"version": 3, "configurePresets": [{"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build/release"}],
 "buildPresets": [{"name": "release", "configurePreset": "release"}]}
JSON
cat >toy/build.sh <<'SH'
set -e
echo "$(git -C "$PWD" rev-parse --short HEAD)" >>"$FAKE/built"
if grep -q broken kind && [ ! -e "$FAKE/mended" ]; then exit 1; fi
{ echo '#!/bin/sh'; echo "exec bash \"\$FAKE/$(cat kind)/gemmark\" \"\$@\""; } >"$1/gemmark"
chmod +x "$1/gemmark"
SH
echo build/ >toy/.gitignore
# history NAME KIND...: a branch with a commit a kind
history() {
  local name=$1 i=0 kind
  shift
  git -C toy checkout -q --orphan "$name"
  for kind in "$@"; do
    i=$((i + 1))
    echo "$kind" >toy/kind
    git -C toy add -A
    git -C toy commit -q --allow-empty -m "$name $i: $kind"
    git -C toy tag "$name-$i"
  done
}
history planted fast fast nearly fast nearly fast fast broken nearly fast slow slow slow slow slow slow
history results fast fast slow fast wrong wrong wrong
history hidden fast fast broken noisy slow slow
history steady fast fast fast
history short fast fast slow slow
history mend broken slow
history mixed fast wrong slow
history unclear fast clearing slow

# expect CODE WHAT ARGUMENT...
expect() {
  local code=$1 what=$2 got=0
  shift 2
  : >"$FAKE/built"
  bash toy/ci/bisect.sh "$@" >out 2>err || got=$?
  [ $got -eq "$code" ] || fail "$what: exit code $got, not $code: $(tail -n 12 out err)"
}
says() { grep -q -e "$1" "$2" || fail "$3: '$1' is not in $2: $(tail -n 30 "$2")"; }
refused() {
  local pattern=$1
  shift
  expect 2 "$*" "$@"
  tail -n 1 err | grep -q -e "$pattern" || fail "$*: not '$pattern': $(cat err)"
}
few=(--model "$model" --pairs 6 --more 0 --alpha 20 --again 0 --check-depth 32)
sweep=(-- -p 0 -n 2 -d 0 -r 1 --mode direct -t 1 -ngl 0)

# The eleventh of 16; smaller changes before it, one of which does not build, mislead nobody.
expect 0 "planted" planted-1 planted-16 --out w "${few[@]}" "${sweep[@]}"
says "^first slow commit: .* planted 11: slow" out "planted"
says "^latency: +8\.[0-9]* % of GOOD's; BAD: +[78]\.[0-9]* %" out "planted"
[ "$(head -n 1 w/commits.csv)" = commit,date,verdict,latency_change_percent ] || fail "commits.csv: $(cat w/commits.csv)"
[ "$(sort "$FAKE/built" | uniq -d | wc -l)" -eq 0 ] || fail "a commit was built twice: $(cat "$FAKE/built")"
[ "$(wc -l <"$FAKE/built")" -le 7 ] || fail "16 commits: more than 7 builds: $(cat err)"
[ ! -e w/tree ] && [ "$(git -C toy worktree list | wc -l)" -eq 1 ] || fail "the work tree is still there"
[ -z "$(git -C toy status --porcelain)" ] && [ "$(git -C toy symbolic-ref --short HEAD)" = unclear ] ||
  fail "the user's tree was touched"
git -C toy bisect replay "$folder/w/bisect.log" >replay.log 2>&1 && grep -q "planted 11" replay.log ||
  fail "bisect.log cannot be replayed: $(cat replay.log)"
git -C toy bisect reset -q >/dev/null 2>&1

# Wrong results: a slow commit on the way is a good one.
expect 0 "wrong" results-1 results-7 --out r "${few[@]}" "${sweep[@]}"
says "^first commit with wrong results: .* results 5: wrong" out "wrong"

# While slowness is looked for, wrong results are no verdict.
expect 3 "mixed" mixed-1 mixed-3 --out m "${few[@]}" "${sweep[@]}"
says "mixed 2: wrong (.*): wrong results" out "mixed"

# Between two commits that cannot be judged nothing is claimed.
expect 3 "hidden" hidden-1 hidden-6 --out h "${few[@]}" "${sweep[@]}"
says "hidden 3: broken (.*): does not build" out "hidden"
says "hidden 4: noisy (.*): cannot tell" out "hidden"
says "hidden 5: slow (.*): slower" out "hidden"
! grep -q "hidden [126]:" out || fail "hidden: others are in the range: $(cat out)"

# Where a comparison cannot tell, a longer one may.
expect 0 "unclear" unclear-1 unclear-3 --out u "${few[@]}" --delta 4 --again 3 "${sweep[@]}"
says "^first slow commit: .* unclear 2: clearing" out "unclear"
says "cannot tell (6 pairs)" err "unclear"
[ "$(find u/comparisons -maxdepth 1 -type d -name "$(git -C toy rev-parse unclear-2)-*" | wc -l)" -ge 2 ] ||
  fail "unclear: one comparison alone: $(cat err)"

# 20 % for the commit, of which each of its four comparisons has a quarter.
grep -z -A 1 -x -e --alpha "u/comparisons/$(git -C toy rev-parse unclear-2)-1/arguments" | tr '\0' ' ' |
  grep -q -e '^--alpha 5 ' || fail "unclear: alpha is not divided"

expect 3 "steady" steady-1 steady-3 --out s "${few[@]}" "${sweep[@]}"
says "BAD is not slower than GOOD" out "steady"

# Killed while it compares, and gone on with: builds and verdicts are kept.
echo 0.5 >"$FAKE/slow/seconds"
: >"$FAKE/built"
setsid bash toy/ci/bisect.sh short-1 short-4 --out k "${few[@]}" "${sweep[@]}" >out 2>err &
killed=$!
for ((i = 0; i < 600; i++)); do
  [ ! -e "k/comparisons/$(git -C toy rev-parse short-4).code" ] || break
  sleep 0.1
done
sleep 0.3
kill -TERM "$killed"
code=0
wait "$killed" || code=$?
[ $code -eq 143 ] || fail "SIGTERM: exit code $code: $(cat err)"
says 'go on with: .*--resume' err "SIGTERM"
rm "$FAKE/slow/seconds"
cp "$FAKE/built" before
expect 0 "going on" --resume k
says "^first slow commit: .* short 3: slow" out "going on"
[ "$(sort before "$FAKE/built" | uniq -d | wc -l)" -eq 0 ] || fail "going on: built again: $(cat before "$FAKE/built")"

refused 'is no ancestor' planted-16 planted-1
refused 'is no ancestor' results-1 planted-1
refused 'no such commit' planted-1 nothing
refused 'name two commits' planted-1
refused 'one commit' planted-1 planted-1
refused '0 to 4' planted-1 planted-2 --again 9
refused 'unknown option' planted-1 planted-2 --nope
refused 'not empty' planted-1 planted-2 --out w
refused 'not a work folder' --resume toy
: >file
refused 'out file: cannot be made: File exists; name another folder' planted-1 planted-2 --out file
[ "$(wc -l <err)" -eq 1 ] || fail "--out file: more than a line: $(cat err)"
# Before anything is built.
refused 'no such file' planted-1 planted-2 --out b0 --model nofile
refused 'pairs x: a whole number' planted-1 planted-2 --out b0 --pairs x
[ ! -s "$FAKE/built" ] && [ ! -e b0 ] || fail "built, or made a folder, for what it refuses"
refused 'does not build.*--resume' mend-1 mend-2 --out b8 "${few[@]}" "${sweep[@]}"
# What an end needs to build may come to be there.
cp -r "$FAKE/fast" "$FAKE/broken"
touch "$FAKE/mended"
expect 0 "an end that is mended" --resume b8
says "^first slow commit: .* mend 2: slow" out "an end that is mended"
refused 'cannot be compared with GOOD' planted-1 planted-16 --out b9 "${few[@]}" -- -m x

[ $failures -eq 0 ] && echo "bisect: passed"
exit $((failures > 0))
