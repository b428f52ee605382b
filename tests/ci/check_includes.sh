#!/usr/bin/env bash
# Does ci/check_includes.sh catch what it must, and pass what is allowed? In a temporary tree.
set -euo pipefail

check=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/ci/check_includes.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{base,bench,engine/{model,device,cuda,infer},harness/{sweep,stats,record,measure,plot,report,selftest,cli},kernels/cpu,tests}
failures=0

# expect ok|bad FILE LINE: one file with that line, two lines below its head
expect() {
  local want=$1 file=$2 line=$3 got=ok out
  printf '/* head */\n\n%s\n' "$line" >"$tree/$file"
  out=$(bash "$check" "$tree" 2>/dev/null) || got=bad
  rm "$tree/$file"
  if [ "$got" != "$want" ] || { [ "$want" = bad ] && [[ "$out" != "$file:3: "* ]]; }; then
    echo "$file with '$line': expected $want, got $got: $out"
    failures=$((failures + 1))
  fi
}

expect bad kernels/cpu/a.c '#include "base/error.h"'
expect bad harness/sweep/a.h '  #  include "engine/infer/session.h"'
expect bad harness/stats/a.c '#include <kernels/params.h>'
expect bad engine/model/a.c '#include "error.h"'
expect bad engine/model/a.c '#include "../base/error.h"'
expect bad engine/model/a.c '#include "engine/../harness/csv.h"'
expect bad engine/model/a.c '#include "tests/fake.h"'
expect bad engine/model/a.c '#include "engine/gguf.h"'
expect ok kernels/cpu/a.c '#include <math.h>'
expect ok harness/record/a.c '#include "generated/gemmark_version.h"'
expect ok tests/a.c '#include "harness/cli/options.h"'
expect ok bench/a.cpp '#include "kernels/cuda/geometry.h"'
expect bad bench/a.cpp '#include "harness/stats/stats.h"'

# Every pair of rooms, against the rooms' order as CONTRIBUTING.md tells it.
rooms=(base kernels engine/{model,device,cuda,infer} harness/{sweep,stats,record,measure,plot,report,selftest,cli} bench)
declare -A may=(
  [base]='' [kernels]=''
  [engine/model]='base kernels'
  [engine/device]='base kernels engine/model'
  [engine/cuda]='base kernels engine/model engine/device'
  [engine/infer]='base kernels engine/model engine/device engine/cuda'
  [harness/sweep]='base' [harness/stats]='base'
  [harness/record]='base harness/sweep'
  [harness/measure]='base harness/sweep harness/stats harness/record'
  [harness/plot]='base harness/sweep harness/stats harness/record'
  [harness/report]='base harness/sweep harness/stats harness/record harness/plot'
  [harness/selftest]='base harness/sweep harness/stats harness/record harness/measure'
  [harness/cli]="base ${rooms[*]:2:11}"
  [bench]='base kernels engine/model engine/device engine/cuda engine/infer'
)
for from in "${rooms[@]}"; do
  for to in "${rooms[@]}"; do
    want=bad
    [[ " $from ${may[$from]} " == *" $to "* ]] && want=ok
    expect $want "$from/a.c" "#include \"$to/b.h\""
  done
done

# A file beside the rooms.
echo >"$tree/engine/a.c"
if out=$(bash "$check" "$tree" 2>/dev/null) || [ "$out" != 'engine/a.c:1: stands in no room' ]; then
  echo "a file beside the rooms: $out"
  failures=$((failures + 1))
fi
rm "$tree/engine/a.c"

[ "$failures" -eq 0 ] || exit 1
echo "check_includes: all cases as expected"
