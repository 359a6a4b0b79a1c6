"""Instances that ran on a real sidecar with the official SDK, replayed turn by turn on ours."""

from __future__ import annotations

import base64
import json
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.authoring.context import DaprWorkflowContext
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

Code = Generator[Any, Any, Any]
_FOLDER = Path(__file__).parent.parent / "histories"
_FILES = sorted(_FOLDER.glob("*/*.history.json"))
_RETRY = RetryPolicy(first_retry_interval=timedelta(milliseconds=200), max_number_of_attempts=5, backoff_coefficient=2)


# The workflows that were recorded, as README.md of the recordings has them, against our names.


def add_one(ctx: WorkflowActivityContext, x: int) -> int:
    raise NotImplementedError


def greet(ctx: WorkflowActivityContext, name: str) -> str:
    raise NotImplementedError


def flaky(ctx: WorkflowActivityContext, x: Any) -> Any:
    raise NotImplementedError


def boom(ctx: WorkflowActivityContext, x: Any) -> Any:
    raise NotImplementedError


def chain(ctx: DaprWorkflowContext, n: int) -> Code:
    x = 0
    for _ in range(n):
        x = yield ctx.call_activity(add_one, input=x)
    return x


def fan(ctx: DaprWorkflowContext, n: int) -> Code:
    return (yield when_all([ctx.call_activity(greet, input=f"n{i}") for i in range(n)]))


def retrying(ctx: DaprWorkflowContext, x: Any) -> Code:
    ctx.set_custom_status("trying")
    return (yield ctx.call_activity(flaky, input=x, retry_policy=_RETRY))


def approval(ctx: DaprWorkflowContext, x: Any) -> Code:
    event = ctx.wait_for_external_event("Approved")
    timer = ctx.create_timer(timedelta(seconds=30))
    winner = yield when_any([event, timer])
    if winner == timer:
        return "timeout"
    return ["ok", event.get_result(), str(ctx.new_guid())]


def timeouted(ctx: DaprWorkflowContext, x: Any) -> Code:
    try:
        yield ctx.wait_for_external_event("never", timeout=timedelta(seconds=1))
    except TimeoutError:
        return "timed out"


def child(ctx: DaprWorkflowContext, x: int) -> Code:
    y = yield ctx.call_activity(add_one, input=x)
    return y * 2


def parent(ctx: DaprWorkflowContext, n: int) -> Code:
    results = yield when_all([ctx.call_child_workflow(child, input=i) for i in range(n)])
    return sum(results)


def counter(ctx: DaprWorkflowContext, n: int) -> Code:
    if n == 0:
        return "done"
    yield ctx.create_timer(timedelta(milliseconds=50))
    ctx.continue_as_new(n - 1)


def saga(ctx: DaprWorkflowContext, x: Any) -> Code:
    done = []
    try:
        done.append((yield ctx.call_activity(greet, input="a")))
        done.append((yield ctx.call_activity(greet, input="b")))
        yield ctx.call_activity(boom, input=1)
    except Exception as error:
        for undone in reversed(done):
            yield ctx.call_activity(greet, input="undo " + undone)
        return {"undone": len(done), "err": type(error).__name__}


def failing(ctx: DaprWorkflowContext, x: Any) -> Code:
    yield ctx.call_activity(boom, input=x)


def collector(ctx: DaprWorkflowContext, n: int) -> Code:
    got = []
    for _ in range(n):
        got.append((yield ctx.wait_for_external_event("item")))
    return got


_WORKFLOWS = [chain, fan, retrying, approval, timeouted, child, parent, counter, saga, failing, collector]


@dataclass(frozen=True)
class Turn:
    """One recorded turn: what was committed before, what was new, and what the worker's answer became."""

    past: list[pb.HistoryEvent]
    new: list[pb.HistoryEvent]
    answer: list[pb.HistoryEvent]


@dataclass(frozen=True)
class Recording:
    """A file of recorded history."""

    instance_id: str
    status: str
    output: str | None
    turns: list[Turn]


def _read(path: Path) -> Recording:
    content = json.loads(path.read_text())
    events = [pb.HistoryEvent.FromString(base64.b64decode(event)) for event in content["events_wire"]]
    begins = [i for i, event in enumerate(events) if event.WhichOneof("eventType") == "workflowStarted"]
    turns = []
    for begin, end in zip(begins, [*begins[1:], len(events)]):
        answered = next((i for i in range(begin, end) if events[i].eventId != -1), end)
        turns.append(Turn(events[:begin], events[begin:answered], events[answered:end]))
    return Recording(content["instance_id"], content["status"], content["output"], turns)


_RECORDINGS = [pytest.param(_read(path), id=path.name.removesuffix(".history.json")) for path in _FILES]


@pytest.fixture
def registry() -> Registry:
    registry = Registry(module_level=False)
    for function in _WORKFLOWS:
        registry.add("workflow", function)
    return registry


def _run(recording: Recording, turn: Turn, registry: Registry, parked: ParkedInstances) -> TurnOutput:
    return run_turn(recording.instance_id, turn.past, turn.new, registry, JsonConverter(), parked)


def _optional(message: pb.TaskScheduledEvent | pb.ScheduleTaskAction, field: str) -> StringValue | None:
    return getattr(message, field) if message.HasField(field) else None


