"""What happens to an instance: pure functions from a state and an arrival, or a finished turn, to a change.

Nothing here waits, reads a clock or touches a store. Each function changes the state it is given and returns the
same change as data, so that a store can repeat it on its medium. The order in which the caller commits matters: the
change of a turn holds the history it made, the inbox events it consumed, the activities and timers it asked for and
the messages it sent to other instances, and is one transaction, so no crash can separate them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dapr_workflow_sdk.engine.state import Change, InboxEvent, InstanceRow, InstanceState, TaskKey
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER_NS, nanoseconds, text_of, timestamp_from_ns

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
        target: Id of the other instance.
        event: What it receives.
        creates: Whether the event starts it.
        for_execution: Execution of the target that a result is meant for, or empty.
    """

    target: str
    event: pb.HistoryEvent
    creates: bool = False
    for_execution: str = ""


@dataclass(slots=True)
class Conclusion:
    """The outcome of a turn: what to commit, and what to do once that is durable."""

    change: Change
    activities: list[tuple[TaskKey, pb.ActivityRequest]] = field(
        default_factory=list[tuple[TaskKey, pb.ActivityRequest]]
    )
    messages: list[Message] = field(default_factory=list[Message])


def event_at(moment: int, app_id: str = "", *, event_id: int = -1) -> pb.HistoryEvent:
    """An event without its content."""
    event = pb.HistoryEvent(eventId=event_id, timestamp=timestamp_from_ns(moment))
    if app_id:
        event.router.sourceAppID = app_id
    return event


def create(started: pb.HistoryEvent, moment: int, generation: int) -> tuple[InstanceState, Change]:
    """A new instance, whose first event is `started`."""
    content = started.executionStarted
    row = InstanceRow(
        instance_id=content.workflowInstance.instanceId,
        name=content.name,
        execution_id=content.workflowInstance.executionId.value,
        generation=generation,
        created=moment,
        updated=moment,
        started=None,
        completed=None,
        scheduled=nanoseconds(content.scheduledStartTimestamp) if content.HasField("scheduledStartTimestamp") else None,
        ended=None,
        suspended=False,
        input=content.input.value if content.HasField("input") else None,
        output=None,
        custom_status=None,
        failure=None,
        parent=content.parentInstance if content.HasField("parentInstance") else None,
    )
    state = InstanceState(row, inbox=[InboxEvent(started, 0)], inbox_next=1)
    return state, Change(row.instance_id, row, renewed=True, inbox_added=[(0, started)])


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
    change = Change(state.row.instance_id, state.row)
    _put_into_inbox(state, event, change)
    return change


def accept_unstored(
    state: InstanceState, event: pb.HistoryEvent, *, task: TaskKey | None = None, timer: int | None = None
) -> None:
    """Takes the result of an activity, or a timer that fired, without storing it.

    The stored row of the activity or the timer stands for it: after a crash the activity runs again, the timer fires
    again. So one commit per step is enough, that of the turn.
    """
    state.inbox.append(InboxEvent(event, None, task, timer))


def store_unstored(state: InstanceState) -> Change | None:
    """Stores what `accept_unstored` took, when no turn is going to take it soon."""
    change = Change(state.row.instance_id, state.row)
    for item in state.inbox:
        if item.number is None:
            item.number = state.inbox_next
            state.inbox_next += 1
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
    return Change(state.row.instance_id, state.row, tasks_removed=[key])


def conclude(
    state: InstanceState,
    taken: Sequence[InboxEvent],
    new: Sequence[pb.HistoryEvent],
    response: pb.WorkflowResponse,
    moment: int,
    app_id: str,
    next_execution: str,
) -> Conclusion:
    """Applies the answer of a worker to the turn in which it was given `taken`.

    Args:
        state: The instance.
        taken: Inbox events of the turn.
        new: The events as the worker saw them: the marker of the turn, then those of `taken`.
        response: What the worker asks for. An answer with an action this engine does not know fails the instance
            with an explanation; none of its other actions happens.
        moment: Time of the commit.
        app_id: Id of the application, for the routers of events.
        next_execution: Id of the next execution, should the instance continue as new.
    """
    row = replace(
        state.row,
        updated=moment,
        started=state.row.started if state.row.started is not None else moment,
        custom_status=response.customStatus.value if response.HasField("customStatus") else None,
    )
    change = Change(row.instance_id, row, history_start=len(state.history))
    conclusion = Conclusion(change)
    recorded: list[pb.HistoryEvent] = list(new)
    for item in taken:
        if item.number is not None:
            change.inbox_removed.append(item.number)
        _release(state, item, change)
    del state.inbox[: len(taken)]

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
            _send_termination(action, moment, conclusion)
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


def _complaint(actions: Sequence[pb.WorkflowAction]) -> str | None:
    for action in actions:
        kind = action.WhichOneof("workflowActionType")
        if kind not in _KNOWN:
            return (
                f"The worker answered a turn with action {action.id} of kind {kind or 'unknown'}, which this engine "
                "does not carry out."
            )
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
    version = asked.version if asked.HasField("version") else None
    given = asked.input if asked.HasField("input") else None
    event = event_at(moment, app_id, event_id=action.id)
    event.taskScheduled.CopyFrom(
        pb.TaskScheduledEvent(name=asked.name, version=version, input=given, taskExecutionId=asked.taskExecutionId)
    )
    recorded.append(event)
    attempt = 1
    if asked.taskExecutionId:
        attempt = state.attempts.get(asked.taskExecutionId, 0) + 1
        state.attempts[asked.taskExecutionId] = attempt
    request = pb.ActivityRequest(
        name=asked.name,
        version=version,
        input=given,
        workflowInstance=pb.WorkflowInstance(instanceId=row.instance_id, executionId=text_of(row.execution_id)),
        taskId=action.id,
        taskExecutionId=asked.taskExecutionId,
        attempt=attempt,
    )
    if _is_foreign(action, app_id):
        refusal = event_at(moment)
        refusal.taskFailed.CopyFrom(
            pb.TaskFailedEvent(
                taskScheduledId=action.id,
                failureDetails=_no_such_app(action.router.targetAppID, app_id),
                taskExecutionId=asked.taskExecutionId,
            )
        )
        _put_into_inbox(state, refusal, conclusion.change)
        return
    key = (row.generation, action.id)
    state.tasks[key] = request
    conclusion.change.tasks_added.append((key, request))
    conclusion.activities.append((key, request))


