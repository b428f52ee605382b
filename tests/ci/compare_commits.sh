#!/usr/bin/env bash
# Does ci/compare-commits.sh find what was planted, nothing where nothing was, and go on after whatever ended it?
#
#   tests/ci/compare_commits.sh GEMMARK
#
# One comparison is real; the sweeps of the others are made up (compare_commits/fake_gemmark.sh), so that they take
# seconds and their verdicts do not depend on the machine.
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/ci/compare_commits.sh GEMMARK}")
tests=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
script=$(cd "$tests/.." && pwd)/ci/compare-commits.sh
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
export XDG_STATE_HOME="$folder/state"
failures=0
fail() {
  echo "compare-commits: $*" >&2
  failures=$((failures + 1))
}
model=$tests/golden/gemma4-e2b-tiny.q8_0.gguf

# expect CODE WHAT ARGUMENT...: runs it; its output in ./out, its messages in ./err
expect() {
  local code=$1 what=$2 got=0
  shift 2
  bash "$script" "$@" >out 2>err || got=$?
  [ $got -eq "$code" ] || fail "$what: exit code $got, not $code: $(tail -n 5 out err)"
}
# says PATTERN FILE WHAT
says() { grep -q -e "$1" "$2" || fail "$3: '$1' is not in $2: $(tail -n 30 "$2")"; }
# refused PATTERN ARGUMENT...: exit code 2, and the last line says why
refused() {
  local pattern=$1
  shift
  expect 2 "$*" "$@"
  tail -n 1 err | grep -q -e "$pattern" || fail "$*: not '$pattern': $(cat err)"
}

if command -v shellcheck >/dev/null; then
  # A && B || fail is meant: fail does not return.
  (cd "$tests/.." && shellcheck -x -a -e SC2015 ci/compare-commits.sh tests/ci/compare_commits.sh \
    tests/ci/compare_commits/*.sh) || fail "shellcheck"
fi

# ---- for real: one build against itself, in a folder with a space ----

cd "$folder" || exit 1

mkdir "real build"
ln -s "$gemmark" "real build/gemmark"
expect 0 "the same twice" --base-build "real build" --head-build "real build" --model "$model" --out "a b/w" \
  --alpha 20 --more 0 --delta 50 -- -p 0 -n 64 -d 0 -r 3 --mode direct --telemetry 0 -t 1
says 'logits of 24 tokens by direct: the same bits in 2 of 2 settings' out "the same twice"
says 'of 64 tokens, all but 16 .*, by direct: the same bits in 2 of 2 settings' out "the same twice"
says 'on the host device' out "the same twice"
says '^no regression' out "the same twice"
says 'How the two were measured' "a b/w/report.md" "the same twice"
says '"exit_code": 0' "a b/w/compare.json" "the same twice"
# Blocks of two pairs, the second backwards: 4 of least, and 4.
[ "$(wc -l <"a b/w/order.csv")" -eq 9 ] || fail "the order: $(cat "a b/w/order.csv")"
awk -F , 'NR > 1 { want = substr($4, ($2 % 2) ? 1 : 3, 1) == "A" ? "base" : "head" }
  NR > 1 { bad += $5 != want || $3 != int(($2 - 1) / 2) }
  END { exit bad > 0 }' "a b/w/order.csv" || fail "the order: $(cat "a b/w/order.csv")"

# Two cells at half of 1 %: known before anything is measured.
refused 'over 2 cells at alpha 0.5 % anything but chance needs 10 pairs' --base-build "real build" \
  --head-build "real build" --model "$model" --out "too few" --pairs 8 -- -p 0 -n 2 -d 0,4 --mode direct -t 1
[ ! -e "too few/pairs" ] || fail "too few pairs: measured all the same"

# Of four cells two are skipped: no verdict is over those.
CUDA_VISIBLE_DEVICES='' refused 'over 2 cells at alpha 0.5 % anything but chance needs 10 pairs' \
  --base-build "real build" --head-build "real build" --model "$model" --out "two skipped" --pairs 8 -- -p 0 -n 2 \
  -d 0,4 -ngl 0,5 --mode direct -t 1

# ---- made up ----

export FAKE=$folder/fake
mkdir "$FAKE"
ln -s "$gemmark" "$FAKE/real"
cp "$(dirname "$script")/compare-commits/csv.awk" "$FAKE"
"$gemmark" bench -m "$model" -p 0 -n 2 -d 0,4 -r 1 --mode direct,graph-device --telemetry 0 -t 1 -ngl 0 \
  --out "$FAKE/template" >template.log 2>&1 || fail "the template: $(cat template.log)"
for side in base head; do
  mkdir $side
  cp "$tests/ci/compare_commits/fake_gemmark.sh" $side/gemmark
  chmod +x $side/gemmark
done
# is SIDE [FILE TEXT]...: what that side is made to do, and nothing else
is() {
  find "$1" -type f ! -name gemmark -delete
  while [ $# -gt 1 ]; do
    printf '%s\n' "$3" >"$1/$2"
    set -- "$1" "${@:4}"
  done
}
sides=(--base-build base --head-build head --model "$model")
# The least pairs for a verdict over four cells, at an alpha to match.
few=(--alpha 40 --pairs 6)
sweep=(-- -p 0 -n 2 -d "0,4" -r 1 --mode 'direct,graph-device' -t 1 -ngl 0)
# outcomes WORK: cell by cell, of compare.json: mode outcome
outcomes() { grep -E '^ *"(mode|outcome)": ' "$1/compare.json" | tr -d '", ' | cut -d : -f 2 | paste -sd ' '; }

is base
is head slow 'graph-device 5'
expect 1 "a slower mode" "${sides[@]}" "${few[@]}" --out slow "${sweep[@]}"
[ "$(outcomes slow)" = "direct same graph-device slower direct same graph-device slower" ] ||
  fail "a slower mode: $(outcomes slow)"
says '^look 1 of 2' out "a slower mode"
# The report says what the verdict says, by the same alpha, delta and gates.
agree() { # WORK
  local sentence
  sentence=$(sed -n '1s/ (.*//; 1s/; .*//; 1p' "$1/compare.txt")
  grep -qF "**$sentence" "$1/report.md" || fail "$1: the report does not say '$sentence': $(head -n 6 "$1/report.md")"
}
agree slow
# Without gnuplot there are no charts and so no HTML; the verdict stands.
mkdir no-gnuplot
printf '#!/bin/sh\nexit 1\n' >no-gnuplot/gnuplot
chmod +x no-gnuplot/gnuplot
PATH=$folder/no-gnuplot:$PATH expect 0 "a slower mode, by little" "${sides[@]}" "${few[@]}" --delta 20 --out little \
  "${sweep[@]}"
