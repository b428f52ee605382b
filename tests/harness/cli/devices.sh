#!/usr/bin/env bash
# bench --devices: a sweep over shares of the processor and, by a stand-in for NVML, over GPUs that are not there; what
# stays where a process ends early, and how it goes on.
#
#   tests/harness/cli/devices.sh GEMMARK LIBRARY     LIBRARY: the stand-in
# shellcheck disable=SC2015,SC2054,SC2002,SC2094 # conditions in a row; lists of axes; what is not there; other files
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/devices.sh GEMMARK LIBRARY}")
library=$(realpath "${2:?usage: tests/harness/cli/devices.sh GEMMARK LIBRARY}")
model=$(realpath golden/gemma4-e2b-tiny.q8_0.gguf)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0
fail() { echo "devices: $*"; failed=1; }
unset CUDA_VISIBLE_DEVICES

if [ "$(nproc)" -lt 2 ]; then
  echo 'skipped: two processes side by side need two processors'
  exit 77
fi

options=(-m "$model" -p 4 -n 4 -d 0,32,64,96 -t 1 -ngl 0 --mode 'direct,graph-device' --telemetry 0)
bench() { "$gemmark" bench "${options[@]}" "$@" >out 2>errors; }
# cells FILE: every run's cell, repetition and status, and what no timing changes of it
cells() {
  python3 - "$1" <<'P'
import csv, sys
keep = ["test", "mode", "repetition", "status", "logits_hash", "launch_hash", "n_depth"]
rows = sorted(tuple(r[k] for k in keep) for r in csv.DictReader(open(sys.argv[1] + "/runs.csv")))
print("\n".join(map(str, rows)))
P
}
# refused PATTERN ARGUMENT...
refused() {
  local pattern=$1 got
  shift
  bench "$@"
  got=$?
  # shellcheck disable=SC2053 # the right side is a pattern
  [ $got -eq 2 ] && [[ "$(cat errors)" == $pattern ]] || fail "$*: exit code $got: $(cat errors)"
}

# The same runs as one process makes, with the same bits.
bench -r 3 --out one || fail "one process: $(cat errors)"
bench -r 3 --out two --devices cpu,cpu --status-file two.json --progress || fail "two processes: exit code $?: $(cat errors)"
[ "$(cells one)" = "$(cells two)" ] && [ "$(cells one | wc -l)" = 36 ] || fail 'the runs of two are others than those of one'
grep -q '^36 runs ok, on 2 devices$' out && grep -q '^tg4 @ d96 ' out || fail "two processes: $(cat out)"
[ "$(grep -c '^device cpu#[12]: CPUs [0-9,-]*$' errors)" = 2 ] || fail "two processes: $(cat errors)"
[ ! -e two.parts ] || fail "left: $(ls two.parts)"
[ "$("$gemmark" status two.json | head -n 1)" = 'done, 36 of 36 runs (100 %)' ] || fail "$(cat two.json)"
[ "$("$gemmark" status two | head -n 1)" = 'done, 36 of 36 runs (100 %)' ] || fail "$("$gemmark" status two)"
# Each depth was measured by one process, and both measured some.
python3 - <<'P' || fail 'the shares are wrong'
import csv
by = {}
for r in csv.DictReader(open("two/runs.csv")):
    by.setdefault(r["n_depth"], set()).add(r["run_id"].rsplit("-", 1)[0])
assert all(len(p) == 1 for p in by.values()), by
assert len(set.union(*by.values())) == 2, by
P
"$gemmark" report two -o two.md >/dev/null 2>errors || fail "report: $(cat errors)"

# More processes than units: those without cells end well.
bench -d 0 -p 0 -r 2 --out few --devices cpu,cpu -d 0 || fail "$(cat errors)"
options_of_one=(-m "$model" -p 0 -n 4 -t 1 -ngl 0 --mode direct --telemetry 0 -r 2)
"$gemmark" bench "${options_of_one[@]}" --out unit --devices cpu,cpu >out 2>errors || fail "one unit: $(cat errors)"
[ "$(cells unit | wc -l)" = 2 ] && [ ! -e unit.parts ] || fail "one unit: $(cat out errors)"
"$gemmark" bench "${options_of_one[@]}" --out single --devices cpu >out 2>errors || fail "one device: $(cat errors)"
grep -q '^one device: ' errors || fail "one device: $(cat errors)"

