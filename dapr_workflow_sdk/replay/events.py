"""External events of one run: who waits for which, and what came before anybody waited."""

from __future__ import annotations

from collections import deque

from dapr_workflow_sdk.replay.calls import EventWait
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class ExternalEvents:
    """Matches events and waits by name, whatever their case, first in, first out."""

    __slots__ = ("_arrivals", "_arrived", "_waits")

    def __init__(self) -> None:
        """Starts with neither."""
        self._waits: dict[str, deque[EventWait]] = {}
        self._arrived: dict[str, deque[tuple[int, pb.HistoryEvent]]] = {}
        self._arrivals = 0

    def take(self, name: str) -> pb.HistoryEvent | None:
        """The first event of this name that nobody waited for, or None."""
        key = name.casefold()
        arrived = self._arrived.get(key)
        if not arrived:
            return None
        _, event = arrived.popleft()
        if not arrived:
            del self._arrived[key]
        return event

    def wait(self, wait: EventWait) -> None:
        """Adds a waiter."""
        self._waits.setdefault(wait.name.casefold(), deque()).append(wait)

    def first_waiter(self, name: str) -> EventWait | None:
        """Takes the waiter whose turn it is, or None."""
        key = name.casefold()
        waits = self._waits.get(key)
        if not waits:
            return None
        wait = waits.popleft()
        if not waits:
            del self._waits[key]
        return wait

    def give_up(self, wait: EventWait) -> None:
        """Removes a waiter, so that the next event of its name is kept for somebody else."""
        key = wait.name.casefold()
        waits = self._waits.get(key)
        if waits and wait in waits:
            waits.remove(wait)
            if not waits:
                del self._waits[key]

    def keep(self, event: pb.HistoryEvent) -> None:
        """Keeps an event until somebody waits for it."""
        self._arrivals += 1
        # A copy: the event itself would keep the whole message that it came with in memory.
        kept = pb.HistoryEvent()
        kept.CopyFrom(event)
        self._arrived.setdefault(event.eventRaised.name.casefold(), deque()).append((self._arrivals, kept))

    def kept(self) -> list[pb.HistoryEvent]:
        """All events that are kept, in the order in which they came."""
        arrived = sorted((item for items in self._arrived.values() for item in items), key=lambda item: item[0])
        return [event for _, event in arrived]
