#!/usr/bin/env bash
# The program as a shell sees it: exit codes, where output goes, a full disk, a closed pipe.
#
#   tests/harness/cli/cli.sh GEMMARK
set -uo pipefail
gemmark=${1:?usage: tests/harness/cli/cli.sh GEMMARK}
failures=0

# expect CODE STDOUT STDERR ARGUMENT...: exit code, and a pattern that each stream must match
expect() {
  local code=$1 out_pattern=$2 err_pattern=$3 out err got
  shift 3
  err=$(mktemp)
  out=$("$gemmark" "$@" 2>"$err")
  got=$?
  # shellcheck disable=SC2053 # the right sides are patterns
  if [ "$got" -ne "$code" ] || [[ "$out" != $out_pattern ]] || [[ "$(cat "$err")" != $err_pattern ]]; then
    echo "gemmark $*: exit code $got (expected $code)"
    echo "  stdout: $out"
    echo "  stderr: $(cat "$err")"
    failures=$((failures + 1))
  fi
  rm -f "$err"
}

expect 0 'usage: gemmark COMMAND*examples:*' '' --help
expect 0 'usage: gemmark COMMAND*' '' help
expect 0 'gemmark [0-9]*' '' --version
expect 2 '' 'gemmark: a command is missing*'
expect 2 '' 'gemmark: unknown command benhc (did you mean bench?)' benhc
expect 2 '' 'gemmark: unknown command xyzzy (*--help*)' xyzzy
expect 2 '' 'gemmark: unknown option --nope*' --nope
for command in model eval generate quality bench plot report history merge env kernels status; do
  expect 0 "usage: gemmark $command*examples:*" '' "$command" --help
  expect 0 "usage: gemmark $command*examples:*" '' help "$command"
done
expect 2 '' 'gemmark bench: unknown option --mdoe (did you mean --mode*?)' bench --mdoe direct
expect 2 '' 'gemmark bench: *no-such-file.gguf*' bench -m no-such-file.gguf
expect 2 '' 'gemmark bench: *no-such-options*' bench @no-such-options
for option in --alpha --delta; do
  expect 2 '' "gemmark report: $option: there is no --base*" report no-such-directory -o report.md $option 2
done
expect 2 '' 'gemmark report: --gate-exact: there is no --base*' report no-such-directory -o report.md --gate-exact none
expect 2 '' 'gemmark eval: *' eval
expect 2 '' 'gemmark generate: -m FILE is missing*' generate 'some text'
expect 2 '' 'gemmark generate: a prompt is missing*' generate -m m
expect 2 '' 'gemmark kernels: --compile-only is missing*' kernels --arch sm_90
expect 2 '' "gemmark kernels: --arch: 'sm_9x' is no architecture*" kernels --compile-only --arch sm_80,sm_9x
expect 2 '' 'gemmark kernels: --head-dims: there are no kernels for heads of 97' kernels --compile-only --head-dims 64,97
expect 2 '' "gemmark kernels: --cache-type: cache type 'f17' is unknown*" kernels --compile-only --cache-type f17
expect 2 '' 'gemmark kernels: --source: there is no kernels/cuda/attend.cu*' kernels --compile-only --source norm,attend
expect 2 '' 'gemmark eval: snapkv *63*: the budget includes the window of 64*' eval --snapkv 63
expect 2 '' 'gemmark bench: snapkv *even*' bench --snapkv off,even
sampled=(eval -m m --tokens 1 --generate 3)
expect 2 '' 'gemmark eval: --temp: nothing is generated; add --generate N' eval -m m --tokens 1 --temp 1
expect 2 '' 'gemmark eval: --stop-token: nothing is generated; add --generate N' eval -m m --tokens 1 --stop-token 1
expect 2 '' "gemmark eval: --stop-token: '-1' is not a whole number from 0 *" "${sampled[@]}" --stop-token -1
expect 2 '' 'gemmark eval: --top-k: at temperature 0 *' "${sampled[@]}" --top-k 4
expect 2 '' 'gemmark eval: --sampling-seed: at temperature 0 *' "${sampled[@]}" --temp 0 --sampling-seed 4
expect 2 '' "gemmark eval: --generate: '0' is not a whole number from 1 *" "${sampled[@]}" --generate 0
expect 2 '' 'gemmark eval: --temp: a temperature of -1: *' "${sampled[@]}" --temp -1
expect 2 '' 'gemmark eval: --temp: a temperature of nan: *' "${sampled[@]}" --temp nan
expect 2 '' "gemmark eval: --temp: '1x' is not a number" "${sampled[@]}" --temp 1x
expect 2 '' "gemmark eval: --top-k: '-1' is not a whole number *" "${sampled[@]}" --top-k -1
expect 2 '' 'gemmark eval: --top-p: a top-p of 1.5: *' "${sampled[@]}" --top-p 1.5
expect 2 '' 'gemmark eval: --min-p: a min-p of -0.1: *' "${sampled[@]}" --min-p -0.1
expect 2 '' "gemmark eval: --min-p: ' 1' is not a number" "${sampled[@]}" --min-p ' 1'
expect 2 '' "gemmark eval: --sampling-seed: '-1' is not *" "${sampled[@]}" --sampling-seed -1
expect 2 '' "gemmark eval: --sampling-seed: '18446744073709551616' is not *" "${sampled[@]}" --sampling-seed 18446744073709551616

