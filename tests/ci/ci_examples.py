#!/usr/bin/env python3
"""The examples in ci/examples: what untrusted code could do there, and their scripts.

    ci_examples.py check FILE        says what is unsafe in it, a line each; exit code 1 if something is
    ci_examples.py kubernetes FILE   the same of a Kubernetes manifest
    ci_examples.py pod FILE          the script of its Job's container, with its arguments, as a shell command
    ci_examples.py script FILE JOB STEP    a step's script, as its runner starts it (GitLab: STEP is script)
"""
import re
import shlex
import sys

from ruamel.yaml import YAML


def scalars(node):
    """Every key and value below NODE; comments are none."""
    if isinstance(node, dict):
        for key, value in node.items():
            yield str(key)
            yield from scalars(value)
    elif isinstance(node, list):
        for value in node:
            yield from scalars(value)
    elif node is not None:
        yield str(node)


def steps(workflow):
    for name, job in workflow["jobs"].items():
        for step in job.get("steps", []):
            yield name, step


def check_workflow(workflow):
    """What holds for both: nothing of the event becomes script text, and an action is one commit."""
    if workflow.get("defaults", {}).get("run", {}).get("shell") != "bash":
        yield "scripts do not run with pipefail (defaults.run.shell: bash)"
    if any(re.search(r"\bsecrets\b", text) for text in scalars(workflow)):
        yield "it names secrets"
    for job, step in steps(workflow):
        name = f"{job}: {step.get('name', '?')}"
        if "${{" in step.get("run", ""):
            yield f"{name}: an expression in a script is text that others wrote"
        if "uses" in step and not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", step["uses"]):
            yield f"{name}: {step['uses']} is not pinned to a commit"


def check_benchmark(workflow):
    yield from check_workflow(workflow)
    if list(workflow["on"]) != ["pull_request"]:
        yield "it runs on something else than pull_request"
    if workflow.get("permissions") != {"contents": "read"}:
        yield "permissions are not contents: read alone"
    for name, job in workflow["jobs"].items():
        if "permissions" in job or "environment" in job:
            yield f"{name}: has permissions or an environment of its own"
    if "cancel-in-progress" not in workflow.get("concurrency", {}):
        yield "a new push does not end the run of the one before"
    if workflow["jobs"]["measure"].get("concurrency") != {"group": "gemmark-gpu", "queue": "max"}:
        yield "measure: measurements are not one after another"
    gate = workflow["jobs"]["gate"]
    if gate.get("runs-on") != "ubuntu-latest" or gate.get("if") != "always()":
        yield "gate: does not always run, on a fresh machine"
    for job, step in steps(workflow):
        uses = step.get("uses", "")
        if uses.startswith("actions/checkout@"):
            if step.get("with", {}).get("persist-credentials") is not False:
                yield f"{job}: the checkout leaves the token on the disk"
            if job == "gate":
                yield "gate: checks out code"
        if uses.startswith("actions/upload-artifact@") and step.get("if") != "always()":
            yield f"{job}: does not always keep its results"
        if "GH_TOKEN" in step.get("env", {}) and job != "gate":
            yield f"{job}: hands the token to what the pull request says"


def check_comment(workflow):
    yield from check_workflow(workflow)
    if list(workflow["on"]) != ["workflow_run"]:
        yield "it runs on something else than workflow_run"
    if workflow.get("permissions") != {}:
        yield "the workflow has permissions, not the job alone"
    for name, job in workflow["jobs"].items():
        if job.get("permissions") != {"actions": "read", "pull-requests": "write"}:
            yield f"{name}: permissions are not actions: read and pull-requests: write"
    for job, step in steps(workflow):
        if "uses" in step:
            yield f"{job}: uses {step['uses']}: it is to check out nothing and to unpack nothing"
        script = step.get("run", "")
        for command in re.findall(r"(?:^|[|;&({]|\bthen|\bdo)\s*(git|bash|sh|source|\.|eval|exec|python3?|node|make|cmake|"
                                  r"chmod|sudo|\./\S*|ci/\S*)(?=\s)", script, re.M):
            yield f"{job}: runs {command}"
        if re.search(r"\bunzip\b(?! -p report\.zip report\.md)", script):
            yield f"{job}: unpacks more than the text of report.md"
        if "pr-number" in script or ".head.sha == $sha" not in script:
            yield f"{job}: the pull request is not the one whose head was measured"


