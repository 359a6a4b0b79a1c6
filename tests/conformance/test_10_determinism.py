"""Scenarios 117 to 130 of the conformance list: code against history, results out of order, combinations."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowStatus,
    when_all,
    when_any,
)
from dapr_workflow_sdk.replay.turn import TurnOutput
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance import literal as h
from tests.conformance.hubs import Hub, kind_of

Run = Generator[Task[Any], Any, Any]
Call = Callable[[WorkflowContext], Task[Any]]


def _result(output: TurnOutput) -> str | None:
    """The result of a run that completed in this turn."""
    assert output.outcome is not None, h.asked(output)
    assert output.outcome.status == pb.WORKFLOW_STATUS_COMPLETED, output.outcome
    return output.outcome.result


# ---- 117: history and code differ --------------------------------------------------------------------------

_RECORDED: dict[str, pb.HistoryEvent] = {
    "activity": h.scheduled(1),
    "other activity": h.scheduled(1, "other"),
    "child": h.child_set(1),
    "other child": h.child_set(1, "other"),
    "timer": h.timer_set(1),
}
_CALLS: dict[str, Call] = {
    "activity": lambda ctx: ctx.call_activity("work"),
    "child": lambda ctx: ctx.call_child_workflow("child"),
    "timer": lambda ctx: ctx.create_timer(timedelta(seconds=10)),
    "wait": lambda ctx: ctx.wait_for_external_event("go"),
    "limited wait": lambda ctx: ctx.wait_for_external_event("go", timeout=timedelta(seconds=10)),
}
# The timer of a limited wait is a timer as far as histories without origins tell.
_FIT = {("activity", "activity"), ("child", "child"), ("timer", "timer"), ("timer", "limited wait")}


@pytest.mark.parametrize("called", _CALLS)
@pytest.mark.parametrize("recorded", _RECORDED)
def test_117_code_that_calls_something_else_fails(recorded: str, called: str) -> None:
    def changed(ctx: WorkflowContext) -> Run:
        return (yield _CALLS[called](ctx))

    output = h.turn(changed, [h.begun(), h.started(), _RECORDED[recorded]], [h.begun(1), h.raised("other")])
    if (recorded, called) in _FIT:
        assert output.outcome is None
        return
    end = h.ending(output)
    assert end.workflowStatus == pb.WORKFLOW_STATUS_FAILED
    assert end.failureDetails.errorType == "NonDeterminismError"
    assert "no longer matches its history" in end.failureDetails.errorMessage


def test_117_code_that_makes_fewer_calls_fails() -> None:
    def shorter(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity("work")
        return "done"

    past = [h.begun(), h.started(), h.scheduled(1), h.begun(1), h.completed(1), h.scheduled(2)]
    end = h.ending(h.turn(shorter, past, [h.begun(2), h.completed(2)]))
    assert (end.workflowStatus, end.failureDetails.errorType) == (
        pb.WORKFLOW_STATUS_FAILED,
        "NonDeterminismError",
    )


def test_117_code_that_makes_more_calls_at_its_end_does_not_fail() -> None:
    def longer(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity("work")
        return (yield ctx.call_activity("work"))

    output = h.turn(longer, [h.begun(), h.started(), h.scheduled(1)], [h.begun(1), h.completed(1)])
    assert h.asked(output) == [(2, "scheduleTask")]


def test_117_an_instance_whose_code_changed_fails_and_says_why(hub: Hub) -> None:
    changed = threading.Event()

    @hub.activity
    def before(ctx: WorkflowActivityContext) -> None: ...

    @hub.activity
    def after(ctx: WorkflowActivityContext) -> None: ...

    def code(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(after if changed.is_set() else before)
        ctx.set_custom_status("waiting")
        yield ctx.wait_for_external_event("go")

    @hub.workflow
    def subject(ctx: WorkflowContext) -> Run:
        # What another function returns is never kept between turns, so every turn replays.
        return code(ctx)

    instance_id = hub.start(subject)
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status, "it waits for the event")
    changed.set()
    hub.client.raise_workflow_event(instance_id, "go")
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.error_type == "NonDeterminismError"
    message = state.failure_details.message
    for part in (instance_id, "call 1 of its history", "before-", "after-", __file__):
        assert part in message, message


# ---- 118 to 120: results that come twice, early, or for nobody ---------------------------------------------


def _two(call: Call) -> Callable[[WorkflowContext], Run]:
    def two(ctx: WorkflowContext) -> Run:
        first = yield call(ctx)
        second = yield call(ctx)
        return [first, second]

    return two


_PAIRS: dict[str, tuple[Callable[[int], pb.HistoryEvent], Callable[[int, str], pb.HistoryEvent]]] = {
    "activity": (h.scheduled, h.completed),
    "child": (h.child_set, h.child_done),
    "timer": (h.timer_set, lambda call, text: h.timer_fired(call)),
}


@pytest.mark.parametrize("kind", _PAIRS)
@pytest.mark.parametrize("later", [False, True], ids=["same turn", "later turn"])
def test_118_the_second_of_two_results_is_dropped(kind: str, later: bool) -> None:
    record, finish = _PAIRS[kind]
    subject = _two(_CALLS[kind])
    past = [h.begun(), h.started(), record(1)]
    new = [h.begun(1), finish(1, '"a"'), *([] if later else [finish(1, '"b"')])]
    output = h.turn(subject, past, new)
    assert output.outcome is None
    assert [action_id for action_id, _ in h.asked(output)] == [2]

    past += [*new, record(2)]
    output = h.turn(subject, past, [h.begun(2), *([finish(1, '"b"')] if later else []), finish(2, '"c"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["a", "c"]')


def test_118_a_failure_after_the_result_is_dropped() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    new = [h.begun(1), h.completed(1, '"a"'), h.failed(1, "too late")]
    assert h.asked(h.turn(_two(_CALLS["activity"]), past, new)) == [(2, "scheduleTask")]


@pytest.mark.not_on("daprd", reason="1.16.0 holds the second answer back for a quarter of an hour")
def test_118_results_sent_twice_are_recorded_once(hub: Hub) -> None:
    @hub.activity
    def twice(ctx: WorkflowActivityContext, number: int) -> int:
        response = pb.ActivityResponse(instanceId=ctx.workflow_id, taskId=ctx.task_id, result=text_of(str(number)))
        for _ in range(2):
            hub.ask(lambda port: port.complete_activity(response))
        return -number

    @hub.workflow
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity(twice, input=number) for number in range(1, 6)]))

    state = hub.run(fan)
    assert state.serialized_output == "[1, 2, 3, 4, 5]"
    results = [event for event in hub.history(state.instance_id) if kind_of(event) == "taskCompleted"]
    assert sorted(event.taskCompleted.taskScheduledId for event in results) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", _PAIRS)
def test_119_a_result_that_comes_before_its_call_is_kept_for_it(kind: str) -> None:
    record, finish = _PAIRS[kind]
    past = [h.begun(), h.started(), record(1)]
    output = h.turn(_two(_CALLS[kind]), past, [h.begun(1), finish(2, '"second"'), finish(1, '"first"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["first", "second"]')


@pytest.mark.parametrize("kind", _PAIRS)
def test_119_it_is_kept_from_turn_to_turn(kind: str) -> None:
    record, finish = _PAIRS[kind]
    past = [h.begun(), h.started(), record(1), h.begun(1), finish(2, '"second"')]
    output = h.turn(_two(_CALLS[kind]), past, [h.begun(2), finish(1, '"first"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["first", "second"]')


def test_119_only_a_call_of_its_kind_takes_it() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    new = [h.begun(1), h.timer_fired(2), h.child_done(2), h.completed(1)]
    assert h.asked(h.turn(_two(_CALLS["activity"]), past, new)) == [(2, "scheduleTask")]


def test_120_results_that_nothing_ever_asks_for_do_no_harm() -> None:
    def one(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    orphans = [h.completed(7, '"x"'), h.failed(8, "x"), h.timer_fired(9), h.child_done(10, '"x"')]
    waiting = h.turn(one, [h.begun(), h.started(), h.scheduled(1)], [h.begun(1), *orphans])
    assert waiting.outcome is None
    assert waiting.actions == []

    past = [h.begun(), h.started(), h.scheduled(1), h.begun(1), *orphans]
    assert _result(h.turn(one, past, [h.begun(2), h.completed(1, '"done"'), *orphans])) == '"done"'


# ---- 130: combinations -------------------------------------------------------------------------------------


def test_130_results_are_in_the_order_of_the_calls() -> None:
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity("work") for _ in range(3)]))

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2), h.scheduled(3)]
    results = [h.completed(3, "3"), h.completed(1, "1"), h.completed(2, "2")]
    assert h.turn(fan, past, [h.begun(1), *results[:2]]).outcome is None
    assert _result(h.turn(fan, past, [h.begun(1), *results])) == "[1, 2, 3]"


def test_130_the_first_to_finish_wins() -> None:
    def race(ctx: WorkflowContext) -> Run:
        tasks = [
            ctx.call_activity("work"),
            ctx.create_timer(timedelta(seconds=10)),
            ctx.call_activity("work"),
        ]
        winner = yield when_any(tasks)
        return [tasks.index(winner), winner.get_result()]

    past = [h.begun(), h.started(), h.scheduled(1), h.timer_set(2), h.scheduled(3)]
    for number, result in ((1, h.completed(1, "1")), (2, h.timer_fired(2)), (3, h.completed(3, "3"))):
        others = [h.completed(1, "-1"), h.timer_fired(2), h.completed(3, "-3")]
        output = h.turn(race, past, [h.begun(1), result, *others])
        assert _result(output) == f"[{number - 1}, {'null' if number == 2 else number}]"


def test_130_a_failed_task_wins_and_raises_when_it_is_read() -> None:
    def race(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity("work"), ctx.call_activity("work")]
        winner = yield when_any(tasks)
        assert winner is tasks[1]
        assert winner.is_failed
        try:
            winner.get_result()
        except TaskFailedError as error:
            return error.details.message
        return None

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2)]
    assert _result(h.turn(race, past, [h.begun(1), h.failed(2, "broken")])) == '"broken"'


def test_130_combinations_of_nothing_are_there_at_once() -> None:
    def nothing(ctx: WorkflowContext) -> Run:
        everything = yield when_all([])
        anything = yield when_any([])
        both = yield when_all([when_all([]), when_all([])])
        return [everything, anything, both]

    assert _result(h.turn(nothing, [], [h.begun(), h.started()])) == "[[], [], [[], []]]"


def test_130_finished_tasks_can_be_combined_and_waited_for_again() -> None:
    def again(ctx: WorkflowContext) -> Run:
        first, second = ctx.call_activity("work"), ctx.call_activity("work")
        values = [(yield first)]
        winner = yield when_any([second, first])
        assert winner is first
        values += yield when_all([first, second, first])
        values.append((yield second))
        return values

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2)]
    assert _result(h.turn(again, past, [h.begun(1), h.completed(1, "1"), h.completed(2, "2")])) == "[1, 1, 2, 1, 2]"


def test_130_combinations_can_be_combined() -> None:
    def nested(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity("work") for _ in range(4)]
        left, right = when_all(tasks[:2]), when_all(tasks[2:])
        winner = yield when_any([left, right])
        first = "left" if winner is left else "right"
        both = yield when_all([left, right])
        return [first, both]

    past = [h.begun(), h.started(), *(h.scheduled(call) for call in range(1, 5))]
    order = [h.completed(call, str(call)) for call in (1, 4, 3, 2)]
    assert h.turn(nested, past, [h.begun(1), *order[:3]]).outcome is None
    assert _result(h.turn(nested, past, [h.begun(1), *order])) == '["right", [[1, 2], [3, 4]]]'


def test_130_combinations_on_a_hub(hub: Hub) -> None:
    gates = [threading.Event() for _ in range(4)]

    @hub.activity
    def wait(ctx: WorkflowActivityContext, number: int) -> int:
        assert gates[number].wait(20)
        return number

    @hub.workflow
    def combine(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity(wait, input=number) for number in range(4)]
        never = ctx.create_timer(timedelta(hours=1))
        pair = when_all([tasks[3], tasks[1]])
        winner = yield when_any([never, pair, when_all([])])
        assert winner.get_result() == []
        winner = yield when_any([never, tasks[0], pair])
        ctx.set_custom_status("pair" if winner is pair else "other")
        everything = yield when_all([when_any([tasks[2], never]), pair, when_all(tasks)])
        return [everything[0].get_result(), *everything[1:]]

    instance_id = hub.start(combine)
    for number in (1, 3):
        gates[number].set()
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status, "the pair is complete")
    for number in (2, 0):
        gates[number].set()
    state = hub.finish(instance_id)
    assert (state.serialized_custom_status, state.serialized_output) == ("pair", "[2, [3, 1], [0, 1, 2, 3]]")
