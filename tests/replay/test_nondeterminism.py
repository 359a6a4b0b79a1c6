"""Code that no longer asks for what history records: every combination is found and explained."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import Task
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    child_created,
    failure_of,
    raised,
    replay,
    summary,
    timer_created,
    timer_fired,
)


@dataclass(frozen=True)
class Made:
    """A call: how code makes it, how history records it and how messages name it."""

    make: Callable[[Context], Task[Any]]
    record: Callable[[int], pb.HistoryEvent]
    label: str
    what: str


_CALLS = {
    "activity a": Made(
        lambda ctx: ctx.call_activity("a"),
        lambda call_id: activity_scheduled(call_id, "a"),
        "a call of activity 'a'",
        "activity",
    ),
    "activity b": Made(
        lambda ctx: ctx.call_activity("b"),
        lambda call_id: activity_scheduled(call_id, "b"),
        "a call of activity 'b'",
        "activity",
    ),
    "child a": Made(
        lambda ctx: ctx.call_child_workflow("a"),
        lambda call_id: child_created(call_id, "a"),
        "a call of child workflow 'a'",
        "child",
    ),
    "child b": Made(
        lambda ctx: ctx.call_child_workflow("b"),
        lambda call_id: child_created(call_id, "b"),
        "a call of child workflow 'b'",
        "child",
    ),
    "timer": Made(lambda ctx: ctx.create_timer(timedelta(1)), timer_created, "a timer", "timer"),
    "timed wait": Made(
        lambda ctx: ctx.wait_for_external_event("go", timeout=timedelta(1)),
        lambda call_id: timer_created(call_id, waits_for="go"),
        "the timer of a wait for event 'go'",
        "timer",
    ),
}
_PAIRS = [
    pytest.param(_CALLS[was], _CALLS[now], id=f"{was} became {now}")
    for was, now in itertools.permutations(_CALLS, 2)
    # A timer is a timer, whatever it is for.
    if _CALLS[was].what != _CALLS[now].what or _CALLS[was].what != "timer"
]


@pytest.mark.parametrize(("was", "now"), _PAIRS)
def test_another_call_in_the_place_of_the_recorded_one(was: Made, now: Made) -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield now.make(ctx)

    failure = failure_of(replay(flow, [was.record(1)]))
    assert failure.error_type == "NonDeterminismError"
    for words in (
        "'flow'",
        repr(INSTANCE),
        f"call 1 of its history is {was.label}",
        f"the code now makes {now.label} there",
        f"{__file__}:",
        "Likely cause:",
        "What to do:",
    ):
        assert words in failure.message


@pytest.mark.parametrize("was", _CALLS.values(), ids=_CALLS)
def test_no_call_at_all_in_the_place_of_the_recorded_one(was: Made) -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("first")

    failure = failure_of(replay(flow, [activity_scheduled(1, "first"), was.record(2)]))
    line = flow.__code__.co_firstlineno + 1
    assert f"call 2 of its history is {was.label}" in failure.message
    assert f"the code now makes no such call and waits at {__file__}:{line}" in failure.message


def test_the_line_of_the_call_is_told_where_the_call_was_made_long_before_the_wait() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        charge = ctx.call_activity("charge")
        ship = ctx.call_activity("ship")
        yield charge
        yield ship

    failure = failure_of(replay(flow, [activity_scheduled(1, "charge"), activity_scheduled(2, "pack")]))
    assert f"{__file__}:{flow.__code__.co_firstlineno + 2}" in failure.message


def test_a_recorded_call_under_a_number_never_given() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    assert failure_of(replay(flow, [activity_scheduled(7, "charge")])).error_type == "NonDeterminismError"


def test_the_same_call_recorded_twice() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    twice = [activity_scheduled(1, "charge"), activity_scheduled(1, "charge")]
    assert failure_of(replay(flow, twice)).error_type == "NonDeterminismError"


def test_a_retry_where_history_has_something_else() -> None:
    policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3)

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge", retry_policy=policy)

    past = [activity_scheduled(1, "charge"), activity_failed(1), activity_scheduled(2, "undo")]
    message = failure_of(replay(flow, past)).message
    assert "the timer before the next try" in message
    assert "activity 'charge'" in message


def test_a_retry_policy_removed_after_deploy() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    past = [activity_scheduled(1, "charge"), activity_failed(1), timer_created(2), timer_fired(2)]
    assert failure_of(replay(flow, past)).error_type == "NonDeterminismError"


def test_a_branch_taken_by_something_that_is_not_in_the_history() -> None:
    coin = iter([True, False])

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("heads" if next(coin) else "tails")

    instance = Play(flow)
    instance.turn()
    message = failure_of(instance.turn(activity_done(1))).message
    assert "it decides by something that differs between runs" in message


def test_nothing_that_the_changed_code_asked_for_happens() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        ctx.call_activity("notify")
        yield ctx.call_child_workflow("invoice")

    output = replay(flow, [activity_scheduled(1, "notify"), activity_scheduled(2, "charge")])
    assert summary(output.actions) == [(3, "FAILED")]


def test_a_parked_run_that_meets_another_history_fails_like_a_replay() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    parked = ParkedInstances(1)
    instance = Play(flow, parked=parked)
    instance.turn()
    instance.history[-1] = activity_scheduled(1, "ship")
    assert failure_of(instance.turn(activity_done(1))).error_type == "NonDeterminismError"
    assert len(parked) == 0


def test_a_mismatch_in_an_async_workflow_names_its_line() -> None:
    async def helper(ctx: Context) -> Any:
        return await ctx.call_activity("charge")

    async def flow(ctx: Context) -> Any:
        return await helper(ctx)

    past = [activity_scheduled(1, "charge"), activity_scheduled(2, "ship")]
    message = failure_of(replay(flow, past)).message
    assert f"waits at {__file__}:{helper.__code__.co_firstlineno + 1}" in message


def test_an_event_is_never_a_mismatch() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    assert replay(flow, [activity_scheduled(1, "charge"), raised("unheard of")]).outcome is None