message=$("$gemmark" --help 2>&1 >/dev/full)
code=$?
if [ $code -ne 2 ] || [[ "$message" != "gemmark: cannot write to standard output: "*"; free space or write elsewhere"* ]]; then
  echo "a full disk: exit code $code, '$message'"
  failures=$((failures + 1))
fi
message=$("$gemmark" --help 2>&1 >&-)
code=$?
if [ $code -ne 2 ] || [[ "$message" != "gemmark: cannot write to standard output: "* ]]; then
  echo "standard output closed: exit code $code, '$message'"
  failures=$((failures + 1))
fi
# A verdict that was not written is none: whatever it was, exit code 2.
small=$(mktemp -d)
tiny=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/golden/qwen3-tiny.q8_0.gguf
for side in a b; do
  "$gemmark" bench -m "$tiny" -ngl 0 -t 1 -p 0 -n 4 -r 3 --mode direct --telemetry 0 --out "$small/$side" \
    >/dev/null 2>&1
done
export XDG_STATE_HOME=$small/state
expect 3 '*cannot tell*' '' compare "$small/a" "$small/b"
for format in table md csv json; do
  message=$("$gemmark" compare "$small/a" "$small/b" -o $format 2>&1 >/dev/full)
  code=$?
  if [ $code -ne 2 ] || [[ "$message" != "gemmark: cannot write to standard output: "* ]]; then
    echo "compare -o $format, a full disk: exit code $code, '$message'"
    failures=$((failures + 1))
  fi
done

# What cannot go on, and why.
expect 2 '' 'gemmark bench: --resume: beside it stands nothing, or all options of the sweep*' bench --resume "$small/a" -o md
rm "$small/a/env.json" "$small/a/sweep.json"
expect 2 '' 'gemmark bench: --resume: *has no env.json: *remove the folder and measure again*' bench --resume "$small/a"
expect 2 '' 'gemmark bench: --resume: *is this the directory of a sweep?' bench --resume "$small"
expect 2 '' 'gemmark bench: *not empty*--resume' bench -m "$tiny" -ngl 0 --out "$small/b"
rm -rf "$small"

# A reader that has gone away is no error. The reader ends before the writer starts.
message=$( { { sleep 0.2; "$gemmark" --help; echo $? >&3; } | true; } 3>&1 2>&1)
if [ "$message" != 0 ]; then
  echo "a closed pipe: '$message'"
  failures=$((failures + 1))
