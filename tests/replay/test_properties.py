"""What must hold for every workflow and every order in which the world answers it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import example, given

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import INSTANCE, recorded
from tests.replay.model_hub import CommittedTurn, ModelHub, told
from tests.strategies import (
    EVENTS,
    QUICK,
    Activity,
    Again,
    Any_,
    Await,
    Choices,
    Program,
    Renew,
    Start,
    Wait,
    async_workflow,
    generator_workflow,
    programs,
    schedules,
)

_ENDED = (pb.WORKFLOW_STATUS_COMPLETED, pb.WORKFLOW_STATUS_FAILED, pb.WORKFLOW_STATUS_TERMINATED)


def _played(program: Program, schedule: Choices) -> ModelHub:
    hub = ModelHub(generator_workflow(program), schedule)
    hub.run()
    return hub


def _registry(function: Any) -> Registry:
    registry = Registry(module_level=False)
    registry.add("workflow", function, "flow")
    return registry


def _rerun(turn: CommittedTurn, registry: Registry, parked: ParkedInstances | None = None) -> TurnOutput:
    return run_turn(INSTANCE, turn.past, turn.new, registry, JsonConverter(), parked or ParkedInstances(0))


def _mismatched(output: TurnOutput) -> bool:
    failure = None if output.outcome is None else output.outcome.failure
    return failure is not None and failure.error_type == "NonDeterminismError"


@QUICK
@given(programs, schedules)
@example((Start(Wait(EVENTS[0], None)), Await(Any_((Again(0), Activity("charge", 1))))), Choices(b"\x00" * 8))
@example((Await(Wait(EVENTS[0], None)), Renew(save_events=True)), Choices(b"\x07\x08\x01\x00" * 4))
def test_whatever_happens_the_instance_ends_and_parked_runs_do_what_replays_do(
    program: Program, schedule: Choices
) -> None:
    hub = _played(program, schedule)
    # The hub itself compares each turn of its parking workers with a replay, and refuses to hang.
    assert hub.state.row.ended in _ENDED
    assert not any(_mismatched(turn.output) for turn in hub.turns)
    for generation in {turn.generation for turn in hub.turns}:
        ids = [a.id for turn in hub.turns if turn.generation == generation for a in turn.output.actions]
        assert ids == sorted(set(ids)), "ids are given in the order of the calls, each once"


@QUICK
@given(programs, schedules)
def test_a_replay_of_any_prefix_of_the_history_asks_for_what_the_history_records_next(
    program: Program, schedule: Choices
) -> None:
    hub = _played(program, schedule)
    registry = _registry(generator_workflow(program))
    for turn, following in zip(hub.turns, [*hub.turns[1:], None]):
        again = _rerun(turn, registry)
        assert told(again) == turn.told()
        if following is not None and following.generation == turn.generation:
            committed = following.past[len(turn.past) + len(turn.new) :]
            asked = [event for action in again.actions if (event := recorded(action)) is not None]
            assert [_essence(event) for event in committed] == [_essence(event) for event in asked]


def _essence(event: pb.HistoryEvent) -> bytes:
    """An event without what only the task hub knows."""
    bare = pb.HistoryEvent()
    bare.CopyFrom(event)
    bare.ClearField("timestamp")
    bare.ClearField("router")
    return bare.SerializeToString(deterministic=True)


@QUICK
@given(programs, schedules)
def test_the_order_of_results_never_changes_what_was_asked_before(program: Program, schedule: Choices) -> None:
    hub = _played(program, schedule)
    registry = _registry(generator_workflow(program))
    for turn in hub.turns:
        fixed = [event for event in turn.new if event.HasField("workflowStarted") or event.HasField("executionStarted")]
        other_order = [*fixed, *schedule.shuffled([event for event in turn.new if event not in fixed])]
        output = run_turn(INSTANCE, turn.past, other_order, registry, JsonConverter(), ParkedInstances(0))
        assert not _mismatched(output)
        if output.outcome is not None:
            continue
        # Committed in that order, the same code finds all it asked for, and asks for nothing a second time.
        asked = [event for action in output.actions if (event := recorded(action)) is not None]
        history = [*turn.past, *other_order, *asked]
        again = run_turn(INSTANCE, history, [turn.new[0]], registry, JsonConverter(), ParkedInstances(0))
        assert again.actions == []
        assert again.outcome is None


@QUICK
@given(programs, schedules)
def test_an_async_workflow_does_what_the_same_generator_does(program: Program, schedule: Choices) -> None:
    hub = _played(program, schedule)
    twin = _registry(async_workflow(program))
    parked = ParkedInstances(4)
    for turn in hub.turns:
        assert told(_rerun(turn, twin, parked)) == turn.told()
        assert told(_rerun(turn, twin)) == turn.told()


@QUICK
@given(programs, schedules)
def test_a_suspended_instance_asks_for_nothing(program: Program, schedule: Choices) -> None:
    hub = _played(program, schedule)
    registry = _registry(generator_workflow(program))
    for turn in hub.turns:
        if turn.output.outcome is None:
            pause = pb.HistoryEvent(eventId=-1, executionSuspended=pb.ExecutionSuspendedEvent())
            new = [*turn.new, pause]
            assert run_turn(INSTANCE, turn.past, new, registry, JsonConverter(), ParkedInstances(0)).actions == []


def test_the_model_notices_a_hang() -> None:
    """The property that instances end can fail: here is one whose activity never answers."""

    class Deaf(ModelHub):
        def complete_activity(self) -> bool:
            return False

    hub = Deaf(generator_workflow((Await(Activity("charge", 1)),)), Choices(b"\x00" * 8))
    with pytest.raises(AssertionError, match="nothing is pending"):
        hub.run()


def test_the_model_notices_a_parked_run_that_strays() -> None:
    """The comparison of parked and replayed runs can fail: here is code that counts its turns."""
    turns: list[int] = []

    def flow(ctx: Any, runs_to_go: Any) -> Any:
        turns.append(1)
        yield ctx.call_activity("charge")
        yield ctx.call_activity("ship", input=len(turns))

    with pytest.raises(AssertionError, match="a parked run differs from a replay"):
        ModelHub(flow, Choices(b"\x00" * 8)).run()
