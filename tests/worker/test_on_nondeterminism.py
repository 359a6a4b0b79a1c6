"""What a worker does with an instance whose history its code does not match."""

from __future__ import annotations

import logging
from collections.abc import Callable, Generator, Iterator
from typing import Any, cast

import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime, WorkflowStatus
from dapr_workflow_sdk.errors import WorkflowStalledError
from dapr_workflow_sdk.taskhub.port import Capabilities
from tests.worker.support import eventually

Run = Generator[Any, Any, Any]


def before(ctx: Any, _: Any) -> Run:
    yield ctx.call_activity("reserve")
    yield ctx.wait_for_external_event("go")
    return "done"


def after(ctx: Any, _: Any) -> Run:
    yield ctx.call_activity("reserve_stock")
    yield ctx.wait_for_external_event("go")
    return "done"


def later(ctx: Any, _: Any) -> Run:
    yield ctx.call_child_workflow("reserve")
    yield ctx.wait_for_external_event("go")
    return "done"


def worker(engine: EmbeddedEngine, code: Callable[..., Any], **options: Any) -> WorkflowRuntime:
    runtime = WorkflowRuntime(engine=engine, **options)
    runtime.register_workflow(code, name="order")
    runtime.register_activity(lambda ctx, _=None: None, name="reserve")
    return runtime


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine() as engine:
        yield engine


@pytest.fixture
def client(engine: EmbeddedEngine) -> Iterator[WorkflowClient]:
    """A client of an engine with one instance that has begun on the code as it was."""
    with WorkflowClient(engine=engine) as client:
        with worker(engine, before):
            client.schedule_new_workflow("order", instance_id="one")
            client.wait_for_workflow_start("one", timeout_in_seconds=20)
        client.raise_workflow_event("one", "go")
        yield client


def status(client: WorkflowClient) -> WorkflowStatus:
    state = client.get_workflow_state("one")
    assert state is not None
    return state.runtime_status


@pytest.mark.parametrize("options", [{}, {"on_nondeterminism": None}, {"on_nondeterminism": "stall"}])
def test_it_stalls_with_the_explanation_and_goes_on_with_the_right_code(
    engine: EmbeddedEngine, client: WorkflowClient, options: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    with worker(engine, after, **options):
        eventually(lambda: status(client) is WorkflowStatus.STALLED, "it stalls")
        with pytest.raises(TimeoutError, match="It is stalled; `dapr-workflow show one` tells why"):
            client.wait_for_workflow_completion("one", timeout_in_seconds=0.05)
        with pytest.raises(WorkflowStalledError, match="seems to be called 'reserve_stock' now"):
            client.pause_workflow("one")
    told = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(told) == 1
    assert "Likely cause:      a call was renamed" in told[0]
    with worker(engine, before):
        state = client.wait_for_workflow_completion("one", timeout_in_seconds=20)
        assert state is not None
        assert state.serialized_output == '"done"'


def test_other_wrong_code_explains_itself_anew(engine: EmbeddedEngine, client: WorkflowClient) -> None:
    def stalls() -> int:
        return sum(event.event_type.name == "EXECUTION_STALLED" for event in client.get_workflow_history("one"))

    for code, count in ((after, 1), (later, 2)):
        with worker(engine, code):
            eventually(lambda: stalls() == count, f"it has stalled {count} times")  # noqa: B023
    with pytest.raises(WorkflowStalledError, match="called as an activity and is called as a child workflow"):
        client.pause_workflow("one")
    with worker(engine, before):
        assert client.wait_for_workflow_completion("one", timeout_in_seconds=20) is not None


def test_it_fails_if_that_is_asked_for(engine: EmbeddedEngine, client: WorkflowClient) -> None:
    with worker(engine, after, on_nondeterminism="fail"):
        state = client.wait_for_workflow_completion("one", timeout_in_seconds=20)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.error_type == "NonDeterminismError"
    assert "What to do:        Keep the name that histories have" in state.failure_details.message


def test_a_worker_that_is_to_stall_says_where_that_cannot_be(
    engine: EmbeddedEngine, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def like_a_sidecar() -> Capabilities:
        return Capabilities(lists=True, stalls=True, detaches=True, extensions=False)

    with worker(engine, before, on_nondeterminism="stall"):
        assert not caplog.records
    monkeypatch.setattr(engine.hub, "capabilities", like_a_sidecar)
    with worker(engine, before):
        assert not caplog.records
    with worker(engine, before, on_nondeterminism="stall"):
        (record,) = caplog.records
    assert "cannot let an instance stall whose history the code does not match" in record.getMessage()


def test_another_word_is_refused() -> None:
    with pytest.raises(ValueError, match='on_nondeterminism must be "stall" or "fail", not \'retry\''):
        WorkflowRuntime(engine=EmbeddedEngine(), on_nondeterminism=cast("Any", "retry"))
