"""Stories of instances on the screen."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from rich.table import Table
from rich.text import Text

from dapr_workflow_sdk.cli.rendering import Cell, brief, clean, distance, one_line, plain_table
from dapr_workflow_sdk.client.timeline import Entry, Story
from dapr_workflow_sdk.client.wording import iso, span
from dapr_workflow_sdk.taskhub.wire.values import NEVER_NS, timestamp_from_ns

_GOOD = {"activity_completed", "child_completed", "completed"}
_BAD = {"activity_failed", "child_failed", "failed", "stalled", "event_timed_out"}
_QUIET = {"retry_due", "timer_fired", "event_timer_fired"}
_OUTSIDE = {"event_received", "suspended", "resumed", "terminate_asked", "terminated"}
_COLUMNS = ("TURN", "AFTER", "WHAT", "TOOK", "WITH")
_COUNTED = (
    ("activity_called", "activity", "activities"),
    ("child_called", "child", "children"),
    ("event_received", "event", "events"),
    ("retry_set", "retry", "retries"),
    ("timer_set", "timer", "timers"),
)


def _style(entry: Entry) -> str:
    for kinds, style in ((_GOOD, "green"), (_BAD, "red"), (_QUIET, "dim"), (_OUTSIDE, "yellow")):
        if entry.kind in kinds:
            return style
    return "cyan"


def what(entry: Entry) -> Text:
    """What happened, in a few words."""
    text = Text.assemble((clean(entry.says), _style(entry)))
    if entry.name:
        text.append(f" {clean(entry.name)}", style="bold" if entry.kind == "started" else "")
    if entry.call is not None:
        text.append(f" #{entry.call}", style="dim")
    text.append(clean(entry.more))
    return text


def _detail(entry: Entry) -> Text:
    if entry.failure is not None:
        return Text(one_line(f"{entry.failure.error_type}: {entry.failure.message}"), style="red")
    return Text(brief(entry.payload or ""))


def story_table(story: Story, width: int, *, whole: bool = False, last: int | None = None) -> Table:
    """The entries of a story, or the last of them.

    Args:
        story: The story.
        width: How many characters fit in a line.
        whole: Whether payloads are shown whole; else what does not fit is cut.
        last: How many entries at most.
    """
    rows: list[list[Cell]] = []
    turn = 0
    for entry in story.entries if last is None else story.entries[-last:]:
        rows.append(
            [
                Text(str(entry.turn) if entry.turn != turn else "", style="dim"),
                Text(span(entry.at - story.begun), style="dim"),
                what(entry),
                Text("" if entry.took is None else span(entry.took), style="dim"),
                _detail(entry),
            ]
        )
        if entry.turn != turn and entry.turn in story.notes:
            rows.append(["", "", Text(clean(story.notes[entry.turn]), style="dim"), "", ""])
        turn = entry.turn
    table = plain_table(_COLUMNS, rows, width, right=("TURN", "AFTER", "TOOK"))
    # Numbers of turns are cut as little as times; what was done may go on in the next line.
    table.columns[0].no_wrap, table.columns[2].no_wrap = True, False
    if whole and len(table.columns) == len(_COLUMNS):
        table.columns[-1].no_wrap, table.columns[-1].overflow = False, "fold"
    return table


def summary(story: Story) -> str:
    """How much happened, in one line."""
    counts = Counter(entry.kind for entry in story.entries)
    parts = [f"{story.turns} turn{'' if story.turns == 1 else 's'}"]
    for kind, one, many in _COUNTED:
        if counts[kind]:
            parts.append(f"{counts[kind]} {one if counts[kind] == 1 else many}")
    return ", ".join(parts)


def wait_text(entry: Entry, now: int | None = None) -> str:
    """Something that an instance waits for."""
    now = time.time_ns() if now is None else now
    since = f"for {span(max(0, now - entry.at))}"
    name = clean(entry.name)
    if entry.kind == "activity_called":
        return f"activity {name} #{entry.call}, {since}"
    if entry.kind == "child_called":
        return f"child {clean(entry.child)} ({name}) #{entry.call}, {since}"
    due = "" if entry.due is None or entry.due == NEVER_NS else distance(entry.due, now)
    if entry.kind == "event_awaited":
        return f"event {name} #{entry.call}, {since}" + (f"; gives up {due}" if due else "")
    if entry.kind == "retry_set":
        return f"the next try of {name} #{entry.call}, {due}"
    return f"timer{' ' + name if name else ''} #{entry.call}, fires {due}"


def wait_document(entry: Entry) -> dict[str, Any]:
    """The same for programs."""
    kinds = {"activity_called": "activity", "child_called": "child", "event_awaited": "event", "retry_set": "retry"}
    due = None if entry.due is None or entry.due == NEVER_NS else iso(timestamp_from_ns(entry.due))
    return {
        "kind": kinds.get(entry.kind, "timer"),
        "name": entry.name or None,
        "call": entry.call,
        "instance_id": entry.child or None,
        "since": iso(timestamp_from_ns(entry.at)),
        "due_at": due,
    }
