#!/usr/bin/env bash
# What only a machine with an NVIDIA GPU can show. Needs the driver, NVRTC, cuBLASLt, and a build that
# ci/carry.sh made; nothing is installed or compiled but the kernels.
#
#   ci/gpu.sh --build .carry --out DIR [--only STAGE,...] [--model FILE]     in the repository's root
#
# Stages, in this order; all of them without --only:
#   info      the machine and the driver
#   kernels   every kernel against the host's; what attention takes, of a token by depth and splits, of prompts by depth
#   device    the device, the graphs, the golden and the trained models in every mode, the launch accounting against CUPTI
#   sanitize  compute-sanitizer on the tiny models and the kernels: memcheck, racecheck, initcheck, synccheck
#   quick     the full-size E4B, made on the spot: the default modes, fusions full and none, and a prompt
#   measure   tokens queued and waited for, what telemetry says and costs, the harness's own cost
#   identical all modes' bits against direct launches, in every fusion: 160 tokens from depths 0 and 4000, two seeds; about
#             105 s on an H100
#   wide      BF16 in rows of 12B's and Qwen3 8B's widths, a few layers: one kernel a token, whose warps wait twice
#             (FAR_WAITS), against the fused kernels, and its bits in all modes
#   hybrid    layers on the GPU and the host: the tiny models, the full-size E4B's logits and rates
#   snapkv    SnapKV: against masking, all modes' bits on tiny models, memory given back; snapshots of caches; the
#             full-size E4B once, in the default modes
#   host      the host alone, E4B with half to all threads: what a loop costs, read rates, products, tokens kernel by kernel
#   prefill   prompts of 512, 2048 and 8192 tokens, launched directly and as graphs: TFLOP/s, and their share of
#             cuBLASLt's products alone; before it, that every mode of a prompt gives the same bits
#   selftest  20 sweeps of 12 cells against themselves: false alarms, and what differs from run to run
#   sweep     ci/full.args: depths 0 to 16384, the four default modes, fusions none and full, 5 repetitions
#   compare   10 comparisons of equal things, which must raise no alarm; graph-params against graph-device as if they were
#             commits: with reports
#   commits   where the build has a base/gemmark, of another commit: that one against this, twelve processes a side, reports
#   models    each other model at full size: prompts of 512, 2048 and 8192 tokens, decoding at depths 0 to 131072
#   long      decoding at depths 0 to 131072 by doubling: each depth filled by itself, from the one before, from --kv-cache
#   snapsweep SnapKV off, 1024 and 4096 at depths 4096, 16384 and 65536 (whose prefill takes 20 s), 3 repetitions
#   caches    caches in f16 and in q8_0: decoding at depths 0 to 65536, fused and as one kernel; prompts behind 0 and 16384; before
#             it, that every mode has the bits of direct launches with q8_0
#   bench     what a replay costs, by nodes, edges, copies, branches, updates: replay_cost.csv; the kernels one by one at E4B's
#             shapes, Q8_0 and BF16 (bench_family='e4b|26b-a4b' in the environment: others too), launches, graphs, copies:
#             bench-*.json
#
# DIR receives a log a stage, the sweep's records, and summary.txt, which is printed last. Exit code 1 if a stage failed.
set -uo pipefail

usage() { sed -n 's/^#   /  /p' "${BASH_SOURCE[0]}"; }
fail() { echo "gpu: $*" >&2; exit 2; }
stages=(info kernels device sanitize quick measure identical wide hybrid host snapkv prefill selftest sweep compare commits models long snapsweep caches bench)
build='' out='' only='' model=''
while [ $# -gt 0 ]; do
  case $1 in
    -h | --help) usage; exit 0 ;;
    --build) build=${2:-}; shift ;;
    --out) out=${2:-}; shift ;;
    --only) only=${2:-}; shift ;;
    --model) model=${2:-}; shift ;;
    *) fail "unknown option $1 (ci/gpu.sh --help lists them)" ;;
  esac
  shift || fail "the last option has no value"
