"""The programs of docs/interop.md do what it says."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.interop.environments import HERE
from tests.interop.programs import Sdk, Site, javascript, official


@pytest.mark.parametrize(("sdk", "program"), [(official, "python/hello.py"), (javascript, "js/hello.js")])
def test_hello(own_site: Site, sdk: Callable[[], Sdk], program: str) -> None:
    made = sdk()
    printed = own_site.run(made, made.worker[0], str(HERE / program))
    assert '"Hello, Ada"' in printed.splitlines()
