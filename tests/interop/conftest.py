"""Fixtures of the interoperability tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.environments import EnvironmentUnavailableError, javascript_environment, python_environment
from tests.interop.programs import Site, site


@pytest.fixture(scope="session", autouse=True)
def environments(request: pytest.FixtureRequest) -> None:
    """Makes the environments of the other SDKs if they are not there; a machine that cannot fails the tests."""
    capture = request.config.pluginmanager.getplugin("capturemanager")
    assert capture is not None
    try:
        with capture.global_and_fixture_disabled():
            python_environment()
            javascript_environment()
    except EnvironmentUnavailableError as error:
        pytest.fail(f"Another SDK could not be installed: {error}", pytrace=False)


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """An engine of this test's own."""
    with site(tmp_path) as made:
        yield made
