# shellcheck shell=bash
# Part of ci/compare-commits.sh: do both builds compute the same? Before anything is timed.
#
# Teacher-forced logits of the same tokens, of every mode and fusion that bench will run, with an f32 cache and with
# bench's own. Of one build all modes must give the same bits; of the two, the same bits or a stated distance.

# What rounding alone may do, by the coarser of the cache's types: f32 as the golden files are held to; the others keep
# 11 and 8 bits of every K and V, and a changed last bit of a sum may round the other way.
cache_tolerance() { # TYPE
  if [ -n "$tolerance" ]; then
    echo "$tolerance"
    return
  fi
  case $1 in
    *bf16*) echo 3e-2 ;;
    *f16*) echo 4e-3 ;;
    *) echo 1e-4 ;;
  esac
}

# The words of a list or range; of a range the first.
words_of() { tr , '\n' | sed -E 's/^(-?[0-9]+)-.*$/\1/' | awk 'NF && !seen[$0]++'; }

eval_side() { # SIDE FILE ARGUMENT...
  local side=$1 file=$2 code=0 log=$work/logits/$1.log
  shift 2
  rm -f "$file"
  run "$log" env XDG_CACHE_HOME="$cache/$side" "${program[$side]}" eval -m "$model" --tokens "$tokens" \
    --prefill "$check_prefill" "$@" -o "$file" || code=$?
  [ $code -ne 4 ] || wrong_results "$side ($(name_of "$side")): gemmark eval $*: $(last_line "$log")"
  [ $code -eq 0 ] ||
    fail "$side ($(name_of "$side")): gemmark eval ended with exit code $code: $(last_line "$log") ($log)"
}

compare_logits() { # BASE HEAD TOLERANCE: prints what is to be said; 1: they differ too much
  local n_rows bytes code=0
  bytes=$(stat -c %s "$1")
  n_rows=$(tr , '\n' <<<"$tokens" | wc -l)
  [ "$bytes" = "$(stat -c %s "$2")" ] || { echo "other sizes: $bytes and $(stat -c %s "$2") bytes"; return 1; }
  paste <(od -An -v -t f4 -w4 "$1") <(od -An -v -t f4 -w4 "$2") |
    awk -v vocab=$((bytes / 4 / n_rows)) -v tolerance="$3" -f "$parts/logits.awk" || code=$?
  return $code
}

# Prints into $work/logits.txt what was found.
check_logits() {
  local out=$work/logits.txt fusion cache layers mode side said bits=0 near=0 files=() limit text=''
  local fusions modes caches all_layers threads
  [ ! -e "$out" ] || return 0
  step "logits of both builds"
  make_folder "$work/logits"
  mapfile -t fusions < <(word_values fusion | words_of)
  [ ${#fusions[@]} -gt 0 ] || fusions=(full)
  mapfile -t modes < <({ echo direct; word_values mode; } | words_of)
  [ ${#modes[@]} -gt 1 ] || [ -n "$(word_values mode)" ] || modes=(direct graph-params graph-update graph-device)
  # Pairs of K and V types.
  mapfile -t caches < <({ echo f32,f32; paste -d , <(word_values ctk cache-type-k | words_of) \
    <(word_values ctv cache-type-v | words_of) | sed 's/^,/f16,/; s/,$/,f16/'; } | awk '!seen[$0]++')
  [ ${#caches[@]} -gt 1 ] || [ -n "$(word_values ctk cache-type-k ctv cache-type-v)" ] || caches+=('f16,f16')
  mapfile -t all_layers < <(word_values ngl n-gpu-layers | words_of)
  [ ${#all_layers[@]} -gt 0 ] || all_layers=('')
  threads=$(word_values t threads | words_of | head -n 1)
  for layers in "${all_layers[@]}"; do
    for fusion in "${fusions[@]}"; do
      for cache in "${caches[@]}"; do
        local arguments=(--fusion "$fusion" -ctk "${cache%,*}" -ctv "${cache#*,}")
        [ -z "$layers" ] || arguments+=(-ngl "$layers")
        [ -z "$threads" ] || arguments+=(-t "$threads")
        for side in base head; do
          for mode in "${modes[@]}"; do
            local file=$work/logits/$side.$mode.f32
            eval_side "$side" "$file" "${arguments[@]}" --mode "$mode"
            [ "$mode" != direct ] || continue
            cmp -s "$work/logits/$side.direct.f32" "$file" ||
              wrong_results "$side ($(name_of "$side")): ${arguments[*]}: $mode gives other logits than direct does"
            rm -f "$file"
          done
        done
        files=("$work/logits/base.direct.f32" "$work/logits/head.direct.f32")
        if cmp -s "${files[@]}"; then
          bits=$((bits + 1))
        else
          limit=$(cache_tolerance "$cache")
          said=$(compare_logits "${files[@]}" "$limit") || wrong_results "${arguments[*]}: $said"
          near=$((near + 1))
          text+="${arguments[*]}: $said"$'\n'
        fi
        rm -f "${files[@]}"
      done
    done
  done
  said="logits of $(tr , '\n' <<<"$tokens" | wc -l) tokens by ${modes[*]}:"
  said+=" the same bits in $bits of $((bits + near)) settings, with K and V in ${caches[*]}"
  [ "$near" -eq 0 ] || said+="; in the others within the tolerance"
  printf '%s\n%s' "$said" "$text" | put "$out"
}
