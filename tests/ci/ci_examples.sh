#!/usr/bin/env bash
# Do the examples in ci/examples pass their linters, keep what untrusted code can do small, and do what they say? Their
# scripts are run here, with GitHub, GitLab and the measurement played by stubs. Faults planted in copies must be found.
# Exit code 77 (skipped) where the linters are not there and cannot be fetched.
#
#   tests/ci/ci_examples.sh [BUILD]    BUILD: where the linters are kept (default: build)
# shellcheck disable=SC2015,SC2016 # conditions in a row; text of other scripts
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
here=$root/tests/ci examples=$root/ci/examples
build=${1:-$root/build}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0
bad() { echo "ci_examples: $*"; failures=$((failures + 1)); }
for tool in shellcheck jq unzip zip dash; do
  command -v $tool >/dev/null || { echo "ci_examples: $tool is missing; ci/setup.sh installs it"; exit 1; }
done

linters=$build/linters-$(cksum <"$here/requirements.txt" | cut -d ' ' -f 1)
if [ ! -d "$linters" ]; then
  rm -rf "$linters.part"
  # With no environment of Python's own (--target), the folder can be moved.
  if ! python3 -m pip install --quiet --disable-pip-version-check --root-user-action ignore --no-deps --only-binary :all: \
    --require-hashes --target "$linters.part" -r "$here/requirements.txt" >"$work/pip" 2>&1; then
    ! grep -q 'DO NOT MATCH' "$work/pip" || { cat "$work/pip"; exit 1; }
    echo "skipped: the linters could not be fetched: $(tail -n 1 "$work/pip")"
    exit 77
  fi
  mv "$linters.part" "$linters"
fi
export PYTHONPATH=$linters PYTHONDONTWRITEBYTECODE=1
properties() { python3 "$here/ci_examples.py" check "$1"; }
script() { python3 "$here/ci_examples.py" script "$@"; }
schema() {
  local options=(--builtin-schema vendor.github-workflows)
  [[ $1 != *gitlab* ]] || options=(--builtin-schema vendor.gitlab-ci --data-transform gitlab-ci)
  python3 -m check_jsonschema "${options[@]}" "$1"
}
audit() { "$linters/bin/zizmor" --offline --no-progress --quiet "$1"; }
actions() { "$linters/bin/actionlint" -ignore 'label "gpu" is unknown' "$1"; }
# The least version that the manifests are meant for, and the newest that the schemas are of.
kubernetes() {
  local version
  for version in 1.28 1.37; do
    python3 -m kubernetes_validate --strict --quiet -k "$version" "$1" || return 1
  done
  python3 "$here/ci_examples.py" kubernetes "$1"
}
lint() { # FILE
  schema "$1" && properties "$1" || return 1
  [[ $1 != *gitlab* ]] || return 0
  audit "$1" || return 1
  actions "$1"
}

# ---- linters ----

benchmark=$examples/github/benchmark.yml comment=$examples/github/comment.yml gitlab=$examples/gitlab/.gitlab-ci.yml
for file in "$benchmark" "$comment" "$gitlab"; do
  lint "$file" >"$work/said" 2>&1 || { bad "$file:"; cat "$work/said"; }
