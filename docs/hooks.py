"""Puts functions and classes of the examples into pages, so that what a page shows is what runs.

A line ``{{ example: task_chaining.py celsius_report to_celsius }}`` becomes a code block with these definitions as
they stand in ``examples/task_chaining.py``. A name that is not there fails the build.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

_EXAMPLES = Path(__file__).parent.parent / "examples"
_LINE = re.compile(r"^\{\{ example: (?P<file>\S+) (?P<names>.+?) \}\}$", re.MULTILINE)


def on_page_markdown(markdown: str, **_: Any) -> str:
    """Called by mkdocs for the text of each page."""
    return _LINE.sub(lambda found: _block(found["file"], found["names"].split()), markdown)


def _block(file: str, names: list[str]) -> str:
    source = (_EXAMPLES / file).read_text(encoding="utf-8")
    lines = source.splitlines()
    places = {name: place for node in ast.parse(source).body for name, place in _definitions(node)}
    missing = [name for name in names if name not in places]
    if missing:
        raise ValueError(f"examples/{file} defines no {', '.join(missing)}, which a page of the documentation shows.")
    parts = ["\n".join(lines[first - 1 : last]) for first, last in (places[name] for name in names)]
    # Definitions stand two lines apart, assignments next to each other.
    code = parts[0]
    for before, part in zip(parts, parts[1:], strict=False):
        code += ("\n" if "\n" not in before + part else "\n\n\n") + part
    return f'```python title="examples/{file}"\n{code}\n```'


def _definitions(node: ast.stmt) -> list[tuple[str, tuple[int, int]]]:
    last = node.end_lineno or node.lineno
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        first = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
        return [(node.name, (first, last))]
    if isinstance(node, ast.Assign):
        return [(target.id, (node.lineno, last)) for target in node.targets if isinstance(target, ast.Name)]
    return []
