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
here=$(cd "$(dirname "$0")" && pwd)
asked() { # FILE DEFAULT
  if [ -e "$here/$1" ]; then echo "$(<"$here/$1")"; else echo "$2"; fi
}
# NAME ARGUMENT...: the value of the last such option
value_of() {
  local name=$1 value=''
  shift
  while [ $# -gt 0 ]; do
    case $1 in
      "$name") value=${2:-} ;;
      "$name"=*) value=${1#*=} ;;
    esac
    shift
  done
  echo "$value"
}
command=$1
case $command in
  eval)
    "$FAKE/real" "$@"
    read -r offset hex mode <<<"$(asked bits '0 - none')"
    if [ "$mode" = all ] || [ "$mode" = "$(value_of --mode "$@")" ]; then
      # shellcheck disable=SC2001 # & is not the shell's
      printf '%b' "$(sed 's/../\\x&/g' <<<"$hex")" |
        dd of="$(value_of -o "$@")" bs=1 seek="$offset" conv=notrunc status=none
    fi
    read -r word least <<<"$(asked wrong '- 0')"
    if [[ " $* " == *" $word "* ]]; then
      ids=$(value_of --tokens "$@")
      [ ! -f "$ids" ] || ids=$(<"$ids")
      if [ "$(grep -o '[0-9][0-9]*' <<<"$ids" | wc -l)" -gt "$least" ]; then
        out=$(value_of -o "$@")
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
    [ ! -e "$here/seconds" ] || sleep "$(asked seconds 0)"
    out=$(value_of --out "$@")
    mkdir "$out"
    cp "$FAKE"/template/{env,sweep}.json "$FAKE"/template/{tokens,telemetry}.csv "$out"
    read -r slow percent <<<"$(asked slow 'none 0')"
    awk -v slow="$slow" -v percent="$percent" -v noise="$(asked noise 0.1)" \
      -v launches="$(asked launches 1)" -v modes=",$(value_of --mode "$@")," -v seed="$(cksum <<<"${out: -8}" | cut -d ' ' -f 1)" -f "$FAKE/csv.awk" -f <(cat <<'AWK'
        # Lehmer's generator: the same numbers by every awk.
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
AWK
      ) "$FAKE/template/runs.csv" >"$out/runs.csv"
    [ "$(asked code 0)" -eq 0 ] || echo "gemmark bench: it went wrong"
    exit "$(asked code 0)"
    ;;
  *) exec "$FAKE/real" "$@" ;;
esac
