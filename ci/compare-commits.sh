#!/usr/bin/env bash
# Builds two commits, checks that they compute the same, measures them side by side in fresh processes, and says what
# changed.
#
#   ci/compare-commits.sh BASE HEAD [options] [-- arguments of gemmark bench]
#   ci/compare-commits.sh --dirty [BASE] ...     the working tree against BASE (HEAD)
#   ci/compare-commits.sh --resume FOLDER        goes on where it was ended
#
#   --model FILE        what is measured (default: a synthetic model of 60 MB, made on the spot)
#   --pairs N           pairs of processes (default: what the exact test needs for so many cells, at least 10)
#   --more N            pairs more where the first look cannot tell (default: as many again); 0: one look
#   --alpha PCT         chance of a false alarm of the whole comparison (default 1), divided over the looks
#   --delta PCT         smallest change that counts (default 1)
#   --seed N            of the order in each block of two pairs (default 1)
#   --tolerance X       relative L2 distance of logits that is still the same computation (default 1e-4)
#   --screen            first look at 8 pairs for changes beyond 5 %; where there is none that ends it, and it is said
#   --out FOLDER        work folder (default: build/compare/<UTC time>-<base>-<head>): builds, runs, reports
#   --base-build DIR, --head-build DIR    folders with a gemmark that is built already; nothing is built then
#
# Exit codes: 0 the same or better, 1 a regression, 2 bad usage, 3 cannot tell, 4 other results; 130 interrupted.
#
# Every pair is one process of each side next to each other, in seeded ABBA blocks; the process is the unit, and pairs
# are compared. The number of pairs is fixed beforehand: the second look is taken only where the first says "cannot
# tell", and each look has half of alpha, so that both together keep it.
# shellcheck disable=SC2015 # A && B || fail: fail does not return
set -euo pipefail

usage() { sed -n '2,/^set /{/^#   /s/^#   /  /p}' "${BASH_SOURCE[0]}"; }
fail() { echo "compare-commits: $*" >&2; exit 2; }
say() { echo "compare-commits: $*"; }

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
base='' head='' dirty='' model='' pairs='' more='' alpha=1 delta=1 seed=1 tolerance=1e-4 screen='' out='' resume=''
base_build='' head_build='' bench=() names=()

value() { [ $# -ge 2 ] && [ -n "$2" ] || fail "$1 needs a value"; }
whole() { [[ $2 =~ ^[0-9]{1,6}$ ]] || fail "$1: '$2' is not a whole number"; }
number() { [[ $2 =~ ^[0-9]+(\.[0-9]+)?(e-?[0-9]+)?$ ]] || fail "$1: '$2' is not a number"; }
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) echo "usage:"; usage; exit 0 ;;
    --dirty) dirty=1 ;;
    --screen) screen=1 ;;
    --model) value "$@"; model=$2; shift ;;
    --pairs) value "$@"; whole "$@"; pairs=$2; shift ;;
    --more) value "$@"; whole "$@"; more=$2; shift ;;
    --alpha) value "$@"; number "$@"; alpha=$2; shift ;;
    --delta) value "$@"; number "$@"; delta=$2; shift ;;
    --seed) value "$@"; whole "$@"; seed=$2; shift ;;
    --tolerance) value "$@"; number "$@"; tolerance=$2; shift ;;
    --out) value "$@"; out=$2; shift ;;
    --resume) value "$@"; resume=$2; shift ;;
    --base-build) value "$@"; base_build=$2; shift ;;
    --head-build) value "$@"; head_build=$2; shift ;;
    --) shift; bench=("$@"); break ;;
    -*) fail "unknown option $1 (ci/compare-commits.sh --help lists them)" ;;
    *..*) names+=("${1%%..*}" "${1##*..}") ;;
    *) names+=("$1") ;;
  esac
  shift
done

# ---- what is compared ----

keep() { printf '%s\n' "$2" >"$out/$1.tmp" && mv "$out/$1.tmp" "$out/$1"; }
kept() { [ -f "$out/$1" ] && cat "$out/$1"; }

