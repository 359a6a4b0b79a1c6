"""The timeline of an instance as plain text, for messages and reports of tests."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import timedelta

from dapr_workflow_sdk.client.state import read_state
from dapr_workflow_sdk.client.timeline import Entry, read_story
from dapr_workflow_sdk.client.wording import MARK, span, unmarked, value_of
from dapr_workflow_sdk.engine.state import InstanceRow, describe
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# A payload or a message that is longer is cut.
_LONGEST = 100
# Of a long story the beginning and the end are told.
_HEAD = 20
_TAIL = 40


def timeline(row: InstanceRow, history: Sequence[pb.HistoryEvent]) -> str:
    """What happened to an instance, one line for each thing."""
    state = read_state(describe(row, payloads=True))
    story = read_story(history)
    turns = f"{story.turns} turn{'' if story.turns == 1 else 's'}"
    status = "" if state.serialized_custom_status is None else f", custom status {state.serialized_custom_status!r}"
    lines = [f"{state.name} {state.instance_id}: {state.runtime_status.name} after {turns}{status}"]
    entries = story.entries
    cut = len(entries) - _HEAD - _TAIL
    for number, entry in enumerate(entries):
        if cut > 0 and _HEAD <= number < _HEAD + cut:
            if number == _HEAD:
                lines.append(f"  ... {cut} more ...")
            continue
        lines.append(f"  {_after(entry.at - story.begun):>12}  {_told(entry)}")
    return "\n".join(lines)


def _after(nanoseconds: int) -> str:
    length = timedelta(microseconds=nanoseconds // 1000)
    return "+0" if length < timedelta(milliseconds=1) else f"+{span(nanoseconds)}"


def _told(entry: Entry) -> str:
    text = entry.sentence
    if entry.failure is not None:
        return f"{text}  {_short(f'{entry.failure.error_type}: {entry.failure.message}')}"
    return f"{text}  {_short(_payload(entry.payload))}" if entry.payload else text


def _payload(text: str) -> str:
    return json.dumps(unmarked(value_of(text)), ensure_ascii=False) if MARK in text else text


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 3]}..."
