"""Everything that is stored in an engine's SQLite file: the one module of the tests that knows its tables."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dapr_workflow_sdk.engine.state import START_TIMER
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_PARTS = ("history", "inbox", "tasks", "timers")


@dataclass
class StoredInstance:
    """Everything the file has of one instance."""

    row: dict[str, Any]
    positions: list[int] = field(default_factory=list)
    history: list[bytes] = field(default_factory=list)
    inbox: list[bytes] = field(default_factory=list)
    tasks: list[tuple[int, int]] = field(default_factory=list)
    timers: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        history, inbox = [kind_of(event) for event in self.events()], [kind_of(event) for event in self.waiting()]
        return f"{history}, inbox {inbox}, activities {self.tasks}, timers {self.timers}"

    @property
    def ended(self) -> bool:
        """Whether it has completed, failed or been terminated."""
        return self.row["ended"] is not None

    @property
    def call_timers(self) -> list[int]:
        """Its timers without the one of a start at a later time."""
        return [timer for timer in self.timers if timer != START_TIMER]

    def events(self) -> list[pb.HistoryEvent]:
        """Its history."""
        return [pb.HistoryEvent.FromString(event) for event in self.history]

    def waiting(self) -> list[pb.HistoryEvent]:
        """Its inbox."""
        return [pb.HistoryEvent.FromString(event) for event in self.inbox]


Stored = Mapping[str, StoredInstance]


def take_copy(database: Path, copy: Path) -> None:
    """Copies a file that no process has open, in the place of an earlier copy."""
    for suffix in ("", "-wal"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        if Path(f"{database}{suffix}").exists():
            shutil.copyfile(f"{database}{suffix}", f"{copy}{suffix}")


def read_file(copy: Path) -> dict[str, StoredInstance]:
    """Everything in a file that no engine has open.

    Reading recovers the file from its log, as an engine would, so this is given a copy.

    Raises:
        AssertionError: The file is damaged, or has rows that belong to no instance.
        sqlite3.Error: It is no database any more.
    """
    # The shared memory is an index into the log, of use to living processes only.
    Path(f"{copy}-shm").unlink(missing_ok=True)
    with closing(sqlite3.connect(copy)) as connection:
        connection.row_factory = sqlite3.Row
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        assert problems == ["ok"], f"the file is damaged: {problems}"
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return _read(connection) if tables >= {"instances", *_PARTS} else {}


def _read(connection: sqlite3.Connection) -> dict[str, StoredInstance]:
    stored = {row["number"]: StoredInstance(dict(row)) for row in connection.execute("SELECT * FROM instances")}
    for table in _PARTS:
        orphans = {row[0] for row in connection.execute(f"SELECT instance FROM {table}")} - stored.keys()
        assert not orphans, f"{table} has rows of instances {orphans}, which are not there"
    for number, position, event in connection.execute("SELECT * FROM history ORDER BY instance, position"):
        stored[number].positions.append(position)
        stored[number].history.append(event)
    for number, _, event in connection.execute("SELECT * FROM inbox ORDER BY instance, number"):
        stored[number].inbox.append(event)
    for number, generation, task, _ in connection.execute("SELECT * FROM tasks"):
        stored[number].tasks.append((generation, task))
    for number, timer, _ in connection.execute("SELECT * FROM timers"):
        stored[number].timers.append(timer)
    return {instance.row["instance_id"]: instance for instance in stored.values()}


def left_to_do(database: Path) -> int:
    """How much is not finished in a file that an engine may have open."""
    with closing(sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)) as connection:
        left = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM instances WHERE ended IS NULL)"
        return int(connection.execute(left).fetchone()[0])


def kind_of(event: pb.HistoryEvent) -> str:
    """Which kind of history event this is."""
    return event.WhichOneof("eventType") or ""


def asked_for(events: Sequence[pb.HistoryEvent], kind: str) -> list[int]:
    """Numbers of the calls of a kind, by the events that record them."""
    return [event.eventId for event in events if kind_of(event) == kind]


def answered(
    name: str, asked: Sequence[int], events: Sequence[pb.HistoryEvent], kinds: tuple[str, ...], field_name: str
) -> set[int]:
    """Numbers of the calls that were answered.

    Raises:
        AssertionError: One was answered twice, or nobody had asked.
    """
    answers = [getattr(getattr(e, kind_of(e)), field_name) for e in events if kind_of(e) in kinds]
    assert len(answers) == len(set(answers)), f"{name} got {kinds} twice: {answers}"
    assert set(answers) <= set(asked), f"{name} got {kinds} for what it had not asked for: {answers}, {asked}"
    return set(answers)
