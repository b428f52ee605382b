#!/usr/bin/env bash
# gemmark history from the command line: what goes in comes out, once; its exit codes; that git merges its files; and
# that nothing is lost or written through where a store is hostile.
#
#   tests/harness/cli/history.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/history.sh GEMMARK}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../../.." && pwd)
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0
fail() { echo "history: $*" >&2; failures=$((failures + 1)); }

# expect CODE PATTERN ARGUMENT...: exit code, and all that is printed
expect() {
  local code=$1 pattern=$2 said got
  shift 2
  said=$("$gemmark" history "$@" 2>&1)
  got=$?
  # shellcheck disable=SC2053 # a pattern
  [ $got -eq "$code" ] && [[ "$said" == $pattern ]] || fail "$*: exit code $got, '$said'"
}

# series COMMITS FACTOR_FROM_12TH SEED: a CSV file on standard output; values of 1000 that vary by 0.5 %
series() {
  awk -v n="$1" -v factor="$2" -v seed="$3" 'BEGIN {
    srand(seed); print "date,commit,cell,value"
    for (i = 1; i <= n; i++)
      printf "2026-09-%02d,%07x,tg128,%.3f\n", i, 16777216 + i, 1000 * (i < 12 ? 1 : factor) * (0.9975 + 0.005 * rand())
  }'
}
of=(--machine box --model m.gguf)

# Words.
expect 2 '*say add, import, show, plot or check*'
expect 2 '*did you mean show?*' shwo
expect 0 'usage: gemmark history *' --help
expect 2 '*name a results directory*' add
expect 2 '*name the results directory of a run*' check
expect 2 '*none/of/these: *' show --store none/of/these
expect 2 "*'yesterday' is neither a date*" add x --date yesterday
expect 2 "*'warp' is neither a fact*" show --across warp

# Another tool's numbers: in once, with their change, whatever it is called.
series 28 1.02 1 >nightly.csv
expect 2 '*says neither machine nor model*' import nightly.csv --store s
expect 0 's/box--m.gguf.jsonl: 28 lines added, 0 there already' import nightly.csv "${of[@]}" --store s
expect 0 '*: 0 lines added, 28 there already' import nightly.csv "${of[@]}" --store s
expect 0 '*1 change, of which 1 for the worse*100000b..100000c*2026-09-12*worse*' show --store s
expect 0 '[*][*]box, m.gguf: 1 change*|*' show --store s -o md
[ "$("$gemmark" history show --store s -o csv | wc -l)" -eq 3 ] || fail "csv: not two levels"
"$gemmark" history show --store s -o json | python3 -c '
import json, sys
series = json.load(sys.stdin)["files"][0]["series"]
assert len(series) == 1 and len(series[0]["points"]) == 28 and len(series[0]["changes"]) == 1' || fail "json"
expect 2 '*no series of 1 file is asked for*' show --store s --series pp
expect 0 '*1 for the worse*' show --store s --series tg --machine bo
mkdir cut && head -c 60 s/box--m.gguf.jsonl >cut/box--m.gguf.jsonl
expect 2 '*cut: no line of its 1 file is whole*' show --store cut
# Rates: less is worse.
series 28 0.97 1 >rates.csv
expect 0 '*' import rates.csv "${of[@]}" --store rates --rate --unit tokens/s
expect 0 '*1 for the worse*' show --store rates
expect 0 '*' show --store rates --otava up
grep -q 'direction: 1$' up/otava.yaml || fail "otava: the direction of rates: $(cat up/otava.yaml)"

# Bad lines: by file, line and column, and nothing is added.
sed 's/2026-09-05/2026-09-31/' nightly.csv >bad.csv
expect 2 "*bad.csv: line 6, column 'date': is no date*" import bad.csv "${of[@]}" --store new
[ ! -e new ] || fail "a store was made of what was refused"

# Figures, a page, files for Otava.
expect 0 'p/history-1-tg128.svg' plot --store s -o p --format svg
grep -q '</svg>' p/history-1-tg128.svg || fail "no picture"
expect 0 'page.html: *' show --store s --page page.html
grep -q 'worse from here on' page.html || fail "page: no change"
if grep -Eq '(src|href)="?(https?:|//)' page.html; then fail "page: something is loaded"; fi
expect 0 'otava: otava.yaml, and 1 file of series' show --store s --otava otava
[ "$(head -1 otava/tg128-1.csv)" = time,commit,run,value ] && [ "$(wc -l <otava/tg128-1.csv)" -eq 29 ] || fail "otava"
expect 2 '*is the same file as*' show --store s --out ./s/box--m.gguf.jsonl
expect 2 '*one of them at a time*' show --store s --out x --page x.html
expect 2 '*is no FILE.html*' show --store s --page x

