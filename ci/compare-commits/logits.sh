# shellcheck shell=bash
# Part of ci/compare-commits.sh: do both builds compute the same? Before anything is timed.
#
# Teacher-forced logits of the same tokens, of every mode and fusion that bench will run, with an f32 cache and with
# bench's own. Of one build all modes must give the same bits; of the two, the same bits or a stated distance.
#
# Then, launched directly, behind a prompt as deep as the sweep's deepest place (--check-depth at most): what prompts
# alone run, and what only many keys reach. It is computed as bench will: its chunks, SnapKV budgets, rows, precision.

# What rounding alone may do, by the coarsest of the types of the cache and of a prompt's products: f32 as the golden
# files are held to; the others keep 11 and 8 bits of every value, and a changed last bit of a sum may round the other
# way. So may it in SnapKV's scores, and another entry is kept.
rounding_tolerance() { # WORD...
  if [ -n "$tolerance" ]; then
    echo "$tolerance"
    return
  fi
  case $* in
    *bf16* | *--snapkv*) echo 3e-2 ;;
    *f16*) echo 4e-3 ;;
    *) echo 1e-4 ;;
  esac
}

# The words of a list or range; of a range the first.
words_of() { tr , '\n' | sed -E 's/^(-?[0-9]+)-.*$/\1/' | awk 'NF && !seen[$0]++'; }

# The values of bench's --snapkv, each with its window and pool.
snapkv_values() {
  word_values snapkv | sed -E 's/,(window|pool)=/;\1=/g' | tr , '\n' | tr ';' , |
    sed -E 's/^([0-9]+)-[^,]*/\1/' | awk 'NF && !seen[$0]++'
}

# DEFAULT NAME...: the largest value of these options of bench
largest_of() {
  local default=$1
  shift
  word_values "$@" | tr , '\n' | sed -nE 's/^([0-9]+-)?([0-9]+)([+*].*)?$/\2/p' |
    awk -v default="$default" '$1 > most { most = $1 } END { print NR ? most : default }'
}

# The most keys that bench's sweep reaches.
sweep_reach() {
  local depth prompt gen both
  depth=$(largest_of 0 d n-depth)
  prompt=$(largest_of 512 p n-prompt)
  gen=$(largest_of 128 n n-gen)
  both=$(word_values pg | awk -F , '$1 + $2 > most { most = $1 + $2 } END { print most + 0 }')
  printf '%s\n' "$prompt" "$gen" "$both" | awk -v depth="$depth" '$1 > most { most = $1 } END { print depth + most }'
}

# OPTION: whether both builds' eval has it
eval_has() { help_has "${program[base]}" eval "$1" && help_has "${program[head]}" eval "$1"; }

# Sets flags to what bench's arguments say once for all cells, and unchecked to what eval cannot be told of it.
forward_flags() {
  local name value
  flags=() unchecked=()
  for name in prefill-precision prefill-weights host-products head ple pdl persistent-limits device-memory; do
    value=$(word_values "$name" | tail -n 1)
    [ -n "$value" ] || continue
    if eval_has "--$name"; then
      flags+=("--$name" "$value")
    else
      unchecked+=("--$name")
    fi
  done
}

# COUNT: so many ids into $work/logits/tokens, the --tokens in order and then drawn from them
draw_tokens() {
  awk -v n="$1" -F , '{
      seed = 1
      for (i = 1; i <= n; i++) {
        seed = seed * 16807 % 2147483647
        print $(i <= NF ? i : seed % NF + 1)
      }
    }' <<<"$tokens" | put "$work/logits/tokens"
}

eval_side() { # SIDE FILE TOKENS PREFILL ARGUMENT...
  local side=$1 file=$2 of=(--tokens "$3" --prefill "$4") code=0 log=$work/logits/$1.log
  shift 4
  rm -f "$file"
  run "$log" env XDG_CACHE_HOME="$cache/$side" "${program[$side]}" eval -m "$model" "${of[@]}" "$@" -o "$file" ||
    code=$?
  [ $code -ne 4 ] || wrong_results "$side ($(name_of "$side")): gemmark eval $*: $(last_line "$log")"
  [ $code -eq 0 ] ||
    fail "$side ($(name_of "$side")): gemmark eval ended with exit code $code: $(last_line "$log") ($log)"
}

