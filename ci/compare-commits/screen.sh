# shellcheck shell=bash
# Part of ci/compare-commits.sh: a few pairs first, to see which cells deserve the full comparison.
#
# A cell's interval is the range of its pairs: whatever the noise, as long as pairs are independent and alike, it holds
# the true median change but once in 2^(n-1) times. A cell whose range is within +-X moved by no more, as far as n pairs
# can say; the others are measured in full, with pairs of their own. The choice depends on pairs that the comparison
# does not use, so that its alpha stands.

# The cells of all pairs' CSV files: label, tab, least, tab, most, tab, deserves (0 or 1), tab, depth, mode, fusion.
screen_cells() {
  awk -v limit="$screen_delta" -v pairs="$screen_pairs" -f "$parts/csv.awk" -f <(cat <<'AWK'
    FNR == 1 { csv_header($0, c); next }
    csv_split($0, f) && f[c["metric"]] == "latency" {
      key = ""
      for (i = c["test"]; i <= c["mode"]; i++)
        key = key f[i] "\t"
      if (!(key in n)) {
        order[++cells] = key
        label[key] = f[c["test"]] " " f[c["mode"]] " " f[c["fusion"]]
        axes[key] = f[c["n_depth"]] "\t" f[c["mode"]] "\t" f[c["fusion"]]
      }
      x = f[c["effect"]]
      if (x == "")
        next
      x *= 100
      if (!n[key]++ || x < least[key])
        least[key] = x
      if (n[key] == 1 || x > most[key])
        most[key] = x
    }
    END {
      for (i = 1; i <= cells; i++) {
        key = order[i]
        printf "%s\t%.2f\t%.2f\t%d\t%s\n", label[key], least[key], most[key],
          (n[key] < pairs || least[key] < -limit || most[key] > limit), axes[key]
      }
    }
AWK
  ) "$work"/screen/*.csv
}

# Leaves bench's arguments as they are but for the axes that the screen narrows.
narrow_words() { # DEPTHS MODES FUSIONS
  local i name kept=()
  for ((i = 0; i < ${#words[@]}; i++)); do
    option_name "${words[i]}"
    name=$REPLY
    case $name in
      d | n-depth | mode | fusion) [[ ${words[i]} == *=* ]] || i=$((i + 1)) ;;
      *) kept+=("${words[i]}") ;;
    esac
  done
  words=("${kept[@]+"${kept[@]}"}" -d "$1" --mode "$2" --fusion "$3")
}

# Sets words to what deserves a full comparison, or ends with a verdict.
screen() {
  local i code=0 total kept depths modes fusions chance
  for ((i = 1; i <= screen_pairs; i++)); do
    measure_pair screen "$i" "$screen_pairs"
  done
  # Beyond any doubt already, whatever the times: counts of launches, cells that fail now, wrong bits. So few pairs
  # give no p below this alpha.
  compare_pairs screen 1 "$screen_pairs" 0.0001 "$screen_delta" json "$work/screen.json" || code=$?
  write_order
  [ $code -ne 4 ] || wrong_results "bench: see $work/screen.json"
  if [ $code -eq 1 ]; then
    compare_pairs screen 1 "$screen_pairs" 0.0001 "$screen_delta" table "$work/compare.txt" || true
    cp "$work/screen.json" "$work/compare.json" || fail "$work/compare.json: cannot be written"
    cat "$work/compare.txt"
    echo "screen: a regression that no number of pairs would change"
    finish 1
  fi
  for ((i = 1; i <= screen_pairs; i++)); do
    compare_pairs screen "$i" "$i" "$alpha" "$delta" csv "$work/screen/$(printf %03d "$i").csv" || true
  done
  screen_cells | put "$work/screen.tsv"
  total=$(wc -l <"$work/screen.tsv")
  kept=$(awk -F '\t' '$4' "$work/screen.tsv" | wc -l)
  chance=$(awk -v n="$screen_pairs" -v c="$total" \
    'BEGIN { x = 1 - c * 2 ^ (1 - n); printf "%.3g", (x > 0 ? 100 * x : 0) }')
  {
    echo "screen: $((total - kept)) of $total cells moved by no more than $screen_delta %" \
      "in any of $screen_pairs pairs"
    echo "screen: not excluded: changes up to $screen_delta %, which it does not look for; and that a range misses" \
      "the true median: all $total hold theirs in $chance of 100 screens at least"
  } | put "$work/screen.txt"
  cat "$work/screen.txt"
  if [ "$kept" -eq 0 ]; then
    echo "screen: nothing deserves the full comparison (--screen-delta asks for more)"
    finish 0
  fi
  awk -F '\t' '$4 { printf "screen: %s: %+.1f to %+.1f %%\n", $1, $2, $3 }' "$work/screen.tsv"
  column() { awk -F '\t' -v at="$1" '$4 && !seen[$at]++ { printf "%s%s", n++ ? "," : "", $at }' "$work/screen.tsv"; }
  depths=$(column 5) modes=$(column 6) fusions=$(column 7)
  narrow_words "$depths" "$modes" "$fusions"
  echo "screen: measured in full: -d $depths --mode $modes --fusion $fusions"
}
