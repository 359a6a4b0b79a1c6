"""A store in one SQLite file.

One connection writes, on the committer's thread: each group of changes is one transaction in WAL mode with
``synchronous=FULL``, so what a commit made durable survives a power cut. A second connection reads, on the engine's
loop. A lock file beside the database keeps a second engine away, which would not see what this one holds in memory.
"""

from __future__ import annotations

import dataclasses
import os
import sqlite3
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from google.protobuf.message import Message

from dapr_workflow_sdk.engine.state import Change, InstanceRow, InstanceState
from dapr_workflow_sdk.engine.transitions import restore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_VERSION = 1
_APPLICATION = 0x64776673  # How SQLite files say whose they are: "dwfs".
_SCHEMA = """
CREATE TABLE IF NOT EXISTS instances (
  instance_id TEXT PRIMARY KEY, name TEXT NOT NULL, execution_id TEXT NOT NULL, generation INTEGER NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, started INTEGER, completed INTEGER, scheduled INTEGER,
  ended INTEGER, suspended INTEGER NOT NULL, input TEXT, output TEXT, custom_status TEXT, failure BLOB, parent BLOB
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS history (
  instance_id TEXT NOT NULL, position INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance_id, position)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS inbox (
  instance_id TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance_id, number)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS tasks (
  instance_id TEXT NOT NULL, generation INTEGER NOT NULL, task_id INTEGER NOT NULL, request BLOB NOT NULL,
  PRIMARY KEY (instance_id, generation, task_id)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS timers (
  instance_id TEXT NOT NULL, timer_id INTEGER NOT NULL, fire_at INTEGER NOT NULL, PRIMARY KEY (instance_id, timer_id)
) WITHOUT ROWID;
"""
_FIELDS = tuple(field.name for field in dataclasses.fields(InstanceRow))
_COLUMNS = ", ".join(_FIELDS)
_PUT_INSTANCE = f"INSERT OR REPLACE INTO instances ({_COLUMNS}) VALUES ({', '.join('?' * len(_FIELDS))})"
_SYNCHRONOUS = frozenset({"FULL", "NORMAL", "EXTRA", "OFF"})


