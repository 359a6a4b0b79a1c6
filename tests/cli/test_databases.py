"""Commands on an engine's file."""

from __future__ import annotations

import sqlite3
import threading
from pathlib import Path

import pytest

from tests.cli.places import quick, real, served

EVERYONE = {"chain-1", "failing-1", "parent-1", "parent-1-child", "approval-1", "approval-2", "approval-3"}


def ids(file: Path) -> set[str]:
    return {state["id"] for state in quick("list", "--all", "--json", "--db", str(file)).json["instances"]}


def test_a_backup_is_an_engine_file(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "deep" / "copy.db"
    answer = real("backup", "--db", str(file), str(copy))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.startswith(f"{copy}: 7 instances, ")
    assert [path.name for path in copy.parent.iterdir()] == ["copy.db"]
    assert ids(copy) == EVERYONE
    with served(copy) as place:
        place.client.raise_workflow_event("approval-1", "approval", data=1)
        state = place.client.wait_for_workflow_completion("approval-1", timeout_in_seconds=10)
        assert state is not None
        assert state.runtime_status.name == "COMPLETED"


def test_a_backup_of_a_running_engine_is_one_moment_of_it(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    stop = threading.Event()
    with served(path) as place:
        for number in range(30):
            place.client.schedule_new_workflow("approval", input="x" * 20_000, instance_id=f"first-{number}")

        def keep_writing() -> None:
            while not stop.is_set():
                place.client.schedule_new_workflow("chain", input=3)

        writer = threading.Thread(target=keep_writing)
        writer.start()
        try:
            copies = [tmp_path / f"copy-{number}.db" for number in range(5)]
            for copy in copies:
                assert quick("backup", "--db", str(path), str(copy)).code == 0
        finally:
            stop.set()
            writer.join(20)
    sizes = []
    for copy in copies:
        with sqlite3.connect(copy) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        found = ids(copy)
        assert {f"first-{number}" for number in range(30)} <= found
        sizes.append(len(found))
        connection.close()
    assert sizes == sorted(sizes)


def test_a_backup_replaces_only_what_it_is_told_to(file: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy.db"
    copy.write_text("precious")
    answer = quick("backup", "--db", str(file), str(copy))
    assert answer.code == 2
    assert "--overwrite" in answer.err
    assert copy.read_text() == "precious"
    assert quick("backup", "--db", str(file), str(copy), "--overwrite", "--json").json["instances"] == 7
    assert ids(copy) == EVERYONE
    assert quick("backup", "--db", str(file), str(file), "--overwrite").code == 2
    assert quick("backup", "--db", str(file), str(tmp_path)).code == 2
    assert ids(file) == EVERYONE


@pytest.mark.parametrize("command", [["backup", "out.db"], ["vacuum"], ["size"], ["list"], ["show", "x"]])
def test_files_that_are_not_an_engines(tmp_path: Path, command: list[str]) -> None:
    (tmp_path / "text.db").write_text("no database " * 100)
    other = sqlite3.connect(tmp_path / "other.db")
    with other:
        other.execute("CREATE TABLE t (a)")
    other.close()
    for name in ("text.db", "other.db", "nowhere.db"):
        answer = real(*command, "--db", name, cwd=tmp_path)
        assert (answer.code, answer.out) == (2, ""), answer
        assert name in answer.err
    assert {path.name for path in tmp_path.iterdir()} == {"text.db", "other.db"}


def test_size_counts_instances_and_bytes(file: Path) -> None:
    document = quick("size", "--db", str(file), "--json").json
    counts = {status: row["count"] for status, row in document["instances"].items()}
    assert counts == {"COMPLETED": 3, "FAILED": 1, "RUNNING": 1, "SUSPENDED": 1, "TERMINATED": 1}
    connection = sqlite3.connect(file)
    events, length = connection.execute("SELECT count(*), sum(length(event)) FROM history").fetchone()
    connection.close()
    assert sum(row["events"] for row in document["instances"].values()) == events
    assert sum(row["history_bytes"] for row in document["instances"].values()) == length
    assert document["tables"]["history"]["rows"] == events
    assert document["tables"]["history"]["bytes"] >= length
    assert document["bytes"] >= sum(table["bytes"] for table in document["tables"].values())
    out = quick("size", "--db", str(file)).out
    assert ["COMPLETED", "3"] in [line.split()[:2] for line in out.splitlines()]


def test_size_and_backup_while_an_engine_runs(tmp_path: Path) -> None:
    path = tmp_path / "live.db"
    with served(path) as place:
        place.finish("chain", 1)
        assert real("size", "--db", str(path), "--json").json["instances"]["COMPLETED"]["count"] == 1
        assert place.finish("chain", 1)


def test_vacuum_gives_space_back(tmp_path: Path) -> None:
    path = tmp_path / "large.db"
    with served(path) as place:
        for number in range(20):
            place.finish("failing", "x" * 50_000, instance_id=f"f-{number}")
        place.finish("chain", 1, instance_id="kept")
        for number in range(20):
            place.client.purge_workflow(f"f-{number}")
        busy = quick("vacuum", "--db", str(path))
        assert busy.code == 2
        assert "is in use by the engine of process" in busy.err
        assert "stop it first" in busy.err
    document = real("vacuum", "--db", str(path), "--json").json
    assert document["bytes"] < document["bytes_before"] / 4
    assert path.stat().st_size == document["bytes"]
    assert ids(path) == {"kept"}


def test_the_report_of_a_file_of_the_first_layout(tmp_path: Path) -> None:
    path = tmp_path / "old.db"
    old = sqlite3.connect(path)
    with old:
        old.executescript(
            """
            PRAGMA application_id = 1685546611;
            PRAGMA user_version = 1;
            CREATE TABLE instances (instance_id TEXT PRIMARY KEY, started INTEGER, ended INTEGER, suspended INTEGER);
            CREATE TABLE history (instance_id TEXT, position INTEGER, event BLOB);
            INSERT INTO instances VALUES ('a', 1, NULL, 0), ('b', NULL, NULL, 0), ('c', 1, 1, 0);
            INSERT INTO history VALUES ('a', 0, x'0102'), ('c', 0, x'01'), ('c', 1, x'01');
            """
        )
    old.close()
    document = quick("size", "--db", str(path), "--json").json
    assert document["instances"] == {
        "COMPLETED": {"count": 1, "events": 2, "history_bytes": 2},
        "PENDING": {"count": 1, "events": 0, "history_bytes": 0},
        "RUNNING": {"count": 1, "events": 1, "history_bytes": 2},
    }
    assert document["tables"]["history"]["rows"] == 3
