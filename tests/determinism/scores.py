"""The scores of the testing kit on the gallery: which tool finds which case.

usage: python -m tests.determinism.scores [--write] [TOOL...]

Runs the tools, or only those that are named, and prints where the result differs from ``scores.json``. With ``--write``
the file gets the result, and docs/determinism.md the table that is made from it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.determinism.case import Case
from tests.determinism.gallery import cases
from tests.determinism.world import ELSEWHERE, HERE, ROOT

FILE = Path(__file__).parent / "scores.json"
PAGE = ROOT / "docs" / "determinism.md"
BEGIN, END = "<!-- scores: begin -->\n", "<!-- scores: end -->\n"
# In the order of their columns: what each is called in the page.
TOOLS = {
    "linter": "linter",
    "check": "`check_determinism`",
    "strategies": "strategies",
    "environment": "environment",
    "replay": "replay",
}
Scores = dict[str, list[str]]


def scores() -> Scores:
    """The scores as they are checked in: the tools that find each case, for all cases that any of them finds."""
    found: Scores = json.loads(FILE.read_text())
    return found


def measured(tool: str) -> dict[str, list[str]]:
    """Runs a tool over the gallery; returns its findings by case."""
    with tempfile.TemporaryDirectory() as folder:
        if tool == "replay":
            _run("record", folder, HERE)
        found: dict[str, list[str]] = json.loads(_run(tool, folder, ELSEWHERE if tool == "replay" else HERE))
    return found


def _run(tool: str, folder: str, environment: dict[str, str]) -> str:
    cleaned = {
        name: value for name, value in os.environ.items() if not name.startswith(("SHOP_", "LC_", "LANG", "PYTHON"))
    }
    run = subprocess.run(
        [sys.executable, "-m", "tests.determinism.tools", tool, folder],
        env={**cleaned, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def table(found: Scores) -> str:
    """The scores as a part of the page."""
    everything = cases()
    bad = [case for case in everything if case.is_bad]
    good = [case for case in everything if not case.is_bad]
    lines = [
        f"| tool | of {len(bad)} that break a rule it finds | of {len(good)} that only look so it accuses |",
        "| --- | --- | --- |",
        *(_total(title, [tool], found, bad, good) for tool, title in TOOLS.items()),
        _total("all together", list(TOOLS), found, bad, good),
        "",
        f"| workflow | what is wrong | {' | '.join(TOOLS.values())} |",
        f"| --- | --- |{' --- |' * len(TOOLS)}",
        *(_row(case, found.get(case.name, [])) for case in bad),
    ]
    return "\n".join(lines) + "\n"


def _total(title: str, tools: list[str], found: Scores, bad: list[Case], good: list[Case]) -> str:
    right, wrong = (sum(bool({*tools} & {*found.get(case.name, [])}) for case in some) for some in (bad, good))
    return f"| {title} | {right} | {wrong} |"


def _row(case: Case, finders: list[str]) -> str:
    why = case.why.rstrip(".").replace("|", "\\|").replace("*", "\\*").replace("__", "\\_\\_")
    marks = " | ".join("x" if tool in finders else "" for tool in TOOLS)
    return f"| `{case.topic}.{case.name}` | {why} | {marks} |"


def page_with(found: Scores) -> str:
    """The page with this table."""
    head, rest = PAGE.read_text().split(BEGIN)
    return head + BEGIN + "\n" + table(found) + "\n" + END + rest.split(END)[1]


def _main() -> None:
    write = "--write" in sys.argv
    tools = [name for name in sys.argv[1:] if name != "--write"] or list(TOOLS)
    old = scores() if FILE.exists() else {}
    finders = {case.name: [tool for tool in old.get(case.name, []) if tool not in tools] for case in cases()}
    for tool in tools:
        for name in measured(tool):
            finders[name].append(tool)
    new = {name: sorted(by, key=list(TOOLS).index) for name, by in finders.items() if by}
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            print(f"{name}: {', '.join(old.get(name, []))} -> {', '.join(new.get(name, []))}")
    if write:
        lines = [f" {json.dumps(name)}: {json.dumps(by)}" for name, by in new.items()]
        FILE.write_text("{\n" + ",\n".join(lines) + "\n}\n")
        PAGE.write_text(page_with(new))


if __name__ == "__main__":
    _main()
