#!/usr/bin/env bash
# Which room may include what: the table below is the one of CONTRIBUTING.md. Includes are written
# from the root ("engine/model/gguf.h"), or, of what the build makes, from the build folder
# ("generated/gemmark_version.h"). A file outside every room is a violation as well.
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
  function room_of(path,   part, n) {
    n = split(path, part, "/")
    if (part[1] == "engine" || part[1] == "harness") return n > 2 ? part[1] "/" part[2] : part[1]
    return part[1]
  }
  function allow(room, rooms) { may[room] = " " room " " rooms " " }
  BEGIN {
    engine = "engine/model engine/text engine/device engine/cuda engine/infer"
    harness = "harness/sweep harness/measure harness/record harness/stats harness/report harness/plot harness/selftest"
    allow("base", "")
    allow("kernels", "")
    allow("engine/model", "kernels base")
    allow("engine/text", "engine/model kernels base")
    allow("engine/device", "engine/model kernels base")
    allow("engine/cuda", "engine/device engine/model kernels base")
    allow("engine/infer", engine " kernels base")
    allow("harness/sweep", "base")
    allow("harness/stats", "base")
    allow("harness/record", "harness/sweep base")
    allow("harness/measure", "harness/sweep harness/record harness/stats base")
    allow("harness/plot", "harness/sweep harness/record harness/stats base")
    allow("harness/report", "harness/sweep harness/record harness/stats harness/plot base")
    allow("harness/selftest", "harness/sweep harness/measure harness/record harness/stats base")
    allow("harness/cli", harness " " engine " base")
    allow("bench", engine " kernels base")
  }
  FNR == 1 {
    from = room_of(FILENAME)
    if (!(from in may)) {
      printf "%s:1: stands in no room\n", FILENAME
      bad = 1
      nextfile
    }
  }
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
    } else if (index(may[from], " " room_of(path) " ") == 0) {
      printf "%s:%d: %s may not include %s\n", FILENAME, FNR, from, path
      bad = 1
    }
  }
  END { exit bad }
' || { echo "check_includes: the allowed directions are in CONTRIBUTING.md" >&2; exit 1; }
