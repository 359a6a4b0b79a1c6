"""What went wrong in a workflow, told so that its author can mend it."""

from __future__ import annotations

import os
from pathlib import Path
from types import FrameType
from typing import Any

from dapr_workflow_sdk.authoring import tasks
from dapr_workflow_sdk.replay.calls import Place

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