done
[ -n "$build" ] || fail "--build is missing: the folder that ci/carry.sh made"
[ -n "$out" ] || fail "--out is missing: a folder for logs and records"
[ -d "$build" ] || fail "$build: no such folder; ci/carry.sh makes it"
build=$(cd "$build" && pwd) || exit 2
[ -x "$build/bin/gemmark" ] || fail "$build/bin/gemmark is missing; ci/carry.sh makes it"
mkdir -p "$out" 2>/dev/null || fail "$out: cannot be made; name another folder"
out=$(cd "$out" && pwd) || exit 2
for stage in ${only//,/ }; do
  [[ " ${stages[*]} " == *" $stage "* ]] || fail "there is no stage $stage; there are: ${stages[*]}"
done
[ -d tests/golden ] || fail "tests/golden is not here: run it in the repository's root"
export LD_LIBRARY_PATH="$build/lib${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
gemmark=$build/bin/gemmark
golden=$PWD/tests/golden
derived=$PWD/tests/golden-derived # where the carried tests look
[ -n "$model" ] || model=$work/e4b.gguf
summary=$out/summary.txt
: >"$summary"
failures=0

# note LINE: into the summary
note() { printf '%s\n' "$*" >>"$summary"; }

# verdict STAGE CODE START: its line of the summary
verdict() {
  local said=ok
  [ "$2" -eq 0 ] || { said="FAILED ($2)"; failures=$((failures + 1)); }
  note "$(printf '%-10s %-12s %4d s' "$1" "$said" "$((SECONDS - $3))")"
}

need_derived() {
  [ -f "$derived/gemma4-e4b-tiny.q8_0.gguf" ] && return 0
  mkdir -p "$derived" && "$build/tests/golden_derive" "$golden/gemma4-e4b-tiny.f32.gguf" "$derived" &&
    (cd "$derived" && sha256sum --quiet --check --strict "$golden/derived.sha256")
}

need_model() {
  [ -f "$model" ] || "$gemmark" model make --arch gemma4-e4b --type q8_0 --seed 1 -o "$model"
}

stage_info() {
  nvidia-smi --query-gpu=name,driver_version,memory.total,clocks.max.sm,power.limit --format=csv,noheader
  nvidia-smi -q -d CLOCK,PERFORMANCE | grep -E 'Graphics|SM |Memory|Active' | head -20
  "$gemmark" env
}

stage_kernels() {
  local test rc=0
  for test in planted cuda_vectors cuda_products cuda_attention cuda_prefill cuda_prompt cuda_snapkv cuda_sample; do
    (cd tests && "$build/tests/test_kernels_$test") || rc=1
  done
  for test in attention prefill sample; do
    (cd tests && "$build/tests/test_kernels_cuda_$test" --time) || rc=1
  done
  return $rc
}

# may_skip TEST WHY: where the test says that it cannot run here, that goes into the summary
may_skip() {
  local code=0
  (cd tests && "$build/tests/$1") || code=$?
  [ $code -ne 77 ] || { note "$2"; code=0; }
  return $code
}

stage_device() {
  need_derived || return
  local rc=0
  (cd tests && "$build/tests/test_device_cuda") || rc=1
  (cd tests && "$build/tests/test_golden_cuda") || rc=1
  (cd tests && "$build/tests/test_quantised_cuda") || rc=1
  may_skip test_persistent_cuda "fusion persistent: not tested, the card is older than compute capability 9.0" || rc=1
  # What is read and was never written is NaN: initcheck does not see what cuBLASLt writes.
  (cd tests && GEMMARK_POISON=1 "$build/tests/test_golden_cuda" | sed 's/^golden /poisoned /') || rc=1
  (cd tests && "$build/tests/test_token_queue") || rc=1
  (cd tests && "$build/tests/test_generate") || rc=1
  (cd tests && "$build/tests/test_recall_model") || rc=1
  may_skip test_real_model "trained model: not tested, build/real-model is not here" || rc=1
  may_skip test_cupti "launch accounting: not compared, there is no CUPTI" || rc=1
  return $rc
}

# The sanitizer's runs, a line each: a name, then the command. Those whose name $sanitize_match, a pattern, is in;
# with $sanitize_tools alone, $jobs at once, each for at most $sanitize_limit seconds.
# What measures the memory reads much of it, which nobody has written: initcheck finds all of that, and memcheck waits.
sanitized_runs() {
  all_sanitized_runs | sed '/^persistent\./s/$/ --persistent-limits constant/' | grep -E -- "${sanitize_match:-.}"
}

all_sanitized_runs() {
  local ids=2,17,4,99,5,200,31,8,77,3,41,6,12,9,150,33,21,7
  local run mode fusion name prefill
  for run in direct:none:gemma4-26b-a4b:12 direct:full:gemma4-31b:5 graph-params:none:gemma4-e2b:12 \
    graph-update:full:gemma4-e2b:5 graph-device:full:gemma4-26b-a4b:5 graph-device:full:qwen3:12 \
    direct:full:gemma4-e2b:12 graph-device:full:gemma3:5; do
    IFS=: read -r mode fusion name prefill <<<"$run"
    echo "eval.$mode.$fusion.$name $gemmark eval -m $golden/$name-tiny.q8_0.gguf --tokens $ids --prefill $prefill" \
      "--mode $mode --fusion $fusion -ngl 9999 --prefill-precision f32"
  done
  for name in gemma4-e2b gemma4-26b-a4b qwen3 gemma3; do
    echo "persistent.$name $gemmark eval -m $golden/$name-tiny.q8_0.gguf --tokens ${ids%%,8,*} --prefill 1" \
      "--mode direct --fusion persistent -ngl 9999 --prefill-precision f32"
  done
  local layers
  for run in direct:none:gemma4-e2b:12:9999 graph-device:full:gemma4-31b:12:9999 graph-params:none:gemma4-26b-a4b:14:9999 \
    graph-update:full:qwen3:12:9999 direct:full:gemma4-e2b:12:8 graph-params:full:gemma3:12:9999; do
    IFS=: read -r mode fusion name prefill layers <<<"$run"
    echo "snapkv.$mode.$fusion.$name.$layers $gemmark eval -m $golden/$name-tiny.q8_0.gguf --tokens $ids --prefill $prefill" \
      "--snapkv 8,window=3,pool=3 --mode $mode --fusion $fusion -ngl $layers --prefill-precision f32"
  done
  # Caches in q8_0: written by decode and by either kind of prompt, evicted, and in a token's one kernel.
  for run in none:f32:off:12 full:f16:off:12 full:f32:8,window=3,pool=3:12 persistent:f32:off:12; do
    IFS=: read -r fusion mode name prefill <<<"$run"
    echo "$([ "$fusion" != persistent ] || echo persistent.)cache.$fusion.$mode.${name%%,*} $gemmark eval" \
      "-m $golden/gemma4-e2b-tiny.q8_0.gguf --tokens $ids --prefill $prefill --snapkv $name --mode direct" \
      "--fusion $fusion -ngl 9999 --prefill-precision $mode -ctk q8_0 -ctv q8_0"
  done
  # Prompts in float16, their weights converted for each chunk, kept, and both.
  local weights
  for run in gemma4-e2b:convert gemma4-26b-a4b:resident gemma4-31b:2 qwen3:convert gemma3:resident; do
    IFS=: read -r name weights <<<"$run"
    echo "prompt.$name.$weights $gemmark eval -m $golden/$name-tiny.q8_0.gguf --tokens $ids --prefill 16 -ngl 9999" \
      "--mode direct --prefill-precision f16 --prefill-weights $weights"
  done
  # Weights of few bits, all types: one by one, fused, in a token's one kernel, in prompts of a mixture.
  local type model
  for type in q4_0 q4_1 q5_0 q5_1 iq4_nl q4_k q5_k q6_k; do
    for name in gemma4-e2b gemma4-26b-a4b; do
      model=$work/$name-tiny.$type.gguf
      [ -f "$model" ] || "$gemmark" model make --arch $name-tiny --type $type --seed 1 -o "$model" >&2 || return
      for fusion in none full persistent; do
        echo "$([ $fusion != persistent ] || echo persistent.)quants.$type.$fusion.$name $gemmark eval -m $model" \
          "--tokens ${ids%%,8,*} --prefill 1 --mode direct --fusion $fusion -ngl 9999"
      done
      echo "prompt.quants.$type.$name $gemmark eval -m $model --tokens $ids --prefill 16 -ngl 9999 --mode direct"
    done
  done
  # Tokens drawn on the device, replayed by the host and going on by themselves.
  for run in graph-device graph-patch graph-loop graph-while; do
    echo "loop.$run $gemmark eval -m $golden/gemma4-e2b-tiny.q8_0.gguf --tokens 2,17,4,99,5 --prefill 5 --generate 12" \
      "--temp 0.8 --top-k 40 --top-p 0.9 --mode $run -ngl 9999"
  done
  local test part
  for part in vectors products prompt attention prefill snapkv sample; do
    for test in $("$build/tests/test_kernels_cuda_$part" --list); do
      case $test in matmul_head | matmul_prefill) continue ;; esac # as matmul, but large; cuBLASLt's kernels
      echo "kernel.$test $build/tests/test_kernels_cuda_$part --few $test"
    done
  done
}

