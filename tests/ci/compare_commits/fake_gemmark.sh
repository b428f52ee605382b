#!/usr/bin/env bash
# A gemmark whose sweeps take no time: for ci/compare-commits.sh, whose test gives each side one. `bench` copies the
# results directory $FAKE/template, less the modes that are not asked for, with latencies of its own making; all else is
# the real program's. What a side is made to do is in files of the folder that this program is in:
#
#   slow MODE PERCENT     latencies of a mode
#   launches FACTOR       of what a token launches
#   noise PERCENT         from process to process (0.1 without the file)
#   seconds S             that a sweep takes
#   bits OFFSET HEX MODE  of the logits that eval writes in a mode (all: any), the bytes at an offset
#   wrong WORD TOKENS     another likeliest token in the last row of eval's logits, where one of its arguments is WORD and
#                         there are more tokens than that
#   code N                that bench ends with
set -euo pipefail
here=${BASH_SOURCE[0]%/*}
# What a comparison takes is mostly processes that start: these leave their answers in $REPLY.
asked() { # FILE DEFAULT
  REPLY=$2
  [ ! -e "$here/$1" ] || read -r REPLY <"$here/$1"
}
# NAME ARGUMENT...: the value of the last such option
value_of() {
  local name=$1
  REPLY=
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      "$name") REPLY=${2:-} ;;
      "$name"=*) REPLY=${1#*=} ;;
    esac
    shift
  done
}
command=$1
case $command in
  eval)
    "$FAKE/real" "$@"
    asked bits '0 - none'
    read -r offset hex mode <<<"$REPLY"
    value_of --mode "$@"
    if [ "$mode" = all ] || [ "$mode" = "$REPLY" ]; then
      value_of -o "$@"
      # shellcheck disable=SC2001 # & is not the shell's
      printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" |
        dd of="$REPLY" bs=1 seek="$offset" conv=notrunc status=none
    fi
    asked wrong '- 0'
    read -r word least <<<"$REPLY"
    if [[ " $* " == *" $word "* ]]; then
      value_of --tokens "$@"
      ids=$REPLY
      [ ! -f "$ids" ] || ids=$(<"$ids")
      if [ "$(grep -o '[0-9][0-9]*' <<<"$ids" | wc -l)" -gt "$least" ]; then
        value_of -o "$@"
        out=$REPLY
        printf '\0\0\240\102' | dd of="$out" bs=1 seek=$(($(stat -c %s "$out") - 8)) conv=notrunc status=none
      fi
    fi
    ;;
  bench)
    # Quickly, but for what it refuses.
    if [[ " $* " == *" --dry-run "* ]]; then
      [[ " $* " != *" --nope "* ]] || exec "$FAKE/real" "$@"
      exit 0
    fi
    echo "$$" >>"$FAKE/processes"
    [ ! -e "$here/seconds" ] || sleep "$(<"$here/seconds")"
    value_of --out "$@"
    out=$REPLY
    mkdir "$out"
    cp "$FAKE"/template/{env,sweep}.json "$FAKE"/template/{tokens,telemetry}.csv "$out"
    asked slow 'none 0'
    read -r slow percent <<<"$REPLY"
    asked noise 0.1
    noise=$REPLY
    asked launches 1
    launches=$REPLY
    value_of --mode "$@"
    read -r seed _ < <(cksum <<<"${out: -8}")
    awk -v slow="$slow" -v percent="$percent" -v noise="$noise" -v launches="$launches" -v modes=",$REPLY," \
      -v seed="$seed" "$(<"$FAKE/csv.awk")
"'
        # The generator of Lehmer: the same numbers by every awk.
        function draw() { return (seed = seed * 16807 % 2147483647) / 2147483647 }
        BEGIN { draw(); draw() }
        NR == 1 { csv_header($0, c); print; next }
        {
          n = csv_split($0, f)
          if (index(modes, "," f[c["mode"]] ",") == 0)
            next
          time = 100 * (1 + (draw() - 0.5) * noise / 50) * (f[c["mode"]] == slow ? 1 + percent / 100 : 1)
          f[c["itl_median_us"]] = sprintf("%.6f", time)
          f[c["api_launches_per_token"]] *= launches
          for (i = 1; i <= n; i++)
            printf "%s%s", (i > 1 ? "," : ""), (f[i] == "" ? "" : "\"" f[i] "\"")
          print ""
        }
      ' "$FAKE/template/runs.csv" >"$out/runs.csv"
    asked code 0
    [ "$REPLY" -eq 0 ] || echo "gemmark bench: it went wrong"
    exit "$REPLY"
    ;;
  *) exec "$FAKE/real" "$@" ;;
esac
