"""Runs the Python blocks of one page of the documentation, in order and in one module.

usage: run_page.py PAGE [--update]

A block titled with a file name is also written to that file. A block ``text title="Output"`` after it must be what
it printed; ids, times and addresses are made equal first. With ``--update`` the page gets what was printed.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import traceback
import types
from pathlib import Path

FENCE = re.compile(r"^( *)```(\w+)([^\n]*)\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
SAME = [
    (r"\b[0-9a-f]{32}\b", "<id>"),
    (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "<uuid>"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?Z?", "<time>"),
    (r"0x[0-9a-f]+", "<address>"),
    (r"process \d+", "process <number>"),
]


def comparable(text: str) -> str:
    for pattern, instead in SAME:
        text = re.sub(pattern, instead, text)
    return "\n".join(line.rstrip() for line in text.strip().splitlines())


def run_block(body: str, name: str, module: types.ModuleType) -> str:
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        exec(compile(body, name, "exec"), module.__dict__)
    return printed.getvalue()


def run_page(page: Path, *, update: bool) -> int:
    text = page.read_text()
    module = types.ModuleType("page")
    sys.modules["page"] = module
    printed, problems = "", 0
    replacements: list[tuple[int, int, str]] = []
    for match in FENCE.finditer(text):
        indent, language, attributes, body = match.groups()
        body = "".join(line[len(indent) :] + "\n" for line in body.splitlines())
        where = f"{page.name}:{text[: match.start()].count(chr(10)) + 1}"
        if language == "python" and "{{" not in body and "--8<--" not in body:
            title = re.search(r'title="([^"]+)"', attributes)
            if title and "/" in title[1]:
                continue  # A file of the project, shown as it is.
            if title:
                Path(title[1]).write_text(body)
            try:
                printed = run_block(body, title[1] if title else where, module)
            except Exception:
                problems += 1
                print(f"{where} fails:\n{traceback.format_exc()}")
        elif language == "text" and 'title="Output"' in attributes and comparable(body) != comparable(printed):
            if update:
                lines = "".join(f"{indent}{line}\n" for line in printed.strip("\n").splitlines())
                replacements.append((match.start(4), match.end(4), lines))
            else:
                problems += 1
                print(f"{where} says:\n{comparable(body)}\nbut the code before it prints:\n{comparable(printed)}\n")
    for start, end, lines in reversed(replacements):
        text = text[:start] + lines + text[end:]
    if replacements:
        page.write_text(text)
    return problems


if __name__ == "__main__":
    # Pages show mistakes on purpose; what the linter says of them stands in a page of its own.
    os.environ.setdefault("DAPR_WORKFLOW_LINT", "off")
    found = run_page(Path(sys.argv[1]).resolve(), update="--update" in sys.argv)
    sys.stdout.flush()
    os._exit(1 if found else 0)
