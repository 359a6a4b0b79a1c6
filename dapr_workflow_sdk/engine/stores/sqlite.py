"""A store in one SQLite file.

One connection writes: each group of changes is one transaction in WAL mode with ``synchronous=FULL``, so what a
commit made durable survives a power cut. Statements run on the engine's loop, the commit on the committer's thread. A
second connection reads, on the engine's loop. A lock file beside the database keeps a second engine away, which would
not see what this one holds in memory.
"""

from __future__ import annotations

import dataclasses
import operator
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from dapr_workflow_sdk.engine.state import Change, InstanceKey, InstanceRow, InstanceState
from dapr_workflow_sdk.engine.stores.base import MOST_DUE, Selection
from dapr_workflow_sdk.engine.stores.layout import APPLICATION, VERSION, lay_out
from dapr_workflow_sdk.engine.transitions import restore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_FIELDS = tuple(field.name for field in dataclasses.fields(InstanceRow))
_COLUMNS = ", ".join(_FIELDS)
_PUT_INSTANCE = f"INSERT OR REPLACE INTO instances ({_COLUMNS}) VALUES ({', '.join('?' * len(_FIELDS))})"
# What a turn may change; the rest, inputs among it, is written once.
_CHANGING = (
    "updated", "started", "completed", "ended", "suspended", "stalled", "stalled_because", "output", "custom_status",
    "failure",
)  # fmt: skip
_all_values = operator.attrgetter(*_FIELDS)
_changing_values = operator.attrgetter(*_CHANGING)
_UPDATE_INSTANCE = f"UPDATE instances SET {', '.join(f'{name} = ?' for name in _CHANGING)} WHERE number = ?"
# An instance is as its columns say; see `InstanceRow.status`.
_NOT_FINAL = {
    pb.WORKFLOW_STATUS_STALLED: "stalled IS NOT NULL",
    pb.WORKFLOW_STATUS_SUSPENDED: "stalled IS NULL AND suspended",
    pb.WORKFLOW_STATUS_PENDING: "stalled IS NULL AND NOT suspended AND started IS NULL",
    pb.WORKFLOW_STATUS_RUNNING: "stalled IS NULL AND NOT suspended AND started IS NOT NULL",
}
_SYNCHRONOUS = frozenset({"FULL", "NORMAL", "EXTRA", "OFF"})


