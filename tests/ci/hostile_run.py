#!/usr/bin/env python3
"""A copy of a run directory in which every text says something that wants to be markup.

    tests/ci/hostile_run.py FROM TO
"""
import csv
import json
import os
import shutil
import sys

TEXT = "</script><img src=x onerror=alert(1)>|`$(touch pwned)`\n```mermaid\ngraph TD\n``` @you #1 :tada: $x$ \u202ewww.a.b"
ONE_LINE = TEXT.replace("\n", " ")


def main():
    source, target = sys.argv[1:]
    os.makedirs(target)
    ids = {}
    with open(source + "/runs.csv", encoding="utf-8", newline="") as f:
        rows = list(csv.DictReader(f))
    for row in rows:
        ids[row["run_id"]] = row["run_id"] + ONE_LINE
        for name in ("model", "arch", "weight_type", "model_path_name", "fusion", "type_k", "type_v", "device", "commit",
                     "test", "started_utc"):
            row[name] = TEXT + row[name]
        row["run_id"] = ids[row["run_id"]]
        row["reason"] = TEXT
        if row["mode"] == "graph-update":
            row["mode"] = TEXT
    with open(target + "/runs.csv", "w", encoding="utf-8", newline="") as f:
        writer = csv.DictWriter(f, list(rows[0]), quoting=csv.QUOTE_ALL, lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow(row)
    with open(source + "/tokens.csv", encoding="utf-8", newline="") as f, \
            open(target + "/tokens.csv", "w", encoding="utf-8", newline="") as out:
        for line in f:
            for run_id in line.split(",")[1:2]:
                name = run_id.strip('"')
                line = line.replace(name, ids.get(name, name), 1)
            out.write(line)
    with open(source + "/env.json", encoding="utf-8") as f:
        env = json.load(f)
    env["cpu"]["model"] = TEXT
    env["command_line"] = [TEXT, TEXT]
    for model in env["models"]:
        model["file"] = TEXT
    with open(target + "/env.json", "w", encoding="utf-8") as f:
        json.dump(env, f)
    for name in os.listdir(source):
        if name.endswith(".png"):
            shutil.copy(os.path.join(source, name), target)


main()
