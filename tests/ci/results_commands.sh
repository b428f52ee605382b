#!/usr/bin/env bash
# What README.md and results/README.md say of the kept results: each command that makes something of them runs as it is
# printed, in a fresh copy of the repository's files, each directory is in the table, and studies are of the texts beside them.
#
#   tests/ci/results_commands.sh GEMMARK
set -euo pipefail
gemmark=$(readlink -f "${1:?usage: tests/ci/results_commands.sh GEMMARK}")
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export XDG_STATE_HOME=$work/state
failures=0
fail() { echo "results_commands: $*"; failures=$((failures + 1)); }

# commands FILE: in `...` or in an indented block, a line each; those of results that are kept
commands() {
  python3 - "$1" <<'PY'
import re
import sys
text = open(sys.argv[1], encoding="utf-8").read()
found = re.findall(r"`(gemmark [^`]*)`", text)
found += re.findall(r"^    (gemmark (?:.*\\\n)*.*)", text, re.M)
for command in found:
    command = " ".join(command.replace("\\\n", " ").split())
    if re.match(r"gemmark (report|plot|compare) .*results/(h[12]00|host)-", command):
        print(command)
PY
}

mkdir "$work/bin" "$work/tree"
ln -s "$gemmark" "$work/bin/gemmark"
cp -r "$root/README.md" "$root/results" "$work/tree"
ran=0
while IFS= read -r command; do
  ran=$((ran + 1))
  case $command in *\;* | *\|* | *\&* | *\$* | *\<* | *\>*) fail "more than a command: $command"; continue ;; esac
  out=$(sed -nE 's/.* (-o|--out) ([^ ]*).*/\2/p' <<<"$command")
  [ ! -f "$work/tree/$out" ] || rm "$work/tree/$out"
  code=0
  (cd "$work/tree" && PATH=$work/bin:$PATH bash -c "$command" >../said 2>&1) || code=$?
  case $code-$command in
    0-* | 3-"gemmark compare "*) ;; # 3: inconclusive, which is a verdict
    *) fail "$command: $(tail -n 2 "$work/said")" ;;
  esac
  [ -z "$out" ] || [ -s "$work/tree/$out" ] || fail "$command: no $out"
done < <(commands "$root/README.md" && commands "$root/results/README.md")
[ "$ran" -ge 6 ] || fail "$ran commands: more are printed"

for directory in "$root"/results/*/; do
  name=$(basename "$directory")
  case $name in *Z-*) continue ;; esac # not kept
  grep -q "^| $name |" "$root/results/README.md" || fail "results/README.md: $name is not in its table"
  commits=$(python3 - "$directory" <<'PY'
import glob
import json
import sys
for path in sorted(glob.glob(sys.argv[1] + "/**/env.json", recursive=True)):
    print(json.load(open(path))["build"]["commit"])
PY
  )
  for commit in $commits; do
    grep "^| $name |" "$root/results/README.md" | grep -q "$commit" || fail "results/README.md: $name is of commit $commit"
  done
done

# A study whose text is kept was made of that text: its hash is of the bytes, whatever model reads them.
hash_in() { sed -nE 's/.*"text_hash": "([0-9a-f]{16})".*/\1/p' "$1"; }
texts=0
for text in "$root"/results/*/text.txt; do
  texts=$((texts + 1))
  rm -rf "$work/study"
  "$gemmark" quality -m "$root/tests/golden/recall/recall.q8_0.gguf" -ngl 0 --text "$text" --contexts 256 --budgets 40 \
    --policies recency --seeds 1 --needles 0 --continuation 1 -o "$work/study" >"$work/said" 2>&1 ||
    fail "$text: $(tail -n 2 "$work/said")"
  while IFS= read -r study; do
    [ "$(hash_in "$study")" = "$(hash_in "$work/study/study.json")" ] || fail "$study is not of $text"
  done < <(find "$(dirname "$text")" -name study.json)
done
[ "$texts" -ge 1 ] || fail "no study's text is kept"
[ "$failures" -eq 0 ] || exit 1
echo "results_commands: $ran commands ran"