if [ -n "$resume" ]; then
  [ ${#names[@]} -eq 0 ] && [ ${#bench[@]} -eq 0 ] && [ -z "$model$pairs$more$dirty$out" ] ||
    fail "--resume: goes on as it began; leave the rest out"
  out=$(cd "$resume" 2>/dev/null && pwd) || fail "--resume: $resume: no such folder"
  [ -f "$out/settings" ] || fail "--resume: $out: is no folder of a comparison (it has no file 'settings')"
  mapfile -t lines <"$out/settings"
  [ ${#lines[@]} -ge 13 ] || fail "--resume: $out/settings: is cut; start anew"
  base=${lines[0]} head=${lines[1]} dirty=${lines[2]} model=${lines[3]} pairs=${lines[4]} more=${lines[5]}
  alpha=${lines[6]} delta=${lines[7]} seed=${lines[8]} tolerance=${lines[9]} screen=${lines[10]}
  base_build=${lines[11]} head_build=${lines[12]}
  bench=("${lines[@]:13}")
else
  commit_of() {
    git -C "$root" rev-parse --verify --quiet --short=12 "$1^{commit}" || fail "$1: no such commit"
  }
  if [ -n "$base_build$head_build" ]; then
    [ -n "$base_build" ] && [ -n "$head_build" ] || fail "--base-build and --head-build go together"
    [ ${#names[@]} -eq 0 ] && [ -z "$dirty" ] || fail "--base-build: commits are not built then; leave their names out"
    for folder in "$base_build" "$head_build"; do
      [ -x "$folder/gemmark" ] || fail "$folder/gemmark: no such program; build it first"
    done
    base_build=$(cd "$base_build" && pwd) head_build=$(cd "$head_build" && pwd)
    base=base head=head
  elif [ -n "$dirty" ]; then
    [ ${#names[@]} -le 1 ] || fail "--dirty: the working tree is head; name base alone"
    base=$(commit_of "${names[0]:-HEAD}") head=working-tree
  else
    [ ${#names[@]} -eq 2 ] || fail "name two commits: ci/compare-commits.sh BASE HEAD (--help says more)"
    base=$(commit_of "${names[0]}") head=$(commit_of "${names[1]}")
  fi
  for word in "${bench[@]}"; do
    case $word in
      -m | --model | --out | --resume | -o | --dry-run) fail "$word: is this script's own; leave it out of what follows --" ;;
      *$'\n'*) fail "an argument of bench has a line break" ;;
    esac
  done
  [ ${#bench[@]} -gt 0 ] || bench=(-p 64 -n 32 -d '0,512' -r 2 --mode 'direct,graph-device')
  if [ -n "$model" ]; then
    [ -f "$model" ] && [ -r "$model" ] || fail "--model: $model: cannot be read"
    model=$(cd "$(dirname -- "$model")" && pwd)/$(basename -- "$model")
  fi
  [ -n "$out" ] || out=$root/build/compare/$(date -u +%Y%m%dT%H%M%SZ)-$base-$head
  [ ! -e "$out" ] || [ -z "$(ls -A "$out" 2>/dev/null)" ] || fail "--out: $out: is not empty; --resume goes on with it"
  mkdir -p "$out" 2>/dev/null && out=$(cd "$out" && pwd) || fail "--out: $out: cannot be made"
fi
mkdir -p "$out/runs" "$out/log" || fail "$out: cannot be written"

# Children are ended with the script, and what they were writing is not counted.
trap 'trap - INT TERM; kill -- $(jobs -p) 2>/dev/null; echo "compare-commits: interrupted; go on with: ci/compare-commits.sh --resume $out" >&2; exit 130' INT TERM

# ---- builds ----

build() { # SIDE COMMIT
  local side=$1 commit=$2 source
  [ ! -f "$out/build-$side.done" ] || return 0
  if [ "$commit" = working-tree ]; then
    source=$root
  else
    source=$out/source-$side
    [ -e "$source/.git" ] || git -C "$root" worktree add --detach --force "$source" "$commit" >"$out/log/build-$side" 2>&1 ||
      fail "$commit: cannot be checked out; $out/log/build-$side says why"
  fi
  say "building $side ($commit)"
  cmake -S "$source" --preset release -B "$out/build-$side" -DBUILD_TESTING=OFF -DGEMMARK_BENCH=OFF \
    -DGEMMARK_CI_TESTS=OFF >>"$out/log/build-$side" 2>&1 &&
    cmake --build "$out/build-$side" -j "$(nproc)" --target gemmark >>"$out/log/build-$side" 2>&1 ||
    fail "$side ($commit) does not build; $out/log/build-$side says why"
  : >"$out/build-$side.done"
}

if [ -n "$base_build" ]; then
  programs=("$base_build/gemmark" "$head_build/gemmark")
else
  build base "$base"
  build head "$head"
  programs=("$out/build-base/gemmark" "$out/build-head/gemmark")
fi
sides=(base head)

# The program that compares: head's where it can, else base's, else this tree's.
tool=
for program in "${programs[1]}" "${programs[0]}" "$root/build/release/gemmark"; do
  if [ -x "$program" ] && "$program" compare --help >/dev/null 2>&1; then
    tool=$program
    break
  fi
done
[ -n "$tool" ] || fail "neither commit knows 'compare', nor is there build/release/gemmark here that does: build this tree first"

if [ -z "$model" ]; then
  model=$out/model.gguf
  [ -f "$model" ] || "${programs[0]}" model make --arch gemma4-e2b --layers 5 --vocab 8192 --context 8192 --type q8_0 \
    --seed 1 -o "$model" >"$out/log/model" 2>&1 || fail "the model cannot be made; $out/log/model says why"
fi

# gemmark SIDE ARGUMENT...: of a side, with a kernel cache of its own
gemmark() {
  local side=$1
  shift
  XDG_CACHE_HOME="$out/cache-${sides[side]}" "${programs[side]}" "$@"
}

# ---- do they compute the same? ----

# Rows, relative L2 distance, and rows in which the likeliest token differs though its lead exceeds the distance.
distance() { # FILE FILE ROWS
  paste <(od -An -v -w4 -tf4 "$1") <(od -An -v -w4 -tf4 "$2") | awk -v rows="$3" -v n="$(($(stat -c %s "$1") / 4))" '
    { d = $1 - $2; sum += $1 * $1; diff += d * d; ad = d < 0 ? -d : d; if (ad > most) most = ad
      if ($1 > a1) { a2 = a1; a1 = $1; ai = NR } else if ($1 > a2) a2 = $1
      if ($2 > b1) { b1 = $2; bi = NR } }
    NR % (n / rows) == 0 { if (ai != bi && a1 - a2 > 2 * most) other++; a1 = a2 = b1 = -1e30; most = 0 }
    BEGIN { a1 = a2 = b1 = -1e30 }
    END { if (sum > 0) l2 = sqrt(diff / sum); printf "%.3g %d\n", l2, other + 0 }'
}

tokens=2,3,17,29,5,41,23,11
rows=8
if [ "$(kept logits || true)" = "" ]; then
  worst=0 equal=0 checks=0
  for mode in direct graph-device; do
    for fusion in none full; do
      for side in 0 1; do
        rm -f "$out/logits-$side"
        gemmark $side eval -m "$model" --tokens $tokens --prefill 3 --mode $mode --fusion $fusion -ctk f32 -ctv f32 \
          --prefill-precision f32 -o "$out/logits-$side" >"$out/log/eval-${sides[side]}" 2>&1 && code=0 || code=$?
        if [ "$code" -eq 4 ] && [ $side -eq 1 ]; then
          say "head gives wrong results (mode $mode, fusion $fusion): $(tail -n 1 "$out/log/eval-head")"
          exit 4
        fi
        [ "$code" -eq 0 ] || fail "${sides[side]}: gemmark eval ended with $code: $(tail -n 1 "$out/log/eval-${sides[side]}")"
      done
      checks=$((checks + 1))
      if cmp -s "$out/logits-0" "$out/logits-1"; then
        equal=$((equal + 1))
        continue
      fi
      [ "$(stat -c %s "$out/logits-0")" = "$(stat -c %s "$out/logits-1")" ] ||
        { say "base and head give different numbers of logits (mode $mode, fusion $fusion)"; exit 4; }
      read -r l2 other < <(distance "$out/logits-0" "$out/logits-1" $rows)
      # What is no number is no small distance.
      if ! [[ $l2 =~ ^[0-9][0-9.e+-]*$ ]] || ! awk -v a="$l2" -v b="$tolerance" 'BEGIN { exit !(a + 0 <= b + 0) }' ||
        [ "$other" -gt 0 ]; then
        say "base and head do not compute the same (mode $mode, fusion $fusion): logits differ by $l2 (relative L2," \
          "$tolerance is allowed), $other of $rows rows have another likeliest token. Nothing was timed."
        exit 4
      fi
      worst=$(awk -v a="$worst" -v b="$l2" 'BEGIN { print (a + 0 > b + 0 ? a : b) }')
    done
  done
  rm -f "$out/logits-0" "$out/logits-1"
  if [ "$equal" = "$checks" ]; then
    keep logits "logits: the same bits in $checks runs of $rows tokens (direct and graph-device, fused and not)"
  else
    keep logits "logits: the same bits in $equal of $checks runs, at most $worst apart (relative L2) in the others"
  fi
fi
say "$(kept logits)"

# ---- pairs ----

if [ -z "$resume" ]; then
  cells=$(gemmark 0 bench -m "$model" "${bench[@]}" --dry-run 2>"$out/log/dry-run" | sed -n 's/^dry run of \([0-9]*\) cells.*/\1/p') || true
  [[ $cells =~ ^[0-9]+$ ]] || fail "base: bench does not take these arguments: $(tail -n 1 "$out/log/dry-run")"
  gemmark 1 bench -m "$model" "${bench[@]}" --dry-run >/dev/null 2>"$out/log/dry-run" ||
    fail "head: bench does not take these arguments: $(tail -n 1 "$out/log/dry-run")"
  # 2 / 2^n must be below alpha / 2 / cells: the exact test of n pairs, at a look's share, over all cells.
  least=$(awk -v a="$alpha" -v c="$cells" 'BEGIN { n = 1; while (2 / 2 ^ n >= a / 100 / 2 / c) n++; print n }')
  [ -n "$pairs" ] || pairs=$((least + 2 > 10 ? least + 2 : 10))
  [ -n "$more" ] || more=$pairs
  [ "$pairs" -ge "$least" ] || say "note: $pairs pairs cannot tell $cells cells apart at alpha $alpha %: $least would"
  printf '%s\n' "$base" "$head" "$dirty" "$model" "$pairs" "$more" "$alpha" "$delta" "$seed" "$tolerance" "$screen" \
    "$base_build" "$head_build" "${bench[@]}" >"$out/settings.tmp"
  mv "$out/settings.tmp" "$out/settings"
fi

# Which side begins pair I: drawn for every second one, and the other way round in the pair behind it (ABBA).
first_side() {
  local block=$(($1 / 2)) drawn
  drawn=$(printf '%s' "$seed.$block" | cksum | cut -d' ' -f1)
  echo $(((drawn + $1 % 2) % 2))
}

measure() { # UP TO so many pairs
  local i side k
  for ((i = 0; i < $1; i++)); do
    for k in 0 1; do
      side=$((($(first_side $i) + k) % 2))
      to=$out/runs/${sides[side]}-$i
      [ ! -d "$to" ] || continue
      rm -rf "$to.tmp"
      gemmark $side bench -m "$model" "${bench[@]}" --out "$to.tmp" >"$out/log/bench" 2>&1 && code=0 || code=$?
      if [ "$code" -ne 0 ]; then
        cp "$out/log/bench" "$out/log/bench-${sides[side]}-$i" 2>/dev/null || true
        if [ "$code" -eq 4 ]; then
          say "${sides[side]}: wrong results in pair $i: $(grep -v '^$' "$out/log/bench" | tail -n 3 | tr '\n' ' ')"
          exit 4
        fi
        [ -f "$to.tmp/runs.csv" ] && [ "$code" -lt 128 ] && [ "$code" -ne 2 ] ||
          fail "${sides[side]}: gemmark bench ended with $code in pair $i: $(tail -n 1 "$out/log/bench")"
      fi
      mv "$to.tmp" "$to"
      # A pair that was half done is measured again as a whole: its sides are to be neighbours.
      [ $k -eq 1 ] || rm -rf "$out/runs/${sides[1 - side]}-$i"
    done
    say "pair $((i + 1)) of $1"
  done
}

directories() { # UP TO: --base and --head of each pair
  local i
  words=()
  for ((i = 0; i < $1; i++)); do words+=(--base "$out/runs/base-$i" --head "$out/runs/head-$i"); done
}

# look PAIRS ALPHA DELTA: sets code
look() {
  directories "$1"
  "$tool" compare "${words[@]}" --paired --allow-env-diff --alpha "$2" --delta "$3" --all >"$out/compare.txt" 2>"$out/log/compare" &&
    code=0 || code=$?
  [ "$code" -ne 2 ] || fail "the comparison: $(tail -n 1 "$out/log/compare")"
}

finish() { # PAIRS ALPHA DELTA
  directories "$1"
  "$tool" compare "${words[@]}" --paired --allow-env-diff --alpha "$2" --delta "$3" -o json --out "$out/compare.json" || true
  for format in md html; do
    if "$tool" report --help >/dev/null 2>&1; then
      reported=()
      local i
      for ((i = 0; i < $1; i++)); do reported+=("$out/runs/head-$i" --base "$out/runs/base-$i"); done
      "$tool" report "${reported[@]}" --paired --allow-env-diff -o "$out/report.$format" >"$out/log/report" 2>&1 ||
        say "note: no report.$format: $(tail -n 1 "$out/log/report")"
    fi
  done
  echo
  cat "$out/compare.txt"
  echo
  kept logits
  if grep -q ',"host",' "$out/runs/base-0/runs.csv"; then
    echo "measured on the host device: it shows what a commit does to the CPU kernels and to the host's cost of launches," \
      "captures and replays, and counts launches exactly; it cannot show what a GPU gains, and wall times of a shared" \
      "machine vary, so small changes stay unclear"
  fi
  echo "pairs: $1; looks: at most $([ "$more" -eq 0 ] && echo 1 || echo 2), each at alpha $2 %; order by seed $seed"
  echo "in $out: compare.txt, compare.json$([ -f "$out/report.md" ] && echo ", report.md")$([ -f "$out/report.html" ] && echo ", report.html"), runs/"
  keep exit "$4"
  exit "$4"
}

if [ -n "$screen" ] && [ ! -f "$out/screened" ]; then
  screened=$((pairs < 8 ? pairs : 8))
  measure "$screened"
  look "$screened" 5 5
  if [ "$code" -eq 0 ]; then
    say "screened with $screened pairs: no cell changed by more than 5 %; smaller changes are not excluded"
    finish "$screened" 5 5 0
  fi
  keep screened "$code"
  say "screened with $screened pairs: not clear below 5 %; going on with all $pairs"
fi

per_look=$alpha
[ "$more" -eq 0 ] || per_look=$(awk -v a="$alpha" 'BEGIN { print a / 2 }')
measure "$pairs"
look "$pairs" "$per_look" "$delta"
if [ "$code" -eq 3 ] && [ "$more" -gt 0 ]; then
  say "first look, $pairs pairs: cannot tell everywhere; $more pairs more"
  measure $((pairs + more))
  look $((pairs + more)) "$per_look" "$delta"
  finish $((pairs + more)) "$per_look" "$delta" "$code"
fi
finish "$pairs" "$per_look" "$delta" "$code"
