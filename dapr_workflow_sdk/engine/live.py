"""Instances in memory, and what goes on around them."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from dapr_workflow_sdk.engine.clock import Alarm
from dapr_workflow_sdk.engine.state import (
    NEW_DICT,
    NEW_LIST,
    InboxEvent,
    InstanceKey,
    InstanceRow,
    InstanceState,
    TaskKey,
)
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.suspicion import Losses
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


@dataclass(slots=True)
class Turn:
    """A turn at a worker, or at the engine itself if the worker is None.

    Attributes:
        token: What the answer must carry, if it carries any.
        taken: The inbox events of the turn.
        new: The events as the worker sees them.
        worker: Who has it.
        answered: Whether the answer has come; its commit may still be on its way.
    """

    token: str
    taken: list[InboxEvent]
    new: list[pb.HistoryEvent]
    worker: Subscription | None
    answered: bool = False


@dataclass(eq=False)
class Live:
    """An instance in memory.

    Attributes:
        state: The instance.
        turn: Its turn, if it has one now.
        queued: Whether it waits for a worker to take its turn.
        alarms: Alarms of its timers.
        pause: The alarm that ends a pause after lost workers.
        worker: Who had its last turn.
        sent: How much of the history that worker was sent: the generation, and the number of events.
        losses: How often in a row workers were lost with a turn of it.
        retry: Whether it may take a turn although it is stalled.
        set_aside: Activities that are not sent out because the instance stalled over them.
        durable: Its scalar part as the store has it; None until the store has any.
        uncommitted: How many changes of it are on their way to the store.
        settling: Done when the last of them has arrived, or is known not to.
        waiters: Clients that wait for it.
        acknowledgements: Workers that wait to hear that a result is durable.
    """

    state: InstanceState
    turn: Turn | None = None
    queued: bool = False
    alarms: dict[int, Alarm] = field(default_factory=NEW_DICT)
    pause: Alarm | None = None
    worker: Subscription | None = None
    sent: tuple[int, int] = (0, 0)
    losses: Losses = field(default_factory=Losses)
    retry: bool = False
    set_aside: set[TaskKey] = field(default_factory=set[TaskKey])
    durable: InstanceRow | None = None
    uncommitted: int = 0
    settling: asyncio.Future[None] | None = None
    waiters: list[tuple[Milestone, asyncio.Future[None]]] = field(default_factory=NEW_LIST)
    acknowledgements: dict[TaskKey, asyncio.Future[None]] = field(default_factory=NEW_DICT)

    @property
    def id(self) -> str:
        """Id of the instance."""
        return self.state.row.instance_id

    @property
    def key(self) -> InstanceKey:
        """What the instance is known by."""
        return self.state.row.key

    @property
    def rests(self) -> bool:
        """Whether nothing goes on around it, so that what the store has of it is all there is."""
        state = self.state
        return (
            self.turn is None
            and not self.queued
            and not state.inbox
            and not state.tasks
            and not self.waiters
            and not self.acknowledgements
            and not self.uncommitted
        )

    def acknowledge(self, keys: list[TaskKey]) -> None:
        """Tells workers that their results are durable."""
        for key in keys:
            acknowledgement = self.acknowledgements.pop(key, None)
            if acknowledgement is not None and not acknowledgement.done():
                acknowledgement.set_result(None)

    def tell_waiters(self) -> None:
        """Tells clients what they waited for."""
        if self.waiters and self.durable is not None:
            for until, waiter in self.waiters:
                if not waiter.done() and reached(self.durable, until):
                    waiter.set_result(None)

    def stored(self, row: InstanceRow | None) -> None:
        """Notes that a change is durable, or, with None, that it is known not to become so."""
        self.uncommitted -= 1
        if row is not None:
            self.durable = row
        if not self.uncommitted and self.settling is not None:
            settling, self.settling = self.settling, None
            if not settling.done():
                settling.set_result(None)

    async def settle(self) -> None:
        """Waits until no change is on its way."""
        while self.uncommitted:
            if self.settling is None:
                self.settling = asyncio.get_running_loop().create_future()
            await asyncio.shield(self.settling)

    def silence(self) -> None:
        """Takes all its alarms back."""
        for alarm in self.alarms.values():
            alarm.cancel()
        self.alarms = {}
        if self.pause is not None:
            self.pause.cancel()
            self.pause = None

    def abandon(self, error: Exception) -> None:
        """Tells everybody who waits that it was in vain."""
        for future in (*(waiter for _, waiter in self.waiters), *self.acknowledgements.values()):
            if not future.done():
                future.set_exception(error)
                # Somebody who has left meanwhile does not take the error.
                future.exception()


def reached(row: InstanceRow, until: Milestone) -> bool:
    """Whether an instance has come as far as a client waits for."""
    return row.ended is not None or (until is Milestone.STARTED and row.started is not None)


def is_terminated(state: InstanceState) -> bool:
    """Whether somebody has asked for its end."""
    return any(item.event.WhichOneof("eventType") == "executionTerminated" for item in state.inbox)
