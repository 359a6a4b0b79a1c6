"""What the engine asks of a store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from dapr_workflow_sdk.engine.state import Change, InstanceRow, InstanceState


class Store(Protocol):
    """Keeps instances.

    `commit` is called by one thread at a time, and never again before it has returned; `load`, `row` and `unfinished`
    are called on the engine's loop, for instances of which no change is on its way.
    """

    @property
    def waits(self) -> bool:
        """Whether `commit` waits for a disk or a network, and so needs a thread of its own."""
        ...

    def commit(self, changes: Sequence[Change]) -> None:
        """Makes all the changes durable, in their order, or none of them."""
        ...

    def load(self, instance_id: str) -> InstanceState | None:
        """An instance with all it has."""
        ...

    def row(self, instance_id: str) -> InstanceRow | None:
        """The scalar part of an instance."""
        ...

    def unfinished(self) -> list[str]:
        """Ids of instances that may go on by themselves: with events to take, timers to fire or activities to run."""
        ...

    def close(self) -> None:
        """Lets go of the medium."""
        ...
