"""What the engine asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from dapr_workflow_sdk.engine.state import Change, InstanceKey, InstanceRow, InstanceState
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# So many instances with timers that are due are named at a time.
MOST_DUE = 1000


@dataclass(frozen=True, slots=True)
class Selection:
    """Which instances of an app are asked for.

    Attributes:
        app_id: The app.
        statuses: Statuses as clients see them; none for all.
        name: Name of the workflow; empty for all.
        prefix: What ids begin with.
        created_from: Nanoseconds since 1970 at which they were created at the earliest.
        created_to: The same at the latest.
        completed_to: Nanoseconds since 1970 at which they ended at the latest; those that run are left out.
        after: Number after which to begin, in the order asked for; 0 begins at the first.
        newest_first: Whether higher numbers come first.
        limit: How many at most.
    """

    app_id: str
    statuses: frozenset[pb.WorkflowStatus] = frozenset()
    name: str = ""
    prefix: str = ""
    created_from: int | None = None
    created_to: int | None = None
    completed_to: int | None = None
    after: int = 0
    newest_first: bool = False
    limit: int = 1000


class Store(Protocol):
    """Keeps instances.

    Changes are written on the engine's loop and made durable by `sync`, which another thread may call; the next
    `write` comes only when it has returned. The others are called on the engine's loop. `load` and `row` are called
    only for instances of which no change is on its way; `select` and `due` answer from what is committed.
    """

    @property
    def waits(self) -> bool:
        """Whether `sync` waits for a disk or a network, and so needs a thread of its own."""
        ...

    def new_number(self) -> int:
        """A number for a new instance, higher than any before."""
        ...

    def write(self, changes: Sequence[Change]) -> None:
        """Takes changes, in their order; an error takes all of them back."""
        ...

    def sync(self) -> None:
        """Makes what was written durable; an error takes all of it back."""
        ...

    def load(self, key: InstanceKey) -> InstanceState | None:
        """An instance with all it has."""
        ...

    def row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part of an instance."""
        ...

    def select(self, selection: Selection) -> list[InstanceRow]:
        """Scalar parts of instances, in the order of their numbers."""
        ...

    def ready(self, now: int) -> list[InstanceKey]:
        """Instances that may go on at once: with events to take or activities to run."""
        ...

    def due(self, now: int) -> list[InstanceKey]:
        """Instances with timers that should have fired by now, the longest due first; `MOST_DUE` at most."""
        ...

    def next_due(self, now: int) -> int | None:
        """When the first timer after now fires."""
        ...

    def apps(self) -> list[str]:
        """Apps that have instances."""
        ...

    def size(self) -> int:
        """Bytes on the medium; 0 if that makes no sense."""
        ...

    def close(self) -> None:
        """Lets go of the medium."""
        ...
