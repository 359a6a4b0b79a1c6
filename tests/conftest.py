"""Fixtures that every part of the test suite may use."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.sidecar.binaries import SidecarUnavailable, ensure_binaries
from tests.sidecar.cluster import DaprCluster, DaprSidecar

pytest_plugins = ["pytester"]


def pytest_configure() -> None:
    """Makes the environment the same wherever the tests run: shells start background jobs with Ctrl-C ignored."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    # Workflows of tests count and remember outside of their runs; tests of the linter switch it on.
    os.environ.setdefault("DAPR_WORKFLOW_LINT", "off")


@pytest.fixture(scope="session")
def dapr_binaries(request: pytest.FixtureRequest) -> Path:
    """The real Dapr binaries, built on first use. In CI a missing sidecar is a failure, elsewhere a skip."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    try:
        with capture.global_and_fixture_disabled():  # A first build takes minutes: let its progress be seen.
            return ensure_binaries()
    except SidecarUnavailable as error:
        if os.environ.get("CI") == "true":
            pytest.fail(f"The real Dapr sidecar is missing, and CI must have it: {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def dapr_cluster(dapr_binaries: Path) -> Iterator[DaprCluster]:
    """Placement and scheduler for the whole session."""
    with DaprCluster(binaries=dapr_binaries) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def dapr_sidecar(dapr_cluster: DaprCluster) -> DaprSidecar:
    """A Dapr sidecar for the whole session."""
    return dapr_cluster.sidecar("app")


@pytest.fixture
def own_cluster(dapr_binaries: Path) -> Iterator[DaprCluster]:
    """Placement and scheduler for one test that kills or restarts its sidecar."""
    with DaprCluster(binaries=dapr_binaries) as cluster:
        yield cluster
