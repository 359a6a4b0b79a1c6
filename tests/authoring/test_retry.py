"""Retry policies: which delays they give, when they stop, what they refuse."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from dapr.ext.workflow._durabletask import task as official
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk.authoring.retry import RetryPolicy
from tests.strategies import QUICK

_START = datetime(2026, 1, 1)


def _policy(**changes: Any) -> RetryPolicy:
    given_values: dict[str, Any] = {"first_retry_interval": timedelta(seconds=1), "max_number_of_attempts": 10}
    return RetryPolicy(**{**given_values, **changes})


def _delays(policy: RetryPolicy, most: int = 20) -> list[float]:
    delays = []
    for attempts in range(1, most):
        delay = policy.next_delay(attempts, _START)
        if delay is None:
            break
        delays.append(delay.total_seconds())
    return delays


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        (_policy(max_number_of_attempts=1), []),
        (_policy(max_number_of_attempts=4), [1, 1, 1]),
        (_policy(max_number_of_attempts=5, backoff_coefficient=2), [1, 2, 4, 8]),
        (_policy(max_number_of_attempts=4, backoff_coefficient=1.5), [1, 1.5, 2.25]),
        (_policy(max_number_of_attempts=3, backoff_coefficient=None), [1, 1]),
        (
            _policy(max_number_of_attempts=5, backoff_coefficient=3, max_retry_interval=timedelta(seconds=5)),
            [1, 3, 5, 5],
        ),
        (_policy(max_number_of_attempts=3, max_retry_interval=timedelta(0)), [0, 0]),
        (_policy(first_retry_interval=timedelta(0), max_number_of_attempts=3, backoff_coefficient=9), [0, 0]),
        # The delays add up to 1, 3, 7: the third retry would start at seven seconds.
        (_policy(backoff_coefficient=2, retry_timeout=timedelta(seconds=7)), [1, 2]),
        (_policy(backoff_coefficient=2, retry_timeout=timedelta(seconds=7.1)), [1, 2, 4]),
        (_policy(retry_timeout=timedelta(0)), []),
        (_policy(retry_timeout=timedelta(seconds=1)), []),
    ],
)
def test_the_delays_of_a_policy(policy: RetryPolicy, expected: list[float]) -> None:
    assert _delays(policy) == expected


@QUICK
@given(
    first=st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=2)),
    attempts=st.integers(1, 30),
    backoff=st.none() | st.floats(1, 4) | st.integers(1, 4),
    longest=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=3)),
    timeout=st.none() | st.timedeltas(min_value=timedelta(0), max_value=timedelta(days=30)),
    failed=st.integers(1, 15),
)
def test_every_delay_is_that_of_the_official_formula(
    first: timedelta,
    attempts: int,
    backoff: float | None,
    longest: timedelta | None,
    timeout: timedelta | None,
    failed: int,
) -> None:
    values: dict[str, Any] = {
        "first_retry_interval": first,
        "max_number_of_attempts": attempts,
        "backoff_coefficient": backoff,
        "max_retry_interval": longest,
        "retry_timeout": timeout,
    }
    theirs: official.RetryableTask[Any] = official.RetryableTask(
        official.RetryPolicy(**values), _START, False, "charge"
    )
    for _ in range(failed - 1):
        theirs.increment_attempt_count()
    try:
        expected = theirs.compute_next_delay()
    except OverflowError:
        return  # The official SDK fails the instance there.
    assert RetryPolicy(**values).next_delay(failed, _START) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"first_retry_interval": timedelta(seconds=-1)}, "first_retry_interval must be >= 0"),
        ({"max_number_of_attempts": 0}, "max_number_of_attempts must be >= 1"),
        ({"max_number_of_attempts": -3}, "max_number_of_attempts must be >= 1"),
        ({"backoff_coefficient": 0.99}, "backoff_coefficient must be >= 1"),
        ({"backoff_coefficient": float("nan")}, "backoff_coefficient"),
        ({"max_retry_interval": timedelta(seconds=-1)}, "max_retry_interval must be >= 0"),
        ({"retry_timeout": timedelta(seconds=-1)}, "retry_timeout must be >= 0"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _policy(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"first_retry_interval": timedelta(0)},
        {"max_number_of_attempts": 1},
        {"backoff_coefficient": 1},
        {"backoff_coefficient": None},
        {"max_retry_interval": timedelta(0)},
        {"retry_timeout": timedelta(0)},
    ],
)
def test_the_bounds_themselves_are_allowed(changes: dict[str, Any]) -> None:
    _policy(**changes)


def test_a_policy_takes_keywords_only_and_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        RetryPolicy(timedelta(seconds=1), 3)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        _policy().max_number_of_attempts = 3  # type: ignore[misc]


class TestWhatIsRetried:
    def test_any_error_by_default(self) -> None:
        assert _policy().allows("ValueError")

    def test_never_a_non_retryable_error(self) -> None:
        assert not _policy().allows("NonRetryableError")

    def test_not_the_errors_named_by_class_or_text(self) -> None:
        policy = _policy(non_retryable_error_types=[KeyError, "CardDeclined"])
        assert not policy.allows("KeyError")
        assert not policy.allows("CardDeclined")
        assert policy.allows("LookupError")
        assert policy.allows("carddeclined")

    def test_not_the_one_error_named_without_a_list(self) -> None:
        """A text is a sequence of letters: taken as such, the policy would silently retry what it was told not to."""
        try:
            policy = _policy(non_retryable_error_types="CardDeclined")
        except (TypeError, ValueError):
            return
        assert not policy.allows("CardDeclined")


class TestExtremes:
    def test_a_delay_too_long_to_compute_is_cut_by_the_longest(self) -> None:
        policy = _policy(
            max_number_of_attempts=5000, backoff_coefficient=10.0, max_retry_interval=timedelta(seconds=30)
        )
        assert policy.next_delay(4000, _START) == timedelta(seconds=30)

    def test_a_delay_longer_than_time_itself_is_no_crash(self) -> None:
        assert _policy(max_number_of_attempts=5000, backoff_coefficient=10.0).next_delay(4000, _START) is None

    def test_a_timeout_beyond_the_calendar_is_no_timeout(self) -> None:
        """`retry_timeout=timedelta.max` says: as long as it takes."""
        assert _policy(retry_timeout=timedelta.max).next_delay(1, _START) == timedelta(seconds=1)
