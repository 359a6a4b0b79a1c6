"""One suite, every task hub."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from dapr_workflow_sdk import EmbeddedEngine
from tests.conformance.hubs import KINDS, Hub
from tests.sidecar.cluster import DaprSidecar


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leaves out scenarios on hubs that do not have them, so that a skip always means that something is missing."""
    absent: list[pytest.Item] = []
    for item in items:
        kind = getattr(item, "callspec", None) and item.callspec.params.get("hub")  # type: ignore[attr-defined]
        if kind is not None and any(kind in mark.args for mark in item.iter_markers("not_on")):
            absent.append(item)
    if absent:
        config.hook.pytest_deselected(items=absent)
        items[:] = [item for item in items if item not in absent]


@pytest.fixture(scope="session", params=KINDS)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub of each kind with a running worker, kept for the session.

    Mark a test ``@pytest.mark.not_on("daprd", reason="...")`` where its row does not exist on that hub.
    """
    with ExitStack() as stack:
        kind: str = request.param
        if kind == "daprd":
            sidecar: DaprSidecar = request.getfixturevalue("dapr_sidecar")
            database = sidecar.state_dir / "state.db"
            hub = Hub(kind, grpc_port=sidecar.grpc_port, http_port=sidecar.http_port, database=database)
        else:
            path: Any = None if kind == "memory" else tmp_path_factory.mktemp(kind) / "hub.db"
            engine = stack.enter_context(EmbeddedEngine(path))
            if kind == "grpc":
                served = stack.enter_context(engine.serve(grpc_port=0, http_port=0))
                hub = Hub(kind, grpc_port=served.grpc_port, http_port=served.http_port)
            else:
                hub = Hub(kind, engine=engine)
        stack.enter_context(hub.runtime)
        stack.enter_context(hub.client)
        yield hub