class SqliteStore:
    """Keeps instances in a SQLite file."""

    def __init__(self, path: str | Path, *, synchronous: str = "FULL", app_id: str = "app") -> None:
        """Opens the file, and makes it if it is not there.

        Args:
            path: Where the file is.
            app_id: The app that instances belong to which were written before a file could hold several.
            synchronous: SQLite's setting of this name. FULL survives a power cut; NORMAL survives a crash of the
                process, and may lose the last commits when the machine loses power.

        Raises:
            RuntimeStateError: Another engine has the file open, or it is not a file of this engine.
        """
        if synchronous not in _SYNCHRONOUS:
            raise ValueError(f"synchronous must be one of {', '.join(sorted(_SYNCHRONOUS))}, not {synchronous!r}")
        # The lock must be the same whatever name the file is reached by.
        self._path = Path(path).resolve()
        self._name = str(path)
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock = _FileLock(self._path, self._name)
        except OSError as error:
            raise RuntimeStateError(f"Cannot open the engine's database {self._name}: {error}") from error
        connections: list[sqlite3.Connection] = []
        try:
            self._writer = self._connect(connections)
            version = self._check_owner(self._writer)
            self._configure(self._writer, synchronous)
            lay_out(self._writer, version, app_id)
            # What a killed engine wrote and did not sync yet is read from now on, so it must not get lost either.
            self._writer.execute("PRAGMA wal_checkpoint(FULL)")
            self._reader = self._connect(connections)
            self._configure(self._reader, synchronous)
            self._last_number = int(self._reader.execute("SELECT ifnull(max(number), 0) FROM instances").fetchone()[0])
        except sqlite3.Error as error:
            self._let_go(connections)
            raise RuntimeStateError(f"Cannot use {self._name} as the engine's database: {error}") from error
        except RuntimeStateError:
            self._let_go(connections)
            raise

    def _connect(self, opened: list[sqlite3.Connection]) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False, timeout=30)
        opened.append(connection)
        return connection

    def _let_go(self, connections: Sequence[sqlite3.Connection]) -> None:
        for connection in connections:
            connection.close()
        self._lock.release()

    def _check_owner(self, connection: sqlite3.Connection) -> int:
        """Refuses files of other applications and versions before anything is written to them."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and owner != APPLICATION:
            raise RuntimeStateError(f"{self._name} is the database of something else. Use another file.")
        if version > VERSION or (tables and version == 0):
            raise RuntimeStateError(
                f"{self._name} was written by a newer version of this package (its layout is {version}, this one reads "
                f"up to {VERSION}). Use that version, or another file."
            )
        return int(version)

    @staticmethod
    def _configure(connection: sqlite3.Connection, synchronous: str) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA cache_size=-16000")

    @property
    def waits(self) -> bool:
        """A commit waits for the disk."""
        return True

    def write(self, changes: Sequence[Change]) -> None:
        """Begins a transaction and writes all changes."""
        write = self._writer
        write.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._apply(change)
        except BaseException:
            self._take_back()
            raise

    def sync(self) -> None:
        """Commits the transaction, which waits for the disk."""
        try:
            self._writer.execute("COMMIT")
        except BaseException:
            self._take_back()
            raise

    def _take_back(self) -> None:
        # Some errors, a full disk among them, have ended the transaction already.
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _apply(self, change: Change) -> None:
        write = self._writer
        number = change.number
        if change.removed or change.renewed:
            for table in ("history", "inbox", "timers"):
                write.execute(f"DELETE FROM {table} WHERE instance = ?", (number,))
        if change.removed:
            write.execute("DELETE FROM tasks WHERE instance = ?", (number,))
            write.execute("DELETE FROM instances WHERE number = ?", (number,))
            return
        row = change.row
        if row is not None:
            if change.renewed:
                write.execute(_PUT_INSTANCE, _to_columns(row, _all_values))
            else:
                write.execute(_UPDATE_INSTANCE, [*_to_columns(row, _changing_values), number])
        if change.history:
            start = change.history_start
            write.executemany(
                "INSERT INTO history VALUES (?, ?, ?)",
                [(number, start + i, event.SerializeToString()) for i, event in enumerate(change.history)],
            )
        if change.inbox_removed:
            write.executemany(
                "DELETE FROM inbox WHERE instance = ? AND number = ?", [(number, n) for n in change.inbox_removed]
            )
        if change.inbox_added:
            write.executemany(
                "INSERT OR REPLACE INTO inbox VALUES (?, ?, ?)",
                [(number, n, event.SerializeToString()) for n, event in change.inbox_added],
            )
        if change.tasks_added:
            write.executemany(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?)",
                [(number, key[0], key[1], request.SerializeToString()) for key, request in change.tasks_added],
            )
        if change.tasks_removed:
            write.executemany(
                "DELETE FROM tasks WHERE instance = ? AND generation = ? AND task_id = ?",
                [(number, key[0], key[1]) for key in change.tasks_removed],
            )
        if change.timers_added:
            write.executemany(
                "INSERT OR REPLACE INTO timers VALUES (?, ?, ?)",
                [(number, timer, fire_at) for timer, fire_at in change.timers_added],
            )
        if change.timers_removed:
            write.executemany(
                "DELETE FROM timers WHERE instance = ? AND timer_id = ?",
                [(number, timer) for timer in change.timers_removed],
            )

    def new_number(self) -> int:
        """The next number; one that was not committed is lost."""
        self._last_number += 1
        return self._last_number

    def load(self, key: InstanceKey) -> InstanceState | None:
        """An instance with its history, inbox, activities and timers."""
        row = self.row(key)
        if row is None:
            return None
        read = self._reader
        one = (row.number,)
        history = read.execute("SELECT event FROM history WHERE instance = ? ORDER BY position", one)
        inbox = read.execute("SELECT number, event FROM inbox WHERE instance = ? ORDER BY number", one)
        tasks = read.execute(
            "SELECT generation, task_id, request FROM tasks WHERE instance = ? ORDER BY generation, task_id", one
        )
        timers = read.execute("SELECT timer_id, fire_at FROM timers WHERE instance = ?", one)
        return restore(
            row,
            [pb.HistoryEvent.FromString(event) for (event,) in history],
            [(number, pb.HistoryEvent.FromString(event)) for number, event in inbox],
            {(generation, task): pb.ActivityRequest.FromString(request) for generation, task, request in tasks},
            dict(timers),
        )

    def row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part of an instance."""
        found = self._reader.execute(
            f"SELECT {_COLUMNS} FROM instances WHERE app_id = ? AND instance_id = ?", key
        ).fetchone()
        return None if found is None else _from_columns(found)

    def select(self, selection: Selection) -> list[InstanceRow]:
        """Rows that fit."""
        where = ["app_id = ?"]
        values: list[str | int] = [selection.app_id]
        for condition, value in (
            ("name = ?", selection.name or None),
            ("substr(instance_id, 1, length(?)) = ?", selection.prefix or None),
            ("created >= ?", selection.created_from),
            ("created <= ?", selection.created_to),
            ("completed <= ?", selection.completed_to),
            ("number < ?" if selection.newest_first else "number > ?", selection.after or None),
        ):
            if value is not None:
                where.append(condition)
                values += [value] * condition.count("?")
        if selection.statuses:
            final = sorted(status for status in selection.statuses if status not in _NOT_FINAL)
            either = [f"(ended IS NULL AND {_NOT_FINAL[status]})" for status in selection.statuses & _NOT_FINAL.keys()]
            if final:
                either.append(f"ended IN ({', '.join('?' * len(final))})")
                values += final
            where.append(f"({' OR '.join(either)})")
        order = "DESC" if selection.newest_first else "ASC"
        rows = self._reader.execute(
            f"SELECT {_COLUMNS} FROM instances WHERE {' AND '.join(where)} ORDER BY number {order} LIMIT ?",
            [*values, selection.limit],
        )
        return [_from_columns(row) for row in rows]

    def ready(self, now: int) -> list[InstanceKey]:
        """Instances with something to do."""
        return self._reader.execute(
            "SELECT app_id, instance_id FROM instances WHERE number IN (SELECT instance FROM tasks) OR (number IN "
            "(SELECT instance FROM inbox) AND (started IS NOT NULL OR scheduled IS NULL OR scheduled <= ?))",
            (now,),
        ).fetchall()

    def due(self, now: int) -> list[InstanceKey]:
        """Instances whose timers should have fired."""
        return self._reader.execute(
            "SELECT app_id, instance_id FROM (SELECT instance, min(fire_at) AS first FROM timers WHERE fire_at <= ? "
            f"GROUP BY instance ORDER BY first LIMIT {MOST_DUE}) JOIN instances ON number = instance ORDER BY first",
            (now,),
        ).fetchall()

    def next_due(self, now: int) -> int | None:
        """When the first timer after now fires."""
        (first,) = self._reader.execute("SELECT min(fire_at) FROM timers WHERE fire_at > ?", (now,)).fetchone()
        return None if first is None else int(first)

    def apps(self) -> list[str]:
        """Apps that have instances."""
        return [app_id for (app_id,) in self._reader.execute("SELECT DISTINCT app_id FROM instances ORDER BY app_id")]

    def size(self) -> int:
        """Bytes of the file and its log."""
        sizes = (path.stat().st_size for path in (self._path, Path(f"{self._path}-wal")) if path.exists())
        return sum(sizes)

    def close(self) -> None:
        """Closes the file and lets another engine have it."""
        self._let_go([self._reader, self._writer])


