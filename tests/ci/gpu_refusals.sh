#!/usr/bin/env bash
# What ci/carry.sh and ci/gpu.sh refuse, in a line, before anything is built, removed or measured: nobody can look at a
# machine that is lent for minutes.
#
#   tests/ci/gpu_refusals.sh
set -uo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0
# refused LINE COMMAND...: exit code 2, nothing on standard output, that line
refused() {
  local line=$1 out err code
  shift
  out=$("$@" 2>err)
  code=$?
  err=$(<err)
  # shellcheck disable=SC2053 # a pattern
  if [ $code -ne 2 ] || [ -n "$out" ] || [[ $err != $line ]] || [ "$(wc -l <err)" -ne 1 ]; then
    echo "$*: exit code $code, '$out', '$err'"
    failures=$((failures + 1))
  fi
}

# carry.sh: a folder that is somebody's stays as it is. No build is there to be reached: cmake would be a failure.
mkdir bin
printf '#!/bin/sh\necho "cmake was called"\nexit 9\n' >bin/cmake
chmod +x bin/cmake
PATH=$folder/bin:$PATH
carry=$root/ci/carry.sh
mkdir theirs
echo precious >theirs/file
echo precious >file
refused 'carry: */theirs: neither new, empty, nor of an earlier ci/carry.sh; name another folder' "$carry" "$folder/theirs"
refused 'carry: */file: neither new, *' "$carry" "$folder/file"
[ "$(cat theirs/file)$(cat file)" = preciousprecious ] || { echo "carry: it touched them"; failures=$((failures + 1)); }
refused 'carry: unknown option --out (ci/carry.sh --help)' "$carry" --out x
refused 'usage: ci/carry.sh \[--program\] \[--unoptimised\] \[FOLDER\]' "$carry" a b

gpu=$root/ci/gpu.sh
mkdir -p built/bin empty here/tests/golden
printf '#!/bin/sh\necho "gemmark was called"\n' >built/bin/gemmark
chmod +x built/bin/gemmark
refused 'gpu: --build is missing: *' "$gpu" --out o
refused 'gpu: --out is missing: *' "$gpu" --build built
refused 'gpu: nowhere: no such folder; ci/carry.sh makes it' "$gpu" --build nowhere --out o
refused 'gpu: */empty/bin/gemmark is missing; ci/carry.sh makes it' "$gpu" --build empty --out o
refused 'gpu: unknown option --nope (*' "$gpu" --build built --out o --nope
refused 'gpu: the last option has no value' "$gpu" --build built --out
refused 'gpu: there is no stage quikc; there are: info kernels *' "$gpu" --build built --out o --only info,quikc
refused 'gpu: tests/golden is not here: *' "$gpu" --build built --out o
refused 'gpu: *file/o: cannot be made*' "$gpu" --build built --out file/o

[ $failures -eq 0 ] || exit 1
echo "gpu refusals: all as expected"
