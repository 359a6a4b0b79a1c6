"""Runs kept between turns, so that a turn costs what is new in it and not the whole history.

A parked run is an optimisation of replay, never another semantics. It may go on only if what it consumed is the head
of the history that arrives now. That has two parts. What was committed when the run consumed it cannot change within
one execution: histories only grow until the instance continues as new, which changes its execution id. What was new
in the run's last turn was not committed yet, and may have been committed in another order, with other events, or not
at all when the turn was lost: these events are compared one by one. Any difference drops the run, and the history is
replayed from its start.
"""

from __future__ import annotations

import operator
from collections import OrderedDict
from collections.abc import Sequence

from dapr_workflow_sdk.authoring.definitions import Definition, Registry
from dapr_workflow_sdk.errors import RegistrationError
from dapr_workflow_sdk.replay.instance import Instance
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class _Parked:
    __slots__ = ("committed", "consumed", "instance")

    def __init__(self, instance: Instance, committed: int, consumed: Sequence[pb.HistoryEvent]) -> None:
        self.instance = instance
        self.committed = committed
        # An event that came with a gRPC message keeps that whole message in memory, its history included; its bytes
        # do not. In process the events are objects of the engine's own, which live anyway.
        self.consumed: Sequence[pb.HistoryEvent | bytes] = (
            consumed if isinstance(consumed, list) else [event.SerializeToString() for event in consumed]
        )

    def continues_with(self, past: Sequence[pb.HistoryEvent], cached: int) -> bool:
        """Whether this history, of which the first so many events are left out, begins with what the run consumed."""
        unseen = self.committed - cached
        head = unseen + len(self.consumed)
        if unseen < 0 or len(past) < head:
            return False
        # A task hub leaves events out only within one execution.
        if self.committed and not cached:
            # Another execution under the same id starts with other events.
            started = next(
                (e.executionStarted for e in past[:3] if e.WhichOneof("eventType") == "executionStarted"), None
            )
            if started is None or started.workflowInstance.executionId.value != self.instance.execution_id:
                return False
        committed = past[unseen:head]
        # In process, what is committed are the very objects that were consumed, and that is soon seen.
        if all(map(operator.is_, self.consumed, committed)):
            return True
        return all(_same(a, b) for a, b in zip(self.consumed, committed, strict=True))


def _same(consumed: pb.HistoryEvent | bytes, committed: pb.HistoryEvent) -> bool:
    """Whether two events are one; task hubs stamp a version onto workflowStarted when they commit it."""
    if consumed is committed:
        return True
    if isinstance(consumed, bytes):
        if consumed == committed.SerializeToString():
            return True
        consumed = pb.HistoryEvent.FromString(consumed)
    kind = consumed.WhichOneof("eventType")
    if (
        kind != committed.WhichOneof("eventType")
        or consumed.eventId != committed.eventId
        or consumed.timestamp != committed.timestamp
    ):
        return False
    return kind == "workflowStarted" or consumed == committed


class ParkedInstances:
    """The runs of one worker that wait between turns, the least recently used dropped first."""

    def __init__(self, limit: int) -> None:
        """Keeps at most `limit` runs; 0 keeps none."""
        self._limit = limit
        self._parked: OrderedDict[str, _Parked] = OrderedDict()

    def __len__(self) -> int:
        return len(self._parked)

    def take(
        self, instance_id: str, past: Sequence[pb.HistoryEvent], registry: Registry, cached: int = 0
    ) -> tuple[Instance, Sequence[pb.HistoryEvent]] | None:
        """The run that goes on with this history and the part of it that the run has not seen, or None.

        Args:
            instance_id: Id of the instance.
            past: Its history, or the end of it.
            registry: Where its code is found.
            cached: How many events are left out before those of `past`.
        """
        parked = self._parked.pop(instance_id, None)
        if parked is None:
            return None
        instance = parked.instance
        known = instance.definition
        if known is None or not _still_registered(instance, known, registry) or not parked.continues_with(past, cached):
            instance.close()
            return None
        return instance, past[parked.committed - cached + len(parked.consumed) :]

    def keep(self, instance: Instance, committed: int, consumed: Sequence[pb.HistoryEvent]) -> None:
        """Parks a run after its turn, or closes it where it cannot go on."""
        if self._limit <= 0 or not _can_park(instance):
            instance.close()
            return
        self._parked[instance.instance_id] = _Parked(instance, committed, consumed)
        while len(self._parked) > self._limit:
            _, oldest = self._parked.popitem(last=False)
            oldest.instance.close()

    def clear(self) -> None:
        """Drops all runs."""
        while self._parked:
            self._parked.popitem()[1].instance.close()


def _still_registered(instance: Instance, known: Definition, registry: Registry) -> bool:
    try:
        found = registry.find("workflow", known.name)
        if found is None and instance.version_name is not None:
            found = registry.find_version(known.name, instance.version_name)
        return found is known
    except RegistrationError:
        return False  # The replay that follows explains it.


def _can_park(instance: Instance) -> bool:
    # A function that returns some other function's generator may return another one next time, so only a generator
    # or coroutine of the registered function's own code is kept.
    definition = instance.definition
    return (
        instance.outcome is None
        and bool(instance.execution_id)
        and definition is not None
        and definition.code is not None
        and instance.runs(definition.code)
    )
