#!/usr/bin/env bash
# Which commit made a cell slower, or its results wrong? `git bisect run` with the verdicts of ci/compare-commits.sh: each
# commit that it asks for is built once and compared with GOOD, in pairs of fresh processes.
#
#   ci/bisect.sh GOOD BAD [options] [-- BENCH ARGUMENTS]
#   ci/bisect.sh --resume FOLDER     go on where it was interrupted: builds and verdicts are kept
#
# GOOD is an ancestor of BAD. The bench arguments choose the cell, as for ci/compare-commits.sh; the fewer the cells, the
# fewer the pairs. First GOOD and BAD are compared: where BAD is not slower there is nothing to look for; where its
# results are wrong, it is the first commit with wrong results that is looked for.
#
# Options:
#   --out DIR            everything goes there; new or empty (default: build/bisect/TIME-GOOD-BAD)
#   --delta PCT          how much slower than GOOD a commit must be to count as bad (default: half of what BAD is,
#                        so that smaller changes on the way mislead nobody)
#   --again N            where a comparison cannot tell, N more at most, each with twice the pairs of the one before
#                        (default 2)
#   --alpha PCT          chance of a false alarm for each commit, in all of its comparisons (default 1)
#   -j N                 jobs of the builds (default: all cores)
#   --model, --pairs, --more, --seed, --tokens, --check-depth, --tolerance VALUE, --allow-env-diff, --common-cells
#                        as for ci/compare-commits.sh
#
# A commit that does not build, of which no comparison can tell, or whose results are wrong while
# slowness is looked for, is skipped; the neighbours of such a commit are tried instead. The user's own tree is not touched:
# builds are made in a work tree in the folder, one upon the other.
#
# Exit codes: 0 the first bad commit is named, 2 bad usage or input, 3 BAD is not shown to be worse, or so many commits
# are skipped that only a range is left; 128 and more: a signal. The folder then has bisect.txt (what was found), commits.csv
# (each verdict), bisect.log (for git bisect replay), and a comparison a commit in comparisons/.
set -euo pipefail
export LC_ALL=C # numbers have points
# A git hook is told of its own repository's folders.
# shellcheck disable=SC2046 # names, one a word
unset $(git rev-parse --local-env-vars 2>/dev/null)

self=$(realpath "${BASH_SOURCE[0]}")
root=$(cd "$(dirname "$self")/.." && pwd)
skip_commit=125 # git bisect run's codes
stop_bisect=255

# What git bisect run prints goes into a file: messages go round it.
case ${1:-} in --step | --ends) ;; *) exec 3>&2 ;; esac
say() { echo "$*" >&3; }
step() { say "bisect: $*"; }
fail_code=2
fail() {
  say "bisect: $*"
  settled=1
  exit $fail_code
}
usage() { echo "usage:"; sed -n '/^#   /,/^set /{ /^set /d; s/^# \{0,1\}//; p; }' "$self"; }
in_git() { git -C "$root" "$@"; }
resolve() { # NAME
  in_git rev-parse --verify --quiet "$1^{commit}" ||
    fail "$1: no such commit in $root; fetch it first (a shallow clone lacks older ones)"
}
# FILE from standard input, whole or not at all.
put() { { cat >"$1.part" && mv -f "$1.part" "$1"; } || fail "$1: cannot be written"; }

percent() { # NAME VALUE
  [[ $2 =~ ^[0-9]*\.?[0-9]+$ ]] && awk -v x="$2" 'BEGIN { exit !(x > 0 && x <= 50) }' ||
    fail "$1 $2: percent, above 0 and up to 50, please"
}