# sanitize_one TOOL NAME COMMAND...
sanitize_one() {
  local tool=$1 name=$2 log
  shift 2
  log=$sanitize_logs/$tool.$name
  timeout "${sanitize_limit:-200}" "$sanitizer" --tool "$tool" --error-exitcode 9 --report-api-errors no --print-limit 5 "$@" \
    >"$log" 2>&1
  local rc=$?
  if [ $rc -eq 0 ]; then
    echo "ok     $tool $name"
  else
    echo "FAILED $tool $name ($rc)"
    return 1
  fi
}
export -f sanitize_one

stage_sanitize() {
  sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) ||
    { echo "there is no compute-sanitizer here"; return 1; }
  sanitize_logs=$work/sanitize
  mkdir -p "$sanitize_logs"
  export sanitizer sanitize_logs
  # Once without it: the kernels' cubins are then cached.
  sanitized_runs | cut -d' ' -f2- | (cd tests && xargs -P "${jobs:-8}" -I{} bash -c '{} >/dev/null 2>&1')
  local tool rc=0
  for tool in ${sanitize_tools:-memcheck racecheck initcheck synccheck}; do
    # Products of prompts in f16 are stored in a way that initcheck does not follow: all of their elements are findings.
    # Racecheck does not follow bulk copies that end on a barrier: all that the kernel of a token reads of them.
    # Graphs that go on by themselves: racecheck ends the process, and synccheck reports barriers of kernels in which it
    # finds nothing when the host replays them.
    case $tool in
      initcheck) sanitized_runs | grep -v '^prompt\.\|\.f16\.' ;;
      racecheck) sanitized_runs | grep -v '^persistent\.\|^loop\.graph-\(loop\|while\)' ;;
      synccheck) sanitized_runs | grep -v '^loop\.graph-\(loop\|while\)' ;;
      *) sanitized_runs ;;
    esac | sed "s/^/$tool /"
  done >"$work/sanitize.list"
  (cd tests && xargs -P "${jobs:-8}" -L 1 bash -c 'sanitize_one "$@"' sanitize <"$work/sanitize.list") || rc=1
  local log
  for log in "$sanitize_logs"/*; do # what was reported, and the tool's last word
    if ! grep -q 'ERROR SUMMARY: 0 errors' "$log" && ! grep -q 'RACECHECK SUMMARY: 0 hazards' "$log"; then
      echo "---- ${log##*/}"
      grep -v '^perplexity\|^hash' "$log" | head -60
    fi
  done
  note "sanitize:  $(wc -l <"$work/sanitize.list") runs, $(grep -lE 'ERROR SUMMARY: 0 errors|RACECHECK SUMMARY: 0 hazards' \
    "$sanitize_logs"/* | wc -l) clean"
  return $rc
}

