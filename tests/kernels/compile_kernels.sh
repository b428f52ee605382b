#!/usr/bin/env bash
# Does NVRTC of a major version compile every CUDA kernel for these architectures, and without spilling
# registers where that was not agreed? Needs no GPU. Exit code 77 (skipped) where that NVRTC is not there.
#
#   tests/kernels/compile_kernels.sh [--few-types] GEMMARK MAJOR ARCHITECTURE,...
#
# ci/setup.sh fetches NVRTC into build/nvrtc/MAJOR; without one there, the one that the program finds is used.
# Specialised for E4B with an f16 cache: of the attention kernels the largest, and of the rest all there are. Then what
# is specialised for an f32 cache, whose tiles are twice as many registers, and for a q8_0 cache, with weights of Q8_0:
# the kernel of a whole token has all types of them with the f16 cache. Then that kernel for 26B-A4B, a mixture of
# experts, for Q8_0 alone, and for rows as wide as 12B's in BF16, whose warps wait twice. Then what decodes with
# Q8_0 once more as bench --timeline has it. --few-types: of products not each
# type of weights with each source, but each with one of them, for a second compiler's look at what the first has compiled
# in full.
set -euo pipefail
few=
[ "${1:-}" != --few-types ] || { few=1; shift; }
[ $# -eq 3 ] || { echo "usage: tests/kernels/compile_kernels.sh [--few-types] GEMMARK MAJOR ARCHITECTURE,..." >&2; exit 2; }
gemmark=$1 major=$2 archs=$3
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

# A few spilled bytes, once a kernel and outside its inner loop, are cheaper than a block less on each
# multiprocessor: the limit is what was seen with either NVRTC. Those of k_persistent, which has the whole shared memory
# and little L1 beside it, stay near only while they are few: watch its stack.
agreed='
sm_80  k_attention_prefill_256 36
sm_80  k_norm_matmul_any       8
sm_90  k_attention_mma_512_q8_0_q8_0      32
sm_90  k_attention_mma_half_512_q8_0_q8_0 24
sm_90  k_attention_prefill_256 36
sm_90  k_persistent_f16_f16    92
sm_90  k_persistent_f32_f32    208
sm_100 k_attention_mma_256_q8_0_q8_0 8
sm_100 k_matmul_tiled          56
sm_100 k_persistent_f32_f32    112
sm_100 k_snapkv_softmax        96
sm_100 k_snapkv_vote           68
sm_120 k_attention_mma_256_q8_0_q8_0 8
sm_120 k_norm_add              32
sm_120 k_persistent_f32_f32    112
sm_120 k_snapkv_softmax        64
sm_120 k_snapkv_vote           116
'

fetched=
if [ -d "$root/build/nvrtc/$major" ]; then
  fetched=$(find "$root/build/nvrtc/$major" -name "libnvrtc.so.$major")
fi
[ -z "$fetched" ] || export GEMMARK_NVRTC=$fetched
# What a head dimension or a cache type is compiled into has it from here.
specialised=$(cd "$root/kernels/cuda" && grep -l 'include "kernels/cuda/head_dims.cuh"' -- *.cu | sed 's/\.cu$//' | paste -sd ,)
said=$(mktemp)
trap 'rm -f "$said"' EXIT
code=0
types=q8_0,q4_0,q4_1,q5_0,q5_1,iq4_nl,q4_k,q5_k,q6_k
compile() { # ARGUMENT...
  "$gemmark" kernels --compile-only --arch "$archs" --widths 2560,10240 "$@" 2>"$said"
}
f16() { # ARGUMENT...
  compile --head-dims 256,512 --cache-type f16 "$@"
}
everything() {
  [ -n "$few" ] || { f16 --weights $types; return; }
  f16 --weights $types --source "$(cd "$root/kernels/cuda" && printf '%s\n' *.cu | sed 's/\.cu$//' |
    grep -vxE 'matvec|experts|experts_mma' | paste -sd ,)" &&
    f16 --weights q8_0,q4_0,q4_k,q6_k --source matvec &&
    f16 --weights q4_1,q5_k --source experts &&
    f16 --weights q5_0,q5_1,iq4_nl --source experts_mma
}
report=$(everything &&
  compile --head-dims 192,256,512 --cache-type f32 --weights q8_0 --source "$specialised" &&
  compile --head-dims 256,512 --cache-type q8_0 --weights q8_0 --source "$specialised" &&
  f16 --widths 2816,8192 --weights q8_0,f32 --experts --source persistent | sed 's/k_persistent_/experts:k_persistent_/' &&
  f16 --weights q8_0 --source persistent | sed 's/k_persistent_/q8_0:k_persistent_/' &&
  f16 --widths 3840,15360 --weights bf16 --source persistent | sed 's/k_persistent_/far:k_persistent_/' &&
  f16 --weights q8_0 --timeline --source elementwise,norm,rope,matvec,attention | sed 's/ k_/ stamped:k_/') || code=$?
if grep -q 'no NVRTC' "$said"; then
  echo "skipped: $(cat "$said")"
  exit 77
fi
if [[ $report == "NVRTC "* && $report != "NVRTC $major."* ]]; then
  echo "skipped: NVRTC $major is not here, only ${report%%$'\n'*}"
  exit 77
fi
if [ $code -ne 0 ]; then
  cat "$said"
  exit 1
fi
awk -v agreed="$agreed" '
  BEGIN {
    n = split(agreed, lines, "\n")
    for (i = 1; i <= n; i++)
      if (split(lines[i], f, " ") == 3) limit[f[1] " " f[2]] = f[3]
  }
  FNR == 1
  $1 ~ /^sm_/ {
    kernels++
    if ($6 > 0) {
      key = $1 " " $2
      bad += $6 > limit[key] + 0
      print ($6 > limit[key] + 0 ? "SPILLS " : "agreed ") $0 ", limit " limit[key] + 0
    }
  }
  END {
    print kernels + 0 " kernels compiled, " bad + 0 " spill more than was agreed"
    exit !kernels || bad > 0
  }' <<<"$report"