done
script "$benchmark" measure 'Set up' >"$work/setup.bash"
script "$benchmark" measure Compare >"$work/compare.bash"
script "$benchmark" gate Judge >"$work/gate.bash"
script "$comment" comment Comment >"$work/comment.bash"
script "$gitlab" gemmark script >"$work/gitlab.bash"
script "$gitlab" 'gemmark note' script >"$work/note.sh"
shellcheck -s bash "$work"/*.bash || failures=$((failures + 1))
shellcheck -s dash "$work/note.sh" || failures=$((failures + 1))
shellcheck "$examples/pre-push" "$here/ci_examples.sh" || failures=$((failures + 1))
# With the parts that it reads; fail does not return (SC2015).
(cd "$root" && shellcheck -x -a -e SC2015 ci/compare-commits.sh) || failures=$((failures + 1))

# planted FILE SED LINTER PATTERN: a copy with that edit must be refused by that linter, in those words
planted() {
  local copy
  copy=$work/planted/$(basename "$(dirname "$1")")/$(basename "$1")
  mkdir -p "$(dirname "$copy")"
  sed "$2" "$1" >"$copy"
  ! cmp -s "$1" "$copy" || bad "planted '$2': changed nothing"
  if "$3" "$copy" >"$work/said" 2>&1; then
    bad "planted '$2': $3 finds nothing"
  elif ! grep -q -- "$4" "$work/said"; then
    bad "planted '$2': $3 says something else than '$4':" && cat "$work/said"
  fi
}
planted "$benchmark" 's/^    runs-on: ubuntu/    run-on: ubuntu/' schema 'run-on'
planted "$benchmark" '/^permissions:/{N;s/.*/permissions: write-all/}' properties 'contents: read'
planted "$benchmark" '/^permissions:/{N;s/.*/permissions: write-all/}' audit 'excessive-permissions'
planted "$benchmark" 's/^  pull_request:/  pull_request_target:/' properties 'something else than pull_request'
planted "$benchmark" 's/github\.token/secrets.TOKEN/' properties 'names secrets'
planted "$benchmark" 's/persist-credentials: false/persist-credentials: true/' properties 'leaves the token'
planted "$benchmark" 's/from=.*/from=${{ github.head_ref }}/' properties 'an expression in a script'
planted "$benchmark" 's/from=.*/from=${{ github.head_ref }}/' audit 'template-injection'
planted "$benchmark" 's/checkout@[0-9a-f]*/checkout@v6/' properties 'not pinned'
planted "$benchmark" 's/steps\.compare\.outputs/steps.compared.outputs/' actions '"compared" is not defined'
planted "$benchmark" 's/^    if: always()/    if: success()/' properties 'gate: does not always run'
planted "$comment" 's|^    steps:|&\n      - uses: actions/checkout@8e8c483db84b4bee98b60c0593521ed34d9990e8|' properties 'check out nothing'
planted "$comment" 's/^ *gh api .*report\.zip$/&\n          unzip report.zip\n          bash run.sh/' properties 'runs bash'
planted "$comment" 's/^ *gh api .*report\.zip$/&\n          unzip report.zip/' properties 'unpacks more'
planted "$comment" 's/^      actions: read/      contents: write/' properties 'permissions are not'
planted "$comment" 's/select(.head.sha == $sha) | //' properties 'whose head was measured'
planted "$comment" 's/ # zizmor: ignore.*//' audit 'dangerous-triggers'
planted "$gitlab" 's/^  stage: report/  stag: report/' schema 'stag'
planted "$gitlab" 's/exit_codes: \[3\]/exit_codes: [1, 3]/' properties 'other exit codes'
planted "$gitlab" 's/\$CI_PIPELINE_SOURCE == "schedule" && //' properties 'runs elsewhere'
planted "$gitlab" 's/GIT_STRATEGY: none/GIT_STRATEGY: fetch/' properties 'checks out code'

manifest=$examples/kubernetes/sweep.yaml
for file in "$manifest" "$examples/kubernetes/merge.yaml"; do
  kubernetes "$file" >"$work/said" 2>&1 || { bad "$file:"; cat "$work/said"; }
done
planted "$manifest" 's/completionMode: Indexed/completionMod: Indexed/' kubernetes 'completionMod'
planted "$manifest" 's/completions: 4/completions: many/' kubernetes 'many'
planted "$manifest" 's/completionMode: Indexed/completionMode: NonIndexed/' kubernetes 'no index'
planted "$manifest" 's/runAsNonRoot: true/runAsNonRoot: false/' kubernetes 'runs as root'
planted "$manifest" 's/runAsUser: 1000/runAsUser: 0/' kubernetes 'runs as root'
planted "$manifest" 's/value: "4"/value: "5"/' kubernetes 'completions'
planted "$manifest" '/nvidia.com/d' kubernetes 'no GPU'

# ---- what the scripts do ----

