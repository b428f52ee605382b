# shellcheck shell=bash
# Part of ci/compare-commits.sh: messages, files, and one child at a time that ends when this script does.

say() { echo "$*" >&2; }
step() { say "compare-commits: $*"; }
fail() {
  say "compare-commits: $*"
  exit 2
}
# Ends with a verdict, as opposed to a failure of the script, whose exit code 1 would read as a regression.
finish() {
  settled=1
  exit "$1"
}
wrong_results() {
  say "compare-commits: WRONG RESULTS: $*"
  echo "wrong results: $*" | put "$work/verdict.txt"
  finish 4
}

last_line() { # FILE: the last that says something, without control characters
  local line
  line=$(tr '\r' '\n' <"$1" | grep -v '^[[:space:]]*$' | tail -n 1 | tr -d '\000-\037\177') || true
  echo "${line:-it said nothing}"
}
first_error() { # FILE: of a compiler or cmake
  local line
  # Not a compiler's -Werror, which ninja shows with the command.
  line=$(grep -m 1 -iE '(^|[^-[:alnum:]])(error|fatal)[: ]' "$1" | tr -d '\000-\037\177') || true
  [ -n "$line" ] || line=$(last_line "$1")
  echo "${line:0:300}"
}

# FILE from standard input, whole or not at all.
put() {
  local why
  why=$({ cat >"$1.part" && mv -f "$1.part" "$1"; } 2>&1) || fail "$1: cannot be written: ${why##*: }"
}
make_folder() {
  local why
  why=$(mkdir -p "$@" 2>&1) || fail "${why#mkdir: }"
}

child=
# LOG COMMAND...: waits for it. It is a process group of its own, which on_signal ends; the kernel kills it when this
# script is killed, and sh looks whether it was already. The lock goes to it, so that nobody goes on beside what a
# killed child has left.
run() {
  local log=$1 code=0
  shift
  # Created here, so that a full disk is a message of ours.
  : >"$log" || fail "$log: cannot be written"
  # shellcheck disable=SC2016 # it is sh's $PPID
  setsid setpriv --pdeathsig KILL sh -c '[ "$PPID" = "$0" ] && exec "$@"' $$ "$@" >"$log" 2>&1 </dev/null &
  child=$!
  wait "$child" || code=$?
  child=
  return $code
}

end_child() {
  local tries=0
  [ -n "$child" ] || return 0
  kill -TERM -- "-$child" 2>/dev/null || kill -TERM "$child" 2>/dev/null || true
  while kill -0 "$child" 2>/dev/null && [ "$tries" -lt 100 ]; do
    sleep 0.1
    tries=$((tries + 1))
  done
  kill -KILL -- "-$child" 2>/dev/null || true
  child=
}
on_signal() { # NUMBER
  trap '' INT TERM HUP
  end_child
  [ -z "$work" ] || say "compare-commits: interrupted; go on with: $(go_on)"
  settled=1
  exit $((128 + $1))
}
on_exit() {
  local code=$?
  end_child
  if [ -z "$settled" ] && [ "$code" -ne 0 ] && [ "$code" -ne 2 ]; then
    say "compare-commits: stopped by a command that ended with exit code $code"
    exit 2
  fi
}
go_on() { printf '%q --resume %q\n' "$self" "$work"; }
