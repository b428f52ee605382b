#!/usr/bin/env bash
# Sets up, builds and runs every test, through one ctest whose summary comes last: unit tests
# as released, under ASan and UBSan, and under valgrind; the include and format checks; a
# bounded fuzz run; a short demo.
set -euo pipefail
[ $# -eq 0 ] || { echo "usage: ci/test.sh" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/setup.sh
jobs=$(nproc)
# Given here, because ci/demo.sh may have configured the folder without them.
cmake --preset release -DBUILD_TESTING=ON -DGEMMARK_BENCH=ON
cmake --build --preset release -j "$jobs"
cmake --preset asan
cmake --build --preset asan -j "$jobs"
exec ctest --preset ci -j "$jobs"
