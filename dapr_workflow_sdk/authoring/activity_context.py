"""What an activity is told about the call it serves, and what it can tell while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol


class ActivityLink(Protocol):
    """What ties a running activity to its task hub."""

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the activity any more."""
        ...

    def wait_cancelled(self, timeout: float | None) -> bool:
        """Waits for that, in a thread."""
        ...

    def heartbeat(self, details: Any, timeout: timedelta | None) -> None:
        """Gives a sign of life."""
        ...

    def last_details(self) -> Any:
        """What the last try said in its last heartbeat."""
        ...


@dataclass(frozen=True)
class WorkflowActivityContext:
    """The call that an activity serves; the first argument of every activity.

    A test makes one by hand: ``charge(WorkflowActivityContext("order-7", 1), order)``.

    Heartbeats and cancellation are extensions of this package's engine. On a Dapr sidecar `heartbeat` does nothing,
    `heartbeat_details` is None and `cancelled` stays False, so an activity that uses them runs there as well.

    Attributes:
        workflow_id: Id of the workflow instance that made the call.
        task_id: Number of the call within its instance; a retry has a number of its own.
        task_execution_id: Id of the call that stays the same over its retries: use it as an idempotency key.
        attempt: 1 for the first run of the call, 2 for its first retry and so on; None where the task hub does not
            tell (a Dapr sidecar does not).
        name: Name of the activity.
    """

    workflow_id: str = ""
    task_id: int = 0
    task_execution_id: str = ""
    attempt: int | None = None
    name: str = ""
    link: ActivityLink | None = field(default=None, repr=False, compare=False)

    def heartbeat(self, details: Any = None, *, timeout: timedelta | None = None) -> None:
        """Says that the activity still runs, and how far it is; returns at once.

        A worker that has an activity longer than the engine's ``activity_lease``, or than the `timeout` of its last
        heartbeat, without another heartbeat loses it to another worker. Send them as often as you like: what has not
        left yet is replaced by what is newer.

        Args:
            details: How far it is, as the next try finds it in `heartbeat_details`; anything that can be a payload.
            timeout: How long the engine waits for the next heartbeat.
        """
        if self.link is not None:
            self.link.heartbeat(details, timeout)

    @property
    def heartbeat_details(self) -> Any:
        """What the last heartbeat of the run before this one said; None if there was none.

        A run that was lost with its worker, or missed its heartbeats, leaves them to the run that takes its place.
        """
        return None if self.link is None else self.link.last_details()

    @property
    def cancelled(self) -> bool:
        """Whether the activity is in vain, because its workflow was terminated or purged: it may stop early."""
        return self.link is not None and self.link.cancelled

    def wait_cancelled(self, timeout: float | None = None) -> bool:
        """Waits until the activity is in vain; for activities that are plain functions, instead of ``time.sleep``.

        Args:
            timeout: Seconds to wait at most; for ever by default.

        Returns:
            Whether it is in vain.
        """
        if self.link is not None:
            return self.link.wait_cancelled(timeout)
        if timeout is not None:
            import time

            time.sleep(timeout)
        return False

    def get_inner_context(self) -> WorkflowActivityContext:
        """The context itself, which has every attribute that the official SDK keeps in an inner one."""
        return self
