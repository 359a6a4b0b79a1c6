"""What went wrong in a workflow, told so that its author can mend it."""

from __future__ import annotations

import os
from pathlib import Path
from types import FrameType
from typing import Any

from dapr_workflow_sdk.authoring import tasks
from dapr_workflow_sdk.replay.calls import Call, Place
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_CHANGED = (
    "The code has changed since this instance started, or decides by something that differs between runs (the "
    "clock, random numbers, the environment). Let instances finish on the code they started with, or start this one "
    "again."
)


_NOT_OF_AUTHORS = (str(Path(os.__file__).parent), str(Path(tasks.__file__)))


def waiting_place(running: Any) -> Place | None:
    """File and line where a suspended generator or coroutine waits, in the innermost code that is its author's."""
    place: Place | None = None
    while running is not None:
        frame: FrameType | None = getattr(running, "gi_frame", None) or getattr(running, "cr_frame", None)
        if frame is None:
            break
        file = frame.f_code.co_filename
        if place is not None and file.startswith(_NOT_OF_AUTHORS) and "site-packages" not in file:
            break
        place = (frame.f_code.co_filename, frame.f_lineno)
        running = getattr(running, "gi_yieldfrom", None) or getattr(running, "cr_await", None)
    return place


def at(place: Place | None) -> str:
    """A place as "file:line"."""
    return "an unknown line" if place is None else f"{place[0]}:{place[1]}"


def history_call(event: pb.HistoryEvent) -> str:
    """What a confirming history event records, in the words of workflow code."""
    kind = event.WhichOneof("eventType")
    if kind == "taskScheduled":
        return f"a call of activity {event.taskScheduled.name!r}"
    if kind == "childWorkflowInstanceCreated":
        return f"a call of child workflow {event.childWorkflowInstanceCreated.name!r}"
    if kind == "timerCreated":
        origin = event.timerCreated.WhichOneof("origin")
        if origin == "externalEvent":
            return f"the timer of a wait for event {event.timerCreated.externalEvent.name!r}"
        return "a timer"
    return str(kind)


def mismatch(
    workflow: str,
    instance_id: str,
    event: pb.HistoryEvent,
    found: Call | None,
    place: Place | None,
    *,
    ending: str | None,
) -> str:
    """Why a recorded call and the code do not fit."""
    expected = f"call {event.eventId} of its history is {history_call(event)}"
    if found is not None:
        actual = f"the code now makes {found.label} there, at {at(found.place)}"
    elif ending is not None:
        actual = f"the code now {ending} before it"
    else:
        actual = f"the code now makes no such call and waits at {at(place)}"
    who = f"Workflow {workflow!r}, instance {instance_id!r}"
    return f"{who}, no longer matches its history: {expected}, but {actual}. {_CHANGED}"


def not_a_task(workflow: str, instance_id: str, value: Any, place: Place | None, *, awaited: bool) -> str:
    """Why a yielded or awaited value cannot be waited for."""
    verb = "awaited" if awaited else "yielded"
    hint = (
        "Await tasks of the context only: activities do the asyncio work, ctx.create_timer() replaces asyncio.sleep(), "
        "when_all() replaces asyncio.gather()."
        if awaited
        else "Yield tasks only: what ctx.call_activity(), ctx.create_timer(), when_all() and the like return."
    )
    if value is None and not awaited:
        hint += " A helper that should have returned a task may lack its return statement."
    return (
        f"Workflow {workflow!r}, instance {instance_id!r}, {verb} {_shown(value)} of type "
        f"{type(value).__name__} at {at(place)}, which is not a task. {hint}"
    )


def _shown(value: Any) -> str:
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - a class of the application may raise anything here
        return "a value that cannot be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."
