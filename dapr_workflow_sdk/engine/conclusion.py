"""What a finished turn does to its instance: the answer of a worker, action by action, as one change.

A pure function like those in `transitions`. The change holds the history that the turn made, the inbox events it
consumed, the activities and timers it asked for and the messages it sends to other instances, and is one transaction,
so no crash can separate them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dapr_workflow_sdk.engine.actions import (
    Conclusion,
    Message,
    child_of,
    schedule,
    send_event,
    send_termination,
    start_child,
    start_detached,
    start_timer,
)
from dapr_workflow_sdk.engine.state import (
    START_TIMER,
    Change,
    InboxEvent,
    InstanceKey,
    InstanceRow,
    InstanceState,
)
from dapr_workflow_sdk.engine.tracing import next_trace, note_own_span
from dapr_workflow_sdk.engine.transitions import change_of, event_at, release
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import FINAL_STATUSES, text_of

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


def reason_to_stall(
    state: InstanceState, response: pb.WorkflowResponse, longest_history: int = 0
) -> tuple[pb.StalledReason, str] | None:
    """Why the answer to a turn cannot be applied although nothing is wrong with the instance, if there is a reason.

    The code that answered is not the code that the history was made with: it asks for something else, or a named
    version is missing, or a patch is.
    """
    if response.HasField("historyMismatch"):
        return pb.STALLED_REASON_HISTORY_MISMATCH, response.historyMismatch
    length = len(state.history) + len(state.inbox) + len(response.actions) + 1
    if 0 < longest_history < length and not any(action.HasField("completeWorkflow") for action in response.actions):
        text = (
            f"The history would have {length:,} events, and this engine takes {longest_history:,}. Let the workflow "
            "continue as new before that, or start the engine with a higher limit."
        )
        return pb.STALLED_REASON_PAYLOAD_SIZE_EXCEEDED, text
    if any(action.HasField("workflowVersionNotAvailable") for action in response.actions):
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
            found.append(child_of(action, state.row))
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
    return [] if parent is None else [_caller(parent, state.row.app_id)]


def _caller(parent: pb.ParentInstanceInfo, app_id: str) -> InstanceKey:
    return parent.appID or app_id, parent.workflowInstance.instanceId


def conclude(
    state: InstanceState,
    taken: Sequence[InboxEvent],
    new: Sequence[pb.HistoryEvent],
    response: pb.WorkflowResponse,
    moment: int,
    new_execution: Callable[[], str],
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
        new_execution: Gives the id of the next execution, should the instance continue as new.
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
        highest = max((action.id for action in actions), default=len(state.history))
        actions = [_terminating(terminated, min(highest + 1, _HIGHEST_ID))]

    for action in actions:
        kind = action.WhichOneof("workflowActionType")
        if kind == "scheduleTask":
            schedule(state, action, row, moment, app_id, recorded, conclusion)
        elif kind == "createTimer":
            start_timer(state, action, moment, app_id, recorded, change)
        elif kind == "createChildWorkflow":
            start_child(state, action, row, moment, app_id, recorded, conclusion)
        elif kind == "sendEvent":
            send_event(action, moment, app_id, recorded, conclusion)
        elif kind == "terminateWorkflow":
            send_termination(action, moment, app_id, conclusion)
        elif kind == "createDetachedWorkflow":
            start_detached(action, moment, app_id, recorded, conclusion)
        elif kind == "completeWorkflow":
            if action.completeWorkflow.workflowStatus == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW:
                _renew(state, action.completeWorkflow, row, moment, app_id, new_execution(), recorded, conclusion)
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
        release(state, item, change)
    del state.inbox[: len(taken)]


# Numbers of actions have 32 bits on the wire.
_HIGHEST_ID = 2**31 - 1
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


_ENDS = FINAL_STATUSES | {pb.WORKFLOW_STATUS_CONTINUED_AS_NEW}


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


def _renew(
    state: InstanceState,
    asked: pb.CompleteWorkflowAction,
    row: InstanceRow,
    moment: int,
    app_id: str,
    next_execution: str,
    recorded: Sequence[pb.HistoryEvent],
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
            parentTraceContext=next_trace(state.history, recorded, next_execution),
        )
    )
    note_own_span(started.executionStarted)
    left = [item.event for item in state.inbox if item.event.WhichOneof("eventType") not in _OF_ONE_GENERATION]
    for item in state.inbox:
        release(state, item, change)
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
        release(state, item, change)
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
    return Message(_caller(parent, app_id), event, for_execution=parent.workflowInstance.executionId.value)
