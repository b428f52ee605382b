#!/usr/bin/env bash
# Sets up, builds, sweeps a model over context lengths and modes, plots the result and reports it.
#
#   ci/demo.sh              a small synthetic model, made on the spot: about 3 minutes on 2 cores
#   ci/demo.sh FILE.gguf    your own model
#   ci/demo.sh --short ...  few tokens at few depths: to see whether everything works
set -euo pipefail

usage() { sed -n 's/^#   /  /p' "${BASH_SOURCE[0]}"; }
fail() { echo "demo: $*" >&2; exit 2; }

short=
model=
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) echo "usage:"; usage; exit 0 ;;
    --short) short=1 ;;
    --) shift; [ $# -le 1 ] || fail "one model at a time"; model=${1:-}; break ;;
    -*) fail "unknown option $1 (ci/demo.sh --help lists them)" ;;
    '') fail "the model's file name is empty" ;;
    *) [ -z "$model" ] || fail "one model at a time"; model=$1 ;;
  esac
  shift
done
if [ -n "$model" ]; then
  [ -f "$model" ] || fail "$model: no such file"
  [ -r "$model" ] || fail "$model: not readable"
  model=$(cd "$(dirname -- "$model")" && pwd)/$(basename -- "$model")
fi
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/setup.sh --minimal
# A folder that is configured already keeps its settings. The preset turns tests and benchmarks on, which need more
# packages than a demo.
[ -f build/release/build.ninja ] || cmake --preset release -DBUILD_TESTING=OFF -DGEMMARK_BENCH=OFF
cmake --build --preset release -j "$(nproc)" --target gemmark
gemmark=build/release/gemmark

if [ -z "$model" ]; then
  # E2B's real widths, one period of its layers, an eighth of its vocabulary: about 250 MB a token.
  model=build/demo-e2b-5.gguf
  [ -f "$model" ] ||
    "$gemmark" model make --arch gemma4-e2b --layers 5 --vocab 32768 --context 8192 --type q8_0 --seed 1 -o "$model"
fi

if [ -n "$short" ]; then
  sweep=(-p 0 -n 4 -d "0,16" -r 2 --mode direct,graph-params,graph-update,graph-device --fusion none,full)
else
  sweep=(@ci/quick.args)
fi
if [ ! -e /dev/nvidiactl ]; then
  echo "demo: no NVIDIA GPU here: every layer runs on the host device (CPU)"
fi
results=results/$(date -u +%Y%m%dT%H%M%SZ)-demo
"$gemmark" bench -m "$model" "${sweep[@]}" --out "$results"
"$gemmark" plot "$results"
"$gemmark" report "$results" -o "$results/report.html"

echo
echo "demo: a row per run       $results/runs.csv"
echo "demo: a row per token     $results/tokens.csv"
echo "demo: this machine        $results/env.json"
echo "demo: pictures            $results/plots/"
echo "demo: all of it, a page   $results/report.html"