def check_gitlab(pipeline):
    measure, note = pipeline["gemmark"], pipeline["gemmark note"]
    if any("TOKEN" in text for text in scalars(measure)):
        yield "gemmark: sees a token"
    if measure.get("allow_failure") != {"exit_codes": [3]}:
        yield "gemmark: other exit codes than 3 are allowed"
    if measure.get("artifacts", {}).get("when") != "always":
        yield "gemmark: does not always keep its results"
    if not measure.get("resource_group"):
        yield "gemmark: measurements are not one after another"
    if "$CI_MERGE_REQUEST_IID" not in measure.get("cache", {}).get("key", ""):
        yield "gemmark: merge requests share a cache"
    rules = [rule.get("if", "") for rule in note.get("rules", [])]
    wanted = ('$CI_PIPELINE_SOURCE == "schedule"', '$CI_COMMIT_REF_PROTECTED == "true"', "$GEMMARK_NOTE_TOKEN")
    if len(rules) != 1 or rules[0].split(" && ") != list(wanted):
        yield "gemmark note: runs elsewhere than in the schedule of a protected branch that has the token"
    if note.get("variables", {}).get("GIT_STRATEGY") != "none":
        yield "gemmark note: checks out code"
    if any(re.search(r"\bci/|\bgit\b|\beval\b", text) for text in note["script"]):
        yield "gemmark note: runs something of the repository"


def check_job(job):
    spec, pod = job["spec"], job["spec"]["template"]["spec"]
    name, container = job["metadata"]["name"], pod["containers"][0]
    user, limits = pod.get("securityContext", {}), container.get("resources", {}).get("limits", {})
    if not user.get("runAsNonRoot") or not user.get("runAsUser"):
        yield f"{name}: runs as root"
    if container.get("securityContext", {}).get("allowPrivilegeEscalation") is not False:
        yield f"{name}: may become root"
    if pod.get("automountServiceAccountToken") is not False:
        yield f"{name}: has a token of the cluster"
    if "JOB_COMPLETION_INDEX" not in "".join(container["command"]):
        return
    if spec.get("completionMode") != "Indexed":
        yield f"{name}: its pods have no index"
    shards = [e["value"] for e in container["env"] if e["name"] == "SHARDS"]
    if shards != [str(spec["completions"])]:
        yield f"{name}: SHARDS are not as many as completions"
    if "nvidia.com/gpu" not in limits:
        yield f"{name}: has no GPU"


def jobs(file):
    return [d for d in YAML(typ="safe").load_all(file) if d["kind"] == "Job"]


def kubernetes(path, faults):
    with open(path, encoding="utf-8") as file:
        for job in jobs(file):
            container = job["spec"]["template"]["spec"]["containers"][0]
            if faults:
                yield from check_job(job)
            else:
                yield shlex.join(container["command"] + container.get("args", []))


def main():
    if sys.argv[1] in ("kubernetes", "pod"):
        lines = list(kubernetes(sys.argv[2], sys.argv[1] == "kubernetes"))
        print("\n".join(lines))
        return 1 if lines and sys.argv[1] == "kubernetes" else 0
    yaml = YAML(typ="safe")
    with open(sys.argv[2], encoding="utf-8") as file:
        document = yaml.load(file)
    if sys.argv[1] == "script":
        job, step = sys.argv[3:]
        if step == "script":
            print("set -e\n" + "\n".join(document[job]["script"]))
        else:
            print("set -eo pipefail\n" + next(s["run"] for s in document["jobs"][job]["steps"] if s.get("name") == step))
        return 0
    if "gemmark note" in document:
        faults = list(check_gitlab(document))
    elif "workflow_run" in document["on"]:
        faults = list(check_comment(document))
    else:
        faults = list(check_benchmark(document))
    for fault in faults:
        print(f"{sys.argv[2]}: {fault}")
    return 1 if faults else 0


sys.exit(main())
