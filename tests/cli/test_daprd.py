"""The command against a real Dapr sidecar of 1.16: what it can do there, and what it says where it cannot."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
from tests.cli.places import Place, real, working
from tests.sidecar.cluster import DaprCluster
from tests.worker.support import eventually

_NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def daprd(dapr_cluster: DaprCluster) -> Iterator[Place]:
    """A sidecar of this module's own, with a worker."""
    sidecar = dapr_cluster.sidecar("terminal")
    port = sidecar.grpc_port
    runtime = WorkflowRuntime("127.0.0.1", port, shutdown_timeout=1)
    with working(runtime) as gate, WorkflowClient("127.0.0.1", port) as client:
        runtime.wait_for_worker_ready(timeout=20)
        yield Place(["--grpc-port", str(port)], client, gate)


def fresh() -> str:
    return f"t{next(_NUMBERS)}"


def test_start_wait_and_show(daprd: Place) -> None:
    one = fresh()
    answer = real("start", "chain", "--input", "2", "--id", one, "--wait", "--timeout", "30s", *daprd.options)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.split()[:2] == [one, "COMPLETED"]
    answer = daprd.run("show", one)
    assert answer.code == 0
    assert "COMPLETED" in answer.out
    assert "from version 1.17 on" in answer.err
    document = daprd.run("show", one, "--json").json
    assert (document["status"], document["input"], document["output"]) == ("COMPLETED", 2, 2)
    assert document["waiting_for"] is None
    assert document["children"] is None


def test_failures_have_their_code(daprd: Place) -> None:
    one = fresh()
    answer = daprd.run("start", "failing", "--input", '"tea"', "--id", one, "--wait", "--json")
    assert answer.code == 1
    assert answer.json["status"] == "FAILED"
    assert "no tea" in daprd.run("show", one).out


def test_events_pauses_and_ends(daprd: Place) -> None:
    one, other = fresh(), fresh()
    for name in (one, other):
        assert daprd.run("start", "approval", "--id", name).out == f"{name}\n"
    assert daprd.run("pause", one).out == f"{one}: paused\n"
    assert daprd.run("show", one, "--json").json["status"] == "SUSPENDED"
    assert daprd.run("resume", one).out == f"{one}: resumed\n"
    assert daprd.run("raise", one, "approval", "--data", '"yes"').code == 0
    answer = daprd.run("wait", one, "--json", "--timeout", "20s")
    assert answer.json["output"] == {"answer": "yes"}
    assert daprd.run("terminate", other, "--output", "7").out == f"{other}: terminated\n"
    answer = daprd.run("wait", other, "--json", "--timeout", "20s")
    assert (answer.code, answer.json["output"]) == (1, 7)
    assert daprd.run("purge", one, other).out == f"{one}: purged\n{other}: purged\n"
    assert daprd.run("show", one).code == 3


def test_what_is_missing(daprd: Place) -> None:
    for command in (["show"], ["wait"], ["pause"], ["resume"], ["terminate"], ["purge"], ["watch"]):
        answer = daprd.run(*command, "nobody")
        assert (answer.code, answer.out) == (3, ""), command
        assert "nobody" in answer.err
    assert daprd.run("raise", "nobody", "approval").code == 3


def test_rerun_by_number(daprd: Place) -> None:
    one, again = fresh(), fresh()
    daprd.run("start", "chain", "--input", "2", "--id", one, "--wait")
    answer = daprd.run("rerun", one, "--from", "2", "--id", again)
    assert (answer.code, answer.out) == (0, f"{again}\n"), answer.err
    assert daprd.run("wait", again, "--timeout", "20s").code == 0
    assert daprd.run("rerun", one, "--from", "77").code == 3


@pytest.mark.parametrize(
    ("command", "lacks"),
    [
        (["list"], "cannot list its instances"),
        (["list", "--json", "--all"], "cannot list its instances"),
        (["purge", "--all-finished", "--yes"], "cannot list its instances"),
        (["watch"], "cannot list its instances"),
        (["export", "--out", "-"], "cannot list its instances"),
        (["workers"], "no version of those tells which workers are connected"),
        (["list", "--app-id", "other"], "serves its own app only"),
    ],
)
def test_what_this_sidecar_cannot_do_is_said_in_a_sentence(daprd: Place, command: list[str], lacks: str) -> None:
    answer = daprd.run(*command)
    assert (answer.code, answer.out) == (2, "")
    assert lacks in answer.err
    assert len(answer.err.splitlines()) == 1
    if "list" in lacks:
        assert "1.17" in answer.err
        assert "dapr-workflow show ID" in answer.err


def test_histories_are_not_told_by_this_sidecar(daprd: Place) -> None:
    one = fresh()
    daprd.run("start", "chain", "--input", "1", "--id", one, "--wait")
    for command in (["history", one], ["export", one, "--out", "-"], ["rerun", one, "--from", "add"]):
        answer = daprd.run(*command)
        assert (answer.code, answer.out) == (2, "")
        assert "does not tell histories" in answer.err
        assert "1.17" in answer.err


def test_one_instance_can_be_watched(daprd: Place) -> None:
    one = fresh()
    daprd.start("approval", instance_id=one)
    daprd.client.raise_workflow_event(one, "approval", data=1)
    answer = daprd.run("watch", one, "--json", "--interval", "50ms")
    assert answer.code == 0
    assert answer.lines[-1]["status"] == "COMPLETED"
    eventually(lambda: daprd.run("show", one, "--json").json["status"] == "COMPLETED", "the end")
