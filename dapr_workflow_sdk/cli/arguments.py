"""What people write on the command line, and what it means: ages, moments, payloads, statuses."""

from __future__ import annotations

import json
import re
import sys
from datetime import datetime, timedelta, timezone
from enum import Enum
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_UNITS = {"ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400, "w": 604800}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|min|m|h|d|w)", re.IGNORECASE)


class Status(str, Enum):
    """The statuses of instances, as options take them."""

    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    TERMINATED = "TERMINATED"
    PENDING = "PENDING"
    SUSPENDED = "SUSPENDED"
    STALLED = "STALLED"


FINISHED = (Status.COMPLETED, Status.FAILED, Status.TERMINATED)
# Two of the wire's statuses are told to users by the names of others.
_WIRE = {
    Status.RUNNING: (pb.WORKFLOW_STATUS_RUNNING, pb.WORKFLOW_STATUS_CONTINUED_AS_NEW),
    Status.COMPLETED: (pb.WORKFLOW_STATUS_COMPLETED,),
    Status.FAILED: (pb.WORKFLOW_STATUS_FAILED,),
    Status.TERMINATED: (pb.WORKFLOW_STATUS_TERMINATED, pb.WORKFLOW_STATUS_CANCELED),
    Status.PENDING: (pb.WORKFLOW_STATUS_PENDING,),
    Status.SUSPENDED: (pb.WORKFLOW_STATUS_SUSPENDED,),
    Status.STALLED: (pb.WORKFLOW_STATUS_STALLED,),
}


def wire_statuses(statuses: list[Status] | tuple[Status, ...]) -> list[pb.WorkflowStatus]:
    """The statuses as the wire has them."""
    return [wire for status in statuses for wire in _WIRE[status]]


def parse_age(text: str) -> timedelta:
    """A length of time: ``90s``, ``15m``, ``2h30m``, ``7d``, ``1w``; a bare number means seconds.

    Raises:
        CommandError: It is none.
    """
    try:
        return timedelta(seconds=float(text))
    except (ValueError, OverflowError):
        pass
    position, seconds = 0, 0.0
    while (part := _PART.match(text, position)) is not None:
        seconds += float(part[1]) * _UNITS[part[2].lower()]
        position = part.end()
    if not position or text[position:].strip():
        raise CommandError(f"{text!r} is no length of time. Write 90s, 15m, 2h30m, 7d or 1w.")
    try:
        return timedelta(seconds=seconds)
    except OverflowError:
        raise CommandError(f"{text!r} is too long a time.") from None


def parse_moment(text: str) -> datetime:
    """A moment: ``+10m`` from now, or a date and time; without an offset it is local.

    Raises:
        CommandError: It is none.
    """
    if text.startswith("+"):
        return datetime.now(timezone.utc) + parse_age(text[1:])
    try:
        # Pythons before 3.11 do not know the letter that stands for UTC.
        moment = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
        return moment.astimezone()
    except (ValueError, OverflowError):
        raise CommandError(f"{text!r} is no time. Write 2026-11-21T18:00, 2026-11-21T18:00+01:00 or +10m.") from None


def read_payload(text: str | None, option: str) -> str | None:
    """Payload text from an option: JSON itself, ``@FILE`` with JSON in it, or ``-`` for standard input.

    Raises:
        CommandError: It is not JSON, or cannot be read.
    """
    if text is None:
        return None
    source, content = option, text
    try:
        if text == "-":
            source, content = "the standard input", sys.stdin.read()
        elif text.startswith("@"):
            source = text[1:]
            content = Path(source).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CommandError(f"{option} cannot be read from {source}: {error}.") from error
    try:
        json.loads(content, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        hint = (
            f" A text needs quotes of its own: {option} '\"{content}\"'." if re.fullmatch(r"[\w .-]+", content) else ""
        )
        raise CommandError(f"What {source} gives is not JSON: {error}.{hint}") from error
    return content.strip()


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")


def check_page_size(limit: int) -> int:
    """A limit that makes sense.

    Raises:
        CommandError: It does not.
    """
    if limit < 1:
        raise CommandError("--limit must be at least 1.")
    return limit


_FILTER = "Filters"
InstanceId = Annotated[str, typer.Argument(metavar="ID", help="Id of the instance.", show_default=False)]
InstanceIds = Annotated[list[str], typer.Argument(metavar="ID...", help="Ids of instances.", show_default=False)]
Statuses = Annotated[
    list[Status] | None,
    typer.Option(
        "--status",
        case_sensitive=False,
        metavar="STATUS",
        help="Only with this status: running, completed, failed, terminated, pending, suspended or stalled. May be "
        "given several times.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
Name = Annotated[
    str | None, typer.Option("--name", help="Only of this workflow.", rich_help_panel=_FILTER, show_default=False)
]
Prefix = Annotated[
    str | None,
    typer.Option("--prefix", help="Only with an id that begins so.", rich_help_panel=_FILTER, show_default=False),
]
OlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Only created longer ago: 90s, 15m, 2h30m, 7d.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
EndedOlderThan = Annotated[
    str | None,
    typer.Option(
        "--older-than",
        metavar="AGE",
        help="Only ended longer ago: 90s, 15m, 2h30m, 7d.",
        rich_help_panel=_FILTER,
        show_default=False,
    ),
]
EndedYoungerThan = Annotated[
    str | None,
    typer.Option(
        "--younger-than", metavar="AGE", help="Only ended since then.", rich_help_panel=_FILTER, show_default=False
    ),
]
YoungerThan = Annotated[
    str | None,
    typer.Option(
        "--younger-than", metavar="AGE", help="Only created since then.", rich_help_panel=_FILTER, show_default=False
    ),
]