def _assert_asks_for(action: pb.WorkflowAction, event: pb.HistoryEvent) -> None:
    """Everything of an action that a history keeps."""
    assert action.id == event.eventId
    kind = event.WhichOneof("eventType")
    if kind == "taskScheduled":
        asked, kept = action.scheduleTask, event.taskScheduled
        assert action.WhichOneof("workflowActionType") == "scheduleTask"
        assert asked.name == kept.name
        assert _optional(asked, "input") == _optional(kept, "input")
        assert asked.taskExecutionId == kept.taskExecutionId
    elif kind == "timerCreated":
        timer = action.createTimer
        assert action.WhichOneof("workflowActionType") == "createTimer"
        assert timer.fireAt == event.timerCreated.fireAt
        origin = event.timerCreated.WhichOneof("origin")
        assert timer.WhichOneof("origin") == origin
        assert origin is not None
        assert getattr(timer, origin) == getattr(event.timerCreated, origin)
    elif kind == "childWorkflowInstanceCreated":
        child_asked, child_kept = action.createChildWorkflow, event.childWorkflowInstanceCreated
        assert action.WhichOneof("workflowActionType") == "createChildWorkflow"
        assert child_asked.instanceId == child_kept.instanceId
        assert child_asked.name == child_kept.name
        assert child_asked.input == child_kept.input
    else:
        assert kind == "executionCompleted"
        end, completed = action.completeWorkflow, event.executionCompleted
        assert action.WhichOneof("workflowActionType") == "completeWorkflow"
        assert end.workflowStatus == completed.workflowStatus
        assert end.HasField("result") == completed.HasField("result")
        assert end.result.value == completed.result.value
        assert end.failureDetails.errorType == completed.failureDetails.errorType
        assert end.failureDetails.errorMessage == completed.failureDetails.errorMessage


def test_there_are_recordings_of_every_workflow() -> None:
    names = {path.name.split("-")[0] for path in _FILES}
    expected = {function.__name__ for function in _WORKFLOWS} - {"child"}
    assert names - {"terminated", "suspended"} == expected


@pytest.mark.parametrize("park", [0, 10], ids=["replayed", "parked"])
@pytest.mark.parametrize("recording", _RECORDINGS)
def test_every_turn_asks_for_what_was_recorded(recording: Recording, park: int, registry: Registry) -> None:
    parked = ParkedInstances(park)
    for turn in recording.turns:
        output = _run(recording, turn, registry, parked)
        assert len(output.actions) == len(turn.answer)
        for action, event in zip(output.actions, turn.answer):
            _assert_asks_for(action, event)
    outcome = output.outcome
    assert outcome is not None
    assert pb.WorkflowStatus.Name(outcome.status).endswith(recording.status)
    assert outcome.result == recording.output


@pytest.mark.parametrize("recording", _RECORDINGS)
def test_a_parked_run_does_what_a_replayed_one_does(recording: Recording, registry: Registry) -> None:
    parked, nothing_parked = ParkedInstances(10), ParkedInstances(0)
    seen = 0
    for turn in recording.turns:
        resumed = _run(recording, turn, registry, parked)
        afresh = _run(recording, turn, registry, nothing_parked)
        assert resumed.actions == afresh.actions
        assert resumed.custom_status == afresh.custom_status
        assert afresh.replayed == len(turn.past)
        # What a turn adds to the history is all that a parked run must still look at.
        assert resumed.replayed == len(turn.past) - seen
        seen = len(turn.past) + len(turn.new)


@pytest.mark.parametrize("recording", _RECORDINGS)
def test_any_turn_can_be_the_first_one_a_worker_sees(recording: Recording, registry: Registry) -> None:
    for turn in reversed(recording.turns):
        output = _run(recording, turn, registry, ParkedInstances(10))
        for action, event in zip(output.actions, turn.answer, strict=True):
            _assert_asks_for(action, event)


@pytest.mark.parametrize("recording", _RECORDINGS)
def test_a_turn_that_brings_nothing_asks_for_nothing_again(recording: Recording, registry: Registry) -> None:
    for turn in recording.turns[:-1]:
        whole = Turn([*turn.past, *turn.new, *turn.answer], [turn.new[0]], [])
        assert _run(recording, whole, registry, ParkedInstances(0)).actions == []


def test_the_custom_status_comes_with_every_turn(registry: Registry) -> None:
    recording = _read(next(path for path in _FILES if path.name.startswith("retrying")))
    assert len(recording.turns) > 2
    for turn in recording.turns:
        assert _run(recording, turn, registry, ParkedInstances(10)).custom_status == "trying"


def test_other_code_does_not_pass_for_the_recorded_one(registry: Registry) -> None:
    """The comparison above can fail: the recorded chain does not replay on a changed one."""
    recording = _read(next(path for path in _FILES if path.name.startswith("chain-5")))

    def changed(ctx: DaprWorkflowContext, n: int) -> Code:
        return (yield ctx.call_activity(greet, input=n))

    other = Registry(module_level=False)
    other.add("workflow", changed, "chain")
    output = _run(recording, recording.turns[1], other, ParkedInstances(0))
    assert output.outcome is not None
    assert output.outcome.failure is not None
    assert output.outcome.failure.error_type == "NonDeterminismError"