bench() { "$gemmark" bench -m "$model" -ngl 9999 "$@"; } # not -1: without a GPU it must fail

stage_quick() {
  need_model || return
  bench @ci/full.args --dry-run || return
  bench -p 0 -n 32 -d 0,1024 -r 2 --fusion full,none --out "$out/quick" || return
  bench -p 2048 -n 0 -r 3 --mode direct --out "$work/quick-prefill"
}

stage_measure() {
  need_model || return
  local rc=0 looks
  "$gemmark" env | grep -E '^gpu' || rc=1
  "$gemmark" selftest --overhead || rc=1
  bench -p 0 -n 128 -d 0,1024 -r 5 --fusion none,full --sync token,none --telemetry 20 --out "$out/measure" || rc=1
  head -4 "$out/measure/telemetry.csv"
  for looks in 0 10 0 10; do # watched or not, by turns
    echo "telemetry $looks:"
    bench -p 0 -n 128 -r 5 --mode direct,graph-device --telemetry $looks --out "$work/looks-$looks-$RANDOM" || rc=1
  done
  return $rc
}

# Tokens enough to pass 128 and 4096 positions, behind which graphs have other grids. By results/h100-all-modes a seed takes
# 29 s to begin, and 42 cells 2.75 ms a token on the average and some 0.1 s: 52 s.
stage_identical() {
  need_model || return
  local seed rc=0
  for seed in 1 2; do
    bench -p 0 -n 160 -d 0,4000 -r 1 --mode all --fusion none,full,persistent --seed $seed --out "$work/identical-$seed" || rc=1
  done
  return $rc
}

