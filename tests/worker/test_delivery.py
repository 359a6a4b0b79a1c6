"""Completions reach the task hub, whatever it answers at first."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.worker.support import FakeSidecar, activity_item, eventually, turn_item

CODE = grpc.StatusCode


@contextmanager
def worker(
    sidecar: FakeSidecar, activity: Callable[..., Any] | None = None, **workflows: Callable[..., Any]
) -> Iterator[WorkflowRuntime]:
    """A running worker of a fake sidecar, which sends its items as soon as the worker is there."""
    runtime = WorkflowRuntime("127.0.0.1", sidecar.port, shutdown_timeout=0.3)
    runtime.register_activity(activity or (lambda ctx: "result"), name="work")
    for name, workflow in {"flow": lambda ctx: "output", **workflows}.items():
        runtime.register_workflow(workflow, name=name)
    with runtime:
        yield runtime


@pytest.mark.parametrize("code", [CODE.UNAVAILABLE, CODE.UNKNOWN, CODE.INTERNAL, CODE.DEADLINE_EXCEEDED, CODE.ABORTED])
@pytest.mark.parametrize("kind", ["activity", "turn"])
def test_a_completion_is_sent_until_it_is_acknowledged(kind: str, code: grpc.StatusCode) -> None:
    with FakeSidecar(activity_item("work") if kind == "activity" else turn_item("flow")) as sidecar:
        sidecar.refusals = [(code, "not now")] * 3
        with worker(sidecar):
            eventually(lambda: sidecar.completions, "the completion")
        assert len(sidecar.tries) == 4
        assert all(response == sidecar.completions[0] for _, response in sidecar.tries)
        # It waits longer each time, so a struggling sidecar is not stormed.
        moments = [moment for moment, _ in sidecar.tries]
        pauses = [later - earlier for earlier, later in zip(moments, moments[1:], strict=False)]
        assert min(pauses) > 0.02
        assert pauses[2] > pauses[0] / 2


def test_a_refused_completion_is_in_the_log_with_its_instance(caplog: pytest.LogCaptureFixture) -> None:
    with FakeSidecar(activity_item("work", instance_id="order-9")) as sidecar:
        sidecar.refusals = [(CODE.UNAVAILABLE, "not now")]
        with worker(sidecar):
            eventually(lambda: sidecar.completions, "the completion")
    (line,) = [r for r in caplog.records if "not now" in r.getMessage()]
    assert line.levelno == logging.WARNING
    assert "order-9" in line.getMessage()


def test_a_result_that_is_too_large_becomes_a_small_failure() -> None:
    with FakeSidecar(activity_item("work")) as sidecar:
        sidecar.refusals = [(CODE.RESOURCE_EXHAUSTED, "message larger than max (5000000 vs. 4194304)")]
        with worker(sidecar, lambda ctx: "x" * 100_000):
            eventually(lambda: sidecar.completions, "the completion")
        (response,) = sidecar.completions
    assert isinstance(response, pb.ActivityResponse)
    assert response.completionToken == "token-1"
    assert (response.instanceId, response.taskId) == ("one", 1)
    assert not response.HasField("result")
    assert response.ByteSize() < 1000
    assert "5000000 vs. 4194304" in response.failureDetails.errorMessage
    assert "--max-body-size" in response.failureDetails.errorMessage


def test_a_turn_that_is_too_large_becomes_a_small_failure() -> None:
    def large(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity("work", input="x" * 100_000)

    with FakeSidecar(turn_item("large")) as sidecar:
        sidecar.refusals = [(CODE.RESOURCE_EXHAUSTED, "too large"), (CODE.UNAVAILABLE, "not now")]
        with worker(sidecar, large=large):
            eventually(lambda: sidecar.completions, "the completion")
        (response,) = sidecar.completions
    assert response.ByteSize() < 1000
    (action,) = response.actions
    assert action.id == 2
    assert action.completeWorkflow.workflowStatus == pb.WORKFLOW_STATUS_FAILED
    assert "too large" in action.completeWorkflow.failureDetails.errorMessage


@pytest.mark.parametrize(
    ("code", "details"),
    [
        (CODE.UNKNOWN, "unknown instance ID: one"),
        (CODE.UNKNOWN, "unknown instance ID/task ID combo: one/1"),
        (CODE.NOT_FOUND, "gone"),
        (CODE.INVALID_ARGUMENT, "what?"),
        (CODE.UNIMPLEMENTED, "never heard of it"),
    ],
)
@pytest.mark.parametrize("kind", ["activity", "turn"])
def test_a_completion_nobody_waits_for_is_dropped(
    kind: str, code: grpc.StatusCode, details: str, caplog: pytest.LogCaptureFixture
) -> None:
    items = [activity_item("work", 1), activity_item("work", 2)] if kind == "activity" else [turn_item("flow")] * 2
    with FakeSidecar(*items) as sidecar:
        sidecar.refusals = [(code, details)]
        with worker(sidecar) as runtime:
            eventually(lambda: sidecar.completions, "the other completion")
            assert runtime.is_worker_ready()
        assert len(sidecar.tries) == 2
    assert [r.getMessage() for r in caplog.records if r.levelno >= logging.ERROR] == []


def test_a_completion_is_not_sent_any_more_when_its_stream_is_gone() -> None:
    """The sidecar hands the item out again then, so an answer to the old one is of no use."""
    with FakeSidecar(activity_item("work")) as sidecar:
        sidecar.refusals = [(CODE.UNAVAILABLE, "not now")] * 1000
        with worker(sidecar):
            eventually(lambda: len(sidecar.tries) >= 2, "a few tries")
            sidecar.items = []
            sidecar.hang_up()
            eventually(lambda: sidecar.subscriptions == 2, "another subscription")
            time.sleep(0.1)
            tries = len(sidecar.tries)
            time.sleep(0.6)
            assert len(sidecar.tries) <= tries + 1


def test_an_item_that_is_sent_again_is_answered_again() -> None:
    with FakeSidecar(activity_item("work", token="first")) as sidecar:
        with worker(sidecar):
            eventually(lambda: sidecar.completions, "the completion")
            sidecar.items = [activity_item("work", token="second")]
            sidecar.hang_up()
            eventually(lambda: len(sidecar.completions) == 2, "the second completion")
        assert [c.completionToken for c in sidecar.completions] == ["first", "second"]


def test_items_of_unknown_kinds_are_ignored() -> None:
    ping = pb.WorkItem(healthPing=pb.HealthPing())
    with FakeSidecar(pb.WorkItem(), ping, activity_item("work")) as sidecar:
        with worker(sidecar):
            eventually(lambda: sidecar.completions, "the completion")
        assert sidecar.subscriptions == 1


def test_an_activity_that_blocks_does_not_hold_up_turns_and_others() -> None:
    import threading

    gate = threading.Event()

    def work(ctx: WorkflowActivityContext) -> None:
        if ctx.task_id == 1:
            gate.wait(10)

    with FakeSidecar(activity_item("work", 1), turn_item("flow"), activity_item("work", 2)) as sidecar:
        with worker(sidecar, work):
            eventually(lambda: len(sidecar.completions) == 2, "turn and second activity")
            gate.set()
            eventually(lambda: len(sidecar.completions) == 3, "the first activity")


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


@pytest.mark.parametrize(
    "error",
    [Mute(), FileNotFoundError("no such file: 'caf\udce9'"), SystemExit(3), GeneratorExit()],
    ids=lambda error: type(error).__name__,
)
@pytest.mark.parametrize("kind", ["generator", "plain", "async"])
def test_whatever_a_workflow_raises_fails_that_instance_and_no_other(kind: str, error: BaseException) -> None:
    def generator(ctx: WorkflowContext) -> Any:
        raise error
        yield

    def plain(ctx: WorkflowContext) -> Any:
        raise error

    async def awaiting(ctx: WorkflowContext) -> Any:
        raise error

    with FakeSidecar(turn_item("bad"), turn_item("flow", instance_id="two")) as sidecar:
        with worker(sidecar, bad={"generator": generator, "plain": plain, "async": awaiting}[kind]):
            eventually(lambda: len(sidecar.completions) == 2, "both answers")
        assert sidecar.subscriptions == 1
        ends = {c.instanceId: c.actions[-1].completeWorkflow for c in sidecar.completions}
        assert ends["two"].workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
        assert ends["one"].workflowStatus == pb.WORKFLOW_STATUS_FAILED
        assert ends["one"].failureDetails.errorType == type(error).__name__
