"""The table of rules in docs/linter.md. ``python -m tests.linting.rules_table`` writes it."""

from __future__ import annotations

import re
from pathlib import Path

from dapr_workflow_sdk.linting import RULES

PAGE = Path(__file__).parents[2] / "docs" / "linter.md"
_PLACE = re.compile(r"(<!-- rules: .*? -->\n).*?(<!-- end of rules -->)", re.DOTALL)


def table() -> str:
    """The rules as Markdown."""
    rows = [f"| `{rule.id}` | {rule.title} | {rule.reason} | {rule.replacement} |" for rule in RULES.values()]
    return "\n".join(["| Rule | Finds | Why | Instead |", "| --- | --- | --- | --- |", *rows]) + "\n"


def with_table(page: str) -> str:
    """The page with the table as it should be."""
    return _PLACE.sub(lambda found: f"{found[1]}\n{table()}\n{found[2]}", page)


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
