"""Whatever Python a file holds, the linter has an answer."""

from __future__ import annotations

import ast
import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dapr_workflow_sdk.linting import lint_paths
from dapr_workflow_sdk.linting.discovery import Discovery
from dapr_workflow_sdk.linting.evaluator import Evaluator
from dapr_workflow_sdk.linting.findings import Finding
from dapr_workflow_sdk.linting.inspection import inspect_workflow
from dapr_workflow_sdk.linting.project import Project
from dapr_workflow_sdk.linting.scopes import DEFINITIONS

LIBRARY = Path(os.__file__).parent
SAMPLE = """
abc ast asyncio/locks asyncio/taskgroups asyncio/tasks bdb calendar colorsys contextlib copy dataclasses enum
functools heapq json/decoder operator queue random reprlib sched statistics string textwrap types uuid weakref
""".split()


def lint_every_function(path: Path, text: str | None = None) -> list[Finding]:
    """Takes each function of a file for a workflow."""
    project = Project()
    module = project.read(path) if text is None else project.add(path, text)
    evaluator = Evaluator(project)
    discovery = Discovery(evaluator)
    discovery.search(module)
    functions = [node for node in module.names.of if isinstance(node, (*DEFINITIONS, ast.Lambda))]
    return [
        finding
        for node in functions
        for finding in inspect_workflow(evaluator, discovery, evaluator.function(node, module))
    ]


@pytest.mark.parametrize("name", SAMPLE)
def test_files_of_the_standard_library(name: str, tmp_path: Path) -> None:
    text = (LIBRARY / f"{name}.py").read_text(encoding="utf-8")
    lines = text.splitlines()
    # In a folder of its own, so that the imports of the library are not followed.
    for finding in lint_every_function(tmp_path / "module.py", text):
        assert str(finding)
        assert 1 <= finding.line <= finding.end_line <= len(lines)
        assert 1 <= finding.column <= len(lines[finding.line - 1]) + 1


EXPRESSIONS = st.recursive(
    st.sampled_from(
        "x y time time.time() ctx ctx.is_replaying ctx.call_activity(x) {1,'a'} set(x) [] () {} None 1 'a' ... "
        "ctx.current_utc_datetime open('a') helper(x) Thing() Thing().a self lambda:time.time() not_there".split()
    ),
    lambda inner: st.one_of(
        st.builds("({} + {})".format, inner, inner),
        st.builds("({} | {})".format, inner, inner),
        st.builds("{}({})".format, inner, inner),
        st.builds("({}).a".format, inner),
        st.builds("({})[{}]".format, inner, inner),
        st.builds("[{} for x in {}]".format, inner, inner),
        st.builds("{{x: {} for x, y in {}}}".format, inner, inner),
        st.builds("({} if {} else {})".format, inner, inner, inner),
        st.builds("(x := {})".format, inner),
        st.builds("f'{{{}}}'".format, st.sampled_from(["x", "time.time()", "Thing()"])),
        st.builds("sorted({}, key={})".format, inner, inner),
        st.builds("(yield {})".format, inner),
        st.builds("(lambda x=1, *y, z=2, **w: {})".format, inner),
        st.builds("list(*{}, **{})".format, inner, inner),
        st.builds("ctx.call_activity(x, input={})".format, inner),
        st.builds("(not {})".format, inner),
    ),
    max_leaves=6,
)


def _indent(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


STATEMENTS = st.recursive(
    st.one_of(
        EXPRESSIONS,
        st.builds("x = {}".format, EXPRESSIONS),
        st.builds("x, *y = {}".format, EXPRESSIONS),
        st.builds("x.a[0], y = y = {}".format, EXPRESSIONS),
        st.builds("x += {}".format, EXPRESSIONS),
        st.builds("x: 'set[str] | None' = {}".format, EXPRESSIONS),
        st.builds("return {}".format, EXPRESSIONS),
        st.sampled_from(
            [
                "pass",
                "import time",
                "from a import *",
                "import a.b as x",
                "from . import y",
                "del x",
                "raise",
                "assert x",
            ]
            + [
                "from .app import *",
                "from app import x",
                "x = x",
                "ctx.continue_as_new(x)",
                "class Thing(Thing): a = 1",
            ]
        ),
    ),
    lambda inner: st.one_of(
        st.builds("if {}:\n{}\nelse:\n{}".format, EXPRESSIONS, inner.map(_indent), inner.map(_indent)),
        st.builds("for x in {}:\n{}".format, EXPRESSIONS, inner.map(_indent)),
        st.builds("while {}:\n{}\n    break".format, EXPRESSIONS, inner.map(_indent)),
        st.builds("with {} as (x, y):\n{}".format, EXPRESSIONS, inner.map(_indent)),
        st.builds("try:\n{}\nexcept:\n{}\nfinally:\n{}".format, *[inner.map(_indent)] * 3),
        st.builds("def helper(x, /, y={}, *, z=1):\n{}".format, EXPRESSIONS, inner.map(_indent)),
        st.builds(
            "class Thing:\n    a: int = {}\n    def __init__(self, x):\n        self.a = x\n{}".format,
            EXPRESSIONS,
            inner.map(_indent),
        ),
        st.builds(
            "match x:\n    case [a, *b] if {}:\n{}\n    case {{'k': c, **d}}:\n{}".format,
            EXPRESSIONS,
            inner.map(_indent).map(_indent),
            inner.map(_indent).map(_indent),
        ),
        st.builds("{}\n{}".format, inner, inner),
    ),
    max_leaves=5,
)


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(before=STATEMENTS, body=STATEMENTS)
def test_arbitrary_code(before: str, body: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    text = f"import time\n{before}\n@runtime.workflow\ndef flow(ctx, x=1, *y):\n{_indent(body)}\n"
    try:
        compile(text, "app.py", "exec", dont_inherit=True)
    except SyntaxError:
        return
    path = tmp_path_factory.getbasetemp() / "app.py"
    for finding in lint_every_function(path, text):
        assert str(finding)
    path.write_text(text, encoding="utf-8")
    assert lint_paths([path]).problems == []