bin=$work/bin
mkdir -p "$bin"
stub() { # NAME, its script from standard input
  { echo '#!/usr/bin/env bash'; cat; } >"$bin/$1"
  chmod +x "$bin/$1"
}
stub nvidia-smi <<<'echo GPU'
fresh() { rm -rf "$work/run" && mkdir -p "$work/run" && cd "$work/run"; }
in_run() { PATH=$bin:$PATH "$@" >out 2>&1; }
# wants NAME CODE FILE PATTERN: how the last run ended, and what is in a file of it
ended=0
wants() {
  [ "$ended" -eq "$2" ] || { bad "$1: exit code $ended, expected $2"; cat out; }
  grep -q -- "$4" "$3" || { bad "$1: $3 has no '$4'"; cat out "$3"; }
}
lacks() { ! grep -q -- "$3" "$2" || { bad "$1: $2 has '$3'"; cat "$2"; }; }

# A repository whose ci/compare-commits.sh ends as $FAKE_CODE says, and leaves what it was called with.
repo=$work/repo
(
  mkdir -p "$repo/ci" "$repo/engine" && cd "$repo"
  cat >ci/compare-commits.sh <<'FAKE'
#!/usr/bin/env bash
echo "called: $*"
[ -z "${FAKE_LOG:-}" ] || echo "$*" >>"$FAKE_LOG"
[ -z "${FAKE_SLEEP:-}" ] || sleep "$FAKE_SLEEP"
while [ $# -gt 0 ]; do [ "$1" != --out ] || out=$2; shift; done
mkdir -p "$out"
case $FAKE_CODE in 0 | 1 | 3) for f in report.md compare.json compare.txt; do echo "the $f" >"$out/$f"; done ;; esac
exit "$FAKE_CODE"
FAKE
  echo 'exit 0' >ci/setup.sh
  chmod +x ci/*.sh
  git init --quiet --initial-branch main
  git config user.name Test && git config user.email test@example.org
  git add -A && git commit --quiet -m base
  git checkout --quiet -b topic
  echo 1 >engine/changed && git add -A && git commit --quiet -m head
  git checkout --quiet main
  mkdir -p engine && echo 2 >engine/later && git add -A && git commit --quiet -m later
)
fork=$(git -C "$repo" rev-parse main~1) main=$(git -C "$repo" rev-parse main) topic=$(git -C "$repo" rev-parse topic)
unset GEMMARK_SKIP GEMMARK_SECONDS GEMMARK_MODEL GEMMARK_INCONCLUSIVE_FAILS

measure_github() { # CODE
  fresh && git clone --quiet "$repo" . && mkdir temp && ended=0
  export BASE_SHA=$main HEAD_SHA=$topic PR_NUMBER=7 RUNNER_TEMP=$PWD/temp GITHUB_ENV=$PWD/env GITHUB_OUTPUT=$PWD/output
  FAKE_CODE=$1 in_run bash -c "bash '$work/setup.bash' && bash '$work/compare.bash'" || ended=$?
}
for code in 0 1 3 4 2; do
  measure_github $code
  wants "measure $code" 0 output "^code=$code$"
  wants "measure $code" 0 temp/result/exit-code "^$code$"
  wants "measure $code" 0 temp/result/log.txt "called: $fork $topic "
done
wants 'measure' 0 temp/result/pr-number '^7$'

stub gh <<'GH'
echo "$*" >>calls
case "$*" in
  *"--method POST"* | *"--method PATCH"*) cp body.json "$PLAYED/body.json"; echo "$*" >"$PLAYED/written"; echo '{"html_url": "there"}' ;;
  */comments*" --jq "*) jq -r "${*: -1}" "$PLAYED/comments.json" ;;
  */comments*) cat "$PLAYED/comments.json" ;;
  *pulls/7) cat "$PLAYED/pull.json" ;;
  *pulls*) cat "$PLAYED/pulls.json" ;;
  *artifacts\?*) cat "$PLAYED/artifacts.json" ;;
  */zip) cat "$PLAYED/report.zip" ;;
  *) echo "gh: not played: $*" >&2; exit 1 ;;
