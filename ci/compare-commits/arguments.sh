# shellcheck shell=bash
# Part of ci/compare-commits.sh: its arguments, the work folder that remembers them, and the words for bench.

usage() { echo "usage:"; sed -n '/^#   /,/^set /{ /^set /d; s/^# \{0,1\}//; p; }' "$self"; }

# name NAME VALUE: numbers that must be some
whole() { [[ $2 =~ ^[0-9]{1,6}$ ]] || fail "$1 $2: a whole number, please"; }
share() {
  [[ $2 =~ ^[0-9]*\.?[0-9]+$ ]] && awk -v x="$2" 'BEGIN { exit !(x > 0 && x <= 50) }' ||
    fail "$1 $2: percent, above 0 and up to 50, please"
}

# Sets everything that is asked for. With --resume, from what the folder remembers.
read_arguments() {
  arguments=("$@")
  resume=''
  cwd=$PWD
  if [ "${1:-}" = --resume ]; then
    [ $# -eq 2 ] && [ -n "$2" ] || fail "--resume FOLDER stands alone: the folder remembers the rest"
    resume=$(realpath "$2" 2>/dev/null) && [ -d "$resume" ] || fail "$2: no such folder"
    [ -f "$resume/arguments" ] || fail "$2: not a work folder of ci/compare-commits.sh: it has no file 'arguments'"
    mapfile -t -d '' arguments <"$resume/arguments"
    cwd=${arguments[0]}
    arguments=("${arguments[@]:1}")
    cd "$cwd" 2>/dev/null || fail "$cwd: the folder where it was begun is not there"
  fi
  parse_arguments "${arguments[@]+"${arguments[@]}"}"
}

parse_arguments() {
  local names=() dirty='' name
  model='' judge='' pairs='' more='' alpha=1 delta=1 seed=1 screen='' screen_pairs=6 screen_delta=5 tolerance=''
  tokens='' check_depth=4096 keep_trees='' jobs=$(nproc) asked_work='' cache='' given=() compare_options=() gate_exact=''
  while [ $# -gt 0 ]; do
    case $1 in
      -h | --help) usage; finish 0 ;;
      --dirty) dirty=1 ;;
      --screen) screen=1 ;;
      --keep-trees) keep_trees=1 ;;
      --allow-env-diff | --common-cells) compare_options+=("$1") ;;
      --) shift; given=("$@"); break ;;
      --resume) fail "--resume FOLDER stands alone: the folder remembers the rest" ;;
      --model | --base-build | --head-build | --judge | --out | --cache | --pairs | --more | --alpha | --delta | \
        --seed | --screen-pairs | --screen-delta | --tokens | --check-depth | --tolerance | --gate-exact | -j)
        [ $# -ge 2 ] && [ -n "$2" ] || fail "$1: its value is missing"
        case $1 in
          --model) model=$2 ;;
          --base-build) build_of[base]=$2 ;;
          --head-build) build_of[head]=$2 ;;
          --judge) judge=$2 ;;
          --out) asked_work=$2 ;;
          --cache) cache=$2 ;;
          --pairs) whole "$@"; pairs=$2 ;;
          --more) whole "$@"; more=$2 ;;
          --alpha) share "$@"; alpha=$2 ;;
          --delta) share "$@"; delta=$2 ;;
          --seed) whole "$@"; seed=$2 ;;
          --screen-pairs) whole "$@"; screen_pairs=$2 ;;
          --screen-delta) share "$@"; screen_delta=$2 ;;
          --tokens) tokens=$2 ;;
          --check-depth) whole "$@"; check_depth=$2 ;;
          --tolerance)
            [[ $2 =~ ^[0-9]*\.?[0-9]+([eE]-?[0-9]+)?$ ]] || fail "--tolerance $2: a number, please"
            tolerance=$2 ;;
          --gate-exact) gate_exact=$2 ;;
          -j) whole "$@"; jobs=$2 ;;
        esac
        shift ;;
      -*) fail "unknown option $1 (ci/compare-commits.sh --help lists them); bench's go behind --" ;;
      '') fail "an empty argument" ;;
      *) names+=("$1") ;;
    esac
    shift
  done
  if [ "$screen_pairs" -lt 2 ] || [ "$screen_pairs" -gt 12 ]; then
    fail "--screen-pairs $screen_pairs: 2 to 12, please"
  fi
  [ "$check_depth" -ge "$check_least" ] || fail "--check-depth $check_depth: $check_least or more, please"
  if [ -n "$dirty" ]; then
    [ ${#names[@]} -le 1 ] && [ -z "${build_of[base]}${build_of[head]}" ] ||
      fail "--dirty: the working tree is head; name base alone, and no build"
    names=("${names[0]:-HEAD}" '')
  elif [ ${#names[@]} -eq 1 ] && [[ ${names[0]} == ?*..?* ]]; then
    name=${names[0]}
    case $name in
      *...*) names=("${name%%...*}" "${name##*...}") merge_base=1 ;;
      *) names=("${name%%..*}" "${name##*..}") ;;
    esac
  fi
  name_sides "${names[@]+"${names[@]}"}"
  if [ -n "$model" ]; then
    [ -f "$model" ] && [ -r "$model" ] || fail "--model $model: no such file, or not readable"
    model=$(realpath -s "$model")
  fi
  if [ -n "$judge" ]; then
    [ -f "$judge" ] && [ -x "$judge" ] || fail "--judge $judge: no program"
    judge=$(realpath -s "$judge")
  fi
  read_tokens
}
merge_base=

# The sides that have no build are named, in their order. Sets named[SIDE].
name_sides() {
  local side
  declare -gA named=([base]='' [head]='')
  for side in base head; do
    [ -z "${build_of[$side]}" ] || { program_in "${build_of[$side]}" >/dev/null; continue; }
    [ $# -gt 0 ] || fail "name $side: a commit, or a build by --$side-build (ci/compare-commits.sh --help)"
    named[$side]=$1
    shift
  done
  [ $# -eq 0 ] || fail "'$1' is one commit too many"
}

# Token ids, as a list with commas.
read_tokens() {
  if [ -z "$tokens" ]; then
    tokens=2,17,4,99,5,200,31,8,77,140,3,61,202,11,45,180,9,133,27,88,216,54,7,165
  elif [[ ! $tokens =~ ^[0-9]+(,[0-9]+)*$ ]]; then
    [ -f "$tokens" ] || fail "--tokens $tokens: no list of ids such as 2,17,4, and no file"
    tokens=$(tr -cs 0-9 , <"$tokens" | sed 's/^,//; s/,$//')
    [ -n "$tokens" ] || fail "--tokens: the file holds no number"
  fi
  local n
  n=$(tr , '\n' <<<"$tokens" | wc -l)
  [ "$n" -gt "$check_prefill" ] ||
    fail "--tokens: more than $check_prefill, please: the first $check_prefill are prefilled"
}

name_of() { # SIDE
  if [ -n "${build_of[$1]}" ]; then
    echo "${build_of[$1]}"
  else
    echo "${commit_of[$1]:0:10}"
  fi
}

# Makes or opens the work folder, locks it, and settles which commits these are.
open_work() {
  local stamp number=1 base head
  if [ -n "${named[base]}${named[head]}" ] && ! in_git rev-parse --git-dir >/dev/null 2>&1; then
    fail "$root is no git repository: give builds by --base-build and --head-build"
  fi
  if [ -n "$resume" ]; then
    work=$resume
  else
    base=${build_of[base]:+build} head=${build_of[head]:+build}
    [ -n "$base" ] || base=$(resolve "${named[base]}")
    [ -n "$head" ] || [ -z "${named[head]}" ] || head=$(resolve "${named[head]}")
    [ -n "$head" ] || head=dirty
    if [ -n "$asked_work" ]; then
      work=$asked_work
      make_folder "$work"
      [ -z "$(ls -A "$work")" ] || fail "--out $asked_work: not empty; --resume goes on in it"
    else
      stamp=$root/build/compare/$(date -u +%Y%m%dT%H%M%SZ)-${base:0:7}-${head:0:7}
      make_folder "$root/build/compare"
      work=$stamp
      until mkdir "$work" 2>/dev/null; do
        [ -e "$work" ] || fail "$work: cannot be made"
        number=$((number + 1))
        work=$stamp-$number
      done
    fi
    work=$(realpath "$work")
  fi
  { exec 9>>"$work/lock"; } 2>/dev/null || fail "$work: cannot be written"
  flock -w 30 9 || fail "$work: another run works in it"
  [ -n "$resume" ] || printf '%s\0' "$cwd" "${arguments[@]}" | put "$work/arguments"
  step "work folder $work"
  settle_commits
  cache=${cache:-$work/cache}
  make_folder "$cache/base" "$cache/head"
  cache=$(realpath "$cache")
}

# The commits stay what they were when it began, whatever became of their branches.
settle_commits() {
  local side base head dirty=''
  if [ ! -e "$work/commits" ]; then
    for side in base head; do
      [ -z "${build_of[$side]}" ] || continue
      if [ -n "${named[$side]}" ]; then
        commit_of["$side"]=$(resolve "${named[$side]}")
      else
        commit_of["$side"]=$(snapshot)
        dirty=$(in_git rev-parse HEAD)
      fi
    done
    if [ -n "$merge_base" ]; then
      commit_of[base]=$(in_git merge-base "${commit_of[base]}" "${commit_of[head]}") ||
        fail "the two commits have no common ancestor"
    fi
    printf '%s\n' "${commit_of[base]}" "${commit_of[head]}" "$dirty" | put "$work/commits"
  fi
  { read -r base; read -r head; read -r dirty || true; } <"$work/commits"
  commit_of=([base]=$base [head]=$head)
  is_dirty=$dirty
  for side in base head; do
    if [ "$side" = head ] && [ -n "$dirty" ]; then
      step "head is the working tree on ${dirty:0:10}, as commit ${commit_of[head]:0:10}"
    else
      step "$side is $(name_of "$side")"
    fi
  done
  [ -z "${commit_of[base]}" ] || [ "${commit_of[base]}" != "${commit_of[head]}" ] ||
    step "one commit twice: what is found is the machine's"
  if [ -z "$dirty" ] && [ -n "${named[head]}" ] && [ "${commit_of[head]}" = "$(in_git rev-parse HEAD)" ] &&
    [ -n "$(in_git status --porcelain --untracked-files=no)" ]; then
    step "the working tree has changes that are in neither commit; --dirty compares them"
  fi
}

# The file, or one that base's build makes: small enough for a core's own caches, so that what others read from memory
# moves its times little.
find_model() {
  local log=$work/model.log code=0
  if [ -z "$model" ]; then
    model=$work/model.gguf
    [ ! -e "$model" ] || return 0
    step "make a model"
    run "$log" "${program[base]}" model make --arch gemma4-e2b-tiny --context 4096 --type q8_0 --seed 1 \
      -o "$model" || code=$?
    [ $code -eq 0 ] || fail "base cannot make a model: $(last_line "$log") ($log); name one with --model"
  fi
}

# ---- bench's arguments ----

# WORD: into $REPLY the option's name, without dashes and value; empty where it is none
option_name() {
  REPLY=${1%%=*}
  [[ $REPLY =~ ^--?[A-Za-z] ]] || REPLY=
  REPLY=${REPLY#-}
  REPLY=${REPLY#-}
  REPLY=${REPLY//_/-}
}

# NAME...: the values that bench's arguments give these options
word_values() {
  local i name wanted
  for ((i = 0; i < ${#words[@]}; i++)); do
    option_name "${words[i]}"
    name=$REPLY
    for wanted in "$@"; do
      [ "$name" = "$wanted" ] || continue
      if [[ ${words[i]} == *=* ]]; then
        echo "${words[i]#*=}"
      elif [ $((i + 1)) -lt ${#words[@]} ]; then
        echo "${words[i + 1]}"
      fi
    done
  done
}

shown_words() { printf '%s ' "${words[@]}" | tr -d '\000-\037\177' | sed 's/ $//'; }

# Sets words: with what @FILE names in place, as it is now, so that a file that is edited changes nothing later.
expand_words() {
  local word
  words=()
  [ ${#given[@]} -gt 0 ] || given=(-p 0 -n 200 -d '0,2048' -r 1 --mode 'direct,graph-device' -t 1)
  if [ -e "$work/words" ]; then
    mapfile -t -d '' words <"$work/words"
    return 0
  fi
  for word in "${given[@]}"; do
    expand_word "$word" 1
  done
  for word in "${words[@]}"; do
    option_name "$word"
    case $REPLY in
      m | model | out | resume | dry-run | list-devices | h | help)
        fail "$word: not behind --: that is for ci/compare-commits.sh to say (--model names the model)" ;;
      until) fail "$word: how often is fixed beforehand, or no verdict means anything; -r and --pairs say it" ;;
    esac
  done
  printf '%s\0' "${words[@]}" | put "$work/words"
}
expand_word() { # WORD DEPTH
  local text line lines
  if [[ $1 != @?* ]]; then
    words+=("$1")
    return 0
  fi
  [ "$2" -le 8 ] || fail "$1: option files nested more than 8 deep"
  [ -f "${1#@}" ] && [ -r "${1#@}" ] || fail "$1: no such file"
  text=$(awk -f "$parts/words.awk" <"${1#@}" 2>"$work/words.log") || fail "$1: $(last_line "$work/words.log")"
  mapfile -t lines <<<"$text"
  unset 'lines[-1]'
  for line in "${lines[@]}"; do
    expand_word "$line" $(($2 + 1))
  done
}
