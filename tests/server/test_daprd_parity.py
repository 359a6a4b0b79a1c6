"""The same HTTP requests to a real Dapr sidecar and to the engine get the same answers."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowContext, WorkflowRuntime
from tests.sidecar.cluster import DaprCluster, DaprSidecar

Answer = tuple[int, Any]
_Ask = Callable[..., Answer]


def registered(port: int) -> WorkflowRuntime:
    runtime = WorkflowRuntime("127.0.0.1", port)

    @runtime.workflow(name="parity_echo")
    def echo(ctx: WorkflowContext, value: Any = None) -> Any:
        return value

    @runtime.workflow(name="parity_listens")
    def listens(ctx: WorkflowContext, value: Any = None) -> Any:
        ctx.set_custom_status("waiting")
        return (yield ctx.wait_for_external_event("go"))

    @runtime.workflow(name="parity_fails")
    def fails(ctx: WorkflowContext) -> None:
        raise ValueError("on purpose")

    return runtime


def comparable(body: Any) -> Any:
    if isinstance(body, dict):
        kept = {name: comparable(value) for name, value in body.items()}
        for name in ("createdAt", "lastUpdatedAt"):
            if name in kept:
                # A sidecar that has not begun with an instance yet says the year 1.
                assert re.fullmatch(r"(20\d\d|0001)-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", kept[name])
                kept[name] = "<time>"
        # Versions since 1.17 have it, and so has the engine.
        kept.pop("dapr.workflow.failure.stack_trace", None)
        return kept
    if isinstance(body, str):
        body = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "<uuid>", body)
        # What this version puts into an answer by mistake.
        return re.sub(r"%!\(EXTRA .*\)$", "", body)
    return body


def story(port: int, prefix: str) -> list[tuple[str, Answer]]:
    """All routes, in a life that brings every kind of answer."""
    answers: list[tuple[str, Answer]] = []
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as http:

        def ask(method: str, path: str, content: bytes | None = None) -> Answer:
            response = http.request(method, f"{prefix}/workflows/dapr/{path}", content=content)
            assert response.headers["content-type"] == "application/json"
            return response.status_code, comparable(response.json())

        def tell(method: str, path: str, content: bytes | None = None) -> None:
            answers.append((f"{method} {path}", ask(method, path, content)))

        def settle(path: str, status: str) -> None:
            deadline = time.monotonic() + 20
            while http.get(f"{prefix}/workflows/dapr/{path}").json().get("runtimeStatus") != status:
                assert time.monotonic() < deadline, ask("GET", path)
                time.sleep(0.02)
            tell("GET", path)

        one, two, three = (f"{prefix[1:].replace('.', '_')}-{number}" for number in range(3))
        tell("POST", f"parity_echo/start?instanceID={one}", b'{"a": "\xc3\xa9"}')
        settle(one, "COMPLETED")
        tell("GET", f"{one}/")
        tell("POST", "parity_echo/start")
        tell("POST", f"parity_echo/start/?instanceID={two}&instanceID=other", b"")
        settle(two, "COMPLETED")
        for bad in ("a.b", "a:b", "a%20b", "%ff", "x" * 65):
            tell("POST", f"parity_echo/start?instanceID={bad}")
        tell("POST", f"parity_fails/start?instanceID={two}")
        settle(two, "FAILED")
        tell("POST", f"parity_listens/start?instanceID={three}")
        settle(three, "RUNNING")
        tell("POST", f"parity_listens/start?instanceID={three}")
        tell("POST", f"{three}/purge")
        tell("POST", f"{three}/pause")
        tell("POST", f"{three}/pause")
        settle(three, "SUSPENDED")
        tell("POST", f"{three}/resume")
        tell("POST", f"{three}/resume")
        tell("POST", f"{three}/raiseEvent/a%2Fb", b"1")
        tell("POST", f"{three}/raiseEvent/go", b"5")
        settle(three, "COMPLETED")
        for operation in ("pause", "resume", "terminate", "raiseEvent/go", "purge", "purge"):
            tell("POST", f"{three}/{operation}")
        tell("POST", f"parity_listens/start?instanceID={three}")
        tell("POST", f"{three}/terminate")
        settle(three, "TERMINATED")
        for missing in ("nobody", "a%2Fb", "a%00b", "%ff", "x" * 300):
            tell("GET", missing)
            for operation in ("terminate", "purge", "pause", "resume", "raiseEvent/go"):
                tell("POST", f"{missing}/{operation}")
    return answers


@pytest.fixture(scope="module")
def sidecar(dapr_cluster: DaprCluster) -> Iterator[DaprSidecar]:
    """A sidecar of its own: workers of one app must know the same workflows."""
    sidecar = dapr_cluster.sidecar("parity")
    try:
        # One worker for all tests: a sidecar whose workers come and go loses sight of instances for a while.
        with registered(sidecar.grpc_port):
            yield sidecar
    finally:
        sidecar.stop()


@pytest.mark.parametrize("prefix", ["/v1.0", "/v1.0-beta1", "/v1.0-alpha1"])
def test_both_answer_alike(sidecar: DaprSidecar, prefix: str) -> None:
    theirs = story(sidecar.http_port, prefix)
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as served, registered(served.grpc_port):
        assert served.http_port is not None
        ours = story(served.http_port, prefix)
    differences = [
        f"{request}\n  daprd:  {json.dumps(their)}\n  engine: {json.dumps(our)}"
        for (request, their), (_, our) in zip(theirs, ours, strict=True)
        if their != our
    ]
    assert not differences, "\n".join(differences)
