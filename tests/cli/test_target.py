"""Which task hub a command speaks to, and what is said when there is none."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import grpc
import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
from tests.cli.places import COMMAND, Place, quick, real
from tests.worker.support import FakeSidecar, child, environment


def port_of(place: Place) -> str:
    return place.options[1]


def test_options_win_over_variables_and_these_over_defaults(place: Place) -> None:
    place.finish("chain", 1, instance_id="here")
    port = port_of(place)
    for arguments, variables in [
        (["--grpc-port", port], {"DAPR_GRPC_ENDPOINT": "127.0.0.1:1"}),
        (["--endpoint", f"127.0.0.1:{port}"], {"DAPR_GRPC_PORT": "1"}),
        (["--endpoint", f"http://127.0.0.1:{port}"], {"DAPR_GRPC_ENDPOINT": "127.0.0.1:1"}),
        ([], {"DAPR_GRPC_PORT": port}),
        ([], {"DAPR_GRPC_ENDPOINT": f"127.0.0.1:{port}", "DAPR_GRPC_PORT": "1"}),
    ]:
        answer = real("show", "here", "--json", *arguments, **variables)
        assert answer.json["id"] == "here"


def test_where_nothing_is_it_says_what_to_do() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = str(unused.getsockname()[1])
        answer = real("list", "--grpc-port", port)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith(f"dapr-workflow: Nothing answers at 127.0.0.1:{port} (--grpc-port). ")
    assert len(answer.err.splitlines()) == 1
    assert "--db" in answer.err


@pytest.mark.parametrize(
    "arguments",
    [
        ["--endpoint", "ftp://x"],
        ["--endpoint", "127.0.0.1:x"],
        ["--endpoint", "h:1", "--grpc-port", "1"],
        ["--db", "x.db", "--grpc-port", "1"],
        ["--grpc-port", "70000"],
    ],
)
def test_targets_that_make_no_sense(arguments: list[str]) -> None:
    answer = quick("list", *arguments)
    assert (answer.code, answer.out) == (2, "")
    assert "DAPR_GRPC_ENDPOINT=" not in answer.err


def test_a_file_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    for name in ("nowhere.db", "."):
        answer = real("list", "--db", name, cwd=tmp_path)
        assert (answer.code, answer.out) == (2, "")
        assert name in answer.err
    assert list(tmp_path.iterdir()) == []


def test_a_file_in_use_names_the_port_of_its_engine(tmp_path: Path) -> None:
    with child([*COMMAND, "engine", "--db", "x.db", "--grpc-port=0", "--http-port=0"], cwd=tmp_path) as engine:
        port = engine.says("Engine ready: gRPC 127.0.0.1:").split(",")[0]
        answer = real("list", "--db", "x.db", cwd=tmp_path)
        assert (answer.code, answer.out) == (2, "")
        expected = (
            f"x.db is in use by the engine of process {engine.pid}. Ask that one: --grpc-port {port} instead of --db."
        )
        assert answer.err == f"dapr-workflow: {expected}\n"
        # The engine has not been bothered: it has nothing to complain about.
        assert engine.err == []
        assert real("list", "--json", "--grpc-port", port).json["instances"] == []


def test_a_file_in_use_by_an_engine_without_ports(tmp_path: Path) -> None:
    with EmbeddedEngine(tmp_path / "x.db"):
        answer = real("list", "--db", "x.db", cwd=tmp_path)
    assert answer.code == 2
    assert f"x.db is in use by the engine of process {os.getpid()}" in answer.err
    assert "--grpc-port N" in answer.err


def test_apps_of_one_engine_are_apart() -> None:
    with EmbeddedEngine(app_id="shop") as engine, engine.serve() as served, WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow("order", instance_id="one")
        port = str(served.grpc_port)
        mine = ["--grpc-port", port]
        assert [s["id"] for s in quick("list", "--json", *mine).json["instances"]] == ["one"]
        assert quick("start", "order", "--id", "two", "--app-id", "stock", *mine).code == 0
        assert [s["id"] for s in quick("list", "--json", *mine).json["instances"]] == ["one"]
        assert [s["id"] for s in quick("list", "--json", "--app-id", "stock", *mine).json["instances"]] == ["two"]
        assert quick("show", "two", *mine).code == 3
        empty = quick("list", "--status", "failed", *mine).err
        assert empty == "No such instances.\nThis engine also serves stock: name one with --app-id.\n"


def test_the_only_app_of_a_file_need_not_be_named(tmp_path: Path) -> None:
    path = tmp_path / "shop.db"
    with EmbeddedEngine(path, app_id="shop") as engine, WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow("order", instance_id="one")
    assert [s["id"] for s in quick("list", "--json", "--db", str(path)).json["instances"]] == ["one"]
    with EmbeddedEngine(path, app_id="stock") as engine, WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow("order", instance_id="two")
    answer = quick("list", "--db", str(path))
    assert answer.code == 2
    assert "shop, stock. Name one with --app-id" in answer.err
    for app, name in (("shop", "one"), ("stock", "two")):
        found = quick("list", "--json", "--db", str(path), "--app-id", app).json["instances"]
        assert [state["id"] for state in found] == [name]


def test_workers_belong_to_files_that_are_served(file: Path) -> None:
    answer = quick("workers", "--db", str(file))
    assert answer.code == 2
    assert "--grpc-port" in answer.err


def test_the_token_comes_from_the_environment() -> None:
    with EmbeddedEngine() as engine, engine.serve(api_token="secret") as served:
        options = ["--grpc-port", str(served.grpc_port)]
        assert quick("list", "--json", *options, DAPR_API_TOKEN="secret").json["instances"] == []
        refused = quick("list", *options, DAPR_API_TOKEN="wrong")
        assert (refused.code, refused.out) == (2, "")
        assert "DAPR_API_TOKEN" in refused.err
        assert "secret" not in refused.err


def test_a_task_hub_that_refuses_is_not_taken_for_none() -> None:
    with FakeSidecar() as sidecar:
        sidecar.hello = (grpc.StatusCode.PERMISSION_DENIED, "not you")
        answer = quick("list", "--grpc-port", str(sidecar.port))
    assert answer.code == 2
    assert "not you" in answer.err


# ---- pipes, colours, completion --------------------------------------------------------------------------------


def test_a_reader_that_has_enough_ends_the_command_quietly(tmp_path: Path) -> None:
    path = tmp_path / "many.db"
    with EmbeddedEngine(path) as engine, WorkflowClient(engine=engine) as client, WorkflowRuntime(engine=engine):
        for _ in range(400):
            client.schedule_new_workflow("nothing", input="x" * 300)
    command = " ".join([*COMMAND, "list", "--all", "--db", str(path)])
    for option in ("", "--json"):
        with child(["bash", "-c", f"set -o pipefail; {command} {option} | head -n 2"], NO_COLOR="1") as pipe:
            assert pipe.ends(60) == 141
            assert pipe.err == []
            assert len(pipe.out) == 2


def test_colours_are_for_terminals_that_want_them(place: Place, tmp_path: Path) -> None:
    from tests.cli.test_watching import Screen

    place.finish("chain", 1, instance_id="c")
    assert "\x1b" not in real("list", *place.options).out
    for colour in (True, False):
        screen = Screen([*COMMAND, "list", *place.options], tmp_path, colour=colour)
        try:
            assert screen.ends() == 0
            assert ("\x1b[32m" in screen.everything()) is colour
        finally:
            screen.close()


@pytest.mark.parametrize(
    ("typed", "expected"), [("dapr-workflow hi", "history"), ("dapr-workflow list --status fa", "FAILED")]
)
def test_completion_knows_the_commands_and_statuses(typed: str, expected: str) -> None:
    done = subprocess.run(
        [str(Path(sys.executable).parent / "dapr-workflow")],
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
        env=environment(
            _DAPR_WORKFLOW_COMPLETE="complete_bash", COMP_WORDS=typed, COMP_CWORD=str(len(typed.split()) - 1)
        ),
    )
    assert done.stdout.split() == [expected]
    assert "--install-completion" in real("--help").out
