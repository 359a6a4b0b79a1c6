"""What happens to an instance: pure functions from a state and an arrival, or a finished turn, to a change.

Nothing here waits, reads a clock or touches a store. Each function changes the state it is given and returns the
same change as data, so that a store can repeat it on its medium. The order in which the caller commits matters: the
change of a turn holds the history it made, the inbox events it consumed, the activities and timers it asked for and
the messages it sent to other instances, and is one transaction, so no crash can separate them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.propagation import handed_down
from dapr_workflow_sdk.engine.state import (
    LAST_MOMENT,
    NEW_LIST,
    START_TIMER,
    Change,
    InboxEvent,
    InstanceKey,
    InstanceRow,
    InstanceState,
    TaskKey,
)
from dapr_workflow_sdk.engine.tracing import call_span
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, text_of

# Results and timers belong to the generation that asked for them; the rest of an inbox outlives it.
_OF_ONE_GENERATION = frozenset(
    {
        "taskCompleted",
        "taskFailed",
        "timerFired",
        "childWorkflowInstanceCompleted",
        "childWorkflowInstanceFailed",
    }
)


@dataclass(slots=True)
class Message:
    """Something that one instance's turn sends to another instance.

    Attributes:
        target: The other instance.
        event: What it receives.
        creates: Whether the event starts it.
        for_execution: Execution of the target that a result is meant for, or empty.
        propagated: Histories handed down to the instance that the event starts.
    """

    target: InstanceKey
    event: pb.HistoryEvent
    creates: bool = False
    for_execution: str = ""
    propagated: pb.PropagatedHistory | None = None


@dataclass(slots=True)
class Conclusion:
    """The outcome of a turn: what to commit, and what to do once that is durable."""

    change: Change
    activities: list[tuple[TaskKey, pb.ActivityRequest]] = field(default_factory=NEW_LIST)
    messages: list[Message] = field(default_factory=NEW_LIST)


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
    _put_into_inbox(state, event, change)
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
            _release(state, item, change)
    return change if change.inbox_added else None


def _release(state: InstanceState, item: InboxEvent, change: Change) -> None:
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
    if state.row.stalled == reason:
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


def _lacks_version(response: pb.WorkflowResponse) -> bool:
    return any(action.HasField("workflowVersionNotAvailable") for action in response.actions)


def reason_to_stall(
    state: InstanceState, response: pb.WorkflowResponse, longest_history: int = 0
) -> tuple[pb.StalledReason, str] | None:
    """Why the answer to a turn cannot be applied although nothing is wrong with the instance, if there is a reason.

    The code that answered is not the code that the history was made with: a named version is missing, or a patch is.
    """
    length = len(state.history) + len(state.inbox) + len(response.actions) + 1
    ends = any(action.HasField("completeWorkflow") for action in response.actions)
    if longest_history and length > longest_history and not ends:
        text = (
            f"The history would have {length:,} events, and this engine takes {longest_history:,}. Let the workflow "
            "continue as new before that, or start the engine with a higher limit."
        )
        return pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED, text
    # Most answers have neither: they are let through before anything is looked at.
    if not response.HasField("version") and not state.patches and not _lacks_version(response):
        return None
    if _lacks_version(response):
        name = next(
            (
                event.workflowStarted.version.name
                for event in reversed(state.history)
                if event.WhichOneof("eventType") == "workflowStarted" and event.workflowStarted.version.name
            ),
            response.version.name,
        )
        return pb.STALLED_REASON_VERSION_NOT_AVAILABLE, f"Version not available: {name}"
    met = tuple(response.version.patches)
    if met[: len(state.patches)] != state.patches:
        then, now = (", ".join(patches) for patches in (state.patches, met))
        text = f"Patch mismatch. History patches: [{then}], current patches: [{now}]. "
        return pb.STALLED_REASON_PATCH_MISMATCH, text
    return None


def targets(state: InstanceState, response: pb.WorkflowResponse) -> list[InstanceKey]:
    """The instances that the turn with this answer may send messages to."""
    app_id = state.row.app_id
    found: list[InstanceKey] = []
    for action in response.actions:
        kind = action.WhichOneof("workflowActionType")
        if kind in ("scheduleTask", "createTimer"):
            continue
        to = action.router.targetAppID or app_id
        if kind == "createChildWorkflow":
            child = action.createChildWorkflow
            to = _target(action, child.router if child.HasField("router") else None, app_id)
            found.append((to, child.instanceId or f"{state.row.instance_id}:{action.id:04x}"))
        elif kind == "createDetachedWorkflow":
            found.append((to, action.createDetachedWorkflow.instanceId))
        elif kind == "sendEvent":
            found.append((to, action.sendEvent.instance.instanceId))
        elif kind == "terminateWorkflow":
            found.append((to, action.terminateWorkflow.instanceId))
        elif kind == "completeWorkflow":
            found += [*parent_of(state), *state.children.values()]
    return found


def parent_of(state: InstanceState) -> list[InstanceKey]:
    """The instance that waits for this one, if there is one."""
    parent = state.row.parent
    return [] if parent is None else [(parent.appID or state.row.app_id, parent.workflowInstance.instanceId)]


def conclude(
    state: InstanceState,
    taken: Sequence[InboxEvent],
    new: Sequence[pb.HistoryEvent],
    response: pb.WorkflowResponse,
    moment: int,
    next_execution: str,
    *,
    stalled: bool = False,
) -> Conclusion:
    """Applies the answer of a worker to the turn in which it was given `taken`.

    Args:
        state: The instance.
        taken: Inbox events of the turn.
        new: The events as the worker saw them: the marker of the turn, then those of `taken`.
        response: What the worker asks for. An answer with an action this engine does not know fails the instance
            with an explanation; none of its other actions happens.
        moment: Time of the commit.
        next_execution: Id of the next execution, should the instance continue as new.
        stalled: Whether the instance stays stalled, because one of its activities is set aside.
    """
    app_id = state.row.app_id
    status = response.customStatus.value if response.HasField("customStatus") else None
    row = state.row.after_turn(moment, status, stalled=stalled)
    change = change_of(state, row)
    change.history_start = len(state.history)
    conclusion = Conclusion(change)
    recorded: list[pb.HistoryEvent] = list(new)
    if response.HasField("version"):
        recorded[0] = _stamp(state, new[0], response.version)
    _take_from_inbox(state, taken, change)

    actions = list(response.actions)
    complaint = _complaint(actions)
    if complaint is not None:
        actions = [_failing(complaint, len(state.history) + 1)]
    terminated = next((e for e in new if e.WhichOneof("eventType") == "executionTerminated"), None)
    if terminated is not None and not any(_ends(action) for action in actions):
        # The worker was told to end the instance and did not: it ends all the same.
        actions = [_terminating(terminated, max((a.id for a in actions), default=len(state.history)) + 1)]

    for action in actions:
        kind = action.WhichOneof("workflowActionType")
        if kind == "scheduleTask":
            _schedule(state, action, row, moment, app_id, recorded, conclusion)
        elif kind == "createTimer":
            _start_timer(state, action, moment, app_id, recorded, change)
        elif kind == "createChildWorkflow":
            _start_child(state, action, row, moment, app_id, recorded, conclusion)
        elif kind == "sendEvent":
            _send_event(action, moment, app_id, recorded, conclusion)
        elif kind == "terminateWorkflow":
            _send_termination(action, moment, app_id, conclusion)
        elif kind == "createDetachedWorkflow":
            _start_detached(action, moment, app_id, recorded, conclusion)
        elif kind == "completeWorkflow":
            if action.completeWorkflow.workflowStatus == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW:
                _renew(state, action.completeWorkflow, row, moment, app_id, next_execution, conclusion)
            else:
                _end(state, action, row, terminated, moment, app_id, recorded, conclusion)
            if change.row is not None:
                state.row = change.row
            if not change.renewed:
                change.history = recorded
                state.history.extend(recorded)
            return conclusion
    change.history = recorded
    state.history.extend(recorded)
    state.row = row
    return conclusion


def _stamp(state: InstanceState, marker: pb.HistoryEvent, version: pb.WorkflowVersion) -> pb.HistoryEvent:
    """The marker of a turn with the version of the code that took it."""
    state.patches = tuple(version.patches)
    stamped = pb.HistoryEvent(eventId=-1, timestamp=marker.timestamp)
    stamped.workflowStarted.version.CopyFrom(version)
    return stamped


def _take_from_inbox(state: InstanceState, taken: Sequence[InboxEvent], change: Change) -> None:
    if START_TIMER in state.timers:
        del state.timers[START_TIMER]
        change.timers_removed.append(START_TIMER)
    for item in taken:
        if item.stored:
            change.inbox_removed.append(item.number)
        _release(state, item, change)
    del state.inbox[: len(taken)]


_KNOWN = frozenset(
    {
        "scheduleTask",
        "createTimer",
        "createChildWorkflow",
        "sendEvent",
        "terminateWorkflow",
        "createDetachedWorkflow",
        "completeWorkflow",
    }
)


_ENDS = frozenset(
    {
        pb.WORKFLOW_STATUS_COMPLETED,
        pb.WORKFLOW_STATUS_CONTINUED_AS_NEW,
        pb.WORKFLOW_STATUS_FAILED,
        pb.WORKFLOW_STATUS_CANCELED,
        pb.WORKFLOW_STATUS_TERMINATED,
    }
)


def _complaint(actions: Sequence[pb.WorkflowAction]) -> str | None:
    for action in actions:
        kind = action.WhichOneof("workflowActionType")
        if kind not in _KNOWN:
            return (
                f"The worker answered a turn with action {action.id} of kind {kind or 'unknown'}, which this engine "
                "does not carry out."
            )
        if kind == "completeWorkflow" and action.completeWorkflow.workflowStatus not in _ENDS:
            status = action.completeWorkflow.workflowStatus
            return f"The worker ended a workflow with status {status}, with which none can end."
        if kind == "createDetachedWorkflow" and not action.createDetachedWorkflow.instanceId:
            return f"The worker answered a turn with action {action.id}, a detached workflow without an instance id."
    return None


def _failing(message: str, action_id: int) -> pb.WorkflowAction:
    details = pb.TaskFailureDetails(errorType="InvalidWorkerResponse", errorMessage=message)
    complete = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_FAILED, failureDetails=details)
    return pb.WorkflowAction(id=action_id, completeWorkflow=complete)


def _ends(action: pb.WorkflowAction) -> bool:
    return (
        action.WhichOneof("workflowActionType") == "completeWorkflow"
        and action.completeWorkflow.workflowStatus != pb.WORKFLOW_STATUS_CONTINUED_AS_NEW
    )


def _terminating(event: pb.HistoryEvent, action_id: int) -> pb.WorkflowAction:
    output = event.executionTerminated.input if event.executionTerminated.HasField("input") else None
    complete = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_TERMINATED, result=output)
    return pb.WorkflowAction(id=action_id, completeWorkflow=complete)


def _schedule(
    state: InstanceState,
    action: pb.WorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.scheduleTask
    older = asked.router if asked.HasField("router") else None
    target = _target(action, older, app_id)
    event = event_at(moment, app_id, event_id=action.id, to=target)
    scheduled = event.taskScheduled
    scheduled.name = asked.name
    scheduled.taskExecutionId = asked.taskExecutionId
    if asked.HasField("input"):
        _set_text(scheduled.input, asked.input.value)
    if asked.HasField("version"):
        _set_text(scheduled.version, asked.version.value)
    span = call_span(state.history or recorded, row, action.id)
    if span is not None:
        scheduled.parentTraceContext.CopyFrom(span)
    attempt = 1
    if asked.taskExecutionId:
        attempt = state.attempts.get(asked.taskExecutionId, 0) + 1
        state.attempts[asked.taskExecutionId] = attempt
    request = activity_request(event, row, attempt)
    if asked.HasField("historyPropagationScope"):
        scheduled.historyPropagationScope = asked.historyPropagationScope
        if asked.historyPropagationScope:
            past = [*state.history, *recorded]
            request.propagatedHistory.CopyFrom(handed_down(asked.historyPropagationScope, row, past))
    recorded.append(event)
    add_task(state, request, conclusion.change)
    conclusion.activities.append(((row.generation, action.id), request))


def activity_request(event: pb.HistoryEvent, row: InstanceRow, attempt: int) -> pb.ActivityRequest:
    """What a worker is asked to run, for the event that records the call."""
    asked = event.taskScheduled
    request = pb.ActivityRequest(
        name=asked.name, taskId=event.eventId, taskExecutionId=asked.taskExecutionId, attempt=attempt
    )
    instance = request.workflowInstance
    instance.instanceId = row.instance_id
    instance.executionId.value = row.execution_id
    if asked.HasField("input"):
        _set_text(request.input, asked.input.value)
    if asked.HasField("version"):
        _set_text(request.version, asked.version.value)
    if asked.HasField("parentTraceContext"):
        request.parentTraceContext.CopyFrom(asked.parentTraceContext)
    if event.router.HasField("targetAppID"):
        request.targetAppId = event.router.targetAppID
    return request


def _set_text(target: StringValue, text: str) -> None:
    target.value = text
    if not text:
        target.SetInParent()


def add_task(state: InstanceState, request: pb.ActivityRequest, change: Change) -> None:
    """Adds an activity to those that have no result yet."""
    key = (state.row.generation, request.taskId)
    state.tasks[key] = request
    change.tasks_added.append((key, request))


def _target(action: pb.WorkflowAction, older: pb.TaskRouter | None, app_id: str) -> str:
    """The app that a call goes to; older workers have the router inside the action's content."""
    router = action.router if action.HasField("router") else older
    return app_id if router is None else router.targetAppID or (older and older.targetAppID) or app_id