parse_arguments() {
  local names=()
  asked='' delta='' jobs=$(nproc) again=2 alpha=1 options=() words=()
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; exit 0 ;;
      --) shift; words=("$@"); break ;;
      --resume) fail "--resume FOLDER stands alone: the folder remembers the rest" ;;
      --allow-env-diff | --common-cells) options+=("$1") ;;
      --out | --delta | --again | --alpha | -j | --model | --pairs | --more | --seed | --tokens | --check-depth | --tolerance)
        [ $# -ge 2 ] && [ -n "$2" ] || fail "$1: its value is missing"
        case $1 in
          --out) asked=$2 ;;
          --delta) percent "$@"; delta=$2 ;;
          --alpha) percent "$@"; alpha=$2 ;;
          --again)
            [[ $2 =~ ^[0-4]$ ]] || fail "--again $2: 0 to 4, please"
            again=$2 ;;
          -j)
            [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || fail "-j $2: a whole number, please"
            jobs=$2 ;;
          --model)
            [ -f "$2" ] && [ -r "$2" ] || fail "--model $2: no such file, or not readable"
            options+=("$1" "$2") ;;
          --pairs | --more | --seed | --check-depth)
            [[ $2 =~ ^[0-9]{1,6}$ ]] || fail "$1 $2: a whole number, please"
            options+=("$1" "$2") ;;
          *) options+=("$1" "$2") ;;
        esac
        shift ;;
      -*) fail "unknown option $1 (ci/bisect.sh --help lists them); bench's go behind --" ;;
      '') fail "an empty argument" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  [ ${#names[@]} -eq 2 ] || fail "name two commits: GOOD, and BAD that comes after it (ci/bisect.sh --help)"
  in_git rev-parse --git-dir >/dev/null 2>&1 || fail "$root is no git repository"
  good=$(resolve "${names[0]}")
  bad=$(resolve "${names[1]}")
  [ "$good" != "$bad" ] || fail "GOOD and BAD are one commit"
  in_git merge-base --is-ancestor "$good" "$bad" ||
    fail "${names[0]} is no ancestor of ${names[1]}: name a commit of its history that was good (git merge-base)"
}

open_work() {
  local stamp why number=1
  if [ -n "$asked" ]; then
    work=$asked
    why=$(mkdir -p "$work" 2>&1) || fail "--out $asked: cannot be made: ${why##*: }; name another folder"
    [ -z "$(ls -A "$work")" ] || fail "--out $asked: not empty; --resume goes on in it"
  else
    stamp=$root/build/bisect/$(date -u +%Y%m%dT%H%M%SZ)-${good:0:7}-${bad:0:7}
    work=$stamp
    mkdir -p "$root/build/bisect" || fail "$root/build/bisect: cannot be made"
    until mkdir "$work" 2>/dev/null; do
      [ -e "$work" ] || fail "$work: cannot be made"
      number=$((number + 1))
      work=$stamp-$number
    done
  fi
  work=$(realpath "$work")
  mkdir -p "$work/builds" "$work/comparisons"
  # Commits by their names of now: branches may move.
  printf '%s\0' "$good" "$bad" | put "$work/ends"
  printf '%s\0' "$delta" "$jobs" "$again" "$alpha" | put "$work/settings"
  printf '%s\0' "${options[@]+"${options[@]}"}" | put "$work/options"
  printf '%s\0' "$PWD" "${words[@]+"${words[@]}"}" | put "$work/words"
}

recall() { # FOLDER
  local read
  work=$(realpath "$1" 2>/dev/null) && [ -f "$work/words" ] ||
    fail "$1: not a work folder of ci/bisect.sh: it has no file 'words'"
  mapfile -t -d '' read <"$work/ends"
  good=${read[0]} bad=${read[1]}
  mapfile -t -d '' read <"$work/settings"
  delta=${read[0]} jobs=${read[1]} again=${read[2]} alpha=${read[3]}
  mapfile -t -d '' options <"$work/options"
  [ "${#options[@]}" -ne 1 ] || [ -n "${options[0]}" ] || options=()
  mapfile -t -d '' words <"$work/words"
  cd "${words[0]}" 2>/dev/null || fail "${words[0]}: the folder where it was begun is not there"
  words=("${words[@]:1}")
  [ ! -e "$work/delta" ] || delta=$(<"$work/delta")
  [ ! -e "$work/wanted" ] || wanted=$(<"$work/wanted")
}

# COMMIT: makes builds/COMMIT/gemmark from the work tree, which has that commit. What was built stays built.
build() {
  local to=$work/builds/$1 log=$work/builds/$1.log
  [ ! -x "$to/gemmark" ] || return 0
  [ ! -e "$to.failed" ] || return 1
  step "build ${1:0:10}"
  mkdir -p "$to"
  if ! (cd "$work/tree" && cmake --preset release -DBUILD_TESTING=OFF -DGEMMARK_BENCH=OFF &&
    cmake --build --preset release -j "$jobs" --target gemmark) >"$log" 2>&1 </dev/null; then
    [ ! -e "$work/stopped" ] || exit $stop_bisect
    : >"$to.failed"
    step "${1:0:10}: does not build ($log)"
    return 1
  fi
  cp "$work/tree/build/release/gemmark" "$to/gemmark.part" && mv "$to/gemmark.part" "$to/gemmark" ||
    fail "$to: cannot be written"
}

# COMMIT NAME: builds an end. What keeps it from being built may be mended, and is tried again.
build_end() {
  checkout "$1"
  build "$1" && return 0
  rm -f "$work/builds/$1.failed"
  fail "$2 (${1:0:10}) does not build: $(tail -n 1 "$work/builds/$1.log"); when that is mended: $(go_on)"
}

checkout() { git -C "$work/tree" checkout --quiet --detach --force "$1" || fail "${1:0:10}: cannot be checked out"; }

# COMMIT: compares its build with GOOD's, unless that was done: again with more pairs where that cannot tell. Sets outcome:
# the last comparison's exit code; comparisons/COMMIT is a link to it.
compare() {
  local try=1 last pairs=()
  while :; do
    last=$work/comparisons/$1-$try
    compare_once "$1" "$last" "${pairs[@]+"${pairs[@]}"}"
    ln -sfn "$1-$try" "$work/comparisons/$1"
    [ "$outcome" -eq 3 ] && [ $try -le "$again" ] || break
    # Of its looks the first alone is repeated, longer.
    pairs=(--pairs $((2 * ($(wc -l <"$last/order.csv") - 1))) --more 0)
    [ "${pairs[1]}" -le 900 ] || break
    step "${1:0:10}: cannot tell ($(($(wc -l <"$last/order.csv") - 1)) pairs)"
    try=$((try + 1))
  done
  echo "$outcome" | put "$work/comparisons/$1.code"
}

# COMMIT FOLDER PAIRS...: one comparison. Sets outcome.
compare_once() {
  local commit=$1 to=$2 arguments=(--resume "$2")
  shift 2
  outcome=0
  if [ -e "$to.code" ]; then
    outcome=$(<"$to.code")
    return 0
  fi
  if [ ! -e "$to/arguments" ]; then
    rm -rf "$to"
    # Each of a commit's comparisons has its part of alpha (Bonferroni).
    arguments=(--base-build "$work/builds/$good" --head-build "$work/builds/$commit" --out "$to"
      --cache "$work/cache/$commit" --alpha "$(awk -v a="$alpha" -v n="$((again + 1))" 'BEGIN { printf "%.6g", a / n }')"
      "${options[@]+"${options[@]}"}" "$@")
    [ -z "$delta" ] || arguments+=(--delta "$delta")
    [ ${#words[@]} -eq 0 ] || arguments+=(-- "${words[@]}")
  fi
  step "compare ${commit:0:10} with GOOD"
  bash "$root/ci/compare-commits.sh" "${arguments[@]}" >"$to.txt" 2>"$to.log" </dev/null || outcome=$?
  case $outcome in
    0 | 1 | 3 | 4) echo "$outcome" | put "$to.code" ;;
    2)
      say "$(tail -n 3 "$to.log")"
      say "bisect: ${commit:0:10} cannot be compared with GOOD; when that is mended: $(go_on)"
      exit $stop_bisect ;;
    *) exit $stop_bisect ;;
  esac
}

