"""The command that exports histories, for tests that replay them and for whoever asks what happened."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer
from google.protobuf.json_format import MessageToDict

from dapr_workflow_sdk.cli.arguments import Name, OlderThan, Prefix, Statuses, YoungerThan
from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.cli.finding import find_all, make_filter
from dapr_workflow_sdk.cli.instances import read_events, read_state_of
from dapr_workflow_sdk.cli.progress import progress
from dapr_workflow_sdk.cli.rendering import clean, status_of
from dapr_workflow_sdk.cli.session import Session, encoded, hub_command
from dapr_workflow_sdk.client.timeline import read_story
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

FORMAT = "dapr-workflow-history"
VERSION = 1
# File systems take names of 255 bytes; the end of the name needs some of them.
_LONGEST = 200


def recording_of(state: pb.WorkflowState, events: list[pb.HistoryEvent]) -> dict[str, Any]:
    """A history as a document: its events in the JSON form that protobuf gives them."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "instance_id": state.instanceId,
        "name": state.name or read_story(events).name,
        "status": status_of(state).name,
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


@hub_command
def export(
    session: Session,
    ids: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ID...]", help="Ids of instances; without any, all of them.", show_default=False),
    ] = None,
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Folder for the files; - for standard output.")
    ] = ("histories"),
    status: Statuses = None,
    name: Name = None,
    prefix: Prefix = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
) -> None:
    """Write histories to files, one JSON document each; to standard output, one line each."""
    wanted = make_filter(status, name, prefix, older_than, younger_than)
    if ids and wanted != make_filter(None, None, None, None, None):
        raise CommandError("Give ids or filters, not both.")
    if not ids:
        ids = [state.instanceId for state in find_all(session, wanted, payloads=False)]
    folder = None if out == "-" else Path(out)
    count = 0
    with progress(session, "Exporting", len(ids)) as show:
        for document in _recordings(session, list(dict.fromkeys(ids))):
            count += 1
            if folder is None:
                session.line(document)
            else:
                path = _write(folder, document)
                if session.json:
                    session.line({"id": document["instance_id"], "file": str(path), "events": len(document["events"])})
            show(count)
    if folder is not None and not session.json:
        session.say(f"Exported {count} histor{'y' if count == 1 else 'ies'} to {clean(str(folder))}{os.sep}")


def _recordings(session: Session, ids: list[str]) -> Iterator[dict[str, Any]]:
    for instance_id in ids:
        state = read_state_of(session, instance_id)
        yield recording_of(state, read_events(session, instance_id))


def _write(folder: Path, document: dict[str, Any]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / file_name(document["instance_id"])
    # Whoever reads the folder sees whole files only.
    part = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        part.write_text(encoded(document, indent=1) + "\n", encoding="utf-8")
        part.replace(path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise
    return path
