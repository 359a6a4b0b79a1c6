"""A program written for Dapr's Python SDK runs with another import, and one written for this package on Dapr's."""

from __future__ import annotations

import sys
from collections.abc import Iterator
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


@pytest.fixture(scope="module")
def runs(
    tmp_path_factory: pytest.TempPathFactory, dapr_cluster: DaprCluster
) -> Iterator[dict[str, Future[Output]]]:
    """All runs, begun at the same time: most of the time they wait for their timers."""
    text = PROGRAM.read_text()
    assert text.count("dapr_workflow_sdk") == text.count(_OURS) == 1
    official = tmp_path_factory.mktemp("official") / "official.py"
    official.write_text(text.replace(_OURS, _THEIRS))

    def ports(of: ServedEngine | DaprSidecar) -> dict[str, str]:
        return {"DAPR_GRPC_PORT": str(of.grpc_port), "DAPR_HTTP_PORT": str(of.http_port)}

    with ExitStack() as stack:
        pool = stack.enter_context(ThreadPoolExecutor())
        folder = tmp_path_factory.mktemp("engines")

        def begin(name: str, command: list[str], environment: dict[str, str]) -> Future[Output]:
            return pool.submit(run, command, tmp_path_factory.mktemp(name), environment, _TIMEOUT)

        def engine(name: str) -> dict[str, str]:
            hub = stack.enter_context(EmbeddedEngine(folder / f"{name}.db"))
            return ports(stack.enter_context(hub.serve(grpc_port=0, http_port=0)))

        python = sys.executable
        yield {
            "on an engine of this process": begin("served", [python, str(PROGRAM)], engine("ours")),
            "on the engine": begin("engine", [str(COMMAND), "run", str(PROGRAM), "--db", "tea.db"], {}),
            "on daprd": begin("daprd", [python, str(PROGRAM)], ports(dapr_cluster.sidecar("tea-ours"))),
            "official on daprd": begin("both", [python, str(official)], ports(dapr_cluster.sidecar("tea-theirs"))),
            "official on the engine": begin("official", [python, str(official)], engine("theirs")),
        }


@pytest.mark.parametrize(
    "name", ["on an engine of this process", "on the engine", "on daprd", "official on daprd", "official on the engine"]
)
def test_same_program_same_words(name: str, runs: dict[str, Future[Output]]) -> None:
    """Only the import differs, and no line that it prints."""
    output = runs[name].result()
    assert output.status == 0, output.stdout + output.stderr
    check_lines(output.stdout, [_SAID])
    if not name.startswith("official"):  # Dapr's own SDK writes its log there.
        check_lines(output.stderr, [[r"Engine ready: gRPC .*tea\.db"]] if name == "on the engine" else [])
