#!/usr/bin/env bash
# Builds what ci/gpu.sh needs on a machine with a GPU and none of the dependencies, and collects it in a
# folder to carry there: the program and the tests, linked with archives where there are some, stripped;
# the other libraries and ci/gpu.sh beside them.
#
#   ci/carry.sh [--program] [--unoptimised] [FOLDER]    default: .carry, which git ignores
#
# --program: gemmark alone, for sweeps there, without tests and kernel benchmarks. --unoptimised: nothing to measure with,
# built in half the time, to see that it builds and links.
set -euo pipefail
usage() { sed -n 's/^#   /  /p' "${BASH_SOURCE[0]}"; }
program_alone='' flags=()
[ "${1:-}" != --program ] || { program_alone=1; shift; }
[ "${1:-}" != --unoptimised ] || { flags=(-DCMAKE_C_FLAGS_RELWITHDEBINFO="-O0 -DNDEBUG"); shift; }
case ${1:-} in
  -h | --help) usage; exit 0 ;;
  -*) echo "carry: unknown option $1 (ci/carry.sh --help)" >&2; exit 2 ;;
esac
[ $# -le 1 ] || { echo "usage: ci/carry.sh [--program] [--unoptimised] [FOLDER]" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."
to=${1:-.carry}
limit_mib=60
# What an earlier call collected is replaced; anything else is somebody's.
if [ -e "$to" ] && [ ! -f "$to/commit" ] && { [ ! -d "$to" ] || [ -n "$(ls -A "$to")" ]; }; then
  echo "carry: $to: neither new, empty, nor of an earlier ci/carry.sh; name another folder" >&2
  exit 2
fi

programs=(gemmark_bench_kernels gemmark_host_decode gemmark_host_prefill gemmark_replay_cost)
tests=(golden_derive hybrid_check test_kernels_planted
  test_kernels_cuda_{vectors,products,attention,prefill,prompt,snapkv,sample}
  test_{device,golden,hybrid,snapkv,kv_snapshot,prompt_modes,persistent,quantised}_cuda
  test_token_queue test_generate test_real_model test_recall_model test_cupti)
[ -z "$program_alone" ] || programs=() tests=()

cmake --preset carry "${flags[@]+"${flags[@]}"}" >/dev/null
cmake --build --preset carry -j "$(nproc)" --target gemmark "${programs[@]}" "${tests[@]}"
rm -rf "$to"
mkdir -p "$to/bin" "$to/tests" "$to/lib"
from=build/carry
strip -o "$to/bin/gemmark" "$from/gemmark"
for program in "${programs[@]}"; do
  strip -o "$to/bin/$program" "$from/bench/$program"
done
for test in "${tests[@]}"; do
  strip -o "$to/tests/$test" "$from/tests/$test"
done
# What is left that is not the C library's.
find "$to/bin" "$to/tests" -type f -exec ldd {} + | awk '$2 == "=>" && $3 ~ /^\// { print $3 }' | sort -u |
  { grep -vE '/lib(c|m|dl|pthread|rt)\.so' || true; } | while read -r library; do
    cp -L "$library" "$to/lib/"
  done
cp ci/gpu.sh "$to/"
git rev-parse --short=10 HEAD >"$to/commit"

mib=$(du -sm "$to" | cut -f1)
[ "$mib" -le $limit_mib ] || { echo "carry: $to has $mib MiB; $limit_mib are allowed" >&2; exit 1; }
echo "carry: $to, $mib MiB: $(cd "$to" && find . -type f | sort | tr '\n' ' ')"
