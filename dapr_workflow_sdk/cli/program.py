"""Running the user's program beside an engine."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

from dapr_workflow_sdk.cli.signals import StopSignals, reached_children
from dapr_workflow_sdk.engine.embedded import ServedEngine

# Seconds that a program has to end by itself after a signal before it is killed.
_PATIENCE = 15.0


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
        child = subprocess.Popen([sys.executable, str(program), *arguments], env=environment)
        try:
            code = _wait(child, signals)
        finally:
            if child.poll() is None:
                child.kill()
                child.wait()
    return 128 - code if code < 0 else code


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
