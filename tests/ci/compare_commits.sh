#!/usr/bin/env bash
# Does ci/compare-commits.sh find what is different, and nothing where nothing is? Head is a script around the program
# that spoils what it wrote; nothing is built.
#
#   tests/ci/compare_commits.sh GEMMARK
# shellcheck disable=SC2015,SC2016 # conditions in a row; text of other scripts
set -euo pipefail
gemmark=$(realpath "${1:?usage: tests/ci/compare_commits.sh GEMMARK}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
script=$root/ci/compare-commits.sh
model=$root/tests/golden/qwen3-tiny.q8_0.gguf
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

# side NAME: a build folder whose gemmark runs the real one, and then the commands of standard input; in them $command is
# the subcommand, $to the file or folder that it wrote.
side() {
  mkdir -p "$work/$1"
  {
    cat <<SCRIPT
#!/usr/bin/env bash
command=\$1 to= last=
for word; do
  case \$last in --out | -o) to=\$word ;; esac
  last=\$word
done
"$gemmark" "\$@" || exit
SCRIPT
    cat
  } >"$work/$1/gemmark"
  chmod +x "$work/$1/gemmark"
}

# multiply COLUMN FACTOR CONDITION: awk over runs.csv, whose fields are all quoted or empty and hold no comma here
multiply='
awk -F, -v OFS=, -v column="$column" -v factor="$factor" -v mode="$mode" "
  NR == 1 { for (i = 1; i <= NF; i++) at[\$i] = i; for (i = 1; i <= NF; i++) { n = \$i; gsub(/\"/, \"\", n); at[n] = i } }
  NR > 1 && (mode == \"\" || \$at[\"mode\"] == \"\\\"\" mode \"\\\"\") {
    x = \$at[column]; gsub(/\"/, \"\", x); \$at[column] = \"\\\"\" x * factor \"\\\"\" }
  1" "$to/runs.csv" >"$to/runs.new" && mv "$to/runs.new" "$to/runs.csv"'

bench=(-p 0 -n 4 -d 0 -r 1 --mode 'direct,graph-device' -t 1 -ngl 0)

# compare NAME CODE PATTERN [ARGUMENT...]: head NAME against the plain one
compare() {
  local name=$1 want=$2 pattern=$3 got=0 out
  shift 3
  out=$("$script" --base-build "$work/plain" --head-build "$work/$name" --model "$model" --out "$work/out-$name" "$@" \
    -- "${bench[@]}" 2>&1) || got=$?
  # shellcheck disable=SC2053 # the right side is a pattern
  if [ "$got" -ne "$want" ] || [[ $out != $pattern ]]; then
    echo "$name: exit code $got (expected $want), and:"
    echo "$out"
    failures=$((failures + 1))
  fi
}

side plain <<<''
side slower <<<"[ \$command != bench ] || [[ \" \$* \" == *' --dry-run '* ]] || { column=itl_median_us factor=3 mode=graph-device; $multiply; }"
side launches <<<"[ \$command != bench ] || [[ \" \$* \" == *' --dry-run '* ]] || { column=api_launches_per_token factor=2 mode=direct; $multiply; }"
side wrong <<<'[ $command != eval ] || printf "\377\377\377\377" | dd of="$to" bs=1 seek=64 conv=notrunc status=none'
side near <<<'[ $command != eval ] || cp "$to" "$to.x" && [ $command != eval ] || { head -c 64 "$to.x"; printf "\1"; tail -c +66 "$to.x"; } >"$to"'

# Equal things: never a regression, whatever else the machine does.
got=0
"$script" --base-build "$work/plain" --head-build "$work/plain" --model "$model" --out "$work/aa" --pairs 10 --more 0 \
  -- "${bench[@]}" >"$work/aa.log" 2>&1 || got=$?
[ "$got" -eq 0 ] || [ "$got" -eq 3 ] || { echo "equal things: exit code $got"; cat "$work/aa.log"; failures=$((failures + 1)); }
[ -s "$work/aa/compare.json" ] && [ -s "$work/aa/compare.txt" ] || { echo "equal things: no results"; failures=$((failures + 1)); }

compare slower 1 '*1 of 2 cells is slower (tg4 graph-device full: +*' --pairs 10 --more 0
compare launches 1 '*driver calls a token:*->*' --pairs 3 --more 0
compare wrong 4 '*do not compute the same*Nothing was timed.*'
[ -z "$(ls "$work/out-wrong/runs" 2>/dev/null)" ] || { echo "wrong: something was timed"; failures=$((failures + 1)); }
compare near 3 '*at most*apart (relative L2) in the others*' --pairs 1 --more 0

# Killed in the middle, it goes on: pairs that are whole stay, the rest is measured.
(
  cd "$work"
  setsid "$script" --base-build "$work/plain" --head-build "$work/plain" --model "$model" --out "$work/killed" --pairs 6 --more 0 \
    -- "${bench[@]}" >"$work/killed.log" 2>&1 &
  pid=$!
  for _ in $(seq 600); do
    [ ! -d "$work/killed/runs/base-1" ] || break
    sleep 0.1
  done
  kill -KILL -- -$pid
  wait $pid 2>/dev/null || true
)
before=$(cat "$work/killed/runs/base-0/runs.csv")
got=0
"$script" --resume "$work/killed" >"$work/resumed.log" 2>&1 || got=$?
if [ "$got" -ne 0 ] && [ "$got" -ne 3 ] || [ ! -d "$work/killed/runs/head-5" ] ||
  [ "$before" != "$(cat "$work/killed/runs/base-0/runs.csv")" ]; then
  echo "going on: exit code $got"
  cat "$work/resumed.log"
  failures=$((failures + 1))
fi

# Bad usage is one line and exit code 2.
usage() {
  local got=0 out
  out=$("$script" "$@" 2>&1 >/dev/null) || got=$?
  [ "$got" -eq 2 ] && [ "$(wc -l <<<"$out")" -eq 1 ] || { echo "$*: exit code $got: $out"; failures=$((failures + 1)); }
}
usage
usage HEAD
usage HEAD no-such-commit
usage --pairs x HEAD HEAD
usage --resume "$work/nowhere"
usage --base-build "$work/plain" --head-build "$work/nothing"
usage HEAD HEAD -- --out there
usage --out "$work/aa" HEAD HEAD

[ "$failures" -eq 0 ] || exit 1
echo "compare-commits: all cases as expected"