compare_logits() { # BASE HEAD TOLERANCE ROWS: prints what is to be said; 1: they differ too much
  local bytes code=0
  bytes=$(stat -c %s "$1")
  [ "$bytes" = "$(stat -c %s "$2")" ] || { echo "other sizes: $bytes and $(stat -c %s "$2") bytes"; return 1; }
  paste <(od -An -v -t f4 -w4 "$1") <(od -An -v -t f4 -w4 "$2") |
    awk -v vocab=$((bytes / 4 / $4)) -v tolerance="$3" -f "$parts/logits.awk" || code=$?
  return $code
}

# ROWS TOLERANCE WHERE: of the files of direct launches; counts in bits and near, and adds to text
judge_logits() {
  local files=("$work/logits/base.direct.f32" "$work/logits/head.direct.f32") said
  if cmp -s "${files[@]}"; then
    bits=$((bits + 1))
  else
    said=$(compare_logits "${files[@]}" "$2" "$1") || wrong_results "$3: $said"
    near=$((near + 1))
    text+="$3: $said"$'\n'
  fi
  rm -f "${files[@]}"
}

# Direct launches of both sides, deep in a context. VOCABULARY CACHE ARGUMENT...
check_deep() {
  local vocabulary=$1 type=$2 deep n_rows rows snapkv batch side list=() limit device
  shift 2
  for rows in "${all_rows[@]}"; do
    deep=$reach
    # Logits of every row are many: 256 MiB at most.
    if [ "$rows" = all ] && [ "$deep" -gt $(((1 << 26) / vocabulary)) ]; then
      deep=$(((1 << 26) / vocabulary))
      [ "$deep" -ge "$check_least" ] || deep=$check_least
    fi
    [ "$rows" = last ] && n_rows=$((check_decoded + 1)) || n_rows=$deep
    draw_tokens "$deep"
    for snapkv in "${budgets[@]}"; do
      for batch in "${batches[@]}"; do
        list=("$@")
        [ -z "$rows_known" ] || list+=(--prefill-rows "$rows")
        [ "$snapkv" = off ] || list+=(--snapkv "$snapkv")
        [ "$batch" = 0 ] || list+=(-b "$batch")
        # A cache that bench does not use stands for what is exact.
        if [ -n "$precision_known" ] && [ "$type" = f32,f32 ] && [ -n "$f32_is_ours" ]; then
          list+=(--prefill-precision f32)
        fi
        for side in base head; do
          eval_side "$side" "$work/logits/$side.direct.f32" "$work/logits/tokens" $((deep - check_decoded)) \
            "${list[@]}" --mode direct
        done
        device=''
        # On a GPU the default is f16.
        [[ " ${list[*]} " == *" --prefill-precision "* ]] || [[ " ${list[*]} " == *" -ngl 0 "* ]] ||
          grep -q 'on the host: ' "$work/logits/head.log" || device=f16
        limit=$(rounding_tolerance "$type" "${list[@]}" "$device")
        judge_logits "$n_rows" "$limit" "$deep tokens, ${list[*]}"
      done
    done
  done
}

