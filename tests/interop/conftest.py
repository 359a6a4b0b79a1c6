"""Fixtures of the interoperability tests."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.interop.environments import EnvironmentUnavailableError, javascript_environment, python_environment
from tests.interop.programs import Site, site
from tests.interop.runs import Outcomes, running


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


@pytest.fixture(scope="session")
def outcomes(
    request: pytest.FixtureRequest, environments: None, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Outcomes]:
    """What the runs come to that the session has tests of."""
    wanted = [item.callspec.params["name"] for item in request.session.items if _asks_for_outcomes(item)]  # type: ignore[attr-defined]
    with running(dict.fromkeys(wanted), tmp_path_factory.mktemp) as outcomes:
        yield outcomes


@pytest.fixture(scope="session", autouse=True)
def runs_begin(request: pytest.FixtureRequest, environments: None) -> None:
    """Lets the runs go on beside the tests that need none of them."""
    if any(map(_asks_for_outcomes, request.session.items)):
        request.getfixturevalue("outcomes")


def _asks_for_outcomes(item: pytest.Item) -> bool:
    return "outcomes" in getattr(item, "fixturenames", ())


@pytest.fixture
def own_site(tmp_path: Path) -> Iterator[Site]:
    """An engine of this test's own."""
    with site(tmp_path) as made:
        yield made