fi

# Nobody reads what is generated: then it ends, long before all of it is there.
long=(eval -m "$tiny" --tokens '1,2,3' -ngl 0 -t 1 --generate 500000)
for mode in direct graph-loop; do
  message=$(timeout 20 "$gemmark" "${long[@]}" --mode $mode 2>&1 >/dev/full)
  code=$?
  if [ $code -ne 2 ] || [[ "$message" != *"gemmark: cannot write to standard output: "* ]]; then
    echo "generating in $mode to a full disk: exit code $code, '$message'"
    failures=$((failures + 1))
  fi
  message=$( { { timeout 20 "$gemmark" "${long[@]}" --mode $mode 2>/dev/null; echo $? >&3; } | head -n 1; } 3>&1)
  if [[ "$message" != *'tokens '*0 && "$message" != 0*'tokens '* ]]; then
    echo "generating in $mode into a closed pipe: '$message'"
    failures=$((failures + 1))
  fi
done

# A mixture of types, of which attention's matrices have two in some layers.
small=$(mktemp -d)
"$gemmark" model make --arch qwen3-tiny --type q4_k_m --seed 1 -o "$small/mixed.gguf" >/dev/null
expect 0 '*' '' eval -m "$small/mixed.gguf" --tokens 1,2,3 -ngl 0 --fusion persistent --generate 4
full=$("$gemmark" eval -m "$small/mixed.gguf" --tokens 1,2,3 -ngl 0 --fusion full --generate 4)
persistent=$("$gemmark" eval -m "$small/mixed.gguf" --tokens 1,2,3 -ngl 0 --fusion persistent --generate 4)
if [ "$full" != "$persistent" ]; then
  echo "a mixture of types is decoded otherwise as one kernel a token: '$persistent', not '$full'"
  failures=$((failures + 1))
fi
rm -rf "$small"

# Logits to a pipe and to a device: as to a file, and the device is still one afterwards.
temp=$(mktemp -d)
tiny=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/golden/qwen3-tiny.q8_0.gguf
mkfifo "$temp/pipe"
ln -s /dev/full "$temp/full"
cat "$temp/pipe" >"$temp/piped.f32" &
"$gemmark" eval -m "$tiny" --tokens 1,2,3 -ngl 0 -o "$temp/pipe" >"$temp/log" 2>&1 || cat "$temp/log"
wait
"$gemmark" eval -m "$tiny" --tokens 1,2,3 -ngl 0 -o "$temp/file.f32" >"$temp/log" 2>&1 || cat "$temp/log"
if ! [ -p "$temp/pipe" ] || ! [ -s "$temp/file.f32" ] || ! cmp "$temp/piped.f32" "$temp/file.f32"; then
  echo "logits to a pipe differ from those to a file"
  failures=$((failures + 1))
fi
expect 2 '*' '*full: No space left on device*' eval -m "$tiny" --tokens 1,2,3 -ngl 0 -o "$temp/full"
if ! [ -c "$temp/full" ]; then
  echo "a device that logits were written to is none any more"
  failures=$((failures + 1))
fi

# A model of another architecture, its keys renamed with it.
LC_ALL=C sed 's/gemma3/gemma9/g' "$(dirname "${BASH_SOURCE[0]}")/../../golden/gemma3-tiny.q8_0.gguf" >"$temp/other.gguf"
for command in 'eval --tokens 1' 'model show' 'bench'; do
  read -ra words <<<"$command"
  [ "$command" = 'model show' ] || words+=(-m)
  expect 2 '' "gemmark ${command%% --*}: $temp/other.gguf: the architecture 'gemma9' is not supported; gemma4, gemma3 and qwen3*" \
    "${words[@]}" "$temp/other.gguf"
done
rm -rf "$temp"

[ $failures -eq 0 ] || exit 1
echo "cli: all as expected"
