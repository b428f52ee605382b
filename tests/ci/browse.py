#!/usr/bin/env python3
"""A page in headless Chromium, through its debugging pipe: what it asks the network for, what its console says, how
wide it is, what a click and a pointer do. Standard library alone.

    tests/ci/browse.py CHROMIUM PAGE.html [--width PX] [--dark] [--open] [--screenshot FILE.png] [--top PX] [--height PX]
    tests/ci/browse.py CHROMIUM --list FILE

--list: many pages, each in a tab of its own, in one browser, whose start takes longer than a page: of each line the
arguments from PAGE.html on, as a shell reads them. Prints a JSON object, a line for each of those pages: requests (URLs beside the page's own), complaints (console and errors), width (of the document),
and of a report: sections, tables, points, overhangs, heights and answer (pixels of tables out of sight), titles (over
the entries of the first table's last row, where it is stacked), sorted (whether a click sorted a column), tip (what a pointer on a point
shows), page (its background's colour). --open: all sections unfolded.
"""
import argparse
import base64
import json
import os
import select
import shlex
import shutil
import subprocess
import sys
import tempfile
import time


class Browser:
    def __init__(self, chromium):
        self.profile = tempfile.mkdtemp(prefix="gemmark-chromium-")
        to_child, self.to = os.pipe()
        self.back, from_child = os.pipe()

        def descriptors():
            # The pipe's ends are 3 and 4 by the browser's contract; first out of the way of both numbers.
            a, b = os.dup2(to_child, 23), os.dup2(from_child, 24)
            os.dup2(a, 3)
            os.dup2(b, 4)

        self.process = subprocess.Popen(
            [chromium, "--headless", "--no-sandbox", "--disable-gpu", "--remote-debugging-pipe",
             "--disable-background-networking", "--disable-component-update", "--no-first-run",
             "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + self.profile, "about:blank"],
            preexec_fn=descriptors, pass_fds=(3, 4), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.close(to_child)
        os.close(from_child)
        self.buffer, self.number, self.events, self.session = b"", 0, [], None

    def open_tab(self):
        self.session = None
        self.target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        self.session = self.call("Target.attachToTarget", {"targetId": self.target, "flatten": True})["sessionId"]

    def close_tab(self):
        self.session = None
        self.call("Target.closeTarget", {"targetId": self.target})

    def message(self, seconds):
        end = time.monotonic() + seconds
        while b"\0" not in self.buffer:
            ready, _, _ = select.select([self.back], [], [], max(0, end - time.monotonic()))
            if not ready:
                return None
            block = os.read(self.back, 1 << 20)
            if not block:
                raise SystemExit("browse: the browser has ended")
            self.buffer += block
        text, self.buffer = self.buffer.split(b"\0", 1)
        return json.loads(text)

    def call(self, method, params=None):
        self.number += 1
        call = {"id": self.number, "method": method, "params": params or {}}
        if self.session:
            call["sessionId"] = self.session
        os.write(self.to, json.dumps(call).encode() + b"\0")
        while True:
            m = self.message(60)
            if m is None:
                raise SystemExit("browse: no answer to " + method)
            if m.get("id") == self.number:
                if "error" in m:
                    raise SystemExit("browse: %s: %s" % (method, m["error"]))
                return m["result"]
            self.events.append(m)

    def wait_for(self, method, seconds=60):
        end = time.monotonic() + seconds
        while not any(e.get("method") == method and e.get("sessionId") == self.session for e in self.events):
            m = self.message(max(0, end - time.monotonic()))
            if m is None:
                raise SystemExit("browse: no " + method)
            self.events.append(m)

    def evaluate(self, expression):
        result = self.call("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        if "exceptionDetails" in result:
            raise SystemExit("browse: " + json.dumps(result["exceptionDetails"]))
        return result["result"].get("value")

    def close(self):
        try:
            os.close(self.to)
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        os.close(self.back)
        shutil.rmtree(self.profile, ignore_errors=True)


SORTS = """(() => {
  for (const table of document.querySelectorAll("table")) {
    const rows = () => Array.from(table.tBodies[0].rows);
    const numbers = column => rows().map(r => r.cells[column].dataset.v).filter(v => v !== undefined).map(Number);
    for (let column = 0; column < table.tHead.rows[0].cells.length; column++) {
      const before = numbers(column);
      if (new Set(before).size < 3) continue;
      const button = table.tHead.rows[0].cells[column].querySelector("button");
      button.click();
      const up = numbers(column).every((v, i, all) => !i || all[i - 1] <= v);
      button.click();
      const down = numbers(column).every((v, i, all) => !i || all[i - 1] >= v);
      return up && down && numbers(column).length === before.length;
    }
  }
  return null;
})()"""

# By how much each table is wider than what it scrolls in.
OVERHANGS = """Array.from(document.querySelectorAll(".scroll")).map(s => s.scrollWidth - s.clientWidth)"""
# And higher.
HEIGHTS = """Array.from(document.querySelectorAll(".scroll")).map(s => s.scrollHeight - s.clientHeight)"""
# What stands over an entry of the first table, in the look of this width.
TITLES = """Array.from((document.querySelector(".table") || document).querySelectorAll("tbody tr:last-child td"))
  .map(c => getComputedStyle(c, "::before").content.replaceAll('"', ""))"""

# How far the column that says how sure the modes' effects are reaches out of sight; null: there is none.
ANSWER = """(() => {
  const head = Array.from(document.querySelectorAll("th")).find(h => h.textContent === "how sure");
  if (!head) return null;
  const cells = Array.from(head.closest("table").tBodies[0].rows).map(r => r.cells[head.cellIndex]);
  const shown = cells.filter(c => c.textContent && c.getBoundingClientRect().width > 0);
  if (!shown.length) return Infinity;
  const edge = head.closest(".scroll").getBoundingClientRect().right;
  return Math.max(...shown.map(c => c.getBoundingClientRect().right - edge));
})()"""

POINTS = """(() => {
  const point = Array.from(document.querySelectorAll("path.p")).find(p => p.getBoundingClientRect().width > 0);
  if (!point) return null;
  point.scrollIntoView({block: "center"});
  const r = point.getBoundingClientRect();
  return [r.left + r.width / 2, r.top + r.height / 2];
})()"""


def show(b, o):
    url = "file://" + os.path.abspath(o.page)
    b.open_tab()
    for domain in ("Page", "Runtime", "Log", "Network"):
        b.call(domain + ".enable")
    b.call("Emulation.setDeviceMetricsOverride",
           {"width": o.width, "height": 844, "deviceScaleFactor": 1, "mobile": o.width < 700})
    b.call("Emulation.setEmulatedMedia",
           {"features": [{"name": "prefers-color-scheme", "value": "dark" if o.dark else "light"}]})
    b.events.clear()
    b.call("Page.navigate", {"url": url})
    b.wait_for("Page.loadEventFired")
    if o.open:
        b.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    out = {"width": b.evaluate("document.documentElement.scrollWidth"),
           "sections": b.evaluate("document.querySelectorAll('details.section').length"),
           "tables": b.evaluate("document.querySelectorAll('table').length"),
           "points": b.evaluate("document.querySelectorAll('path.p').length"),
           "overhangs": b.evaluate(OVERHANGS), "heights": b.evaluate(HEIGHTS),
           "titles": b.evaluate(TITLES), "answer": b.evaluate(ANSWER),
           "page": b.evaluate("getComputedStyle(document.body).backgroundColor")}
    at = b.evaluate(POINTS)
    if at:
        time.sleep(0.3)  # what a scroll still does
        b.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": at[0], "y": at[1]})
        out["tip"] = b.evaluate("(t => t && !t.hidden ? t.textContent : null)(document.getElementById('tip'))")
    if o.screenshot:
        if not o.point:
            b.call("Input.dispatchMouseEvent", {"type": "mouseMoved", "x": 1, "y": 1})
            b.evaluate("window.scrollTo(0, 0)")
        height = o.height or int(b.evaluate("document.documentElement.scrollHeight"))
        clip = {"x": 0, "y": o.top, "width": o.width, "height": height, "scale": 1}
        shot = {"format": "png"}
        if not o.point:
            shot.update({"clip": clip, "captureBeyondViewport": True})
        with open(o.screenshot, "wb") as f:
            f.write(base64.b64decode(b.call("Page.captureScreenshot", shot)["data"]))
    out["sorted"] = b.evaluate(SORTS)
    events = [e for e in b.events if e.get("sessionId") == b.session]
    out["requests"] = [e["params"]["request"]["url"] for e in events
                       if e.get("method") == "Network.requestWillBeSent" and e["params"]["request"]["url"] != url
                       and not e["params"]["request"]["url"].startswith("data:")]
    out["complaints"] = [json.dumps(e["params"]) for e in events
                         if e.get("method") in ("Log.entryAdded", "Runtime.exceptionThrown", "Runtime.consoleAPICalled")]
    b.close_tab()
    return out


def main():
    one = argparse.ArgumentParser()
    one.add_argument("page")
    one.add_argument("--width", type=int, default=1100)
    one.add_argument("--top", type=int, default=0)
    one.add_argument("--height", type=int, default=0)
    one.add_argument("--dark", action="store_true")
    one.add_argument("--open", action="store_true")
    one.add_argument("--point", action="store_true")
    one.add_argument("--screenshot")
    parser = argparse.ArgumentParser()
    parser.add_argument("chromium")
    parser.add_argument("--list")
    o, rest = parser.parse_known_args()
    if o.list:
        if rest:
            parser.error("beside --list: " + " ".join(rest))
        with open(o.list) as f:
            pages = [one.parse_args(shlex.split(line)) for line in f]
    else:
        pages = [one.parse_args(rest)]
    b = Browser(o.chromium)
    try:
        for page in pages:
            json.dump(show(b, page), sys.stdout, indent=None if o.list else 1)
            print(flush=True)
    finally:
        b.close()


main()
