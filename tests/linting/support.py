"""Code with its findings written beside it: ``#! rule`` says that the line breaks the rule."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

from dapr_workflow_sdk.linting import Finding, lint_paths

HEAD = """\
from dapr_workflow_sdk import WorkflowContext, activity, when_all, when_any, workflow

@activity
def step(ctx, value=None):
    return value

"""
_EXPECTED = re.compile(r"#! *([a-z, -]+)")


def expected_in(path: Path) -> set[tuple[str, int, str]]:
    """What the comments of a file say."""
    return {
        (path.name, number, rule.strip())
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        for found in [_EXPECTED.search(line)]
        if found is not None
        for rule in found[1].split(",")
    }


def write(folder: Path, files: dict[str, str]) -> None:
    """Writes files; each gets the usual imports and an activity before it unless it has imports of the package."""
    for name, code in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        text = textwrap.dedent(code).strip("\n") + "\n"
        needs_head = "@workflow" in text and "dapr" not in text
        path.write_text((HEAD if needs_head else "") + text, encoding="utf-8")


def check(folder: Path, code: str | dict[str, str]) -> list[Finding]:
    """Lints code and compares what is found with what its comments say."""
    files = {"app.py": code} if isinstance(code, str) else code
    write(folder, files)
    survey = lint_paths([folder])
    assert survey.problems == []
    found = {(Path(finding.path).name, finding.line, finding.rule_id) for finding in survey.findings}
    expected = {one for name in files for one in expected_in(folder / name)}
    assert found == expected, "\n".join(str(finding) for finding in survey.findings)
    return survey.findings
