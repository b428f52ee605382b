#!/usr/bin/env bash
# What the machine does to a command while it runs: a model file that is cut short, a limit of a file's size. One line,
# exit code 2, and nothing that is finished lost.
#
#   tests/harness/cli/limits.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/limits.sh GEMMARK}")
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/golden/qwen3-tiny.q8_0.gguf
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0
fail() { echo "limits: $*" >&2; failures=$((failures + 1)); }

# Complaints alone: where the layers are, and how far the tokens reach, is none.
notes() { grep -v -e 'on the host' -e 'was trained for' errors; }

# said PATTERN CODE HOW: of the process that wrote errors
said() {
  # shellcheck disable=SC2053 # a pattern
  [ "$2" -eq 2 ] && [[ "$(notes)" == $1 ]] && [ "$(notes | wc -l)" -eq 1 ] ||
    fail "$3: exit code $2, '$(cat errors)'"
}

# Rows with their tokens: each row of runs.csv that is ok has 9 measured tokens.
check_rows() {
  local ok tokens
  ok=$(grep -c '"ok"' "$1/runs.csv")
  tokens=$(grep -c '"measure"' "$1/tokens.csv")
  [ "$ok" -ge 1 ] && [ "$tokens" -ge $((9 * ok)) ] || fail "$2: $ok rows, $tokens tokens"
}

sweep=(bench -m m.gguf -ngl 0 -t 2 -p 0 -n 9 -r 3000 --mode direct,graph-params --telemetry 0)

# Cut while a sweep decodes; put back, the sweep goes on.
cp "$golden" m.gguf
"$gemmark" "${sweep[@]}" --out cut >/dev/null 2>errors &
until [ "$(grep -c '"ok"' cut/runs.csv 2>/dev/null || true)" -ge 3 ] 2>/dev/null; do sleep 0.01; done
truncate -s 4096 m.gguf
wait $!
said 'gemmark bench: m.gguf: changed while it was read; finished runs are kept, and --resume goes on*' $? cut
check_rows cut cut
before=$(grep -c '"ok"' cut/runs.csv)
cp "$golden" m.gguf
timeout -s INT 2 "$gemmark" bench --resume cut >/dev/null 2>errors
[ "$(grep -c '"ok"' cut/runs.csv)" -gt "$before" ] || fail "not resumed: $(cat errors)"

# Cut while logits are written: none stay. The name steers no terminal.
cp "$golden" $'m\e.gguf'
for _ in $(seq 30000); do echo 5; done >many.txt
"$gemmark" eval -m $'m\e.gguf' --tokens many.txt -ngl 0 -t 1 --prefill 0 -o logits.f32 >/dev/null 2>errors &
until [ -n "$(find . -name 'logits.f32.*.part' -size +100k)" ]; do sleep 0.01; done
: >$'m\e.gguf'
wait $!
said 'gemmark eval: m\\x1b.gguf: changed while it was read; run again*' $? "eval, cut"
[ -z "$(find . -name 'logits.f32*')" ] || fail "eval, cut: $(find . -name 'logits.f32*') is left"

# Written to in place, as long as before: what is computed is of two files. Nothing is cut, and nothing faults.
cp "$golden" m.gguf
"$gemmark" "${sweep[@]}" --out written >/dev/null 2>errors &
until [ "$(grep -c '"ok"' written/runs.csv 2>/dev/null || true)" -ge 3 ] 2>/dev/null; do sleep 0.01; done
printf 'x' | dd of=m.gguf bs=1 seek=700000 conv=notrunc status=none
wait $!
said 'gemmark bench: m.gguf: changed while it was read; finished runs are kept, and --resume goes on*' $? written
check_rows written written
cp "$golden" m.gguf
"$gemmark" eval -m m.gguf --tokens many.txt -ngl 0 -t 1 --prefill 0 -o logits.f32 >/dev/null 2>errors &
until [ -n "$(find . -name 'logits.f32.*.part' -size +100k)" ]; do sleep 0.01; done
printf 'x' | dd of=m.gguf bs=1 seek=700000 conv=notrunc status=none
wait $!
said 'gemmark eval: m.gguf: changed while it was read; *' $? "eval, written"
[ -z "$(find . -name 'logits.f32*')" ] || fail "eval, written: $(find . -name 'logits.f32*') is left"

