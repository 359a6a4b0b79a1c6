"""Workers warn of workflows that break on replay when they start."""

from __future__ import annotations

import logging
import random
import time
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowContext, WorkflowLintWarning, WorkflowRuntime
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.linting import registration
from dapr_workflow_sdk.linting.linter import Session


@pytest.fixture(autouse=True)
def _on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAPR_WORKFLOW_LINT", raising=False)


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine() as engine:
        yield engine


def bad(ctx: WorkflowContext):
    yield ctx.call_activity("a", input=time.time())


def shuffled(ctx: WorkflowContext, names: list[str]):
    yield ctx.call_activity("a", input=random.choice(names))


def good(ctx: WorkflowContext):
    yield ctx.call_activity("a")


def runtime_for(engine: EmbeddedEngine, *functions: Callable[..., Any], **options: Any) -> WorkflowRuntime:
    runtime = WorkflowRuntime(engine=engine, **options)
    # Workflows that other tests have decorated are none of this worker's business.
    runtime._registry = Registry(module_level=False)
    for function in functions:
        runtime.register_workflow(function)
    return runtime


def caught(runtime: WorkflowRuntime) -> list[warnings.WarningMessage]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        runtime.start()
    runtime.shutdown()
    return [one for one in found if one.category is WorkflowLintWarning]


def test_the_warning_stands_at_the_line_of_the_workflow(engine: EmbeddedEngine) -> None:
    (warning,) = caught(runtime_for(engine, bad, good))
    assert (warning.filename, warning.lineno) == (__file__, bad.__code__.co_firstlineno + 1)
    text = str(warning.message)
    assert text.startswith("wall-clock time.time() reads the machine's clock. (In workflow 'bad'.) A replay runs later")
    assert "Use ctx.current_utc_datetime" in text
    assert text.endswith("To accept it: # workflow: allow[wall-clock]")


def test_by_default_it_is_shown_once(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(registration, "_SHOWN", {})
    runtime = runtime_for(engine, bad)
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("default")
        for _ in range(3):
            runtime.start()
            runtime.shutdown()
    assert [one.category for one in found] == [WorkflowLintWarning]


async def _enter(runtime: WorkflowRuntime) -> None:
    async with runtime:
        pass


def test_async_workers_warn_too(engine: EmbeddedEngine) -> None:
    import asyncio

    with pytest.warns(WorkflowLintWarning, match="wall-clock"):
        asyncio.run(_enter(runtime_for(engine, bad)))


def test_a_workflow_that_is_registered_while_the_worker_runs(engine: EmbeddedEngine) -> None:
    with runtime_for(engine, good) as runtime, pytest.warns(WorkflowLintWarning, match="random"):
        runtime.register_workflow(shuffled)


def test_every_version_of_a_workflow_is_looked_at(engine: EmbeddedEngine) -> None:
    runtime = runtime_for(engine)
    runtime.register_versioned_workflow(good, name="flow", is_latest=False)
    runtime.register_versioned_workflow(bad, name="flow", is_latest=True)
    with pytest.warns(WorkflowLintWarning, match="wall-clock"), runtime:
        pass


def test_as_an_error_it_stops_the_start_and_leaves_nothing_behind(engine: EmbeddedEngine) -> None:
    runtime = runtime_for(engine, bad)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(WorkflowLintWarning):
            runtime.start()
    assert not runtime.is_worker_ready()
    assert len(caught(runtime)) == 1


@pytest.mark.parametrize("value", ["off", "OFF", "0", "false", " no "])
def test_the_environment_switches_it_off(engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv("DAPR_WORKFLOW_LINT", value)
    assert caught(runtime_for(engine, bad)) == []


def test_an_argument_switches_it_off(engine: EmbeddedEngine) -> None:
    assert caught(runtime_for(engine, bad, lint=False)) == []


def test_an_error_of_the_linter_is_logged_and_stops_nothing(
    engine: EmbeddedEngine, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(self: Session, workflow: Any) -> Any:
        raise LookupError("a defect")

    monkeypatch.setattr(Session, "lint", broken)
    with caplog.at_level(logging.DEBUG, logger="dapr_workflow_sdk.linting"):
        assert caught(runtime_for(engine, bad)) == []
    assert "The linter failed for workflow" in caplog.text
    assert "a defect" in caplog.text


def test_names_that_several_modules_define_are_left_to_whoever_uses_them() -> None:
    class Twice(Registry):
        def names(self, kind: Any) -> list[str]:
            return ["bad", "twice"]

        def find(self, kind: Any, name: str) -> Any:
            if name == "twice":
                from dapr_workflow_sdk.errors import RegistrationError

                raise RegistrationError("Several modules define it.")
            return super().find(kind, name)

    registry = Twice(module_level=False)
    registry.add("workflow", bad)
    assert registration.workflows_of(registry) == [bad]


def test_each_function_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(registration.find_in([bad])) == 1
    monkeypatch.setattr(Session, "_lint", None)  # Whoever looks again fails.
    assert len(registration.find_in([bad, bad])) == 1
