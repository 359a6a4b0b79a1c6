"""Histories as bytes that every flavour reads as its own messages.

Field numbers of events and requests are the same in the protocols of all flavours as long as only common fields are
used: no routers and no task execution ids, whose numbers durabletask uses for something else.

A serialized message that follows another one adds to its repeated fields, so a request is put together from pieces:
the head, the committed past turn by turn, and the arrivals of the turn to run.
"""

from __future__ import annotations

import json
import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

INSTANCE_ID = "benchmark-1"
PAYLOAD = {"customer": "C-2040", "total": 129.9, "lines": [7, 11, 13], "paid": True}
_TEXT = json.dumps(PAYLOAD)
_FIRST_SECOND = 1_767_225_600


@dataclass(frozen=True)
class Turn:
    """The pieces of one turn.

    Attributes:
        arrivals: The new events, as they are in the turn's own request.
        committed: The same events and the calls that the turn made, as they are in every later request.
    """

    arrivals: bytes
    committed: bytes


@dataclass(frozen=True)
class History:
    """A history, turn by turn.

    Attributes:
        head: What every request begins with.
        turns: All turns; in the last one the workflow ends.
    """

    head: bytes
    turns: list[Turn]

    def whole(self) -> bytes:
        """The request of the last turn."""
        return b"".join([self.head, *(turn.committed for turn in self.turns[:-1]), self.turns[-1].arrivals])

    def requests(self) -> Iterator[bytes]:
        """The requests of all turns, one after the other."""
        past = bytearray(self.head)
        for turn in self.turns:
            yield bytes(past) + turn.arrivals
            past += turn.committed


def save(history: History, path: Path) -> None:
    """Writes a history for another process to read."""
    pieces = [(turn.arrivals, turn.committed) for turn in history.turns]
    path.write_bytes(pickle.dumps((history.head, pieces)))


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
