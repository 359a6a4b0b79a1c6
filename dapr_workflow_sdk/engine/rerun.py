"""Running a finished workflow again from one of its calls: a new instance with the history before that call."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from dapr_workflow_sdk.engine.actions import Message, activity_request, add_task, child_id_of, start_of_child
from dapr_workflow_sdk.engine.propagation import handed_down
from dapr_workflow_sdk.engine.state import LAST_MOMENT, Change, InstanceState
from dapr_workflow_sdk.engine.tracing import call_span, note_own_span, own_span
from dapr_workflow_sdk.engine.transitions import change_of, restore
from dapr_workflow_sdk.taskhub.failures import invalid, nothing_there
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, timestamp_from_ns

_CALLS = ("taskScheduled", "timerCreated", "childWorkflowInstanceCreated")
_ANSWERS = {
    "taskCompleted": "taskScheduledId",
    "taskFailed": "taskScheduledId",
    "timerFired": "timerId",
    "childWorkflowInstanceCompleted": "taskScheduledId",
    "childWorkflowInstanceFailed": "taskScheduledId",
}


@dataclass
class Rerun:
    """A new instance that begins in the middle.

    Attributes:
        state: The instance.
        change: What to store of it.
        messages: Starts of the children that it waits for.
    """

    state: InstanceState
    change: Change
    messages: list[Message] = field(default_factory=list[Message])


def rerun(
    source: InstanceState,
    request: pb.RerunWorkflowFromEventRequest,
    new_id: str,
    number: int,
    moment: int,
    execution_id: str,
) -> Rerun:
    """Copies a history up to a call, and makes that call anew, and those before it that had no answer yet.

    Args:
        source: The finished instance.
        request: Which call, and with which input.
        new_id: Id of the new instance.
        number: What stores call it.
        moment: Now, in nanoseconds since 1970.
        execution_id: Id of its execution.

    Raises:
        InvalidOperationError: The request does not fit the call.
        WorkflowNotFoundError: There is no such call.
    """
    position = _position(source.history, request.eventID)
    target = source.history[position]
    kind = target.WhichOneof("eventType") or ""
    _check(kind, request)
    before = [_copy(event) for event in source.history[:position]]
    answered = _answered(before)
    again = _copy(target)
    _mark(again, kind, source.row.instance_id)
    if request.overwriteInput:
        _overwrite(again, kind, request)
    history = [*before, again]
    for event in history:
        if event.WhichOneof("eventType") == "executionStarted":
            started = event.executionStarted
            started.workflowInstance.instanceId = new_id
            started.workflowInstance.executionId.value = execution_id
            started.ClearField("parentInstance")
            note_own_span(started)
    row = replace(
        source.row,
        number=number,
        instance_id=new_id,
        execution_id=execution_id,
        generation=1,
        created=moment,
        updated=moment,
        started=moment,
        completed=None,
        scheduled=None,
        ended=None,
        suspended=False,
        stalled=None,
        stalled_because=None,
        output=None,
        custom_status=None,
        failure=None,
        parent=None,
    )
    state = restore(row, history, [], {}, {})
    change = change_of(state, row)
    change.renewed = True
    change.history = history
    result = Rerun(state, change)
    attempts: dict[str, int] = {}
    for place, event in enumerate(history):
        call = event.WhichOneof("eventType")
        if call == "taskScheduled":
            execution = event.taskScheduled.taskExecutionId
            attempts[execution] = attempts.get(execution, 0) + 1
            if event.eventId not in answered:
                _trace_anew(event.taskScheduled, call_span(history, row, event.eventId))
                asked = activity_request(event, row, attempts[execution] if execution else 1)
                scope = event.taskScheduled.historyPropagationScope
                if scope:
                    asked.propagatedHistory.CopyFrom(handed_down(scope, row, history[:place]))
                add_task(state, asked, change)
        elif call == "timerCreated" and event.eventId not in answered:
            _set_again(event, moment, state, change)
        elif call == "childWorkflowInstanceCreated" and event.eventId not in answered:
            created = event.childWorkflowInstanceCreated
            created.instanceId = child_id_of(new_id, event.eventId)
            if event is again and request.HasField("newChildWorkflowInstanceID"):
                created.instanceId = request.newChildWorkflowInstanceID
            _trace_anew(created, own_span(history, row))
            message = start_of_child(event, row, moment)
            if created.historyPropagationScope:
                message.propagated = handed_down(created.historyPropagationScope, row, history[:place])
            state.children[event.eventId] = message.target
            result.messages.append(message)
    return result


def _position(history: Sequence[pb.HistoryEvent], event_id: int) -> int:
    others: list[str] = []
    for position, event in enumerate(history):
        if event.eventId == event_id:
            kind = event.WhichOneof("eventType") or ""
            if kind in _CALLS:
                return position
            others.append(kind)
    if "detachedWorkflowInstanceCreated" in others:
        raise invalid(f"cannot rerun from detached workflow event '{event_id}'")
    if others:
        name = others[0][0].upper() + others[0][1:]
        raise nothing_there(
            f"target event '*protos.HistoryEvent_{name}' with ID '{event_id}' is not an event that can be rerun"
        )
    raise nothing_there(f"does not have history event with ID '{event_id}'")


def _check(kind: str, request: pb.RerunWorkflowFromEventRequest) -> None:
    if kind == "timerCreated" and request.overwriteInput:
        raise invalid(f"cannot write input to timer event '{request.eventID}'")
    if kind != "childWorkflowInstanceCreated" and request.HasField("newChildWorkflowInstanceID"):
        what = "timer" if kind == "timerCreated" else "activity"
        raise invalid(f"cannot set new child workflow instance ID on {what} event '{request.eventID}'")


def _answered(events: Sequence[pb.HistoryEvent]) -> set[int]:
    found: set[int] = set()
    for event in events:
        kind = event.WhichOneof("eventType") or ""
        if kind in _ANSWERS:
            found.add(getattr(getattr(event, kind), _ANSWERS[kind]))
    return found


def _copy(event: pb.HistoryEvent) -> pb.HistoryEvent:
    copy = pb.HistoryEvent()
    copy.CopyFrom(event)
    return copy


def _mark(event: pb.HistoryEvent, kind: str, source_id: str) -> None:
    getattr(event, kind).rerunParentInstanceInfo.instanceID = source_id


def _trace_anew(
    call: pb.TaskScheduledEvent | pb.ChildWorkflowInstanceCreatedEvent, span: pb.TraceContext | None
) -> None:
    """The copied context is that of the call of the source."""
    if span is not None:
        call.parentTraceContext.CopyFrom(span)


def _overwrite(event: pb.HistoryEvent, kind: str, request: pb.RerunWorkflowFromEventRequest) -> None:
    content = event.taskScheduled if kind == "taskScheduled" else event.childWorkflowInstanceCreated
    # An absent input is an input, too: None.
    content.ClearField("input")
    if request.HasField("input"):
        content.input.CopyFrom(request.input)


def _set_again(event: pb.HistoryEvent, moment: int, state: InstanceState, change: Change) -> None:
    created = event.timerCreated
    fire_at = nanoseconds(created.fireAt)
    if fire_at > LAST_MOMENT:
        return
    # It waits as long as it did the first time.
    fire_at = min(fire_at + moment - nanoseconds(event.timestamp), LAST_MOMENT)
    created.fireAt.CopyFrom(timestamp_from_ns(fire_at))
    event.timestamp.CopyFrom(timestamp_from_ns(moment))
    state.timers[event.eventId] = fire_at
    change.timers_added.append((event.eventId, fire_at))
