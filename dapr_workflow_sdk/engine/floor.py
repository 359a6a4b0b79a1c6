"""What the desks for turns and activities ask of the runner that they work for."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from dapr_workflow_sdk.engine.app_queue import AppQueue
from dapr_workflow_sdk.engine.live import Live
from dapr_workflow_sdk.engine.state import Change, InstanceKey
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.spans import EngineSpans


class Floor(Protocol):
    """The runner, as its desks see it."""

    @property
    def spans(self) -> EngineSpans | None:
        """Who is told of what ends, if the application traces."""
        ...

    def app(self, app_id: str) -> AppQueue:
        """What waits for the workers of an app."""
        ...

    def live(self, key: InstanceKey) -> Live | None:
        """An instance, if it is in memory."""
        ...

    def let_go(self, live: Live) -> None:
        """Drops an instance from memory once nothing can happen to it any more, or not for long."""
        ...

    def make_ready(self, live: Live) -> None:
        """Queues an instance for a turn if it has something to take one for."""
        ...

    def pump(self) -> None:
        """Sends out what workers have room for."""
        ...

    def commit(self, changes: Sequence[Change], then: Callable[[], None] = ...) -> asyncio.Future[None]:
        """Submits changes at once; the future is done when they are durable."""
        ...

    def store_unstored(self, live: Live) -> None:
        """Stores what an instance has taken in without a commit."""
        ...

    def stall(self, live: Live, reason: pb.StalledReason, text: str) -> asyncio.Future[None]:
        """Lets an instance stand still until somebody repairs the cause; done when that is durable."""
        ...

    def warn_if_nobody_works(self, app_id: str, caller: Live) -> None:
        """Says that a call to another app waits for a worker."""
        ...

    def look_for_idleness(self) -> None:
        """Has a virtual clock told if nothing can happen before the next alarm."""
        ...
