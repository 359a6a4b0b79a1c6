"""A watcher that outlives this process just long enough to end what it started.

``PR_SET_PDEATHSIG`` would do on Linux, but it fires when the *thread* that started the child ends,
and setting it needs code between fork and exec, which can deadlock in a process that runs gRPC
threads. A watcher that holds the reading end of a pipe has neither trouble: however this process
ends, the pipe closes, and the watcher kills and removes what was entrusted to it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path


class Guardian:
    """The watcher process and what it watches: process groups to kill and folders to remove."""

    def __init__(self) -> None:
        """Prepare a guardian; its process starts with the first thing to watch."""
        self._lock = threading.Lock()
        self._watched: set[str] = set()
        self._process: subprocess.Popen[str] | None = None

    def watch_group(self, group: int) -> None:
        """Kill process group ``group`` when this process ends."""
        self._add(f"group {group}")

    def leave_group(self, group: int) -> None:
        """Forget process group ``group``; it has ended."""
        self._discard(f"group {group}")

    def watch_folder(self, folder: Path) -> None:
        """Remove ``folder`` when this process ends."""
        self._add(f"folder {folder}")

    def leave_folder(self, folder: Path) -> None:
        """Forget ``folder``; it has been removed."""
        self._discard(f"folder {folder}")

    def disown(self) -> None:
        """In a forked child: let go of the pipe, which must close with the parent and not with the child."""
        self._lock = threading.Lock()
        self._watched.clear()
        process, self._process = self._process, None
        if process is not None and process.stdin is not None:
            os.close(process.stdin.fileno())
            # It is not this process's child; without a status Popen would complain when it is collected.
            process.returncode = 0

    def _add(self, item: str) -> None:
        with self._lock:
            self._watched.add(item)
            self._tell(f"+ {item}")

    def _discard(self, item: str) -> None:
        with self._lock:
            self._watched.discard(item)
            self._tell(f"- {item}")

    def _tell(self, line: str) -> None:
        if self._process is None or self._process.poll() is not None:
            self._process = _start()
            for item in self._watched:
                _write(self._process, f"+ {item}")
        _write(self._process, line)


def _start() -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-I", str(Path(__file__).resolve())],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        text=True,
        # A signal to the whole group of the test run must not end the watcher as well.
        start_new_session=True,
    )


def _write(process: subprocess.Popen[str], line: str) -> None:
    if process.stdin is None:
        return
    process.stdin.write(f"{line}\n")
    process.stdin.flush()


def _keep_watch() -> None:
    watched: dict[str, set[str]] = {"group": set(), "folder": set()}
    for line in sys.stdin:
        sign, kind, value = line.rstrip("\n").split(" ", 2)
        if sign == "+":
            watched[kind].add(value)
        else:
            watched[kind].discard(value)
    for group in watched["group"]:
        try:
            os.killpg(int(group), signal.SIGKILL)
        except ProcessLookupError:
            continue
    deadline = time.monotonic() + 5.0
    for folder in watched["folder"]:
        # The processes may write for a moment more, and a new file makes a removal leave the folder behind.
        while Path(folder).exists() and time.monotonic() < deadline:
            shutil.rmtree(folder, ignore_errors=True)
            time.sleep(0.01)


if __name__ == "__main__":
    _keep_watch()
else:
    guardian = Guardian()
    os.register_at_fork(after_in_child=guardian.disown)
