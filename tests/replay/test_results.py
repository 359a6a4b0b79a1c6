"""Results that come early, late or twice, and which wait each of them ends."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    child_created,
    child_done,
    child_failed,
    child_terminated,
    failure_of,
    play,
    raised,
    replay,
    result_of,
    started,
    summary,
    timer_created,
    timer_fired,
    turn_marker,
)


@dataclass
class Receipt:
    number: int


def charge(ctx: Any, order: int) -> Receipt:
    raise NotImplementedError


def invoice(ctx: Any, order: int) -> Generator[Any, Any, Receipt]:
    raise NotImplementedError


class TestTypes:
    def test_results_of_functions_are_of_their_annotated_type(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            first = yield ctx.call_activity(charge, input=1)
            second = yield ctx.call_child_workflow(invoice, input=1)
            assert isinstance(first, Receipt)
            assert isinstance(second, Receipt)
            return first.number + second.number

        assert result_of(play(flow, activity_done(1, '{"number": 1}'), child_done(2, '{"number": 2}'))) == "3"

    def test_results_of_names_are_plain(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            result = yield ctx.call_activity("charge")
            return result["number"]

        assert result_of(play(flow, activity_done(1, '{"number": 1}'))) == "1"

    def test_yield_from_gives_the_same_as_yield(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            receipt = yield from ctx.call_activity(charge, input=1)
            return receipt.number

        assert result_of(play(flow, activity_done(1, '{"number": 1}'))) == "1"


_KINDS = [
    pytest.param(lambda ctx: ctx.call_activity("a"), activity_done(1, "7"), "7", id="activity"),
    pytest.param(lambda ctx: ctx.call_child_workflow("c"), child_done(1, "7"), "7", id="child"),
    pytest.param(lambda ctx: ctx.create_timer(timedelta(1)), timer_fired(1), "null", id="timer"),
]


@pytest.mark.parametrize(("call", "done", "result"), _KINDS)
class TestOnce:
    def test_a_doubled_result_is_noted_and_ignored(
        self, call: Callable[[Context], Any], done: pb.HistoryEvent, result: str
    ) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            first = yield call(ctx)
            second = yield ctx.call_activity("next")
            return [first, second]

        instance = Play(flow)
        instance.turn()
        instance.turn(done)
        output = instance.turn(done)
        assert output.outcome is None
        assert output.actions == []
        assert "Ignored a late or doubled result" in output.notices[0]
        assert result_of(instance.turn(activity_done(2, "8"))) == f"[{result}, 8]"

    def test_two_in_one_turn_count_once(
        self, call: Callable[[Context], Any], done: pb.HistoryEvent, result: str
    ) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield call(ctx)
            yield call(ctx)

        instance = Play(flow)
        instance.turn()
        output = instance.turn(done, done)
        assert output.outcome is None
        assert [action.id for action in output.actions] == [2]

    def test_a_doubled_result_of_the_past_is_ignored_silently(
        self, call: Callable[[Context], Any], done: pb.HistoryEvent, result: str
    ) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield call(ctx)
            yield ctx.call_activity("next")

        instance = Play(flow)
        instance.turn()
        instance.turn(done)
        instance.turn(done)
        assert instance.turn(raised("nothing")).notices == []

    def test_a_result_before_its_call_settles_the_call(
        self, call: Callable[[Context], Any], done: pb.HistoryEvent, result: str
    ) -> None:
        """A task hub lost the turn after it had sent the call on its way."""

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return [(yield call(ctx))]

        instance = Play(flow)
        new = [turn_marker(), done, started("flow")]
        output = run_turn(INSTANCE, [], new, instance.registry, instance.converter, ParkedInstances(0))
        assert result_of(output) == f"[{result}]"


class TestEarly:
    def test_the_result_waits_for_the_call_with_its_number(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            first = yield ctx.call_activity("one")
            second = yield ctx.call_activity("two")
            return [first, second]

        instance = Play(flow)
        instance.turn()
        output = instance.turn(activity_done(2, '"early"'))
        assert output.actions == []
        output = instance.turn(activity_done(1, '"first"'))
        assert result_of(output) == '["first", "early"]'
        # The call is asked for although its result is there: a task hub finds it in the history it keeps.
        assert summary(output.actions) == [(2, "activity two"), (3, "COMPLETED")]

    def test_a_result_of_another_kind_does_not_settle_the_call(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            yield ctx.call_activity("two")

        instance = Play(flow)
        instance.turn()
        instance.turn(timer_fired(2))
        assert instance.turn(activity_done(1)).outcome is None
        assert instance.turn(activity_done(2)).outcome is not None

    def test_an_early_failure_starts_the_retries_of_the_call(self) -> None:
        policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=2)

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            yield ctx.call_activity("two", retry_policy=policy)

        instance = Play(flow)
        instance.turn()
        instance.turn(activity_failed(2))
        output = instance.turn(activity_done(1))
        assert summary(output.actions) == [(2, "activity two"), (3, "timer activityRetry")]

    def test_an_early_timer_ends_the_wait_it_belongs_to(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            try:
                yield ctx.wait_for_external_event("go", timeout=timedelta(seconds=1))
            except TimeoutError:
                return "timed out"

        instance = Play(flow)
        instance.turn()
        instance.turn(timer_fired(2))
        assert result_of(instance.turn(activity_done(1))) == '"timed out"'

    def test_a_result_that_no_call_ever_takes_is_harmless(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")

        assert result_of(play(flow, activity_done(99), activity_done(1))) is None

    def test_parked_and_replayed_runs_treat_early_results_alike(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            first = yield ctx.call_activity("one")
            second = yield ctx.call_activity("two")
            return [first, second]

        for parked in (ParkedInstances(0), ParkedInstances(1)):
            instance = Play(flow, parked=parked)
            instance.turn()
            instance.turn(activity_done(2, "2"))
            assert result_of(instance.turn(activity_done(1, "1"))) == "[1, 2]"


class TestWrongKind:
    @pytest.mark.parametrize("event", [timer_fired(1), child_done(1), child_failed(1)])
    def test_a_result_of_another_kind_is_noted_and_the_call_goes_on(self, event: pb.HistoryEvent) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return (yield ctx.call_activity("one"))

        instance = Play(flow)
        instance.turn()
        output = instance.turn(event)
        assert output.outcome is None
        assert "a call of activity 'one'" in output.notices[0]
        assert result_of(instance.turn(activity_done(1, "7"))) == "7"

    def test_a_result_for_number_zero_or_below_is_noted(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")

        instance = Play(flow)
        instance.turn()
        for call_id in (0, -1):
            assert instance.turn(activity_done(call_id)).notices

    def test_a_second_start_is_ignored(self) -> None:
        def flow(ctx: Context, order: int) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one", input=order)

        instance = Play(flow, data="1")
        instance.turn()
        assert instance.turn(instance.history[1]).actions == []


class TestOrder:
    def test_the_code_goes_on_at_the_very_event_it_waited_for(self) -> None:
        order: list[str] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            slow = ctx.call_activity("slow")
            yield ctx.call_activity("quick")
            order.append("complete" if slow.is_complete else "open")
            yield slow
            order.append("complete" if slow.is_complete else "open")

        instance = Play(flow)
        instance.turn()
        instance.turn(activity_done(2), activity_done(1))
        assert order[-2:] == ["open", "complete"]

    def test_the_winner_is_the_task_whose_result_came_first(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            tasks = [ctx.call_activity(f"a{n}") for n in range(3)]
            winner = yield when_any(tasks)
            return [winner is task for task in tasks]

        instance = Play(flow)
        instance.turn()
        assert result_of(instance.turn(activity_done(2), activity_done(1))) == "[false, true, false]"

    def test_when_all_raises_the_failure_that_came_first(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield when_all([ctx.call_activity(f"a{n}") for n in range(3)])

        output = play(flow, activity_failed(3, "third"), activity_failed(1, "first"), activity_done(2))
        assert "#3 failed: third" in failure_of(output).message

    def test_a_task_may_be_awaited_again_after_it_finished(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            task = ctx.call_activity("one")
            return [(yield task), (yield task), (yield from task)]

        assert result_of(play(flow, activity_done(1, "7"))) == "[7, 7, 7]"

    def test_a_failed_task_raises_each_time_it_is_awaited(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            task = ctx.call_activity("one")
            caught = 0
            for _ in range(3):
                try:
                    yield task
                except Exception:
                    caught += 1
            return caught

        assert result_of(play(flow, activity_failed(1))) == "3"

    def test_an_empty_combination_needs_no_event(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return [(yield when_all([])), (yield when_any([]))]

        assert result_of(play(flow)) == "[[], []]"


class TestFailures:
    def test_a_failed_child_tells_its_error(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_child_workflow("invoice")

        failure = failure_of(play(flow, child_failed(1, "no paper", "PrinterError")))
        assert failure.message == "Child workflow task #1 failed: no paper"
        assert failure.cause is not None
        assert failure.cause.error_type == "PrinterError"

    def test_a_terminated_child_is_a_failure_that_says_so(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_child_workflow("invoice")
            except Exception as error:
                return [type(error).__name__, str(error)]

        result = str(result_of(play(flow, child_terminated(1))))
        assert "TaskFailedError" in result
        assert "terminated" in result

    def test_the_details_of_a_failure_are_there_for_the_code(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity("charge")
            except Exception as error:
                details = error.details  # type: ignore[attr-defined]
                return [details.error_type, details.message, details.stack_trace]

        event = activity_failed(1, "declined", "CardError")
        event.taskFailed.failureDetails.stackTrace.value = "line 1"
        assert result_of(play(flow, event)) == '["CardError", "declined", "line 1"]'


class TestUnawaited:
    def test_calls_nobody_waited_for_happen_when_the_code_ends(self) -> None:
        def flow(ctx: Context) -> None:
            ctx.call_activity("notify")
            ctx.create_timer(timedelta(1))
            ctx.call_child_workflow("audit")

        assert summary(play(flow).actions) == [(1, "activity notify"), (3, "child audit"), (4, "COMPLETED")]

    def test_they_happen_when_the_code_fails(self) -> None:
        def flow(ctx: Context) -> None:
            ctx.call_activity("notify")
            raise ValueError

        assert summary(play(flow).actions) == [(1, "activity notify"), (2, "FAILED")]

    def test_they_are_not_asked_for_again(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.call_activity("notify")
            yield ctx.call_activity("charge")

        assert summary(play(flow, activity_done(2)).actions) == [(3, "COMPLETED")]

    def test_their_failure_disturbs_nobody(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.call_activity("notify")
            yield ctx.call_activity("charge")

        assert result_of(play(flow, activity_failed(1), activity_done(2))) is None

    def test_their_retries_end_with_the_code(self) -> None:
        policy = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=5)

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.call_activity("notify", retry_policy=policy)
            yield ctx.call_activity("charge")

        instance = Play(flow)
        instance.turn()
        output = instance.turn(activity_done(2), activity_failed(1))
        assert summary(output.actions) == [(3, "COMPLETED")]


def test_the_id_of_a_child_is_made_of_the_parents_and_the_number_of_the_call() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        for _ in range(11):
            ctx.call_activity("a")
        yield when_all([ctx.call_child_workflow("c"), ctx.call_child_workflow("c", instance_id="mine")])

    actions = play(flow).actions
    assert [a.createChildWorkflow.instanceId for a in actions[-2:]] == [f"{INSTANCE}:000c", "mine"]


def test_a_call_to_another_app_names_both_apps() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        ctx.call_activity("near")
        ctx.call_activity("far", app_id="warehouse")
        yield ctx.call_child_workflow("far", app_id="warehouse")

    near, far, child = Play(flow, app_id="shop").turn().actions
    assert (near.router.sourceAppID, near.router.HasField("targetAppID")) == ("shop", False)
    for action in (far, child):
        assert (action.router.sourceAppID, action.router.targetAppID) == ("shop", "warehouse")


def test_a_history_without_any_confirmations_is_no_mismatch() -> None:
    """Only what history records is compared; what it lacks is asked for."""

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("one")
        yield ctx.call_child_workflow("two")

    past = [activity_scheduled(1, "one"), activity_done(1)]
    assert summary(replay(flow, past).actions) == [(2, "child two")]
    assert replay(flow, [*past, child_created(2, "two")]).actions == []
    assert failure_of(replay(flow, [*past, timer_created(2)])).error_type == "NonDeterminismError"
