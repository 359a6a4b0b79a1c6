"""Suspending, resuming, terminating and continuing as new, in every order in which they can come."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Generator
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    Play,
    activity_done,
    play,
    raised,
    result_of,
    resumed,
    summary,
    suspended,
    terminated,
    timer_fired,
)


def chain(ctx: Context) -> Generator[Any, Any, Any]:
    first = yield ctx.call_activity("one")
    second = yield ctx.call_activity("two")
    return [first, second]


def listener(ctx: Context) -> Generator[Any, Any, Any]:
    return [(yield ctx.wait_for_external_event("go")), (yield ctx.wait_for_external_event("go"))]


def _status(output: TurnOutput) -> str:
    assert output.outcome is not None
    return pb.WorkflowStatus.Name(output.outcome.status).removeprefix("WORKFLOW_STATUS_")


@pytest.fixture(params=[0, 5], ids=["replayed", "parked"])
def parked(request: pytest.FixtureRequest) -> ParkedInstances:
    return ParkedInstances(request.param)


class TestSuspend:
    def test_holds_everything_until_resume_and_then_goes_on_in_order(self, parked: ParkedInstances) -> None:
        instance = Play(listener, parked=parked)
        instance.turn()
        for event in (suspended(), raised("go", "1"), raised("go", "2")):
            output = instance.turn(event)
            assert output.actions == []
            assert output.outcome is None
        assert result_of(instance.turn(resumed())) == "[1, 2]"

    def test_holds_what_comes_in_the_same_turn(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        assert instance.turn(suspended(), activity_done(1)).actions == []
        assert summary(instance.turn(resumed()).actions) == [(2, "activity two")]

    def test_keeps_back_what_the_code_asked_for_before_it_in_the_same_turn(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        assert instance.turn(suspended()).actions == []
        assert summary(instance.turn(resumed()).actions) == [(1, "activity one")]

    def test_and_resume_in_one_turn_change_nothing(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        output = instance.turn(suspended(), activity_done(1), resumed())
        assert summary(output.actions) == [(2, "activity two")]

    def test_twice_is_ended_by_one_resume(self, parked: ParkedInstances) -> None:
        """As everywhere else: suspended or not, there is no count."""
        instance = Play(chain, parked=parked)
        instance.turn()
        instance.turn(suspended())
        instance.turn(suspended(), activity_done(1))
        assert summary(instance.turn(resumed()).actions) == [(2, "activity two")]

    def test_after_a_resume_suspends_again(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        instance.turn(suspended())
        instance.turn(resumed())
        assert instance.turn(suspended(), activity_done(1)).actions == []
        assert summary(instance.turn(resumed()).actions) == [(2, "activity two")]

    def test_resuming_what_runs_changes_nothing(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        assert instance.turn(resumed()).actions == []
        assert summary(instance.turn(activity_done(1)).actions) == [(2, "activity two")]

    def test_a_timer_that_came_due_meanwhile_counts_at_resume(self, parked: ParkedInstances) -> None:
        def sleeper(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(seconds=1))
            return ctx.current_utc_datetime.isoformat()

        instance = Play(sleeper, parked=parked)
        instance.turn(moment=0)
        instance.turn(suspended(), moment=1)
        instance.turn(timer_fired(1), moment=2)
        # The code runs on in the turn that brought the timer: time goes through the held turns in order.
        assert result_of(instance.turn(resumed(), moment=9)) == '"2026-01-01T00:00:02"'

    def test_a_suspended_instance_keeps_its_custom_status(self, parked: ParkedInstances) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.set_custom_status("waiting")
            yield ctx.call_activity("one")

        instance = Play(flow, parked=parked)
        instance.turn()
        assert instance.turn(suspended()).custom_status == "waiting"

    def test_history_confirmed_while_suspended_is_checked_at_resume(self, parked: ParkedInstances) -> None:
        """The official SDK answers a turn that suspends with the actions before it."""
        instance = Play(chain, parked=parked)
        instance.turn()
        confirmation = instance.history.pop()
        instance.turn(suspended())
        instance.history.append(confirmation)
        assert summary(instance.turn(resumed(), activity_done(1)).actions) == [(2, "activity two")]


class TestTerminate:
    @pytest.mark.parametrize("output", [None, '"stopped"', "0", "false", '""', "null"])
    def test_ends_with_the_given_output_as_it_is(self, output: str | None, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        end = instance.turn(terminated(output))
        assert summary(end.actions) == [(2, "TERMINATED")]
        complete = end.actions[0].completeWorkflow
        assert complete.HasField("result") is (output is not None)
        assert complete.result.value == (output or "")
        assert len(parked) == 0

    def test_asks_for_nothing_but_the_end(self) -> None:
        assert summary(Play(chain).turn(terminated()).actions) == [(2, "TERMINATED")]

    def test_works_while_suspended(self, parked: ParkedInstances) -> None:
        instance = Play(chain, parked=parked)
        instance.turn()
        instance.turn(suspended(), activity_done(1))
        assert _status(instance.turn(terminated())) == "TERMINATED"

    def test_comes_too_late_after_the_code_completed_in_the_same_turn(self) -> None:
        instance = Play(chain)
        instance.turn()
        instance.turn(activity_done(1, "1"))
        assert result_of(instance.turn(activity_done(2, "2"), terminated())) == "[1, 2]"

    def test_comes_too_late_after_the_code_failed_in_the_same_turn(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            raise ValueError

        instance = Play(flow)
        instance.turn()
        assert _status(instance.turn(activity_done(1), terminated())) == "FAILED"

    def test_beats_a_completion_that_comes_after_it(self) -> None:
        instance = Play(chain)
        instance.turn()
        instance.turn(activity_done(1))
        assert _status(instance.turn(terminated(), activity_done(2))) == "TERMINATED"

    def test_beats_continue_as_new_before_it(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("one")
            ctx.continue_as_new(1, save_events=True)

        instance = Play(flow)
        instance.turn()
        output = instance.turn(activity_done(1), raised("go"), terminated('"stopped"'))
        assert summary(output.actions) == [(2, "TERMINATED")]
        assert not output.actions[0].completeWorkflow.carryoverEvents

    def test_twice_ends_with_the_first_output(self) -> None:
        output = play(chain, terminated('"first"'))
        assert output.outcome is not None
        both = Play(chain).turn(terminated('"first"'), terminated('"second"'))
        assert both.outcome is not None
        assert both.outcome.result == '"first"'

    def test_beats_code_that_catches_everything_and_goes_on(self) -> None:
        """A bare `except` around a wait in a loop also catches what drops the run; the worker must get away."""
        laps: list[int] = []

        def stubborn(ctx: Context) -> Generator[Any, Any, Any]:
            while len(laps) < 1000:
                laps.append(1)
                try:
                    yield ctx.call_activity("one")
                except BaseException:
                    continue

        assert _status(play(stubborn, terminated())) == "TERMINATED"
        assert len(laps) < 1000, "the worker would never have come back"


class TestContinueAsNew:
    def test_ends_the_run_with_the_next_input(self) -> None:
        def flow(ctx: Context, n: int) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            ctx.continue_as_new(n + 1)

        output = play(flow, timer_fired(1), data="1")
        assert summary(output.actions) == [(2, "CONTINUED_AS_NEW")]
        assert output.actions[0].completeWorkflow.result.value == "2"

    @pytest.mark.parametrize(("value", "text"), [(None, None), (0, "0"), (False, "false"), ("", '""'), ([], "[]")])
    def test_keeps_falsy_inputs(self, value: Any, text: str | None) -> None:
        def flow(ctx: Context) -> None:
            ctx.continue_as_new(value)

        complete = play(flow).actions[0].completeWorkflow
        assert complete.HasField("result") is (text is not None)
        assert complete.result.value == (text or "")

    def test_takes_effect_at_the_next_wait_and_drops_what_came_after_it(self) -> None:
        reached: list[str] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.call_activity("before")
            ctx.continue_as_new(1)
            reached.append("after")
            ctx.call_activity("after")
            yield ctx.create_timer(timedelta(1))
            reached.append("never")

        assert summary(play(flow).actions) == [(4, "CONTINUED_AS_NEW")]
        assert reached == ["after"]

    def test_takes_effect_at_a_task_that_is_there_already(self) -> None:
        reached: list[str] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            from dapr_workflow_sdk.authoring.tasks import when_all

            ctx.continue_as_new(1)
            yield when_all([])
            reached.append("never")

        assert _status(play(flow)) == "CONTINUED_AS_NEW"
        assert reached == []

    def test_the_first_call_of_a_run_counts(self) -> None:
        def flow(ctx: Context) -> None:
            ctx.continue_as_new(1, save_events=True)
            ctx.continue_as_new(2)

        assert play(flow).actions[0].completeWorkflow.result.value == "1"

    def test_wins_over_a_result(self) -> None:
        def flow(ctx: Context) -> str:
            ctx.continue_as_new(1)
            return "result"

        assert _status(play(flow)) == "CONTINUED_AS_NEW"

    def test_wins_over_an_error_after_it_with_a_notice(self) -> None:
        def flow(ctx: Context) -> None:
            ctx.continue_as_new(1)
            raise ValueError("too late")

        output = play(flow)
        assert _status(output) == "CONTINUED_AS_NEW"
        assert "ValueError: too late" in output.notices[0]

    def test_wins_over_an_error_after_it_that_cannot_be_shown(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        def flow(ctx: Context) -> None:
            ctx.continue_as_new(1)
            raise Mute

        assert _status(play(flow)) == "CONTINUED_AS_NEW"

    def test_wins_over_a_yield_of_what_is_no_task(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.continue_as_new(1)
            yield None

        assert _status(play(flow)) == "CONTINUED_AS_NEW"

    def test_works_in_async_and_plain_workflows(self) -> None:
        async def flow(ctx: Context) -> None:
            ctx.continue_as_new(1)
            await ctx.create_timer(timedelta(1))

        assert _status(play(flow)) == "CONTINUED_AS_NEW"

    def test_is_not_parked(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            ctx.continue_as_new(1)

        parked = ParkedInstances(5)
        instance = Play(flow, parked=parked)
        instance.turn()
        instance.turn(timer_fired(1))
        assert len(parked) == 0


def _renewing(ctx: Context) -> Generator[Any, Any, Any]:
    yield ctx.create_timer(timedelta(1))
    ctx.continue_as_new(1, save_events=True)


def _carried(output: TurnOutput) -> list[tuple[str, str | None]]:
    events = output.actions[-1].completeWorkflow.carryoverEvents
    return [
        (event.eventRaised.name, event.eventRaised.input.value if event.eventRaised.HasField("input") else None)
        for event in events
    ]


class TestCarryover:
    def test_is_in_the_order_of_arrival_whatever_the_names(self) -> None:
        events = [raised(name, str(n)) for n, name in enumerate(["b", "a", "B", "c", "a"])]
        instance = Play(_renewing)
        instance.turn()
        output = instance.turn(*events, timer_fired(1))
        assert _carried(output) == [("b", "0"), ("a", "1"), ("B", "2"), ("c", "3"), ("a", "4")]

    @pytest.mark.parametrize("data", [None, "0", "false", '""', "[]", "{}", "null"])
    def test_keeps_falsy_data(self, data: str | None) -> None:
        assert _carried(play(_renewing, raised("go", data), timer_fired(1))) == [("go", data)]

    def test_leaves_out_what_somebody_waited_for(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("go")
            ctx.continue_as_new(1, save_events=True)

        instance = Play(flow)
        instance.turn()
        assert _carried(instance.turn(raised("go", "1"), raised("go", "2"))) == [("go", "2")]

    def test_takes_what_comes_after_the_decision_in_the_same_turn(self) -> None:
        instance = Play(_renewing)
        instance.turn()
        assert _carried(instance.turn(timer_fired(1), raised("go", "1"))) == [("go", "1")]

    def test_takes_what_comes_after_the_decision_even_if_a_wait_was_left_behind(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.wait_for_external_event("go")
            yield ctx.create_timer(timedelta(1))
            ctx.continue_as_new(1, save_events=True)

        instance = Play(flow)
        instance.turn()
        assert _carried(instance.turn(timer_fired(2), raised("go", "1"))) == [("go", "1")]

    def test_takes_what_was_held_by_a_suspension_in_the_same_turn(self) -> None:
        instance = Play(_renewing)
        instance.turn()
        output = instance.turn(timer_fired(1), suspended(), raised("go", "1"), raised("go", "2"))
        assert _carried(output) == [("go", "1"), ("go", "2")]

    def test_is_empty_unless_asked_for(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            ctx.continue_as_new(1)

        assert _carried(play(flow, raised("go", "1"), timer_fired(1))) == []

    def test_events_are_the_ones_that_arrived(self) -> None:
        event = raised("go", "1")
        output = play(_renewing, event, timer_fired(1))
        assert list(output.actions[-1].completeWorkflow.carryoverEvents) == [event]


def test_a_process_ends_whatever_code_that_was_dropped_catches() -> None:
    """At the end of a process what the code calls is gone, so that it gets errors only, and catches them for ever."""
    program = """
from dapr_workflow_sdk.authoring.tasks import Task
from dapr_workflow_sdk.replay.code import Code

class Gone:
    def __call__(self):
        return Task()

call = Gone()

def never_gives_up(ctx):
    while True:
        try:
            yield call()
        except BaseException:
            continue

code = Code()
code.start(never_gives_up, None)
code.close()
print(code.stubborn)
"""
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=30)
    assert (run.stdout, run.stderr) == ("True\n", "")