def _put_into_inbox(state: InstanceState, event: pb.HistoryEvent, change: Change) -> None:
    number = state.inbox_next
    state.inbox_next += 1
    state.inbox.append(InboxEvent(event, number))
    change.inbox_added.append((number, event))


def _start_timer(
    state: InstanceState,
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    change: Change,
) -> None:
    asked = action.createTimer
    event = event_at(moment, app_id, event_id=action.id)
    created = event.timerCreated
    created.fireAt.CopyFrom(asked.fireAt)
    if asked.HasField("name"):
        created.name = asked.name
    origin = asked.WhichOneof("origin")
    if origin is not None:
        getattr(created, origin).CopyFrom(getattr(asked, origin))
    recorded.append(event)
    fire_at = nanoseconds(asked.fireAt)
    if fire_at <= LAST_MOMENT:
        state.timers[action.id] = fire_at
        change.timers_added.append((action.id, fire_at))


def _start_child(
    state: InstanceState,
    action: pb.WorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.createChildWorkflow
    child_id = asked.instanceId or f"{row.instance_id}:{action.id:04x}"
    target = _target(action, asked.router if asked.HasField("router") else None, app_id)
    event = event_at(moment, app_id, event_id=action.id, to=target)
    created = event.childWorkflowInstanceCreated
    created.CopyFrom(
        pb.ChildWorkflowInstanceCreatedEvent(
            instanceId=child_id,
            name=asked.name,
            version=asked.version if asked.HasField("version") else None,
            input=asked.input if asked.HasField("input") else None,
            parentTraceContext=call_span(state.history or recorded, row, action.id),
            retryParentInstanceInfo=asked.retryParentInstanceInfo
            if asked.HasField("retryParentInstanceInfo")
            else None,
        )
    )
    propagated = None
    if asked.HasField("historyPropagationScope"):
        created.historyPropagationScope = asked.historyPropagationScope
        if asked.historyPropagationScope:
            propagated = handed_down(asked.historyPropagationScope, row, [*state.history, *recorded])
    recorded.append(event)
    message = start_of_child(event, row, moment)
    message.propagated = propagated
    state.children[action.id] = message.target
    conclusion.messages.append(message)


def start_of_child(event: pb.HistoryEvent, row: InstanceRow, moment: int) -> Message:
    """What starts a child, for the event that records the call."""
    asked = event.childWorkflowInstanceCreated
    target = event.router.targetAppID or row.app_id
    parent = pb.ParentInstanceInfo(
        taskScheduledId=event.eventId,
        name=text_of(row.name),
        workflowInstance=pb.WorkflowInstance(instanceId=row.instance_id, executionId=text_of(row.execution_id)),
        appID=row.app_id or None,
    )
    started = event_at(moment, row.app_id, to=target)
    started.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=asked.name,
            version=asked.version if asked.HasField("version") else None,
            input=asked.input if asked.HasField("input") else None,
            workflowInstance=pb.WorkflowInstance(instanceId=asked.instanceId),
            parentInstance=parent,
            parentTraceContext=asked.parentTraceContext if asked.HasField("parentTraceContext") else None,
        )
    )
    return Message((target, asked.instanceId), started, creates=True)


