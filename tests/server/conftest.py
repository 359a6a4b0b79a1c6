"""Fixtures of the tests of the engine's servers."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from dapr_workflow_sdk import EmbeddedEngine
from tests.server.support import Certificates, certificates


@pytest.fixture
def engine() -> Iterator[EmbeddedEngine]:
    with EmbeddedEngine(app_id="the-app") as engine:
        yield engine


@pytest.fixture(scope="session")
def certs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture(autouse=True)
def no_token(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DAPR_API_TOKEN", raising=False)
