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

# What is said to make the kept sweeps again has each one's options, as its env.json recorded them, and bench takes them.
mkdir "$work/again" "$work/again/ci" "$work/stubs"
cat >"$work/stubs/gemmark" <<'SH'
#!/usr/bin/env bash
[ "$1" != bench ] || printf '%s\n' "$(IFS='|'; echo "$*")" >>sweeps
SH
printf '#!/bin/sh\n' | tee "$work/stubs/gemmark_replay_cost" >"$work/again/ci/train-recall.py"
chmod +x "$work"/stubs/* "$work/again/ci/train-recall.py"
mkdir "$work/again/gpu-results"
awk '/^```sh$/ { p = 1; next } /^```/ { p = 0 } p' "$root/results/README.md" >"$work/again/script"
(cd "$work/again" && PATH=$work/stubs:$PATH bash -eu script) || fail "results/README.md: its script ends with $?"
"$gemmark" model make --arch gemma4-e4b-tiny --context 262144 -o "$work/tiny.gguf" >"$work/said"
CUDA_VISIBLE_DEVICES='' python3 - "$gemmark" "$work" "$root/results" <<'PY' || fail "results/README.md: its script is not what made them"
import json
import os
import subprocess
import sys
gemmark, work, results = sys.argv[1:]

def options(words):
    """Those of a sweep as pairs: neither its model nor its directory, nor what --devices has added of its own."""
    found = {}
    i = 0
    while i < len(words) and words[i:i + 2] != ["--devices", "none"]:
        name, alone = words[i], words[i] == "--timeline"
        if name not in ("-m", "--out"):
            found[name] = None if alone else words[i + 1]
        i += 1 if alone else 2
    return found

bad = checked = 0
planned = set()
for line in open(work + "/again/sweeps", encoding="utf-8"):
    words = line.rstrip("\n").split("|")[1:]
    name = words[words.index("--out") + 1].removeprefix("gpu-results/")
    name = {"h200-two/0": "h200-two/one", "h200-two/0,1": "h200-two/two"}.get(name, name)
    said = options(words)
    made = json.load(open(os.path.join(results, name, "env.json"), encoding="utf-8"))["command_line"]
    if made:  # of several devices' rows there is none
        checked += 1
        if options(made[1:]) != said:
            print(f"{name}: {made} made it, not {words}")
            bad += 1
    said.pop("--devices", None)
    if tuple(said.items()) in planned or said["-ngl"] == "0":
        continue
    planned.add(tuple(said.items()))
    plan = [gemmark, "bench", "-m", work + "/tiny.gguf", "--dry-run"]
    for option, value in said.items():
        plan += [option] if value is None else [option, value]
    p = subprocess.run(plan, capture_output=True, text=True, check=False)
    if "no GPU" not in p.stdout:
        print(f"{name}: {p.stderr}")
        bad += 1
if checked < 40:
    print(f"only {checked} sweeps: the script is not read right")
    bad += 1
sys.exit(bad > 0)
PY

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
