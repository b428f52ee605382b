#!/usr/bin/env bash
# Does ci/check_includes.sh catch what it must, and pass what is allowed? In a temporary tree.
set -euo pipefail

check=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/ci/check_includes.sh
tree=$(mktemp -d)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{base,bench,engine,harness/cli,kernels/cpu,tests}
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

expect ok bench/a.cpp '#include "kernels/params.h"'
expect ok bench/a.cpp '#include "engine/model/gguf.h"'
expect bad bench/a.cpp '#include "harness/csv.h"'
expect ok harness/cli/a.c '#include "harness/csv.h"'
expect ok harness/cli/a.c '#include "engine/infer/session.h"'
expect bad harness/cli/a.c '#include "kernels/params.h"'
expect ok harness/a.c '#include "base/error.h"'
expect bad harness/a.c '#include "engine/infer/session.h"'
expect bad harness/a.h '  #  include "engine/infer/session.h"'
expect bad harness/a.c '#include "harness/cli/options.h"'
expect bad harness/a.c '#include <kernels/params.h>'
expect ok engine/a.c '#include "kernels/cpu/cpu.h"'
expect bad engine/a.c '#include "harness/csv.h"'
expect bad engine/a.c '#include "error.h"'
expect bad engine/a.c '#include "../harness/csv.h"'
expect bad engine/a.c '#include "engine/../harness/csv.h"'
expect bad engine/a.c '#include "tests/fake.h"'
expect ok kernels/cpu/a.c '#include "kernels/params.h"'
expect ok kernels/cpu/a.c '#include <math.h>'
expect bad kernels/cpu/a.c '#include "base/error.h"'
expect bad kernels/a.cu '#include "engine/device/device.h"'
expect ok base/a.c '#include "base/error.h"'
expect bad base/a.c '#include "engine/infer/session.h"'
expect ok tests/a.c '#include "harness/cli/options.h"'

[ "$failures" -eq 0 ] || exit 1
echo "check_includes: all cases as expected"
