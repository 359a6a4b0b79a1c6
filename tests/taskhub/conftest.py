"""Fixtures of these tests."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.worker.support import Place, place_of


@pytest.fixture(params=["in-process", "grpc"])
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    """An engine, reached in both ways."""
    with place_of(request.param) as place:
        yield place


@pytest.fixture
def here() -> Iterator[Place]:
    """An engine, reached in process."""
    with place_of("in-process") as place:
        yield place


@pytest.fixture(autouse=True)
def no_sidecar_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Settings of the machine have no business here."""
    for name in ("DAPR_GRPC_ENDPOINT", "DAPR_RUNTIME_HOST", "DAPR_GRPC_PORT", "DAPR_API_TOKEN"):
        monkeypatch.delenv(name, raising=False)
