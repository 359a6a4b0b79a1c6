"""One server process: started in a group of its own, watched until healthy, stopped by id."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import TYPE_CHECKING

from .guardian import guardian

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

_POLL = 0.01
# An idle server ends in a few milliseconds. A daprd with a connected worker stops its engine as fast and then
# waits without end for the worker to close the stream, so patience beyond this buys nothing.
_STOP_GRACE = 1.0
_KILL_TIMEOUT = 10.0
_TAIL_BYTES = 64 * 1024
# The second is all that daprd says about its HTTP port.
_CLASH_SIGNS = ("address already in use", "could not listen on any endpoint")


class ServerStartError(RuntimeError):
    """A server process ended early or did not become healthy in time."""


class PortClashError(ServerStartError):
    """A server process ended early because one of its ports was taken."""


class ServerProcess:
    """A server that can be started, stopped, killed and started again; all its runs write to one log."""

    def __init__(self, name: str, log_path: Path, environment: Mapping[str, str]) -> None:
        """Describe a server; nothing runs yet.

        Args:
            name: What error messages call it.
            log_path: Where its output goes.
            environment: Its whole environment.
        """
        self.name = name
        self.log_path = log_path
        self._environment = dict(environment)
        self._process: subprocess.Popen[bytes] | None = None
        self._guarded = False
        self._log_start = 0

    @property
    def pid(self) -> int:
        """The id of the process of the latest start."""
        if self._process is None:
            message = f"{self.name} was not started"
            raise RuntimeError(message)
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the process is alive."""
        return self._process is not None and self._poll(self._process) is None

    def start(self, command: Sequence[str], healthy: Callable[[], bool], timeout: float) -> None:
        """Run ``command`` and return once it is healthy.

        Args:
            command: The program and its arguments.
            healthy: Asks the server whether it is ready. An ``OSError`` counts as not yet.
            timeout: Seconds until the start counts as failed.

        Raises:
            PortClashError: The process ended because a port was taken.
            ServerStartError: The process ended for another reason, or is not healthy in time.
        """
        self.launch(command)
        self.wait_healthy(healthy, timeout)

    def launch(self, command: Sequence[str]) -> None:
        """Run ``command`` without waiting for it to be healthy."""
        if self.running:
            message = f"{self.name} already runs as process {self.pid}"
            raise RuntimeError(message)
        with self.log_path.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._environment,
                    cwd=self.log_path.parent,
                    # A Ctrl-C at the terminal must reach the tests only; they stop their servers in order.
                    start_new_session=True,
                )
            except OSError as error:
                message = f"{self.name} could not be started: {error}"
                raise ServerStartError(message) from error
        guardian.watch_group(self._process.pid)
        self._guarded = True

    def wait_healthy(self, healthy: Callable[[], bool], timeout: float) -> None:
        """Wait for the launched process to be healthy; it is stopped when that fails. See :meth:`start`."""
        try:
            self._wait_healthy(healthy, timeout)
        except BaseException:
            self.kill()
            raise

    def terminate(self) -> None:
        """Ask the process to end, without waiting for it."""
        self._signal(signal.SIGTERM)

    def stop(self) -> None:
        """End the process, by force when it does not comply in time. Does nothing when it has ended."""
        self.terminate()
        if not self._wait_ended(_STOP_GRACE):
            self.kill()

    def kill(self) -> None:
        """End the process and its children at once, as a crash would. Does nothing when it has ended."""
        self._signal(signal.SIGKILL)
        if not self._wait_ended(_KILL_TIMEOUT):
            message = f"{self.name} (process {self.pid}) survived SIGKILL for {_KILL_TIMEOUT:.0f} s"
            raise RuntimeError(message)

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines of the log of the latest start."""
        return "\n".join(self._log().splitlines()[-lines:])

    def wait(self) -> int:
        """Wait for the process to end by itself, however long that takes, and return its exit status."""
        if self._process is None:
            message = f"{self.name} was not started"
            raise RuntimeError(message)
        status = self._process.wait()
        self._poll(self._process)
        return status

    def _wait_healthy(self, healthy: Callable[[], bool], timeout: float) -> None:
        deadline = time.monotonic() + timeout
        while True:
            if not self.running:
                raise self._early_end()
            try:
                if healthy():
                    return
            except OSError:
                pass
            if time.monotonic() >= deadline:
                message = f"{self.name} is not healthy after {timeout:.0f} s; its log ends with:\n{self.log_tail()}"
                raise ServerStartError(message)
            time.sleep(_POLL)

    def _early_end(self) -> ServerStartError:
        status = self._process.returncode if self._process is not None else None
        log = self._log()
        kind = PortClashError if any(sign in log for sign in _CLASH_SIGNS) else ServerStartError
        return kind(f"{self.name} ended at start with status {status}; its log ends with:\n{self.log_tail()}")

    def _log(self) -> str:
        try:
            with self.log_path.open("rb") as log:
                end = log.seek(0, os.SEEK_END)
                log.seek(max(self._log_start, end - _TAIL_BYTES))
                return log.read().decode(errors="replace")
        except OSError as error:
            return f"(no log: {error})"

    def _signal(self, number: signal.Signals) -> None:
        # Until its status is collected a process keeps its id, so the group cannot be a stranger's.
        if self._process is not None and self._poll(self._process) is None:
            os.killpg(self._process.pid, number)

    def _wait_ended(self, timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        while self.running:
            if time.monotonic() >= deadline:
                return False
            time.sleep(_POLL)
        return True

    def _poll(self, process: subprocess.Popen[bytes]) -> int | None:
        status = process.poll()
        if status is not None and self._guarded:
            self._guarded = False
            guardian.leave_group(process.pid)
        return status
