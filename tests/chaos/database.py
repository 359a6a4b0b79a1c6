"""The engine's file as it is laid out now: the one module of this folder that knows its tables."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.crash.database import StoredInstance


def read_file(copy: Path) -> dict[str, StoredInstance]:
    """Everything in a file that no engine has open.

    Reading recovers the file from its log, as an engine would, so this is given a copy.

    Raises:
        AssertionError: The file is damaged, or has rows that belong to no instance.
        sqlite3.Error: It is no database any more.
    """
    Path(f"{copy}-shm").unlink(missing_ok=True)
    connection = sqlite3.connect(copy)
    connection.row_factory = sqlite3.Row
    try:
        problems = [row[0] for row in connection.execute("PRAGMA integrity_check")]
        assert problems == ["ok"], f"the file is damaged: {problems}"
        if not connection.execute("SELECT count(*) FROM sqlite_master WHERE name = 'instances'").fetchone()[0]:
            return {}
        stored = {row["number"]: StoredInstance(dict(row)) for row in connection.execute("SELECT * FROM instances")}
        for table in ("history", "inbox", "tasks", "timers"):
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
            if timer >= 0:  # The others stand for a start at a later time.
                stored[number].timers.append(timer)
    finally:
        connection.close()
    return {instance.row["instance_id"]: instance for instance in stored.values()}


def left_to_do(database: Path) -> int:
    """How much is not finished in a file that an engine may have open."""
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True, timeout=30)
    try:
        left = "SELECT (SELECT count(*) FROM tasks) + (SELECT count(*) FROM instances WHERE ended IS NULL)"
        return int(connection.execute(left).fetchone()[0])
    finally:
        connection.close()
