"""Processes of a run: our engine, a worker of some SDK, and client programs of some SDK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dapr_workflow_sdk import WorkflowClient
from tests.interop.environments import HERE, javascript_environment, python_environment
from tests.sidecar.ports import HOST, free_port, http_get
from tests.sidecar.processes import PortClashError, ServerProcess

_REPOSITORY = HERE.parents[1]
_PATIENCE = 30.0
_CLIENT_TIMEOUT = 60.0
_POLL = 0.02


@dataclass(frozen=True)
class Sdk:
    """An SDK: how its worker and its client program are started.

    Attributes:
        name: What it is called.
        worker: The command of its worker.
        client: The command of its client program; empty if the tests need none.
        environment: What its programs find in their environment.
    """

    name: str
    worker: tuple[str, ...]
    client: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)


def official(client: str = "sync", *, deltas: bool = True) -> Sdk:
    """The official Python SDK, with its synchronous or its asynchronous client."""
    python = str(python_environment())
    return Sdk(
        "official",
        (python, str(HERE / "python" / "worker.py")),
        (python, str(HERE / "python" / "client.py"), client),
        {"INTEROP_SDK": "dapr.ext.workflow", "INTEROP_DELTAS": "on" if deltas else "off"},
    )


def javascript(package: str = "@dapr/dapr") -> Sdk:
    """A JavaScript SDK by its name in js/package.json."""
    environment = {"NODE_PATH": str(javascript_environment()), "INTEROP_SDK": package}
    return Sdk(
        "javascript", ("node", str(HERE / "js" / "worker.js")), ("node", str(HERE / "js" / "client.js")), environment
    )


def ours() -> Sdk:
    """This SDK, with the workflows of the official one."""
    environment = {"PYTHONPATH": str(_REPOSITORY), "INTEROP_SDK": "dapr_workflow_sdk"}
    return Sdk("ours", (sys.executable, str(HERE / "python" / "worker.py")), environment=environment)


class Site:
    """An engine in a process, and what runs against it; closing it ends all."""

    def __init__(self, folder: Path, apps: Sequence[str] = ()) -> None:
        """Starts nothing yet; each of the other `apps` gets a gRPC port of its own."""
        self._folder = folder
        self._stack = ExitStack()
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
        self._environment["PYTHONUNBUFFERED"] = "1"
        self._processes: list[ServerProcess] = []
        self._engine = self._process("engine", {"PYTHONPATH": str(_REPOSITORY)})
        self.grpc_port = 0
        self.app_ports = dict.fromkeys(apps, 0)
        self._http_port = 0

    def start_engine(self) -> None:
        """Starts the engine on free ports."""
        while not self.grpc_port:
            self.grpc_port, self._http_port = free_port(), free_port()
            self.app_ports = {app: free_port() for app in self.app_ports}
            try:
                self._launch_engine()
            except PortClashError:
                self.grpc_port = 0
        self._environment.update(DAPR_RUNTIME_HOST=HOST, DAPR_GRPC_PORT=str(self.grpc_port))

    def restart_engine(self) -> None:
        """Kills the engine and starts it again on the same ports."""
        self._engine.kill()
        self._launch_engine()

    def _launch_engine(self) -> None:
        ports = ["--grpc-port", str(self.grpc_port), "--http-port", str(self._http_port)]
        apps = [f"--app={name}={port}" for name, port in self.app_ports.items()]
        command = [sys.executable, "-m", "dapr_workflow_sdk", "engine", "--db", str(self._folder / "engine.db")]
        self._engine.start([*command, *ports, *apps], self._answers, _PATIENCE)

    def start_worker(self, sdk: Sdk, **environment: str) -> ServerProcess:
        """Starts a worker and returns when it works."""
        own = {**sdk.environment, "INTEROP_WORKER": sdk.name, **environment}
        worker = self._process(f"{sdk.name} worker", own)
        worker.start(sdk.worker, lambda: _has_printed(worker, "ready"), _PATIENCE)
        return worker

    def run_client(self, sdk: Sdk, *names: str) -> dict[str, Any]:
        """Runs the client program, and returns the result of each scenario that it has run."""
        lines = self.run(sdk, *sdk.client, *names).splitlines()
        return {line["scenario"]: line["result"] for line in map(json.loads, lines)}

    def run(self, sdk: Sdk, *command: str) -> str:
        """Runs a program of an SDK, and returns what it prints."""
        result = subprocess.run(
            command,
            env={**self._environment, **sdk.environment},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_CLIENT_TIMEOUT,
            check=False,
        )
        assert result.returncode == 0, f"{result.stderr[-4000:]}\n{self.logs()}"
        return result.stdout

    def client(self) -> WorkflowClient:
        """A client of ours."""
        return self._stack.enter_context(WorkflowClient(HOST, self.grpc_port))

    def logs(self, lines: int = 40) -> str:
        """The ends of the logs of the engine and the workers."""
        return "\n".join(f"--- {process.name}\n{process.log_tail(lines)}" for process in self._processes)

    def close(self) -> None:
        """Ends all."""
        self._stack.close()

    def _process(self, name: str, environment: Mapping[str, str]) -> ServerProcess:
        log = self._folder / f"{len(self._processes)}-{name.replace(' ', '-')}.log"
        process = ServerProcess(name, log, {**self._environment, **environment})
        self._processes.append(process)
        # None of them has anything to finish.
        self._stack.callback(lambda: process.kill() if process.running else None)
        return process

    def _answers(self) -> bool:
        http_get(self._http_port, "/v1.0/healthz")
        return True


@contextmanager
def site(folder: Path, *apps: str) -> Iterator[Site]:
    """A site with a running engine, which has ports for other apps."""
    made = Site(folder, apps)
    try:
        made.start_engine()
        yield made
    finally:
        made.close()


def wait_printed(worker: ServerProcess, key: str) -> None:
    """Returns once a program has printed a line with a key."""
    deadline = time.monotonic() + _PATIENCE
    while not _has_printed(worker, key):
        assert time.monotonic() < deadline, f"{worker.name} did not print {key!r}:\n{worker.log_tail()}"
        time.sleep(_POLL)


def _has_printed(process: ServerProcess, key: str) -> bool:
    return any(line.startswith(f'{{"{key}":') for line in process.log_tail(1000).splitlines())
