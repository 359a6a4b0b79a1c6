"""Task hubs for the tests of the command."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.places import Place, filled, served


@pytest.fixture
def place() -> Iterator[Place]:
    """An engine in memory that serves gRPC, with a worker."""
    with served() as made:
        yield made


@pytest.fixture
def file(tmp_path: Path) -> Iterator[Path]:
    """The file of an engine that does not run."""
    path = tmp_path / "orders.db"
    with filled(path):
        yield path
