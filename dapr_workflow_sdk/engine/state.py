"""What the engine keeps of an instance, and the plain data in which changes of it are told to a store."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns

# Activities are known by the generation that called them and the number of the call: numbers start over with every
# generation, and results of an older one must not be taken for results of the current one.
TaskKey = tuple[int, int]
# Instances are known by the app they belong to and an id that is unique within it.
InstanceKey = tuple[str, str]
# The timer of a scheduled start; calls have numbers from 0.
START_TIMER = -1
# The last moment that a store can keep, in the year 2262; a timer after it never fires.
LAST_MOMENT = 2**63 - 1


# Factories of empty parts. Typed as anything, because `list[int]` in their place takes seven times as long to call, and
# every turn calls a dozen.
NEW_LIST: Any = list
NEW_DICT: Any = dict


@dataclass(slots=True)
class InstanceRow:
    """The scalar part of an instance, as a store keeps it. Times are nanoseconds since 1970.

    Nothing changes one: a step makes another. It is not frozen only because that makes it three times as slow to make.

    Attributes:
        number: What a store calls the instance; never given twice.
        app_id: The app whose workers run it.
        stalled: Why it stands still until somebody repairs that, a `pb.StalledReason`; None if it does not.
        stalled_because: The same in words.
        propagated: Histories that its caller handed down to it.
    """

    number: int
    app_id: str
    instance_id: str
    name: str
    version: str | None
    execution_id: str
    generation: int
    created: int
    updated: int
    started: int | None
    completed: int | None
    scheduled: int | None
    ended: pb.WorkflowStatus | None
    suspended: bool
    stalled: pb.StalledReason | None
    stalled_because: str | None
    input: str | None
    output: str | None
    custom_status: str | None
    failure: pb.TaskFailureDetails | None
    parent: pb.ParentInstanceInfo | None
    propagated: pb.PropagatedHistory | None

    @property
    def key(self) -> InstanceKey:
        """What it is known by."""
        return self.app_id, self.instance_id

    @property
    def status(self) -> pb.WorkflowStatus:
        """What clients are told."""
        if self.ended is not None:
            return self.ended
        if self.stalled is not None:
            return pb.WORKFLOW_STATUS_STALLED
        if self.suspended:
            return pb.WORKFLOW_STATUS_SUSPENDED
        return pb.WORKFLOW_STATUS_PENDING if self.started is None else pb.WORKFLOW_STATUS_RUNNING

    def after_turn(self, moment: int, custom_status: str | None, *, stalled: bool = False) -> InstanceRow:
        """The row after a turn; what `dataclasses.replace` makes of it, as every turn needs it.

        Args:
            moment: When that is.
            custom_status: The custom status as of this turn.
            stalled: Whether the instance stays stalled if it is.
        """
        return InstanceRow(
            self.number,
            self.app_id,
            self.instance_id,
            self.name,
            self.version,
            self.execution_id,
            self.generation,
            self.created,
            moment,
            moment if self.started is None else self.started,
            self.completed,
            self.scheduled,
            self.ended,
            self.suspended,
            self.stalled if stalled else None,
            self.stalled_because if stalled else None,
            self.input,
            self.output,
            custom_status,
            self.failure,
            self.parent,
            self.propagated,
        )


@dataclass(slots=True)
class InboxEvent:
    """An event that waits for the next turn.

    Attributes:
        event: The event.
        number: Its place in the inbox.
        stored: Whether it is stored there.
        task: The activity whose stored row stands for this event until the turn that takes it is committed.
        timer: The timer of which the same is true.
    """

    event: pb.HistoryEvent
    number: int
    stored: bool = True
    task: TaskKey | None = None
    timer: int | None = None


@dataclass(slots=True)
class InstanceState:
    """An instance in memory. Only `transitions` changes it.

    Attributes:
        row: Its scalar part.
        history: The committed events of this execution.
        inbox: Events that wait for a turn.
        inbox_next: Number of the next stored one.
        tasks: Activities without a result, of this and earlier generations.
        timers: When timers fire, by their number.
        children: Child workflows that have not answered, by the number of the call.
        attempts: How often each call was tried.
        patches: What code changes the execution has met, in order.
    """

    row: InstanceRow
    history: list[pb.HistoryEvent] = field(default_factory=NEW_LIST)
    inbox: list[InboxEvent] = field(default_factory=NEW_LIST)
    inbox_next: int = 0
    tasks: dict[TaskKey, pb.ActivityRequest] = field(default_factory=NEW_DICT)
    timers: dict[int, int] = field(default_factory=NEW_DICT)
    children: dict[int, InstanceKey] = field(default_factory=NEW_DICT)
    attempts: dict[str, int] = field(default_factory=NEW_DICT)
    patches: tuple[str, ...] = ()

    @property
    def ended(self) -> bool:
        """Whether the instance has completed, failed or been terminated."""
        return self.row.ended is not None


@dataclass(slots=True)
class Change:
    """What one step changed of one instance: rows to write and rows to remove, all or none.

    Attributes:
        key: The instance.
        number: What stores call it.
        row: Its scalar part after the step, if that changed.
        removed: Remove the instance and everything it has; nothing else is set then.
        renewed: Forget the stored history, inbox and timers first; the other fields bring the new ones.
        history_start: Position of the first of `history`.
        history: Events to append.
        inbox_added: Numbers and events to add to the inbox.
        inbox_removed: Numbers to remove from it.
        tasks_added: Activities to run.
        tasks_removed: Activities that have been run.
        timers_added: Timers and when they fire.
        timers_removed: Timers that have fired or are of no use any more.
    """

    key: InstanceKey
    number: int
    row: InstanceRow | None = None
    removed: bool = False
    renewed: bool = False
    history_start: int = 0
    history: list[pb.HistoryEvent] = field(default_factory=NEW_LIST)
    inbox_added: list[tuple[int, pb.HistoryEvent]] = field(default_factory=NEW_LIST)
    inbox_removed: list[int] = field(default_factory=NEW_LIST)
    tasks_added: list[tuple[TaskKey, pb.ActivityRequest]] = field(default_factory=NEW_LIST)
    tasks_removed: list[TaskKey] = field(default_factory=NEW_LIST)
    timers_added: list[tuple[int, int]] = field(default_factory=NEW_LIST)
    timers_removed: list[int] = field(default_factory=NEW_LIST)


def describe(row: InstanceRow, *, payloads: bool) -> pb.WorkflowState:
    """The state of an instance as clients read it."""
    wire = pb.WorkflowState(
        instanceId=row.instance_id,
        name=row.name,
        workflowStatus=row.status,
        createdTimestamp=timestamp_from_ns(row.created),
        lastUpdatedTimestamp=timestamp_from_ns(row.updated),
        executionId=text_of(row.execution_id),
    )
    if row.version is not None:
        wire.version.value = row.version
    if row.scheduled is not None:
        wire.scheduledStartTimestamp.CopyFrom(timestamp_from_ns(row.scheduled))
    if row.started is not None:
        wire.startedAt.CopyFrom(timestamp_from_ns(row.started))
    if row.completed is not None:
        wire.completedTimestamp.CopyFrom(timestamp_from_ns(row.completed))
    if row.parent is not None:
        wire.parentInstanceId.value = row.parent.workflowInstance.instanceId
        wire.parentAppId.value = row.parent.appID or row.app_id
    if payloads:
        for target, text in (
            (wire.input, row.input),
            (wire.output, row.output),
            (wire.customStatus, row.custom_status),
        ):
            if text is not None:
                target.value = text
                target.SetInParent()
        if row.failure is not None:
            wire.failureDetails.CopyFrom(row.failure)
    return wire
