#!/usr/bin/env bash
# A sweep of 12 cells in 4 shards through slurmctld and slurmd, started here: one task's measurement is killed with
# kill -9, another task is requeued by Slurm, and the merged result is the unsharded one but for times. Exit code 77
# (skipped) where Slurm is not there or cannot be started.
#
#   tests/ci/slurm_sweep.sh GEMMARK
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
gemmark=$(realpath "$1")
model=$root/tests/golden/gemma4-e2b-tiny.q8_0.gguf
skip() { echo "skipped: $*"; exit 77; }
fail() {
  echo "slurm_sweep: $*"
  tail -n 40 "$work"/sweep/log/* "$work/slurmctld.log" "$work/slurmd.log" 2>/dev/null || true
  exit 1
}
PATH=$PATH:/usr/sbin:/sbin
for tool in munged slurmctld slurmd sbatch scontrol squeue; do
  command -v $tool >/dev/null || skip "$tool is not there; ci/setup.sh installs it where the system has it"
done
# Slurm refuses a job of root's only where it is not root's own; slurmd must be root to start jobs of others, and these
# are of the user that runs the test.
[ "$(id -u)" -eq 0 ] || skip "slurmd starts jobs as root only"

# Paths of sockets are short.
work=$(mktemp -d /tmp/gemmark-slurm-XXXXXX)
daemons=()
clean() {
  local pid
  scancel --user=root >/dev/null 2>&1 || true
  for pid in "${daemons[@]+"${daemons[@]}"}"; do kill "$pid" 2>/dev/null || true; done
  for pid in "${daemons[@]+"${daemons[@]}"}"; do
    for _ in $(seq 50); do kill -0 "$pid" 2>/dev/null || break; sleep 0.1; done
    kill -9 "$pid" 2>/dev/null || true
  done
  rm -rf "$work"
}
trap clean EXIT

# ---- a cluster of one node ----

port() { python3 -c 'import socket
s = [socket.socket() for _ in range(2)]
for x in s: x.bind(("127.0.0.1", 0))
print(*(x.getsockname()[1] for x in s))'; }
read -r control_port node_port < <(port)
host=$(uname -n)
chmod 0755 "$work"
mkdir -p "$work/state" "$work/spool" "$work/munge"
chmod 0700 "$work/munge"
dd if=/dev/urandom of="$work/munge/key" bs=128 count=1 status=none
chmod 0400 "$work/munge/key"
cat >"$work/slurm.conf" <<END
ClusterName=gemmark
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=$control_port
SlurmdPort=$node_port
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=$work/munge/socket,cred_expire=5
CredType=cred/munge
StateSaveLocation=$work/state
SlurmdSpoolDir=$work/spool
SlurmctldPidFile=$work/slurmctld.pid
SlurmdPidFile=$work/slurmd.pid
SlurmctldLogFile=$work/slurmctld.log
SlurmdLogFile=$work/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerType=sched/builtin
SchedulerParameters=sched_interval=1,batch_sched_delay=0,sched_min_interval=0
MailProg=/bin/true
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
KillWait=5
MinJobAge=300
SlurmdParameters=config_overrides
NodeName=$host NodeAddr=127.0.0.1 CPUs=4 State=UNKNOWN
PartitionName=all Nodes=$host Default=YES MaxTime=INFINITE State=UP
END
echo 'CgroupPlugin=cgroup/v1' >"$work/cgroup.conf"
export SLURM_CONF=$work/slurm.conf
munged --foreground --force --key-file="$work/munge/key" --socket="$work/munge/socket" --pid-file="$work/munge/pid" \
  --log-file="$work/munge/log" --seed-file="$work/munge/seed" --num-threads=2 >"$work/munge/out" 2>&1 &
daemons+=($!)
for _ in $(seq 100); do [ -S "$work/munge/socket" ] && break; sleep 0.05; done
[ -S "$work/munge/socket" ] || skip "munged does not start: $(tail -n 1 "$work/munge/out")"
slurmctld -D -c -f "$work/slurm.conf" >/dev/null 2>&1 &
daemons+=($!)
slurmd -D -c -N "$host" -f "$work/slurm.conf" >/dev/null 2>&1 &
daemons+=($!)
state() { sinfo --noheader --Format=StateCompact 2>/dev/null | tr -d ' '; }
for _ in $(seq 200); do [ "$(state)" = idle ] && break; sleep 0.1; done
[ "$(state)" = idle ] || {
  tail -n 5 "$work/slurmctld.log" "$work/slurmd.log" || true
  skip "slurmctld and slurmd do not come to an idle node"
}

# ---- the sweep, whole and in shards ----

# No attention bucket ends within 48 tokens: a graph that is captured anew behind a kill is so in the warm-up.
# shellcheck disable=SC2054
sweep=(-m "$model" -t 1 -p 0 -n 48 -d 0,16,32,64 --mode direct,graph-params,graph-device -r 30 --telemetry 0)
cd "$work"
"$gemmark" bench "${sweep[@]}" --out whole >/dev/null 2>&1 || fail "the unsharded sweep does not run"
# Slow enough to be killed on the way: a second's pause before each run of the shards would be another sweep, so the
# program is stopped right behind its third row, and whoever is to kill it finds it there.
cat >slowed <<END
#!/bin/bash
"$gemmark" "\$@" &
pid=\$!
case "\$*" in
  *--shard\ [23]/4*)
    shard=\$(sed 's/.*--out //' <<<"\$*")
    until [ "\$(cat "\$shard/runs.csv" 2>/dev/null | wc -l)" -ge 4 ]; do kill -0 \$pid 2>/dev/null || break; done
    kill -STOP \$pid
    echo \$pid >"\$shard.stopped"
    ;;
esac
trap 'kill -CONT \$pid 2>/dev/null; kill -TERM \$pid 2>/dev/null' TERM
wait \$pid
END
chmod +x slowed
GEMMARK=$work/slowed "$root/ci/slurm-sweep.sh" sweep 4 --time=10 -- "${sweep[@]}" >submitted ||
  fail "submitting failed"
array=$(sed -n 's/shards: job //p' submitted) merge=$(sed -n 's/merge:  job \([0-9]*\),.*/\1/p' submitted)
wait_for() { # SECONDS WHAT COMMAND...
  local end=$((SECONDS + $1)) what=$2
  shift 2
  until "$@"; do
    [ $SECONDS -lt $end ] || fail "$what: not within its time"
    sleep 0.1
  done
}
wait_for 60 "task 2 at its third run" test -s sweep/shard-2.stopped
kill -9 "$(cat sweep/shard-2.stopped)"
wait_for 60 "task 3 at its third run" test -s sweep/shard-3.stopped
before=$(wc -l <sweep/shard-3/runs.csv)
scontrol requeue "${array}_3"
over() { ! squeue --noheader --states=PENDING,RUNNING,COMPLETING,CONFIGURING --jobs="$array,$merge" 2>/dev/null | grep -q .; }
# What was requeued waits until the credential of its first start is over: cred_expire.
wait_for 120 "the end of all jobs" over
[ -d sweep/merged ] || fail "nothing is merged"

# ---- what came of it ----

grep -q 'was killed; requeued' sweep/log/"${array}"_2.out || fail "task 2 does not say that it was killed"
grep -q '(task .*, restart 1,.*goes on' sweep/log/"${array}"_2.out || fail "task 2 does not go on"
grep -q 'goes on' sweep/log/"${array}"_3.out || fail "task 3 does not go on"
[ "$before" -ge 4 ] || fail "task 3 had no rows when it was requeued"
there=$(grep -ho '; [0-9]* were there already' sweep/log/"${array}"_[23].out | tr -dc '0-9\n' | sort -n | head -n 1)
[ "${there:-0}" -ge 3 ] || fail "finished runs were measured again"
[ ! -e sweep/set-aside ] || fail "a shard was set aside"
[ "$(wc -l <whole/runs.csv)" -eq 361 ] || fail "the unsharded sweep has not 360 runs"
python3 - <<'END' || fail "the merged result is not the unsharded one"
import csv, sys

moves = set("""run_id order started_utc tokens_per_s prefill_tokens_per_s achieved_gb_s bandwidth_gb_s bandwidth_share
prefill_tflop_s gemm_tflop_s gemm_share break_even_tokens cpu_mhz load_average context_switches involuntary_switches
minor_faults major_faults telemetry_samples context_source context_prefilled_tokens warmup_tokens captures
memory_peak_bytes""".split())

def rows(name):
    out = {}
    with open(name + "/runs.csv", newline="") as f:
        for row in csv.DictReader(f):
            key = row["test"], row["mode"], row["repetition"]
            assert key not in out, key
            out[key] = {k: v for k, v in row.items() if k not in moves and not k.endswith("_us")}
    return out

whole, merged = rows("whole"), rows("sweep/merged")
different = [(k, c, whole[k][c], merged.get(k, {}).get(c)) for k in whole for c in whole[k]
             if whole[k][c] != merged.get(k, {}).get(c)]
print(*different[:10], sep="\n")
sys.exit(bool(different) or whole.keys() != merged.keys())
END
"$gemmark" report sweep/merged -o report.md >/dev/null || fail "the merged result makes no report"

# Another sweep does not go on there.
code=0
GEMMARK=$gemmark "$root/ci/slurm-sweep.sh" sweep 4 --time=10 -- "${sweep[@]}" -r 31 >other 2>&1 || code=$?
{ [ $code -eq 2 ] && grep -q 'begun as another sweep: 4 -m ' other; } || fail "another sweep in its folder: $code, $(cat other)"
code=0
GEMMARK=$gemmark "$root/ci/slurm-sweep.sh" sweep 4 --time=10 -- "${sweep[@]}" >again 2>&1 || code=$?
{ [ $code -eq 2 ] && grep -q 'merged is there already' again; } || fail "the same sweep again: $code, $(cat again)"

# A task that comes back on another machine: its shard begins anew, and what was there is kept.
mkdir moved
cp -r sweep/shard-4 moved/
sed -i 's/"host": "[^"]*"/"host": "elsewhere"/' moved/shard-4/env.json
env SLURM_ARRAY_TASK_ID=4 SLURM_JOB_ID=99 SLURM_RESTART_COUNT=1 \
  bash "$root/ci/slurm-sweep.sbatch" "$gemmark" moved 4 "${sweep[@]}" >moved.out 2>&1 || fail "a moved task fails: $(cat moved.out)"
grep -q 'on another machine or GPU' moved.out || fail "a moved task does not say that it begins anew"
[ "$(wc -l <moved/shard-4/runs.csv)" -eq 91 ] || fail "a moved task does not begin anew"
cmp moved/set-aside/shard-4-*/shard-4/runs.csv sweep/shard-4/runs.csv || fail "what a moved task had is gone"
echo "slurm_sweep: 12 cells in 4 shards, one killed and one requeued: merged, and as the unsharded sweep"
