"""What workers ask for in their answers, other than the end: each action's events, rows and messages."""

from __future__ import annotations

from dataclasses import dataclass, field

from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.propagation import handed_down
from dapr_workflow_sdk.engine.state import (
    LAST_MOMENT,
    NEW_LIST,
    Change,
    InstanceKey,
    InstanceRow,
    InstanceState,
    TaskKey,
)
from dapr_workflow_sdk.engine.tracing import call_span, own_span
from dapr_workflow_sdk.engine.transitions import event_at
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, text_of


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
    messages: list[Message] = field(default_factory=NEW_LIST)

    @property
    def activities(self) -> list[tuple[TaskKey, pb.ActivityRequest]]:
        """Activities to hand out."""
        return self.change.tasks_added


def schedule(
    state: InstanceState,
    action: pb.WorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    """Calls an activity."""
    asked = action.scheduleTask
    target = _target_app(action, asked, app_id)
    event = event_at(moment, app_id, event_id=action.id, to=target)
    scheduled = event.taskScheduled
    scheduled.name = asked.name
    scheduled.taskExecutionId = asked.taskExecutionId
    if asked.HasField("input"):
        _set_text(scheduled.input, asked.input.value)
    if asked.HasField("version"):
        _set_text(scheduled.version, asked.version.value)
    span = call_span(state.history, row, action.id, recorded)
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


def _target_app(
    action: pb.WorkflowAction, asked: pb.ScheduleTaskAction | pb.CreateChildWorkflowAction, app_id: str
) -> str:
    """The app that a call goes to; older workers have the router inside the action's content."""
    if action.HasField("router") and action.router.targetAppID:
        return action.router.targetAppID
    return (asked.router.targetAppID if asked.HasField("router") else "") or app_id


def child_of(action: pb.WorkflowAction, row: InstanceRow) -> InstanceKey:
    """The child that an action calls."""
    asked = action.createChildWorkflow
    return _target_app(action, asked, row.app_id), asked.instanceId or child_id_of(row.instance_id, action.id)


def child_id_of(instance_id: str, number: int) -> str:
    """The id of a child whose caller gives it none."""
    return f"{instance_id}:{number:04x}"


def start_timer(
    state: InstanceState,
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    change: Change,
) -> None:
    """Sets a timer."""
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


def start_child(
    state: InstanceState,
    action: pb.WorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    """Calls a child workflow."""
    asked = action.createChildWorkflow
    target, child_id = child_of(action, row)
    event = event_at(moment, app_id, event_id=action.id, to=target)
    created = event.childWorkflowInstanceCreated
    created.CopyFrom(
        pb.ChildWorkflowInstanceCreatedEvent(
            instanceId=child_id,
            name=asked.name,
            version=asked.version if asked.HasField("version") else None,
            input=asked.input if asked.HasField("input") else None,
            parentTraceContext=own_span(state.history, row, recorded),
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


def start_detached(
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    """Starts a workflow that nobody waits for."""
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


def send_event(
    action: pb.WorkflowAction,
    moment: int,
    app_id: str,
    recorded: list[pb.HistoryEvent],
    conclusion: Conclusion,
) -> None:
    """Sends an event to another instance."""
    asked = action.sendEvent
    data = asked.data if asked.HasField("data") else None
    sent = event_at(moment, app_id, event_id=action.id)
    sent.eventSent.CopyFrom(pb.EventSentEvent(instanceId=asked.instance.instanceId, name=asked.name, input=data))
    recorded.append(sent)
    raised = event_at(moment)
    raised.eventRaised.CopyFrom(pb.EventRaisedEvent(name=asked.name, input=data))
    target = action.router.targetAppID or app_id
    conclusion.messages.append(Message((target, asked.instance.instanceId), raised))


def send_termination(action: pb.WorkflowAction, moment: int, app_id: str, conclusion: Conclusion) -> None:
    """Asks another instance to end."""
    asked = action.terminateWorkflow
    event = event_at(moment)
    event.executionTerminated.CopyFrom(
        pb.ExecutionTerminatedEvent(input=asked.reason if asked.HasField("reason") else None, recurse=asked.recurse)
    )
    target = action.router.targetAppID or app_id
    conclusion.messages.append(Message((target, asked.instanceId), event))
