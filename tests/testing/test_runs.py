"""What a test may claim about an instance: each claim holding and failing."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import WorkflowStatus
from dapr_workflow_sdk.testing import WorkflowRun
from tests.testing import sample
from tests.testing.sample import BOOK, environment


def bought() -> WorkflowRun[str]:
    with environment() as env:
        env.activity(sample.charge).returns("paid").raises(ConnectionError("down"), times=1)
        return env.run(sample.buy, BOOK)


def failed() -> WorkflowRun[str]:
    with environment() as env:
        env.activity(sample.reserve).raises(LookupError("sold out"))
        return env.run(sample.buy, BOOK)


def waiting() -> WorkflowRun[str]:
    with environment() as env:
        return env.start(sample.approve)


def timing() -> WorkflowRun[str]:
    with environment() as env:
        return env.start(sample.approve_soon)


def sleeping() -> WorkflowRun[str]:
    with environment() as env:
        return env.start(sample.buy, BOOK)


def retrying() -> WorkflowRun[str]:
    with environment() as env:
        env.activity(sample.charge).raises(ConnectionError("down"))
        return env.start(sample.buy, BOOK)


def test_claims_that_hold() -> None:
    run = bought()
    run.assert_completed()
    run.assert_completed("paid")
    run.assert_called_in_order(sample.reserve, sample.ship)
    run.assert_called_in_order("reserve", "charge", "ship")
    run.assert_calls(sample.reserve, sample.charge, sample.ship)
    run.assert_retried(sample.charge, 1)
    run.assert_retried("reserve", 0)
    run.assert_custom_status("reserved")
    failed().assert_failed()
    failed().assert_failed("TaskFailedError")
    failed().assert_failed(LookupError, match="sold")
    waiting().assert_custom_status({"waits": "for approval"})
    waiting().assert_waits_for_event("Approval")
    timing().assert_timer_due(timedelta(days=3))
    timing().assert_timer_due(datetime(2026, 1, 4))
    sleeping().assert_timer_due(timedelta(days=2))
    retrying().assert_timer_due(timedelta(minutes=1))


@pytest.mark.parametrize(
    ("make", "claim", "says"),
    [
        (
            failed,
            lambda run: run.assert_completed(),
            "was to be COMPLETED, and is FAILED (TaskFailedError: buy-1: Activity",
        ),
        (waiting, lambda run: run.assert_completed(), "and is RUNNING. It waits for event 'approval' since 2026-01-01"),
        (
            bought,
            lambda run: run.assert_completed("other"),
            "was to complete with\n  'other'\nand did with\n  'paid'\n",
        ),
        (bought, lambda run: run.assert_failed(), "was to be FAILED, and is COMPLETED"),
        (bought, lambda run: run.assert_terminated(), "was to be TERMINATED, and is COMPLETED"),
        (
            failed,
            lambda run: run.assert_failed(KeyError),
            "was to fail with KeyError, and failed with\n  TaskFailedError",
        ),
        (failed, lambda run: run.assert_failed(LookupError, match="gone"), "message in which 'gone' is found"),
        (
            bought,
            lambda run: run.assert_called_in_order("ship", "charge"),
            (
                "was to call 'ship', 'charge' in this order, and did not call 'charge' after 'ship'. Its calls:\n"
                "  1. activity reserve({'item': 'book', 'amount': 12.5})\n"
                "  2. activity charge(12.5), tried 2 times\n"
                "  3. activity ship({'item': 'book', 'amount': 12.5})"
            ),
        ),
        (waiting, lambda run: run.assert_called_in_order("ship"), "did not call 'ship'. It called nothing."),
        (bought, lambda run: run.assert_calls("reserve", "ship"), "was to call 'reserve', 'ship' and nothing else"),
        (bought, lambda run: run.assert_calls(), "was to call nothing and nothing else"),
        (bought, lambda run: run.assert_retried("charge", 2), "was to try 'charge' again 2 times, and did 1 times"),
        (bought, lambda run: run.assert_retried("refund", 2), "never called 'refund'"),
        (bought, lambda run: run.assert_custom_status("paid"), "the custom status 'paid', and has 'reserved'"),
        (waiting, lambda run: run.assert_custom_status(object()), "No workflow can have the custom status"),
        (
            waiting,
            lambda run: run.assert_waits_for_event("x"),
            "wait for event 'x'. It waits for:\n  event 'approval' since",
        ),
        (bought, lambda run: run.assert_waits_for_event("x"), "It waits for nothing and is COMPLETED"),
        (waiting, lambda run: run.assert_timer_due(timedelta(1)), "a timer that is due at 2026-01-02 00:00:00"),
        (
            timing,
            lambda run: run.assert_timer_due(datetime(2026, 1, 5)),
            "event 'approval', due at 2026-01-04 00:00:00",
        ),
    ],
)
def test_claims_that_do_not_hold_say_what_was(
    make: Callable[[], WorkflowRun[Any]], claim: Callable[[WorkflowRun[Any]], None], says: str
) -> None:
    with pytest.raises(AssertionError) as caught:
        claim(make())
    assert says in str(caught.value)


def test_waits_say_what_since_when_until_when_and_where() -> None:
    (wait,) = timing().waits
    assert (wait.kind, wait.name, wait.call) == ("event", "approval", 1)
    assert wait.due is not None
    assert wait.due - wait.since == pytest.approx(timedelta(days=3), abs=timedelta(seconds=1))
    assert timing().timers == [wait]
    assert waiting().timers == []
    assert bought().waits == []
    (retry,) = retrying().waits
    assert str(retry).startswith("the next try of 'charge', due at 2026-01-01 00:01:00 since 2026-01-01 00:00:00")


def test_where_a_workflow_waits_is_known_while_the_environment_is_open() -> None:
    with environment() as env:
        run = env.start(sample.buy, BOOK)
        (wait,) = run.waits
        line = sample.buy.__code__.co_firstlineno + 5
        assert wait.place == f"{sample.__file__}:{line}"
        assert str(wait) == f"a timer, due at 2026-01-03 00:00:00 since 2026-01-01 00:00:00, at {wait.place}"


def test_a_timeline_tells_what_happened() -> None:
    lines = bought().timeline.splitlines()
    assert lines[0] == "buy buy-1: COMPLETED after 7 turns, custom status 'reserved'"
    assert [line.split(maxsplit=1) for line in lines[1:6]] == [
        ["+0", 'started buy  {"item": "book", "amount": 12.5}'],
        ["+0", 'calls reserve #1  {"item": "book", "amount": 12.5}'],
        ["+0", 'returned reserve #1  "book reserved"'],
        ["+0", "calls charge #2  12.5"],
        ["+0", "failed charge #2  ConnectionError: down"],
    ]
    assert lines[8].split(maxsplit=1) == ["+1", "min  calls charge #4  12.5"]
    assert lines[-1].endswith('completed  "paid"')


def test_a_long_timeline_leaves_its_middle_out() -> None:
    with environment() as env:
        text = env.run(sample.long_monitor, 200).timeline
    assert len(text.splitlines()) < 70
    assert "more ..." in text


def test_runs_are_equal_when_they_are_of_one_instance() -> None:
    with environment() as env:
        run, other = env.run(sample.race), env.run(sample.race)
        assert run == env.instance("race-1")
        assert run != other
        assert len({run, other, env.instance("race-1")}) == 2
        assert repr(run) == "<WorkflowRun race-1 COMPLETED>"
        assert run.state.runtime_status is WorkflowStatus.COMPLETED
        assert run != "race-1"
