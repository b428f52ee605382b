#!/usr/bin/env bash
# Which folder may include what: the directions that keep the harness free of the engine
# and the kernels free of both. Includes are written from the root ("engine/model/gguf.h"), or,
# of what the build makes, from the build folder ("generated/gemmark_version.h").
#
#   ci/check_includes.sh [ROOT]    prints FILE:LINE for each violation; exit code 1 if there is one
set -euo pipefail

root=${1:-$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)}
[ -d "$root" ] || { echo "check_includes: $root is not a folder" >&2; exit 2; }
cd "$root"

folders=()
for folder in base bench engine harness kernels; do
  [ -d "$folder" ] && folders+=("$folder")
done
[ ${#folders[@]} -gt 0 ] || { echo "check_includes: nothing to check in $root" >&2; exit 2; }

# shellcheck disable=SC2016 # the awk program's own $0
find "${folders[@]}" -type f \( -name '*.[ch]' -o -name '*.cc' -o -name '*.cpp' -o -name '*.hpp' -o -name '*.cu' \
  -o -name '*.cuh' \) -print0 | sort -z | xargs -0 -r awk '
  function folder_of(path) {
    if (path ~ /^harness\/cli\//) return "harness/cli"
    return substr(path, 1, index(path, "/") - 1)
  }
  BEGIN {
    may["base"] = " base "
    may["bench"] = " bench engine kernels base "
    may["harness/cli"] = " harness/cli harness engine base "
    may["harness"] = " harness base "
    may["engine"] = " engine kernels base "
    may["kernels"] = " kernels "
  }
  FNR == 1 { from = folder_of(FILENAME) }
  match($0, /^[ \t]*#[ \t]*include[ \t]*["<][^">]*[">]/) {
    path = substr($0, RSTART, RLENGTH)
    quoted = path ~ /"/
    sub(/^[^"<]*["<]/, "", path)
    sub(/[">]$/, "", path)
    ours = path ~ /^(base|bench|engine|harness|kernels|tests|plots|ci|results)\//
    if (!ours && quoted && path !~ /^generated\//) {
      printf "%s:%d: \"%s\" is not written from the root of the tree\n", FILENAME, FNR, path
      bad = 1
    }
    if (!ours) next
    if (path ~ /(^|\/)\.\.?\//) {
      printf "%s:%d: %s: no . or .. in an include\n", FILENAME, FNR, path
      bad = 1
    } else if (index(may[from], " " folder_of(path) " ") == 0) {
      printf "%s:%d: %s may not include %s\n", FILENAME, FNR, from, path
      bad = 1
    }
  }
  END { exit bad }
' || { echo "check_includes: the allowed directions are in CONTRIBUTING.md" >&2; exit 1; }