# Results of this repository: two commits of twelve processes, joined across what they differ in on purpose.
runs=$root/results/h100-commits
across=(--across n_ubatch --across prefill_precision)
expect 2 '*git in . does not know it*--date*' add "$runs/base-0" --store h --repo .
expect 0 '*: 96 lines added*' add "$runs"/{base,head}-{0..11} --store h --date run
expect 0 '*: 0 lines added, 96 there already' add "$runs"/{base,head}-{0..11} --store h --date run
expect 0 '*4 changes, of which 0 for the worse*6206c60c2b..5d46001af6*' show --store h "${across[@]}"
expect 0 '*nothing changed in 4 series*prefill_precision: bf16, then f16*' show --store h --across n_ubatch
expect 0 '*: 96 lines added*' import "$runs" --store h2 --date run
expect 0 'Of 4 cells: 4 better.*' check "$runs"/head-{0..2} --store h "${across[@]}"
expect 1 'Of 4 cells: 4 worse.*' check "$runs"/base-{0..2} --store h "${across[@]}"
expect 3 'Of 4 cells: 4 no series.*' check "$runs/head-0" --store h
expect 3 'Of 4 cells: 4 recalibrated.*' check "$runs/head-0" --store h --across n_ubatch
expect 2 '*a run is of one*' check "$runs"/{base,head}-0 --store h
# Dirty ones: not unasked, and never unsaid.
cp -r "$runs/base-0" dirty
sed -i 's/"6206c60c2b"/"6206c60c2b-dirty"/' dirty/runs.csv
expect 2 '*--allow-dirty*' add dirty --store d --date run
[ ! -e d ] || fail "a dirty commit was added unasked"
expect 0 '*4 lines of changes that are in no commit*' add dirty --store d --date run --allow-dirty
expect 0 '*measured with changes that are in no commit*' show --store d

# Shards are what is merged of them; but where they are of two machines, which is no series.
model=$root/tests/golden/gemma4-e2b-tiny.q8_0.gguf
for i in 1 2; do
  "$gemmark" bench -m "$model" -p 0 -n 4 -d 0,8 -r 2 -t 1 -ngl 0 --mode direct --telemetry 0 --shard $i/2 --out shard-$i \
    >log 2>&1 || fail "shard $i: $(cat log)"
done
"$gemmark" merge shard-1 shard-2 --out whole >log 2>&1 || fail "merge: $(cat log)"
expect 0 '*: 2 lines added, 0 there already*' add shard-1 shard-2 --store m --date run --allow-dirty
expect 0 '*: 0 lines added, 2 there already*' add whole --store m --date run --allow-dirty
host=$(python3 -c 'import json; print(json.load(open("shard-2/env.json"))["system"]["host"])')
sed -i "s/\"$host\"/\"elsewhere\"/g" shard-2/env.json shard-2/runs.csv
"$gemmark" merge shard-1 shard-2 --out two >log 2>&1 || fail "merge of two machines: $(cat log)"
expect 2 '*its runs are of 2 machines, which a history never mixes*--machine*' add two --store m2 --date run --allow-dirty
expect 2 '*its runs are of 2 machines*' check two --store m
expect 0 '*both--*: 2 lines added*' add two --store m2 --date run --allow-dirty --machine both
# Another card of the same name is another environment.
sed 's/"env":{/"env":{"gpu_uuid":"GPU-1",/' m/*.jsonl >m2/one--card.jsonl
# Of another commit, whatever this one begins with.
sed -e 's/"commit":"[^a]/"commit":"a/;t other' -e 's/"commit":"a/"commit":"b/' -e ':other' \
  -e 's/"env":{/"env":{"gpu_uuid":"GPU-2",/;s/"date":"2/"date":"3/' m/*.jsonl >>m2/one--card.jsonl
expect 0 '*recalibrations*gpu_uuid: GPU-1, then GPU-2*' show --store m2 --machine "$host"
"$gemmark" history show --store m2 --machine "$host" --across gpu_uuid | grep -q recalibrations && fail "--across gpu_uuid"

# git merges what two branches added, without a conflict, and it is all there.
git init -q -b main repository && cd repository || exit 1
git config user.name n && git config user.email e
head -11 ../nightly.csv >a.csv
(head -1 ../nightly.csv && sed -n '8,20p' ../nightly.csv) >b.csv
(head -1 ../nightly.csv && sed -n '12,29p' ../nightly.csv) >c.csv
"$gemmark" history import a.csv "${of[@]}" --store history >/dev/null && git add -A && git commit -qm a
git checkout -qb one && "$gemmark" history import b.csv "${of[@]}" --store history >/dev/null && git commit -qam b
git checkout -q main && "$gemmark" history import c.csv "${of[@]}" --store history >/dev/null && git commit -qam c
git merge -q one >/dev/null 2>&1 || fail "git did not merge"
expect 0 '*28 commits*28 records*100000b..100000c*' show --store history
expect 0 '*: 0 lines added, 28 there already' import ../nightly.csv "${of[@]}" --store history
cd ..

# Hostile: a link, a pipe, a folder in the file's place; nothing waits, nothing is written through.
cp s/box--m.gguf.jsonl kept
for kind in link pipe folder; do
  rm -rf s/box--m.gguf.jsonl
  case $kind in
  link) ln -s ../kept s/box--m.gguf.jsonl ;;
  pipe) mkfifo s/box--m.gguf.jsonl ;;
  folder) mkdir s/box--m.gguf.jsonl ;;
  esac
  expect 2 '*is not a file but*' show --store s
  expect 2 '*is not a file but*' import nightly.csv "${of[@]}" --store s
  [ "$(wc -l <kept)" -eq 28 ] || fail "$kind: written through"
done
rm -rf s/box--m.gguf.jsonl

# A disk that is full: what was there stays.
cp kept s/box--m.gguf.jsonl
series 30 1 9 >more.csv
said=$( (ulimit -f 8; "$gemmark" history import more.csv "${of[@]}" --store s) 2>&1)
[ $? -eq 2 ] && [[ "$said" == *"nothing was added"* ]] || fail "a full disk: $said"
cmp -s kept s/box--m.gguf.jsonl || fail "a full disk changed the file"

[ "$failures" -eq 0 ] || exit 1
echo "history: all well"
