"""`lint` looks at functions that are loaded."""

from __future__ import annotations

import functools
import linecache
import random
import time
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk import WorkflowContext, testing, workflow
from dapr_workflow_sdk.linting import lint


def helper() -> float:
    return random.random()


@workflow(name="the-name")
def bad(ctx: WorkflowContext, order: Any = None):
    yield ctx.call_activity("a", input=time.time())
    yield ctx.call_activity("a", input=helper())


@workflow
def good(ctx: WorkflowContext):
    yield ctx.call_activity("a")


class Shop:
    def flow(self, ctx: WorkflowContext):
        yield ctx.call_activity("a", input=time.time())

    def __call__(self, ctx: WorkflowContext):
        yield ctx.call_activity("a", input=time.time())


def test_findings_have_the_file_and_line_of_the_code() -> None:
    first, second = lint(bad)
    here = str(Path(__file__))
    line = bad.__code__.co_firstlineno
    assert [(found.rule_id, found.path, found.line) for found in (first, second)] == [
        ("random", here, helper.__code__.co_firstlineno + 1),
        ("wall-clock", here, line + 2),
    ]
    assert first.workflow == second.workflow == "the-name"
    assert first.headline == f"{here}:{first.line}: random random.random() draws random numbers."
    assert str(first).splitlines()[1] == f"    In: workflow 'the-name' calls helper() at {here}:{line + 3}."
    assert first.rule.id == "random"


def test_only_the_function_itself_is_looked_at() -> None:
    assert lint(good) == []
    assert testing.lint is lint


def test_whatever_can_be_registered_can_be_looked_at() -> None:
    @functools.wraps(bad)
    def wrapped(*args: Any) -> Any:
        return bad(*args)

    for function in (Shop().flow, Shop.flow, Shop(), functools.partial(bad, order=1), wrapped):
        assert "wall-clock" in {found.rule_id for found in lint(function)}
    assert [found.rule_id for found in lint(lambda ctx: time.time())] == ["wall-clock"]


@pytest.mark.parametrize("function", [len, print, int, Path("x").exists, object(), functools.partial(len)])
def test_what_has_no_source_has_no_findings(function: Any) -> None:
    assert lint(function) == []


def test_code_without_a_file_has_no_findings() -> None:
    names: dict[str, Any] = {}
    exec("import time\ndef flow(ctx):\n    yield time.time()\n", names)
    assert lint(names["flow"]) == []


def test_a_file_that_has_changed_meanwhile_has_no_findings(tmp_path: Path) -> None:
    path = tmp_path / "flows.py"
    code = "import time\n\ndef flow(ctx):\n    yield ctx.create_timer(time.time())\n"
    names: dict[str, Any] = {}
    path.write_text(code)
    exec(compile(code, str(path), "exec"), names)
    path.write_text("def flow(:\n")
    assert lint(names["flow"]) == []
    again: dict[str, Any] = {}
    exec(compile(code, str(path), "exec"), again)
    path.write_text("\n\n\n" + code)
    assert lint(again["flow"]) == []
    once_more: dict[str, Any] = {}
    exec(compile(code, str(path), "exec"), once_more)
    path.write_text(code)
    assert len(lint(once_more["flow"])) == 1


def test_a_cell_of_a_notebook_uses_names_of_other_cells() -> None:
    code = "def flow(ctx):\n    yield ctx.create_timer(clock.time())\n    yield ctx.create_timer(now())\n"
    names: dict[str, Any] = {"clock": time, "now": time.time}
    linecache.cache["<cell 2>"] = len(code), None, code.splitlines(keepends=True), "<cell 2>"
    exec(compile(code, "<cell 2>", "exec"), names)
    assert [(found.rule_id, found.line) for found in lint(names["flow"])] == [("wall-clock", 2), ("wall-clock", 3)]


def test_equal_code_of_two_files_is_told_apart(tmp_path: Path) -> None:
    functions = []
    for name in ("a", "b"):
        path = tmp_path / f"{name}.py"
        path.write_text("import time\ndef flow(ctx):\n    yield time.time()\n")
        names: dict[str, Any] = {}
        exec(compile(path.read_text(), str(path), "exec"), names)
        functions.append(names["flow"])
    assert functions[0].__code__ == functions[1].__code__
    assert [Path(lint(function)[0].path).name for function in functions] == ["a.py", "b.py"]
