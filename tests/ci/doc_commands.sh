#!/usr/bin/env bash
# Do the commands of the README and of doc/ run as they are printed? Models that they name are small ones of that name here,
# sweeps are planned and not measured (--dry-run), and what works on the results that are kept is
# tests/ci/results_commands.sh's. Every link leads somewhere.
#
#   tests/ci/doc_commands.sh GEMMARK
set -euo pipefail
gemmark=$(readlink -f "${1:?usage: tests/ci/doc_commands.sh GEMMARK}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_STATE_HOME=$work/state XDG_CACHE_HOME=$work/cache HOME=$work
failures=0
fail() { echo "doc_commands: $*"; failures=$((failures + 1)); }
cd "$root"

# Of a page, "COMMAND" a line: of indented blocks, continued ones as one, without what stands behind them.
commands() {
  python3 - "$1" <<'PY'
import re
import sys
text = open(sys.argv[1], encoding="utf-8").read()
for command in re.findall(r"^    (?:\$ )?((?:gemmark|ci/[a-z-]+\.sh|gemmark_[a-z_]+) (?:.*\\\n)*.*)", text, re.M):
    print(" ".join(re.split(r" {4,}|  +#", command.replace("\\\n", " "))[0].split()))
PY
}
# Of a page, its blocks marked sh: what they hold runs as it is, one block behind the other.
scripts() { awk '/^```sh$/ { p = 1; next } /^```/ { p = 0 } p' "$1"; }
links() { # FILE: what it links to, from the root
  grep -o ']([^)#][^)]*)' "$1" | sed 's/^](//; s/[#)].*$//' | grep -v '^[a-z]*:' | sort -u || true
}
for page in README.md doc/*.md; do
  while IFS= read -r link; do
    [ -e "$(dirname "$page")/$link" ] || fail "$page links to $link, which is not there"
  done < <(links "$page")
done

# What the pages name, in small.
mkdir "$work/bin" "$work/models"
ln -s "$gemmark" "$work/bin/gemmark"
for model in e2b e4b; do
  "$gemmark" model make --arch "gemma4-$model-tiny" --type q8_0 --seed 1 --context 262144 \
    -o "$work/models/$model.gguf" >"$work/said"
done
real=$root/build/real-model/gemma-3-270m-q4_k_m.gguf
echo "Once upon a time" >"$work/models/prompt.txt"
# PAGE: a folder of its own for it
place() {
  at=$work/at-$(basename "$1" .md)
  mkdir "$at"
  ln -s "$root/ci" "$root/results" "$work/models"/* "$at"
  [ -e "$real" ] || return 0
  mkdir -p "$at/build/real-model"
  ln -s "$real" "$at/model.gguf"
  ln -s "$real" "$at/build/real-model"
}
in_place() { (cd "$at" && PATH=$work/bin:$PATH CUDA_VISIBLE_DEVICES='' bash -e) >"$work/said" 2>&1; }

ran=0 planned=0 left=0
# PAGE COMMAND
try() {
  local page=$1 command=$2 code=0
  case $command in
    *'-m tiny.gguf'* | *tiny*) ;;
    # What stands for something of the reader's, takes a GPU or minutes, or has a test of its own.
    *FILE* | *DIR* | *LIST* | *BASE* | *GOOD* | *MODEL* | *' ... '* | *results/after* | *' h1 h2 '* | ci/* | gemmark_* | \
      'gemmark compare before'* | 'gemmark quality'* | 'gemmark report results/'* | 'gemmark plot results/'* | \
      'gemmark compare results/'* | 'gemmark model make'* | 'gemmark kernels'* | 'gemmark selftest' | \
      'gemmark selftest --sweeps'*)
      left=$((left + 1)); return 0 ;;
    *'-m model.gguf'* | *build/real-model*) [ -e "$real" ] || { left=$((left + 1)); return 0; } ;;
    'gemmark bench '*'-m '*) command="$command --dry-run"; planned=$((planned + 1)) ;;
  esac
  case $command in
    'gemmark '*': '*) return 0 ;; # what a command said
    *\;* | *\|* | *\&* | *\$* | *\<* | *\>*) fail "$page: more than a command: $command"; return 0 ;;
  esac
  ran=$((ran + 1))
  # A few tokens show that it runs; the later -n counts.
  case $command in 'gemmark generate '*) command="$command -n 8" ;; esac
  [ -z "${DOC_VERBOSE:-}" ] || echo "$SECONDS $page: $command"
  in_place <<<"$command" || code=$?
  case $code in
    0) ;;
    1) [[ $command == *--neighbours* ]] || fail "$page: $command: exit code 1: $(tail -n 3 "$work/said")" ;;
    2) grep -q 'no GPU' "$work/said" && [[ $command == *graph-loop* || $command == *' --dry-run' ]] ||
      fail "$page: $command: $(tail -n 3 "$work/said")" ;;
    *) fail "$page: $command: exit code $code: $(tail -n 3 "$work/said")" ;;
  esac
}
for page in README.md doc/*.md; do
  place "$page"
  while IFS= read -r command; do
    try "$page" "$command"
  done < <(commands "$page")
  scripts "$page" >"$work/script"
  [ -s "$work/script" ] || continue
  [ -z "${DOC_VERBOSE:-}" ] || echo "$SECONDS $page: $(wc -l <"$work/script") lines"
  ran=$((ran + 1))
  in_place <"$work/script" || fail "$page: its blocks end with $?: $(tail -n 3 "$work/said")"
done
[ $ran -ge 15 ] && [ $planned -ge 3 ] || fail "only $ran commands ran, $planned of them as plans: the pages are not read right"
echo "doc_commands: $ran ran, $planned of them as plans; $left are the reader's"
exit $((failures > 0))
