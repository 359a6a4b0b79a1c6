"""Commands that work on an engine's SQLite file itself: backup, vacuum, size."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from dapr_workflow_sdk.cli.files import CommandError, existing_file, open_file
from dapr_workflow_sdk.cli.progress import progress
from dapr_workflow_sdk.cli.rendering import plain_table
from dapr_workflow_sdk.cli.session import Session, file_command
from dapr_workflow_sdk.cli.target import way_out
from dapr_workflow_sdk.client.state import read_state
from dapr_workflow_sdk.client.wording import span
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# Pages that are copied between two looks at the progress: 4 MiB.
_PAGES = 1024
_Db = Annotated[Path, typer.Option("--db", metavar="FILE", help="The engine's file.", show_default=False)]


@file_command
def backup(
    session: Session,
    destination: Annotated[Path, typer.Argument(metavar="DEST", help="The file to write.", show_default=False)],
    db: _Db,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it is there.")] = False,
) -> None:
    """Copy an engine's file as it is at this moment; the engine may go on working."""
    if destination.is_dir():
        raise CommandError(f"{destination} is a directory; name the file to write.")
    if destination.exists() and not overwrite:
        raise CommandError(f"{destination} is there already; choose another name, or say --overwrite.")
    if destination.exists() and destination.samefile(existing_file(db)):
        raise CommandError("A file cannot be its own backup.")
    began = time.monotonic_ns()
    part = destination.with_name(f".{destination.name}.{os.getpid()}.part")
    try:
        with open_file(db) as source:
            destination.parent.mkdir(parents=True, exist_ok=True)
            _copy(session, source, part)
            (instances,) = source.execute("SELECT count(*) FROM instances").fetchone()
            source.execute("COMMIT")
        with part.open("rb+") as written:
            os.fsync(written.fileno())
        part.replace(destination)
    finally:
        part.unlink(missing_ok=True)
    size = destination.stat().st_size
    if session.json:
        session.document({"file": str(destination), "bytes": size, "instances": instances})
    else:
        took = span(time.monotonic_ns() - began)
        session.say(f"{destination}: {instances} instances, {_bytes(size)}, in {took}")


