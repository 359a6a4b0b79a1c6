"""Lists of a task hub that tells ids only, as Dapr's sidecars from 1.17 on do."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
from dapr_workflow_sdk.cli import finding
from dapr_workflow_sdk.cli.arguments import Status
from dapr_workflow_sdk.cli.finding import Filter, read_page
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.address import Address
from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub
from dapr_workflow_sdk.taskhub.port import Capabilities, TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.cli.places import served
from tests.worker.support import eventually


class TellsIdsOnly(GrpcTaskHub):
    """The engine over gRPC, as far as a sidecar has the same calls."""

    async def capabilities(self) -> Capabilities:
        return Capabilities(lists=True, stalls=True, detaches=False, extensions=False)

    async def instances(self, request: object) -> object:
        raise AssertionError("a sidecar has no such call")


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[TellsIdsOnly]:
    # Small pages, so that a few instances make several.
    monkeypatch.setattr(finding, "_PAGE", 4)
    monkeypatch.setattr(finding, "_AT_ONCE", 3)
    with EmbeddedEngine() as engine, engine.serve() as at, WorkflowClient(engine=engine) as client:
        for number in range(11):
            client.schedule_new_workflow(
                "even" if number % 2 == 0 else "odd", instance_id=f"i-{number:02}", input=number
            )
        client.terminate_workflow("i-03")
        made = TellsIdsOnly(Address(f"127.0.0.1:{at.grpc_port}", tls=False, source="the test"))
        try:
            yield made
        finally:
            PORTAL.call(made.aclose)


def pages(hub: TellsIdsOnly, wanted: Filter, limit: int) -> list[list[str]]:
    found: list[list[str]] = []
    token = ""
    while True:
        page = PORTAL.call(lambda: read_page(hub, wanted, limit, token, payloads=True))
        found.append([state.instanceId for state in page.states])
        token = page.token
        if not token:
            return found
        assert len(found) < 20


def numbers(*which: int) -> list[str]:
    return [f"i-{number:02}" for number in which]


@pytest.mark.parametrize("limit", range(1, 14))
def test_pages_of_any_size_hold_everything_once(hub: TellsIdsOnly, limit: int) -> None:
    found = pages(hub, Filter(), limit)
    assert [name for page in found for name in page] == numbers(*range(11))
    assert all(len(page) == limit for page in found[:-1])


@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(name="odd"), numbers(1, 3, 5, 7, 9)),
        (Filter(prefix="i-0"), numbers(*range(10))),
        (Filter(prefix="i-1", name="even"), numbers(10)),
        (Filter(statuses=(Status.TERMINATED,)), numbers(3)),
        (Filter(statuses=(Status.PENDING,), name="odd"), numbers(1, 5, 7, 9)),
        (Filter(name="neither"), []),
    ],
)
def test_filters_are_applied_here(hub: TellsIdsOnly, limit: int, wanted: Filter, expected: list[str]) -> None:
    assert [name for page in pages(hub, wanted, limit) for name in page] == expected


def test_both_ways_of_listing_agree(tmp_path: Path) -> None:
    with served(tmp_path / "x.db") as place:
        place.finish("parent", 1, instance_id="p")
        place.finish("failing", 1, instance_id="f")
        made = TellsIdsOnly(Address(f"127.0.0.1:{place.options[1]}", tls=False, source="the test"))
        try:
            assert place.engine is not None
            hub = place.engine.hub
            for wanted in (Filter(), Filter(name="chain"), Filter(statuses=(Status.FAILED,))):

                def listed(hub: TaskHub, wanted: Filter = wanted) -> list[pb.WorkflowState]:
                    page = PORTAL.call(lambda: read_page(hub, wanted, 9, "", payloads=True))
                    return sorted(page.states, key=lambda state: state.instanceId)

                eventually(lambda: listed(hub) == listed(made), "lists that agree")
                assert listed(made) != []
        finally:
            PORTAL.call(made.aclose)
