"""Good code of this project is not accused, and what its documentation calls a mistake is found."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import Path

import pytest

from dapr_workflow_sdk.linting import lint_paths
from dapr_workflow_sdk.linting.discovery import Discovery
from dapr_workflow_sdk.linting.evaluator import Evaluator
from dapr_workflow_sdk.linting.findings import Finding
from dapr_workflow_sdk.linting.inspection import inspect_workflow
from dapr_workflow_sdk.linting.project import Project
from dapr_workflow_sdk.linting.scopes import DEFINITIONS
from tests.docs.run_page import FENCE

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])

# The mistakes that pages show on purpose.
MISTAKES = {
    "determinism.md": {
        ("yields_a_value", "not-a-task"),
        ("sleeps", "sleep"),
        ("forgets", "forgotten-yield"),
        ("reads_too_early", "forgotten-yield"),
        ("one_task", "not-a-task"),
        ("wrong_delay", "wrong-delay"),
        ("leaks_its_context", "global-state"),
        ("asks_a_client", "client"),
    },
    "linter.md": {("remind", "wall-clock"), ("remind", "set-order")},
    "property-testing.md": {("remind", "wall-clock")},
}


@pytest.mark.parametrize("folder", ["examples", "benchmarks"])
def test_a_folder_of_the_project_has_no_finding(folder: str) -> None:
    survey = lint_paths([ROOT / folder])
    assert [str(finding) for finding in survey.findings] == []
    assert survey.problems == []


def test_the_examples_have_workflows() -> None:
    assert lint_paths([ROOT / "examples"]).workflows >= 13


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_code_of_a_page_has_the_mistakes_that_it_shows(page: Path, tmp_path: Path) -> None:
    blocks: list[str] = []
    for match in FENCE.finditer(page.read_text()):
        indent, language, _, body = match.groups()
        if language == "python" and "{{" not in body and "--8<--" not in body:
            blocks.append("".join(line[len(indent) :] + "\n" for line in body.splitlines()))
    (tmp_path / "page.py").write_text("\n".join(blocks))
    survey = lint_paths([tmp_path])
    found = {(finding.workflow, finding.rule_id) for finding in survey.findings}
    expected = MISTAKES.get(page.name, set())
    if page.name == "determinism.md":  # The page may show more of them as it grows.
        assert expected <= found
    else:
        assert found == expected
    assert survey.problems == []


def findings_of_functions(path: Path) -> list[Finding]:
    """Looks at every function that takes a context, as if it were a workflow."""
    project = Project()
    module = project.read(path)
    evaluator = Evaluator(project)
    discovery = Discovery(evaluator)
    discovery.search(module)
    return [
        finding
        for node in list(module.names.of)
        if isinstance(node, (*DEFINITIONS, ast.Lambda)) and [part.arg for part in node.args.args][:1] == ["ctx"]
        for finding in inspect_workflow(evaluator, discovery, evaluator.function(node, module))
    ]


def test_workflows_of_the_replay_tests() -> None:
    """They count outside of their runs, and leave tasks alone, on purpose; little else is found."""
    found = [
        (path.name, finding.rule_id)
        for path in sorted((ROOT / "tests" / "replay").glob("test_*.py"))
        if path.name not in ("test_mistakes.py", "test_explanations.py")
        for finding in findings_of_functions(path)
    ]
    assert Counter(one for one in found if one[1] not in ("global-state", "forgotten-yield")) == {
        ("test_lifecycle.py", "swallowed-exit"): 1,
        ("test_lifecycle.py", "after-renewal"): 2,
        ("test_lifecycle.py", "not-a-task"): 1,
    }
