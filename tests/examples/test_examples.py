"""Every example runs on every task hub, as a user would run it, and says what it should."""

from __future__ import annotations

import ast
import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.examples.programs import COMMAND, EXAMPLES, Output, check_lines, run
from tests.sidecar.cluster import DaprCluster

HUBS = ("in-process", "engine", "daprd")
_READY = r"Engine ready: gRPC 127\.0\.0\.1:\d+, HTTP 127\.0\.0\.1:\d+, .*example\.db"
_TIMEOUT = 100.0
_AT_A_TIME = 3

_IN_PROCESS = """
import importlib
import sys
folder, name, database, *arguments = sys.argv[1:]
sys.path.insert(0, folder)
from dapr_workflow_sdk import EmbeddedEngine
program = importlib.import_module(name)
with EmbeddedEngine(database) as engine:
    sys.exit(program.main(arguments, engine=engine) if arguments else program.main(engine=engine))
"""


@dataclass(frozen=True)
class Example:
    """How an example is called and what it says; see `check_lines`."""

    strands: tuple[tuple[str, ...], ...]
    others: str | None = None
    arguments: tuple[str, ...] = ()


EXPECTED = {
    "async_http_api": Example(
        (
            (
                r"POST /v1\.0/workflows/dapr/make_report/start\?instanceID=(report-\w{32}) -> 202",
                r"  started report-\w{32}",
                r"GET /v1\.0/workflows/dapr/report-\w{32} -> 200",
                r'  COMPLETED: "Annual report: 3 pages, 810 words"',
            ),
        ),
        others=r"GET /v1\.0/workflows/dapr/report-\w{32} -> 200|  PENDING: |  RUNNING: writing page [123] of 3",
    ),
    "async_workflow": Example(
        ((r'COMPLETED: "map of 25 stations, warmest in station Y with 19\.1 degrees"',),),
    ),
    "child_workflows": Example(
        (
            (
                r'hamburg and genoa: "1840 pieces in hamburg and genoa"',
                r"  child hamburg: COMPLETED ",
                r"  child genoa: COMPLETED ",
                r'hamburg and atlantis: "1200 pieces in hamburg"',
                r"  child hamburg: COMPLETED ",
                r"  child atlantis: FAILED TaskFailedError: .*there is no warehouse atlantis.*LookupError.*",
            ),
        ),
    ),
    "external_event": Example(
        (
            (r"pencils: ordering",),
            (
                r"espresso machine: may we buy it for 1850\.00\?",
                r"espresso machine: status waiting for the manager",
                r"espresso machine: ordering",
                r'COMPLETED: "espresso machine: bought"',
            ),
            (r"grand piano: may we buy it for 48000\.00\?", r'COMPLETED: "grand piano: cancelled, nobody answered"'),
            (r'COMPLETED: "pencils: bought"',),
        ),
    ),
    "fan_out_fan_in": Example(
        (
            (
                r'all at once: "20 photos, 4280 KB saved" in \d+\.\d\d s',
                r'5 at a time: "20 photos, 4280 KB saved" in \d+\.\d\d s',
            ),
        ),
    ),
    "hello_world": Example(
        (
            (
                r"Hello, world!",
                r"Run 1 of the activity",
                r"Run 2 of the activity",
                r"Run 1 of the child",
                r"Run 2 of the child",
                r"The instance is SUSPENDED",
                r"The instance is RUNNING",
                r"The answer is: hello, you",
                r'COMPLETED: "completed"',
                r"After the purge: None",
            ),
        ),
    ),
    "monitor": Example(
        (
            (
                r"round 1: looking at shop\.example",
                r"\*\*\* shop\.example is down!",
                r"round 2: looking at shop\.example",
                r"round 3: looking at shop\.example",
                r"round 4: looking at shop\.example",
                r'COMPLETED: "shop\.example is up in round 4"',
            ),
        ),
    ),
    "saga_compensation": Example(
        (
            (
                r"2 people want to see Lisbon",
                r"  flight to Lisbon booked",
                r"  hotel in Lisbon booked",
                r"  car in Lisbon booked",
                r'  COMPLETED: "trip to Lisbon: 2 seats, 1 rooms, a car"',
                r"7 people want to see Oslo",
                r"  flight to Oslo booked",
                r"  hotel in Oslo booked",
                r"  car in Oslo cancelled, if there was one",
                r"  hotel in Oslo cancelled",
                r"  flight to Oslo cancelled",
                r'  COMPLETED: "no trip to Oslo: .*no car takes 7 people"',
            ),
        ),
    ),
    "task_chaining": Example(
        (
            (
                r"reading '95\.0F'",
                r'  COMPLETED: \["95\.0", "35\.0", "It is warm: 35\.0 degrees\."\]',
                r"reading '41F'",
                r'  COMPLETED: \["41\.0", "5\.0", "It is cold: 5\.0 degrees\."\]',
                r"reading 'warm'",
                r"  handler: a reading is broken, 'warm': .*could not convert string to float: 'warm'",
                r"  FAILED: TaskFailedError: .*could not convert string to float: 'warm'.*ValueError.*",
            ),
        ),
    ),
    "order_processing": Example(
        (
            (
                *[r"orders\.json:\d+: malformed order: .+"] * 16,
                r"outcome      orders          EUR",
                r"completed       155    52,186\.73",
                r"compensated      38    37,995\.15",
                r"rejected          6    22,575\.99",
                r"timed_out         5    12,336\.50",
                r"failed            0         0\.00",
                r"malformed        16         0\.00",
                r"220 entries in \d+\.\d s",
                r'\{"counts": .*\}',
            ),
        ),
        others=r"204 orders: .*",
        arguments=("--json",),
    ),
}  # fmt: skip
_COUNTS = {"completed": 155, "compensated": 38, "rejected": 6, "timed_out": 5, "failed": 0, "malformed": 16}


