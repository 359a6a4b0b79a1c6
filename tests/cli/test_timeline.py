"""Histories as stories."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from rich.console import Console

from dapr_workflow_sdk.cli.storytelling import story_table, summary, wait_document, wait_text
from dapr_workflow_sdk.client.timeline import Story, read_story
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER, text_of

RECORDED = {path.name.split(".")[0]: path for path in (Path(__file__).parents[1] / "histories").glob("*/*.json")}
SECOND = 1_000_000_000


def recorded(name: str) -> list[pb.HistoryEvent]:
    content = json.loads(RECORDED[name].read_text())
    return [pb.HistoryEvent.FromString(base64.b64decode(event)) for event in content["events_wire"]]


def drawn(story: Story, width: int = 200, **options: Any) -> list[str]:
    out = io.StringIO()
    Console(file=out, width=width).print(story_table(story, width, **options))
    return [line.rstrip() for line in out.getvalue().splitlines()]


def at(seconds: float, number: int = -1, **event: Any) -> pb.HistoryEvent:
    stamp = Timestamp(seconds=1_700_000_000 + int(seconds), nanos=int(seconds % 1 * SECOND))
    return pb.HistoryEvent(eventId=number, timestamp=stamp, **event)


BEGIN = [
    at(0, workflowStarted=pb.WorkflowStartedEvent()),
    at(0, executionStarted=pb.ExecutionStartedEvent(name="flow", input=text_of("1"))),
]


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_every_recording_of_a_real_sidecar_is_told_whole(name: str) -> None:
    events = recorded(name)
    story = read_story(events)
    told = [event for event in events if event.WhichOneof("eventType") != "workflowStarted"]
    assert len(story.entries) == len(told)
    assert story.turns == len(events) - len(told)
    assert story.open == {}
    assert story.entries[-1].kind in ("completed", "failed", "terminated")
    # Every answer has found its call.
    for entry in story.entries:
        if entry.kind.endswith(("_completed", "_failed", "_fired", "_due")):
            assert entry.took is not None, entry
    lines = drawn(story, 100)
    assert all(len(line) <= 100 for line in lines)
    json.dumps([entry.document(story.begun) for entry in story.entries])


def kinds(name: str) -> list[str]:
    return [entry.kind for entry in read_story(recorded(name)).entries]


def test_recordings_are_told_right() -> None:
    assert kinds("saga-1")[:4] == ["started", "activity_called", "activity_completed", "activity_called"]
    assert kinds("timeouted-1") == ["started", "event_awaited", "event_timed_out", "completed"]
    assert "retry_set" in kinds("retrying-1")
    assert kinds("parent-4").count("child_called") == 4
    assert kinds("suspended-1")[-4:] != []
    assert {"suspended", "resumed"} <= set(kinds("suspended-1"))
    assert kinds("terminated-1")[-2:] == ["terminate_asked", "terminated"]
    assert summary(read_story(recorded("chain-5"))) == "6 turns, 5 activities"


def test_what_is_open_is_what_has_no_answer() -> None:
    events = [
        *BEGIN,
        at(0, 1, taskScheduled=pb.TaskScheduledEvent(name="a", taskExecutionId="x")),
        at(0, 2, taskScheduled=pb.TaskScheduledEvent(name="b")),
        at(0, 3, childWorkflowInstanceCreated=pb.ChildWorkflowInstanceCreatedEvent(instanceId="c-1", name="c")),
        at(0, 4, timerCreated=pb.TimerCreatedEvent(fireAt=at(60).timestamp, createTimer=pb.TimerOriginCreateTimer())),
        at(
            0,
            5,
            timerCreated=pb.TimerCreatedEvent(fireAt=NEVER, externalEvent=pb.TimerOriginExternalEvent(name="Yes")),
        ),
        at(1, workflowStarted=pb.WorkflowStartedEvent()),
        at(1, taskFailed=pb.TaskFailedEvent(taskScheduledId=1)),
        at(
            1,
            6,
            timerCreated=pb.TimerCreatedEvent(
                fireAt=at(4).timestamp, activityRetry=pb.TimerOriginActivityRetry(taskExecutionId="x")
            ),
        ),
    ]
    story = read_story(events)
    now = (1_700_000_000 + 2) * SECOND
    assert [wait_text(entry, now) for entry in story.open.values()] == [
        "activity b #2, for 2.00 s",
        "child c-1 (c) #3, for 2.00 s",
        "timer #4, fires in 58 s",
        "event Yes #5, for 2.00 s",
        "the next try of a #6, in 2 s",
    ]
    documents = [wait_document(entry) for entry in story.open.values()]
    assert [document["kind"] for document in documents] == ["activity", "child", "timer", "event", "retry"]
    assert documents[3]["due_at"] is None
    assert documents[2]["due_at"] == "2023-11-14T22:14:20.000000Z"
    # The first of two waits gets the event, whatever its case.
    story = read_story([*events, at(2, eventRaised=pb.EventRaisedEvent(name="YES", input=text_of("1")))])
    assert 5 not in story.open


def test_a_timer_of_a_wait_that_fires_after_its_event_means_nothing() -> None:
    wait = pb.TimerCreatedEvent(fireAt=at(2).timestamp, externalEvent=pb.TimerOriginExternalEvent(name="e"))
    story = read_story(
        [
            *BEGIN,
            at(0, 1, timerCreated=wait),
            at(1, eventRaised=pb.EventRaisedEvent(name="e")),
            at(2, timerFired=pb.TimerFiredEvent(timerId=1)),
        ]
    )
    assert [entry.kind for entry in story.entries] == [
        "started",
        "event_awaited",
        "event_received",
        "event_timer_fired",
    ]


def test_answers_without_calls_and_events_nobody_knows_are_no_reason_to_fail() -> None:
    story = read_story(
        [
            at(0, taskCompleted=pb.TaskCompletedEvent(taskScheduledId=7, result=text_of("1"))),
            pb.HistoryEvent(eventId=-1),
            at(0, timerFired=pb.TimerFiredEvent(timerId=9)),
            at(0, childWorkflowInstanceFailed=pb.ChildWorkflowInstanceFailedEvent(taskScheduledId=3)),
        ]
    )
    assert [entry.kind for entry in story.entries] == ["activity_completed", "timer_fired", "child_failed"]
    assert read_story([]).entries == []
    assert drawn(read_story([])) == ["TURN  AFTER  WHAT  TOOK  WITH"]


def test_rare_events_are_told() -> None:
    story = read_story(
        [
            at(0, workflowStarted=pb.WorkflowStartedEvent(version=pb.WorkflowVersion(name="v2", patches=["p", "q"]))),
            at(0, executionStarted=pb.ExecutionStartedEvent(name="f", scheduledStartTimestamp=at(60).timestamp)),
            at(0, 1, eventSent=pb.EventSentEvent(instanceId="other", name="go")),
            at(0, 2, detachedWorkflowInstanceCreated=pb.DetachedWorkflowInstanceCreatedEvent(instanceId="free")),
            at(1, executionStalled=pb.ExecutionStalledEvent(reason=pb.STALLED_REASON_VERSION_NOT_AVAILABLE)),
            at(1, executionStalled=pb.ExecutionStalledEvent(description="no v2 here")),
            at(
                2,
                3,
                executionCompleted=pb.ExecutionCompletedEvent(workflowStatus=pb.WORKFLOW_STATUS_CONTINUED_AS_NEW),
            ),
        ]
    )
    text = "\n".join(drawn(story))
    for expected in (
        "started f, to begin in 1 min",
        "version v2; patches p, q",
        "sends other an event: go",
        "starts free on its own",
        "stalled: version not available",
        "stalled: no v2 here",
        "continued as new",
    ):
        assert expected in text, text


def test_long_payloads_are_cut_on_request_only() -> None:
    story = read_story([*BEGIN, at(0, 1, taskScheduled=pb.TaskScheduledEvent(name="a", input=text_of("x" * 500)))])
    cut = drawn(story, 80)
    assert all(len(line) <= 80 for line in cut)
    assert cut[-1].endswith("…")
    whole = drawn(story, 80, whole=True)
    assert "".join(whole).count("x") == 500
    assert "x" * 500 in drawn(story, 1_000_000)[-1]
    assert len(drawn(story, 200, last=1)) == 2
