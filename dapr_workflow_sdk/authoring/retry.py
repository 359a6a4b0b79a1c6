"""Retry policies of activities and child workflows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

_ZERO = timedelta(0)
_LAST_MOMENT = datetime.max  # noqa: DTZ901 - workflow time is naive UTC


@dataclass(frozen=True, kw_only=True)
class RetryPolicy:
    """When a failed activity or child workflow is tried again.

    The delay before retry n (counted from 1) is ``first_retry_interval * backoff_coefficient ** (n - 1)``, at most
    `max_retry_interval`. Delays are durable timers: they may last days and survive restarts.

    Attributes:
        first_retry_interval: Delay before the first retry.
        max_number_of_attempts: How often to try in all, the first try included; at least 1.
        backoff_coefficient: Factor from one delay to the next; at least 1. None means 1.
        max_retry_interval: Upper bound of each delay, or None for none.
        retry_timeout: No retry starts once the delays since the first try add up to this, or None for no bound.
        non_retryable_error_types: Exceptions, or names of exception classes, after which trying again is useless.
            A ``NonRetryableError`` is never retried.
    """

    first_retry_interval: timedelta
    max_number_of_attempts: int
    backoff_coefficient: float | None = 1.0
    max_retry_interval: timedelta | None = None
    retry_timeout: timedelta | None = None
    non_retryable_error_types: Sequence[str | type[BaseException]] | None = None

    def __post_init__(self) -> None:
        """Refuses values that make no policy.

        Raises:
            ValueError: A bound is negative, `max_number_of_attempts` is below 1, `backoff_coefficient` is below 1, or
                `non_retryable_error_types` is no list.
        """
        if self.first_retry_interval < _ZERO:
            raise ValueError("first_retry_interval must be >= 0")
        if self.max_number_of_attempts < 1:
            raise ValueError("max_number_of_attempts must be >= 1 (it counts the first try)")
        if self.backoff_coefficient is not None and not self.backoff_coefficient >= 1:  # NaN is not, either.
            raise ValueError("backoff_coefficient must be >= 1")
        if self.max_retry_interval is not None and self.max_retry_interval < _ZERO:
            raise ValueError("max_retry_interval must be >= 0")
        if self.retry_timeout is not None and self.retry_timeout < _ZERO:
            raise ValueError("retry_timeout must be >= 0")
        if isinstance(self.non_retryable_error_types, str):
            message = "non_retryable_error_types must be a list of exceptions or names, not one name"
            raise ValueError(message)  # noqa: TRY004 - every refusal of a policy is a ValueError

    def allows(self, error_type: str) -> bool:
        """Whether a failure of this type may be tried again at all."""
        if error_type == "NonRetryableError":
            return False
        return not any(
            error_type == (kind if isinstance(kind, str) else kind.__name__)
            for kind in self.non_retryable_error_types or ()
        )

    def next_delay(self, attempts: int, first_try: datetime) -> timedelta | None:
        """The delay before the next try, or None when there is none.

        Args:
            attempts: How many tries have failed, at least 1.
            first_try: Workflow time of the first try.

        The bound of `retry_timeout` is measured on the delays alone, never on a clock, so that every replay takes
        the same decision.
        """
        if attempts >= self.max_number_of_attempts:
            return None
        coefficient = 1.0 if self.backoff_coefficient is None else self.backoff_coefficient
        first = self.first_retry_interval.total_seconds()
        longest = float("inf") if self.max_retry_interval is None else self.max_retry_interval.total_seconds()
        elapsed = delay = 0.0
        for retry in range(attempts):
            try:
                delay = min(first * coefficient**retry, longest)
            except OverflowError:
                delay = longest
            elapsed += delay
        try:
            next_try = first_try + timedelta(seconds=elapsed)
        except OverflowError:
            return None
        try:
            latest = _LAST_MOMENT if self.retry_timeout is None else first_try + self.retry_timeout
        except OverflowError:
            latest = _LAST_MOMENT
        return timedelta(seconds=delay) if next_try < latest else None
