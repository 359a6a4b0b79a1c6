"""Files of engines, and the error of a command that cannot do its work."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Generator
from pathlib import Path

# Exit codes, for scripts.
NOT_WELL = 1
WRONG = 2
NOT_FOUND = 3
TIMED_OUT = 4

# How SQLite files of the engine say whose they are.
_APPLICATION = 0x64776673


class CommandError(Exception):
    """A command cannot do its work; the message is a sentence for the person who typed it."""

    def __init__(self, message: str, code: int = WRONG) -> None:
        """Keeps the exit code beside the message."""
        super().__init__(message)
        self.code = code


def existing_file(path: Path) -> Path:
    """The path, if a file is there.

    Raises:
        CommandError: None is. A command that looks must not make one.
    """
    if not path.is_file():
        problem = "is a directory" if path.is_dir() else "does not exist"
        raise CommandError(f"The engine's file {path} {problem}.")
    return path


@contextlib.contextmanager
def open_file(path: Path) -> Generator[sqlite3.Connection, None, None]:
    """A connection that only reads; an engine may have the file open and go on with its work."""
    existing_file(path)
    uri = f"{path.resolve().as_uri()}?mode=rw"
    try:
        connection = sqlite3.connect(uri, uri=True, isolation_level=None, timeout=10)
    except sqlite3.OperationalError:
        connection = sqlite3.connect(uri.replace("mode=rw", "mode=ro"), uri=True, isolation_level=None, timeout=10)
    with contextlib.closing(connection):
        try:
            connection.execute("PRAGMA query_only=ON")
            (owner,) = connection.execute("PRAGMA application_id").fetchone()
        except sqlite3.Error as error:
            raise CommandError(f"{path} cannot be read as a database: {error}.") from error
        if owner != _APPLICATION:
            raise CommandError(f"{path} is not the file of an engine.")
        yield connection
