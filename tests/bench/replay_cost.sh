#!/usr/bin/env bash
# gemmark_replay_cost on a GPU that tests/support/fake_cuda.c makes up: its file is whole and can be drawn, a replay that
# does not run what it should is found, a launch that waits for the GPU ends and is not counted.
#
#   tests/bench/replay_cost.sh PROGRAM FAKE_LIBRARY
set -uo pipefail
program=$(readlink -f "${1:?usage: tests/bench/replay_cost.sh PROGRAM FAKE_LIBRARY}")
fake=$(readlink -f "${2:?usage: tests/bench/replay_cost.sh PROGRAM FAKE_LIBRARY}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
fail() { echo "replay_cost: $*"; failures=$((failures + 1)); }
mkdir fake
ln -s "$fake" fake/libcuda.so.1
on_fake() { GEMMARK_NVRTC=$fake LD_LIBRARY_PATH=$work/fake "$program" "$@"; }

# refused LINE ARGUMENTS...
refused() {
  local line=$1 code=0
  shift
  "$program" "$@" >out 2>err || code=$?
  # shellcheck disable=SC2053 # a pattern
  if [ $code -ne 2 ] || [ -s out ] || [[ $(<err) != $line ]]; then fail "$*: exit code $code, '$(<out)', '$(<err)'"; fi
}
refused 'gemmark_replay_cost: --nodes: ?99?: numbers from 100 *' --nodes 99
refused 'gemmark_replay_cost: --nodes: ??: numbers from 100 *' --nodes ''
refused 'gemmark_replay_cost: --nodes: ??: numbers from 100 *' --nodes 100,
refused 'gemmark_replay_cost: --nodes: *' --nodes 100,99999999999999999999
refused 'gemmark_replay_cost: --budget: ?nan?: *' --budget nan
refused 'gemmark_replay_cost: --out: without its value; see --help' --out
refused 'gemmark_replay_cost: --what: there are --out, --nodes and --budget; see --help' --what 3
refused 'gemmark_replay_cost: --what: there are --out, --nodes and --budget; see --help' --what
refused 'gemmark_replay_cost: 100: there are --out, *' 100
for help in --help -h '--nodes 200 --help'; do
  # shellcheck disable=SC2086 # words
  "$program" $help >out 2>err || fail "$help: exit code $?"
  { grep -q '^usage: gemmark_replay_cost ' out && [ ! -s err ]; } || fail "$help: $(cat out err)"
  for option in --out --nodes --budget --help; do grep -q "^  .*$option" out || fail "$help says nothing of $option"; done
done
code=0
"$program" --help 2>err >/dev/full || code=$?
[ $code -eq 2 ] && [[ $(<err) == 'gemmark_replay_cost: cannot write to standard output: '* ]] || fail "--help: $code, $(<err)"
GEMMARK_NVRTC='' on_fake --nodes 100 --out missing/x.csv >out 2>err && fail "a folder that is not there"
grep -q '^gemmark_replay_cost: .*--out' err || fail "a folder that is not there: $(<err)"

code=0
env -u LD_LIBRARY_PATH "$program" --out none.csv >out || code=$?
if [ $code -eq 77 ]; then
  grep -q '^SKIP: no GPU' out || fail "without a GPU: $(<out)"
  [ ! -e none.csv ] || fail "without a GPU there is a file"
fi # else there is one

on_fake --nodes 100,103,200 --budget 1 --out right.csv >out 2>err || fail "exit code $?: $(cat out err)"
python3 - right.csv <<'PY' || fail "the file"
import csv
import sys

rows = list(csv.DictReader(open(sys.argv[1])))
assert len({tuple(r[k] for k in r if not k.endswith("_us") and k != "samples") for r in rows}) == len(rows), "twice"
for r in rows:
    nodes, kernels, copies = int(r["nodes"]), int(r["kernels"]), int(r["copies"])
    assert kernels + copies == nodes, r
    assert copies == (nodes // 10 if r["shape"] == "copies" else 0), r
    assert r["gpu"] and "," not in r["gpu"] and r["commit"], r
    assert 0 <= float(r["p5_us"]) <= float(r["median_us"]) <= float(r["p95_us"]), r
    assert int(r["samples"]) >= 12 and int(r["expired"]) == 0, r
    assert (r["quantity"] == "device") <= (r["state"] in ("gated", "queued")), r
    assert (r["quantity"] == "update") <= (r["updated_by"] == "host"), r
    assert (r["updated_by"] == "none") == (r["updates"] == "0"), r
    assert (r["updated_by"] in ("param", "grid")) == (r["shape"] == "patched" and r["updates"] != "0"), r
def series(**want):
    return {r["nodes"] for r in rows if all(r[k] == v for k, v in want.items())}
for want in (
    dict(shape="chain", edges="pdl", kernel="2us", state="queued", quantity="device"),
    dict(shape="chain", edges="full", params_bytes="256", state="gated", quantity="host"),
    dict(shape="chain", edges="full", kernel="mixed", state="idle", quantity="total"),
    dict(shape="copies", edges="pdl", state="gated", quantity="device"),
    dict(shape="parallel", branches="4", state="gated", quantity="device"),
    dict(shape="diamonds", state="gated", quantity="host"),
    dict(updates="100", state="gated", quantity="update"),
    dict(updates="whole", state="idle", quantity="update"),
    dict(state="first", uploaded="0", quantity="host"),
    dict(state="first", uploaded="1", quantity="upload"),
    dict(state="first", uploaded="0", quantity="instantiate"),
    dict(shape="patched", edges="pdl", updates="0", state="queued", quantity="device"),
    dict(shape="patched", edges="full", updates="1", updated_by="param", state="gated", quantity="device"),
    dict(shape="patched", edges="full", updates="10", updated_by="grid", state="gated", quantity="host"),
    dict(shape="patched", edges="pdl", updates="all", updated_by="param", state="idle", quantity="total"),
    dict(shape="patched", edges="pdl", updates="all", updated_by="grid", state="gated", quantity="device"),
):
    assert series(**want) == {"100", "103", "200"}, want
# On this GPU a kernel takes 100 us of its clock and none of the host's.
for r in rows:
    if r["quantity"] == "device":
        assert float(r["p5_us"]) >= 100 * (int(r["kernels"]) - 1), r
        host = [h for h in rows if h["quantity"] == "host" and
                all(h[k] == r[k] for k in r if not k.endswith("_us") and k != "quantity")]
        assert len(host) == 1 and float(host[0]["median_us"]) < 50 * int(r["kernels"]), host
# The patch is one of 100 nodes: it cannot set as many.
assert series(shape="patched", updates="100", updated_by="param") == {"103", "200"}
assert not series(state="first", uploaded="0", quantity="upload")
PY
# Of two points the line goes through both.
grep -E '^chain full empty 32B, gated, .* host .* us .* ns a node, worst +[0-9.]+ %; [0-9.]+ [0-9.]+ [0-9.]+$' out >/dev/null ||
  fail "no line of a chain"
if command -v gnuplot >/dev/null; then
  gnuplot -e "data='right.csv'; name='drawn'" "$root/plots/replay_cost.gp" 2>err || fail "gnuplot: $(<err)"
  [ ! -s err ] || fail "gnuplot said: $(<err)"
  grep -q 'programmatic edges' drawn.svg || fail "the figure has no legend"
  machine="$(sed -n 2p right.csv | cut -d, -f18) · commit $(sed -n 2p right.csv | cut -d, -f19)"
  grep -qF "$machine" drawn.svg || fail "the figure does not say: $machine"
  # What is updated on the device is not drawn, and no other line changes for it.
  grep -v '^patched' right.csv >before.csv
  gnuplot -e "data='before.csv'; name='before'" "$root/plots/replay_cost.gp" 2>err || fail "gnuplot: $(<err)"
  cmp drawn.svg before.svg || fail "the figure draws graphs that are updated on the device"
  cut -d, -f1-17 right.csv >older.csv
  gnuplot -e "data='older.csv'; name='older'" "$root/plots/replay_cost.gp" 2>err || fail "gnuplot: $(<err)"
  [ ! -s err ] || fail "gnuplot said of a file without gpu and commit: $(<err)"
  ! grep -q 'commit' older.svg || fail "the figure names a commit that nobody gave"
fi

# found LINE HOW: exit code 1, and the other graphs' rows are kept
found() {
  local code=0
  FAKE_CUDA=$2 on_fake --nodes 100 --budget 1 --out "$2.csv" >out 2>err || code=$?
  if [ $code -ne 1 ] || ! grep -q "^FAILED: $1" out; then fail "$2: exit code $code: $(grep FAILED out | head -n 2)"; fi
  [ -s "$2.csv" ] || fail "$2: no file"
}
found 'a replay of 100 nodes (chain, 0 updated) counted to 99, not to 100' lost-node
found 'a replay of 100 nodes (chain, 10 updated) counted to 100, not to 110' lost-update
found 'a replay of 100 nodes (patched, 10 updated by param) counted to 99, not to 109' lost-update
found 'a replay of 100 nodes (patched, 99 updated by grid) counted to 99, not to 198' lost-update
grep -q '^patched,.*,0,device,' lost-update.csv || fail "lost-update: a graph that sets nothing is gone"
found 'capturing 100 nodes (diamonds): ' no-diamonds
grep -q '^chain,.*,0,host,' lost-update.csv || fail "lost-update: what is right is gone"
FAKE_CUDA=blocking on_fake --nodes 100 --budget 1 --out blocking.csv >out || fail "blocking: exit code $?"
grep -q 'did not return before the gate gave up' out || fail "blocking: not said"
! grep -q ',gated,' blocking.csv || fail "blocking: counted"

# left_out LINE HOW: a driver without updates on the device; all the rest is measured
left_out() {
  FAKE_CUDA=$2 on_fake --nodes 100 --budget 1 --out "$2.csv" >out || fail "$2: exit code $?"
  awk -F, '$1 != "patched" && (NR == 1 || $6 == 100)' right.csv | cut -d, -f1-12 >rest
  cut -d, -f1-12 "$2.csv" | cmp - rest || fail "$2: not the rest, or more"
  [ "$(grep -c '^LEFT OUT' out)" = 1 ] || fail "$2: said $(grep -c '^LEFT OUT' out) times"
  grep -q "^LEFT OUT: graphs whose nodes are updated on the device: they need $1" out || fail "$2: $(grep LEFT out)"
}
left_out 'a driver for CUDA 12.4 or newer; this one is for CUDA 12.2$' old-driver
left_out 'kernels that this driver does not load: loading replay_patch.cu for fake GPU: CUDA_ERROR_FAKE' no-patch

[ "$failures" -eq 0 ] || exit 1
echo "replay_cost: $(wc -l <right.csv) lines, all as expected"
