"""Running the user's program beside an engine."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from dapr_workflow_sdk.cli.signals import StopSignals, reached_children
from dapr_workflow_sdk.engine.embedded import ServedEngine

# Seconds that a program has to end by itself after a signal before it is killed.
_PATIENCE = 15.0

# The system sends the signal when the parent dies; if that has happened already, nothing is to be run.
_TIE_AND_RUN = f"""
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, {int(signal.SIGTERM)})
if os.getppid() == int(sys.argv[1]):
    os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def run_program(program: Path, arguments: Sequence[str], served: ServedEngine) -> int:
    """Runs a Python program until it ends, and passes signals on to it.

    Returns:
        Its exit code; 128 and the number of the signal if one ended it.
    """
    environment = dict(os.environ)
    # An endpoint set for another sidecar would win over the port.
    environment.pop("DAPR_GRPC_ENDPOINT", None)
    environment["DAPR_RUNTIME_HOST"] = "127.0.0.1"
    environment["DAPR_GRPC_PORT"] = str(served.grpc_port)
    environment["DAPR_HTTP_PORT"] = str(served.http_port)
    with StopSignals() as signals:
        child = subprocess.Popen([sys.executable, *_launcher(), str(program), *arguments], env=environment)
        try:
            code = _wait(child, signals)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    return 128 - code if code < 0 else code


def _launcher() -> list[str]:
    """Python's arguments before the program: on Linux, a step that ties its life to that of this process.

    Without it a program would go on without its engine when this command is killed by a signal it cannot catch.
    """
    if not sys.platform.startswith("linux"):
        return []
    return ["-c", _TIE_AND_RUN, str(os.getpid())]


def _wait(child: subprocess.Popen[bytes], signals: StopSignals) -> int:
    # Python runs signal handlers on this thread only, so another one waits for the program.
    def wait_for_program() -> None:
        child.wait()
        signals.wake()

    threading.Thread(target=wait_for_program, daemon=True).start()
    signals.wait()
    received = signals.received
    if received is None:
        return child.wait()
    if not reached_children(received):
        child.send_signal(received)
    try:
        return child.wait(_PATIENCE)
    except subprocess.TimeoutExpired:
        child.kill()
        return child.wait()
