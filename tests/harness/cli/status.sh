#!/usr/bin/env bash
# What a sweep says of itself while it runs, and what is told of it from outside: bench --status-file and
# --prometheus-file, gemmark status.
#
#   tests/harness/cli/status.sh GEMMARK FOLDER     FOLDER/prometheus: the parser, see ci/setup.sh
# shellcheck disable=SC2015 # conditions in a row
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/status.sh GEMMARK FOLDER}")
parsers=$(realpath "${2:?usage: tests/harness/cli/status.sh GEMMARK FOLDER}")
model=$(realpath golden/gemma4-e2b-tiny.q8_0.gguf)
metrics=$(realpath harness/cli/metrics.py)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failed=0
fail() { echo "status: $*"; failed=1; }

bench() { "$gemmark" bench -m "$model" -p 0 -n 4 -t 1 -ngl 0 --telemetry 0 "$@"; }
member() { python3 -c 'import json, sys; o = json.load(open(sys.argv[1])); print(eval(sys.argv[2]))' "$1" "$2"; }
# expect CODE PATTERN WHAT ARGUMENT...: of gemmark status
expect() {
  local code=$1 pattern=$2 what=$3 out got
  shift 3
  out=$("$gemmark" status "$@" 2>&1)
  got=$?
  # shellcheck disable=SC2053 # the right side is a pattern
  [ $got -eq "$code" ] && [[ "$out" == $pattern ]] || fail "$what: exit code $got (expected $code): $out"
}

# While it runs: both see the same, and neither disturbs it.
# No function: $! is the program's own.
"$gemmark" bench -m "$model" -p 0 -n 4 -t 1 -ngl 0 --telemetry 0 -d 0,64 -r 10000 --mode direct,graph-device \
  --out 'a "run"' --status-file now --prometheus-file now.prom >out 2>errors &
sweep=$!
until [ -s now ] && [ "$(member now 'o["runs"]["done"]')" -gt 0 ] || ! kill -0 $sweep 2>/dev/null; do sleep 0.02; done
files=$(stat -c '%n %i %Z' now now.prom | sort)
for _ in 1 2 3 4 5 6 7 8 9 10; do
  expect 0 'running, * of 40000 runs (* %)*runs:     * ok*process:  * on *' 'a status file' now
  expect 0 $'running, * of 40000 runs*\nlast run: tg4*' 'a directory' 'a "run"'
done
expect 0 $'{\n  "gemmark_status": 1,\n  "state": "running"*' 'as JSON' 'a "run"' --json
[ "$(member now 'o["runs"]["ok"] == o["runs"]["done"] and o["process"]["pid"]')" = $sweep ] || fail "$(cat now)"
# At most once a second, as a whole: another file, of which nothing is left beside it.
sleep 1.2
[ "$(stat -c '%n %i %Z' now now.prom | sort)" != "$files" ] || fail 'the files are never written again'
# One that is just being written is there for a moment.
find . -name '*.part' >parts
[ ! -s parts ] || sleep 0.8
while read -r part; do
  [ ! -e "$part" ] || fail "left: $(ls)"
done <parts
rm parts
done=$(member now 'o["runs"]["done"]')
kill -KILL $sweep
wait $sweep 2>/dev/null
expect 1 $'gone, * of 40000 runs*which is gone\ngo on:    *bench --resume *a*run*' 'a killed sweep, by its file' now
expect 1 $'gone, * of 40000 runs*\ngo on:    *bench --resume *a*run*' 'a killed sweep, by its directory' 'a "run"'
[ "$(member now 'o["state"]')" = running ] || fail 'somebody else wrote the file'
# It goes on where it was, with the same files.
"$gemmark" bench --resume 'a "run"' >out 2>errors &
sweep=$!
# However long it takes to begin on a busy machine; a run more than there were.
until [ "$(member now 'o["process"]["pid"]')" = $sweep ] && [ "$(member now 'o["runs"]["done"]')" -gt "$done" ] ||
  ! kill -0 $sweep 2>/dev/null; do sleep 0.05; done