esac
GH
gate() { # CODE LABEL BODY COMMENTS
  fresh && mkdir result played && echo "the report" >result/report.md && ended=0
  [ "$1" != 4 ] || { rm result/report.md && echo "other results" >result/log.txt; }
  jq -n --arg name "$2" --arg body "$3" '{labels: [{name: $name}], body: $body}' >played/pull.json
  echo "$4" >played/comments.json
  export PLAYED=$PWD/played GITHUB_REPOSITORY=o/r PR_NUMBER=7 GITHUB_STEP_SUMMARY=$PWD/summary GH_TOKEN=x
  CODE=$1 in_run bash "$work/gate.bash" || ended=$?
}
label=performance-regression-accepted
gate 0 x '' '[]'
wants 'gate 0' 0 report/report.md 'no regression'
gate 1 x 'perf-accept: no label' '[]'
wants 'gate 1' 1 report/report.md 'a regression\*\*'
gate 1 $label '' '[]'
wants 'gate, label alone' 1 out 'needs a line'
gate 1 $label $'Some text\r\nperf-accept: needed for @all <b>correct</b> results\r\n' '[]'
wants 'gate, reason in the description' 0 report/report.md 'accepted: needed for all bcorrect/b results\*\*'
gate 1 $label '' '[{"author_association": "NONE", "body": "perf-accept: outsider"}]'
wants "gate, an outsider's reason" 1 out 'needs a line'
gate 1 $label 'perf-accept: older' '[{"author_association": "MEMBER", "body": "perf-accept: first"},
  {"author_association": "OWNER", "body": "so\nperf-accept: second"}, {"author_association": "NONE", "body": "perf-accept: third"}]'
wants 'gate, the latest reason' 0 report/report.md 'accepted: second\*\*'
gate 4 $label 'perf-accept: all is well' '[]'
wants 'gate 4 with label' 1 report/report.md 'other results'
gate 3 x '' '[]'
wants 'gate 3' 0 out '::notice::cannot tell'
INCONCLUSIVE_FAILS=true gate 3 x '' '[]'
wants 'gate 3, strict' 1 out '::error::cannot tell'
gate '' x '' '[]'
wants 'gate, not measured' 1 out 'not measured (exit code none)'
gate $'0\n::error::forged' x '' '[]'
wants 'gate, forged code' 1 out 'not measured (exit code none)'
lacks 'gate, forged code' out '::error::forged'

