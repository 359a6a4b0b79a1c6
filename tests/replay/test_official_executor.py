"""The official SDK's executor and ours, fed the same histories: a worker of either can go on where the other stopped.

Where they differ on purpose, `_comparable` says so.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Generator
from typing import Any

import dapr.ext.workflow as official
import dapr.ext.workflow._durabletask.internal.protos as official_pb
import pytest
from dapr.ext.workflow._durabletask import worker
from hypothesis import example, given

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    raised,
    recorded,
    replay,
    started,
    summary,
    timer_fired,
    turn_marker,
)
from tests.replay.model_hub import ModelHub
from tests.strategies import (
    ACTIVITIES,
    EVENTS,
    QUICK,
    Activity,
    All,
    Await,
    Child,
    Choices,
    Guid,
    Program,
    Renew,
    Retry,
    Start,
    Timer,
    Wait,
    generator_workflow,
    interpret,
    plain_programs,
    schedules,
)

official_worker: Any = worker
_LOGGER = logging.getLogger("tests.official")
_LOGGER.setLevel(logging.CRITICAL)


class _OurNames:
    """The official executor's own context, with the names that both public contexts have."""

    def __init__(self, ctx: Any) -> None:
        self._ctx = ctx

    def __getattr__(self, name: str) -> Any:
        return getattr(self._ctx, name)

    def call_activity(self, name: str, *, input: Any, retry_policy: Any) -> Any:
        policy = None if retry_policy is None else retry_policy.obj
        return self._ctx.call_activity(name, input=input, retry_policy=policy)

    def call_child_workflow(self, name: str, *, input: Any, retry_policy: Any) -> Any:
        policy = None if retry_policy is None else retry_policy.obj
        return self._ctx.call_sub_orchestrator(name, input=input, retry_policy=policy)


def _official_workflow(program: Program) -> Callable[..., Any]:
    def flow(ctx: Any, runs_to_go: int) -> Generator[Any, Any, Any]:
        return interpret(
            _OurNames(ctx),
            program,
            runs_to_go,
            all_of=official.when_all,
            any_of=official.when_any,
            policy=official.RetryPolicy,
        )

    return flow


def _official_turn(
    function: Callable[..., Any], past: list[pb.HistoryEvent], new: list[pb.HistoryEvent]
) -> tuple[list[pb.WorkflowAction], str | None]:
    registry: Any = official_worker._Registry()
    registry.add_named_orchestrator("flow", function)
    executor = official_worker._OrchestrationExecutor(registry, _LOGGER)
    results = executor.execute(INSTANCE, [_to_official(e) for e in past], [_to_official(e) for e in new])
    actions = [pb.WorkflowAction.FromString(action.SerializeToString()) for action in results.actions]
    return actions, results.encoded_custom_status


def _to_official(event: pb.HistoryEvent) -> Any:
    return official_pb.HistoryEvent.FromString(event.SerializeToString())


def _comparable(actions: list[pb.WorkflowAction]) -> list[pb.WorkflowAction]:
    """Actions without what differs on purpose.

    We return calls that nobody waited for together with the end of the instance, the official SDK drops them: of an
    ending turn only the end is compared. Messages of some failures are worded differently, and traces name files. The
    official SDK leaves the old place of the router empty, which we fill for old sidecars. What is carried over is
    compared by `_assert_carries`.
    """
    if any(action.HasField("completeWorkflow") for action in actions):
        actions = [action for action in actions if action.HasField("completeWorkflow")]
    return [_bare(action) for action in actions]


def _bare(action: pb.WorkflowAction) -> pb.WorkflowAction:
    bare = pb.WorkflowAction()
    bare.CopyFrom(action)
    if bare.HasField("scheduleTask"):
        bare.scheduleTask.ClearField("router")
    if bare.HasField("createChildWorkflow"):
        bare.createChildWorkflow.ClearField("router")
    if not bare.router.sourceAppID and not bare.router.targetAppID:
        bare.ClearField("router")
    if bare.HasField("completeWorkflow"):
        end = bare.completeWorkflow
        if end.HasField("failureDetails"):
            end.failureDetails.CopyFrom(pb.TaskFailureDetails(errorType=end.failureDetails.errorType))
        del end.carryoverEvents[:]
        if end.workflowStatus == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW:
            # The official SDK numbers it at the end of the turn, after retries that a timer of the same turn asks for.
            bare.id = 0
    return bare


def _assert_carries(ours: list[pb.WorkflowAction], theirs: list[pb.WorkflowAction]) -> None:
    """We carry over what the official SDK does, and more: falsy data, and events for waits that nobody awaits now."""
    carried = [_event(event) for action in ours for event in action.completeWorkflow.carryoverEvents]
    for action in theirs:
        for event in action.completeWorkflow.carryoverEvents:
            carried.remove(_event(event))


def _event(event: pb.HistoryEvent) -> tuple[str, str]:
    data = event.eventRaised.input.value
    return event.eventRaised.name.casefold(), data if data and json.loads(data) else ""


def _renews(actions: list[pb.WorkflowAction]) -> bool:
    return any(a.completeWorkflow.workflowStatus == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW for a in actions)


def _compare(program: Program, schedule: Choices) -> None:
    hub = ModelHub(generator_workflow(program), schedule, suspends=False)
    hub.run()
    flow = _official_workflow(program)
    for turn in hub.turns:
        actions, status = _official_turn(flow, turn.past, turn.new)
        if _renews(actions) and not _renews(turn.output.actions):
            # A termination that comes after continue-as-new in one turn: the official SDK leaves it to the task hub.
            assert any(event.HasField("executionTerminated") for event in turn.new)
            assert summary(turn.output.actions)[-1][1] == "TERMINATED"
            continue
        assert _comparable(turn.output.actions) == _comparable(actions)
        assert turn.output.custom_status == status
        _assert_carries(turn.output.actions, actions)