def _start_detached(
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.createDetachedWorkflow
    target = action.router.targetAppID or app_id
    event = event_at(moment, app_id, event_id=action.id, to=target)
    event.detachedWorkflowInstanceCreated.instanceId = asked.instanceId
    recorded.append(event)
    started = event_at(moment, app_id, to=target)
    started.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=asked.name,
            version=asked.version if asked.HasField("version") else None,
            input=asked.input if asked.HasField("input") else None,
            workflowInstance=pb.WorkflowInstance(instanceId=asked.instanceId),
            parentTraceContext=asked.parentTraceContext if asked.HasField("parentTraceContext") else None,
            tags=asked.tags,
            scheduledStartTimestamp=asked.scheduledStartTimestamp
            if asked.HasField("scheduledStartTimestamp")
            else None,
        )
    )
    conclusion.messages.append(Message((target, asked.instanceId), started, creates=True))


def _send_event(
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.sendEvent
    data = asked.data if asked.HasField("data") else None
    sent = event_at(moment, app_id, event_id=action.id)
    sent.eventSent.CopyFrom(pb.EventSentEvent(instanceId=asked.instance.instanceId, name=asked.name, input=data))
    recorded.append(sent)
    raised = event_at(moment)
    raised.eventRaised.CopyFrom(pb.EventRaisedEvent(name=asked.name, input=data))
    target = action.router.targetAppID or app_id
    conclusion.messages.append(Message((target, asked.instance.instanceId), raised))


def _send_termination(action: pb.WorkflowAction, moment: int, app_id: str, conclusion: Conclusion) -> None:
    asked = action.terminateWorkflow
    event = event_at(moment)
    event.executionTerminated.CopyFrom(
        pb.ExecutionTerminatedEvent(input=asked.reason if asked.HasField("reason") else None, recurse=asked.recurse)
    )
    target = action.router.targetAppID or app_id
    conclusion.messages.append(Message((target, asked.instanceId), event))


def _renew(
    state: InstanceState,
    asked: pb.CompleteWorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    next_execution: str,
    conclusion: Conclusion,
) -> None:
    """Starts the next generation: an empty history, and an inbox of the new start and the events carried over."""
    change = conclusion.change
    given = asked.result if asked.HasField("result") else None
    started = event_at(moment, app_id)
    started.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=row.name,
            input=given,
            workflowInstance=pb.WorkflowInstance(instanceId=row.instance_id, executionId=text_of(next_execution)),
            parentInstance=row.parent,
        )
    )
    left = [item.event for item in state.inbox if item.event.WhichOneof("eventType") not in _OF_ONE_GENERATION]
    for item in state.inbox:
        _release(state, item, change)
    carried = [event for event in asked.carryoverEvents if event.WhichOneof("eventType") == "eventRaised"]
    events = [started, *carried, *left]
    if row.suspended and not any(event.WhichOneof("eventType") == "executionSuspended" for event in left):
        # The run that ends here has heard of it; the next one must as well.
        suspended = event_at(moment)
        suspended.executionSuspended.SetInParent()
        events.insert(1, suspended)
    state.inbox = [InboxEvent(event, number) for number, event in enumerate(events)]
    state.inbox_next = len(events)
    state.history = []
    state.timers = {}
    state.children = {}
    state.attempts = {}
    state.patches = ()
    change.renewed = True
    change.history = []
    change.history_start = 0
    change.inbox_removed = []
    change.timers_added = []
    change.timers_removed = []
    change.inbox_added = list(enumerate(events))
    # What this generation asked for earlier in the same answer is forgotten with it.
    for key, _ in change.tasks_added:
        state.tasks.pop(key, None)
    change.tasks_added = []
    conclusion.activities = []
    conclusion.messages = []
    change.row = replace(
        row,
        version=None,
        execution_id=next_execution,
        generation=row.generation + 1,
        input=given.value if given is not None else None,
    )