comment() { # HEAD_OF_PR COMMENTS, report.md from standard input
  fresh && ended=0 && export PLAYED=$PWD/played
  mkdir played report && cat >report/report.md
  echo 99 >report/pr-number
  echo 'touch ran' >report/run.sh
  (cd report && zip -q ../played/report.zip ./*)
  jq -n --arg sha "$1" '[{number: 7, head: {sha: $sha}}]' >played/pulls.json
  echo '{"artifacts": [{"id": 1, "name": "gemmark-report", "expired": true, "size_in_bytes": 9},
    {"id": 2, "name": "gemmark-report", "expired": false, "size_in_bytes": 900}]}' >played/artifacts.json
  echo "$2" >played/comments.json
  export HEAD_SHA=$topic HEAD_OWNER=someone HEAD_BRANCH='a"; touch ran; "' RUN_ID=5 RUN_URL=https://run GITHUB_REPOSITORY=o/r
  TMPDIR=$PWD in_run bash "$work/comment.bash" || ended=$?
  [ ! -f played/body.json ] || jq -r .body played/body.json >body
  [ -z "$(find . -name ran)" ] || bad "comment: something of the artefact or the event was run"
}
comment "$topic" '[]' <<<$'Slower. @team <!-- other-marker -->\e[1m'
wants 'comment, first' 0 played/written 'POST repos/o/r/issues/7/comments'
wants 'comment, first' 0 body 'Slower. &#64;team &lt;!-- other-marker'
[ "$(head -n 1 body)" = '<!-- gemmark-report -->' ] || bad "comment: does not start with its marker"
lacks 'comment, first' body $'\e'
theirs='{"id": 40, "user": {"login": "somebody"}, "body": "<!-- gemmark-report -->\nmine"}'
other='{"id": 41, "user": {"login": "github-actions[bot]"}, "body": "of another workflow <!-- gemmark-report -->"}'
ours='{"id": 42, "user": {"login": "github-actions[bot]"}, "body": "<!-- gemmark-report -->\nold"}'
comment "$topic" "[$theirs, $other]" <<<'New.'
wants 'comment, markers of others' 0 played/written 'POST repos/o/r/issues/7/comments'
comment "$topic" "[$theirs, $other, $ours]" <<<'New.'
wants 'comment, again' 0 played/written 'PATCH repos/o/r/issues/comments/42'
comment "$main" '[]' <<<'Old.'
wants 'comment, the head moved on' 0 out 'no open pull request has the head'
[ ! -f played/written ] || bad "comment: written though the head has moved on"
comment "$topic" '[]' < <(head -c 65500 /dev/zero | tr '\0' x)
wants 'comment, too long' 0 body 'too long for a comment'
comment "$topic" '[]' < <(for _ in $(seq 40000); do printf 'é'; done)
wants 'comment, characters and not bytes' 0 body 'éé'

measure_gitlab() { # CODE LABELS DESCRIPTION
  fresh && git clone --quiet "$repo" . && ended=0
  FAKE_CODE=$1 CI_MERGE_REQUEST_LABELS=$2 CI_MERGE_REQUEST_DESCRIPTION=$3 CI_MERGE_REQUEST_DIFF_BASE_SHA=$fork \
    CI_COMMIT_SHA=$topic CI_MERGE_REQUEST_IID=7 in_run bash "$work/gitlab.bash" || ended=$?
}
for code in 0 1 3 4 2; do
  measure_gitlab $code '' ''
  wants "GitLab $code" $code result/exit-code "^$code$"
  wants "GitLab $code" $code result/log.txt "called: $fork $topic "
done
measure_gitlab 1 "x,$label" 'no reason'
wants 'GitLab, label alone' 1 out 'needs a line'
measure_gitlab 1 "x,$label" $'Text\nperf-accept: correct at last'
wants 'GitLab, accepted' 0 result/report.md 'a regression, accepted: correct at last\*\*'
measure_gitlab 4 $label 'perf-accept: correct at last'
wants 'GitLab 4 with label' 4 result/report.md 'other results'
GEMMARK_INCONCLUSIVE_FAILS=true measure_gitlab 3 '' ''
wants 'GitLab 3, strict' 1 out 'cannot tell'

stub curl <<'CURL'
url='' request=GET data=
while [ $# -gt 0 ]; do
  case $1 in
    --request) request=$2; shift ;;
    --data) data=${2#@}; shift ;;
    --header | --max-time | --max-filesize) shift ;;
    http*) url=$1 ;;
  esac
  shift
done
[ "$request" = GET ] || { cp "$data" "$PLAYED/body.json"; echo "$request $url" >>"$PLAYED/written"; exit 0; }
case $url in
  *page=[2-9]*) echo '[]' ;;
  */user) echo '{"id": 5}' ;;
  */merge_requests\?*) jq -n --arg sha "$PLAYED_HEAD" '[{iid: 7, sha: $sha}]' ;;
  */merge_requests/7/pipelines*) jq -n --arg sha "$PLAYED_SHA" '[{id: 70, sha: $sha, project_id: 3, source: "merge_request_event"},
    {id: 71, sha: $sha, project_id: 4, source: "merge_request_event"}]' ;;
  */pipelines/70/jobs*) echo '[{"id": 700, "name": "gemmark", "artifacts_file": {}, "finished_at": "then"}]' ;;
  */jobs/700/artifacts/result/report.md) cat "$PLAYED/report.md" ;;
  */notes*) [ ! -f "$PLAYED/no-notes" ] || exit 22; cat "$PLAYED/notes.json" ;;
  *) echo "curl: not played: $url" >&2; exit 22 ;;