kill -TERM $sweep
wait $sweep 2>/dev/null
expect 130 $'interrupted, * runs*\ngo on: *' 'an interrupted sweep' now
[ "$(member now 'o["seconds_left"]')" = None ] || fail "an interrupted sweep has seconds left: $(cat now)"
# Between two runs it leaves no row that says so.
"$gemmark" status 'a "run"' >out
[[ $? =~ ^(1|130)$ && "$(cat out)" == *' of 4000'?' runs'*$'\ngo on: '* ]] || fail "an interrupted sweep, by its directory: $(cat out)"
[ "$(member now 'o["runs"]["done"]')" -gt "$done" ] || fail 'the rows of before the resumption are not counted'

# The process has another number's owner now: planted.
bench -r 2 --mode direct --out b --status-file b.json >out 2>errors || fail "$(cat errors)"
expect 0 $'done, 2 of 2 runs (100 %)\n*runs:     2 ok\n*' 'an end' b.json
expect 0 $'done, 2 of 2 runs (100 %)\n*' 'an end, by its directory' b
python3 - <<'P'
import json
o = json.load(open("b.json"))
for name, change in [("stale", {"pid": 1}), ("elsewhere", {"host": "another-machine"})]:
    json.dump(o | {"state": "running", "process": o["process"] | change}, open(name, "w"))
P
expect 1 $'gone, 2 of 2 runs*' 'a stale process' stale
expect 3 $'unknown, 2 of 2 runs*which cannot be looked for from here*' "another machine's" elsewhere

# Wrong results: of rows, as a directory has them.
cp -r b wrong
sed -i 's/"ok",,/"wrong","other bits",/' wrong/runs.csv
expect 4 $'done, * 2 WRONG\n*not ok:   wrong: other bits\n*' 'wrong results' wrong

# A cell that is skipped, and the reason.
bench -r 2 --mode graph-loop --out skipped --status-file skipped.json >out 2>errors
expect 0 $'done, 1 of 1 runs*runs:     1 skipped\n*not ok:   skipped: *' 'a skipped cell' skipped.json
expect 0 $'done, 1 of 1 runs*not ok:   skipped: *' 'a skipped cell, by its directory' skipped

# A full disk is said once, and no sweep ends by it; so is a folder that goes away.
bench -d 0,8 -r 3 --mode direct --out full --status-file /dev/full >out 2>errors || fail "a full disk: exit code $?"
[ "$(grep -c 'this is said once' errors)" = 1 ] || fail "a full disk: $(cat errors)"
grep -q '^6 runs ok' out || fail "a full disk: $(cat out)"
bench -r 2 --mode direct --out nowhere --status-file no/folder/status >out 2>errors || fail "no folder: exit code $?"
[ "$(grep -c '^gemmark bench: no/folder/status: .*said once$' errors)" = 1 ] || fail "no folder: $(cat errors)"
# A sweep that fails says why in the file.
(ulimit -f 16; bench -r 2000 --mode direct --out limited --status-file limited.json >out 2>errors)
expect 1 $'failed, * of 2000 runs*error:    limited/*' 'a sweep that fails' limited.json

# Nothing that is read, or is the results, is written over.
refused() { # PATTERN ARGUMENT...
  local pattern=$1 got
  shift
  bench -r 1 --mode direct "$@" >out 2>errors
  got=$?
  # shellcheck disable=SC2053
  [ $got -eq 2 ] && [[ "$(cat errors)" == $pattern ]] || fail "$*: exit code $got: $(cat errors)"
}
sum=$(sha256sum <"$model")
refused "*--status-file: *is read*" --out no --status-file "$model"
refused "*--prometheus-file: 'x' does not end in .prom" --out no --prometheus-file x
refused "*--status-file: *is a folder*" --out no --status-file b
refused "*--status-file: no/runs.csv: is read*" --out no --status-file no/runs.csv
[ -s no/runs.csv ] && [ "$sum" = "$(sha256sum <"$model")" ] || fail 'something was written over'
expect 2 'gemmark status: nothing: No such file*' 'nothing' nothing
expect 2 'gemmark status: *' 'no status file' "$model"
expect 2 'gemmark status: *' 'no sweep' .
expect 2 'gemmark status: name a results directory*' 'no name'
expect 2 'gemmark status: b: one sweep at a time*' 'two names' a b

if [ -d "$parsers/prometheus" ]; then
  PYTHONPATH=$parsers/prometheus python3 "$metrics" now.prom || fail 'the metrics are not what Prometheus reads'
else
  echo 'status: the metrics were not checked: see ci/setup.sh'
fi
[ $failed -eq 0 ] && echo 'status: all as it is'
exit $failed
