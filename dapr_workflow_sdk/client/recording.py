"""Histories as documents, and documents in files: what ``dapr-workflow export`` writes and replay tests read."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from google.protobuf.json_format import MessageToDict

from dapr_workflow_sdk.client.state import read_state
from dapr_workflow_sdk.client.timeline import read_story
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

FORMAT = "dapr-workflow-history"
VERSION = 1
# File systems take names of 255 bytes; the end of the name needs some of them.
_LONGEST = 200


def recording_of(state: pb.WorkflowState, events: Sequence[pb.HistoryEvent]) -> dict[str, Any]:
    """A history as a document: its events in the JSON form that protobuf gives them."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "instance_id": state.instanceId,
        "name": state.name or read_story(events).name,
        "status": read_state(state).runtime_status.name,
        "input": state.input.value if state.HasField("input") else None,
        "output": state.output.value if state.HasField("output") else None,
        "events": [MessageToDict(event) for event in events],
    }


def file_name(instance_id: str) -> str:
    """A name that every file system takes, and no two instances share."""
    safe = quote(instance_id, safe="")
    if len(safe) > _LONGEST:
        safe = f"{safe[:_LONGEST]}-{hashlib.sha256(instance_id.encode()).hexdigest()[:16]}"
    return f"{safe}.history.json"


def write_recording(folder: Path, document: dict[str, Any]) -> Path:
    """Writes a document into a folder, which is made if need be, under the name of its instance."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(document["instance_id"])
    # Whoever reads the folder sees whole files only.
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(_encoded(document) + "\n", encoding="utf-8")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path


def _encoded(document: dict[str, Any]) -> str:
    text = json.dumps(document, ensure_ascii=False, indent=1)
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        # A payload may have halves of characters, which JSON can write and no encoding can.
        return json.dumps(document, indent=1)
    return text
