"""Workers as the engine sees them: what each offers, has, and is sent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem, WorkerOffer, WorkItem

# A worker that does not say how much it takes (every worker but those of this package) is sent this much.
UNLIMITED = 1_000_000


@dataclass(eq=False)
class Subscription:
    """One worker's stream of work items.

    Attributes:
        offer: How many items the worker takes at a time.
        turns: Ids of instances whose turn it has.
        activities: Tokens of activities it has.
    """

    offer: WorkerOffer
    turns: set[str] = field(default_factory=set[str])
    activities: set[str] = field(default_factory=set[str])
    _outbox: asyncio.Queue[WorkItem | None] = field(default_factory=asyncio.Queue[WorkItem | None])

    @property
    def takes_turns(self) -> bool:
        """Whether it has room for a turn."""
        return len(self.turns) < (self.offer.turns or UNLIMITED)

    @property
    def takes_activities(self) -> bool:
        """Whether it has room for an activity."""
        return len(self.activities) < (self.offer.activities or UNLIMITED)

    def send(self, item: TurnItem | ActivityItem) -> None:
        """Puts an item on its way to the worker."""
        self._outbox.put_nowait(item)

    def end(self) -> None:
        """Ends the stream after what was sent."""
        self._outbox.put_nowait(None)

    async def items(self) -> AsyncIterator[WorkItem]:
        """What was sent, until the stream ends."""
        while (item := await self._outbox.get()) is not None:
            yield item
