#!/usr/bin/env bash
# gemmark_bench_kernels: results in Google Benchmark's JSON; a GPU that tests/support/fake_cuda.c makes up, on which one
# kernel runs and all others must be found wrong; none at all.
#
#   tests/bench/kernels.sh PROGRAM FAKE_LIBRARY
set -uo pipefail
program=$(readlink -f "${1:?usage: tests/bench/kernels.sh PROGRAM FAKE_LIBRARY}")
fake=$(readlink -f "${2:?usage: tests/bench/kernels.sh PROGRAM FAKE_LIBRARY}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
failures=0
fail() { echo "kernels: $*"; failures=$((failures + 1)); }
mkdir fake
ln -s "$fake" fake/libcuda.so.1

# run CODE OUT FILTER [VARIABLE=VALUE...]: what it says is in `said`
run() {
  local want=$1 out=$2 filter=$3 code=0
  shift 3
  env "$@" "$program" --benchmark_min_time=0.0005 --benchmark_filter="$filter" --benchmark_repetitions=2 \
    --benchmark_out="$out" >said 2>&1 || code=$?
  [ $code -eq "$want" ] || fail "$filter: exit code $code, not $want: $(tail -n 4 said)"
}
on_fake=(LD_LIBRARY_PATH="$work/fake" GEMMARK_NVRTC="$fake" XDG_CACHE_HOME="$work/cache")

run 0 host.json '^host/((add|softcap|qkv_prepare)/gemma4-e2b/|norm_matmul/gemma4-e2b/q8_0/q_|(launch|replay|copy)/)'
python3 - host.json <<'PY' || fail "host.json"
import json
import re
import sys

j = json.load(open(sys.argv[1]))
runs, context = j["benchmarks"], j["context"]
assert re.fullmatch("([0-9a-f]{10}(-dirty)?|unknown)", context["gemmark_commit"]), context
assert int(context["host_read_threads"]) > 0, context
read = float(context["host_read_gb_s"])
assert 0.1 < read < 10000, context
single = [r for r in runs if r["run_type"] == "iteration"]
assert not [r for r in single if r.get("error_occurred")], "errors"
names = {r["name"] for r in single}
for name in ("host/add/gemma4-e2b/row/caches:cold/manual_time", "host/replay/nodes:1000/manual_time",
             "host/qkv_prepare/gemma4-e2b/global/caches:warm/manual_time", "host/copy/bytes:65536/manual_time"):
    assert sum(r["name"] == name for r in single) == 2, name
for r in single:
    assert r["real_time"] > 0 and r["time_unit"] == "us", r
    if "gemma4" in r["name"]: # the share is of the rate that the context says
        assert abs(r["bytes/s"] / r["of_bandwidth"] / (1e9 * read) - 1) < 0.1 / read + 0.001, (r, read)
        assert ("flop/s" in r) == ("norm_matmul" in r["name"]), r
# A product moves its matrix once: 4096 rows of 1536 in blocks of 34 bytes for 32.
matrix = [r for r in single if "norm_matmul" in r["name"]][0]
moved = matrix["bytes/s"] * matrix["real_time"] * 1e-6
assert abs(moved / (4096 * 1536 * 34 / 32) - 1) < 0.01, moved
assert abs(matrix["flop/s"] / matrix["bytes/s"] / (2 * 4096 * 1536 / moved) - 1) < 0.01
PY

run 0 cuda.json '^cuda/(add/gemma4-e2b|(launch|replay(_updatable|_patched)?|set_params|exec_update|instantiate|capture)/.*(pdl:on|call/pdl)|copy|upload)' \
  "${on_fake[@]}"
python3 - cuda.json <<'PY' || fail "cuda.json"
import json
import sys

j = json.load(open(sys.argv[1]))
context = j["context"]
for name, value in {"gpu": "fake GPU", "gpu_compute_capability": "9.0", "cuda_driver": "13.0", "nvrtc": "13.99",
                    "gpu_max_sm_clock_mhz": "1000", "gpu_max_memory_clock_mhz": "1000"}.items():
    assert context[name] == value, (name, context)
# fake_cuda.c's memory is three quarters as fast as an H100's, less what the host takes.
copy = float(context["gpu_copy_gb_s"])
assert 400 < copy < 2324 and 400 < float(context["gpu_read_gb_s"]) < 2324, context
for r in j["benchmarks"]:
    if "gemma4" in r["name"] and r["run_type"] == "iteration":
        assert abs(r["bytes/s"] / r["of_bandwidth"] / (1e9 * copy) - 1) < 0.1 / copy + 0.001, (r, copy)
names = {r["name"] for r in j["benchmarks"] if not r.get("error_occurred")}
for l2 in ("l2:cold/pdl:on", "l2:cold/pdl:off", "l2:warm/pdl:on"):
    assert f"cuda/add/gemma4-e2b/row/{l2}/manual_time" in names, l2
for call in ("launch/host:call/pdl:off", "replay/nodes:1000/pdl:on", "set_params/host:call/nodes:300/pdl:on",
             "exec_update/host:call/nodes:100/pdl:on", "replay_updatable/nodes:300/pdl:on",
             "replay_patched/nodes:1000/pdl:on", "copy/bytes:4", "upload/host:until_done/bytes:65536"):
    assert f"cuda/{call}/manual_time" in names, call
assert not [r for r in j["benchmarks"] if r.get("error_occurred")]
PY
# A kernel that does nothing has no time, and a device that loses launches or updates neither.
run 1 wrong.json '^cuda/(rms_norm|matmul)/gemma4-e2b/(row|q8_0/ple_proj)/l2:cold/pdl:on' "${on_fake[@]}"
grep -q "^WRONG rms_norm rms_norm/gemma4-e2b/row: " said || fail "a kernel that does nothing: $(head -n 3 said)"
run 1 wrong.json '^cuda/launch/host:call/pdl:on' "${on_fake[@]}" FAKE_CUDA=no-adds
grep -q 'wrong: launches' said || fail "launches that do nothing: $(tail -n 3 said)"
run 1 wrong.json '^cuda/replay/nodes:100/pdl:on' "${on_fake[@]}" FAKE_CUDA=lost-node
run 1 wrong.json '^cuda/replay/nodes:100/pdl:on' "${on_fake[@]}" FAKE_CUDA=lost-update
grep -q 'wrong: a replay with a node updated' said || fail "an update that is lost: $(tail -n 3 said)"
run 1 wrong.json '^cuda/replay_(patched|updatable)/nodes:100/pdl:on' "${on_fake[@]}" FAKE_CUDA=lost-update
[ "$(grep -c 'wrong: a replay with its nodes updated on the device' said)" -ge 2 ] ||
  fail "an update on the device that is lost: $(tail -n 3 said)"
# What cannot be measured is not said.
run 0 unmeasured.json '^cuda/copy/bytes:4/' "${on_fake[@]}" FAKE_CUDA=no-memory
python3 - unmeasured.json <<'PY' || fail "unmeasured.json"
import json
import sys

context = json.load(open(sys.argv[1]))["context"]
assert "gpu_read_gb_s" not in context and float(context["gpu_copy_gb_s"]) > 0, context
PY
# A driver that cannot: the others run.
run 0 old.json '^cuda/replay(_patched)?/nodes:100/pdl:on' "${on_fake[@]}" FAKE_CUDA=old-driver
grep -q 'SKIP: updates on the device: needs a driver for CUDA 12.4 or newer; this one is for CUDA 12.2' said ||
  fail "a driver without updates on the device: $(tail -n 3 said)"
grep -q '^cuda/replay/nodes:100/pdl:on.* us ' said || fail "a driver without updates on the device: $(tail -n 3 said)"

run 2 none.json '^no/such' "${on_fake[@]}"
code=0
"$program" --no_such_option >said 2>&1 || code=$?
[ $code -eq 2 ] || fail "an unknown option: exit code $code"
code=0
"$program" --benchmark_filter='^cuda/send' >said 2>&1 || code=$?
case $code in
  77) grep -q '^SKIP: the benchmarks cuda/...: no GPU' said || fail "without a GPU: $(head -n 2 said)" ;;
  0) ;; # there is one
  *) fail "cuda/send: exit code $code" ;;
esac
[ "$failures" -eq 0 ] || exit 1
echo "kernels: as expected"
