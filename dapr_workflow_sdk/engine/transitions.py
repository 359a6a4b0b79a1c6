"""What happens to an instance: pure functions from a state and an arrival, or a finished turn, to a change.

Nothing here waits, reads a clock or touches a store. Each function changes the state it is given and returns the
same change as data, so that a store can repeat it on its medium. What a turn does is in `conclusion`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dapr_workflow_sdk.engine.state import (
    LAST_MOMENT,
    START_TIMER,
    Change,
    InboxEvent,
    InstanceRow,
    InstanceState,
    TaskKey,
)
from dapr_workflow_sdk.engine.tracing import note_own_span
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds


def event_at(moment: int, app_id: str = "", *, event_id: int = -1, to: str = "") -> pb.HistoryEvent:
    """An event without its content; `to` is the app it goes to, if that is another one."""
    # Setting fields of a part where it is costs half of building the part and copying it in. That is why the code
    # below does so for what every activity needs.
    event = pb.HistoryEvent(eventId=event_id)
    timestamp = event.timestamp
    timestamp.seconds, timestamp.nanos = divmod(moment, 1_000_000_000)
    if app_id:
        event.router.sourceAppID = app_id
        if to and to != app_id:
            event.router.targetAppID = to
    return event


def create(
    app_id: str,
    number: int,
    started: pb.HistoryEvent,
    moment: int,
    generation: int,
    propagated: pb.PropagatedHistory | None = None,
) -> tuple[InstanceState, Change]:
    """A new instance, whose first event is `started`."""
    content = started.executionStarted
    note_own_span(content)
    row = InstanceRow(
        number=number,
        app_id=app_id,
        instance_id=content.workflowInstance.instanceId,
        name=content.name,
        version=content.version.value if content.HasField("version") else None,
        execution_id=content.workflowInstance.executionId.value,
        generation=generation,
        created=moment,
        updated=moment,
        started=None,
        completed=None,
        scheduled=min(nanoseconds(content.scheduledStartTimestamp), LAST_MOMENT)
        if content.HasField("scheduledStartTimestamp")
        else None,
        ended=None,
        suspended=False,
        stalled=None,
        stalled_because=None,
        input=content.input.value if content.HasField("input") else None,
        output=None,
        custom_status=None,
        failure=None,
        parent=content.parentInstance if content.HasField("parentInstance") else None,
        propagated=propagated,
    )
    state = InstanceState(row, inbox=[InboxEvent(started, 0)], inbox_next=1)
    change = Change(row.key, number, row, renewed=True, inbox_added=[(0, started)])
    if row.scheduled is not None:
        state.timers[START_TIMER] = row.scheduled
        change.timers_added.append((START_TIMER, row.scheduled))
    return state, change


def change_of(state: InstanceState, row: InstanceRow | None = None) -> Change:
    """A change of an instance, still empty but for its scalar part."""
    return Change(state.row.key, state.row.number, row)


def wants(state: InstanceState, event: pb.HistoryEvent, key: TaskKey | None = None) -> bool:
    """Whether the instance still waits for this event: late and doubled ones change nothing."""
    if state.ended:
        return False
    kind = event.WhichOneof("eventType")
    if kind in ("taskCompleted", "taskFailed"):
        return key is not None and key in state.tasks and key[0] == state.row.generation and not _has(state, key)
    if kind == "timerFired":
        timer = event.timerFired.timerId
        return timer in state.timers and not any(item.timer == timer for item in state.inbox)
    if kind == "childWorkflowInstanceCompleted":
        return state.children.pop(event.childWorkflowInstanceCompleted.taskScheduledId, None) is not None
    if kind == "childWorkflowInstanceFailed":
        return state.children.pop(event.childWorkflowInstanceFailed.taskScheduledId, None) is not None
    return True


def _has(state: InstanceState, key: TaskKey) -> bool:
    return any(item.task == key for item in state.inbox)


def accept(state: InstanceState, event: pb.HistoryEvent) -> Change:
    """Stores an arrival in the inbox."""
    kind = event.WhichOneof("eventType")
    suspended = state.row.suspended
    if kind in ("executionSuspended", "executionResumed"):
        suspended = kind == "executionSuspended"
    state.row = replace(state.row, updated=nanoseconds(event.timestamp), suspended=suspended)
    change = change_of(state, state.row)
    put_into_inbox(state, event, change)
    return change


def accept_unstored(
    state: InstanceState, event: pb.HistoryEvent, *, task: TaskKey | None = None, timer: int | None = None
) -> None:
    """Takes the result of an activity, or a timer that fired, without storing it.

    The stored row of the activity or the timer stands for it: after a crash the activity runs again, the timer fires
    again. So one commit per step is enough, that of the turn.
    """
    # Its place is kept, so that it stands where it came should it have to be stored after all.
    state.inbox.append(InboxEvent(event, state.inbox_next, False, task, timer))
    state.inbox_next += 1


def store_unstored(state: InstanceState) -> Change | None:
    """Stores what `accept_unstored` took, when no turn is going to take it soon."""
    change = change_of(state)
    for item in state.inbox:
        if not item.stored:
            item.stored = True
            change.inbox_added.append((item.number, item.event))
            release(state, item, change)
    return change if change.inbox_added else None


def release(state: InstanceState, item: InboxEvent, change: Change) -> None:
    """Forgets the activity or the timer whose stored row stood for an event."""
    if item.task is not None:
        state.tasks.pop(item.task, None)
        change.tasks_removed.append(item.task)
        item.task = None
    if item.timer is not None:
        state.timers.pop(item.timer, None)
        change.timers_removed.append(item.timer)
        item.timer = None


def drop_task(state: InstanceState, key: TaskKey) -> Change | None:
    """Forgets an activity that was run for a generation or an instance that no longer waits for it."""
    if state.tasks.pop(key, None) is None:
        return None
    change = change_of(state)
    change.tasks_removed.append(key)
    return change


def beat(state: InstanceState, key: TaskKey, details: str | None) -> tuple[pb.ActivityRequest, Change] | None:
    """Keeps what a running activity said last, for the next try; None if nobody waits for the activity."""
    request = state.tasks.get(key)
    if request is None:
        return None
    # Another thread may be storing the one there is.
    told = pb.ActivityRequest()
    told.CopyFrom(request)
    if details is None:
        told.ClearField("heartbeatDetails")
    else:
        told.heartbeatDetails.value = details
    state.tasks[key] = told
    change = change_of(state)
    change.tasks_added.append((key, told))
    return told, change


def stall(state: InstanceState, reason: pb.StalledReason, text: str, moment: int) -> Change | None:
    """Lets an instance stand still with what it has in its inbox; None if it does already, for the same reason."""
    # Other code differs from the history in another way, and its author wants to know in which.
    if state.row.stalled == reason and (
        reason != pb.STALLED_REASON_HISTORY_MISMATCH or state.row.stalled_because == text
    ):
        return None
    event = event_at(moment, state.row.app_id)
    event.executionStalled.CopyFrom(pb.ExecutionStalledEvent(reason=reason, description=text))
    row = replace(
        state.row,
        updated=moment,
        started=state.row.started if state.row.started is not None else moment,
        stalled=reason,
        stalled_because=text,
    )
    change = change_of(state, row)
    change.history_start = len(state.history)
    change.history = [event]
    state.history.append(event)
    state.row = row
    return change


def unstall(state: InstanceState) -> Change:
    """Lets a stalled instance try again."""
    state.row = replace(state.row, stalled=None, stalled_because=None)
    return change_of(state, state.row)


def put_into_inbox(state: InstanceState, event: pb.HistoryEvent, change: Change) -> None:
    """Lets an event wait for the next turn."""
    number = state.inbox_next
    state.inbox_next += 1
    state.inbox.append(InboxEvent(event, number))
    change.inbox_added.append((number, event))


def refused_child(action_id: int, child_id: str, moment: int) -> pb.HistoryEvent:
    """What a parent gets when the id of its child is taken."""
    event = event_at(moment)
    event.childWorkflowInstanceFailed.CopyFrom(
        pb.ChildWorkflowInstanceFailedEvent(
            taskScheduledId=action_id,
            failureDetails=pb.TaskFailureDetails(
                errorType="WorkflowInstanceAlreadyExists",
                errorMessage=f"an active workflow with ID '{child_id}' already exists",
            ),
        )
    )
    return event


def restore(
    row: InstanceRow,
    history: list[pb.HistoryEvent],
    inbox: Sequence[tuple[int, pb.HistoryEvent]],
    tasks: dict[TaskKey, pb.ActivityRequest],
    timers: dict[int, int],
) -> InstanceState:
    """An instance as a store kept it. Open children and counts of tries follow from the history."""
    state = InstanceState(row, history, [InboxEvent(event, number) for number, event in inbox], 0, tasks, timers)
    state.inbox_next = max((number for number, _ in inbox), default=-1) + 1
    for event in (*history, *(event for _, event in inbox)):
        kind = event.WhichOneof("eventType")
        if kind == "workflowStarted":
            if event.workflowStarted.version.patches:
                state.patches = tuple(event.workflowStarted.version.patches)
        elif kind == "taskScheduled" and event.taskScheduled.taskExecutionId:
            key = event.taskScheduled.taskExecutionId
            state.attempts[key] = state.attempts.get(key, 0) + 1
        elif kind == "childWorkflowInstanceCreated":
            app_id = event.router.targetAppID or row.app_id
            state.children[event.eventId] = (app_id, event.childWorkflowInstanceCreated.instanceId)
        elif kind == "childWorkflowInstanceCompleted":
            state.children.pop(event.childWorkflowInstanceCompleted.taskScheduledId, None)
        elif kind == "childWorkflowInstanceFailed":
            state.children.pop(event.childWorkflowInstanceFailed.taskScheduledId, None)
    if row.ended is not None:
        state.children = {}
    return state
