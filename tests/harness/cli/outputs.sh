#!/usr/bin/env bash
# No command writes onto what it reads, by whatever name, nor replaces a file unasked: exit code 2 before anything is
# computed, and every input as it was.
#
#   tests/harness/cli/outputs.sh GEMMARK
set -uo pipefail
gemmark=$(realpath "${1:?usage: tests/harness/cli/outputs.sh GEMMARK}")
golden=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/golden/qwen3-tiny.q8_0.gguf
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder" || exit 1
failures=0
fail() { echo "outputs: $*" >&2; failures=$((failures + 1)); }

inputs() {
  rm -rf ./*
  cp "$golden" m.gguf
  cp m.gguf z.part
  echo "2 17 4" >ids.txt
  echo "--tokens ids.txt" >words
  echo kept >kept
  echo "--arch qwen3-tiny --seed 2" >seed
  mkdir folder
  ln -s m.gguf link.gguf
  ln m.gguf hard.gguf
  ln -s nothing dangling
  sha256sum m.gguf z.part ids.txt words seed kept >"$folder.sums"
}
trap 'rm -rf "$folder" "$folder.sums"' EXIT

# expect CODE PATTERN ARGUMENT...: exit code, the one line on standard error; inputs stay, nothing unfinished does
expect() {
  local code=$1 pattern=$2 said got
  shift 2
  said=$("$gemmark" "$@" 2>&1 >stdout)
  got=$?
  # shellcheck disable=SC2053 # a pattern
  [ $got -eq "$code" ] && [[ "$said" == $pattern ]] || fail "$*: exit code $got, '$said'"
  sha256sum --check --quiet "$folder.sums" || fail "$*: an input has changed"
  [ -z "$(find . -name '*.part' ! -name z.part)" ] || fail "$*: $(find . -name '*.part') is left"
}
eval=(eval -m m.gguf --tokens ids.txt -ngl 0)

# Also with --force, and before the model is looked at: the last one is no model.
inputs
for force in "" --force; do
  expect 2 'gemmark eval: -o: m.gguf: is read, and cannot be written;*' "${eval[@]}" -o m.gguf $force
  for name in ./m.gguf link.gguf hard.gguf "$folder/m.gguf" folder/../m.gguf; do
    expect 2 "gemmark eval: -o: *: is the same file as m.gguf, which is read;*" "${eval[@]}" -o "$name" $force
  done
  expect 2 'gemmark eval: -o: ./m.gguf: is the same file as link.gguf*' eval -m link.gguf --tokens 2,3 -ngl 0 -o ./m.gguf $force
  expect 2 'gemmark eval: -o: ids.txt: is read*' eval -m kept --tokens ids.txt -o ids.txt $force
  expect 2 'gemmark eval: -o: words: is read*' eval -m kept @words -o words $force
  expect 2 'gemmark model make: -o: seed: is read*' model make @seed -o seed $force
done

# A name that the unfinished file might have is nobody's.
inputs
expect 0 '' eval -m z.part --tokens 2,3 -ngl 0 -o z
[ -s z ] || fail "z was not written"

# What exists is kept, whatever it is; with --force it is replaced, and of a link the link.
inputs
printf 'x' >old
printf 'x' >read-only
chmod 444 read-only
ln -s old to-old
make=(model make --arch qwen3-tiny)
for name in old read-only to-old dangling; do
  expect 2 "gemmark eval: -o: $name: exists; name another file, or replace it with --force" "${eval[@]}" -o "$name"
  expect 2 "gemmark model make: -o: $name: exists; *" "${make[@]}" -o "$name"
done
expect 2 'gemmark eval: -o: folder: is a folder; name a file' "${eval[@]}" -o folder --force
expect 2 'gemmark model make: -o: folder: is a folder; name a file' "${make[@]}" -o folder --force
expect 2 'gemmark eval: -o: none/x: cannot be created: No such file or directory;*' eval -m kept --tokens 2 -o none/x
[ "$(cat old read-only)" = xx ] || fail "a file was replaced"
for name in read-only to-old dangling; do
  expect 0 '' "${eval[@]}" -o "$name" --force
  [ -f "$name" ] && [ ! -L "$name" ] && [ "$(stat -c %s "$name")" -eq $((3 * 512 * 4)) ] || fail "$name is no logits: $(ls -l "$name")"
done
[ "$(cat old)" = x ] || fail "what a link names was written"
expect 0 '' "${make[@]}" -o read-only --force
expect 0 '' model show read-only

# Directories of results: new or empty, found out before the model is looked at.
inputs
touch folder/x
for command in bench "selftest --aa"; do
  # shellcheck disable=SC2086
  expect 2 "gemmark ${command%% *}: m.gguf*: *irectory*" $command -m kept -n 1 --out m.gguf
done
expect 2 'gemmark bench: folder: not empty*' bench -m kept -n 1 --out folder
mkdir -p folder/inject/A
expect 2 'gemmark selftest: folder/inject: not empty*' selftest --out folder

# A picture that is a results file by another name is replaced, and the results stay.
inputs
"$gemmark" bench -m m.gguf -ngl 0 -t 1 -p 0 -n 1 -r 1 --mode direct --telemetry 0 --out run >stdout || fail "bench"
mkdir run/plots
ln run/runs.csv run/plots/latency.dat
ln -s ../tokens.csv run/plots/latency.gp
sha256sum run/runs.csv run/tokens.csv >>"$folder.sums"
if command -v gnuplot >/dev/null; then
  expect 0 '*' plot run --format svg
fi

# A comparison replaces its file, but no results.
cp -r run again
"$gemmark" compare run again --out told >stdout 2>&1
[ -s told ] || fail "compare wrote nothing"
printf 'x' >told
for name in run/runs.csv run/tokens.csv run/env.json run/sweep.json run/telemetry.csv; do
  sha256sum "$name" >>"$folder.sums"
  ln -f "$name" same
  expect 2 "gemmark compare: --out: $name: is read*" compare run again --out "$name"
  expect 2 'gemmark compare: --out: same: is the same file as run/*' compare run again --out same
  ln -f "$name" same.md
  expect 2 'gemmark report: -o: same.md: is the same file as run/*' report run -o same.md
done
"$gemmark" compare run again --out told >stdout 2>&1
[ "$(cat told)" != x ] && [ -s told ] || fail "compare did not replace its file"

# An interrupted evaluation leaves nothing.
inputs
for _ in $(seq 20000); do echo 5; done >many.txt
"$gemmark" eval -m m.gguf --tokens many.txt -ngl 0 -t 1 --prefill 0 -o logits.f32 >stdout 2>&1 &
until [ -n "$(find . -name 'logits.f32.*.part')" ]; do sleep 0.01; done
kill -TERM $!
wait $!
got=$?
[ $got -eq 130 ] && [ "$(tail -n 1 stdout)" = 'gemmark eval: interrupted' ] || fail "interrupted: exit code $got: $(cat stdout)"
[ -z "$(find . -name 'logits.f32*')" ] || fail "interrupted: $(find . -name 'logits.f32*') is left"

[ $failures -eq 0 ] || exit 1
echo "outputs: inputs stay"
