"""The task hub port: the one interface that workers, clients, servers and tests speak to.

Two things implement it: `dapr_workflow_sdk.taskhub.channel.GrpcTaskHub`, over a gRPC channel to a Dapr sidecar or to
the engine in another process, and `dapr_workflow_sdk.engine.hub.EngineHub`, the engine itself.

What crosses the port are wire messages; in process they are handed over, not serialized, and must not be changed by
whoever receives them.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from enum import Enum
from typing import Protocol

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class Milestone(Enum):
    """What a client waits for: the instance has begun, or it has ended."""

    STARTED = "started"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class WorkerOffer:
    """What a worker offers when it subscribes.

    Attributes:
        turns: How many turns it takes at a time.
        activities: How many activities it takes at a time. A Dapr sidecar ignores both and sends what it has.
        stateful: Whether it keeps histories, so that it can be sent only what it has not seen.
        worker_id: What the worker calls itself when it asks for notices; empty for a worker that does not.
        identity: Who it is, for people: a host and a process.
    """

    turns: int
    activities: int
    stateful: bool = False
    worker_id: str = ""
    identity: str = ""


# Items are not frozen because that would make them three times as slow to make; nobody changes one.
@dataclass(slots=True)
class TurnItem:
    """A turn to run: past and new events of one instance.

    Attributes:
        instance_id: The instance.
        past: Its committed history; only the end of it if `cached` is not 0.
        new: What is to be applied now.
        token: What the answer carries.
        cached: How many events come before those of `past`; the worker was sent them with an earlier turn.
        propagated: Histories that a caller handed down to this workflow, if it asked for that.
    """

    instance_id: str
    past: Sequence[pb.HistoryEvent]
    new: Sequence[pb.HistoryEvent]
    token: str
    cached: int = 0
    propagated: pb.PropagatedHistory | None = None


@dataclass(slots=True)
class ActivityItem:
    """An activity to run."""

    request: pb.ActivityRequest
    token: str


WorkItem = TurnItem | ActivityItem


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What a task hub can do beyond what all can.

    Attributes:
        lists: Listing ids and reading histories (Dapr 1.17).
        stalls: Instances that stall instead of failing, for versions and patches (Dapr 1.17).
        detaches: Detached workflows (Dapr 1.18).
        extensions: What only the engine of this package has: lists with filters, the list of workers, heartbeats,
            notices, and events sent and instances terminated by a workflow itself.
    """

    lists: bool
    stalls: bool
    detaches: bool
    extensions: bool


class TaskHub(Protocol):
    """Operations of a task hub.

    Every operation may raise a `TaskHubError`; one that takes an instance id raises `WorkflowNotFoundError` for an
    unknown one, except `state` and `wait`, which answer None.
    """

    @property
    def description(self) -> str:
        """Where this task hub is, for messages."""
        ...

    @property
    def closed(self) -> bool:
        """Whether it is closed for good, so that nobody need try again."""
        ...

    def for_app(self, app_id: str) -> TaskHub:
        """The same task hub, where operations mean instances of another app; it closes with this one."""
        ...

    async def connect(self, timeout: float) -> None:
        """Makes sure that the task hub answers, or raises `TaskHubUnavailableError` after `timeout` seconds."""
        ...

    async def start(self, request: pb.CreateInstanceRequest) -> str:
        """Creates an instance and returns its id."""
        ...

    async def state(self, instance_id: str, *, payloads: bool) -> pb.WorkflowState | None:
        """The current state of an instance."""
        ...

    async def wait(self, instance_id: str, until: Milestone, *, payloads: bool) -> pb.WorkflowState | None:
        """Waits, without a limit of its own, and returns the state then."""
        ...

    async def raise_event(self, request: pb.RaiseEventRequest) -> None:
        """Delivers an event; a finished instance ignores it."""
        ...

    async def suspend(self, request: pb.SuspendRequest) -> None:
        """Suspends an instance; suspending twice changes nothing."""
        ...

    async def resume(self, request: pb.ResumeRequest) -> None:
        """Resumes an instance; a running one is left as it is."""
        ...

    async def terminate(self, request: pb.TerminateRequest) -> None:
        """Ends an instance, and its children if asked to; a finished one is left as it is."""
        ...

    async def purge(self, request: pb.PurgeInstancesRequest) -> int:
        """Removes a finished instance, and its children if asked to; returns how many were removed."""
        ...

    async def capabilities(self) -> Capabilities:
        """What may be asked of this task hub; found out once."""
        ...

    async def list_ids(self, request: pb.ListInstanceIDsRequest) -> pb.ListInstanceIDsResponse:
        """Ids of instances, page by page, oldest first."""
        ...

    async def instances(self, request: pb.ListInstancesRequest) -> pb.ListInstancesResponse:
        """States of instances, newest first, filtered and page by page; an extension."""
        ...

    async def rerun(self, request: pb.RerunWorkflowFromEventRequest) -> str:
        """Starts a new instance with the history of a finished one up to an event; returns its id."""
        ...

    async def describe(self) -> pb.DescribeEngineResponse:
        """What engine this is, which apps it knows and where it keeps them; an extension."""
        ...

    async def workers(self) -> Sequence[pb.WorkerInfo]:
        """The workers that are subscribed; an extension."""
        ...

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Says that an activity still runs, and how far it is; an extension."""
        ...

    def notices(self, worker_id: str) -> AbstractAsyncContextManager[AsyncIterator[pb.Notice]]:
        """Tokens of running activities of one worker that nobody waits for any more; an extension."""
        ...

    async def history(self, instance_id: str) -> Sequence[pb.HistoryEvent]:
        """The committed history of the current execution."""
        ...

    def work_items(self, offer: WorkerOffer) -> AbstractAsyncContextManager[AsyncIterator[WorkItem]]:
        """Subscribes a worker: the items it is to run, until either side ends the subscription.

        Items that were not completed when the subscription ends are handed to a worker again.
        """
        ...

    def complete_turn(self, response: pb.WorkflowResponse) -> Awaitable[None]:
        """Answers a turn; done when that is durable. An answer nobody waits for is ignored.

        In process the answer is taken at once, and what is returned is a future.
        """
        ...

    def complete_activity(self, response: pb.ActivityResponse) -> Awaitable[None]:
        """Answers an activity; done when that is durable. An answer nobody waits for is ignored."""
        ...

    async def aclose(self) -> None:
        """Lets go of whatever the port holds."""
        ...