# children PID: the processes of a sweep
children() { pgrep -P "$1"; }
# begin NAME: a long one in the background, until each part has rows; its number in $sweep
begin() {
  "$gemmark" bench "${options[@]}" -r 60 --out "$1" --devices cpu,cpu --status-file "$1.json" >out 2>errors &
  sweep=$!
  until { has_rows "$1" 1 && has_rows "$1" 2; } || ! kill -0 $sweep 2>/dev/null; do sleep 0.02; done
}
has_rows() { [ "$(cat "$1.parts/$2/runs.csv" 2>/dev/null | wc -l)" -gt 3 ]; }
rows() { cat "$1".parts/[12]/runs.csv | wc -l; }
whole() { # NAME CODE
  timeout 100 "$gemmark" bench --resume "$1" >out 2>errors
  local got=$?
  [ $got -eq "$2" ] && [ "$(cells "$1" | wc -l)" = 720 ] && [ ! -e "$1.parts" ] || fail "$1 goes on: exit code $got: $(cat errors)"
  [ "$(cells "$1" | sort -u | wc -l)" = 720 ] || fail "$1: runs are there twice"
}

# Signals are passed on; what is there is kept, and seen.
begin term
[[ "$("$gemmark" status term)" == 'running, '*$'\nlast run: '*'cpu#1: '*'; cpu#2: '* ]] || fail "$("$gemmark" status term)"
[[ "$("$gemmark" status term.json)" == 'running, '* ]] || fail "$("$gemmark" status term.json)"
[ "$(for c in $(children $sweep); do sed -n 's/^Cpus_allowed_list:\t//p' /proc/"$c"/status; done | sort -u | wc -l)" = 2 ] ||
  fail 'the processes share their cores'
refused '*term.parts: File exists; go on with *' --out term --devices cpu,cpu
"$gemmark" bench --resume term >out 2>errors2 && fail 'two measure the same parts'
grep -q 'another gemmark measures its parts' errors2 || fail "$(cat errors2)"
refused '*goes on alone, with its own options: gemmark bench --resume term' --resume term
refused '*goes on alone, with its own options: *' --resume one --devices cpu
kill -TERM $sweep
wait $sweep
code=$?
[ $code -eq 130 ] || fail "SIGTERM: exit code $code: $(cat errors)"
[[ "$("$gemmark" status term.json)" == 'interrupted, '* ]] || fail "$("$gemmark" status term.json)"
"$gemmark" status term >status
[[ $? =~ ^(1|130)$ && "$(cat status)" == *$'\ngo on:    '*'bench --resume term' ]] || fail "$(cat status)"

# A process that is killed: the other one ends its part, and both go on.
begin child
kill -KILL "$(children $sweep | head -n 1)"
wait $sweep
code=$?
[ $code -eq 2 ] || fail "a killed process: exit code $code"
grep -q 'device cpu#[12]: its process was ended by signal 9; its runs are kept' errors &&
  grep -q ': 1 of 2 parts is not whole; nothing is lost$' errors || fail "a killed process: $(cat errors)"
grep -q '^go on: *.*bench --resume child$' out || fail "a killed process: $(cat out)"
whole child 0

# The one that started them is killed: they end with it, and their rows are kept.
begin parent
processes=$(children $sweep)
kill -KILL $sweep
wait $sweep 2>/dev/null
for p in $processes; do
  for _ in $(seq 100); do kill -0 "$p" 2>/dev/null || break; sleep 0.05; done
  kill -0 "$p" 2>/dev/null && fail "process $p goes on alone"
done
before=$(rows parent)
# Ended with it, and not when all of their runs were made: 720, and two headers.
[ "$before" -lt 700 ] || fail "the processes measured to their end: $before rows"
[[ "$("$gemmark" status parent.json)" == 'gone, '* ]] || fail "$("$gemmark" status parent.json)"
# Wrong results of one of them, planted: the sweep ends, and says so.
sed -i '3s/"ok",,/"wrong","other bits",/' parent.parts/1/runs.csv
timeout 100 "$gemmark" bench --resume parent >out 2>errors
code=$?
[ $code -eq 4 ] && grep -q ', 1 WRONG, on 2 devices' out || fail "wrong results: exit code $code: $(cat out errors)"
[ "$(wc -l <parent/runs.csv)" -ge "$((before - 2))" ] || fail 'rows were lost'

# A part that fails by itself says so, and is named.
(ulimit -f 40; bench -r 30 --out limited --devices cpu,cpu)
code=$?
[ $code -eq 2 ] && grep -q '^gemmark bench: device cpu#[12]: limited.parts/' errors || fail "a full disk: exit code $code: $(cat errors)"
# What never began leaves no part behind that could not go on.
rm -rf limited.parts/1/env.json limited.parts/2
timeout 100 "$gemmark" bench --resume limited >out 2>errors || fail "a part that never began: $(cat errors)"
[ "$(cells limited | sort -u | wc -l)" = 360 ] || fail 'a part that never began: runs are missing'

