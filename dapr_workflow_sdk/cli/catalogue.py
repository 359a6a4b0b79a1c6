"""The commands that look after instances, and where they stand in the help."""

from __future__ import annotations

import typer

from dapr_workflow_sdk.cli import check, databases, instances, operations, purging, recordings, replaying, watching

_LOOK = "Look"
_ACT = "Act"
_FILE = "The engine's file"
_CODE = "The program's code"


def add_commands(app: typer.Typer) -> None:
    """Adds them to the command."""
    for name, function, panel in (
        ("list", instances.list_instances, _LOOK),
        ("show", instances.show, _LOOK),
        ("history", instances.history, _LOOK),
        ("watch", watching.watch, _LOOK),
        ("workers", instances.workers, _LOOK),
        ("export", recordings.export, _LOOK),
        ("replay", replaying.replay, _CODE),
        ("diff", replaying.diff, _CODE),
        ("start", operations.start, _ACT),
        ("wait", operations.wait, _ACT),
        ("raise", operations.raise_event, _ACT),
        ("pause", operations.pause, _ACT),
        ("resume", operations.resume, _ACT),
        ("terminate", operations.terminate, _ACT),
        ("rerun", operations.rerun, _ACT),
        ("purge", purging.purge, _ACT),
        ("check", check.check, _CODE),
        ("backup", databases.backup, _FILE),
        ("size", databases.size, _FILE),
        ("vacuum", databases.vacuum, _FILE),
    ):
        app.command(name, rich_help_panel=panel)(function)
