"""Workers as the engine sees them: what each offers, has, and is sent."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field

from dapr_workflow_sdk.engine.state import InstanceKey
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem, WorkerOffer, WorkItem

# A worker that does not say how much it takes (every worker but those of this package) has at most this much on its
# way to it; while it does not read, the rest goes to others.
_MOST_UNREAD = 256


@dataclass(eq=False)
class Subscription:
    """One worker's stream of work items.

    Attributes:
        app_id: The app it works for.
        offer: How many items the worker takes at a time, and who it is.
        since: When it subscribed, in nanoseconds since 1970.
        turns: Instances whose turn it has.
        activities: Tokens of activities it has.
        suspect: Whether it has an item that workers were lost with before; it gets one such item at a time.
        gone: Whether it has left.
        on_read: Called when a worker that had much unread has read half of it.
    """

    app_id: str
    offer: WorkerOffer
    since: int = 0
    turns: set[InstanceKey] = field(default_factory=set[InstanceKey])
    activities: set[str] = field(default_factory=set[str])
    suspect: object | None = None
    gone: bool = False
    on_read: Callable[[], None] = lambda: None
    _outbox: deque[WorkItem | None] = field(default_factory=deque["WorkItem | None"])
    _reader: asyncio.Future[None] | None = None

    @property
    def takes_turns(self) -> bool:
        """Whether it has room for a turn."""
        if not self.offer.turns:
            return len(self._outbox) < _MOST_UNREAD
        return len(self.turns) < self.offer.turns

    @property
    def takes_activities(self) -> bool:
        """Whether it has room for an activity."""
        if not self.offer.activities:
            return len(self._outbox) < _MOST_UNREAD
        return len(self.activities) < self.offer.activities

    def send(self, item: TurnItem | ActivityItem) -> None:
        """Puts an item on its way to the worker."""
        self._put(item)

    def end(self) -> None:
        """Ends the stream after what was sent."""
        self._put(None)

    def _put(self, item: WorkItem | None) -> None:
        self._outbox.append(item)
        if self._reader is not None:
            self.wake()

    @property
    def unread(self) -> int:
        """How much is on its way, the end included."""
        return len(self._outbox)

    @property
    def ended(self) -> bool:
        """Whether the end is next."""
        return bool(self._outbox) and self._outbox[0] is None

    def take(self) -> WorkItem | None:
        """What comes next, which must be there; None at the end, which stays."""
        if self._outbox[0] is None:
            return None
        item = self._outbox.popleft()
        if len(self._outbox) == _MOST_UNREAD // 2:
            self.on_read()
        return item

    def wake(self) -> None:
        """Lets whoever waits for something look again."""
        reader, self._reader = self._reader, None
        if reader is not None and not reader.done():
            reader.set_result(None)

    async def something(self) -> None:
        """Waits until something is on its way, or somebody says `wake`."""
        self._reader = asyncio.get_running_loop().create_future()
        await self._reader

    async def items(self) -> AsyncIterator[WorkItem]:
        """What was sent, until the stream ends."""
        while True:
            while not self._outbox:
                await self.something()
            item = self.take()
            if item is None:
                return
            yield item
