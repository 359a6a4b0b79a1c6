"""How instances look: as tables and lines for people, as documents for programs."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Container, Iterable, Sequence
from datetime import datetime, timezone
from typing import Any, Literal

from rich.table import Table
from rich.text import Text

from dapr_workflow_sdk.client.state import WorkflowStatus, read_state
from dapr_workflow_sdk.client.wording import MARK, failure_document, iso, span, unmarked, value_of
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_from_wire, nanoseconds

STYLES = {
    "RUNNING": "cyan",
    "COMPLETED": "green",
    "FAILED": "red",
    "TERMINATED": "yellow",
    "PENDING": "dim",
    "SUSPENDED": "magenta",
    "STALLED": "bold red",
}
# Spaces between columns, and the least room of the last one.
_GAP = 2
_LEAST = 12
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


def clean(text: str) -> str:
    """Text without the characters that a terminal would obey."""
    return _CONTROL.sub(lambda found: found[0] if found[0] == "\n" else f"\\x{ord(found[0]):02x}", text)


def one_line(text: str) -> str:
    """Text in one line."""
    return clean(" ".join(text.split()))


# ---- time ------------------------------------------------------------------------------------------------------


def distance(moment: int, now: int) -> str:
    """A moment as people say it: ``3 min ago``, ``in 2 h``, ``now``."""
    seconds = round((now - moment) / 1_000_000_000)
    if seconds == 0:
        return "now"
    shown = _rough(abs(seconds))
    return f"{shown} ago" if seconds > 0 else f"in {shown}"


def _rough(seconds: int) -> str:
    # Rounded, so that a timer of a day is not due in 23 hours.
    for size, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if round(seconds / size) >= 2:
            return f"{round(seconds / size)} {name}"
    return f"{seconds} s"


def local(moment: int) -> str:
    """A moment on the clock of this machine."""
    try:
        return datetime.fromtimestamp(moment // 1_000_000_000, timezone.utc).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    except (ValueError, OverflowError, OSError):
        return "at no time"


def when(moment: int, now: int | None = None) -> str:
    """A moment in both ways."""
    return f"{local(moment)} ({distance(moment, time.time_ns() if now is None else now)})"


# ---- payloads --------------------------------------------------------------------------------------------------


def pretty(text: str) -> str:
    """Payload text for reading, in as many lines as it takes."""
    try:
        return clean(json.dumps(unmarked(json.loads(text)), indent=2, ensure_ascii=False))
    except (ValueError, RecursionError):
        return clean(text)


def brief(text: str) -> str:
    """Payload text for reading, in one line."""
    if MARK in text:
        with contextlib.suppress(ValueError, RecursionError):
            text = json.dumps(unmarked(json.loads(text)), ensure_ascii=False)
    return one_line(text)


# ---- states ----------------------------------------------------------------------------------------------------


def status_of(state: pb.WorkflowState) -> WorkflowStatus:
    """Where an instance stands."""
    return read_state(state).runtime_status


def status_text(name: str) -> Text:
    """A status in its colour."""
    return Text(name, style=STYLES.get(name, ""))


def moment_of(state: pb.WorkflowState, field: str) -> int | None:
    """One of the moments of a state; None where the task hub does not tell it."""
    if not state.HasField(field):
        return None
    moment = nanoseconds(getattr(state, field))
    return moment if moment > 0 else None


def end_of(state: pb.WorkflowState) -> int | None:
    """When an instance ended, if it has; what a sidecar does not tell is when it last changed."""
    end = moment_of(state, "completedTimestamp")
    if end is None and status_of(state).is_final:
        end = moment_of(state, "lastUpdatedTimestamp")
    return end


def duration_of(state: pb.WorkflowState) -> int | None:
    """How long an instance took, or has been at it; a sidecar does not tell all that this needs."""
    begin = moment_of(state, "startedAt") or moment_of(state, "createdTimestamp")
    end = end_of(state)
    if begin is None:
        return None
    return (time.time_ns() if end is None else end) - begin


def state_document(state: pb.WorkflowState, *, payloads: bool = True) -> dict[str, Any]:
    """An instance for programs; the keys are part of the command's interface."""
    document: dict[str, Any] = {
        "id": state.instanceId,
        "name": state.name,
        "status": status_of(state).name,
        "created_at": _iso_field(state, "createdTimestamp"),
        "started_at": _iso_field(state, "startedAt"),
        "updated_at": _iso_field(state, "lastUpdatedTimestamp"),
        "completed_at": _iso_field(state, "completedTimestamp"),
        "scheduled_at": _iso_field(state, "scheduledStartTimestamp"),
        "execution_id": state.executionId.value or None,
        "parent_id": state.parentInstanceId.value or None,
        "tags": dict(state.tags),
    }
    if payloads:
        document["input"] = value_of(state.input.value if state.HasField("input") else None)
        document["output"] = value_of(state.output.value if state.HasField("output") else None)
        document["custom_status"] = state.customStatus.value if state.HasField("customStatus") else None
        document["failure"] = (
            failure_document(failure_from_wire(state.failureDetails)) if state.HasField("failureDetails") else None
        )
    return document


