#!/usr/bin/env bash
# A sweep over the machines of a Slurm cluster: a job array, one task a shard, and a merge that waits for all of them.
#
#   ci/slurm-sweep.sh [--gpu] DIR SHARDS [SBATCH_OPTION...] -- BENCH_OPTION...
#
#   --gpu           a GPU a task (--gpus-per-task=1); without it the host alone is measured
#   DIR             on a file system that all nodes share; shard-1 to shard-SHARDS and then merged are in it
#   SBATCH_OPTION   of the array: --partition=P --time=2:00:00 --exclusive --cpus-per-task=8 ...
#   BENCH_OPTION    of gemmark bench: -m FILE -d 0-8192+2048 -r 12 ...
#
# The program is $GEMMARK, or build/release/gemmark. Prints the ids of both jobs. Called again
# in the same words, it goes on with what is in DIR.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
usage() {
  sed -n '2,/^set /s/^# \{0,1\}//p' "${BASH_SOURCE[0]}" >&2
  exit 2
}
program=$(realpath -e -- "${GEMMARK:-$root/build/release/gemmark}") || exit 2
options=()
if [ "${1:-}" = --gpu ]; then
  options+=(--gpus-per-task=1)
  shift
fi
[[ $# -ge 4 && $2 =~ ^[1-9][0-9]{0,3}$ ]] || usage
out=$(realpath -m -- "$1") n=$2
shift 2
while [ $# -gt 0 ] && [ "$1" != -- ]; do
  options+=("$1")
  shift
done
[[ ${1:-} = -- && $# -gt 1 ]] || usage
shift
# Shards that are there go on with the options that they were begun with, whatever is said now.
printf -v sweep '%q ' "$n" "$@"
[ ! -e "$out/sweep" ] || [ "$(<"$out/sweep")" = "$sweep" ] || {
  echo "slurm-sweep: $out was begun as another sweep: $(<"$out/sweep")" >&2
  echo "slurm-sweep: say the same shards and options to go on, or name another folder" >&2
  exit 2
}
[ ! -e "$out/merged" ] || { echo "slurm-sweep: $out/merged is there already" >&2; exit 2; }
mkdir -p "$out/log"
printf '%s\n' "$sweep" >"$out/sweep"
array=$(sbatch --parsable --array="1-$n" --output="$out/log/%A_%a.out" "${options[@]}" "$root/ci/slurm-sweep.sbatch" \
  "$program" "$out" "$n" "$@")
array=${array%%;*}
printf -v merge '%q merge %q/shard-[0-9]*/ --out %q/merged' "$program" "$out" "$out"
merged=$(sbatch --parsable --job-name=gemmark-merge --dependency="afterok:$array" --kill-on-invalid-dep=yes --ntasks=1 \
  --output="$out/log/merge-%j.out" --wrap "$merge")
echo "shards: job $array"
echo "merge:  job ${merged%%;*}, into $out/merged"