# COMMIT: the largest effect on latency of its cells, of those that are slower where one is, in percent; "" where unknown
effect_of() {
  [ -f "$work/comparisons/$1/compare.json" ] || return 0
  awk -F '[:,]' '
    /^   "outcome": / { slower = $2 ~ /"slower"/ }
    /^    "[a-z0-9]+": \{/ { metric = $1 }
    /^      "effect": / && metric ~ /"latency"/ && $2 !~ /null/ {
      if (!seen || slower > was || (slower == was && $2 > most)) { most = $2 + 0; was = slower }
      seen = 1
    }
    END { if (seen) printf "%.2f\n", 100 * most }' "$work/comparisons/$1/compare.json"
}

# COMMIT: a word for what became of it
verdict_of() {
  local code=''
  [ ! -e "$work/builds/$1.failed" ] || { echo "does not build"; return 0; }
  [ ! -e "$work/comparisons/$1.code" ] || code=$(<"$work/comparisons/$1.code")
  case $code in
    0) echo "not slower" ;;
    1) echo "slower" ;;
    3) echo "cannot tell" ;;
    4) echo "wrong results" ;;
  esac
}

go_on() { printf '%q --resume %q' "$self" "$work"; }

settle() { # CODE
  settled=1
  exit "$1"
}

# What git bisect run runs in the work tree: its code is the commit's verdict.
try_commit() {
  local commit
  commit=$(git -C "$work/tree" rev-parse HEAD)
  if ! build "$commit"; then
    step "${commit:0:10}: skipped"
    settle $skip_commit
  fi
  compare "$commit"
  step "${commit:0:10}: $(verdict_of "$commit")$(effect_of "$commit" | sed 's/^\(.*\)$/, \1 %/; s/, \([0-9]\)/, +\1/')"
  case $wanted$outcome in
    slow0 | wrong0 | wrong1 | wrong3) settle 0 ;;
    slow1 | wrong4) settle 1 ;;
    *) settle $skip_commit ;;
  esac
}