agree little
says 'no report.html: ' err "without gnuplot"
if command -v gnuplot >/dev/null; then
  [ -s slow/report.html ] && [ ! -e little/report.html ] || fail "report.html: $(ls slow little)"
fi
# Nor are there any from here on: no more is asked of them, and they take seconds.
PATH=$folder/no-gnuplot:$PATH
is head slow 'graph-device -5'
expect 0 "a faster mode" "${sides[@]}" "${few[@]}" --out faster "${sweep[@]}"

# Inconclusive, so that the second look is taken: pairs scatter by 5 %.
is head noise 5
expect 3 "noise" "${sides[@]}" --alpha 20 --pairs 8 --more 4 --out noise "${sweep[@]}"
says '^look 2 of 2: one at 8 pairs, .* 12, each at alpha 10 %, half of 20 %' out "noise"
[ "$(grep -c ^pairs, noise/order.csv)" -eq 12 ] || fail "noise: $(cat noise/order.csv)"
expect 3 "noise" "${sides[@]}" --alpha 20 --pairs 8 --more 0 --out noise-once "${sweep[@]}"
says '^one look, at alpha 20 %' out "noise, one look"
[ "$(grep -c ^pairs, noise-once/order.csv)" -eq 8 ] || fail "noise, one look: $(cat noise-once/order.csv)"

# Wrong results stop it before any time is measured. A NaN, another likeliest token, and bits in one mode alone.
for bits in '0 0000c07f all' '4 0000a042 all' '8 0000803f graph-device'; do
  is head bits "$bits"
  rm -rf wrong
  expect 4 "bits $bits" "${sides[@]}" --out wrong "${sweep[@]}"
  says 'WRONG RESULTS' err "bits $bits"
  [ ! -s out ] && [ ! -e wrong/pairs ] || fail "bits $bits: went on: $(cat out)"
