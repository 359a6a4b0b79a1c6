"""What both stores promise, and what the one in a file refuses."""

from __future__ import annotations

import dataclasses
import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from dapr_workflow_sdk.engine.state import Change, InstanceRow
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import raised


def row(instance_id: str = "order-7", **changes: Any) -> InstanceRow:
    values: dict[str, Any] = {
        "instance_id": instance_id,
        "name": "order",
        "execution_id": "execution-1",
        "generation": 1,
        "created": 1,
        "updated": 2,
        "started": None,
        "completed": None,
        "scheduled": None,
        "ended": None,
        "suspended": False,
        "input": None,
        "output": None,
        "custom_status": None,
        "failure": None,
        "parent": None,
    }
    return InstanceRow(**{**values, **changes})


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kept: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "engine.db")
    yield kept
    kept.close()


class TestBoth:
    def test_know_nothing_of_unknown_instances(self, store: Store) -> None:
        assert store.load("nobody") is None
        assert store.row("nobody") is None
        assert store.unfinished() == []
        store.commit([Change("nobody", None)])

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"started": 3, "completed": 2**62, "scheduled": 5, "updated": 2**62},
            {"ended": pb.WORKFLOW_STATUS_FAILED, "suspended": True},
            {"input": "", "output": "null", "custom_status": "é\x00\U0001f600"},
            {"failure": pb.TaskFailureDetails(errorType="E", errorMessage="m", isNonRetriable=True)},
            {"failure": pb.TaskFailureDetails()},
            {"parent": pb.ParentInstanceInfo(taskScheduledId=3)},
            {"instance_id": "with 'quotes' || and \n lines", "name": ""},
        ],
        ids=lambda changes: ",".join(changes) or "bare",
    )
    def test_give_back_every_field_of_a_row(self, store: Store, changes: dict[str, Any]) -> None:
        kept = row(**changes)
        store.commit([Change(kept.instance_id, kept)])
        back = store.row(kept.instance_id)
        assert back == kept
        assert back is not None
        assert [type(getattr(back, f.name)) for f in dataclasses.fields(back)] == [
            type(getattr(kept, f.name)) for f in dataclasses.fields(kept)
        ]

    def test_give_history_inbox_tasks_and_timers_back_in_order(self, store: Store) -> None:
        events = [raised(str(n)) for n in range(12)]
        tasks = {(1, n): pb.ActivityRequest(taskId=n) for n in (3, 1, 2)}
        store.commit(
            [
                Change("order-7", row(), history=events[:5], inbox_added=[(10, events[10]), (9, events[9])]),
                Change(
                    "order-7",
                    row(updated=9),
                    history_start=5,
                    history=events[5:9],
                    tasks_added=list(tasks.items()),
                    timers_added=[(4, 400)],
                ),
            ]
        )
        state = store.load("order-7")
        assert state is not None
        assert state.history == events[:9]
        assert [(item.number, item.event) for item in state.inbox] == [(9, events[9]), (10, events[10])]
        assert state.inbox_next == 11
        assert state.tasks == tasks
        assert state.timers == {4: 400}
        assert state.row.updated == 9

    def test_keep_instances_apart(self, store: Store) -> None:
        for name in ("a", "b"):
            change = Change(name, row(name), history=[raised(name)], inbox_added=[(0, raised(name))])
            change.timers_added = [(1, 1)]
            store.commit([change])
        store.commit([Change("a", None)])
        assert store.load("a") is None
        kept = store.load("b")
        assert kept is not None
        assert kept.history == [raised("b")]
        assert store.unfinished() == ["b"]

    @pytest.mark.parametrize(
        "having",
        [
            {"inbox_added": [(0, raised("go"))]},
            {"tasks_added": [((1, 1), pb.ActivityRequest())]},
            {"timers_added": [(1, 1)]},
        ],
        ids=["an event", "an activity", "a timer"],
    )
    def test_call_an_instance_unfinished_while_it_has(self, store: Store, having: dict[str, Any]) -> None:
        store.commit([Change("order-7", row(), **having)])
        assert store.unfinished() == ["order-7"]
        removed = Change("order-7", row(), inbox_removed=[0], tasks_removed=[(1, 1)], timers_removed=[1])
        store.commit([removed])
        assert store.unfinished() == []

    def test_forget_all_but_activities_when_renewed(self, store: Store) -> None:
        first = Change("order-7", row(), history=[raised("old")], inbox_added=[(0, raised("old"))])
        first.timers_added, first.tasks_added = [(1, 1)], [((1, 1), pb.ActivityRequest())]
        second = Change("order-7", row(generation=2), renewed=True, inbox_added=[(0, raised("new"))])
        store.commit([first, second])
        state = store.load("order-7")
        assert state is not None
        assert (state.history, state.timers, set(state.tasks)) == ([], {}, {(1, 1)})
        assert [item.event for item in state.inbox] == [raised("new")]

    def test_what_is_loaded_is_the_callers_to_change(self, store: Store) -> None:
        store.commit([Change("order-7", row(), history=[raised("kept")], timers_added=[(1, 1)])])
        state = store.load("order-7")
        assert state is not None
        state.history.clear()
        state.timers.clear()
        again = store.load("order-7")
        assert again is not None
        assert (len(again.history), again.timers) == (1, {1: 1})


