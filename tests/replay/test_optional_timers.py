"""Timers of waits without a timeout: recorded by newer SDKs, absent from older histories, and the ids around them."""

from __future__ import annotations

from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    child_created,
    child_done,
    failure_of,
    play,
    raised,
    replay,
    result_of,
    sentinel_created,
    summary,
    timer_created,
    timer_fired,
)


def _waits_then_calls(count: int, call: Callable[[Context], Any]) -> Callable[..., Any]:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        waits = [ctx.wait_for_external_event(f"event-{n}") for n in range(count)]
        first = yield call(ctx)
        ctx.call_activity("after")
        got = yield when_all(waits)
        return [first, *got]

    return flow


class TestNewHistories:
    def test_each_wait_without_a_timeout_asks_for_a_timer_that_never_fires(self) -> None:
        output = play(_waits_then_calls(2, lambda ctx: ctx.call_activity("charge")))
        assert summary(output.actions) == [
            (1, "wait event-0 forever"),
            (2, "wait event-1 forever"),
            (3, "activity charge"),
        ]
        fire_at = output.actions[0].createTimer.fireAt
        assert (fire_at.seconds, fire_at.nanos) == (253402300799, 999999999)

    @pytest.mark.parametrize("timeout", [timedelta(seconds=-1), timedelta.min])
    def test_a_negative_timeout_waits_for_ever(self, timeout: timedelta) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("go", timeout=timeout)

        assert summary(play(flow).actions) == [(1, "wait go forever")]

    def test_a_wait_with_a_timeout_asks_for_a_real_timer(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("go", timeout=timedelta(seconds=5))

        output = play(flow)
        assert summary(output.actions) == [(1, "wait go")]
        assert output.actions[0].createTimer.externalEvent.name == "go"

    def test_a_zero_timeout_takes_no_number(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.wait_for_external_event("go", timeout=timedelta(0))
            except TimeoutError as error:
                assert "zero" in str(error)
            yield ctx.call_activity("charge")

        assert summary(play(flow).actions) == [(1, "activity charge")]

    def test_an_event_that_is_there_takes_no_number(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            yield ctx.wait_for_external_event("go")
            yield ctx.wait_for_external_event("go", timeout=timedelta(0))
            yield ctx.call_activity("charge")

        instance = Play(flow)
        instance.turn()
        instance.turn(raised("go", "1"), raised("GO", "2"))
        assert summary(instance.turn(timer_fired(1)).actions) == [(2, "activity charge")]

    def test_the_timer_of_a_satisfied_wait_may_fire_late(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            first = yield ctx.wait_for_external_event("go", timeout=timedelta(seconds=5))
            second = yield ctx.wait_for_external_event("go", timeout=timedelta(seconds=5))
            return [first, second]

        instance = Play(flow)
        instance.turn()
        assert summary(instance.turn(raised("go", "1")).actions) == [(2, "wait go")]
        assert instance.turn(timer_fired(1)).outcome is None
        assert result_of(instance.turn(raised("go", "2"))) == "[1, 2]"

    def test_an_event_after_the_timeout_is_kept_for_the_next_wait(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.wait_for_external_event("go", timeout=timedelta(seconds=5))
            except TimeoutError:
                yield ctx.create_timer(timedelta(1))
            return (yield ctx.wait_for_external_event("go"))

        assert result_of(play(flow, timer_fired(1), raised("go", "1"), timer_fired(2))) == "1"

    def test_the_timeout_of_one_waiter_leaves_the_others_in_line(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            hasty = ctx.wait_for_external_event("go", timeout=timedelta(seconds=5))
            patient = ctx.wait_for_external_event("go")
            yield when_any([hasty, patient])
            assert hasty.is_failed
            return (yield patient)

        assert result_of(play(flow, timer_fired(1), raised("go", "7"))) == "7"


class TestOldHistories:
    """Written before waits without a timeout had timers: the calls after them have smaller numbers there."""

    @pytest.mark.parametrize("waits", [1, 2, 3, 7])
    @pytest.mark.parametrize(
        ("call", "recorded", "done"),
        [
            (lambda ctx: ctx.call_activity("charge"), activity_scheduled(1, "charge"), activity_done(1, "0")),
            (lambda ctx: ctx.call_child_workflow("c"), child_created(1, "c"), child_done(1, "0")),
            (lambda ctx: ctx.create_timer(timedelta(1)), timer_created(1), timer_fired(1)),
            (
                lambda ctx: ctx.wait_for_external_event("timed", timeout=timedelta(1)),
                timer_created(1, waits_for="timed"),
                raised("timed", "0"),
            ),
        ],
        ids=["activity", "child", "timer", "timed wait"],
    )
    def test_calls_after_waits_in_a_row_keep_their_old_numbers(
        self,
        waits: int,
        call: Callable[[Context], Any],
        recorded: pb.HistoryEvent,
        done: pb.HistoryEvent,
    ) -> None:
        output = replay(_waits_then_calls(waits, call), [recorded], done)
        assert summary(output.actions) == [(2, "activity after")]

    def test_the_waits_themselves_still_get_their_events(self) -> None:
        flow = _waits_then_calls(2, lambda ctx: ctx.call_activity("charge"))
        past = [activity_scheduled(1, "charge"), raised("event-1", "1"), activity_done(1, "7")]
        output = replay(flow, [*past, activity_scheduled(2, "after")], raised("event-0", "0"))
        assert result_of(output) == "[7, 0, 1]"

    def test_waits_between_calls(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            go = ctx.wait_for_external_event("go")
            yield ctx.call_activity("two")
            yield go
            yield ctx.call_activity("three")

        past = [activity_scheduled(1, "one"), activity_done(1), activity_scheduled(2, "two"), activity_done(2)]
        assert summary(replay(flow, past, raised("go")).actions) == [(3, "activity three")]

    def test_an_old_history_that_only_waits_gets_the_timer_now(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("go")
            yield ctx.call_activity("charge")

        # As in the official SDK: what history does not deny is asked for.
        assert summary(replay(flow, []).actions) == [(1, "wait go forever")]

    def test_calls_that_were_fanned_out_after_a_wait_all_move(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.wait_for_external_event("cancel")
            yield when_all([ctx.call_activity(f"a{n}") for n in range(3)])
            yield ctx.call_activity("last")

        past = [activity_scheduled(n + 1, f"a{n}") for n in range(3)]
        output = replay(flow, [*past, activity_done(3), activity_done(1)], activity_done(2))
        assert summary(output.actions) == [(4, "activity last")]

    def test_a_retried_call_after_a_wait_keeps_its_numbers(self) -> None:
        policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3)

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.wait_for_external_event("cancel")
            return (yield ctx.call_activity("charge", retry_policy=policy))

        output = replay(flow, [activity_scheduled(1, "charge")], activity_failed(1))
        assert summary(output.actions) == [(2, "timer activityRetry")]
        past = [activity_scheduled(1, "charge"), activity_failed(1), timer_created(2)]
        assert summary(replay(flow, past, timer_fired(2)).actions) == [(3, "activity charge")]
        more = [*past, timer_fired(2), activity_scheduled(3, "charge")]
        assert result_of(replay(flow, more, activity_done(3, "7"))) == "7"

    def test_another_call_after_the_waits_is_still_found(self) -> None:
        flow = _waits_then_calls(3, lambda ctx: ctx.call_activity("charge"))
        failure = failure_of(replay(flow, [activity_scheduled(1, "ship")], activity_done(1)))
        assert failure.error_type == "NonDeterminismError"
        assert "'ship'" in failure.message

    def test_messages_name_the_number_that_history_has(self) -> None:
        flow = _waits_then_calls(2, lambda ctx: ctx.call_activity("charge"))
        failure = failure_of(replay(flow, [activity_scheduled(1, "charge")], activity_failed(1, "no")))
        assert failure.message == f"{INSTANCE}: Activity task #1 failed: no"

    def test_parked_runs_keep_the_moved_numbers(self) -> None:
        flow = _waits_then_calls(2, lambda ctx: ctx.call_activity("charge"))
        parked = ParkedInstances(1)
        instance = Play(flow, parked=parked)
        instance.turn()
        # The history comes back without the timers, as if an old worker had taken the turn.
        instance.history = [*instance.history[:2], activity_scheduled(1, "charge")]
        instance.history.append(raised("unheard of"))
        output = instance.turn(activity_done(1, "0"))
        assert summary(output.actions) == [(2, "activity after")]
        assert len(parked) == 1
        instance.turn(raised("event-0", "1"))
        assert result_of(instance.turn(raised("event-1", "2"))) == "[0, 1, 2]"


class TestTimersOfOlderCode:
    """History has the timer of a wait that the code no longer makes there."""

    @pytest.mark.parametrize("name", ["go", None], ids=["with origin", "without origin"])
    def test_a_call_put_before_a_wait_is_not_mistaken_for_it(self, name: str | None) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("new")
            yield ctx.wait_for_external_event("go")

        output = replay(flow, [sentinel_created(1, name)])
        assert summary(output.actions) == [(1, "activity new")]

    def test_a_wait_removed_from_the_code_leaves_no_trace(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            return "done"

        output = replay(flow, [sentinel_created(1, "go"), timer_created(1)], timer_fired(1))
        assert result_of(output) == '"done"'

    def test_another_name_of_the_awaited_event_is_no_mismatch(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.wait_for_external_event("renamed"))

        assert result_of(replay(flow, [sentinel_created(1, "go")], raised("renamed", "1"))) == "1"

    def test_a_timer_that_is_no_sentinel_still_needs_its_call(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("new")

        assert failure_of(replay(flow, [timer_created(1, waits_for="go")])).error_type == "NonDeterminismError"

    def test_a_timer_asked_for_as_far_as_time_goes_is_no_sentinel(self) -> None:
        from datetime import datetime

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(datetime.max)

        first = play(flow)
        assert summary(first.actions) == [(1, "timer createTimer")]
        instance = Play(flow)
        instance.turn()
        assert instance.turn(raised("anything")).outcome is None