# perplexity MODEL FUSION: of 64 tokens
perplexity() {
  local ids
  ids=$(seq -s , 7 97 6118)
  "$gemmark" eval -m "$1" --tokens "$ids" --prefill 1 --mode direct --fusion "$2" -ngl 9999 | awk '$1 == "perplexity" { print $2 }'
}

stage_wide() {
  local run name file fused one rc=0
  for run in gemma4-12b:6 qwen3-8b:4; do
    name=${run%:*} file=$work/$name-wide.gguf
    "$gemmark" model make --arch "$name" --type bf16 --layers "${run#*:}" --seed 1 -o "$file" || return
    fused=$(perplexity "$file" full) || rc=1
    one=$(perplexity "$file" persistent) || rc=1
    echo "$name: perplexity $fused fused, $one as one kernel a token"
    awk -v a="$fused" -v b="$one" 'BEGIN { exit !(a > 0 && b > a * 0.999 && b < a * 1.001) }' || rc=1
    "$gemmark" bench -m "$file" -ngl 9999 -p 0 -n 160 -d 0 -r 3 --mode direct,graph-device,graph-loop --fusion full,persistent \
      --out "$work/$name-wide" || rc=1
    rm -f "$file"
  done
  return $rc
}

stage_hybrid() {
  need_model && need_derived || return
  local rc=0
  (cd tests && "$build/tests/test_hybrid_cuda") || rc=1
  "$build/tests/hybrid_check" "$model" 1,11,22,23,30,41 || rc=1
  "$gemmark" bench -m "$model" -ngl 0,11,22,33,42 -p 0 -n 16 -d 0,4096 --mode direct,graph-device -r 3 \
    --out "$out/hybrid" || rc=1
  "$gemmark" bench -m "$model" -ngl 22,42 --head cpu -p 0 -n 16 --mode graph-device -r 3 \
    --out "$work/hybrid-head" || rc=1
  return $rc
}

stage_host() {
  need_model || return
  local rc=0 most
  most=$(nproc)
  "$build/bin/gemmark_host_decode" "$model" -t "$((most / 2)),$((most * 3 / 4)),$((most * 7 / 8)),$most" -n 24 --gib 8 || rc=1
  "$build/bin/gemmark_host_prefill" "$model" -t "$most" -r 3 || rc=1
  "$gemmark" bench -m "$model" -ngl 0 -p 0 -n 32 --mode direct,graph-device -r 5 --out "$out/host" || rc=1
  return $rc
}

stage_snapkv() {
  local rc=0
  (cd tests && "$build/tests/test_kv_snapshot_cuda") || rc=1
  (cd tests && "$build/tests/test_snapkv_cuda") || rc=1
  (cd tests && "$build/tests/test_snapkv_cuda" driver) || rc=1
  need_model || return
  bench -p 0 -n 32 -d 4096 -r 1 --snapkv off,1024 --fusion none,full --out "$out/snapkv" || rc=1
  evictions "$out/snapkv/runs.csv"
  return $rc
}

