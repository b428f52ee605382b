# shellcheck shell=bash
# Part of ci/compare-commits.sh: how many pairs, the looks at them, and the report.

# Sets least, the fewest pairs that can tell anything from chance over so many cells; --pairs may not be fewer.
need_pairs() { # CELLS
  least=$(least_pairs "$1" "$(awk -v a="$look_alpha" 'BEGIN { printf "%.12g", a / 100 }')")
  [ "${pairs:-$least}" -ge "$least" ] ||
    fail "--pairs $pairs: too few: over $1 cells at alpha $look_alpha % anything but chance needs $least pairs"
}

# Sets looks and look_alpha. What --pairs asks for is held against the cells that the dry run counted, less those that
# it skips (one, where it could not count, or where screening leaves some out), before anything is measured.
plan_looks() {
  local least n_cells='' skipped log=$work/dry-run-head.log
  [ "${more:-1}" -eq 0 ] && looks=1 || looks=2
  look_alpha=$(awk -v a="$alpha" -v n="$looks" 'BEGIN { printf "%.9g", a / n }')
  if [ -z "$screen" ]; then
    n_cells=$(sed -n 's/^dry run of \([0-9]*\) cell.*/\1/p' "$log" | tail -n 1)
    skipped=$(sed -n 's/^[0-9]* runs\?, about .*; \([0-9]*\) cells\? skipped\.$/\1/p' "$log" | tail -n 1)
    n_cells=$((${n_cells:-1} - ${skipped:-0}))
  fi
  need_pairs $((${n_cells:-1} > 1 ? n_cells : 1))
}

# Sets n_pairs, n_more. The number of cells is that of the first pair.
plan_pairs() {
  local least n_cells code=0
  # What compare refuses, it refuses after one pair.
  measure_pair pairs 1 "${pairs:-?}"
  compare_pairs pairs 1 1 "$look_alpha" "$delta" csv "$work/first.csv" || code=$?
  [ $code -ne 4 ] || wrong_results "bench: its row says why: $work/pairs/001"
  n_cells=$(cells_in "$work/first.csv")
  [ "$n_cells" -gt 0 ] || fail "no cell ran on both sides; see $work/pairs/001"
  need_pairs "$n_cells"
  n_pairs=${pairs:-$((least + 4))}
  n_pairs=$(even "$n_pairs")
  n_more=$(even "${more:-$n_pairs}")
  [ $((n_pairs + n_more)) -le 998 ] || fail "--pairs and --more: 998 pairs at most"
  step "cells: $n_cells; $n_pairs pairs; $least are the fewest that can tell anything from chance at alpha $look_alpha %"
}

measure_to() { # LAST OF
  local i
  for ((i = 1; i <= $1; i++)); do
    measure_pair pairs "$i" "$2"
  done
  write_order
}

compare_commits() {
  local code=0 look=1 seen=$n_pairs
  measure_to "$n_pairs" "$n_pairs"
  compare_pairs pairs 1 "$seen" "$look_alpha" "$delta" json "$work/compare.json" || code=$?
  if [ $code -eq 3 ] && [ "$looks" -eq 2 ]; then
    step "look 1 of 2, at alpha $look_alpha %: inconclusive; $n_more pairs more"
    look=2 seen=$((n_pairs + n_more)) code=0
    measure_to "$seen" "$seen"
    compare_pairs pairs 1 "$seen" "$look_alpha" "$delta" json "$work/compare.json" || code=$?
  fi
  [ $code -ne 4 ] || wrong_results "bench: see $work/compare.json"
  compare_pairs pairs 1 "$seen" "$look_alpha" "$delta" table "$work/compare.txt" || true
  describe "$look" "$seen" | put "$work/method.txt"
  write_report "$seen"
  cat "$work/compare.txt" "$work/method.txt"
  verdict $code | put "$work/verdict.txt"
  cat "$work/verdict.txt"
  [ ! -e "$work/report.md" ] || echo "report: $work/report.md"
  finish $code
}

