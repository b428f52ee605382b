#!/bin/sh
# Fuzzes what reads files of strangers for a bounded time under AddressSanitizer and
# UndefinedBehaviorSanitizer: ci/fuzz.sh [SECONDS [TARGET]], 20 by default; TARGET is gguf (the
# default: GGUF files), tokenizer (vocabularies in them, and text), results (run directories),
# history (files of a history) or status (of sweeps that run).
# Non-zero on a crash, a leak, a hang of 10 s or more than 1 GiB; the input that did it
# is left in build/fuzz/ and named. What the fuzzer finds stays in build/fuzz/corpus.
set -eu

seconds=${1:-20}
target=${2:-gguf}
case $seconds in
'' | *[!0-9]* | 0)
  echo "ci/fuzz.sh: SECONDS is '$seconds': give a whole number above 0" >&2
  exit 2
  ;;
esac
case $target in
gguf) longest=8192 ;;
tokenizer) longest=24576 ;;
results) longest=16384 ;;
history) longest=8192 ;;
status) longest=4096 ;;
*)
  echo "ci/fuzz.sh: TARGET is '$target': name gguf, tokenizer, results, history or status" >&2
  exit 2
  ;;
esac
cd "$(dirname "$0")/.."
command -v clang >/dev/null || {
  echo "ci/fuzz.sh: clang is missing: install it (Debian, Ubuntu: apt install clang)" >&2
  exit 2
}

mkdir -p build
cmake -S . -B build/fuzz -G Ninja -DCMAKE_C_COMPILER=clang -DGEMMARK_FUZZ=ON \
  -DGEMMARK_BENCH=OFF -DBUILD_TESTING=OFF >build/fuzz-configure.log 2>&1 || {
  cat build/fuzz-configure.log >&2
  exit 1
}
cmake --build build/fuzz --target "fuzz_$target"

corpus=build/fuzz/corpus/$target
mkdir -p "$corpus"
if [ "$target" = results ]; then
  # Made anew: its columns are those of the program.
  cmake --build build/fuzz --target seed_results
  rm -rf build/fuzz/seed
  build/fuzz/tests/fuzz/seed_results "$corpus/seed" build/fuzz/seed
elif [ "$target" = history ]; then
  cmake --build build/fuzz --target seed_history
  build/fuzz/tests/fuzz/seed_history "$corpus/seed"
elif [ "$target" = tokenizer ]; then
  # The vocabularies of the tests, each behind a text and its length.
  for vocabulary in tests/vectors/tokenizer-*.gguf; do
    text="It's a  <b>token</b>, the 2nd
one"
    { printf "\\$(printf %o ${#text})\\0%s" "$text"; cat "$vocabulary"; } >"$corpus/$(basename "$vocabulary")"
  done
else
  cp "tests/fuzz/corpus/$target"/* "$corpus/"
fi
log=build/fuzz/fuzz_$target.log
status=0
"build/fuzz/tests/fuzz/fuzz_$target" -max_total_time="$seconds" -max_len=$longest -timeout=10 -rss_limit_mb=1024 \
  -print_final_stats=1 -artifact_prefix=build/fuzz/ "$corpus" >"$log" 2>&1 || status=$?
executions=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
if [ "$status" -ne 0 ]; then
  tail -n 60 "$log" >&2
  echo "fuzz_$target: FAILED after ${executions:-?} executions; the log is $log" >&2
  exit 1
fi
echo "fuzz_$target: ${executions:-?} executions in $seconds s, no failure"
