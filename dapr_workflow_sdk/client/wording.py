"""Times, payloads and failures in words, for people and for programs."""

from __future__ import annotations

import json
from typing import Any, TypeAlias

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.errors import FailureDetails

# How workers know objects from dictionaries in payload text.
MARK = "__durabletask_autoobject__"
_Json: TypeAlias = "dict[str, _Json] | list[_Json] | str | int | float | bool | None"


def span(nanos: int) -> str:
    """A length of time, as precise as it matters: ``8 ms``, ``1.24 s``, ``3 min 12 s``, ``2 d 4 h``."""
    if nanos < 0:
        return f"-{span(-nanos)}"
    milliseconds = round(nanos / 1_000_000)
    if milliseconds < 1000:
        return f"{milliseconds} ms"
    if milliseconds < 60_000:
        return f"{milliseconds / 1000:.2f} s" if milliseconds < 9_995 else f"{milliseconds / 1000:.1f} s"
    seconds = round(nanos / 1_000_000_000)
    for size, name, smaller, smaller_name in (
        (86400, "d", 3600, "h"),
        (3600, "h", 60, "min"),
        (60, "min", 1, "s"),
    ):
        if seconds >= size:
            rest = seconds % size // smaller
            return f"{seconds // size} {name}" + (f" {rest} {smaller_name}" if rest else "")
    return "1 min"


def iso(moment: Timestamp) -> str:
    """A moment for programs: UTC, in microseconds."""
    text: str = moment.ToJsonString()
    whole, _, fraction = text.removesuffix("Z").partition(".")
    return f"{whole}.{(fraction + '000000')[:6]}Z"


def value_of(text: str | None) -> Any:
    """What payload text says; text that is no JSON is its own value."""
    if text is None:
        return None
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def unmarked(value: _Json) -> _Json:
    """A value without the marks by which workers know objects from dictionaries; they tell a reader nothing."""
    if isinstance(value, dict):
        return {key: unmarked(inner) for key, inner in value.items() if key != MARK}
    if isinstance(value, list):
        return [unmarked(inner) for inner in value]
    return value


def failure_document(details: FailureDetails) -> dict[str, Any]:
    """A failure, and what caused it, for programs."""
    return {
        "type": details.error_type,
        "message": details.message,
        "stack_trace": details.stack_trace,
        "cause": None if details.cause is None else failure_document(details.cause),
    }