class SqliteStore:
    """Keeps instances in a SQLite file."""

    def __init__(self, path: str | Path, *, synchronous: str = "FULL") -> None:
        """Opens the file, and makes it if it is not there.

        Args:
            path: Where the file is.
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
            self._check_owner(self._writer)
            self._configure(self._writer, synchronous)
            self._make_tables()
            self._reader = self._connect(connections)
            self._configure(self._reader, synchronous)
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

    def _check_owner(self, connection: sqlite3.Connection) -> None:
        """Refuses files of other applications and versions before anything is written to them."""
        (owner,) = connection.execute("PRAGMA application_id").fetchone()
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        (tables,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        if tables and owner != _APPLICATION:
            raise RuntimeStateError(f"{self._name} is the database of something else. Use another file.")
        if version not in (0, _VERSION) or (tables and version == 0):
            raise RuntimeStateError(
                f"{self._name} was written by another version of this package (its layout is {version}, this one reads "
                f"{_VERSION}). Use the version that wrote it, or another file."
            )

    def _make_tables(self) -> None:
        # In one transaction: an engine that is killed on the way leaves a file without tables, not with some of them.
        write = self._writer
        write.execute("BEGIN IMMEDIATE")
        write.execute(f"PRAGMA application_id={_APPLICATION}")
        for statement in _SCHEMA.split(";"):
            write.execute(statement)
        write.execute(f"PRAGMA user_version={_VERSION}")
        write.execute("COMMIT")

    @staticmethod
    def _configure(connection: sqlite3.Connection, synchronous: str) -> None:
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA cache_size=-16000")

    @property
    def waits(self) -> bool:
        """A commit waits for the disk."""
        return True

    def commit(self, changes: Sequence[Change]) -> None:
        """Writes all changes in one transaction."""
        write = self._writer
        write.execute("BEGIN IMMEDIATE")
        try:
            for change in changes:
                self._apply(change)
            write.execute("COMMIT")
        except BaseException:
            # Some errors, a full disk among them, have ended the transaction already.
            if write.in_transaction:
                write.execute("ROLLBACK")
            raise

    def _apply(self, change: Change) -> None:
        write = self._writer
        name = change.instance_id
        if change.row is None or change.renewed:
            for table in ("history", "inbox", "timers"):
                write.execute(f"DELETE FROM {table} WHERE instance_id = ?", (name,))
        if change.row is None:
            for table in ("instances", "tasks"):
                write.execute(f"DELETE FROM {table} WHERE instance_id = ?", (name,))
            return
        write.execute(_PUT_INSTANCE, _to_columns(change.row))
        if change.history:
            write.executemany(
                "INSERT INTO history VALUES (?, ?, ?)",
                [(name, change.history_start + i, e.SerializeToString()) for i, e in enumerate(change.history)],
            )
        if change.inbox_removed:
            write.executemany(
                "DELETE FROM inbox WHERE instance_id = ? AND number = ?", [(name, n) for n in change.inbox_removed]
            )
        if change.inbox_added:
            write.executemany(
                "INSERT OR REPLACE INTO inbox VALUES (?, ?, ?)",
                [(name, number, event.SerializeToString()) for number, event in change.inbox_added],
            )
        if change.tasks_added:
            write.executemany(
                "INSERT OR REPLACE INTO tasks VALUES (?, ?, ?, ?)",
                [(name, key[0], key[1], request.SerializeToString()) for key, request in change.tasks_added],
            )
        if change.tasks_removed:
            write.executemany(
                "DELETE FROM tasks WHERE instance_id = ? AND generation = ? AND task_id = ?",
                [(name, key[0], key[1]) for key in change.tasks_removed],
            )
        if change.timers_added:
            write.executemany(
                "INSERT OR REPLACE INTO timers VALUES (?, ?, ?)",
                [(name, timer, fire_at) for timer, fire_at in change.timers_added],
            )
        if change.timers_removed:
            write.executemany(
                "DELETE FROM timers WHERE instance_id = ? AND timer_id = ?",
                [(name, timer) for timer in change.timers_removed],
            )

    def load(self, instance_id: str) -> InstanceState | None:
        """An instance with its history, inbox, activities and timers."""
        row = self.row(instance_id)
        if row is None:
            return None
        read = self._reader
        one = (instance_id,)
        history = read.execute("SELECT event FROM history WHERE instance_id = ? ORDER BY position", one)
        inbox = read.execute("SELECT number, event FROM inbox WHERE instance_id = ? ORDER BY number", one)
        tasks = read.execute(
            "SELECT generation, task_id, request FROM tasks WHERE instance_id = ? ORDER BY generation, task_id", one
        )
        timers = read.execute("SELECT timer_id, fire_at FROM timers WHERE instance_id = ?", one)
        return restore(
            row,
            [pb.HistoryEvent.FromString(event) for (event,) in history],
            [(number, pb.HistoryEvent.FromString(event)) for number, event in inbox],
            {(generation, task): pb.ActivityRequest.FromString(request) for generation, task, request in tasks},
            dict(timers),
        )

    def row(self, instance_id: str) -> InstanceRow | None:
        """The scalar part of an instance."""
        found = self._reader.execute(
            f"SELECT {_COLUMNS} FROM instances WHERE instance_id = ?", (instance_id,)
        ).fetchone()
        return None if found is None else _from_columns(found)

    def unfinished(self) -> list[str]:
        """Instances with something to do."""
        rows: Iterable[tuple[str]] = self._reader.execute(
            "SELECT instance_id FROM inbox UNION SELECT instance_id FROM tasks UNION SELECT instance_id FROM timers"
        )
        return [name for (name,) in rows]

    def close(self) -> None:
        """Closes the file and lets another engine have it."""
        self._let_go([self._reader, self._writer])


def _to_columns(row: InstanceRow) -> list[object]:
    values = [getattr(row, name) for name in _FIELDS]
    return [value.SerializeToString() if isinstance(value, Message) else value for value in values]


def _from_columns(columns: Sequence[Any]) -> InstanceRow:
    # The order of the columns is that of the fields.
    row: dict[str, Any] = dict(zip(_FIELDS, columns, strict=True))
    row["suspended"] = bool(row["suspended"])
    if row["failure"] is not None:
        row["failure"] = pb.TaskFailureDetails.FromString(row["failure"])
    if row["parent"] is not None:
        row["parent"] = pb.ParentInstanceInfo.FromString(row["parent"])
    return InstanceRow(**row)


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