def _copy(session: Session, source: sqlite3.Connection, part: Path) -> None:
    # A transaction that has read holds on to one state of the file; without it the copy would begin anew
    # whenever the engine writes, and might never end.
    source.execute("BEGIN")
    (pages,) = source.execute("PRAGMA page_count").fetchone()
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()
    target = sqlite3.connect(part)
    with contextlib.closing(target), progress(session, "Copying pages", pages) as show:
        source.backup(target, pages=_PAGES, progress=lambda _, left, total: show(total - left))
        # The copy is one file, without the two beside it that a running engine has; an engine makes them again.
        target.execute("PRAGMA journal_mode=DELETE")
        (verdict,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise CommandError(f"The copy is damaged, and so is the original, most likely: {verdict}.")


@file_command
def vacuum(session: Session, db: _Db) -> None:
    """Give the space of purged instances back to the system; no engine may have the file open."""
    from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore

    with open_file(db):
        pass
    try:
        # Opened as an engine would, which keeps engines away.
        store = SqliteStore(db)
    except RuntimeStateError as error:
        message = way_out(db, str(error)).split(". ", 1)[0]
        raise CommandError(f"{message}. Only a file without an engine can be vacuumed: stop it first.") from error
    with contextlib.closing(store):
        before = _on_disk(db)
        connection = sqlite3.connect(db, isolation_level=None, timeout=10)
        with contextlib.closing(connection), session.err.status(f"Vacuuming {_bytes(before)}"):
            connection.execute("VACUUM")
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    after = _on_disk(db)
    if session.json:
        session.document({"file": str(db), "bytes_before": before, "bytes": after})
    else:
        session.say(f"{db}: {_bytes(before)} before, {_bytes(after)} now")


@file_command
def size(session: Session, db: _Db) -> None:
    """Tell what is in an engine's file and what takes its space; the engine may go on working."""
    with open_file(db) as connection:
        connection.execute("BEGIN")
        tables = _tables(connection)
        statuses = _statuses(connection)
        (free,) = connection.execute(
            "SELECT freelist_count * page_size FROM pragma_freelist_count, pragma_page_size"
        ).fetchone()
    total = _on_disk(db)
    log = total - db.stat().st_size
    if session.json:
        session.document(
            {
                "file": str(db),
                "bytes": total,
                "log_bytes": log,
                "free_bytes": free,
                "instances": statuses,
                "tables": tables,
            }
        )
        return
    parts = [f"{_bytes(log)} of it in the log beside it"] if log else []
    parts += [f"{_bytes(free)} free"] if free else []
    session.say(f"{db}: {', '.join([_bytes(total), *parts])}")
    session.say("")
    rows = [[name, f"{row['rows']:,}", _bytes(row["bytes"])] for name, row in tables.items()]
    session.show(plain_table(("TABLE", "ROWS", "BYTES"), rows, session.out.width, right=("ROWS", "BYTES")))
    session.say("")
    columns = ("INSTANCES", "COUNT", "EVENTS", "HISTORY")
    rows = [
        [name, f"{row['count']:,}", f"{row['events']:,}", _bytes(row["history_bytes"])]
        for name, row in statuses.items()
    ]
    session.show(plain_table(columns, rows, session.out.width, right=columns[1:]))
    if free > total // 2 and free > 1_000_000:
        session.note("Much of it is free: dapr-workflow vacuum gives that back to the system.")


def _tables(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    names = [
        name
        for (name,) in connection.execute(
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name"
        )
    ]
    try:
        sizes = dict(
            connection.execute(
                "SELECT m.tbl_name, sum(d.pgsize) FROM dbstat d JOIN sqlite_master m ON m.name = d.name GROUP BY 1"
            )
        )
    except sqlite3.OperationalError:
        # This SQLite cannot tell pages; the length of what is stored comes close.
        sizes = {name: _length(connection, name) for name in names}
    return {
        name: {
            "rows": connection.execute(f'SELECT count(*) FROM "{name}"').fetchone()[0],
            "bytes": int(sizes.get(name) or 0),
        }
        for name in names
    }


def _length(connection: sqlite3.Connection, table: str) -> int:
    columns = [row[1] for row in connection.execute(f'PRAGMA table_info("{table}")')]
    lengths = " + ".join(f'ifnull(length(CAST("{column}" AS BLOB)), 0)' for column in columns)
    total: int | None = connection.execute(f'SELECT sum({lengths}) FROM "{table}"').fetchone()[0]
    return total or 0


def _statuses(connection: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """How many instances there are of each status, and how long their histories are."""
    found: dict[str, dict[str, int]] = {}
    columns = {row[1] for row in connection.execute("PRAGMA table_info(instances)")}
    # Files of the first layout name instances by their ids, and know neither numbers nor stalled instances.
    key, number = ("instance", "i.number") if "number" in columns else ("instance_id", "i.instance_id")
    stalled = "i.stalled IS NOT NULL" if "stalled" in columns else "0"
    rows: list[tuple[Any, ...]] = connection.execute(
        f"SELECT i.ended, {stalled}, i.suspended, i.started IS NULL, count(*), sum(h.events), sum(h.bytes) "
        f"FROM instances i LEFT JOIN (SELECT {key} AS of, count(*) AS events, sum(length(event)) AS bytes "
        f"FROM history GROUP BY 1) h ON h.of = {number} GROUP BY 1, 2, 3, 4"
    ).fetchall()
    for ended, is_stalled, suspended, pending, count, events, length in rows:
        if ended is not None:
            name = read_state(pb.WorkflowState(workflowStatus=ended)).runtime_status.name
        elif is_stalled:
            name = "STALLED"
        else:
            name = "SUSPENDED" if suspended else "PENDING" if pending else "RUNNING"
        row = found.setdefault(name, {"count": 0, "events": 0, "history_bytes": 0})
        row["count"] += count
        row["events"] += events or 0
        row["history_bytes"] += length or 0
    return dict(sorted(found.items()))


def _on_disk(path: Path) -> int:
    """Bytes of the file and of the log beside it."""
    log = path.with_name(f"{path.name}-wal")
    return path.stat().st_size + (log.stat().st_size if log.exists() else 0)


def _bytes(count: int) -> str:
    value = float(count)
    for unit in ("B", "kB", "MB", "GB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" or value >= 100 else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} TB"
