"""What a history records and what code asks for, in one form: steps that can be compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

from dapr_workflow_sdk.replay.calls import ActivityCall, Call, ChildCall, Place, TimerCall
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER


class StepKind(str, Enum):
    """What a step is."""

    ACTIVITY = "activity"
    CHILD = "child workflow"
    TIMER = "timer"
    WAIT = "wait for an event"
    RETRY = "delay before a retry"


@dataclass(frozen=True)
class Step:
    """One call, recorded or asked for.

    Attributes:
        kind: What it is.
        name: Of the activity, child workflow or event; empty for timers.
        number: The number of the call, from 1.
        input: Payload text of the input, if there is one.
        place: Where the code makes the call, if it is known.
        event: Number of the history event that records it, from 1; 0 if none does.
    """

    kind: StepKind
    name: str
    number: int
    input: str | None = None
    place: Place | None = None
    event: int = 0

    @property
    def is_named(self) -> bool:
        """Whether its name is that of something that is called."""
        return self.kind in (StepKind.ACTIVITY, StepKind.CHILD)

    def is_like(self, other: Step) -> bool:
        """Whether both are the same call: replay compares no more."""
        return self.kind is other.kind and self.name == other.name

    def fits(self, recorded: Step) -> bool:
        """Whether a history may record this call so; older histories do not tell one timer from another."""
        if self.is_named or recorded.is_named:
            return self.is_like(recorded)
        waits = self.kind is StepKind.WAIT and recorded.kind is StepKind.WAIT
        return not waits or self.name.casefold() == recorded.name.casefold()

    def __str__(self) -> str:
        if self.is_named:
            return f"a call of {self.kind.value} {self.name!r}"
        if self.kind is StepKind.WAIT:
            return f"the timer of a wait for event {self.name!r}"
        if self.kind is StepKind.RETRY:
            return f"the timer before the next try{f' of {self.name!r}' if self.name else ''}"
        return "a timer"


def recorded_step(event: pb.HistoryEvent, number: int = 0) -> Step | None:
    """The call that a history event records, or None if it records none.

    Args:
        event: The event.
        number: Its place in the history, from 1.
    """
    kind = event.WhichOneof("eventType")
    if kind == "taskScheduled":
        scheduled = event.taskScheduled
        text = scheduled.input.value if scheduled.HasField("input") else None
        return Step(StepKind.ACTIVITY, scheduled.name, event.eventId, text, event=number)
    if kind == "childWorkflowInstanceCreated":
        created = event.childWorkflowInstanceCreated
        text = created.input.value if created.HasField("input") else None
        return Step(StepKind.CHILD, created.name, event.eventId, text, event=number)
    if kind != "timerCreated":
        return None
    origin = event.timerCreated.WhichOneof("origin")
    if origin == "externalEvent":
        return Step(StepKind.WAIT, event.timerCreated.externalEvent.name, event.eventId, event=number)
    if origin in ("activityRetry", "childWorkflowRetry"):
        return Step(StepKind.RETRY, "", event.eventId, event=number)
    return Step(StepKind.TIMER, "", event.eventId, event=number)


def is_optional(event: pb.HistoryEvent) -> bool:
    """Whether the event is the timer of a wait without a timeout, which histories may have and may lack."""
    return event.WhichOneof("eventType") == "timerCreated" and (
        event.timerCreated.fireAt == NEVER and event.timerCreated.WhichOneof("origin") in (None, "externalEvent")
    )


def recorded_steps(events: Iterable[pb.HistoryEvent], first: int = 1) -> list[Step]:
    """All calls that these events record; the first of the events has the number `first`."""
    steps = (recorded_step(event, number) for number, event in enumerate(events, first))
    return [step for step in steps if step is not None]


def asked_step(call: Call) -> Step:
    """The call that code has made."""
    if isinstance(call, ActivityCall):
        return Step(StepKind.ACTIVITY, call.name, call.id, call.input, call.place)
    if isinstance(call, ChildCall):
        return Step(StepKind.CHILD, call.name, call.id, call.input, call.place)
    if isinstance(call, TimerCall):
        if call.retries is not None:
            return Step(StepKind.RETRY, call.retries.name, call.id, None, call.place)
        if call.wait is not None:
            return Step(StepKind.WAIT, call.wait.name, call.id, None, call.place)
    return Step(StepKind.TIMER, "", call.id, None, call.place)
