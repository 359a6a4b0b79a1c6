"""Histories in files: what ``dapr-workflow export`` writes, recordings with wire events, and plain wire bytes."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, cast

from google.protobuf.json_format import ParseError
from google.protobuf.message import DecodeError

from dapr_workflow_sdk.client.history import WorkflowHistoryEvent, read_event
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.documents import read_event_document

_FORMAT = "dapr-workflow-history"
_VERSION = 1
# How file names of histories end, in folders.
SUFFIXES = (".history.json", ".history.jsonl", ".history.binpb")
_HOW = "Write histories with `dapr-workflow export`."


class HistoryFileError(WorkflowError, ValueError):
    """A file is not a history; the message says what it is instead."""


@dataclass(frozen=True)
class WorkflowHistory:
    """The history of one execution of an instance.

    Attributes:
        instance_id: Id of the instance.
        name: Name of the workflow.
        output: Payload text of the result that was recorded, or None.
        origin: Where the history comes from, for messages: a file, or "a client".
    """

    instance_id: str
    name: str
    output: str | None = None
    origin: str = ""
    _wire: tuple[pb.HistoryEvent, ...] = field(default=(), repr=False)

    @cached_property
    def events(self) -> tuple[WorkflowHistoryEvent, ...]:
        """Its events."""
        return tuple(map(read_event, self._wire))

    def __len__(self) -> int:
        """How many events it has."""
        return len(self._wire)


def load_history(path: str | Path) -> WorkflowHistory:
    """Reads the one history of a file.

    Args:
        path: A file of ``dapr-workflow export``, a recording with `events_wire`, or the bytes of the answer to
            ``GetInstanceHistory``.

    Raises:
        HistoryFileError: The file is something else, or has several histories.
        OSError: It cannot be read.
    """
    found = load_histories(path)
    if len(found) != 1:
        raise HistoryFileError(f"{path} has {len(found)} histories where one is expected. Use load_histories().")
    return found[0]


def load_histories(path: str | Path) -> list[WorkflowHistory]:
    """Reads all histories of a file, or of the files ``*.history.json`` and the like below a folder, in their order.

    Raises:
        HistoryFileError: A file is not a history, or the folder has none.
        OSError: A file cannot be read.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.name.endswith(SUFFIXES) and file.is_file())
        if not files:
            raise HistoryFileError(f"No file below {path} is named *{', *'.join(SUFFIXES)}. {_HOW}")
        return [history for file in files for history in load_histories(file)]
    data = path.read_bytes()
    origin = str(path)
    if not data.strip():
        raise HistoryFileError(f"{origin} is empty. {_HOW}")
    if data.lstrip()[:1] in (b"{", b"["):
        return [read_document(document, origin) for document in _documents(data, origin)]
    return [_read_wire(data, origin)]


def history_of(given: Any) -> WorkflowHistory:
    """A history in any of its forms.

    Args:
        given: A `WorkflowHistory`, the path of a file, the events that a client's ``get_workflow_history`` returns, or
            the document of an export.

    Raises:
        HistoryFileError: It is no history.
    """
    if isinstance(given, WorkflowHistory):
        return given
    if isinstance(given, str | Path):
        return load_history(given)
    if isinstance(given, Mapping):
        return read_document(cast("Mapping[str, Any]", given), "the document")
    if isinstance(given, Sequence):
        return _of_events(_wire_events(cast("Any", given)), "the events")
    raise HistoryFileError(f"A {type(given).__name__} is no history: give events, a file or the document of an export.")


def _wire_events(given: Iterable[Any]) -> list[pb.HistoryEvent]:
    events: list[pb.HistoryEvent] = []
    for event in given:
        wire = event._wire if isinstance(event, WorkflowHistoryEvent) else event
        if not isinstance(wire, pb.HistoryEvent):
            raise HistoryFileError(f"A {type(event).__name__} is no event of a history that can be replayed.")
        events.append(wire)
    return events


def _documents(data: bytes, origin: str) -> list[Any]:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise HistoryFileError(f"{origin} is neither text nor a history on the wire: {error}. {_HOW}") from error
    try:
        return [json.loads(text)]
    except json.JSONDecodeError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            if len(lines) > 1:
                return [json.loads(line) for line in lines]
        except json.JSONDecodeError:
            pass
        raise HistoryFileError(f"{origin} is not JSON: {error}. {_HOW}") from error


def read_document(document: Any, origin: str) -> WorkflowHistory:
    """The history in a JSON document.

    Args:
        document: The document: an object with `events` or `events_wire`, or a list of events.
        origin: Where it comes from, for messages.

    Raises:
        HistoryFileError: It is something else.
    """
    if isinstance(document, list):
        return _of_events(_json_events(cast("Any", document), origin), origin)
    if not isinstance(document, Mapping):
        raise HistoryFileError(f"{origin} is JSON, but no history. {_HOW}")
    content = cast("Mapping[str, Any]", document)
    if "entries" in content and "turns" in content:
        raise HistoryFileError(
            f"{origin} is what `dapr-workflow history --json` shows, which leaves out what replaying needs. {_HOW}"
        )
    version = content.get("version", _VERSION)
    if content.get("format", _FORMAT) != _FORMAT or not isinstance(version, int) or version > _VERSION:
        raise HistoryFileError(
            f"{origin} has format {content.get('format')!r}, version {version!r}; this package reads {_FORMAT!r}, "
            f"version {_VERSION}."
        )
    listed = content.get("events_wire", content.get("events"))
    if not isinstance(listed, list):
        raise HistoryFileError(f"{origin} has no list of events. {_HOW}")
    output = content.get("output")
    return _of_events(
        _json_events(cast("Any", listed), origin),
        origin,
        instance_id=str(content.get("instance_id") or ""),
        output=output if isinstance(output, str) else None,
    )


def _json_events(listed: list[Any], origin: str) -> list[pb.HistoryEvent]:
    events: list[pb.HistoryEvent] = []
    for number, item in enumerate(listed, 1):
        try:
            if isinstance(item, str):
                events.append(pb.HistoryEvent.FromString(base64.b64decode(item, validate=True)))
            elif isinstance(item, dict):
                events.append(read_event_document(cast("dict[str, Any]", item)))
            else:
                raise HistoryFileError(f"Event {number} of {origin} is neither an object nor bytes in base64.")
        except (ParseError, DecodeError, binascii.Error) as error:
            raise HistoryFileError(f"Event {number} of {origin} cannot be read: {error}") from error
    return events


def _read_wire(data: bytes, origin: str) -> WorkflowHistory:
    try:
        events = list(pb.GetInstanceHistoryResponse.FromString(data).events)
    except DecodeError as error:
        raise HistoryFileError(f"{origin} is neither JSON nor a history on the wire: {error}. {_HOW}") from error
    return _of_events(events, origin)


def _of_events(
    events: list[pb.HistoryEvent], origin: str, *, instance_id: str = "", output: str | None = None
) -> WorkflowHistory:
    started = next((event.executionStarted for event in events if event.HasField("executionStarted")), None)
    if started is None:
        raise HistoryFileError(f"{origin} has {len(events)} events, and none of them starts a workflow. {_HOW}")
    instance_id = instance_id or started.workflowInstance.instanceId
    return WorkflowHistory(instance_id, started.name, output, origin, tuple(events))