class _Runs:
    """The runs of all examples on one hub, a few at a time; `order_processing` after the others, by itself."""

    def __init__(self, names: list[str], run_one: Callable[[str], Output]) -> None:
        self._pool = ThreadPoolExecutor(_AT_A_TIME)
        small = {name: self._pool.submit(run_one, name) for name in names if name != "order_processing"}
        self._futures: dict[str, Future[Output]] = dict(small)
        if "order_processing" in names:

            def run_alone() -> Output:
                wait(small.values())
                return run_one("order_processing")

            self._futures["order_processing"] = self._pool.submit(run_alone)

    def __getitem__(self, name: str) -> Output:
        return self._futures[name].result()

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


def _command(hub: str, name: str) -> list[str]:
    path, arguments = EXAMPLES / f"{name}.py", list(EXPECTED[name].arguments)
    if hub == "in-process":
        return [sys.executable, "-c", _IN_PROCESS, str(EXAMPLES), name, "example.db", *arguments]
    if hub == "engine":
        return [str(COMMAND), "run", str(path), "--db", "example.db", *(["--", *arguments] if arguments else [])]
    return [sys.executable, str(path), *arguments]


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[str], _Runs]]:
    """The runs on a hub, all begun when the first is asked for."""
    begun: dict[str, _Runs] = {}
    tmp_path_factory.getbasetemp()  # Made here: threads that ask for it at the same time get several.

    def begin(hub: str) -> _Runs:
        if hub in begun:
            return begun[hub]
        cluster: DaprCluster | None = request.getfixturevalue("dapr_cluster") if hub == "daprd" else None

        def run_one(name: str) -> Output:
            folder = tmp_path_factory.mktemp(f"{hub}-{name}")
            if cluster is None:
                return run(_command(hub, name), folder, {}, _TIMEOUT)
            # Workers of one app must know the same workflows, so each example is an app of its own.
            sidecar = cluster.sidecar(f"example-{name.replace('_', '-')}")
            try:
                ports = {"DAPR_GRPC_PORT": str(sidecar.grpc_port), "DAPR_HTTP_PORT": str(sidecar.http_port)}
                return run(_command(hub, name), folder, ports, _TIMEOUT)
            finally:
                sidecar.stop()

        begun[hub] = _Runs(_selected(request.session.items, hub), run_one)
        return begun[hub]

    yield begin
    for each in begun.values():
        each.close()


def _selected(items: list[pytest.Item], hub: str) -> list[str]:
    chosen: list[str] = []
    for item in items:
        if isinstance(item, pytest.Function) and item.function is test_runs:
            parameters: dict[str, Any] = item.callspec.params
            if parameters["hub"] == hub:
                chosen.append(parameters["name"])
    return chosen


@pytest.mark.parametrize("name", EXPECTED)
@pytest.mark.parametrize("hub", HUBS)
def test_runs(hub: str, name: str, runs: Callable[[str], _Runs]) -> None:
    """It ends well, says what it should, and complains about nothing."""
    output = runs(hub)[name]
    assert output.status == 0, output.stdout + output.stderr
    check_lines(output.stdout, EXPECTED[name].strands, EXPECTED[name].others)
    check_lines(output.stderr, [[_READY]] if hub == "engine" else [])
    if name == "order_processing":
        said = json.loads(output.stdout.splitlines()[-1])
        assert said["counts"] == _COUNTS
        assert len(said["outcomes"]) == 204


def test_all_are_run() -> None:
    """No example is forgotten here."""
    assert EXPECTED.keys() == {path.stem for path in EXAMPLES.glob("*.py")}


@pytest.mark.parametrize("name", EXPECTED)
def test_says_how_it_is_run(name: str) -> None:
    """Its docstring has the command, and its title stands in the list of examples."""
    text = (EXAMPLES / f"{name}.py").read_text()
    docstring = ast.get_docstring(ast.parse(text)) or ""
    assert re.search(rf"^ +dapr-workflow run examples/{name}\.py\b", docstring, re.MULTILINE)
    readme = (EXAMPLES / "README.md").read_text()
    assert f"| [`{name}.py`]({name}.py) | " in readme


def test_list_has_only_what_is_there() -> None:
    """The list of examples names no file that does not exist."""
    readme = (EXAMPLES / "README.md").read_text()
    linked = set(re.findall(r"\]\(([^)#:]+)\)", readme))
    assert {f"{name}.py" for name in EXPECTED} <= linked
    assert [name for name in sorted(linked) if not (EXAMPLES / name).exists()] == []


@pytest.mark.parametrize("path", sorted(EXAMPLES.rglob("*.py")), ids=lambda path: path.relative_to(EXAMPLES).as_posix())
def test_is_small(path: Path) -> None:
    """It is read in a few minutes."""
    assert len(path.read_text().splitlines()) < 120
