"""The task hubs that the conformance suite runs over, behind one face."""

from __future__ import annotations

import base64
import itertools
import os
import sqlite3
import time
from collections.abc import Callable, Coroutine
from contextlib import closing
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import httpx

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime, WorkflowState
from dapr_workflow_sdk.engine.embedded import EngineApp
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.address import Address
from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])

KINDS = ("memory", "sqlite", "grpc", "daprd")
_RUN = f"{os.getpid():x}-{time.time_ns() & 0xFFFFFF:x}"
_NUMBERS = itertools.count(1)


def kind_of(event: pb.HistoryEvent) -> str:
    """Which kind of history event this is."""
    return event.WhichOneof("eventType") or ""


@dataclass
class Hub:
    """A task hub, a worker connected to it, and a client.

    Attributes:
        kind: One of `KINDS`.
        engine: The engine, if the hub is one of this process.
        grpc_port: The port, if it is not.
        http_port: Port of the HTTP API, if it has one.
        database: The file of a sidecar's state store.
        app_id: The app to speak for at the port, if it is not the one that the port is of.
        runtime: A running worker that all tests of the session share; register functions on it under fresh names.
        client: A client.
    """

    kind: str
    engine: EmbeddedEngine | EngineApp | None = None
    grpc_port: int | None = None
    http_port: int | None = None
    database: Path | None = None
    app_id: str | None = None
    runtime: WorkflowRuntime = field(init=False)
    client: WorkflowClient = field(init=False)

    def __post_init__(self) -> None:
        self.runtime = self.new_runtime()
        self.client = self.new_client()

    @property
    def is_daprd(self) -> bool:
        """Whether this is the real sidecar."""
        return self.kind == "daprd"

    def new_runtime(self, **options: Any) -> WorkflowRuntime:
        """Another worker for this hub, not started."""
        if self.engine is not None:
            return WorkflowRuntime(engine=self.engine, **options)
        return WorkflowRuntime("127.0.0.1", self.grpc_port, **{"app_id": self.app_id, **options})

    def new_client(self) -> WorkflowClient:
        """Another client for this hub."""
        if self.engine is not None:
            return WorkflowClient(engine=self.engine)
        return WorkflowClient("127.0.0.1", self.grpc_port, app_id=self.app_id)

    def port(self) -> TaskHub:
        """The task hub port itself, for tests that play worker or client by hand; see `call`."""
        if self.engine is not None:
            return self.engine.hub
        address = Address(f"127.0.0.1:{self.grpc_port}", tls=False, source="the test")
        return GrpcTaskHub(address, app_id=self.app_id)

    @staticmethod
    def call(function: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """Runs a coroutine function on the SDK's loop, where ports must be used."""
        return PORTAL.call(function, *arguments)

    def ask(self, operation: Callable[[TaskHub], Coroutine[Any, Any, T]]) -> T:
        """Runs an operation of the port itself, over a connection of its own."""

        async def run() -> T:
            port = self.port()
            try:
                return await operation(port)
            finally:
                if self.engine is None:
                    await port.aclose()

        return self.call(run)

    def history(self, instance_id: str) -> list[pb.HistoryEvent]:
        """The committed history of the current execution; a sidecar before 1.17 does not tell it."""

        async def read(port: TaskHub) -> list[pb.HistoryEvent]:
            return list(await port.history(instance_id))

        return self.ask(read)

    def recorded(self, instance_id: str) -> list[pb.HistoryEvent]:
        """The committed history also where the hub does not tell it: a sidecar's is read from its state store."""
        if not self.is_daprd:
            return self.history(instance_id)
        assert self.database is not None
        with closing(sqlite3.connect(f"{self.database.as_uri()}?mode=ro", uri=True, timeout=20)) as store:
            rows = store.execute("SELECT key, value FROM state WHERE key LIKE '%||history-%' ORDER BY key").fetchall()
        mine = [value for key, value in rows if f".workflow||{instance_id}||history-" in key]
        return [pb.HistoryEvent.FromString(base64.b64decode(value)) for value in mine]

    def rerun(self, source: str, event_id: int, text: str | None = None, **options: Any) -> str:
        """Runs a finished instance again from one of its calls, and returns the id of the new one.

        Args:
            source: The finished instance.
            event_id: Number of the call.
            text: The input the call is to have instead, with ``overwriteInput=True``.
            options: Further fields of the request.
        """
        request = pb.RerunWorkflowFromEventRequest(
            sourceInstanceID=source, eventID=event_id, input=text_of(text), **options
        )
        return self.ask(lambda port: port.rerun(request))

    @property
    def has_history(self) -> bool:
        """Whether it tells histories."""
        return not self.is_daprd

    def http(self, method: str, path: str, content: bytes = b"") -> httpx.Response:
        """The answer of the HTTP API to a request for a path below ``/v1.0/workflows/dapr/``."""
        assert self.http_port is not None, f"{self.kind} has no HTTP API"
        address = f"http://127.0.0.1:{self.http_port}/v1.0/workflows/dapr/{path}"
        # Without TLS to verify there is no need to load certificates, which takes longer than the request.
        return httpx.request(method, address, content=content, trust_env=False, verify=False, timeout=20)

    @staticmethod
    def fresh(name: str = "t") -> str:
        """A name or id that nothing else in this run has."""
        return f"{name}-{_RUN}-{next(_NUMBERS)}"

    def workflow(self, function: F) -> F:
        """Registers a workflow of one test under a fresh name."""
        self.runtime.register_workflow(function, name=self.fresh(function.__name__))
        return function

    def activity(self, function: F) -> F:
        """Registers an activity of one test under a fresh name."""
        self.runtime.register_activity(function, name=self.fresh(function.__name__))
        return function

    def start(self, workflow: Callable[..., Any] | str, value: Any = None, *, instance_id: str | None = None) -> str:
        """Starts an instance under a fresh id."""
        return self.client.schedule_new_workflow(workflow, input=value, instance_id=instance_id or self.fresh("i"))

    def finish(self, instance_id: str, timeout: float = 20) -> WorkflowState:
        """Waits for an instance to end."""
        state = self.client.wait_for_workflow_completion(instance_id, timeout_in_seconds=timeout)
        assert state is not None, f"{instance_id} does not exist"
        return state

    def run(self, workflow: Callable[..., Any] | str, value: Any = None, *, timeout: float = 20) -> WorkflowState:
        """Starts an instance and waits for it to end."""
        return self.finish(self.start(workflow, value), timeout)

    def state(self, instance_id: str) -> WorkflowState:
        """The state of an instance that is there."""
        state = self.client.get_workflow_state(instance_id)
        assert state is not None, f"{instance_id} does not exist"
        return state

    def eventually(self, condition: Callable[[], T], what: str, timeout: float = 10) -> T:
        """Waits until a condition gives something true, and returns it."""
        deadline = time.monotonic() + timeout
        while not (found := condition()):
            assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
            time.sleep(0.01)
        return found

    def short(self, seconds: float = 0.2) -> timedelta:
        """A short delay: a sidecar of 1.16 cuts timers to whole seconds, so there it is at least two."""
        return timedelta(seconds=max(2.0, seconds) if self.is_daprd else seconds)
