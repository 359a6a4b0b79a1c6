"""Workflows before and after a change, and what is said about each: one pair for every rule."""

from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.causes import Cause, Situation, diagnose
from dapr_workflow_sdk.replay.mismatch import Mismatch
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.source import parting, read_source
from dapr_workflow_sdk.replay.steps import Step, StepKind
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing.replayer import Replayer
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    child_done,
    raised,
    started,
    timer_fired,
    turn_marker,
)

Flow = Callable[[Context, Any], Any]
Run = Generator[Any, Any, Any]
_POLICY = RetryPolicy(first_retry_interval=timedelta(seconds=1), max_number_of_attempts=3)


def record(function: Flow, *, failing: tuple[str, ...] = ()) -> list[pb.HistoryEvent]:
    """The history of a run in which every call is answered: activities named in `failing` fail once."""
    play = Play(function, data='{"id": 7, "total": 40}')
    play.turn()
    answered: set[int] = set()
    failed: set[str] = set()
    while play.outputs[-1].outcome is None:
        events = []
        for event in list(play.history):
            if event.eventId <= 0 or event.eventId in answered:
                continue
            answered.add(event.eventId)
            kind = event.WhichOneof("eventType")
            if (
                kind == "taskScheduled"
                and event.taskScheduled.name in failing
                and event.taskScheduled.name not in failed
            ):
                failed.add(event.taskScheduled.name)
                events.append(activity_failed(event.eventId))
            elif kind == "taskScheduled":
                events.append(activity_done(event.eventId, json.dumps(f"{event.taskScheduled.name} done")))
            elif kind == "childWorkflowInstanceCreated":
                events.append(child_done(event.eventId, '"child done"'))
            elif event.timerCreated.HasField("externalEvent"):
                events.append(raised(event.timerCreated.externalEvent.name, '"yes"'))
            else:
                events.append(timer_fired(event.eventId))
        assert events, "the run waits for ever"
        play.turn(*events)
    return play.history


def explain(old: Flow, new: Flow, **options: Any) -> Mismatch:
    """What is said when `new` meets the history of `old`."""
    history = record(old, **options)
    registry = Registry(module_level=False)
    registry.add("workflow", new, "flow")
    mismatch = Replayer(registry=registry).replay(history).mismatch
    assert mismatch is not None
    return mismatch


def line_of(function: Flow, offset: int) -> int:
    return function.__code__.co_firstlineno + offset


# ---- orders, before and after ----------------------------------------------------------------------------------


