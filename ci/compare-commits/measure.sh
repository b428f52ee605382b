# shellcheck shell=bash
# Part of ci/compare-commits.sh: pairs of processes in seeded ABBA blocks, and what compare says of them.
#
# A pair is a process of either side, one right behind the other, each with a results directory of its own:
# KIND/NNN/base and KIND/NNN/head, and KIND/NNN/done once both are whole. A pair without it is measured again.

# SEED-NAME BLOCK: ABBA or BAAB
order_of() {
  local digest
  digest=$(printf 'gemmark %s %s %s' "$seed" "$1" "$2" | sha256sum)
  case $digest in
    [02468ace]*) echo ABBA ;;
    *) echo BAAB ;;
  esac
}

measure_side() { # SIDE FOLDER
  local code=0 side=$1 log=$2/$1.log
  run "$log" env XDG_CACHE_HOME="$cache/$side" "${program[$side]}" bench -m "$model" "${words[@]}" \
    --out "$2/$side" || code=$?
  [ $code -ne 4 ] ||
    wrong_results "$side ($(name_of "$side")): gemmark bench $(shown_words): $(last_line "$log") ($log)"
  [ $code -eq 0 ] ||
    fail "$side ($(name_of "$side")): gemmark bench ended with exit code $code: $(last_line "$log") ($log)"
  [ -s "$2/$side/runs.csv" ] || fail "$side ($(name_of "$side")): gemmark bench left no runs.csv ($log)"
}

# KIND NUMBER OF: pair NUMBER, from 1, unless it is done
measure_pair() {
  local folder block order first=base second=head started
  folder=$work/$1/$(printf %03d "$2")
  [ ! -e "$folder/done" ] || return 0
  block=$((($2 - 1) / 2))
  order=$(order_of "$1" $block)
  # The second pair of a block is the first one backwards.
  case $order$(($2 % 2)) in
    ABBA0 | BAAB1) first=head second=base ;;
  esac
  rm -rf "$folder" || fail "$folder: cannot be removed"
  make_folder "$folder"
  started=$(date -u +%Y-%m-%dT%H:%M:%SZ)
  step "$1, $2 of $3: $first, then $second"
  measure_side $first "$folder"
  measure_side $second "$folder"
  printf '%s,%s,%s,%s,%s,%s\n' "$1" "$2" "$block" "$order" "$first" "$started" | put "$folder/done"
}

# Of all pairs there are, those of earlier attempts among them.
write_order() {
  { echo kind,pair,block,order,first,started_utc; cat "$work"/{screen,pairs}/*/done 2>/dev/null || true; } |
    put "$work/order.csv"
}

# KIND FIRST LAST: the arguments that name these pairs, from $work
pair_arguments() {
  local i
  for ((i = $2; i <= $3; i++)); do
    printf -- '--base\n%s/%03d/base\n--head\n%s/%03d/head\n' "$1" "$i" "$1" "$i"
  done
}

# KIND FIRST LAST ALPHA DELTA FORMAT FILE: compare's exit code. Names of directories are relative to the work folder,
# so that it can be carried elsewhere.
compare_pairs() {
  local code=0 arguments
  mapfile -t arguments < <(pair_arguments "$1" "$2" "$3")
  run "$work/compare.log" env -C "$work" "$judge" compare "${arguments[@]}" --paired --alpha "$4" --delta "$5" \
    "${compare_options[@]}" ${gate_exact:+--gate-exact "$gate_exact"} --all -o "$6" --out "$7" || code=$?
  case $code in
    0 | 1 | 3 | 4) return $code ;;
    *) fail "compare: $(last_line "$work/compare.log")" ;;
  esac
}

# The fewest pairs whose p can be below ALPHA (a share) over CELLS cells: 2 / 2^n is the least of n pairs.
least_pairs() { # CELLS ALPHA
  awk -v cells="$1" -v alpha="$2" 'BEGIN { for (n = 1; n < 40 && 2 / 2 ^ n >= alpha / cells; n++); print n }'
}
even() { echo $(($1 + $1 % 2)); }

# What bench refuses, it refuses here, before anything is measured; builds from before --dry-run at the first pair.
try_words() {
  local side code log
  for side in base head; do
    log=$work/dry-run-$side.log
    code=0
    run "$log" env XDG_CACHE_HOME="$cache/$side" "${program[$side]}" bench -m "$model" "${words[@]}" --dry-run \
      --out "$work/no-results" || code=$?
    if [ $code -ne 0 ] && ! grep -q 'unknown option --dry-run' "$log"; then
      fail "$side ($(name_of "$side")): $(last_line "$log")"
    fi
  done
}

# Cells of compare's CSV, by what it says of their times.
cells_in() { # FILE
  # shellcheck disable=SC2016 # it is awk's $0
  awk -f "$parts/csv.awk" -f <(echo 'NR == 1 { csv_header($0, c); next }
    csv_split($0, f) && f[c["metric"]] == "latency" { n++ } END { print n + 0 }') "$1"
}

# Which devices the runs were on: host, or a GPU's name
devices_of() { # RUNS.CSV
  # shellcheck disable=SC2016 # it is awk's $0
  awk -f "$parts/csv.awk" -f <(echo 'NR == 1 { csv_header($0, c); next }
    csv_split($0, f) && !seen[f[c["device"]]]++ { print f[c["device"]] }') "$1"
}
