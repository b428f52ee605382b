#!/usr/bin/env bash
# Sets up, builds and runs every test, through one ctest whose summary comes last: unit tests
# as released, under ASan and UBSan, under valgrind, and those with threads under TSan; the include and
# format checks; bounded fuzz runs; a short demo. Every preset is built but debug, which
# differs from asan in what it leaves out.
set -euo pipefail
[ $# -eq 0 ] || { echo "usage: ci/test.sh" >&2; exit 2; }
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash ci/setup.sh
timeout 120 bash ci/setup.sh --real-model || true # without a network its tests are skipped
jobs=$(nproc)
cmake --preset release
cmake --build --preset release -j "$jobs"
cmake --preset asan
cmake --build --preset asan -j "$jobs"
cmake --preset tsan
cmake --build --preset tsan -j "$jobs" --target golden_derive test_cpu_team test_device_host test_host_threads \
  test_telemetry test_token_queue
# What nothing of this runs: it builds, and links with archives. What an optimiser warns of, the release build has said.
bash ci/carry.sh --program --unoptimised build/carried
exec ctest --preset ci -j "$jobs"
