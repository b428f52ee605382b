#!/usr/bin/env python3
"""A report's Markdown as GitHub's parser sees it, and whether it has the form that a report has.

    tests/ci/render_markdown.py FOLDER_OF_CMARKGFM REPORT.md [--page FILE.html] [--images N] [--word TEXT]...

Prints a JSON object: tables (columns, rows), sections, fences, links, images, characters. Exit code 1 with a line for
each fault: another marker, an element that no report has, a table whose rows are not as wide as its header, sections
that do not nest, a link, other than N pictures. --word: text that must be in the rendered text.
--page: the rendered page, with styles like GitHub's.
"""
import html.parser
import json
import sys

ALLOWED = {"h3", "p", "strong", "sub", "b", "details", "summary", "table", "thead", "tbody", "tr", "th", "td", "pre",
           "code", "ul", "li", "img", "em"}
STYLE = """body { font: 16px/1.5 "DejaVu Sans", sans-serif; max-width: 900px; margin: 20px auto; padding: 0 16px;
color: #1f2328; font-size: 14px } table { border-collapse: collapse; display: block; overflow: auto; margin-bottom: 16px }
th, td { border: 1px solid #d1d9e0; padding: 6px 13px } tr:nth-child(2n) { background: #f6f8fa }
pre { background: #f6f8fa; padding: 16px; overflow: auto; font: 12px/1.45 "DejaVu Sans Mono", monospace; border-radius: 6px }
h3 { font-size: 1.25em } sub { font-size: 75% } summary { cursor: pointer }"""


class Reader(html.parser.HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.faults, self.stack, self.text = [], [], ""
        self.tables, self.sections, self.fences, self.images, self.comments = [], 0, 0, [], []

    def handle_starttag(self, tag, attributes):
        if tag not in ALLOWED:
            self.faults.append("element <%s>" % tag)
        names = {name for name, _ in attributes}
        if names - {"align", "class", "src", "alt", "lang"}:
            self.faults.append("attributes of <%s>: %s" % (tag, sorted(names)))
        if tag == "img":
            self.images.append(dict(attributes).get("src"))
            return
        if tag == "details" and any(t not in ("details",) for t in self.stack):
            self.faults.append("<details> inside of " + self.stack[-1])
        self.sections += tag == "details" and not self.stack
        self.fences += tag == "pre"
        if tag == "table":
            self.tables.append({"columns": 0, "rows": 0})
        if tag == "tr":
            self.cells = 0
        if tag in ("td", "th"):
            self.cells += 1
        self.stack.append(tag)

    def handle_endtag(self, tag):
        if tag == "img":
            return
        if not self.stack or self.stack[-1] != tag:
            self.faults.append("</%s> closes %s" % (tag, self.stack[-1:]))
            return
        self.stack.pop()
        if tag == "tr":
            table = self.tables[-1]
            if "thead" in self.stack:
                table["columns"] = self.cells
            else:
                table["rows"] += 1
                if self.cells != table["columns"]:
                    self.faults.append("a row of %d cells under %d" % (self.cells, table["columns"]))

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.comments.append(data)


def main():
    sys.path.insert(0, sys.argv[1])
    import cmarkgfm
    from cmarkgfm.cmark import Options
    with open(sys.argv[2], encoding="utf-8", newline="") as f:
        source = f.read()
    words, page, images = [], None, 0
    options = sys.argv[3:]
    while options:
        name, value = options[0], options[1]
        options = options[2:]
        if name == "--word":
            words.append(value)
        elif name == "--images":
            images = int(value)
        else:
            page = value
    rendered = cmarkgfm.github_flavored_markdown_to_html(source, options=Options.CMARK_OPT_UNSAFE)
    reader = Reader()
    reader.feed(rendered)
    reader.close()
    faults = reader.faults
    if not source.startswith("<!-- gemmark-report -->\n") or reader.comments != [" gemmark-report "]:
        faults.append("the marker is not the first line, or not the only comment")
    if len(source) > 65536 or len(source.encode()) > 65536:
        faults.append("%d characters" % len(source))
    if reader.stack:
        faults.append("not closed: %s" % reader.stack)
    if len(reader.images) != images:
        faults.append("pictures: %s" % reader.images)
    if not any(t["rows"] for t in reader.tables):
        faults.append("no table has a row")
    for word in words:
        if word not in reader.text:
            faults.append("'%s' is not in the text" % word)
    if page:
        with open(page, "w", encoding="utf-8") as f:
            f.write("<!doctype html><meta charset=utf-8><style>%s</style>%s" % (STYLE, rendered))
    json.dump({"tables": reader.tables, "sections": reader.sections, "fences": reader.fences,
               "images": reader.images, "characters": len(source)}, sys.stdout)
    print()
    for fault in faults:
        print("render_markdown: %s: %s" % (sys.argv[2], fault), file=sys.stderr)
    sys.exit(1 if faults else 0)


main()
