"""Parked runs go on only where a replay would have led to the same place."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_scheduled,
    at,
    failure_of,
    raised,
    result_of,
    started,
    summary,
    turn_marker,
)


def chain(ctx: Context) -> Generator[Any, Any, Any]:
    first = yield ctx.call_activity("one")
    second = yield ctx.call_activity("two")
    return [first, second]


def listener(ctx: Context) -> Generator[Any, Any, Any]:
    first = yield ctx.wait_for_external_event("go")
    second = yield ctx.wait_for_external_event("go")
    return [first, second]


def _starts(function: Callable[..., Any]) -> tuple[Callable[..., Any], list[int]]:
    """The workflow and a list that grows with each time its code starts over."""
    starts: list[int] = []

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        starts.append(1)
        return (yield from function(ctx))

    return flow, starts


class TestGoingOn:
    def test_the_code_runs_once_over_many_turns(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(1))
        instance.turn()
        output = instance.turn(activity_done(1, "1"))
        assert output.replayed == 1  # The confirmation of its call is all it had not seen.
        assert result_of(instance.turn(activity_done(2, "2"))) == "[1, 2]"
        assert len(starts) == 1

    def test_without_room_every_turn_replays(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(0))
        instance.turn()
        instance.turn(activity_done(1))
        assert instance.turn(activity_done(2)).replayed == len(instance.history) - 3
        assert len(starts) == 3

    def test_an_async_workflow_is_parked_too(self) -> None:
        starts: list[int] = []

        async def flow(ctx: Context) -> Any:
            starts.append(1)
            return [await ctx.call_activity("one"), await ctx.call_activity("two")]

        instance = Play(flow, parked=ParkedInstances(1))
        instance.turn()
        instance.turn(activity_done(1, "1"))
        assert result_of(instance.turn(activity_done(2, "2"))) == "[1, 2]"
        assert len(starts) == 1

    def test_a_version_stamped_onto_the_marker_is_no_difference(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(1))
        instance.turn()
        stamped = pb.HistoryEvent()
        stamped.CopyFrom(instance.history[0])
        stamped.workflowStarted.version.patches.append("patch")
        instance.history[0] = stamped
        instance.turn(activity_done(1))
        assert len(starts) == 1

    def test_a_history_read_from_the_wire_is_no_difference(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(1))
        for events in ([], [activity_done(1)], [activity_done(2)]):
            instance.history = [pb.HistoryEvent.FromString(e.SerializeToString()) for e in instance.history]
            instance.turn(*events)
        assert len(starts) == 1


class TestStartingOver:
    def test_after_a_lost_turn(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(1))
        instance.turn()
        lost = instance.turn(activity_done(1, "1"), commit=False)
        again = instance.turn(activity_done(1, "1"))
        assert lost.actions == again.actions
        assert len(starts) == 2

    def test_after_a_lost_turn_that_comes_again_with_other_events(self) -> None:
        instance = Play(listener, parked=ParkedInstances(1))
        instance.turn()
        instance.turn(raised("go", '"lost"'), commit=False)
        output = instance.turn(raised("go", '"first"'), raised("go", '"lost"'))
        assert result_of(output) == '["first", "lost"]'

    def test_after_events_were_committed_in_another_order(self) -> None:
        instance = Play(listener, parked=ParkedInstances(1))
        instance.turn()
        one, other = raised("go", "1"), raised("go", "2")
        lost = instance.turn(one, commit=False)
        assert lost.outcome is None
        # Another worker took the turn, with the marker of this one but the events in another order.
        instance.history += [turn_marker(1), other]
        output = instance.turn(one)
        assert result_of(output) == "[2, 1]"

    def test_after_a_marker_with_another_time(self) -> None:
        def clock(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            seen = ctx.current_utc_datetime.isoformat()
            yield ctx.call_activity("two")
            return seen

        instance = Play(clock, parked=ParkedInstances(1))
        instance.turn(moment=0)
        instance.turn(activity_done(1), moment=5, commit=False)
        instance.history += [turn_marker(7), activity_done(1), activity_scheduled(2, "two")]
        assert result_of(instance.turn(activity_done(2), moment=9)) == '"2026-01-01T00:00:07"'

    def test_when_the_history_is_shorter_than_what_was_consumed(self) -> None:
        flow, starts = _starts(chain)
        instance = Play(flow, parked=ParkedInstances(1))
        instance.turn()
        instance.turn(activity_done(1, "1"))
        del instance.history[3:]
        assert summary(instance.turn(activity_done(1, "2")).actions) == [(2, "activity two")]
        assert len(starts) == 2

    @pytest.mark.parametrize("turns_before", [1, 2])
    def test_for_another_execution_under_the_same_id(self, turns_before: int) -> None:
        parked = ParkedInstances(1)
        first = Play(chain, parked=parked)
        for turn in range(turns_before):
            first.turn(*([activity_done(turn, '"old"')] if turn else []))
        second = Play(chain, parked=parked, registry=first.registry)
        second._start = started("flow", execution_id="execution-2")
        second.history = [turn_marker(0), second._start, activity_scheduled(1, "one")]
        second.turn(activity_done(1, '"new"'))
        assert result_of(second.turn(activity_done(2, '"new"'))) == '["new", "new"]'

    def test_for_another_execution_whose_last_turn_was_the_same(self) -> None:
        def flow(ctx: Context, order: str) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            yield ctx.call_activity("two")
            return order

        parked = ParkedInstances(1)
        first = Play(flow, data='"old"', parked=parked)
        first.turn()
        first.turn(activity_done(1))
        second = Play(flow, parked=parked, registry=first.registry)
        second.history = list(first.history)
        second.history[1] = started("flow", '"new"', execution_id="execution-2")
        assert result_of(second.turn(activity_done(2), moment=2)) == '"new"'

    def test_when_other_code_has_the_name_now(self) -> None:
        parked = ParkedInstances(1)
        first = Play(chain, parked=parked)
        first.turn()

        def other(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            return "other"

        second = Play(other, parked=parked)
        second.history = list(first.history)
        assert result_of(second.turn(activity_done(1))) == '"other"'

    def test_when_the_function_chooses_its_generator_anew(self) -> None:
        """Sidecar tests swap the code of a running instance behind a function that is no generator itself."""
        versions = [chain]

        def flow(ctx: Context) -> Any:
            return versions[-1](ctx)

        parked = ParkedInstances(1)
        instance = Play(flow, parked=parked)
        instance.turn()
        assert len(parked) == 0

        def patched(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            return "patched"

        versions.append(patched)
        assert result_of(instance.turn(activity_done(1))) == '"patched"'

    def test_when_the_execution_has_no_id(self) -> None:
        parked = ParkedInstances(1)
        instance = Play(chain, parked=parked)
        instance._start = started("flow", execution_id="")
        instance.turn()
        assert len(parked) == 0

    def test_after_a_mismatch(self) -> None:
        parked = ParkedInstances(1)
        instance = Play(chain, parked=parked)
        instance.turn()
        instance.history[2] = activity_scheduled(1, "other")
        failure_of(instance.turn(activity_done(1)))
        assert len(parked) == 0


class TestRoom:
    def _turns(self, parked: ParkedInstances, *names: str) -> list[TurnOutput]:
        registry = Registry(module_level=False)
        registry.add("workflow", chain, "flow")
        return [
            run_turn(name, [], [turn_marker(), started("flow", instance_id=name)], registry, JsonConverter(), parked)
            for name in names
        ]

    def test_is_kept_by_dropping_the_run_used_least_recently(self) -> None:
        parked = ParkedInstances(2)
        self._turns(parked, "a", "b")
        self._turns(parked, "a", "c")
        assert len(parked) == 2
        registry = Registry(module_level=False)
        assert parked.take("b", [], registry) is None

    def test_a_dropped_run_unwinds_at_once(self) -> None:
        unwound: list[str] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity("one")
            finally:
                unwound.append(ctx.instance_id)

        parked = ParkedInstances(1)
        registry = Registry(module_level=False)
        for name in ("a", "b"):
            Play(flow, instance_id=name, parked=parked, registry=registry).turn()
        assert unwound == ["a"]
        parked.clear()
        assert unwound == ["a", "b"]
        assert len(parked) == 0

    def test_a_finished_instance_takes_none(self) -> None:
        parked = ParkedInstances(5)
        instance = Play(chain, parked=parked)
        instance.turn()
        instance.turn(activity_done(1))
        assert len(parked) == 1
        instance.turn(activity_done(2))
        assert len(parked) == 0

    def test_an_instance_nobody_started_takes_none(self) -> None:
        parked = ParkedInstances(5)
        registry = Registry(module_level=False)
        marker = pb.HistoryEvent(eventId=-1, timestamp=at(0), workflowStarted=pb.WorkflowStartedEvent())
        output = run_turn(INSTANCE, [], [marker], registry, JsonConverter(), parked)
        assert output.actions == []
        assert len(parked) == 0