# Another file by the same name is no harm to what is mapped: the sweep goes on, until it has to be opened again.
cp "$golden" m.gguf
cp "$golden" n.gguf
printf 'x' | dd of=n.gguf bs=1 seek=700000 conv=notrunc status=none
"$gemmark" bench -m m.gguf -ngl 0 -t 1,2 -p 0 -n 9 -r 400 --mode direct --telemetry 0 --out renamed >/dev/null 2>errors &
until [ "$(grep -c '"ok"' renamed/runs.csv 2>/dev/null || true)" -ge 3 ] 2>/dev/null; do sleep 0.01; done
mv n.gguf m.gguf
wait $!
said 'gemmark bench: m.gguf: is not the file that the sweep began with;*' $? renamed
[ "$(grep -c '"ok"' renamed/runs.csv)" -eq 400 ] || fail "renamed: $(grep -c '"ok"' renamed/runs.csv) rows"

# A file of results cut in place: one line, and what is whole goes on.
cp "$golden" m.gguf
"$gemmark" "${sweep[@]}" --out shorter >/dev/null 2>errors &
until [ "$(grep -c '"ok"' shorter/runs.csv 2>/dev/null || true)" -ge 3 ] 2>/dev/null; do sleep 0.01; done
truncate -s -20 shorter/tokens.csv
wait $!
said 'gemmark bench: shorter/tokens.csv: was changed while the sweep ran: * --resume*' $? shorter
before=$(grep -c '"ok"' shorter/runs.csv)
timeout -s INT 2 "$gemmark" bench --resume shorter >/dev/null 2>errors
[ "$(grep -c '"ok"' shorter/runs.csv)" -gt "$before" ] || fail "shorter, not resumed: $(cat errors)"

# Its descriptions removed: they are there again, and it is said.
"$gemmark" bench -m m.gguf -ngl 0 -t 1 -p 0 -n 9 -r 300 --mode direct --telemetry 0 --out bare >/dev/null 2>errors &
until [ "$(grep -c '"ok"' bare/runs.csv 2>/dev/null || true)" -ge 3 ] 2>/dev/null; do sleep 0.01; done
rm bare/env.json bare/sweep.json
wait $!
code=$?
[ $code -eq 0 ] && [ "$(notes)" = 'gemmark bench: bare: sweep.json and env.json were removed while the sweep ran; written again' ] ||
  fail "bare: exit code $code, '$(cat errors)'"
"$gemmark" bench --resume bare >/dev/null 2>errors || fail "bare, not resumed: $(cat errors)"

# SIGBUS that is none of this ends the program as it does.
cp "$golden" m.gguf
"$gemmark" "${sweep[@]}" --out sent >/dev/null 2>errors &
until [ -s sent/runs.csv ]; do sleep 0.01; done
kill -BUS $!
wait $! 2>/dev/null
[ $? -eq 135 ] || fail "SIGBUS that was sent: exit code $?"

# A limit of a file's size: for the logits, for a model, for a sweep's rows, for what is printed.
(ulimit -f 100; exec "$gemmark" eval -m m.gguf --tokens many.txt -ngl 0 -t 1 --prefill 0 -o logits.f32) >/dev/null 2>errors
said 'gemmark eval: -o: logits.f32: File too large; raise the file size limit (ulimit -f)*' $? "eval, ulimit"
[ -z "$(find . -name 'logits.f32*')" ] || fail "eval, ulimit: $(find . -name 'logits.f32*') is left"
(ulimit -f 100; exec "$gemmark" model make --arch qwen3-tiny -o made.gguf) >/dev/null 2>errors
said 'gemmark model make: made.gguf: *: File too large; raise the file size limit (ulimit -f)*' $? "model make, ulimit"
(ulimit -f 40; exec "$gemmark" "${sweep[@]}" --out limited) >/dev/null 2>errors
said 'gemmark bench: limited/*.csv: File too large; *(ulimit -f)*' $? "bench, ulimit"
check_rows limited "bench, ulimit"
(ulimit -f 1; exec "$gemmark" model show m.gguf --tensors) >shown 2>errors
said 'gemmark: cannot write to standard output: File too large; *(ulimit -f)*' $? "show, ulimit"
# Pictures are whole or not there, whoever reached the limit, this program or gnuplot.
if command -v gnuplot >/dev/null; then
  "$gemmark" bench -m m.gguf -ngl 0 -t 1 -p 0 -n 2 -r 1 --mode direct --telemetry 0 --out small >/dev/null 2>errors
  refused=0
  for limit in 4 6 8 10 12 14 16; do
    (ulimit -f $limit; exec "$gemmark" plot small --format svg) >/dev/null 2>errors
    [ $? -eq 2 ] && refused=$((refused + 1))
    for picture in small/plots/*.svg; do
      [ ! -e "$picture" ] || tail -c 12 "$picture" | grep -q "</svg>" || fail "ulimit -f $limit: $picture is cut off"
    done
    rm -rf small/plots
  done
  [ $refused -ge 2 ] || fail "plots: no limit was reached"
fi

[ $failures -eq 0 ] || exit 1
echo "limits: nothing lost"
