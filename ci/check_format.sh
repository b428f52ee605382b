#!/usr/bin/env bash
# Is every C, C++ and CUDA file formatted as .clang-format says? Versions of clang-format
# differ in details, so one version judges: exit code 77 (skipped) where only others are there.
#
#   ci/check_format.sh          prints what differs; exit code 1 if anything does
#   ci/check_format.sh --fix    formats in place
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

version=14
if command -v clang-format-$version >/dev/null; then
  format=clang-format-$version
elif command -v clang-format >/dev/null; then
  format=clang-format
  if ! clang-format --version | grep -q "version $version\."; then
    echo "check_format: skipped: needs clang-format $version, found $(clang-format --version)"
    exit 77
  fi
else
  echo "check_format: clang-format is missing: install the package clang-format (version $version)" >&2
  exit 1
fi

case ${1:-} in
  '') mode=(--dry-run -Werror) ;;
  --fix) mode=(-i) ;;
  *) echo "usage: ci/check_format.sh [--fix]" >&2; exit 2 ;;
esac
find base bench engine harness kernels tests -type f \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.cu' \) -print0 |
  xargs -0 -r "$format" "${mode[@]}"