stage_prefill() {
  local rc=0
  (cd tests && "$build/tests/test_prompt_modes_cuda") || rc=1
  need_model || return
  bench -p 512,2048,8192 -n 0 -r 5 --mode direct --prefill-mode direct,graph-params,graph-update,graph-device \
    --out "$out/prefill" || rc=1
  return $rc
}

# About 340 s on an H100: 5760 runs of 12 tokens, 10 of them measured. 12 runs a side are the fewest that can tell 12
# cells apart at 1 %. Interrupted, it prints what it has, and fails.
stage_selftest() {
  need_model || return
  timeout -s INT "${selftest_limit:-540}" "$gemmark" selftest --aa --sweeps 20 -m "$model" -ngl 9999 -d 0,512,4096 \
    --mode direct,graph-params,graph-update,graph-device -n 10 -r 12 --warmup 2 --out "$out/selftest"
}

stage_sweep() {
  need_model && bench @ci/full.args --out "$out/sweep"
}

# evictions CSV: what each eviction took and gave back, a line a prompt
evictions() {
  awk -F'\t' '
    { # separators are the commas outside quotes
      n = split($0, part, "\"")
      line = ""
      for (i = 1; i <= n; i++) { if (i % 2) gsub(/,/, "\t", part[i]); line = line part[i] }
      $0 = line
    }
    NR == 1 { for (i = 1; i <= NF; i++) at[$i] = i; next }
    $at["status"] == "ok" && $at["evict_us"] != "" && !seen[$at["test"] $at["snapkv"]]++ {
      printf "evicted %s of %s: %.3f ms, %.1f MB to %.1f MB, KL %s, top-1 %s\n", $at["snapkv"], $at["test"],
        $at["evict_us"] / 1000, $at["memory_before_evict_bytes"] / 1e6, $at["memory_after_evict_bytes"] / 1e6,
        $at["kl_divergence"], $at["top1_agreement"]
    }' "$1"
}

# against NAME SIDES...: compares, keeps what was said and the reports, and says how it ended
against() {
  local name=$1 code=0 words=() last=
  shift
  # report names heads by themselves, compare by --head.
  for word; do
    case $word in --* | absolute | none | mode | n_ubatch) words+=("$word") ;; *) [ "$last" = --base ] || words+=(--head); words+=("$word") ;; esac
    last=$word
  done
  "$gemmark" compare "${words[@]}" --all >"$out/$name.txt" 2>&1 || code=$?
  "$gemmark" report "$@" -o "$out/$name.md" || true
  "$gemmark" report "$@" -o "$out/$name.html" || true
  echo "${name##*/}: exit code $code: $(head -n 1 "$out/$name.txt")"
  return $code
}

# pack FOLDER: of $out, into one file to bring back
pack() { tar -C "$out" -czf "$out/$1.tar.gz" "$1" && rm -rf "${out:?}/$1"; }

stage_compare() {
  local rc=0 i side code quiet=0 raw=0 small=$work/e4b-6.gguf
  export XDG_STATE_HOME=$out/compare/state
  mkdir -p "$out/compare"
  "$gemmark" model make --arch gemma4-e4b --layers 6 --seed 1 -o "$small" || return
  for i in 0 1 2 3 4 5 6 7 8 9; do
    for side in a b; do
      "$gemmark" bench -m "$small" -ngl 9999 -p 0 -n 16 -d 0,1024 --mode direct,graph-params,graph-device -r 14 \
        --out "$out/compare/equal-$i$side" >/dev/null || return
    done
    "$gemmark" compare "$out/compare/equal-${i}a" "$out/compare/equal-${i}b" --calibrate --all \
      >"$out/compare/equal-$i.txt" 2>&1 && code=0 || code=$?
    echo "equal things $i: exit code $code: $(head -n 1 "$out/compare/equal-$i.txt")"
    "$gemmark" compare "$out/compare/equal-${i}a" "$out/compare/equal-${i}b" --process 0 >/dev/null 2>&1 && raw=$((raw + 1)) ||
      [ $? -ne 3 ] || raw=$((raw + 1))
    [ $code -eq 1 ] || [ $code -eq 2 ] || [ $code -eq 4 ] || quiet=$((quiet + 1))
  done
  echo "equal things: $quiet of 10 quiet; taken as if processes did not differ, $raw of 10"
  [ $quiet -eq 10 ] || rc=1
  need_model || return
  for side in graph-params graph-device; do
    bench -p 0 -n 32 -d 0,1024,4096 --mode $side -r 14 --out "$out/compare/$side" >/dev/null || return
  done
  against compare/modes "$out/compare/graph-device" --base "$out/compare/graph-params" --across mode --gate absolute \
    --gate-exact none
  [ $? -le 3 ] || rc=1
  pack compare
  return $rc
}