def _to_columns(row: InstanceRow, names: Callable[[InstanceRow], Sequence[Any]]) -> list[Any]:
    return [value.SerializeToString() if isinstance(value, Message) else value for value in names(row)]


def _from_columns(columns: Sequence[Any]) -> InstanceRow:
    # The order of the columns is that of the fields.
    row: dict[str, Any] = dict(zip(_FIELDS, columns, strict=True))
    row["suspended"] = bool(row["suspended"])
    for name, message in _MESSAGES.items():
        if row[name] is not None:
            row[name] = message.FromString(row[name])
    return InstanceRow(**row)


_MESSAGES: dict[str, type[Message]] = {
    "failure": pb.TaskFailureDetails,
    "parent": pb.ParentInstanceInfo,
    "propagated": pb.PropagatedHistory,
}


class _FileLock:
    """Held as long as the process lives; the kernel lets go of it when the process dies, however it dies."""

    def __init__(self, database: Path, name: str) -> None:
        self._descriptor = os.open(f"{database}-lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            import fcntl
        except ImportError:  # No such locks on this platform.
            return
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            owner = os.read(self._descriptor, 100).decode(errors="replace").strip()
            os.close(self._descriptor)
            raise RuntimeStateError(
                f"{name} is in use by another engine{f' (process {owner})' if owner else ''}. One engine owns a "
                "file: connect to that one over gRPC, stop it, or use another file."
            ) from None
        os.ftruncate(self._descriptor, 0)
        os.write(self._descriptor, str(os.getpid()).encode())

    def release(self) -> None:
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
