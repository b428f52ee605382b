#!/usr/bin/env bash
# Runs a program under memcheck: any error and any leaked block fails.
#
#   ci/valgrind.sh PROGRAM [ARGUMENT...]
set -euo pipefail
[ $# -gt 0 ] || { echo "usage: ci/valgrind.sh PROGRAM [ARGUMENT...]" >&2; exit 2; }
command -v valgrind >/dev/null ||
  { echo "ci/valgrind.sh: valgrind is missing: install the package valgrind" >&2; exit 1; }
exec valgrind --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite,possible \
  --show-leak-kinds=definite,possible "$@"