def _end(
    state: InstanceState,
    action: pb.WorkflowAction,
    row: InstanceRow,
    terminated: pb.HistoryEvent | None,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.completeWorkflow
    result = asked.result if asked.HasField("result") else None
    failure = asked.failureDetails if asked.HasField("failureDetails") else None
    event = event_at(moment, app_id, event_id=action.id)
    event.executionCompleted.CopyFrom(
        pb.ExecutionCompletedEvent(workflowStatus=asked.workflowStatus, result=result, failureDetails=failure)
    )
    recorded.append(event)
    change = conclusion.change
    change.row = replace(
        row,
        ended=asked.workflowStatus,
        completed=moment,
        suspended=False,
        output=result.value if result is not None else None,
        failure=failure,
    )
    was_terminated = terminated is not None and asked.workflowStatus == pb.WORKFLOW_STATUS_TERMINATED
    if terminated is not None and was_terminated and terminated.executionTerminated.recurse:
        conclusion.messages.extend(Message(child, terminated) for child in state.children.values())
    if row.parent is not None:
        conclusion.messages.append(_to_parent(row.parent, asked, moment, app_id))
    # Nobody takes what is left: timers stop, the inbox empties. Activities that nobody waited for still run.
    kept = {timer for timer, _ in change.timers_added}
    change.timers_removed.extend(timer for timer in state.timers if timer not in kept)
    change.timers_added = []
    change.inbox_added = []
    for item in state.inbox:
        if item.stored:
            change.inbox_removed.append(item.number)
        _release(state, item, change)
    state.timers = {}
    state.inbox = []
    state.children = {}


def _to_parent(parent: pb.ParentInstanceInfo, asked: pb.CompleteWorkflowAction, moment: int, app_id: str) -> Message:
    event = event_at(moment)
    if asked.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED:
        event.childWorkflowInstanceCompleted.CopyFrom(
            pb.ChildWorkflowInstanceCompletedEvent(
                taskScheduledId=parent.taskScheduledId, result=asked.result if asked.HasField("result") else None
            )
        )
    else:
        event.childWorkflowInstanceFailed.CopyFrom(
            pb.ChildWorkflowInstanceFailedEvent(
                taskScheduledId=parent.taskScheduledId,
                failureDetails=asked.failureDetails if asked.HasField("failureDetails") else None,
            )
        )
    target = (parent.appID or app_id, parent.workflowInstance.instanceId)
    return Message(target, event, for_execution=parent.workflowInstance.executionId.value)


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
