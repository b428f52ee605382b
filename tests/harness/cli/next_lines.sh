#!/usr/bin/env bash
# Every "next:" and "go on:" line that a sweep prints is a command that runs as it stands, from where it was printed,
# and has something to do; where there is nothing to do there is no line.
#
#   tests/harness/cli/next_lines.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/next_lines.sh GEMMARK}")
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/golden
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
failures=0
fail() { echo "next lines: $*" >&2; failures=$((failures + 1)); }

mkdir -p "$folder/bin" "$folder/a b's \$(touch pwned)/build"
cp "$gemmark" "$folder/bin/gemmark"
cp "$gemmark" "$folder/a b's \$(touch pwned)/build/gem mark"
cp "$golden/qwen3-tiny.q8_0.gguf" "$folder/m.gguf"
any=(-m m.gguf -t 1 -r 1 --mode direct --telemetry 0)
short=("${any[@]}" -ngl 0 -p 0 -n 1)

# lines LABEL FILE: the commands behind the label
lines() { sed -n "s/^$1: *//p" "$2"; }

# follow LABEL HOW: runs each such line of out and errors, which must end well. HOW: for messages.
follow() {
  local line count=0
  while IFS= read -r line; do
    count=$((count + 1))
    (eval "$line") >"$folder/said" 2>&1 </dev/null || fail "$2: $line: exit code $?: $(cat "$folder/said")"
  done < <(lines "$1" out; lines "$1" errors)
  [ "$count" -eq 1 ] || fail "$2: $count lines '$1:'"
}

# bench CODE HOW PROGRAM ARGUMENT...
bench() {
  local code=$1 how=$2 got
  shift 2
  "$@" >out 2>errors
  got=$?
  [ $got -eq "$code" ] || fail "$how: exit code $got: $(cat errors)"
}

cd "$folder" || exit 1
if command -v gnuplot >/dev/null; then
  # However the program was called, and whatever the folder is called.
  PATH="$folder/bin:$PATH" bench 0 "on PATH" gemmark bench "${short[@]}" --out on-path
  [[ "$(lines next out)" == "gemmark plot on-path" ]] || fail "on PATH: $(lines next out)"
  PATH="$folder/bin:$PATH" follow next "on PATH"
  bench 0 "by a path" "./a b's \$(touch pwned)/build/gem mark" bench "${short[@]}" --out "dir with 'quotes' \$(touch pwned)"
  follow next "by a path"
  (exec -a gemmark "$gemmark" bench "${short[@]}" --out renamed) >out 2>errors || fail "renamed: $(cat errors)"
  follow next "called what is not on PATH"
  for name in $'esc\e[31m' $'two\nlines' $'bytes\xff\xfe' $'end\n' ' -x' Größe '~' '=x' 'a*b?' $'back\\slash\t'; do
    bench 0 "$name" bin/gemmark bench "${short[@]}" "--out=$name"
    follow next "$name"
    [ -s "$name/plots/latency.svg" ] || fail "$name: no picture"
    follow report "$name"
    [ -s "$name/report.html" ] || fail "$name: no report"
  done
  for name in -dash @at; do
    bench 0 "$name" bin/gemmark bench "${short[@]}" --out "./$name"
    follow next "$name"
    follow report "$name"
  done
  (cd / && "$folder/bin/gemmark" bench "${short[@]/m.gguf/$folder/m.gguf}" --out "$folder/elsewhere" -o csv) >out 2>errors
  follow next "notes on standard error"
  # An interrupted sweep, with something to plot already: both lines. The model's path is no UTF-8, and two lines.
  cp m.gguf $'m\e\n\xff.gguf'
  bin/gemmark bench "${short[@]/m.gguf/$'m\e\n\xff.gguf'}" -n 50 -r 2000 --out $'stop \e ped' >out 2>errors &
  until [ "$(grep -c '"ok"' $'stop \e ped/runs.csv' 2>/dev/null)" -ge 1 ] 2>/dev/null; do sleep 0.01; done
  kill -TERM $!
  wait $!
  follow next interrupted
  sed -n 's/^go on: *//p' out >go
  rows=$(wc -l <$'stop \e ped/runs.csv')
  (eval "timeout -s INT 2 $(cat go)") >out 2>errors
  [ "$(wc -l <$'stop \e ped/runs.csv')" -gt "$rows" ] || fail "going on: $(cat go): $(cat out errors)"
fi

# Nothing to plot: prompts only, or no run that went well.
bench 0 prompts bin/gemmark bench "${any[@]}" -ngl 0 -n 0 -p 4 --out prompts
[ -z "$(lines next out)" ] || fail "a sweep of prompts: $(lines next out)"
follow report "a sweep of prompts"
if ! [ -e /dev/nvidiactl ]; then
  bench 2 skipped bin/gemmark bench "${any[@]}" -ngl 3 -n 1 -p 0 --out skipped
  [ -z "$(lines next out)$(lines report out)" ] || fail "skipped runs: $(cat out)"
fi
# Nothing to plot with.
PATH=/nowhere bench 0 "no gnuplot" bin/gemmark bench "${short[@]}" --out no-gnuplot
[ -z "$(lines next out)" ] || fail "without gnuplot: $(lines next out)"
follow report "without gnuplot"
[ -s no-gnuplot/report.md ] || fail "without gnuplot: no report"
[ ! -e pwned ] || fail "a folder's name was run"

[ $failures -eq 0 ] || exit 1
echo "next lines: all run"