_THRICE = Retry(attempts=3, first=1, backoff=2, longest=None, timeout=None)
_CHAIN: Program = tuple(Await(Activity(name, index)) for index, name in enumerate(ACTIVITIES))
_FAN_OUT: Program = (Await(All(tuple(Activity("charge", n, _THRICE) for n in range(5)))), Guid())
_PARTS: Program = (
    Await(Child("invoice", 1, _THRICE)),
    Await(Wait(EVENTS[0], None)),
    Await(Timer(60)),
    Await(Wait(EVENTS[1], 5)),
    Guid(),
)


@QUICK
@given(plain_programs, schedules)
@example(_CHAIN, Choices(bytes(8)))
@example(_FAN_OUT, Choices(bytes(range(40))))
@example(_PARTS, Choices(bytes(range(64))))
def test_both_executors_ask_for_the_same_at_every_turn(program: Program, schedule: Choices) -> None:
    _compare(program, schedule)


def _compare_play(program: Program, *events: pb.HistoryEvent, data: str = "0") -> list[pb.WorkflowAction]:
    """Plays a program with one event per turn on both; returns all actions."""
    instance, flow = Play(generator_workflow(program), data=data), _official_workflow(program)
    asked = []
    for event in (None, *events):
        past = list(instance.history)
        output = instance.turn(*([] if event is None else [event]))
        new = instance.history[len(past) : len(instance.history) - len([a for a in output.actions if recorded(a)])]
        actions, _ = _official_turn(flow, past, new)
        assert _comparable(output.actions) == _comparable(actions)
        asked += output.actions
    return asked


@pytest.mark.parametrize("attempts", [1, 2, 3, 6])
@pytest.mark.parametrize("timeout", [None, 0, 1, 3, 60])
@pytest.mark.parametrize("backoff", [1, 1.7, None])
def test_both_wait_equally_long_before_each_retry(attempts: int, timeout: float | None, backoff: float | None) -> None:
    retry = Retry(attempts=attempts, first=0.3, backoff=backoff, longest=2, timeout=timeout)
    failures_and_timers = [
        event for n in range(1, 2 * attempts, 2) for event in (activity_failed(n), timer_fired(n + 1))
    ]
    asked = _compare_play((Await(Activity("charge", 1, retry)),), *failures_and_timers[:-1])
    tries = [action for action in asked if action.HasField("scheduleTask")]
    assert len({action.scheduleTask.taskExecutionId for action in tries}) == 1
    if timeout is None:
        assert len(tries) == attempts


def test_both_replay_a_history_from_before_waits_had_timers() -> None:
    program: Program = (Start(Wait("Approved", None)), Await(Activity("charge", 1)), Await(Activity("ship", 2)))
    past = [turn_marker(), started("flow", "0"), activity_scheduled(1, "charge")]
    new = [turn_marker(5), activity_done(1)]
    ours = replay(generator_workflow(program), past[2:], activity_done(1), data="0")
    theirs, _ = _official_turn(_official_workflow(program), past, new)
    assert summary(ours.actions) == summary(theirs) == [(2, "activity ship")]


def test_only_ours_replays_an_old_history_with_several_waits_in_a_row() -> None:
    program: Program = (
        Start(Wait("Approved", None)),
        Start(Wait("cancel", None)),
        Await(Activity("charge", 1)),
        Await(Activity("ship", 2)),
    )
    past = [turn_marker(), started("flow", "0"), activity_scheduled(1, "charge")]
    ours = replay(generator_workflow(program), past[2:], activity_done(1), data="0")
    theirs, _ = _official_turn(_official_workflow(program), past, [turn_marker(5), activity_done(1)])
    assert summary(ours.actions) == [(2, "activity ship")]
    assert theirs[0].completeWorkflow.failureDetails.errorType == "NonDeterminismError"


def test_only_ours_runs_calls_that_nobody_waited_for_before_the_end() -> None:
    program: Program = (Start(Activity("notify", 1)), Start(Child("parcel", 2)), Start(Timer(5)))
    first = Play(generator_workflow(program), data="0").turn()
    theirs, _ = _official_turn(_official_workflow(program), [], [turn_marker(), started("flow", "0")])
    assert summary(first.actions) == [(1, "activity notify"), (2, "child parcel"), (4, "COMPLETED")]
    assert summary(theirs) == [(4, "COMPLETED")]


@pytest.mark.parametrize("data", ["0", "false", '""', "[]", "{}"])
def test_only_ours_carries_falsy_events_over(data: str) -> None:
    program: Program = (Await(Timer(5)), Renew(save_events=True))
    instance = Play(generator_workflow(program), data="1")
    instance.turn()
    instance.turn(raised("Approved", data))
    output = instance.turn(timer_fired(1))
    theirs, _ = _official_turn(_official_workflow(program), instance.history[:-2], instance.history[-2:])
    assert [e.eventRaised.input.value for e in output.actions[0].completeWorkflow.carryoverEvents] == [data]
    assert [e.eventRaised.input.value for e in theirs[0].completeWorkflow.carryoverEvents] == [""]


def test_the_comparison_notices_a_difference() -> None:
    """What the tests above compare can differ."""
    ours = Play(generator_workflow((Await(Activity("charge", 1)),)), data="0").turn()
    theirs, _ = _official_turn(
        _official_workflow((Guid(), Await(Activity("charge", 1)))), [], [turn_marker(), started("flow", "0")]
    )
    assert summary(ours.actions) == summary(theirs)
    assert _comparable(ours.actions) != _comparable(theirs)  # The guid moved the task execution id.