done
says 'graph-device gives other logits than direct does' err "one mode"
is head code 4
rm -rf wrong
expect 4 "bench says wrong" "${sides[@]}" --out wrong "${sweep[@]}"
! grep -q ' us' out || fail "times of wrong results are shown: $(cat out)"
# A last bit is within the tolerance, unless there is none.
is base bits '0 00000000 all'
is head bits '0 01000000 all'
expect 0 "a last bit" "${sides[@]}" "${few[@]}" --out last-bit "${sweep[@]}"
says 'relative L2 .* (0.0001 allowed)' out "a last bit"
expect 4 "a last bit" "${sides[@]}" --tolerance 0 --out last-bit-none "${sweep[@]}"
is base

# What only prompts run, what only many keys reach, and what a budget or a chunk of the sweep's does: each is looked at as
# deep as the sweep goes, as it computes there, before any time.
while read -r word least arguments; do
  [ "$word" != bf16 ] || grep -qw avx512_bf16 /proc/cpuinfo || continue
  is head wrong "$word $least"
  rm -rf wrong
  # shellcheck disable=SC2086 # words
  expect 4 "wrong with $word" "${sides[@]}" --out wrong -- -r 1 --mode direct -t 1 -ngl 0 $arguments
  says "WRONG RESULTS: .* tokens, .*: relative L2 .* allowed" err "wrong $word"
  [ ! -s out ] && [ ! -e wrong/pairs ] || fail "wrong with $word: went on: $(cat out)"
done <<'CASES'
direct 512 -p 0 -n 2 -d 0,600
direct 512 -p 0 -n 600 -d 0
direct 512 -p 300 -n 2 -d 0-300+100
direct 512 -p 0 -n 0 -pg 300,300 -d 0
bf16 24 -p 64 -n 0 -d 0 --host-products bf16
bf16 24 -p 64 -n 0 -d 0 --host-products=bf16
--host-products 24 -p 16 -n 2 -d 0 --host-products f32
--prefill-precision 24 -p 16 -n 2 -d 0 --prefill-precision f32 -ctk f32 -ctv f32
48 24 -p 64 -n 0 -d 0 -ub 32,48
32,window=8 24 -p 0 -n 2 -d 64 --snapkv off,32,window=8
all 24 -p 64 -n 0 -d 0 --prefill-rows last,all
last 24 -p 64 -n 0 -d 0
CASES
# As deep as is asked for, and no deeper.
is head wrong 'direct 512'
expect 0 "no deeper" "${sides[@]}" "${few[@]}" --check-depth 512 --out no-deeper -- -p 0 -n 2 -d 0,600 -r 1 \
  --mode direct,graph-device -t 1 -ngl 0
says 'of 512 tokens, all but 16' out "no deeper"
refused '\--check-depth 31: 32 or more' "${sides[@]}" --check-depth 31

# The screen: leaves out what did not move, and measures the rest in full.
is head slow 'graph-device 20'
expect 1 "screen" "${sides[@]}" --screen "${few[@]}" --out screen "${sweep[@]}"
[ "$(outcomes screen)" = "graph-device slower graph-device slower" ] || fail "screen: $(outcomes screen)"
says '2 of 4 cells moved by no more than 5 %' out "screen"
is head
printf -- '# all of it\n-p 0 -n 2 "-d" 0,4 -r 1 --mode=direct,graph-device\n' >sweep.args
expect 0 "screen of the same" "${sides[@]}" --screen "${few[@]}" --out screen-same -- @sweep.args -t 1 -ngl 0
# Of 4 cells and 6 pairs: 1 - 4 / 2^5.
says 'not excluded: changes up to 5 %.* all 4 hold theirs in 87.5 of 100' out "screen of the same"
[ ! -e screen-same/pairs ] || fail "the screen of the same went on"
# What is exact needs no more pairs.
is head launches 2
expect 1 "more launches" "${sides[@]}" --screen --screen-pairs 2 --out screen-launches "${sweep[@]}"
says 'driver calls a token: .* -> ' out "more launches"
[ ! -e screen-launches/pairs ] || fail "more launches: the screen went on"
expect 0 "more launches, which are no matter" "${sides[@]}" "${few[@]}" --gate-exact none --out launches "${sweep[@]}"
agree launches

# ---- ended in the middle ----

