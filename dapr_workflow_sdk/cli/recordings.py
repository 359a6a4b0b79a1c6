"""The command that exports histories, for tests that replay them and for whoever asks what happened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dapr_workflow_sdk.cli.arguments import Name, OlderThan, Prefix, Statuses, YoungerThan
from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.cli.finding import find_all, make_filter
from dapr_workflow_sdk.cli.instances import read_events, read_state_of
from dapr_workflow_sdk.cli.progress import progress
from dapr_workflow_sdk.cli.rendering import clean
from dapr_workflow_sdk.cli.session import Session, hub_command
from dapr_workflow_sdk.client.recording import recording_of, write_recording


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
                path = write_recording(folder, document)
                if session.json:
                    session.line({"id": document["instance_id"], "file": str(path), "events": len(document["events"])})
            show(count)
    if folder is not None and not session.json:
        session.say(f"Exported {count} histor{'y' if count == 1 else 'ies'} to {clean(str(folder))}{os.sep}")


def _recordings(session: Session, ids: list[str]) -> Iterator[dict[str, Any]]:
    for instance_id in ids:
        state = read_state_of(session, instance_id)
        yield recording_of(state, read_events(session, instance_id))
