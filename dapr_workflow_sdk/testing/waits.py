"""What an instance waits for, and the error of a test that would wait with it for ever."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING

from dapr_workflow_sdk.client.state import WorkflowStatus, read_state
from dapr_workflow_sdk.client.timeline import Entry, read_story
from dapr_workflow_sdk.engine.state import InstanceKey, describe
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.replay.explanation import at
from dapr_workflow_sdk.taskhub.wire.values import NEVER_NS
from dapr_workflow_sdk.testing.virtual_time import aware

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.stage import Stage

_KINDS = {
    "activity_called": "activity",
    "child_called": "child workflow",
    "event_awaited": "event",
    "retry_set": "retry",
    "timer_set": "timer",
}


class WorkflowStuckError(WorkflowError):
    """A test waits for an instance to which nothing can happen any more."""


@dataclass(frozen=True)
class Wait:
    """One thing that an instance waits for.

    Attributes:
        kind: "event", "activity", "child workflow", "timer" or "retry" (the delay before another try).
        name: Of the event, activity or child workflow, or of what is tried again; empty for a timer.
        call: Number of the call.
        since: When it was asked for, in UTC.
        due: When the timer fires or the wait for the event times out, in UTC; None for never.
        instance_id: Id of the child workflow; empty for anything else.
        place: "file:line" of the call in the workflow's code, where that is known.
    """

    kind: str
    name: str
    call: int
    since: datetime
    due: datetime | None = None
    instance_id: str = ""
    place: str | None = None

    def __str__(self) -> str:
        what = f"{self.kind} {self.name!r}" if self.name else f"a {self.kind}"
        if self.kind == "retry":
            what = f"the next try of {self.name!r}"
        if self.instance_id:
            what += f" ({self.instance_id})"
        if self.due is not None:
            what += f", due at {self.due:%Y-%m-%d %H:%M:%S}"
        where = "" if self.place is None else f", at {self.place}"
        return f"{what} since {self.since:%Y-%m-%d %H:%M:%S}{where}"


def waits_of(stage: Stage, key: InstanceKey) -> list[Wait]:
    """What an instance waits for, in the order of its calls."""
    row = stage.row(key)
    if row is None or row.ended is not None:
        return []
    story = read_story(stage.history(key))
    return [_wait(stage, key, number, entry) for number, entry in sorted(story.open.items())]


def _wait(stage: Stage, key: InstanceKey, number: int, entry: Entry) -> Wait:
    due = None if entry.due is None or entry.due == NEVER_NS else aware(entry.due)
    return Wait(
        _KINDS.get(entry.kind, "timer"),
        entry.name,
        number,
        aware(entry.at),
        due,
        entry.child,
        _place(stage, key, number),
    )


def _place(stage: Stage, key: InstanceKey, number: int) -> str | None:
    worker = stage.apps.get(key[0])
    parked = None if worker is None else worker.parked._parked.get(key[1])
    call = None if parked is None else parked.instance._ledger.open.get(number)
    return None if call is None else at(call.place)


def stuck(stage: Stage, key: InstanceKey) -> WorkflowStuckError:
    """Why an instance does not end, and what the test can do about it."""
    row = stage.row(key)
    if row is None:
        return WorkflowStuckError(f"There is no workflow instance {key[1]!r}: it was purged.")
    state = read_state(describe(row, payloads=True))
    who = f"Workflow {state.name!r}, instance {key[1]!r},"
    if state.runtime_status is WorkflowStatus.STALLED:
        return WorkflowStuckError(f"{who} has stalled: {row.stalled_because or 'the engine does not say why'}")
    if state.runtime_status is WorkflowStatus.SUSPENDED:
        return WorkflowStuckError(f"{who} is paused. Let it go on with env.resume({key[1]!r}).")
    waits = waits_of(stage, key)
    lines = [str(wait) for wait in waits] or ["what nobody here knows: its history has no open call"]
    reasons = "; and for ".join(lines)
    text = f"{who} cannot go on: it waits for {reasons}. Nothing else is under way, so it would wait for ever."
    events = [wait for wait in waits if wait.kind == "event"]
    children = [wait for wait in waits if wait.kind == "child workflow"]
    if events:
        text += (
            f" Start it with env.start(), call env.raise_event({key[1]!r}, {events[0].name!r}), and then env.wait(); "
            "or give the wait in the workflow a timeout."
        )
    elif children:
        text += "".join(f"\n{stuck(stage, (_app_of(stage, key, wait), wait.instance_id))}" for wait in children)
    elif any(wait.kind == "activity" for wait in waits):
        text += " Its activity has a stand-in that never() ends."
    return WorkflowStuckError(text)


def _app_of(stage: Stage, key: InstanceKey, wait: Wait) -> str:
    for event in stage.history(key):
        if event.eventId == wait.call and event.HasField("childWorkflowInstanceCreated"):
            return event.router.targetAppID or key[0]
    return key[0]