# How much they disturb each other: every device, and what stays where it was asked for.
"$gemmark" selftest --neighbours --devices cpu,cpu -m "$model" -n 4 -ngl 0 --mode direct -r 3 --delta 99 --out study >out 2>errors ||
  fail "neighbours: exit code $?: $(cat errors)"
[ "$(grep -cE '^cpu#[12] +[0-9.]+ +[0-9.]+  [-+][0-9.]+ % \[[-+0-9.]+, [-+0-9.]+\]$' out)" = 2 ] || fail "neighbours: $(cat out)"
python3 - <<'P' || fail 'neighbours: the file is wrong'
import csv, json
o = json.load(open("study/neighbours.json"))
assert [d["device"] for d in o["devices"]] == ["cpu#1", "cpu#2"], o
assert all(d["rounds"] == 3 and d["low"] <= d["change"] <= d["high"] and d["alone_us"] > 0 for d in o["devices"]), o
# Two halves of three rounds, four runs each, and what lay between.
assert all(sum(r["status"] == "ok" for r in csv.DictReader(open(f"study/{i}/runs.csv"))) >= 24 for i in (1, 2))
P
[ -z "$(pgrep -f "$folder/study")" ] || fail 'neighbours: processes are left'
TMPDIR=$folder "$gemmark" selftest --neighbours --devices cpu,cpu -m no-model --json >out 2>errors
[ $? -eq 2 ] && grep -q 'device cpu#[12]: its process ended after 0 runs: .*no-model' errors || fail "neighbours: $(cat out errors)"
[ -z "$(ls -d gemmark-neighbours-* 2>/dev/null)" ] || fail 'neighbours: a folder is left'
"$gemmark" selftest --neighbours --devices cpu -m "$model" >out 2>errors
grep -q 'one device has none; name several' errors || fail "neighbours: $(cat errors)"

# GPUs that are not there, on which the host computes: which one each process sees.
mkdir lib
ln -s "$library" lib/libnvidia-ml.so.1
export LD_LIBRARY_PATH=$folder/lib FAKE_NVML_GPUS=4
"$gemmark" bench --list-devices >out 2>errors || fail "$(cat errors)"
grep -q '^  1: GPU-00000001-.*, Fake 80GB (81920 MiB), PCI 00000000:4E:00.0' out &&
  grep -q '^    2:2: MIG-00000001-.* (40960 MiB)$' out || fail "$(cat out)"
FAKE_NVML_GPUS=2
"$gemmark" bench "${options[@]}" -r 2000 --out gpus --devices all >out 2>errors &
sweep=$!
until { has_rows gpus 1 && has_rows gpus 2; } || ! kill -0 $sweep 2>/dev/null; do sleep 0.02; done
seen=$(for c in $(children $sweep); do tr '\0' '\n' <"/proc/$c/environ" | sed -n 's/^CUDA_VISIBLE_DEVICES=//p'; done | sort)
[ "$seen" = $'GPU-00000000-1111-2222-3333-444444444444\nGPU-00000001-1111-2222-3333-444444444444' ] || fail "GPUs: $seen"
kill -TERM $sweep
wait $sweep
refused "*--devices: '2' is no GPU of this machine*" --out no --devices 2
refused "*--devices: 0 is named twice*" --out no --devices 0,1,0
unset LD_LIBRARY_PATH
refused '*--devices: all: there is no GPU: *; cpu,cpu divides the processor' --out no --devices all
refused '*--devices: * need a core each*' --out no --devices "$(printf 'cpu,%.0s' $(seq 40))cpu"
refused '*--devices: divides the sweep itself; leave --shard out' --out no --devices cpu --shard 1/2
refused '*--until: *' --out no --devices cpu --until stable
refused '*--devices: prints the table; *' --out no --devices cpu -o md
# Only the processes see what is wrong here: it is said of each, and nothing is left.
"$gemmark" bench -m no-model -ngl 0 --out no --devices cpu,cpu >out 2>errors
[ $? -eq 2 ] && [ "$(grep -c '^gemmark bench: device cpu#[12]: .*no-model' errors)" = 2 ] || fail "no model: $(cat out errors)"
[ ! -e no ] && [ ! -e no.parts ] || fail 'a sweep that was refused left something'

[ $failed -eq 0 ] && echo 'devices: all as they are'
exit $failed