describe() { git -C "$root" log -1 --format='%h %s (%cs)' "$1"; }

# commits.csv: every commit that was looked at, from GOOD to BAD.
write_commits() {
  local commit effect
  {
    echo "commit,date,verdict,latency_change_percent"
    echo "$good,$(in_git log -1 --format=%cI "$good"),good,"
    in_git rev-list --reverse --topo-order "$good..$bad" | while read -r commit; do
      [ -n "$(verdict_of "$commit")" ] || continue
      effect=$(effect_of "$commit")
      echo "$commit,$(in_git log -1 --format=%cI "$commit"),$(verdict_of "$commit"),$effect"
    done
  } | put "$work/commits.csv"
}

remove_tree() {
  in_git worktree remove --force "$work/tree" 2>/dev/null || rm -rf "$work/tree"
  in_git worktree prune
}

# shellcheck disable=SC2317 # traps call it
on_signal() { # NUMBER
  trap '' INT TERM HUP
  : >"$work/stopped"
  # The group of git bisect: builds and comparisons end with it, and leave what can be gone on with.
  [ -z "$child" ] || { kill -TERM -- "-$child" 2>/dev/null && wait "$child" 2>/dev/null; } || true
  say "bisect: interrupted; go on with: $(go_on)"
  exit $((128 + $1))
}
# Runs it as a process group of its own, for on_signal.
child=
run() {
  local code=0
  setsid "$@" &
  child=$!
  wait "$child" || code=$?
  child=
  return $code
}

settled='' wanted=slow
if [ "${1:-}" = --step ]; then # git bisect run's, alone
  # A failure of this script is no verdict, which the codes 1 to 127 are.
  fail_code=$stop_bisect
  trap '[ -n "$settled" ] || exit $stop_bisect' EXIT
  recall "$2"
  try_commit
fi
if [ "${1:-}" = --ends ]; then # the same, before it
  recall "$2"
  build_end "$good" GOOD
  build_end "$bad" BAD
  compare "$bad"
  exit 0
fi