# Twelve pairs of processes, in blocks of ABBA: of four cells, the fewest that can be told at 1 % are ten.
stage_commits() {
  [ -x "$build/base/gemmark" ] || { echo "$build/base/gemmark is not here: no other commit to compare with"; return 0; }
  need_model || return
  local rc=0 i side sides=() order
  mkdir -p "$out/commits"
  for i in {0..11}; do
    order='base head'
    [ $(((i + 1) / 2 % 2)) -eq 0 ] || order='head base'
    for side in $order; do
      XDG_CACHE_HOME=$work/cache-$side "$build/$([ "$side" = base ] && echo base || echo bin)/gemmark" bench -m "$model" \
        -ngl 9999 -p 0 -n 32 -d 0,4096 --mode direct,graph-device -r 2 --out "$out/commits/$side-$i" >/dev/null || return
    done
    sides+=("$out/commits/head-$i" --base "$out/commits/base-$i")
  done
  against commits/commits "${sides[@]}" --paired --allow-env-diff --gate-exact none --across n_ubatch
  [ $? -le 3 ] || rc=1
  pack commits
  return $rc
}

# models_shapes="gemma4-e2b:q8_0 ..." in the environment: these alone
stage_models() {
  local rc=0 shape type name
  for name in ${models_shapes:-gemma4-e2b:q8_0 qwen3-8b:q8_0 gemma4-12b:q8_0 gemma4-26b-a4b:q8_0 gemma4-31b:q8_0 gemma4-e4b:bf16}; do
    IFS=: read -r shape type <<<"$name"
    "$gemmark" model make --arch "$shape" --type "$type" --seed 1 -o "$work/one.gguf" || return
    "$gemmark" bench -m "$work/one.gguf" -ngl 9999 -p 512,2048,8192 -n 0 -r 3 --mode direct --prefill-mode direct,graph-device \
      --out "$out/models/$shape-$type-prompts" || rc=1
    "$gemmark" bench -m "$work/one.gguf" -ngl 9999 -p 0 -n 32 -r 3 -d "0,1024,4096,16384,${models_deepest:-65536,131072}" \
      --mode graph-device --out "$out/models/$shape-$type" || rc=1
    rm "$work/one.gguf"
  done
  return $rc
}

# Four times the same sweep; the last finds all it needs.
stage_long() {
  need_model || return
  local rc=0 cache start
  for cache in off memory "$work/kv" "$work/kv"; do
    start=$SECONDS
    bench -p 0 -n 32 -r 3 -d 0,512,1024,2048,4096,8192,16384,32768,65536,131072 --mode direct,graph-device \
      --kv-cache "$cache" --kv-cache-limit 30G --out "$out/long/$(basename "$cache")-$start" || rc=1
    echo "long: --kv-cache $(basename "$cache"): $((SECONDS - start)) s"
  done
  return $rc
}

stage_snapsweep() {
  need_model || return
  local rc=0
  bench -p 0 -n 32 -d 4096,16384,65536 --snapkv off,1024,4096 --mode direct,graph-device -r 3 --out "$out/snapsweep" || rc=1
  evictions "$out/snapsweep/runs.csv"
  return $rc
}