def _is_foreign(action: pb.WorkflowAction, app_id: str) -> bool:
    return action.router.targetAppID not in ("", app_id)


def _no_such_app(target: str, app_id: str) -> pb.TaskFailureDetails:
    message = f"This engine serves the app {app_id!r} only; calls to the app {target!r} need a Dapr sidecar."
    return pb.TaskFailureDetails(errorType="AppNotFoundError", errorMessage=message, isNonRetriable=True)


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
    if fire_at < NEVER_NS:
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
    version = asked.version if asked.HasField("version") else None
    given = asked.input if asked.HasField("input") else None
    event = event_at(moment, app_id, event_id=action.id)
    event.childWorkflowInstanceCreated.CopyFrom(
        pb.ChildWorkflowInstanceCreatedEvent(instanceId=child_id, name=asked.name, version=version, input=given)
    )
    recorded.append(event)
    if _is_foreign(action, app_id):
        refusal = event_at(moment)
        refusal.childWorkflowInstanceFailed.CopyFrom(
            pb.ChildWorkflowInstanceFailedEvent(
                taskScheduledId=action.id, failureDetails=_no_such_app(action.router.targetAppID, app_id)
            )
        )
        _put_into_inbox(state, refusal, conclusion.change)
        return
    state.children[action.id] = child_id
    parent = pb.ParentInstanceInfo(
        taskScheduledId=action.id,
        name=text_of(row.name),
        workflowInstance=pb.WorkflowInstance(instanceId=row.instance_id, executionId=text_of(row.execution_id)),
        appID=app_id or None,
    )
    started = event_at(moment, app_id)
    started.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=asked.name,
            version=version,
            input=given,
            workflowInstance=pb.WorkflowInstance(instanceId=child_id),
            parentInstance=parent,
        )
    )
    conclusion.messages.append(Message(child_id, started, creates=True))


def _start_detached(
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    asked = action.createDetachedWorkflow
    event = event_at(moment, app_id, event_id=action.id)
    event.detachedWorkflowInstanceCreated.instanceId = asked.instanceId
    recorded.append(event)
    started = event_at(moment, app_id)
    started.executionStarted.CopyFrom(
        pb.ExecutionStartedEvent(
            name=asked.name,
            version=asked.version if asked.HasField("version") else None,
            input=asked.input if asked.HasField("input") else None,
            workflowInstance=pb.WorkflowInstance(instanceId=asked.instanceId),
            scheduledStartTimestamp=asked.scheduledStartTimestamp
            if asked.HasField("scheduledStartTimestamp")
            else None,
        )
    )
    conclusion.messages.append(Message(asked.instanceId, started, creates=True))


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
    conclusion.messages.append(Message(asked.instance.instanceId, raised))


def _send_termination(action: pb.WorkflowAction, moment: int, conclusion: Conclusion) -> None:
    asked = action.terminateWorkflow
    event = event_at(moment)
    event.executionTerminated.CopyFrom(
        pb.ExecutionTerminatedEvent(input=asked.reason if asked.HasField("reason") else None, recurse=asked.recurse)
    )
    conclusion.messages.append(Message(asked.instanceId, event))


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
    events = [started, *asked.carryoverEvents, *left]
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
    change.renewed = True
    change.history = []
    change.history_start = 0
    change.inbox_removed = []
    change.timers_added = []
    change.inbox_added = list(enumerate(events))
    # What this generation asked for earlier in the same answer is forgotten with it.
    for key, _ in change.tasks_added:
        state.tasks.pop(key, None)
    change.tasks_added = []
    conclusion.activities = []
    conclusion.messages = []
    change.row = replace(
        row,
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
        conclusion.messages.append(_to_parent(row.parent, asked, moment))
    # Nobody takes what is left: timers stop, the inbox empties. Activities that nobody waited for still run.
    kept = {timer for timer, _ in change.timers_added}
    change.timers_removed.extend(timer for timer in state.timers if timer not in kept)
    change.timers_added = []
    change.inbox_added = []
    for item in state.inbox:
        if item.number is not None:
            change.inbox_removed.append(item.number)
        _release(state, item, change)
    state.timers = {}
    state.inbox = []
    state.children = {}


def _to_parent(parent: pb.ParentInstanceInfo, asked: pb.CompleteWorkflowAction, moment: int) -> Message:
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
    return Message(parent.workflowInstance.instanceId, event, for_execution=parent.workflowInstance.executionId.value)


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
        if kind == "taskScheduled" and event.taskScheduled.taskExecutionId:
            key = event.taskScheduled.taskExecutionId
            state.attempts[key] = state.attempts.get(key, 0) + 1
        elif kind == "childWorkflowInstanceCreated":
            state.children[event.eventId] = event.childWorkflowInstanceCreated.instanceId
        elif kind == "childWorkflowInstanceCompleted":
            state.children.pop(event.childWorkflowInstanceCompleted.taskScheduledId, None)
        elif kind == "childWorkflowInstanceFailed":
            state.children.pop(event.childWorkflowInstanceFailed.taskScheduledId, None)
    if row.ended is not None:
        state.children = {}
    return state
