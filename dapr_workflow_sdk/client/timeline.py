"""A history as a story: turn by turn, what was called and what came of it, and what is still awaited."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from dapr_workflow_sdk.client.state import WorkflowStatus, read_state
from dapr_workflow_sdk.client.wording import failure_document, iso, span, value_of
from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER_NS, failure_from_wire, nanoseconds, timestamp_from_ns


@dataclass
class Entry:
    """One thing that happened.

    Attributes:
        kind: What it is, for programs.
        turn: The turn it belongs to, counted from 1.
        at: When, in nanoseconds since 1970.
        says: What it is, for people; the name and the number of the call follow, and then `more`.
        name: Of the activity, child, event or workflow.
        call: Number of the call it is, or answers.
        payload: Payload text that came with it.
        took: Nanoseconds since the call it answers.
        due: When a timer fires.
        failure: What went wrong.
        child: Id of another instance.
        more: What else there is to say about it.
    """

    kind: str
    turn: int
    at: int
    says: str
    name: str = ""
    call: int | None = None
    payload: str | None = None
    took: int | None = None
    due: int | None = None
    failure: FailureDetails | None = None
    child: str = ""
    more: str = ""

    @property
    def sentence(self) -> str:
        """What happened, without payload and failure."""
        text = f"{self.says} {self.name}" if self.name else self.says
        return f"{text} #{self.call}{self.more}" if self.call is not None else f"{text}{self.more}"

    def document(self, begun: int) -> dict[str, Any]:
        """The entry for programs; keys that do not apply are left out."""
        document: dict[str, Any] = {
            "turn": self.turn,
            "kind": self.kind,
            "at": iso(timestamp_from_ns(self.at)),
            "after_ms": round((self.at - begun) / 1_000_000, 3),
        }
        if self.name:
            document["name"] = self.name
        if self.call is not None:
            document["call"] = self.call
        if self.child:
            document["instance_id"] = self.child
        if self.payload is not None:
            document["payload"] = value_of(self.payload)
        if self.took is not None:
            document["took_ms"] = round(self.took / 1_000_000, 3)
        if self.due is not None:
            document["due_at"] = None if self.due == NEVER_NS else iso(timestamp_from_ns(self.due))
        if self.failure is not None:
            document["failure"] = failure_document(self.failure)
        return document


@dataclass
class Story:
    """A history that has been read.

    Attributes:
        entries: All that happened.
        open: Calls without an answer yet: activities, children, timers and waits for events.
        name: Name of the workflow.
        begun: When it was created.
        turns: How many turns it had.
        notes: What turns recorded of versions and patches, by turn.
    """

    entries: list[Entry] = field(default_factory=list[Entry])
    open: dict[int, Entry] = field(default_factory=dict[int, Entry])
    name: str = ""
    begun: int = 0
    turns: int = 0
    notes: dict[int, str] = field(default_factory=dict[int, str])

    @property
    def children(self) -> list[Entry]:
        """The child workflows it has started."""
        return [entry for entry in self.entries if entry.kind == "child_called"]

    def last_call(self, name: str) -> Entry | None:
        """The last activity, child or timer that was called by a name."""
        calls = [
            e for e in self.entries if e.kind in ("activity_called", "child_called", "timer_set") and e.name == name
        ]
        return calls[-1] if calls else None


def read_story(events: Iterable[pb.HistoryEvent]) -> Story:
    """Reads a history."""
    reader = _Reader()
    for event in events:
        reader.take(event)
    return reader.story


class _Reader:
    """Takes events in their order; what it does not know it leaves out, as workers do."""

    def __init__(self) -> None:
        self.story = Story()
        self._calls: dict[int, Entry] = {}
        # Retries name what they retry by ids; the calls they were made for have the names.
        self._names: dict[str, str] = {}
        self._first_turn = 0

    def take(self, event: pb.HistoryEvent) -> None:
        kind = event.WhichOneof("eventType") or ""
        if not self.story.begun:
            self.story.begun = nanoseconds(event.timestamp)
        if kind in _HANDLERS:
            _HANDLERS[kind](self, event, getattr(event, kind))

    def _add(self, event: pb.HistoryEvent, kind: str, says: str, **more: Any) -> Entry:
        entry = Entry(kind, max(1, self.story.turns), nanoseconds(event.timestamp), says, **more)
        self.story.entries.append(entry)
        return entry

    def _call(self, event: pb.HistoryEvent, kind: str, says: str, **more: Any) -> None:
        entry = self._add(event, kind, says, call=event.eventId, **more)
        self._calls[event.eventId] = self.story.open[event.eventId] = entry

    def _answer(self, event: pb.HistoryEvent, number: int, kind: str, says: str, **more: Any) -> None:
        call = self._calls.get(number)
        self.story.open.pop(number, None)
        entry = self._add(event, kind, says, call=number, **more)
        if call is not None:
            entry.name = entry.name or call.name
            entry.took = max(0, entry.at - call.at)
            entry.child = call.child

    def turn(self, event: pb.HistoryEvent, started: pb.WorkflowStartedEvent) -> None:
        self.story.turns += 1
        self._first_turn = self._first_turn or nanoseconds(event.timestamp)
        parts: list[str] = []
        if started.version.HasField("name"):
            parts.append(f"version {started.version.name}")
        if started.version.patches:
            parts.append(f"patches {', '.join(started.version.patches)}")
        if parts:
            self.story.notes[self.story.turns] = "; ".join(parts)

    def begin(self, event: pb.HistoryEvent, started: pb.ExecutionStartedEvent) -> None:
        self.story.name = started.name
        self.story.begun = nanoseconds(event.timestamp)
        more, due = "", None
        if started.HasField("parentInstance"):
            more = f", a child of {started.parentInstance.workflowInstance.instanceId}"
        if started.HasField("scheduledStartTimestamp"):
            due = nanoseconds(started.scheduledStartTimestamp)
            more += f", to begin in {span(max(0, due - self.story.begun))}"
        payload = _text(started, "input")
        self._add(event, "started", "started", name=started.name, payload=payload, due=due, more=more)

    def activity_called(self, event: pb.HistoryEvent, called: pb.TaskScheduledEvent) -> None:
        self._names[called.taskExecutionId] = called.name
        self._call(event, "activity_called", "calls", name=called.name, payload=_text(called, "input"))

    def activity_completed(self, event: pb.HistoryEvent, done: pb.TaskCompletedEvent) -> None:
        self._answer(event, done.taskScheduledId, "activity_completed", "returned", payload=_text(done, "result"))

    def activity_failed(self, event: pb.HistoryEvent, failed: pb.TaskFailedEvent) -> None:
        self._answer(event, failed.taskScheduledId, "activity_failed", "failed", failure=_failure(failed))

    def child_called(self, event: pb.HistoryEvent, called: pb.ChildWorkflowInstanceCreatedEvent) -> None:
        self._names[called.instanceId] = called.name
        self._call(
            event,
            "child_called",
            f"starts child {called.instanceId}:",
            name=called.name,
            payload=_text(called, "input"),
            child=called.instanceId,
        )

    def child_completed(self, event: pb.HistoryEvent, done: pb.ChildWorkflowInstanceCompletedEvent) -> None:
        payload = _text(done, "result")
        self._answer(event, done.taskScheduledId, "child_completed", "child returned", payload=payload)

    def child_failed(self, event: pb.HistoryEvent, failed: pb.ChildWorkflowInstanceFailedEvent) -> None:
        # A child that was terminated leaves no details.
        known = failed.HasField("failureDetails")
        says = "child failed" if known else "child was terminated"
        failure = _failure(failed) if known else None
        self._answer(event, failed.taskScheduledId, "child_failed", says, failure=failure)

    def timer_set(self, event: pb.HistoryEvent, timer: pb.TimerCreatedEvent) -> None:
        due = nanoseconds(timer.fireAt)
        length = span(max(0, due - nanoseconds(event.timestamp)))
        origin = timer.WhichOneof("origin")
        if origin == "externalEvent" or due == NEVER_NS:
            limit = "" if due == NEVER_NS else f", {length} at most"
            name = timer.externalEvent.name or timer.name
            self._call(event, "event_awaited", "waits for event", name=name, due=due, more=limit)
        elif origin == "activityRetry":
            name = self._names.get(timer.activityRetry.taskExecutionId, timer.name)
            self._call(event, "retry_set", "will try again", name=name, due=due, more=f", in {length}")
        elif origin == "childWorkflowRetry":
            name = self._names.get(timer.childWorkflowRetry.instanceId, timer.name)
            self._call(event, "retry_set", "will try again", name=name, due=due, more=f", in {length}")
        else:
            self._call(event, "timer_set", f"sets a timer of {length}", name=timer.name, due=due)

    def timer_fired(self, event: pb.HistoryEvent, fired: pb.TimerFiredEvent) -> None:
        call = self._calls.get(fired.timerId)
        kind = "timer_set" if call is None else call.kind
        if kind == "event_awaited":
            # When the event came first, nobody waits any more and the timer means nothing.
            late = fired.timerId not in self.story.open
            self._answer(
                event,
                fired.timerId,
                "event_timer_fired" if late else "event_timed_out",
                "nobody waits any more for event" if late else "no event came:",
            )
        elif kind == "retry_set":
            self._answer(event, fired.timerId, "retry_due", "time to try again:")
        else:
            self._answer(event, fired.timerId, "timer_fired", "timer fired")

    def event_received(self, event: pb.HistoryEvent, raised: pb.EventRaisedEvent) -> None:
        entry = self._add(event, "event_received", "event came:", name=raised.name, payload=_text(raised, "input"))
        for number, call in self.story.open.items():
            # Names of events are the same in upper and lower case; the first wait gets the first event.
            if call.kind == "event_awaited" and call.name.casefold() == raised.name.casefold():
                entry.call, entry.took = number, max(0, entry.at - call.at)
                del self.story.open[number]
                break

    def event_sent(self, event: pb.HistoryEvent, sent: pb.EventSentEvent) -> None:
        says = f"sends {sent.instanceId} an event:"
        self._add(event, "event_sent", says, name=sent.name, payload=_text(sent, "input"), child=sent.instanceId)

    def detached_started(self, event: pb.HistoryEvent, made: pb.DetachedWorkflowInstanceCreatedEvent) -> None:
        self._add(event, "detached_started", f"starts {made.instanceId} on its own", child=made.instanceId)

    def suspended(self, event: pb.HistoryEvent, asked: pb.ExecutionSuspendedEvent) -> None:
        self._add(event, "suspended", "paused", payload=_text(asked, "input"))

    def resumed(self, event: pb.HistoryEvent, asked: pb.ExecutionResumedEvent) -> None:
        self._add(event, "resumed", "resumed", payload=_text(asked, "input"))

    def told_to_end(self, event: pb.HistoryEvent, asked: pb.ExecutionTerminatedEvent) -> None:
        self._add(event, "terminate_asked", "told to end", payload=_text(asked, "input"))

    def stalled(self, event: pb.HistoryEvent, stalled: pb.ExecutionStalledEvent) -> None:
        reason = pb.StalledReason.Name(stalled.reason) if stalled.reason in pb.StalledReason.values() else "unknown"
        why = stalled.description or reason.removeprefix("STALLED_REASON_").lower().replace("_", " ")
        self._add(event, "stalled", "stalled:", name=why)

    def continued(self, event: pb.HistoryEvent, asked: pb.ContinueAsNewEvent) -> None:
        self._add(event, "continued_as_new", "continues as new", payload=_text(asked, "input"))

    def ended(self, event: pb.HistoryEvent, ended: pb.ExecutionCompletedEvent) -> None:
        status = read_state(pb.WorkflowState(workflowStatus=ended.workflowStatus)).runtime_status
        kind = {WorkflowStatus.RUNNING: "continued_as_new"}.get(status, status.name.lower())
        entry = self._add(event, kind, kind.replace("_", " "), payload=_text(ended, "result"))
        entry.took = max(0, entry.at - (self._first_turn or self.story.begun))
        if ended.HasField("failureDetails"):
            entry.failure = failure_from_wire(ended.failureDetails)
        self.story.open.clear()


# What a task hub records, and how it is told.
_HANDLERS: dict[str, Callable[[_Reader, pb.HistoryEvent, Any], None]] = {
    "workflowStarted": _Reader.turn,
    "executionStarted": _Reader.begin,
    "taskScheduled": _Reader.activity_called,
    "taskCompleted": _Reader.activity_completed,
    "taskFailed": _Reader.activity_failed,
    "childWorkflowInstanceCreated": _Reader.child_called,
    "childWorkflowInstanceCompleted": _Reader.child_completed,
    "childWorkflowInstanceFailed": _Reader.child_failed,
    "timerCreated": _Reader.timer_set,
    "timerFired": _Reader.timer_fired,
    "eventRaised": _Reader.event_received,
    "eventSent": _Reader.event_sent,
    "detachedWorkflowInstanceCreated": _Reader.detached_started,
    "executionSuspended": _Reader.suspended,
    "executionResumed": _Reader.resumed,
    "executionTerminated": _Reader.told_to_end,
    "executionStalled": _Reader.stalled,
    "continueAsNew": _Reader.continued,
    "executionCompleted": _Reader.ended,
}


def _text(message: Any, name: str) -> str | None:
    return getattr(message, name).value if message.HasField(name) else None


def _failure(event: pb.TaskFailedEvent | pb.ChildWorkflowInstanceFailedEvent) -> FailureDetails:
    return failure_from_wire(event.failureDetails)
