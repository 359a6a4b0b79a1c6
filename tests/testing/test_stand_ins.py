"""Activities replaced by a test, and what a test may claim about their calls."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from typing import Any
from unittest.mock import AsyncMock

import pytest

from dapr_workflow_sdk import (
    ActivityNotRegisteredError,
    RegistrationError,
    RuntimeStateError,
    WorkflowActivityContext,
    WorkflowContext,
    when_all,
)
from dapr_workflow_sdk.testing import ActivityStandIn, WorkflowEnvironment, WorkflowStuckError
from tests.testing import sample
from tests.testing.sample import BOOK, Order, environment


def charges(count: int) -> Callable[..., Any]:
    async def charge_often(ctx: WorkflowContext) -> list[Any]:
        return [await ctx.call_activity(sample.charge, input=float(number)) for number in range(count)]

    return charge_often


# ---- what they do --------------------------------------------------------------------------------------------------


def test_a_value_is_returned_again_and_again() -> None:
    with environment() as env:
        env.activity(sample.charge).returns("paid")
        assert env.run(charges(3)).result == ["paid"] * 3


def test_a_name_is_as_good_as_the_function() -> None:
    with environment() as env:
        assert env.activity("charge") is env.activity(sample.charge)


def test_a_result_travels_as_a_payload_and_arrives_as_annotated() -> None:
    def find(ctx: WorkflowActivityContext) -> Order:
        raise NotImplementedError

    async def ask(ctx: WorkflowContext) -> bool:
        return await ctx.call_activity(find) == BOOK

    with environment() as env:
        env.activity(find).returns(BOOK)
        assert env.run(ask).result is True


def test_a_retry_policy_sees_errors_and_time_passes_between_the_tries() -> None:
    with environment() as env:
        charge = env.activity(sample.charge).returns("paid").raises(ConnectionError("down"), times=2)
        run = env.run(sample.buy, BOOK)
        assert run.result == "paid"
        assert [call.attempt for call in charge.calls] == [1, 2, 3]
        first, second, third = (call.at for call in charge.calls)
        assert second - first == pytest.approx(timedelta(minutes=1), abs=timedelta(seconds=1))
        assert third - second == pytest.approx(timedelta(minutes=2), abs=timedelta(seconds=1))
        run.assert_retried(sample.charge, 2)


def test_errors_are_raised_for_ever_and_types_will_do() -> None:
    with environment() as env:
        env.activity(sample.charge).raises(ConnectionError)
        env.run(sample.buy, BOOK).assert_failed(ConnectionError)
        env.activity(sample.charge).assert_call_count(3)
        with pytest.raises(TypeError, match="takes an exception, not 'down'"):
            env.activity(sample.charge).raises("down")  # type: ignore[arg-type]


def test_outcomes_in_a_row_and_one_call_too_many() -> None:
    with environment() as env:
        env.activity(sample.charge).side_effect(["one", ConnectionError("down"), "two", ValueError])
        assert env.run(charges(1)).result == ["one"]
        env.run(charges(1)).assert_failed(ConnectionError, match="down")
        assert env.run(charges(1)).result == ["two"]
        env.run(charges(1)).assert_failed("ValueError")
        run = env.run(sample.buy, BOOK)
        run.assert_failed("NonRetryableError", match="has an outcome for 4 times, and was called once more")
        run.assert_retried(sample.charge, 0)


def test_functions_take_the_place_of_an_activity() -> None:
    async def later(ctx: WorkflowActivityContext, amount: float) -> str:
        return f"{ctx.name} {amount} {ctx.attempt}"

    def without_input(ctx: WorkflowActivityContext) -> str:
        return ctx.workflow_id

    with environment() as env:
        charge = env.activity(sample.charge)
        charge.side_effect(later)
        assert env.run(charges(1)).result == ["charge 0.0 1"]
        charge.side_effect(without_input)
        assert env.run(charges(1)).result == ["charge_often-2"]
        mock = AsyncMock(return_value="mocked")
        charge.side_effect(mock)
        assert env.run(charges(1)).result == ["mocked"]
        assert mock.await_args.args[1] == 0.0
        charge.side_effect(LookupError)
        env.run(charges(1)).assert_failed(LookupError)
        with pytest.raises(RegistrationError, match=r"must be callable as f\(ctx\) or f\(ctx, input\)"):
            charge.side_effect(lambda a, b, c: None)


def test_an_activity_that_never_ends_does_not_hold_up_time() -> None:
    with environment() as env:
        env.activity(sample.charge).never()
        run = env.run(sample.race)
        assert run.result == "too slow"
        with pytest.raises(WorkflowStuckError, match=r"waits for activity 'charge' since .*never\(\) ends"):
            env.run(charges(1))
        env.activity(sample.charge).returns("paid").never(times=1)
        assert env.run(sample.race).result == "too slow"
        assert env.run(sample.race).result == "charged"


def test_the_real_function_runs_until_it_is_replaced_and_when_it_is_put_back() -> None:
    with environment() as env:
        charge = env.activity(sample.charge)
        assert not charge.replaced
        assert env.run(charges(1)).result == ["receipt over 0.00"]
        assert charge.returns("paid").replaced
        charge.real()
        assert env.run(charges(1)).result == ["receipt over 0.00"]
        charge.raises(ConnectionError, times=1)
        assert charge.replaced
        env.run(charges(2)).assert_failed(ConnectionError)
        assert env.run(charges(1)).result == ["receipt over 0.00"]
        with pytest.raises(ValueError, match="times must be at least 1, not 0"):
            charge.returns("x", times=0)


def test_a_name_that_nobody_has_is_most_likely_a_slip() -> None:
    async def call(ctx: WorkflowContext) -> Any:
        return await ctx.call_activity("chrage", input=1)

    with environment() as env:
        with pytest.raises(
            ActivityNotRegisteredError, match=r"'chrage' here. Known: .*charge.*, reserve.*, ship.*foreign=True"
        ):
            env.activity("chrage")
        env.run(call).assert_failed("ActivityNotRegisteredError", match="Registered: .*charge.*, reserve.*, ship")
        env.activity("chrage", foreign=True).returns("from afar")
        assert env.run(call).result == "from afar"
        env.activity("chrage").assert_called_once_with(1)


def test_a_function_of_the_test_is_registered_when_it_is_asked_for() -> None:
    def local(ctx: WorkflowActivityContext, number: int) -> int:
        return number + 1

    async def call(ctx: WorkflowContext) -> int:
        return await ctx.call_activity(local, input=1)

    with WorkflowEnvironment() as env:
        assert env.activity(local).call_count == 0
        assert env.run(call).result == 2


def test_activities_without_an_input_are_called_without_one() -> None:
    def ping(ctx: WorkflowActivityContext) -> str:
        return "pong"

    async def apong(ctx: WorkflowActivityContext) -> str:
        return "pong"

    async def call(ctx: WorkflowContext) -> list[str]:
        return await when_all([ctx.call_activity(ping), ctx.call_activity(apong)])

    with environment() as env:
        env.register(activities=[ping, apong])
        assert env.run(call).result == ["pong", "pong"]
        env.activity(ping).assert_called_once_with(None)


def test_a_plain_activity_that_waits_for_ever_to_be_cancelled_is_told_that_nobody_will() -> None:
    def wait(ctx: WorkflowActivityContext) -> bool:
        ctx.heartbeat({"row": 1})
        assert ctx.heartbeat_details is None
        assert not ctx.cancelled
        assert not ctx.wait_cancelled(0.001)
        return ctx.wait_cancelled()

    async def call(ctx: WorkflowContext) -> Any:
        return await ctx.call_activity(wait)

    with environment() as env:
        env.register(activities=[wait])
        env.run(call).assert_failed(RuntimeStateError, match="runs?.* on the test's own thread")


# ---- what is known of their calls ----------------------------------------------------------------------------------


def test_calls_of_real_activities_are_known_too() -> None:
    with environment() as env:
        run = env.run(sample.buy, BOOK)
        (call,) = env.activity(sample.reserve).calls
        assert call.input == BOOK
        assert (call.name, call.instance_id, call.task_id, call.attempt) == ("reserve", run.instance_id, 1, 1)
        assert call.at.replace(microsecond=0) == datetime(2026, 1, 1, tzinfo=timezone.utc)
        assert str(call) == f"reserve({BOOK!r}) for buy-1 at 2026-01-01 00:00:00"
        (shipped,) = env.activity(sample.ship).calls
        assert shipped.at.replace(microsecond=0) == datetime(2026, 1, 3, tzinfo=timezone.utc)


@pytest.fixture
def called() -> ActivityStandIn[str]:
    """Two calls, with the inputs 0.0 and 1.0."""
    with environment() as env:
        env.run(charges(2))
        return env.activity(sample.charge)


@pytest.fixture
def uncalled() -> ActivityStandIn[str]:
    """No call."""
    with environment() as env:
        return env.activity(sample.charge)


@pytest.fixture
def once() -> ActivityStandIn[str]:
    """One call, with the input 0.0."""
    with environment() as env:
        env.run(charges(1))
        return env.activity(sample.charge)


def test_claims_that_hold(
    called: ActivityStandIn[str], uncalled: ActivityStandIn[str], once: ActivityStandIn[str]
) -> None:
    called.assert_called()
    called.assert_call_count(2)
    called.assert_called_with(1.0)
    called.assert_any_call(0.0)
    called.assert_inputs([0, 1])
    uncalled.assert_not_called()
    uncalled.assert_inputs([])
    once.assert_called_once()
    once.assert_called_once_with(0.0)
    assert called.call_count == 2


@pytest.mark.parametrize(
    ("which", "claim", "says"),
    [
        ("uncalled", lambda a: a.assert_called(), "Activity 'charge' was never called."),
        ("uncalled", lambda a: a.assert_called_with(1), "Activity 'charge' was never called."),
        ("uncalled", lambda a: a.assert_called_once(), "was to be called once, and was called 0 times"),
        (
            "called",
            lambda a: a.assert_not_called(),
            "was to be left alone, and was called. Its calls:\n  1. charge(0.0)",
        ),
        ("called", lambda a: a.assert_called_once(), "was to be called once, and was called twice. Its calls:\n  1."),
        ("called", lambda a: a.assert_call_count(5), "was to be called 5 times, and was called twice"),
        ("called", lambda a: a.assert_called_once_with(1.0), "was to be called once, and was called twice"),
        ("called", lambda a: a.assert_called_with(0.0), "was to have the input\n  0.0\nand had\n  1.0\nIts calls:"),
        ("called", lambda a: a.assert_any_call(7.0), "No call of activity 'charge' had the input\n  7.0\nIts calls:"),
        ("called", lambda a: a.assert_inputs([0.0]), "were to have the inputs\n  [0.0]\nand had\n  [0.0, 1.0]"),
        ("called", lambda a: a.assert_inputs([1.0, 0.0]), "were to have the inputs"),
        ("once", lambda a: a.assert_called_once_with(1.0), "was to have the input\n  1.0\nand had\n  0.0"),
        ("once", lambda a: a.assert_called_with(object()), "was to have the input"),
    ],
)
def test_claims_that_do_not_hold_say_what_was(
    which: str, claim: Callable[[ActivityStandIn[str]], None], says: str, request: pytest.FixtureRequest
) -> None:
    with pytest.raises(AssertionError) as caught:
        claim(request.getfixturevalue(which))
    assert says in str(caught.value)


def test_an_input_without_annotations_is_equal_to_the_object_it_was() -> None:
    def plain(ctx: Any, order: Any) -> None:
        return None

    async def call(ctx: WorkflowContext) -> None:
        await ctx.call_activity(plain, input=BOOK)

    with environment() as env:
        env.register(activities=[plain])
        env.run(call)
        env.activity(plain).assert_called_once_with({"item": "book", "amount": 12.5})
        env.activity(plain).assert_called_once_with(BOOK)