def order(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_renamed(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield ctx.call_activity("charge_card", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_with_a_check(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    yield ctx.call_activity("check_fraud", input=order["id"])
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_with_a_pause(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    yield ctx.create_timer(timedelta(hours=1))
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_that_asks(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    yield ctx.wait_for_external_event("approved")
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_without_reserving(ctx: Context, order: Any) -> Run:
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_shipped_first(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    yield ctx.call_activity("ship", input="soon")
    return (yield ctx.call_activity("charge", input=order["total"]))


def order_charged_by_a_child(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield ctx.call_child_workflow("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_that_stops(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    return (yield ctx.call_activity("charge", input=order["total"]))


def order_that_fails(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield ctx.call_activity("charge", input=order["price"])
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_with_mail(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield ctx.call_activity("charge", input=order["total"])
    yield ctx.call_activity("ship", input=receipt)
    yield ctx.call_activity("thank", input=receipt)
    return receipt


def order_paid_by_invoice(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    yield ctx.call_activity("send_invoice", input={"to": order["id"]})
    yield ctx.wait_for_external_event("paid")
    return "invoice"


def order_tried_again(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    try:
        receipt = yield ctx.call_activity("charge", input=order["total"], retry_policy=_POLICY)
    except Exception:
        receipt = "later"
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def order_tried_once(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    try:
        receipt = yield ctx.call_activity("charge", input=order["total"])
    except Exception:
        receipt = "later"
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def batch(ctx: Context, order: Any) -> Run:
    return (yield when_all([ctx.call_activity("pack", input=n) for n in range(3)]))


def batch_one_by_one(ctx: Context, order: Any) -> Run:
    packed = []
    for n in range(3):
        packed.append((yield ctx.call_activity("pack", input=n)))
    return packed


def poll(ctx: Context, order: Any) -> Run:
    for _ in range(3):
        yield ctx.call_activity("poll")


def poll_twice(ctx: Context, order: Any) -> Run:
    for _ in range(2):
        yield ctx.call_activity("poll")


def big_or_small(ctx: Context, order: Any) -> Run:
    if order["total"] > 30:
        yield ctx.call_activity("approve")
    else:
        yield ctx.call_activity("wave_through")
    yield ctx.call_activity("ship")


def big_or_small_with_another_limit(ctx: Context, order: Any) -> Run:
    if order["total"] > 300:
        yield ctx.call_activity("approve")
    else:
        yield ctx.call_activity("wave_through")
    yield ctx.call_activity("ship")


def approved_if_large(ctx: Context, order: Any) -> Run:
    if order["total"] > 30:
        yield ctx.call_activity("approve")
    yield ctx.call_activity("ship")


def approved_if_larger(ctx: Context, order: Any) -> Run:
    if order["total"] > 300:
        yield ctx.call_activity("approve")
    yield ctx.call_activity("ship")


def early_return(ctx: Context, order: Any) -> Run:
    if os.environ.get("DRY_RUN"):
        yield ctx.call_activity("preview")
        return
    yield ctx.call_activity("publish")


@dataclass(frozen=True)
class Case:
    """A change, and what must be said about it."""

    old: Flow
    new: Flow
    cause: Cause
    event: int
    call: int
    line: int  # Below the first of the new function.
    words: tuple[str, ...]
    failing: tuple[str, ...] = ()


# Histories of `order`: marker, start, call 1 | marker, result, call 2 | marker, result, call 3 | marker, result, end.
_CASES = {
    "renamed": Case(
        order, order_renamed, Cause.RENAMED, 6, 2, 2,
        ("'charge' seems to be called 'charge_card' now", "with the same input", "@activity(name='charge')"),
    ),
    "added": Case(
        order, order_with_a_check, Cause.ADDED, 6, 2, 2,
        ("'check_fraud' is new", "'charge' comes after it", "ctx.is_patched"),
    ),
    "timer added": Case(
        order, order_with_a_pause, Cause.ADDED, 6, 2, 2, ("A timer is new", "'charge' comes after it")
    ),
    "timer removed": Case(order_with_a_pause, order, Cause.REMOVED, 6, 2, 2, ("a timer before it is gone",)),
    "wait added": Case(order, order_that_asks, Cause.WAITS, 6, 2, 2, ("'charge' still stands in the code", "a wait was added")),
    "removed": Case(
        order, order_without_reserving, Cause.REMOVED, 3, 1, 1,
        ("goes on with a call of activity 'charge'", "'reserve' before it is gone"),
    ),
    "reordered": Case(order, order_shipped_first, Cause.REORDERED, 6, 2, 2, ("the other way round",)),
    "another kind": Case(
        order, order_charged_by_a_child, Cause.KIND, 6, 2, 2, ("called as an activity and is called as a child workflow",)
    ),
    "shortened": Case(
        order, order_that_stops, Cause.SHORTENED, 9, 3, 0, ("'ship' came", "does not stand in the code any more")
    ),
    "fails": Case(order, order_that_fails, Cause.FAILS, 6, 2, 0, ("fails with", "KeyError", "price")),
    "lengthened": Case(
        order, order_with_mail, Cause.LENGTHENED, 12, 4, 4, ("'thank' after the last call that the history has",)
    ),
    "replaced": Case(
        order, order_paid_by_invoice, Cause.REPLACED, 6, 2, 2, ("'send_invoice' in the place of a call of activity 'charge'",)
    ),
    "retries added": Case(
        order_tried_once, order_tried_again, Cause.RETRIES, 9, 3, 3, ("did not have a retry policy",), ("charge",)
    ),
    "retries removed": Case(
        order_tried_again, order_tried_once, Cause.RETRIES, 9, 3, 6, ("had a retry policy",), ("charge",)
    ),
    "made one after the other": Case(
        batch, batch_one_by_one, Cause.WAITS, 4, 2, 3, ("calls that were made together are made one after the other",)
    ),
    "fewer rounds": Case(poll, poll_twice, Cause.SHORTENED, 9, 3, 0, ("stands in a loop", "fewer rounds")),
    "another side": Case(
        big_or_small, big_or_small_with_another_limit, Cause.BRANCH, 3, 1, 4,
        ("`order['total'] > 300` at line", "makes a call of activity 'wave_through'"),
    ),
    "skipped": Case(
        approved_if_large, approved_if_larger, Cause.BRANCH, 3, 1, 3, ("`order['total'] > 300` at line", "skips")
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", _CASES.values(), ids=_CASES)
def test_a_change_is_named(case: Case) -> None:
    mismatch = explain(case.old, case.new, failing=case.failing)
    text = str(mismatch)
    assert mismatch.cause is case.cause, text
    assert (mismatch.event, mismatch.call) == (case.event, case.call), text
    assert (mismatch.file, mismatch.line) == (__file__, line_of(case.new, case.line)), text
    for words in (*case.words, "'flow'", INSTANCE, "Likely cause:", "What to do:", "Both agree up to:"):
        assert words in text, text


@pytest.mark.parametrize(
    "case", [c for c in _CASES.values() if c.cause is not Cause.LENGTHENED], ids=lambda c: c.cause.name
)
def test_production_says_the_same(case: Case) -> None:
    """A worker that is given the history up to the place says what the replayer does."""
    registry = Registry(module_level=False)
    registry.add("workflow", case.new, "flow")
    history = record(case.old, failing=case.failing)
    output = run_turn(INSTANCE, history, (), registry, JsonConverter(), ParkedInstances(0))
    assert output.mismatch is not None
    assert output.mismatch.cause is case.cause
    assert output.mismatch.event == case.event
    assert output.outcome is not None
    assert output.outcome.failure is not None
    assert output.outcome.failure.message == str(output.mismatch)


def test_the_whole_text() -> None:
    line = line_of(order_renamed, 2)
    agreed = line_of(order_renamed, 1)
    margin = " " * len(str(line))
    text = f"""\
Workflow 'flow', instance 'order-7', no longer matches its history: call 2 of its history is a call of activity 'charge', \
but the code now makes a call of activity 'charge_card' there, at {__file__}:{line}.

  history, event 6 of 12:  a call of activity 'charge'
  the code, call 2:        a call of activity 'charge_card'
  --> {__file__}:{line}
  {margin} |
  {line} |     receipt = yield ctx.call_activity("charge_card", input=order["total"])
  {margin} |
  Both agree up to:  event 3, call 1, a call of activity 'reserve', at {__file__}:{agreed}
  Likely cause:      a call was renamed. Activity 'charge' seems to be called 'charge_card' now: the call stands in the \
same place with the same input.
  What to do:        Keep the name that histories have, whatever the function is called: @activity(name='charge')."""
    assert str(explain(order, order_renamed)) == text


# ---- code that differs between runs ----------------------------------------------------------------------------


def test_code_that_throws_dice_is_found_out_by_running_it_again() -> None:
    dice = random.Random(4)
    # The recorded run, the run that meets the mismatch, and the run that looks for its cause.
    throws: Iterator[bool] = iter([True, False, True])

    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("heads" if next(throws, dice.random() < 2) else "tails")

    play = Play(flow, data="{}")
    play.turn()
    output = play.turn(activity_done(1))
    assert output.mismatch is not None
    assert output.mismatch.cause is Cause.UNSTEADY
    assert "differs between runs" in output.mismatch.reason
    assert "ctx.new_guid()" in output.mismatch.fix


def test_a_condition_that_reads_the_environment_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRY_RUN", "1")
    history = record(early_return)
    monkeypatch.delenv("DRY_RUN")
    registry = Registry(module_level=False)
    registry.add("workflow", early_return, "flow")
    mismatch = Replayer(registry=registry).replay(history).mismatch
    assert mismatch is not None
    assert mismatch.cause is Cause.BRANCH
    assert "`os.environ.get('DRY_RUN')`" in mismatch.reason
    assert "'environ', which differs between runs" in mismatch.reason


def test_code_that_asks_whether_it_is_replayed() -> None:
    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("reserve")
        if not ctx.is_replaying:
            ctx.call_activity("notify")
        yield ctx.wait_for_external_event("never")

    def steady(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("reserve")
        yield ctx.wait_for_external_event("never")

    play = Play(steady, data="{}")
    play.turn()
    play.turn(activity_done(1))
    registry = Registry(module_level=False)
    registry.add("workflow", flow, "flow")
    mismatch = Replayer(registry=registry).replay(play.history).mismatch
    assert mismatch is not None
    assert mismatch.cause is Cause.UNSTEADY
    assert "ctx.is_replaying" in mismatch.reason
    assert mismatch.event == 6


def test_a_history_that_no_task_hub_makes() -> None:
    registry = Registry(module_level=False)
    registry.add("workflow", poll, "flow")
    events = [turn_marker(), started(data="{}"), activity_scheduled(1, "poll"), activity_scheduled(1, "poll")]
    output = run_turn(INSTANCE, events, (), registry, JsonConverter(), ParkedInstances(0))
    assert output.mismatch is not None
    assert output.mismatch.cause is Cause.HISTORY
    assert "recorded twice" in output.mismatch.reason
    assert output.mismatch.event == 4


def test_a_history_of_which_only_the_end_is_there_is_explained_as_far_as_that_goes() -> None:
    parked = ParkedInstances(1)
    play = Play(poll, data="{}", parked=parked)
    play.turn()
    play.turn(activity_done(1))
    tail = [*play.history[3:5], activity_scheduled(2, "look")]
    output = run_turn(INSTANCE, tail, [turn_marker(9), activity_done(2)], play.registry, play.converter, parked, 3)
    assert output.mismatch is not None
    assert output.mismatch.event == 6
    assert output.mismatch.agreement == "event 5"
    assert output.mismatch.cause is Cause.RENAMED


def test_a_mismatch_whose_code_cannot_be_read_is_explained_all_the_same() -> None:
    scope: dict[str, Any] = {}
    exec("def flow(ctx, order):\n    yield ctx.call_activity('pay', input=order['total'])\n", scope)  # noqa: S102
    mismatch = explain(order_without_reserving, scope["flow"])
    assert mismatch.cause is Cause.RENAMED
    assert mismatch.source == ""
    assert "<string>:2" in str(mismatch)


# ---- reading source --------------------------------------------------------------------------------------------


def charge(ctx: Any, amount: float) -> str:
    return "receipt"


class Names:
    charge = charge


def reads_names(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity(charge)
    yield ctx.call_activity(Names.charge)
    yield ctx.call_activity(activity="pay")
    yield ctx.call_activity("a" if order else "b")
    yield ctx.wait_for_external_event(name="go")
    yield ctx.call_activity(order["which"])


def reads_branches(ctx: Context, order: Any) -> Run:
    match order:
        case 1:
            yield ctx.call_activity("one")
        case _:
            yield ctx.call_activity("other")
    try:
        yield ctx.call_activity("try")
    except ValueError:
        yield ctx.call_activity("undo")
    while order:
        yield ctx.create_timer(timedelta(1))
    if order:
        yield ctx.call_activity("leave")
        return
    yield ctx.call_activity("stay")


def test_names_in_source_are_those_of_calls() -> None:
    registry = Registry(module_level=False)
    registry.add("activity", charge, "take_money")
    source = read_source(reads_names, registry)
    assert [sorted(call.names) for call in source.calls] == [
        ["take_money"],
        ["take_money"],
        ["pay"],
        ["a"],
        ["b"],
        ["go"],
        [],
    ]
    assert [call.line for call in source.calls][:3] == [line_of(reads_names, n) for n in (1, 2, 3)]
    assert source.calls[5].kind is StepKind.WAIT


@pytest.mark.parametrize(
    ("one", "other", "condition"),
    [("one", "other", "order"), ("leave", "stay", "order"), ("try", "undo", None), ("one", "stay", None)],
)
def test_sides_of_a_branch_exclude_each_other(one: str, other: str, condition: str | None) -> None:
    source = read_source(reads_branches, Registry(module_level=False))
    (first,), (second,) = (source.find(StepKind.ACTIVITY, name) for name in (one, other))
    arm = parting(first, second)
    assert (None if arm is None else arm.condition) == condition


def shared_steps(ctx: Context) -> Run:
    yield ctx.call_activity("in a helper")
    yield from reads_helpers(ctx, None)


async def awaited_steps(ctx: Context) -> None:
    await ctx.call_activity("in a coroutine")


def reads_helpers(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("before")
    if ctx.is_patched("helped"):
        yield from shared_steps(ctx)
    yield ctx.call_activity("after")


async def awaits_helpers(ctx: Context, order: Any) -> None:
    await ctx.call_activity("before")
    await awaited_steps(ctx)


def test_helpers_are_read_where_they_are_waited_for() -> None:
    source = read_source(reads_helpers, Registry(module_level=False))
    assert [list(call.names) for call in source.calls] == [["before"], ["in a helper"], ["after"]]
    assert source.calls[1].line == line_of(shared_steps, 1)
    assert [arm.condition for arm in source.calls[1].arms] == ["ctx.is_patched('helped')"]
    assert source.patches == {"helped"}
    source = read_source(awaits_helpers, Registry(module_level=False))
    assert [list(call.names) for call in source.calls] == [["before"], ["in a coroutine"]]


def order_with_a_checking_helper(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("reserve", input=order["id"])
    receipt = yield from checked_charge(ctx, order)
    yield ctx.call_activity("ship", input=receipt)
    return receipt


def checked_charge(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("check_fraud", input=order["total"])
    return (yield ctx.call_activity("charge", input=order["total"]))


def test_a_step_that_was_added_in_a_helper_is_not_taken_for_a_new_name() -> None:
    mismatch = explain(order, order_with_a_checking_helper)
    assert mismatch.cause is Cause.ADDED
    assert (mismatch.event, mismatch.line) == (6, line_of(checked_charge, 1))


def test_loops_are_known() -> None:
    source = read_source(reads_branches, Registry(module_level=False))
    assert [call.looped for call in source.calls] == [call.kind is StepKind.TIMER for call in source.calls]


def test_rules_need_no_source() -> None:
    def step(name: str, number: int) -> Step:
        return Step(StepKind.ACTIVITY, name, number, place=("gone.py", 3))

    old, new = (step("charge", 1), step("ship", 2)), (step("ship", 1), step("charge", 2))
    assert diagnose(Situation("order", old, new)).cause is Cause.REORDERED
    assert diagnose(Situation("order", old, new[:1])).cause is Cause.REMOVED
    assert diagnose(Situation("order", old[:1], new)).cause is Cause.ADDED
    assert diagnose(Situation("order", old, (), ending="ends")).cause is Cause.SHORTENED
    assert diagnose(Situation("order", old, ())).cause is Cause.REMOVED
    assert diagnose(Situation("order", (), new)).cause is Cause.LENGTHENED