stage_caches() {
  need_model || return
  local rc=0 type
  # All modes have the bits of direct launches.
  bench -p 0 -n 100 -d 4000 -r 1 -ctk q8_0 -ctv q8_0 --fusion none,full,persistent --snapkv off,1024 \
    --mode direct,graph-params,graph-update,graph-device,graph-patch,graph-loop,graph-while --out "$work/caches" || rc=1
  for type in f16 q8_0; do
    bench -p 0 -n 64 -r 5 -d 0,4096,16384,65536 -ctk $type -ctv $type --mode graph-device --fusion full,persistent \
      --out "$out/caches/$type" || rc=1
    bench -p 2048 -n 0 -r 3 -d 0,16384 -ctk $type -ctv $type --mode direct --out "$out/caches/$type-prompts" || rc=1
  done
  return $rc
}

# Apart, so that what one of them cannot do leaves the others' results whole.
stage_bench() {
  local rc=0 part models="gemma4-(${bench_family:-e4b})" prompts='prompt_[a-z_]*|attention_prefill|dequant|to_f16|scale_rows|moe_sort'
  declare -A filters=(
    [calls]='^cuda/[a-z_]*/(host:|nodes|bytes)'
    [tokens]="^cuda/(embed|add|gated|softcap|rope|rms_norm|norm_[a-z]*|matmul[a-z_]*|experts_gated|qkv_prepare|kv_append|sample|moe_(route|sum)|attention(_split|_combine)?|snapkv_[a-z]*)/$models/(ff/|[^f])"
    [prompts]="^cuda/($prompts)/$models/(ff/|[^f])"
  )
  "$build/bin/gemmark_replay_cost" --out "$out/replay_cost.csv" || rc=1
  for part in calls tokens prompts; do
    "$build/bin/gemmark_bench_kernels" --benchmark_min_time=0.01 --benchmark_out="$out/bench-$part.json" \
      --benchmark_filter="${filters[$part]}" || rc=1
  done
  return $rc
}

for stage in "${stages[@]}"; do
  [ -z "$only" ] || [[ ",$only," == *",$stage,"* ]] || continue
  start=$SECONDS
  echo "== $stage"
  "stage_$stage" 2>&1 | tee "$out/$stage.log"
  verdict "$stage" "${PIPESTATUS[0]}" "$start"
  # What a reader wants at the end.
  case $stage in
    hybrid) grep -E '^hybrid|FAILED|failed|ended by signal|^(pp|tg)[0-9]| GPU layers, |runs? ok' \
      "$out/$stage.log" >>"$summary" ;;
    host) grep -E '^[0-9]+ threads|^  [a-z]|^(pp|tg)[0-9]' "$out/$stage.log" >>"$summary" ;;
    kernels | device) grep -E '^WRONG|FAILED|failed|^golden |worst row of float64|^(decode|prompt) attention|ended by signal' \
      "$out/$stage.log" | head -90 >>"$summary" ;;
    snapkv) grep -E '^E2B|^E4B|^31B|^26B|^Qwen3|^SnapKV on|^snapshots on|^evicted|FAILED|failed|ended by signal|^(pp|tg)[0-9]|runs? ok' \
      "$out/$stage.log" >>"$summary" ;;
    quick | measure | identical | prefill | sweep | models | long | snapsweep) grep -E '^(pp|tg)[0-9]|^evicted|^long|, KV |runs? ok|FAILED' "$out/$stage.log" >>"$summary" ;;
    compare | commits) grep -E 'exit code|quiet' "$out/$stage.log" >>"$summary" ;;
    bench) grep -E '^(chain|copies|parallel|diamonds|patched).*(gated|idle), updates (0|all by [a-z]*) .*(host|device)|^cuda/.*ERROR|^FAILED|^LEFT OUT|^WRONG' "$out/$stage.log" >>"$summary" ;;
    selftest) grep -E '^A/A|^  ' "$out/$stage.log" >>"$summary" ;;
    sanitize) grep -E '^FAILED' "$out/$stage.log" | head -40 >>"$summary" ;;
  esac
done
echo "== summary"
cat "$summary"
[ "$failures" -eq 0 ]
