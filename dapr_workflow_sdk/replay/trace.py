"""A history replayed once more, with every call and every agreement written down.

Turns keep no such list, because it would cost each of them; it is made when there is something to explain.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.replay.calls import Call, Place
from dapr_workflow_sdk.replay.instance import Instance
from dapr_workflow_sdk.replay.ledger import Ledger
from dapr_workflow_sdk.replay.parting import PartingError
from dapr_workflow_sdk.replay.steps import Step, asked_step, recorded_step
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class _Confirmed(dict[int, Call]):
    """Remembers what was taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.last: Call | None = None

    def __delitem__(self, key: int) -> None:
        self.last = self[key]
        super().__delitem__(key)


class TracingLedger(Ledger):
    """A ledger that also keeps which calls history confirmed, in that order."""

    __slots__ = ("confirmed",)

    def __init__(self) -> None:
        """Starts without calls."""
        super().__init__()
        self.unconfirmed = _Confirmed()
        self.confirmed: list[Call] = []

    def confirm(self, call_id: int, confirmed_by: str, name: str) -> bool:
        """Confirms as a ledger does."""
        agreed = super().confirm(call_id, confirmed_by, name)
        last = self.unconfirmed.last if isinstance(self.unconfirmed, _Confirmed) else None
        if agreed and last is not None:
            self.confirmed.append(last)
        return agreed


@dataclass(frozen=True)
class Agreement:
    """A call that the history records and the code makes.

    Attributes:
        recorded: What the history has.
        asked: What the code asks for.
    """

    recorded: Step
    asked: Step


@dataclass(frozen=True)
class Trace:
    """What came of a replay.

    Attributes:
        instance: The run, as far as it got; it is closed.
        events: What was replayed.
        confirmed: Calls that history confirmed, in that order.
        parting: Where they part, if they do.
        place: Where the code waits, if it does.
        asked: Calls that a task hub would be asked for now.
    """

    instance: Instance
    events: Sequence[pb.HistoryEvent]
    confirmed: tuple[Call, ...]
    parting: PartingError | None
    place: Place | None
    asked: tuple[Call, ...]

    @property
    def agreements(self) -> tuple[Agreement, ...]:
        """Calls on which code and history agree."""
        recorded: dict[int, Step] = {}
        for number, event in enumerate(self.events, 1):
            step = recorded_step(event, number)
            if step is not None:
                recorded.setdefault(step.number, step)
        return tuple(Agreement(recorded[call.id], asked_step(call)) for call in self.confirmed if call.id in recorded)


def retrace(
    instance_id: str,
    events: Sequence[pb.HistoryEvent],
    registry: Registry,
    converter: Converter,
    *,
    new: int = 0,
    versions: bool = True,
) -> Trace:
    """Replays a whole history, or the beginning of one, from its first event.

    Args:
        instance_id: Id of the instance.
        events: The history.
        registry: Where the workflow's code is found.
        converter: How payloads are read and written.
        new: How many of the last events the code sees for the first time, as in a turn.
        versions: Whether the task hub keeps the version of the code and its patches.
    """
    instance = Instance(instance_id, registry, converter, versions=versions)
    ledger = TracingLedger()
    instance._ledger = ledger
    parting: PartingError | None = None
    seen = len(events) - new
    try:
        for place, event in enumerate(events):
            instance.is_replaying = place < seen
            instance.feed(event)
    except PartingError as found:
        parting = found
    waits = instance._code.place
    asked_for = frozenset(action.id for action in instance.actions()) if parting is None else frozenset[int]()
    asked = tuple(call for call in ledger.pending() if call.id in asked_for)
    instance.close()
    return Trace(instance, events, tuple(ledger.confirmed), parting, waits, asked)
