"""Reads what bench --prometheus-file wrote as Prometheus does, and holds the names against its conventions.

    PYTHONPATH=... metrics.py FILE.prom     a sweep that was interrupted
"""
import re
import sys

from prometheus_client.parser import text_string_to_metric_families

text = open(sys.argv[1], encoding="utf-8").read()
assert text.endswith("\n"), "the last line has no end"
families = list(text_string_to_metric_families(text))
names = [f.name for f in families]
assert len(set(names)) == len(names), names
assert set(names) == {"gemmark_sweep_" + n for n in (
    "info", "state", "runs", "runs_planned", "remaining_seconds", "start_time_seconds", "update_time_seconds")}, names
for f in families:
    assert f.type == "gauge" and f.documentation, f
    assert re.fullmatch(r"[a-z_]+", f.name), f.name
    # Time has its unit in its name.
    assert ("time" in f.name or "remaining" in f.name) == f.name.endswith("_seconds"), f.name
samples = {(s.name, s.labels.get("state") or s.labels.get("status")): s for f in families for s in f.samples}
assert all(s.labels["directory"].endswith('/a "run"') for s in samples.values()), "the directory's name is not whole"
state = {label: s.value for (name, label), s in samples.items() if name == "gemmark_sweep_state"}
assert state == {"running": 0, "done": 0, "interrupted": 1, "failed": 0}, state
runs = {label: s.value for (name, label), s in samples.items() if name == "gemmark_sweep_runs"}
assert set(runs) == {"ok", "skipped", "failed", "wrong", "interrupted"} and runs["ok"] > 0, runs
planned = samples["gemmark_sweep_runs_planned", None].value
assert sum(runs.values()) <= planned, (runs, planned)
assert 0 <= samples["gemmark_sweep_update_time_seconds", None].value - \
    samples["gemmark_sweep_start_time_seconds", None].value < 600
