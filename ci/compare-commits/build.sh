# shellcheck shell=bash
# Part of ci/compare-commits.sh: from a commit, or a folder that is built already, to a program.

in_git() { git -C "$root" "$@"; }

resolve() { # NAME: the commit
  in_git rev-parse --verify --quiet "$1^{commit}" ||
    fail "$1: no such commit in $root; fetch it first (a shallow clone lacks older ones)"
}

# The working tree as a commit on top of HEAD that no branch has: with files that git does not know, without ignored
# ones. The user's index stays as it is.
snapshot() {
  local index=$work/index tree
  rm -f "$index"
  { GIT_INDEX_FILE=$index in_git read-tree HEAD && GIT_INDEX_FILE=$index in_git add -A &&
    tree=$(GIT_INDEX_FILE=$index in_git write-tree); } >"$work/snapshot.log" 2>&1 ||
    fail "the working tree cannot be read: $(last_line "$work/snapshot.log")"
  rm -f "$index"
  GIT_AUTHOR_NAME=gemmark GIT_AUTHOR_EMAIL=none GIT_COMMITTER_NAME=gemmark GIT_COMMITTER_EMAIL=none \
    in_git commit-tree -p HEAD -m "The working tree" "$tree"
}

# SIDE: makes $work/programs/SIDE/gemmark of its commit. What was built stays built.
build() {
  local side=$1 commit=${commit_of[$1]} tree=$work/trees/$1 to=$work/programs/$1 log=$work/build-$1.log code=0
  [ ! -x "$to/gemmark" ] || return 0
  make_folder "$to" "$work/trees"
  if [ "$side" = head ] && [ "$commit" = "${commit_of[base]}" ]; then
    cp "$work/programs/base/gemmark" "$to/gemmark.part" && mv "$to/gemmark.part" "$to/gemmark" ||
      fail "$to: cannot be written"
    return 0
  fi
  step "build $side, ${commit:0:10}"
  if [ ! -e "$work/trees/$side.whole" ]; then
    rm -rf "$tree"
    in_git worktree prune
    run "$log" git -C "$root" worktree add --detach --force "$tree" "$commit" ||
      fail "$side ($commit): cannot be checked out: $(last_line "$log")"
    : >"$work/trees/$side.whole" || fail "$work: cannot be written"
  fi
  # The same for both; the rest is the preset's, and CC and CFLAGS of the environment.
  run "$log" env -C "$tree" cmake --preset release -DBUILD_TESTING=OFF -DGEMMARK_BENCH=OFF || code=$?
  [ $code -eq 0 ] || build_failed "$side" "cmake --preset release fails" "$log"
  run "$log.build" env -C "$tree" cmake --build --preset release -j "$jobs" --target gemmark || code=$?
  [ $code -eq 0 ] || build_failed "$side" "does not build" "$log.build"
  cp "$tree/build/release/gemmark" "$to/gemmark.part" && mv "$to/gemmark.part" "$to/gemmark" ||
    fail "$to: cannot be written"
  [ -n "$keep_trees" ] || remove_tree "$side"
}

# Its tree goes, as that of a build that succeeds: the log is kept, and git lists no work tree of a folder that is
# deleted one day.
build_failed() { # SIDE WHAT LOG
  [ -n "$keep_trees" ] || remove_tree "$1"
  fail "$1 (${commit_of[$1]}): $2: $(first_error "$3") ($3)"
}

remove_tree() { # SIDE
  rm -f "$work/trees/$1.whole"
  in_git worktree remove --force "$work/trees/$1" 2>/dev/null || rm -rf "$work/trees/$1"
  in_git worktree prune
}

# DIR: the program in a folder that is built or installed
program_in() {
  local at
  for at in "$1/gemmark" "$1/bin/gemmark"; do
    if [ -f "$at" ] && [ -x "$at" ]; then
      realpath -s "$at"
      return 0
    fi
  done
  fail "$1: holds no program gemmark, nor bin/gemmark"
}

# Sets program[SIDE].
find_program() { # SIDE
  if [ -n "${build_of[$1]}" ]; then
    program[$1]=$(program_in "${build_of[$1]}")
  else
    build "$1"
    program[$1]=$work/programs/$1/gemmark
  fi
}

# Sets judge: the gemmark that compares and reports. Head's knows what head records.
find_judge() {
  local at
  if [ -n "$judge" ]; then
    compares "$judge" || fail "--judge $judge: has no 'gemmark compare'"
    return 0
  fi
  for at in "${program[head]}" "${program[base]}" "$root/build/release/gemmark"; do
    if compares "$at"; then
      judge=$at
      return 0
    fi
  done
  fail "neither build has 'gemmark compare'; name a program that has with --judge, or build this tree"
}
compares() { [ -x "$1" ] && help_has "$1" compare --paired; }
reports() { help_has "$judge" report --paired; }
# PROGRAM COMMAND OPTION: asked once, when both are built. Not by a pipe into grep -q, which would end the program by
# SIGPIPE.
declare -A help_of=()
help_has() {
  local asked="$2 of $1"
  [ -n "${help_of[$asked]+x}" ] || help_of[$asked]=$("$1" "$2" --help 2>/dev/null) || help_of[$asked]=''
  [[ ${help_of[$asked]} == *"$3"* ]]
}