if [ "${1:-}" = --resume ]; then
  [ $# -eq 2 ] && [ -n "$2" ] || fail "--resume FOLDER stands alone: the folder remembers the rest"
  recall "$2"
else
  parse_arguments "$@"
  open_work
fi
exec 9>>"$work/lock"
flock -n 9 || fail "$work: another run works in it"
rm -f "$work/stopped"
step "work folder $work"
trap 'on_signal 2' INT
trap 'on_signal 15' TERM
trap 'on_signal 1' HUP
if [ ! -e "$work/tree/.git" ]; then
  remove_tree
  in_git worktree add --quiet --detach --force "$work/tree" "$good" || fail "$work/tree: no work tree can be made"
fi

between=$(in_git rev-list --count "$good..$bad")
step "$between commit$([ "$between" -eq 1 ] || echo s) from $(describe "$good") to $(describe "$bad")"
code=0
run bash "$self" --ends "$work" || code=$?
[ $code -eq 0 ] || exit 2
outcome=$(<"$work/comparisons/$bad.code")
effect=$(effect_of "$bad")
case $outcome in
  1)
    if [ -z "$delta" ]; then
      delta=$(awk -v e="$effect" 'BEGIN { d = e / 2; printf "%.3g", (d < 1 ? 1 : (d > 50 ? 50 : d)) }')
      echo "$delta" | put "$work/delta"
    fi
    step "BAD is slower by $effect %; a commit counts as bad from $delta % on" ;;
  4)
    wanted=wrong
    step "BAD's results are wrong: looking for the first commit of which they are" ;;
  *)
    write_commits
    remove_tree
    if [ "$outcome" -eq 0 ]; then
      echo "BAD is not slower than GOOD: nothing to look for"
    else
      echo "BAD is not shown to be slower than GOOD: more --pairs, fewer cells or a quieter machine may tell"
    fi | tee "$work/bisect.txt"
    echo "the comparison: $work/comparisons/$bad/report.md"
    exit 3 ;;
esac
echo "$wanted" | put "$work/wanted"

tree_git() { git -C "$work/tree" "$@"; }
tree_git bisect reset >/dev/null 2>&1 || true
tree_git bisect start "$bad" "$good" >"$work/git.log" 2>&1 || fail "git bisect start: $(tail -n 1 "$work/git.log")"
code=0
run git -C "$work/tree" bisect run bash "$self" --step "$work" >"$work/git.log" 2>&1 || code=$?
tree_git bisect log >"$work/bisect.log" 2>/dev/null || true
write_commits
first=$(sed -n 's/^\([0-9a-f]\{40\}\) is the first bad commit$/\1/p' "$work/git.log" | tail -n 1)
if [ -n "$first" ]; then
  what=$([ "$wanted" = wrong ] && echo "first commit with wrong results" || echo "first slow commit")
  {
    echo "$what: $(describe "$first")"
    effect=$(effect_of "$first")
    [ "$wanted" = wrong ] || echo "latency: +$effect % of GOOD's; BAD: +$(effect_of "$bad") %"
    echo "its comparison: $work/comparisons/$first/report.md"
    echo
    cut -d , -f 1,3,4 "$work/commits.csv" | awk -F , 'NR > 1 {
      printf "%s  %-14s %s\n", substr($1, 1, 10), $2, $3 == "" ? "" : sprintf("%+.2f %%", $3)
    }'
  } | tee "$work/bisect.txt"
  remove_tree
  exit 0
fi
# Only skipped commits are left.
if grep -q "only 'skip'ped commits left" "$work/git.log"; then
  {
    echo "not to be told apart: the first bad commit is one of"
    sed -n 's/^\([0-9a-f]\{40\}\)$/\1/p' "$work/git.log" | while read -r commit; do
      verdict=$(verdict_of "$commit")
      echo "  $(describe "$commit"): ${verdict:-not tried}"
    done
    echo "more --pairs, fewer cells or a quieter machine may tell more of them"
  } | tee "$work/bisect.txt"
  remove_tree
  exit 3
fi
say "bisect: stopped: $(tail -n 1 "$work/git.log"); go on with: $(go_on)"
exit 2
