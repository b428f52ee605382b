#!/usr/bin/env bash
# Google Benchmark's own compare.py reads what gemmark_bench_kernels writes, and sees in it what gemmark compare sees: nothing
# in a file beside itself, and a benchmark that took twice as long. SKIP (77) where compare.py is not installed.
#
#   tests/bench/compare_py.sh GEMMARK_BENCH_KERNELS GEMMARK
set -euo pipefail
kernels=$(readlink -f "${1:?usage: tests/bench/compare_py.sh GEMMARK_BENCH_KERNELS GEMMARK}")
gemmark=$(readlink -f "${2:?usage: tests/bench/compare_py.sh GEMMARK_BENCH_KERNELS GEMMARK}")
compare=/usr/share/benchmark/compare.py # where Debian's libbenchmark-tools has it
python=/usr/bin/python3                 # Debian's, whose python3-scipy it imports
[ -f "$compare" ] || { echo "SKIP: no $compare; ci/setup.sh installs libbenchmark-tools"; exit 77; }
"$python" -c 'import scipy' 2>/dev/null || { echo "SKIP: $python has no scipy; ci/setup.sh installs it"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
export XDG_STATE_HOME=$work/state
fail() { echo "compare_py: $*"; exit 1; }

# Repetitions, because compare.py's test of ranks wants some.
"$kernels" --benchmark_filter='^matvec/portable/(f16|q8_0)/6144x1536/tokens:1/threads:1/' --benchmark_min_time=0.005 \
  --benchmark_repetitions=9 --benchmark_out=before.json >/dev/null 2>said || { cat said; fail "no benchmarks"; }
[ "$(jq '[.benchmarks[] | select(.run_type == "iteration")] | length' before.json)" -eq 18 ] || fail "not 2 benchmarks of 9 repetitions"
# A busy machine's times are no good for a verdict: in their place, of each repetition and of what they add up to, tame ones.
mv before.json measured.json
jq '.benchmarks |= map((if .run_type == "iteration" then 1000 + .repetition_index else 1004 end) as $t |
  .real_time = $t | .cpu_time = $t)' measured.json >before.json
jq '.benchmarks |= map(if .name | contains("/q8_0/") then .real_time *= 2 | .cpu_time *= 2 else . end)' before.json >after.json

# row NAME: what compare.py says of its medians' times
row() { "$python" "$compare" --no-color benchmarks before.json "$1" >table 2>&1 || { cat table; fail "compare.py $1"; }; }
median() { awk -v name="$1" 'index($1, name) && $1 ~ /_median$/ { print $2, $3 }' table; }
row before.json
for type in f16 q8_0; do
  [ "$(median "/$type/")" = "+0.0000 +0.0000" ] || { cat table; fail "$type differs from itself"; }
done
row after.json
[ "$(median /f16/)" = "+0.0000 +0.0000" ] || { cat table; fail "f16 has not changed"; }
[ "$(median /q8_0/)" = "+1.0000 +1.0000" ] || { cat table; fail "q8_0 took twice as long"; }
grep -Eq '/q8_0/.*_pvalue +0\.00[0-9]+ .*U Test, Repetitions: 9 vs 9' table || { cat table; fail "no U test of 9 repetitions"; }

cp before.json again.json
code=0
"$gemmark" compare before.json again.json >said 2>&1 || code=$?
[ $code -eq 0 ] || { cat said; fail "gemmark compare, a file and itself: exit code $code"; }
code=0
"$gemmark" compare before.json after.json >said 2>&1 || code=$?
{ [ $code -eq 1 ] && grep -q 'q8_0.*slower' said; } || { cat said; fail "gemmark compare, twice as long: exit code $code"; }
# A file of a program that did not say what it was measured on, beside one of a memory twice as fast.
jq 'del(.context.gemmark_commit, .context.host_read_gb_s, .context.host_read_threads)' before.json >older.json
jq '.context.host_read_gb_s |= (tonumber * 2 | tostring)' before.json >faster.json
row older.json
"$gemmark" compare older.json before.json >said 2>&1 || { cat said; fail "gemmark compare, an older file: exit code $?"; }
grep -q 'Base is of commit unknown, head of' said || { cat said; fail "gemmark compare does not say the commits"; }
"$gemmark" compare before.json faster.json >said 2>&1 || { cat said; fail "gemmark compare, another bandwidth: exit code $?"; }
grep -Eq 'other bandwidths: host_read_gb_s: .*\(\+100\.0 %\)' said || { cat said; fail "gemmark compare: no other bandwidth"; }
echo "compare_py: 2 benchmarks, 9 repetitions: read by both"