def _commit_some(store: SqliteStore) -> None:
    store.commit([Change("order-7", row(input='"x"'), history=[raised("go")], timers_added=[(1, 5)])])


class TestFile:
    def test_outlives_the_store(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "er" / "engine.db"
        first = SqliteStore(path)
        _commit_some(first)
        first.close()
        second = SqliteStore(str(path))
        state = second.load("order-7")
        second.close()
        assert state is not None
        assert (state.row.input, len(state.history), state.timers) == ('"x"', 1, {1: 5})

    def test_of_a_running_engine_is_refused_and_the_error_names_the_process(self, tmp_path: Path) -> None:
        path = tmp_path / "engine.db"
        first = SqliteStore(path)
        with pytest.raises(RuntimeStateError, match=rf"in use by another engine \(process {os.getpid()}\)"):
            SqliteStore(path)
        first.close()
        SqliteStore(path).close()

    @pytest.mark.parametrize("alias", ["symlink", "dots", "relative"])
    def test_of_a_running_engine_is_refused_under_another_path(
        self, tmp_path: Path, alias: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = tmp_path / "engine.db"
        first = SqliteStore(path)
        link = tmp_path / "link.db"
        link.symlink_to(path)
        monkeypatch.chdir(tmp_path)
        other: dict[str, str | Path] = {
            "symlink": link,
            "dots": tmp_path / ".." / tmp_path.name / path.name,
            "relative": path.name,
        }
        try:
            with pytest.raises(RuntimeStateError, match="in use by another engine"):
                SqliteStore(other[alias]).close()
        finally:
            first.close()

    def test_of_a_process_that_was_killed_is_free(self, tmp_path: Path) -> None:
        path = tmp_path / "engine.db"
        code = (
            "import os, sys\n"
            "from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore\n"
            "store = SqliteStore(sys.argv[1])\n"
            "os._exit(9)\n"
        )
        assert subprocess.run([sys.executable, "-c", code, str(path)], check=False).returncode == 9
        SqliteStore(path).close()

    @pytest.mark.parametrize("version", [2, 99, -1])
    def test_of_another_version_is_refused_and_left_alone(self, tmp_path: Path, version: int) -> None:
        path = tmp_path / "engine.db"
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        with pytest.raises(RuntimeStateError, match=f"its layout is {version}, this one reads 1"):
            SqliteStore(path)
        connection = sqlite3.connect(path)
        tables = connection.execute("SELECT name FROM sqlite_master").fetchall()
        connection.close()
        assert tables == []
        # The refusal let go of the file.
        path.unlink()
        SqliteStore(path).close()

    @pytest.mark.parametrize("content", [b"this is a text file, and quite a long one\n" * 100, b"short"])
    def test_that_is_no_database_is_refused_and_left_alone(self, tmp_path: Path, content: bytes) -> None:
        path = tmp_path / "notes.txt"
        path.write_bytes(content)
        with pytest.raises(RuntimeStateError, match="as the engine's database"):
            SqliteStore(path)
        assert path.read_bytes() == content
        path.unlink()
        SqliteStore(path).close()

    def test_of_another_application_is_refused_and_left_alone(self, tmp_path: Path) -> None:
        path = tmp_path / "shop.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE customers (name TEXT)")
        connection.execute("CREATE TABLE history (whatever TEXT)")
        connection.commit()
        connection.close()
        with pytest.raises(RuntimeStateError):
            SqliteStore(path).close()
        connection = sqlite3.connect(path)
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        connection.close()
        assert tables == {"customers", "history"}

    def test_that_is_a_folder_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(RuntimeStateError):
            SqliteStore(tmp_path)

    def test_below_a_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        with pytest.raises(RuntimeStateError, match="Cannot open"):
            SqliteStore(tmp_path / "file" / "engine.db")

    @pytest.mark.parametrize("synchronous", ["", "full", "FULL; DROP TABLE instances", "2"])
    def test_with_a_setting_that_sqlite_does_not_know_is_refused(self, tmp_path: Path, synchronous: str) -> None:
        with pytest.raises(ValueError, match="must be one of EXTRA, FULL, NORMAL, OFF"):
            SqliteStore(tmp_path / "engine.db", synchronous=synchronous)

    @pytest.mark.parametrize(("synchronous", "number"), [("FULL", 2), ("NORMAL", 1), ("OFF", 0)])
    def test_is_written_as_safely_as_asked(self, tmp_path: Path, synchronous: str, number: int) -> None:
        store = SqliteStore(tmp_path / "engine.db", synchronous=synchronous)
        assert store._writer.execute("PRAGMA synchronous").fetchone() == (number,)
        assert store._writer.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        store.close()

    def test_name_with_special_characters_works(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "a b?c#d%20é.db")
        _commit_some(store)
        assert store.row("order-7") is not None
        store.close()
        assert (tmp_path / "a b?c#d%20é.db").exists()


class TestFailedCommit:
    """All of a commit or nothing, and the next one works."""

    def _break(self, kind: str) -> Callable[[SqliteStore], None]:
        def full_disk(store: SqliteStore) -> None:
            (pages,) = store._writer.execute("PRAGMA page_count").fetchone()
            store._writer.execute(f"PRAGMA max_page_count={pages}")

        return full_disk

    def test_takes_back_the_changes_before_it(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "engine.db")
        _commit_some(store)
        bad = Change("order-8", row("order-8"), history=[cast("Any", "not an event")])
        with pytest.raises(AttributeError):
            store.commit([Change("order-7", row(updated=99)), bad])
        kept = store.row("order-7")
        assert kept is not None
        assert kept.updated == 2
        _commit_some_more(store)
        store.close()

    def test_by_a_full_disk_is_told_and_over_when_there_is_room(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "engine.db")
        _commit_some(store)
        self._break("disk")(store)
        big = Change("order-8", row("order-8", input="x" * 1_000_000))
        with pytest.raises(sqlite3.Error, match="full"):
            store.commit([Change("order-7", row(updated=99)), big])
        kept = store.row("order-7")
        assert kept is not None
        assert kept.updated == 2
        store._writer.execute("PRAGMA max_page_count=100000")
        _commit_some_more(store)
        store.close()

    def test_by_history_written_twice_is_told(self, tmp_path: Path) -> None:
        """Two events at one place of a history would be a corrupted history."""
        store = SqliteStore(tmp_path / "engine.db")
        _commit_some(store)
        with pytest.raises(sqlite3.IntegrityError):
            _commit_some(store)
        store.close()


def _commit_some_more(store: SqliteStore) -> None:
    store.commit([Change("order-7", row(updated=100))])
    kept = store.row("order-7")
    assert kept is not None
    assert kept.updated == 100