is base seconds 0.15
is head seconds 0.15
# begin WORK PAIR: in the background, until that pair is half done; its number in $pid
begin() {
  : >"$FAKE/processes"
  bash "$script" "${sides[@]}" "${few[@]}" --out "$1" "${sweep[@]}" >out 2>err &
  pid=$!
  for _ in $(seq 300); do
    [ -e "$1/pairs/$2/base.log" ] || [ -e "$1/pairs/$2/head.log" ] && return 0
    kill -0 $pid 2>/dev/null || break
    sleep 0.02
  done
  fail "$1: did not get to pair $2: $(cat err)"
}
gone() { # WHAT: the sweep that ran
  for _ in $(seq 100); do
    kill -0 "$(tail -n 1 "$FAKE/processes")" 2>/dev/null || return 0
    sleep 0.02
  done
  fail "$1: its sweep still runs"
}
begin killed 003
kill -KILL $pid
wait $pid 2>/dev/null
gone killed
cat killed/pairs/00[12]/done >before
is base
is head
: >"$FAKE/processes"
expect 0 "going on after a kill" --resume killed
cat killed/pairs/00[12]/done | cmp - before || fail "a whole pair was measured again"
# Of 6 pairs two were there.
[ "$(wc -l <"$FAKE/processes")" -eq 8 ] || fail "after the kill $(wc -l <"$FAKE/processes") sweeps, not 8"
: >"$FAKE/processes"
expect 0 "going on with what is done" --resume killed
[ ! -s "$FAKE/processes" ] || fail "what is done was measured again"

is base seconds 0.15
is head seconds 0.15
begin stopped 002
kill -TERM $pid
code=0
wait $pid || code=$?
[ $code -eq 143 ] || fail "SIGTERM: exit code $code"
gone stopped
says 'go on with: .*--resume' err "SIGTERM"
is base
is head
line=$(sed -n 's/.*go on with: //p' err)
eval "bash $line" >out 2>err || fail "going on after SIGTERM: $line: $(cat err)"

# ---- what cannot be ----

refused '2: a whole number\|--pairs x' "${sides[@]}" --pairs x
refused 'chance needs 11 pairs' "${sides[@]}" --pairs 10 --out few "${sweep[@]}"
refused 'not empty; --resume' "${sides[@]}" --out killed
refused 'not a work folder' --resume base
refused 'no such folder' --resume nothing
refused 'unknown option --nope (ci' --nope
refused 'unknown option --nope' "${sides[@]}" --out nope -- --nope 3
refused '\-m: not behind --' "${sides[@]}" --out model -- -m x
echo '-d "0' >quote.args
refused 'a quote is not closed' "${sides[@]}" --out quote -- @quote.args
refused 'no such file' --base-build base --head-build head --model nowhere.gguf
refused 'holds no program' --base-build base --head-build killed
refused 'name head' --base-build base
refused 'one commit too many' "${sides[@]}" HEAD
refused 'cannot be made\|Not a directory' "${sides[@]}" --out sweep.args/w
is head code 2
refused 'exit code 2: gemmark bench: it went wrong' "${sides[@]}" --out code "${sweep[@]}"
is head
if unshare --user --map-root-user --mount true 2>/dev/null; then
  mkdir small
  # shellcheck disable=SC2016 # the inner shell's
  unshare --user --map-root-user --mount sh -c 'mount -t tmpfs -o size=64k none small && shift && exec bash "$@"' sh x \
    "$script" "${sides[@]}" --out small/w "${sweep[@]}" >out 2>err
  [ $? -eq 2 ] || fail "a full disk: $(tail -n 3 err)"
  says 'No space left\|cannot be written\|full' err "a full disk"
fi

# ---- commits: in a repository whose build copies a program ----

mkdir -p "a repository/ci"
cp -r "$(dirname "$script")"/compare-commits* "a repository/ci/"
script="$folder/a repository/ci/compare-commits.sh"
cat >"a repository/CMakePresets.json" <<'JSON'
{"version": 6,
 "configurePresets": [{"name": "release", "generator": "Ninja", "binaryDir": "${sourceDir}/build/release"}],
 "buildPresets": [{"name": "release", "configurePreset": "release"}]}