verdict() {
  case $1 in
    0) echo "no regression" ;;
    1) echo "REGRESSION" ;;
    3) echo "inconclusive: neither a regression nor its absence is shown" ;;
  esac
}

side_text() { # SIDE
  if [ "$1" = head ] && [ -n "$is_dirty" ]; then
    echo "$1: the working tree on commit ${is_dirty:0:10}"
  elif [ -n "${build_of[$1]}" ]; then
    echo "$1: the build in ${build_of[$1]}"
  else
    echo "$1: commit ${commit_of[$1]}"
  fi
}

# How it was measured, a sentence a line.
describe() { # LOOK PAIRS
  local devices
  side_text base
  side_text head
  head -n 1 "$work/logits.txt"
  [ ! -e "$work/screen.txt" ] || cat "$work/screen.txt"
  echo "$2 pairs of processes in blocks of ABBA or BAAB, drawn from seed $seed (order.csv);" \
    "gemmark bench $(shown_words)"
  if [ "$looks" -eq 2 ]; then
    echo "look $1 of 2: one at $n_pairs pairs, and where that is inconclusive another at $((n_pairs + n_more))," \
      "each at alpha $look_alpha %, half of $alpha % (Bonferroni over the looks)"
  else
    echo "one look, at alpha $look_alpha %"
  fi
  devices=$(devices_of "$work/pairs/001/head/runs.csv")
  if grep -qx host <<<"$devices"; then
    echo "on the host device: wall times of a processor, which other work on the machine moves; a replay there saves" \
      "the calls to C functions alone: nothing here says what a graph gains on a GPU, nor what a kernel takes there"
  fi
}

# report.md and report.html, by the judge where it can. The verdict stands without them: what cannot be written is said.
most_in_comment=65536 # characters, GitHub's and GitLab's
write_report() { # PAIRS
  local i file options=() heads=() log=$work/report.log code option
  local -A deciding=([alpha]=$look_alpha [delta]=$delta)
  [ -z "$gate_exact" ] || deciding[gate-exact]=$gate_exact
  for ((i = 1; i <= $1; i++)); do
    heads+=("$(printf 'pairs/%03d/head' "$i")")
    options+=(--base "$(printf 'pairs/%03d/base' "$i")")
  done
  rm -f "$work/report.md" "$work/report.html" # of an earlier attempt
  if reports; then
    # What decides the verdict decides the report's, where it can be told.
    for option in "${!deciding[@]}"; do
      ! help_has "$judge" report "--$option" || options+=("--$option" "${deciding[$option]}")
    done
    for file in report.md report.html; do
      if [ "$file" = report.html ] && ! help_has "$judge" report FILE.html; then
        say "compare-commits: $judge writes no report.html"
        continue
      fi
      code=0
      run "$log" env -C "$work" "$judge" report "${heads[@]}" "${options[@]}" "${compare_options[@]}" \
        --paired -o "$file" || code=$?
      [ $code -eq 0 ] || say "compare-commits: no $file: $(last_line "$log")"
    done
  else
    say "compare-commits: $judge has no 'report': report.md is compare's table, and there is no report.html"
    compare_pairs pairs 1 "$1" "$look_alpha" "$delta" md "$work/report.md" || true
  fi
  [ -e "$work/report.md" ] || return 0
  {
    cat "$work/report.md"
    printf '\n### How the two were measured\n\n'
    tr -d '`<>|*_[]' <"$work/method.txt" | sed 's/^/- /'
  } | put "$work/report.whole"
  if [ "$(LC_ALL=C.UTF-8 wc -m <"$work/report.whole")" -le $most_in_comment ]; then
    mv "$work/report.whole" "$work/report.md"
  else
    rm "$work/report.whole"
    say "compare-commits: report.md is as long as a comment may be; how the two were measured is in method.txt alone"
  fi
}
