"""A program written for Dapr's Python SDK runs with another import, and one written for this package on Dapr's."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from dapr_workflow_sdk import EmbeddedEngine
from dapr_workflow_sdk.engine.embedded import ServedEngine
from tests.examples.programs import COMMAND, Output, check_lines, run
from tests.sidecar.cluster import DaprCluster, DaprSidecar

PROGRAM = Path(__file__).with_name("drop_in_hello_world.py")
_OURS, _THEIRS = "from dapr_workflow_sdk import (", "from dapr.ext.workflow import ("
_TIMEOUT = 90.0
_SAID = (
    r"== Tea is ordered",
    r"Order: tea for two",
    r"In the kettle: 1",
    r"In the kettle: 11",
    r"Boil 1: a fuse blew",
    r"Boil 2: it boils",
    r"Steeping 1",
    r"Pouring a",
    r"Pouring a",
    r"Steeping 2",
    r"Pouring b",
    r"Pouring b",
    r"Steeping 3",
    r"Pouring c",
    r"Pouring c",
    r"After pause: SUSPENDED",
    r"After resume: RUNNING",
    r"== The guests are here",
    r"In the kettle: 111",
    r"In the kettle: 1111",
    r"Result: Served",
    r"Purged: True",
)


class _Runs:
    """Runs of the program, begun at the same time: most of it they wait for their timers."""

    def __init__(self, factory: pytest.TempPathFactory) -> None:
        text = PROGRAM.read_text()
        assert text.count("dapr_workflow_sdk") == text.count(_OURS) == 1
        self.ours = [sys.executable, str(PROGRAM)]
        self.theirs = [sys.executable, str(factory.mktemp("official") / "official.py")]
        Path(self.theirs[1]).write_text(text.replace(_OURS, _THEIRS))
        self._factory = factory
        self._pool = ThreadPoolExecutor()
        self._futures: dict[str, Future[Output]] = {}

    def begin(self, name: str, command: list[str], hub: ServedEngine | DaprSidecar | None) -> None:
        """Begins a run beside a hub."""
        # The quickstart counts in global variables, and the linter would rightly say so.
        variables = {"DAPR_WORKFLOW_LINT": "off"}
        if hub is not None:
            variables |= {"DAPR_GRPC_PORT": str(hub.grpc_port), "DAPR_HTTP_PORT": str(hub.http_port)}
        folder = self._factory.mktemp(name)
        self._futures[name] = self._pool.submit(run, command, folder, variables, _TIMEOUT)

    def close(self) -> None:
        """Waits for all runs."""
        self._pool.shutdown()

    def check(self, name: str, *, errors: Sequence[str] | None = ()) -> None:
        """Checks what a run said.

        Args:
            name: The run.
            errors: What it said on stderr; None for Dapr's own SDK, which writes its log there.
        """
        output = self._futures[name].result()
        assert output.status == 0, output.stdout + output.stderr
        check_lines(output.stdout, [_SAID])
        if errors is not None:
            check_lines(output.stderr, [errors])


@pytest.fixture(scope="module")
def on_engines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[_Runs]:
    """Runs on engines: two of this process, and one of the command."""
    with ExitStack() as stack:
        runs = _Runs(tmp_path_factory)
        for name, command in (("served", runs.ours), ("official", runs.theirs)):
            engine = stack.enter_context(EmbeddedEngine(tmp_path_factory.mktemp("engine") / "tea.db"))
            runs.begin(name, command, stack.enter_context(engine.serve(grpc_port=0, http_port=0)))
        runs.begin("command", [str(COMMAND), "run", str(PROGRAM), "--db", "tea.db"], None)
        yield runs
        runs.close()


@pytest.fixture(scope="module")
def on_daprd(tmp_path_factory: pytest.TempPathFactory, dapr_cluster: DaprCluster) -> Iterator[_Runs]:
    """Runs on sidecars, one for each."""
    with ExitStack() as stack:
        runs = _Runs(tmp_path_factory)
        for name, command in (("daprd", runs.ours), ("official", runs.theirs)):
            sidecar = dapr_cluster.sidecar(f"tea-{name}")
            stack.callback(sidecar.stop)
            runs.begin(name, command, sidecar)
        yield runs
        runs.close()


def test_on_an_engine_of_this_process(on_engines: _Runs) -> None:
    """The program needs nothing but a port."""
    on_engines.check("served")


def test_on_the_engine(on_engines: _Runs) -> None:
    """The command gives it one."""
    on_engines.check("command", errors=[r"Engine ready: gRPC .*tea\.db"])


def test_daprs_own_sdk_on_the_engine(on_engines: _Runs) -> None:
    """Programs that stay with Dapr's own SDK run on the engine."""
    on_engines.check("official", errors=None)


def test_on_daprd(on_daprd: _Runs) -> None:
    """Dapr's sidecar takes it as one of its own."""
    on_daprd.check("daprd")


def test_daprs_own_sdk_on_daprd(on_daprd: _Runs) -> None:
    """What the program says elsewhere is what Dapr's own SDK has it say here."""
    on_daprd.check("official", errors=None)