JSON
cat >"a repository/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(fake NONE)
add_custom_target(gemmark COMMAND ${CMAKE_COMMAND} -E copy ${CMAKE_SOURCE_DIR}/gemmark ${CMAKE_BINARY_DIR})
CMAKE
echo /build/ >"a repository/.gitignore"
fake=$tests/ci/compare_commits/fake_gemmark.sh
in_git() { git -C "a repository" -c user.name=test -c user.email=test@example.org "$@"; }
# commit NAME: of the working tree
commit() { in_git add -A && in_git commit -q -m "$1" && in_git tag "$1"; }
in_git init -q -b main .
cp "$fake" "a repository/gemmark"
commit first
sed "s/'none 0'/'graph-device 8'/" "$fake" >"a repository/gemmark"
commit slower
in_git checkout -q -b side first
echo 'cannot be read' >"a repository/CMakeLists.txt"
commit broken
in_git checkout -q -b unbuilt first
# shellcheck disable=SC2016 # it is CMake's
sed -i 's/COMMAND .*)/COMMAND sh ${CMAKE_SOURCE_DIR}\/fails.sh -Wall -Werror x.c)/' "a repository/CMakeLists.txt"
printf 'echo In function f\necho "x.c:1:2: error: it is wrong [-Werror=wrong]"\nexit 1\n' >"a repository/fails.sh"
commit unbuilt
in_git checkout -q side~1
echo else >"a repository/other"
commit other
of=(--model "$model" "${few[@]}")
expect 1 "a slower commit" first slower "${of[@]}" --out c1 "${sweep[@]}"
[ "$(outcomes c1)" = "direct same graph-device slower direct same graph-device slower" ] ||
  fail "a slower commit: $(outcomes c1)"
says "^base: commit $(in_git rev-parse first)" out "a slower commit"
expect 0 "from a slower commit" slower..first "${of[@]}" --out c2 "${sweep[@]}"
# From where other left slower's line: first.
expect 0 "from the merge base" slower...other "${of[@]}" --out c3 "${sweep[@]}"
says "^base: commit $(in_git rev-parse first)" out "from the merge base"
expect 0 "one commit twice" first first "${of[@]}" --out c4 "${sweep[@]}"
says 'one commit twice' err "one commit twice"
# The working tree, which is not clean, with a file that git does not know.
in_git checkout -q first
sed "s/'none 0'/'direct 8'/" "$fake" >"a repository/gemmark"
echo new >"a repository/new file"
expect 0 "changes in neither commit" first first "${of[@]}" --out c5 "${sweep[@]}"
says 'changes that are in neither commit; --dirty' err "changes in neither commit"
before=$(in_git status --porcelain)
expect 1 "the working tree" --dirty "${of[@]}" --cache kernels --out c6 "${sweep[@]}"
says '^head: the working tree on commit' out "the working tree"
[ -d kernels/base ] && [ -d kernels/head ] && [ ! -e c6/cache ] || fail "--cache: $(ls -d kernels/* c6/*)"
[ "$(in_git status --porcelain)" = "$before" ] || fail "the working tree is not what it was"
in_git show "$(sed -n 2p c6/commits):new file" >/dev/null || fail "a new file is not in the working tree's commit"
refused '): \(cmake --preset release fails\|does not build\): .*build-head.log' first broken "${of[@]}" \
  --out c7 "${sweep[@]}"
refused 'does not build: x.c:1:2: error: it is wrong \[-Werror=wrong\] (.*build-head.log' first unbuilt "${of[@]}" \
  --out c9 "${sweep[@]}"
refused 'nowhere: no such commit' first nowhere "${of[@]}"
[ "$(in_git worktree list | wc -l)" -eq 1 ] || fail "work trees are left: $(in_git worktree list)"
[ ! -e c7/trees/head ] && [ -s c7/build-head.log ] || fail "of a build that fails: $(ls c7 c7/trees)"
# Killed while it builds: the same commits as before, though the branch has moved on.
in_git checkout -q -f main
# shellcheck disable=SC2016 # it is CMake's
sed -i "s/COMMAND/COMMAND sleep 3 COMMAND/" "a repository/CMakeLists.txt"
commit sleeps
bash "$script" first main "${of[@]}" --out c8 "${sweep[@]}" >out 2>err &
pid=$!
for _ in $(seq 200); do
  [ -e c8/build-head.log.build ] && break
  sleep 0.02
done
kill -KILL $pid
wait $pid 2>/dev/null
in_git commit -q --allow-empty -m next
expect 1 "going on with a build" --resume c8
says "^head: commit $(in_git rev-parse sleeps)" out "going on with a build"

[ $failures -eq 0 ] || exit 1
echo "compare-commits: all as expected"