def _iso_field(state: pb.WorkflowState, field: str) -> str | None:
    return None if moment_of(state, field) is None else iso(getattr(state, field))


def detail_of(state: pb.WorkflowState) -> str:
    """The most telling thing about an instance, in one line: why it failed, what it returned, what it says."""
    if state.HasField("failureDetails"):
        return one_line(f"{state.failureDetails.errorType}: {state.failureDetails.errorMessage}")
    if status_of(state).is_final:
        return brief(state.output.value)
    return one_line(state.customStatus.value)


Cell = str | Text


def plain_table(
    columns: Sequence[str], rows: Iterable[Sequence[Cell]], width: int, *, right: Container[str] = ()
) -> Table:
    """A table without lines; what does not fit is cut from the end, columns first.

    Args:
        columns: Titles.
        rows: The rows.
        width: How many characters fit in a line.
        right: Columns of numbers.
    """
    cells = [[cell if isinstance(cell, Text) else Text(cell) for cell in row] for row in rows]
    needs = [max([len(title), *(row[number].cell_len for row in cells)]) for number, title in enumerate(columns)]
    last = len(columns) - 1
    while last > 1 and sum(needs[:last]) + _GAP * last + min(_LEAST, needs[last]) > width:
        last -= 1  # A narrow terminal shows fewer columns, not their first letters.
    table = Table(box=None, pad_edge=False, padding=(0, _GAP, 0, 0), header_style="bold", show_edge=False)
    for number, title in enumerate(columns[: last + 1]):
        justify: Literal["left", "right"] = "right" if title in right else "left"
        if number == last:
            room = max(_LEAST, width - sum(needs[:last]) - _GAP * last)
            table.add_column(title, justify=justify, no_wrap=True, overflow="ellipsis", max_width=room)
        else:
            # When even so there is no room, ids go on in the next line: they are there to be copied.
            table.add_column(title, justify=justify, overflow="fold", no_wrap=number > 0)
    for row in cells:
        table.add_row(*row[: last + 1])
    return table


def state_table(states: Iterable[pb.WorkflowState], width: int, *, now: int | None = None) -> Table:
    """A table of instances, with their payloads as far as the states have them."""
    now = time.time_ns() if now is None else now
    rows: list[list[Cell]] = []
    for state in states:
        created = moment_of(state, "createdTimestamp")
        took = duration_of(state)
        rows.append(
            [
                clean(state.instanceId),
                clean(state.name) or "-",
                status_text(status_of(state).name),
                "-" if created is None else distance(created, now),
                "-" if took is None else span(took),
                Text(detail_of(state), style="red" if state.HasField("failureDetails") else ""),
            ]
        )
    columns: Sequence[str] = ("ID", "WORKFLOW", "STATUS", "CREATED", "TOOK", "DETAIL")
    if not any(row[-1] for row in rows):
        columns = columns[:-1]  # Nothing is known, or was asked for.
    return plain_table(columns, [row[: len(columns)] for row in rows], width)
