"""Builds the histories that are replayed.

Field numbers of events and requests are the same in the protocols of all flavours as long as only common fields
are used: no routers and no task execution ids, whose numbers durabletask uses for something else.
"""

from __future__ import annotations

import json

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue
from histories import INSTANCE_ID, PAYLOAD, History, Turn

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_TEXT = json.dumps(PAYLOAD)
_FIRST_SECOND = 1_767_225_600


def build(shape: str, activities: int) -> History:
    """The history of a finished workflow."""
    turns = _chain(activities) if shape == "chain" else _fan_out(activities)
    return History(pb.WorkflowRequest(instanceId=INSTANCE_ID).SerializeToString(), turns)


def _chain(activities: int) -> list[Turn]:
    turns = []
    for step in range(activities + 1):
        came = _execution_started("chain") if step == 0 else _completed(step, step)
        called = [_scheduled(step + 1, step)] if step < activities else []
        turns.append(_turn([_turn_started(step), came], called))
    return turns


def _fan_out(activities: int) -> list[Turn]:
    calls = range(1, activities + 1)
    first = _turn([_turn_started(0), _execution_started("fan_out")], [_scheduled(call, 0) for call in calls])
    last = _turn([_turn_started(1), *(_completed(call, 1) for call in calls)], [])
    return [first, last]


def _turn(arrivals: list[pb.HistoryEvent], calls: list[pb.HistoryEvent]) -> Turn:
    return Turn(
        pb.WorkflowRequest(newEvents=arrivals).SerializeToString(),
        pb.WorkflowRequest(pastEvents=[*arrivals, *calls]).SerializeToString(),
    )


def _event(step: int, event_id: int = -1) -> pb.HistoryEvent:
    moment = Timestamp(seconds=_FIRST_SECOND + step, nanos=step % 1000 * 1_000_000)
    return pb.HistoryEvent(eventId=event_id, timestamp=moment)


def _turn_started(step: int) -> pb.HistoryEvent:
    event = _event(step)
    event.workflowStarted.SetInParent()
    return event


def _execution_started(name: str) -> pb.HistoryEvent:
    event = _event(0)
    started = event.executionStarted
    started.name = name
    started.input.value = _TEXT
    started.workflowInstance.instanceId = INSTANCE_ID
    started.workflowInstance.executionId.value = "execution-1"
    return event


def _scheduled(call: int, step: int) -> pb.HistoryEvent:
    event = _event(step, call)
    event.taskScheduled.CopyFrom(pb.TaskScheduledEvent(name="work", input=StringValue(value=_TEXT)))
    return event


def _completed(call: int, step: int) -> pb.HistoryEvent:
    event = _event(step)
    event.taskCompleted.CopyFrom(pb.TaskCompletedEvent(taskScheduledId=call, result=StringValue(value=_TEXT)))
    return event
