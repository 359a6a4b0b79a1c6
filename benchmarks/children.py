"""Processes that measure, one stack each; see `probing.py` for their side."""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

_SCRIPT = Path(__file__).with_name("probing.py")
# Seconds for which a child may be silent: the longest measurement takes minutes on a slow machine.
_PATIENCE = 1800


class Child:
    """A process with one stack. Leaving the context ends it."""

    def __init__(self, stack: dict[str, Any], python: str = sys.executable) -> None:
        """Starts it and waits until its stack is open; `ready` has what that took.

        Raises:
            RuntimeError: It did not come up.
        """
        self._process = subprocess.Popen(
            [python, str(_SCRIPT), json.dumps(stack)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE", "PYTHONWARNINGS": "ignore"},
        )
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=self._read, daemon=True).start()
        try:
            self.ready = self._answer(f"opening {stack}")
        except BaseException:
            self.close()
            raise

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, what: str, **question: Any) -> dict[str, Any]:
        """What it measured.

        Raises:
            RuntimeError: It failed, died or said nothing for half an hour.
        """
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"what": what, **question}) + "\n")
        self._process.stdin.flush()
        return self._answer(what)

    def _answer(self, what: str) -> dict[str, Any]:
        try:
            line = self._answers.get(timeout=_PATIENCE)
        except queue.Empty:
            raise RuntimeError(f"{what}: the process says nothing") from None
        answer: dict[str, Any] = json.loads(line or '{"error": "the process died"}')
        if "error" in answer:
            raise RuntimeError(f"{what}: {answer['error']}")
        return answer

    def close(self) -> None:
        """Ends the process, in order if it can."""
        if self._process.stdin is not None:
            self._process.stdin.close()
        try:
            self._process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
