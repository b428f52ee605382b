#!/usr/bin/env bash
# A sweep of a tiny model under memcheck.
#
#   tests/ci/valgrind_sweep.sh GEMMARK
set -euo pipefail
gemmark=${1:?usage: tests/ci/valgrind_sweep.sh GEMMARK}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
out=$(mktemp -d)
trap 'rm -rf "$out"' EXIT
"$here/../ci/valgrind.sh" "$gemmark" bench -m "$here/golden/gemma4-e2b-tiny.q8_0.gguf" -ngl 0 -t 2 \
  -p 4 -n 2 -d 3 -r 1 --mode direct,graph-update --out "$out/run"
