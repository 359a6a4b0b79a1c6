"""A disk that fails when told to, and a power cut that takes only what no sync had covered.

The part that stands between SQLite and the kernel is `disk.c`, preloaded into the engine.
"""

from __future__ import annotations

import errno
import mmap
import os
import random
import shutil
import struct
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_SOURCE = Path(__file__).with_name("disk.c")
_RECORD = struct.Struct("<qqqq")
_SECTOR = 512
# Where the fields of `struct control` are, in words.
_WRITE, _SYNC, _READ, _DELAY, _SYNCS = 0, 4, 8, 12, 13
_ERROR, _LEFT, _CHANCE, _FAILED = range(4)


def build(folder: Path) -> Path:
    """Compiles the part that is preloaded.

    Raises:
        RuntimeError: There is no C compiler.
    """
    compiler = shutil.which(os.environ.get("CC", "cc")) or shutil.which("gcc")
    if compiler is None:
        raise RuntimeError("The chaos harness breaks disks with a small library in C: it needs a C compiler (cc).")
    library = folder / "disk.so"
    if library.exists():
        return library
    command = [compiler, "-O1", "-shared", "-fPIC", "-o", str(library), str(_SOURCE), "-ldl", "-lpthread"]
    subprocess.run(command, check=True, timeout=60)
    return library


class Disk:
    """What the engine's files are on."""

    def __init__(self, folder: Path, database: Path) -> None:
        """Makes a disk that works."""
        self._database = database
        self._page = folder / "disk.control"
        self._page.write_bytes(bytes(4096))
        with self._page.open("r+b") as page:
            self._control = memoryview(mmap.mmap(page.fileno(), 4096)).cast("i")
        self.environment = {
            "LD_PRELOAD": str(build(folder)),
            "CHAOS_DATABASE": str(database),
            "CHAOS_CONTROL": str(self._page),
        }

    def fail_writes(self, error: int = errno.EIO, *, calls: int = -1, chance: float = 1.0) -> None:
        """Lets writes fail: the next `calls` of them, or all until `heal`."""
        self._fail(_WRITE, error, calls, chance)

    def fail_syncs(self, error: int = errno.EIO, *, calls: int = -1, chance: float = 1.0) -> None:
        """Lets syncs fail."""
        self._fail(_SYNC, error, calls, chance)

    def fail_reads(self, error: int = errno.EIO, *, calls: int = -1, chance: float = 1.0) -> None:
        """Lets reads fail."""
        self._fail(_READ, error, calls, chance)

    def slow_syncs(self, seconds: float) -> None:
        """Lets each sync take longer."""
        self._control[_DELAY] = int(seconds * 1e6)

    def _fail(self, fault: int, error: int, calls: int, chance: float) -> None:
        self._control[fault + _LEFT] = 0
        self._control[fault + _ERROR] = error
        self._control[fault + _CHANCE] = int(chance * 1000)
        self._control[fault + _LEFT] = calls

    def heal(self) -> None:
        """Lets everything work again."""
        for fault in (_WRITE, _SYNC, _READ):
            self._control[fault + _LEFT] = 0
        self._control[_DELAY] = 0

    @property
    def failures(self) -> int:
        """How many calls have failed so far."""
        return sum(self._control[fault + _FAILED] for fault in (_WRITE, _SYNC, _READ))

    @property
    def syncs(self) -> int:
        """How many syncs have succeeded so far."""
        return self._control[_SYNCS]

    @property
    def unsynced(self) -> int:
        """How many bytes were written since the last sync of their file, by whichever process."""
        undo = (Path(f"{self._database}{suffix}.undo") for suffix in ("", "-wal"))
        return sum(record.length for path in undo if path.exists() for record in _read_records(path.read_bytes()))

    def cut_power(self, dice: random.Random) -> int:
        """Does to the files what a power cut may do; returns how many bytes were not on the disk yet.

        Each sector that was written and not synced may be as any write since the last sync left it, as it was before,
        or garbage where it was written; the file may have any of its lengths since. What was synced stays.
        """
        at_risk = 0
        for suffix in ("", "-wal"):
            path, undo = Path(f"{self._database}{suffix}"), Path(f"{self._database}{suffix}.undo")
            if path.exists() and undo.exists():
                records = list(_read_records(undo.read_bytes()))
                at_risk += sum(max(record.length, 0) for record in records)
                path.write_bytes(_tear(path.read_bytes(), records, dice))
            if undo.exists():
                os.truncate(undo, 0)
        # The index into the log is memory that files happen to stand for; it is made anew.
        Path(f"{self._database}-shm").unlink(missing_ok=True)
        return at_risk


@dataclass(frozen=True)
class _Record:
    offset: int
    length: int
    size: int
    old: bytes


def _read_records(undo: bytes) -> Iterator[_Record]:
    at = 0
    while at + _RECORD.size <= len(undo):
        offset, length, size, kept = _RECORD.unpack_from(undo, at)
        at += _RECORD.size
        if at + kept > len(undo):
            return  # Killed while it was written: the write it stands for did not begin.
        yield _Record(offset, length, size, undo[at : at + kept])
        at += kept


def _tear(now: bytes, records: list[_Record], dice: random.Random) -> bytes:
    # Nothing, half or all of it was on its way; rarely is all of it there.
    lost = dice.choice((1.0, 1.0, 0.5, 0.5, 0.9, 0.1))
    garbage = dice.choice((0.0, 0.0, 0.3))
    data, size, size_kept = bytearray(now), len(now), False
    kept: set[int] = set()
    written: list[tuple[int, int]] = []
    for record in reversed(records):
        size_kept = size_kept or dice.random() >= lost
        if not size_kept:
            size = record.size
        length = record.size - record.offset if record.length < 0 else record.length
        end = record.offset + max(length, 0)
        data.extend(bytes(max(0, end - len(data))))
        old = record.old + bytes(max(0, length - len(record.old)))
        for start, stop in _sectors(record.offset, end):
            sector = start // _SECTOR
            if sector in kept or dice.random() >= lost:
                kept.add(sector)
            else:
                data[start:stop] = old[start - record.offset : stop - record.offset]
            written.append((start, stop))
    for start, stop in written:
        if dice.random() < garbage:
            data[start:stop] = dice.randbytes(stop - start)
    return bytes(data[:size])


def _sectors(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(end, (start // _SECTOR + 1) * _SECTOR)
        yield start, stop
        start = stop
