"""The disk that the proof stands on: it takes what no sync has covered, and nothing else."""

from __future__ import annotations

import errno
import os
import random
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from tests.chaos.disk import Disk

_COMMITS = 30
_TRIES = 8
_WRITER = """
import sqlite3, sys, os, signal
try:
    connection = sqlite3.connect(sys.argv[1], isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute(f"PRAGMA synchronous={sys.argv[2]}")
    connection.execute("PRAGMA wal_autocheckpoint=20")
    connection.execute("CREATE TABLE IF NOT EXISTS rows (number INTEGER PRIMARY KEY, text BLOB)")
    (done,) = connection.execute("SELECT ifnull(max(number), 0) FROM rows").fetchone()
    for number in range(done + 1, done + 1 + int(sys.argv[3])):
        connection.execute("INSERT INTO rows VALUES (?, ?)", (number, os.urandom(3000)))
        print(number, flush=True)
except sqlite3.Error as error:
    print("failed:", error, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _write(disk: Disk, database: Path, synchronous: str) -> list[str]:
    """Commits rows and dies; returns what was said of each."""
    command = [sys.executable, "-c", _WRITER, str(database), synchronous, str(_COMMITS)]
    done = subprocess.run(
        command, env={**os.environ, **disk.environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == -9, done.stderr
    return done.stdout.splitlines()


def _rows(database: Path) -> list[int]:
    connection = sqlite3.connect(database)
    try:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [number for (number,) in connection.execute("SELECT number FROM rows ORDER BY number")]
    finally:
        connection.close()


def test_power_cut_spares_what_was_synced(tmp_path: Path, seed: int) -> None:
    """With a sync per commit, as the engine has it, every commit that was answered outlives every cut."""
    dice = random.Random(seed)
    disk = Disk(tmp_path, tmp_path / "full.db")
    for _ in range(_TRIES):
        said = _write(disk, tmp_path / "full.db", "FULL")
        disk.cut_power(dice)
        assert _rows(tmp_path / "full.db")[-1] == int(said[-1])


def test_power_cut_takes_what_was_not_synced(tmp_path: Path, seed: int) -> None:
    """Without syncs the cut takes commits that were answered: the proof would see an engine that does not sync."""
    dice = random.Random(seed)
    lost = 0
    for number in range(_TRIES):
        database = tmp_path / f"{number}.db"
        disk = Disk(tmp_path, database)
        said = _write(disk, database, "OFF")
        assert disk.cut_power(dice) > 0
        try:
            lost += _rows(database) != list(range(1, int(said[-1]) + 1))
        except (sqlite3.DatabaseError, AssertionError):
            lost += 1
    assert lost


@pytest.mark.parametrize(
    ("fault", "error", "words"),
    [
        ("fail_writes", errno.ENOSPC, "failed: "),
        ("fail_writes", errno.EIO, "failed: disk I/O error"),
        ("fail_syncs", errno.EIO, "failed: disk I/O error"),
    ],
)
def test_disk_fails_as_told(tmp_path: Path, fault: str, error: int, words: str) -> None:
    """SQLite reports what the disk was told to do, and finds everything in order when it is well again."""
    database = tmp_path / "sick.db"
    disk = Disk(tmp_path, database)
    before = _write(disk, database, "FULL")
    getattr(disk, fault)(error)
    assert words in _write(disk, database, "FULL")[0]
    assert disk.failures
    disk.heal()
    after = _write(disk, database, "FULL")
    assert int(after[-1]) >= int(before[-1]) + _COMMITS
    assert _rows(database) == list(range(1, int(after[-1]) + 1))
