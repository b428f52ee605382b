#!/usr/bin/env bash
# Did this commit change the speed, and the results? Builds two commits, checks that they compute the same logits, runs
# fresh processes of both in turns, and compares them in pairs.
#
#   ci/compare-commits.sh BASE HEAD [options] [-- BENCH ARGUMENTS]
#   ci/compare-commits.sh BASE..HEAD ...      BASE...HEAD: from the commit where HEAD left BASE
#   ci/compare-commits.sh --dirty [BASE] ...  the working tree, with new files, against BASE (HEAD)
#   ci/compare-commits.sh --resume FOLDER     go on where it was interrupted, whatever by: builds and pairs are kept
#
# One commit twice is a test of the machine: it should find nothing.
#
# Options:
#   --model FILE         the GGUF file to measure (default: gemma4-e2b-tiny, 2.4 MB, made by base's build: it shows what
#                        code costs, not what memory does)
#   --base-build DIR, --head-build DIR
#                        a folder that holds the program, built already, in place of a commit
#   --judge FILE         the gemmark that compares (default: head's; base's where head's has no `compare`)
#   --out DIR            everything goes there; new or empty (default: build/compare/TIME-BASE-HEAD)
#   --cache DIR          keep the compiled kernels of both sides there, for later comparisons (default: in --out)
#   --pairs N            pairs before the first look; an even number (default: 4 more than the fewest that can
#                        tell anything from chance over so many cells: at the default alpha 9 for one cell, 11 for
#                        four, 13 for twelve)
#   --more N             pairs more where the first look is inconclusive; 0: one look alone (default: as many again)
#   --alpha PCT          chance of a false alarm in all of it, both looks (default 1)
#   --delta PCT          smallest change that counts (default 1)
#   --seed N             of the order (default 1)
#   --screen             a few pairs first: what moved by no more than --screen-delta in any of them is left out of
#                        the full comparison. Says what that cannot exclude
#   --screen-pairs N, --screen-delta PCT
#                        (default 6 and 5)
#   --tokens LIST|FILE   whose logits must agree (default: 24)
#   --check-depth N      tokens of the deeper look at them, behind a prompt as bench computes it: as many as the sweep
#                        reaches, N at most (default 4096)
#   --tolerance R        relative L2 distance that these may have; 0: none (default: 1e-4 where all is f32, 4e-3 with a
#                        cache or a prompt's products in f16, 3e-2 bf16 or SnapKV)
#   --allow-env-diff, --common-cells, --gate-exact LIST
#                        as for gemmark compare
#   --keep-trees         keep the work trees of the builds
#   -j N                 jobs of the builds (default: all cores)
#
# Bench arguments are those of gemmark bench, but for model and directory (default: -p 0 -n 200 -d 0,2048 -r 1 --mode
# direct,graph-device -t 1; a minute on two cores that have nothing else to do).
#
# The looks: the first after --pairs pairs. If its verdict is inconclusive, and only then, --more pairs follow, and a
# second look at all of them. Each look has half of alpha (Bonferroni), which holds whatever the first one said. Nothing
# else decides how much is measured.
#
# Exit codes: 0 same or better, 1 a regression, 2 bad usage or input, or it does not build, 3 inconclusive,
# 4 wrong results: then no time is shown; 128 and more: a signal. The folder then has report.md and report.html,
# compare.json, compare.txt, logits.txt, order.csv, and the results directories, in pairs/.
set -euo pipefail
export LC_ALL=C # numbers have points
# A git hook is told of its own repository's folders.
# shellcheck disable=SC2046 # names, one a word
unset $(git rev-parse --local-env-vars 2>/dev/null)

self=${BASH_SOURCE[0]}
root=$(cd "$(dirname "$self")/.." && pwd)
parts=$root/ci/compare-commits
# shellcheck source=ci/compare-commits/process.sh
source "$parts/process.sh"
# shellcheck source=ci/compare-commits/build.sh
source "$parts/build.sh"
# shellcheck source=ci/compare-commits/arguments.sh
source "$parts/arguments.sh"
# shellcheck source=ci/compare-commits/logits.sh
source "$parts/logits.sh"
# shellcheck source=ci/compare-commits/measure.sh
source "$parts/measure.sh"
# shellcheck source=ci/compare-commits/screen.sh
source "$parts/screen.sh"
# shellcheck source=ci/compare-commits/conclude.sh
source "$parts/conclude.sh"

# What the parts share.
declare -A program=([base]='' [head]='') build_of=([base]='' [head]='') commit_of=([base]='' [head]='')
work='' settled=''
check_prefill=8  # prompts of 9 tokens and more are multiplied by kernels of their own
check_decoded=16 # of the deeper look
check_least=32   # tokens of it: such a prompt

trap on_exit EXIT
trap 'on_signal 2' INT
trap 'on_signal 15' TERM
trap 'on_signal 1' HUP

read_arguments "$@"
open_work
find_program base
find_program head
find_judge
find_model
expand_words
try_words
plan_looks
check_logits
cat "$work/logits.txt"
[ -z "$screen" ] || screen
plan_pairs
compare_commits
