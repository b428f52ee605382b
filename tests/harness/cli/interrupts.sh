#!/usr/bin/env bash
# SIGINT, SIGTERM and SIGHUP as the program gets them: while it still reads its options, and 0 to 200 ms behind its
# start. Exit code 130 and one line, or a directory in which the sweep goes on. (test_interrupt has each step.)
#
#   tests/harness/cli/interrupts.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/interrupts.sh GEMMARK}")
model=$(realpath golden/gemma4-e2b-tiny.q8_0.gguf)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
fail() { echo "interrupts: $*"; touch failed; }

# Until it is the program, no shell any more, and handles SIGTERM: no machine is too slow for that.
until_it_listens() {
  local caught
  while kill -0 "$1" 2>/dev/null; do
    # In this order: what a shell catches is nothing of the program's.
    if [ "$(readlink "/proc/$1/exe")" = "$gemmark" ]; then
      caught=$(sed -n 's/^SigCgt:[[:space:]]*//p' "/proc/$1/status")
      ((0x$caught >> 14 & 1)) && return
    fi
    sleep 0.002
  done
}

# A shell without job control has its background ignore SIGINT.
caught() { exec env --default-signal=INT "$@"; }

# It waits for a file of options that nobody writes.
mkfifo options
for signal in INT TERM HUP; do
  for command in bench eval selftest 'model make' plot; do
    # shellcheck disable=SC2086 # a command may be two words
    caught "$gemmark" $command @options >out 2>errors &
    until_it_listens $!
    kill -s $signal $!
    wait $!
    code=$?
    [ $code -eq 130 ] || fail "$command, SIG$signal: exit code $code"
    # The command is known a moment after the program listens.
    [[ "$(cat errors)" == gemmark*': interrupted' && ! -s out ]] || fail "$command, SIG$signal: $(cat errors out)"
  done
done
# As nohup or trap '' starts it: what is ignored is nothing.
for ignored in HUP INT; do
  (trap '' $ignored; exec "$gemmark" bench @options >out 2>errors) &
  until_it_listens $!
  kill -s $ignored $!
  sleep 0.05
  kill -s TERM $!
  wait $!
  [ "$(cat errors)" = 'gemmark bench: interrupted' ] || [ "$(cat errors)" = 'gemmark: interrupted' ] ||
    fail "SIG$ignored that is ignored: $(cat errors)"
done
# It is seen while a sweep runs, too.
(trap '' INT TERM; exec "$gemmark" bench -m "$model" -p 0 -n 4 -r 60 -t 1 -ngl 0 --mode direct --telemetry 0 \
  --out deaf >out 2>errors) &
until [ -s deaf/env.json ] || ! kill -0 $! 2>/dev/null; do sleep 0.002; done
kill -s INT $!
kill -s TERM $!
wait $!
code=$?
[ $code -eq 0 ] && grep -q '^60 runs ok' out || fail "signals that are ignored: exit code $code: $(cat out errors)"
rm options

one() { # MILLISECONDS SIGNAL
  local run="run-$1-$2" code
  caught "$gemmark" bench -m "$model" -p 0 -n 4 -r 5000 -t 1 -ngl 0 --mode direct --telemetry 0 --out "$run" \
    >"$run.out" 2>"$run.errors" &
  sleep "$(printf '0.%03d' "$1")"
  kill -s "$2" $!
  wait $!
  code=$?
  if [ -e "$run" ]; then
    [ $code -eq 130 ] || fail "$run: exit code $code: $(cat "$run.errors")"
    grep -q '; interrupted$' "$run.out" || fail "$run: $(cat "$run.out")"
    [ -s "$run/env.json" ] && [ -s "$run/sweep.json" ] && [ -s "$run/runs.csv" ] || fail "$run: $(ls "$run")"
    timeout -s TERM 0.2 "$gemmark" bench --resume "$run" >/dev/null 2>"$run.errors"
    code=$?
    [ $code -eq 124 ] || fail "$run: does not go on: exit code $code: $(cat "$run.errors")"
  elif [ $code -ne 130 ]; then
    # Before the program's first statement: the system ends it.
    [ $code -gt 128 ] && [ ! -s "$run.errors" ] && [ ! -s "$run.out" ] || fail "$run: exit code $code: $(cat "$run.errors")"
  elif ! [[ "$(cat "$run.errors")" == gemmark*': interrupted' ]]; then
    fail "$run: $(cat "$run.errors")"
  fi
}
lane() { for ((ms = $1; ms <= 200; ms += 20)); do one "$ms" "$2"; done; }
for first in 0 5 10 15; do
  lane $first TERM &
done
wait

[ ! -e failed ] || exit 1
echo "interrupts: all ended well"