# Prints into $work/logits.txt what was found.
check_logits() {
  local out=$work/logits.txt fusion type layers mode side said bits=0 near=0 limit text='' settings n_tokens vocabulary
  local fusions modes caches all_layers threads flags unchecked batches budgets all_rows reach
  local rows_known='' precision_known='' f32_is_ours=1
  [ ! -e "$out" ] || return 0
  step "logits of both builds"
  make_folder "$work/logits"
  mapfile -t fusions < <(word_values fusion | words_of)
  [ ${#fusions[@]} -gt 0 ] || fusions=(full)
  mapfile -t modes < <({ echo direct; word_values mode; } | words_of)
  [ ${#modes[@]} -gt 1 ] || [ -n "$(word_values mode)" ] || modes=(direct graph-params graph-update graph-device)
  # Pairs of K and V types.
  mapfile -t caches < <({ paste -d , <(word_values ctk cache-type-k | words_of) \
    <(word_values ctv cache-type-v | words_of) | sed 's/^,/f16,/; s/,$/,f16/'; } | awk 'NF && !seen[$0]++')
  [ ${#caches[@]} -gt 0 ] || caches=('f16,f16')
  [[ " ${caches[*]} " == *" f32,f32 "* ]] && f32_is_ours='' || caches=('f32,f32' "${caches[@]}")
  mapfile -t all_layers < <(word_values ngl n-gpu-layers | words_of)
  [ ${#all_layers[@]} -gt 0 ] || all_layers=('')
  mapfile -t batches < <(word_values ub ubatch-size | words_of)
  [ ${#batches[@]} -gt 0 ] || batches=(0)
  mapfile -t budgets < <(snapkv_values)
  [ ${#budgets[@]} -gt 0 ] || budgets=(off)
  mapfile -t all_rows < <(word_values prefill-rows | words_of)
  [ ${#all_rows[@]} -gt 0 ] || all_rows=(last)
  threads=$(word_values t threads | words_of | head -n 1)
  forward_flags
  ! eval_has --prefill-precision || precision_known=1
  ! eval_has --prefill-rows || rows_known=1
  [ -n "$rows_known" ] || all_rows=(all)
  if [ "${budgets[*]}" != off ] && ! eval_has --snapkv; then
    budgets=(off)
    unchecked+=(--snapkv)
  fi
  n_tokens=$(tr , '\n' <<<"$tokens" | wc -l)
  reach=$(sweep_reach)
  reach=$((reach > check_depth ? check_depth : reach < check_least ? check_least : reach))
  local deep_bits=0 deep_near=0
  for layers in "${all_layers[@]}"; do
    for fusion in "${fusions[@]}"; do
      for type in "${caches[@]}"; do
        local arguments=(--fusion "$fusion" -ctk "${type%,*}" -ctv "${type#*,}" "${flags[@]}")
        [ -z "$layers" ] || arguments+=(-ngl "$layers")
        [ -z "$threads" ] || arguments+=(-t "$threads")
        for side in base head; do
          for mode in "${modes[@]}"; do
            local file=$work/logits/$side.$mode.f32
            eval_side "$side" "$file" "$tokens" "$check_prefill" "${arguments[@]}" --mode "$mode"
            [ "$mode" != direct ] || continue
            cmp -s "$work/logits/$side.direct.f32" "$file" ||
              wrong_results "$side ($(name_of "$side")): ${arguments[*]}: $mode gives other logits than direct does"
            rm -f "$file"
          done
        done
        vocabulary=$(($(stat -c %s "$work/logits/base.direct.f32") / 4 / n_tokens))
        limit=$(rounding_tolerance "$type")
        judge_logits "$n_tokens" "$limit" "${arguments[*]}"
        settings="$bits $near"
        bits=$deep_bits near=$deep_near
        check_deep "$vocabulary" "$type" "${arguments[@]}"
        deep_bits=$bits deep_near=$near
        read -r bits near <<<"$settings"
      done
    done
  done
  said="logits of $n_tokens tokens by ${modes[*]}: the same bits in $bits of $((bits + near)) settings,"
  said+=" with K and V in ${caches[*]}; of $reach tokens, all but $check_decoded of them a prompt, by direct: the same"
  said+=" bits in $deep_bits of $((deep_bits + deep_near)) settings"
  [ $((near + deep_near)) -eq 0 ] || said+="; in the others within the tolerance"
  [ ${#unchecked[@]} -eq 0 ] || said+="; without ${unchecked[*]}, which a build's eval does not know"
  printf '%s\n%s' "$said" "$text" | put "$out"
}
