"""A sidecar for tests: the engine in a process of its own, or a Dapr sidecar that runs already."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from dapr_workflow_sdk.errors import RuntimeStateError

if TYPE_CHECKING:
    from dapr_workflow_sdk.client.workflow_client import WorkflowClient
    from dapr_workflow_sdk.worker.runtime import WorkflowRuntime

# Seconds that the engine has to end after it was asked to.
_PATIENCE = 10.0


@dataclass(frozen=True)
class Sidecar:
    """Where a sidecar listens.

    Attributes:
        host: Host of its gRPC port.
        grpc_port: Its gRPC port.
        http_port: Its HTTP port; None if it is not known.
    """

    host: str
    grpc_port: int
    http_port: int | None = None

    @property
    def environment(self) -> dict[str, str]:
        """Environment variables with which programs find it."""
        found = {"DAPR_RUNTIME_HOST": self.host, "DAPR_GRPC_PORT": str(self.grpc_port)}
        if self.http_port is not None:
            found["DAPR_HTTP_PORT"] = str(self.http_port)
        return found

    def runtime(self, **options: Any) -> WorkflowRuntime:
        """A worker for it; see `WorkflowRuntime` for the options."""
        from dapr_workflow_sdk.worker.runtime import WorkflowRuntime

        return WorkflowRuntime(self.host, self.grpc_port, **options)

    def client(self, **options: Any) -> WorkflowClient:
        """A client of it; see `WorkflowClient` for the options."""
        from dapr_workflow_sdk.client.workflow_client import WorkflowClient

        return WorkflowClient(self.host, self.grpc_port, **options)


def read_address(address: str) -> Sidecar:
    """The sidecar at ``host:port``, or at a port of this machine.

    Raises:
        ValueError: It is no such address.
    """
    host, _, port = address.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"{address!r} is no address of a sidecar: give its gRPC port, or host:port.")
    return Sidecar(host or "127.0.0.1", int(port))


@contextlib.contextmanager
def running_engine() -> Generator[Sidecar, None, None]:
    """Runs ``dapr-workflow engine`` in memory, on free ports of this machine, while the context is open.

    Raises:
        RuntimeStateError: It does not start, because the packages of the ``cli`` extra are missing for example.
    """
    command = [sys.executable, "-m", "dapr_workflow_sdk", "engine", "--grpc-port", "0", "--http-port", "0"]
    with tempfile.TemporaryFile("w+") as complaints:
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=complaints, text=True, env={**os.environ, "NO_COLOR": "1"}
        )
        try:
            assert process.stdout is not None
            # It says where it listens in its first line, and ends its output when it cannot.
            line = process.stdout.readline()
            ports = re.search(r"gRPC \S*:(\d+), HTTP \S*:(\d+)", line)
            if ports is None:
                process.wait(_PATIENCE)
                complaints.seek(0)
                raise RuntimeStateError(f"The engine did not start: {line}{complaints.read().strip()}")
            yield Sidecar("127.0.0.1", int(ports[1]), int(ports[2]))
        finally:
            process.terminate()
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if process.stdout is not None:
                process.stdout.close()