esac
CURL
note() { # HEAD NOTES [no-notes], report.md from standard input
  fresh && ended=0 && export PLAYED=$PWD/played
  mkdir played && cat >played/report.md
  echo "$2" >played/notes.json
  [ -z "${3:-}" ] || : >"played/$3"
  PLAYED_HEAD=$1 PLAYED_SHA=$topic CI_API_V4_URL=https://api CI_PROJECT_ID=3 CI_PROJECT_URL=https://project \
    GEMMARK_NOTE_TOKEN=x TMPDIR=$PWD in_run dash "$work/note.sh" || ended=$?
  [ ! -f played/body.json ] || jq -r .body played/body.json >body
}
note "$topic" '[]' <<<$'Slower. @team <!-- other -->\n/merge\n  /close'
wants 'note, first' 0 played/written 'POST https://api/projects/3/merge_requests/7/notes$'
wants 'note, first' 0 body 'Slower. &#64;team &lt;!-- other'
wants 'note, first' 0 body '^&#47;merge$'
lacks 'note, first' body '^ */'
cp played/body.json "$work/body.json"
jq '[{id: 1, author: {id: 6}, body: "<!-- gemmark-report -->\nx"}, {id: 2, author: {id: 5}, body: .body}]' "$work/body.json" >"$work/notes.json"
note "$topic" "$(cat "$work/notes.json")" <<<'Faster.'
wants 'note, again' 0 played/written 'PUT https://api/projects/3/merge_requests/7/notes/2$'
note "$topic" "$(cat "$work/notes.json")" <<<$'Slower. @team <!-- other -->\n/merge\n  /close'
[ ! -f played/written ] || bad "note: written though it says nothing new"
note "$main" '[]' <<<'Old.'
[ ! -f played/written ] || bad "note: written though the head has moved on"
note "$topic" '[]' no-notes <<<'Slower.'
[ ! -f played/written ] && [ "$ended" -ne 0 ] || bad "note: added though the others cannot be listed"
note "$topic" '[]' < <(head -c 65536 /dev/zero | tr '\0' x)
wants 'note, too long' 0 body 'too long for a note'

# push NAME CODE [VARIABLE=VALUE...]: the topic, to a remote that has its start
push() {
  fresh && git clone --quiet --bare "$repo" remote.git && git -C remote.git update-ref refs/heads/topic "$fork" && ended=0
  git clone --quiet "$repo" clone && git -C clone remote set-url origin "$PWD/remote.git"
  cp "$examples/pre-push" clone/.git/hooks/pre-push
  git -C clone fetch --quiet origin && git -C clone branch --quiet topic "$topic" 2>/dev/null || true
  env FAKE_CODE="$1" FAKE_LOG="$PWD/called" TMPDIR="$PWD" "${@:2}" git -C clone push origin "$topic:refs/heads/topic" >out 2>&1 || ended=$?
  : >>called
}
for code in 1 4; do
  push $code
  wants "push $code" 1 out "is not pushed: exit code $code"
  wants "push $code" 1 called "^$fork $topic --screen "
done
for code in 0 2 3 130; do
  push $code
  wants "push $code" 0 called "^$fork $topic --screen "
  [ "$(git -C remote.git rev-parse topic)" = "$topic" ] || bad "push $code: not pushed"
done
push 1 GEMMARK_SKIP=1
wants 'push, skipped' 0 out 'skipped'
[ ! -s called ] || bad "push, skipped: measured all the same"
push 1 GEMMARK_SECONDS=4 FAKE_SLEEP=20
wants 'push, too slow' 0 out 'not done in [1-4] s'
cd "$work"

# ---- Kubernetes: a pod that starts, is killed, and comes back on the same node or another ----

python3 "$here/ci_examples.py" pod "$manifest" >"$work/pod.sh"
stub gemmark <<'FAKE'
echo "called: $*"
[ "$2" != --resume ] || exit 0
while [ $# -gt 1 ]; do [ "$1" != --out ] || mkdir "$2"; shift; done
[ -n "${FAKE_EARLY:-}" ] || touch "$1/env.json"
FAKE
pod() { # NODE
  ended=0
  in_run env JOB_COMPLETION_INDEX=1 SHARDS=4 RESULTS="$PWD/results" NODE="$1" ${2:+"$2"} dash "$work/pod.sh" || ended=$?
}
fresh
mkdir results
asked='-m /models/model.gguf -p 0 -n 64 -d 0-16384+4096 -r 12 --shard 2/4 --out'
pod one FAKE_EARLY=1
wants 'pod, killed before its first run' 0 out "called: bench $asked $PWD/results/shard-2\$"
pod one
wants 'pod, from the beginning' 0 out "called: bench $asked"
pod one
wants 'pod, going on' 0 out "called: bench --resume $PWD/results/shard-2\$"
pod two
wants 'pod, on another node' 0 out "called: bench $asked"
[ -e "$(echo results/set-aside/shard-2-*)/shard-2/env.json" ] || bad "pod, on another node: what was there is gone"
[ "$(cat results/shard-2.node)" = two ] || bad "pod, on another node: does not say which"
cd "$work"

[ "$failures" -eq 0 ] || exit 1
echo "ci_examples: all cases as expected"
