"""What both stores promise, and what the one in a file refuses."""

from __future__ import annotations

import atexit
import dataclasses
import functools
import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk.engine.state import START_TIMER, Change, InstanceRow
from dapr_workflow_sdk.engine.stores.base import Selection, Store
from dapr_workflow_sdk.engine.stores.layout import VERSION
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import raised
from tests.engine.support import put
from tests.strategies import QUICK

APP = "app"
KEY = (APP, "order-7")


def row(instance_id: str = "order-7", number: int = 7, **changes: Any) -> InstanceRow:
    values: dict[str, Any] = {
        "number": number,
        "app_id": APP,
        "instance_id": instance_id,
        "name": "order",
        "version": None,
        "execution_id": "execution-1",
        "generation": 1,
        "created": 1,
        "updated": 2,
        "started": None,
        "completed": None,
        "scheduled": None,
        "ended": None,
        "suspended": False,
        "stalled": None,
        "stalled_because": None,
        "input": None,
        "output": None,
        "custom_status": None,
        "failure": None,
        "parent": None,
        "propagated": None,
    }
    return InstanceRow(**{**values, **changes})


def made(kept: InstanceRow, **having: Any) -> Change:
    """What makes an instance."""
    return Change(kept.key, kept.number, kept, renewed=True, **having)


def later(kept: InstanceRow, **having: Any) -> Change:
    """What changes it afterwards."""
    return Change(kept.key, kept.number, kept, **having)


def gone(key: tuple[str, str] = KEY, number: int = 7) -> Change:
    """What removes it."""
    return Change(key, number, removed=True)


@pytest.fixture(params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    kept: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "engine.db")
    yield kept
    kept.close()


class TestBoth:
    def test_know_nothing_of_unknown_instances(self, store: Store) -> None:
        nobody = (APP, "nobody")
        assert store.load(nobody) is None
        assert store.row(nobody) is None
        assert (store.ready(2**62), store.due(2**62), store.next_due(-1), store.apps()) == ([], [], None, [])
        assert store.select(Selection(APP)) == []
        put(store, gone(nobody, 1))

    @pytest.mark.parametrize(
        "changes",
        [
            {},
            {"started": 3, "completed": 2**62, "scheduled": 5, "updated": 2**62},
            {"ended": pb.WORKFLOW_STATUS_FAILED, "suspended": True},
            {"stalled": pb.STALLED_REASON_PATCH_MISMATCH, "stalled_because": ""},
            {"stalled": pb.STALLED_REASON_WORKER_LOST, "stalled_because": "A worker was lost."},
            {"version": "", "app_id": "another app", "number": 2**40},
            {"propagated": pb.PropagatedHistory(chunks=[pb.PropagatedHistoryChunk(appId="a", rawEvents=[b"x"])])},
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
        put(store, made(kept))
        back = store.row(kept.key)
        assert back == kept
        assert back is not None
        assert [type(getattr(back, f.name)) for f in dataclasses.fields(back)] == [
            type(getattr(kept, f.name)) for f in dataclasses.fields(kept)
        ]

    def test_give_history_inbox_tasks_and_timers_back_in_order(self, store: Store) -> None:
        events = [raised(str(n)) for n in range(12)]
        tasks = {(1, n): pb.ActivityRequest(taskId=n) for n in (3, 1, 2)}
        put(
            store,
            made(row(), history=events[:5], inbox_added=[(10, events[10]), (9, events[9])]),
            later(
                row(updated=9),
                history_start=5,
                history=events[5:9],
                tasks_added=list(tasks.items()),
                timers_added=[(4, 400)],
            ),
        )
        state = store.load(KEY)
        assert state is not None
        assert state.history == events[:9]
        assert [(item.number, item.event) for item in state.inbox] == [(9, events[9]), (10, events[10])]
        assert state.inbox_next == 11
        assert state.tasks == tasks
        assert state.timers == {4: 400}
        assert state.row.updated == 9

    def test_leave_the_scalar_part_alone_when_a_change_has_none(self, store: Store) -> None:
        put(store, made(row(input='"x"', custom_status="s")))
        put(store, Change(KEY, 7, inbox_added=[(3, raised("go"))]))
        state = store.load(KEY)
        assert state is not None
        assert state.row == row(input='"x"', custom_status="s")
        assert [item.number for item in state.inbox] == [3]

    def test_keep_instances_apart(self, store: Store) -> None:
        for number, name in enumerate(("a", "b"), 1):
            change = made(row(name, number), history=[raised(name)], inbox_added=[(0, raised(name))])
            change.timers_added = [(1, 1)]
            put(store, change)
        put(store, gone((APP, "a"), 1))
        assert store.load((APP, "a")) is None
        kept = store.load((APP, "b"))
        assert kept is not None
        assert kept.history == [raised("b")]
        assert store.ready(0) == [(APP, "b")]

    def test_keep_instances_of_one_id_in_two_apps_apart(self, store: Store) -> None:
        for number, app_id in enumerate(("north", "south"), 1):
            kept = row("same", number, app_id=app_id, name=app_id)
            put(store, made(kept, history=[raised(app_id)], tasks_added=[((1, 1), pb.ActivityRequest())]))
        assert store.apps() == ["north", "south"]
        for app_id in ("north", "south"):
            state = store.load((app_id, "same"))
            assert state is not None
            assert (state.row.name, state.history) == (app_id, [raised(app_id)])
            assert [found.name for found in store.select(Selection(app_id))] == [app_id]
        put(store, gone(("north", "same"), 1))
        assert store.ready(0) == [("south", "same")]
        assert store.apps() == ["south"]

    def test_give_numbers_that_grow(self, store: Store) -> None:
        numbers = [store.new_number() for _ in range(5)]
        assert numbers == sorted(set(numbers))
        assert numbers[0] > 0
        put(store, made(row("last", numbers[-1])))
        assert store.new_number() > numbers[-1]

    @pytest.mark.parametrize(
        "having",
        [{"inbox_added": [(0, raised("go"))]}, {"tasks_added": [((1, 1), pb.ActivityRequest())]}],
        ids=["an event", "an activity"],
    )
    def test_call_an_instance_ready_while_it_has(self, store: Store, having: dict[str, Any]) -> None:
        put(store, made(row(), **having))
        assert store.ready(0) == [KEY]
        put(store, later(row(), inbox_removed=[0], tasks_removed=[(1, 1)]))
        assert store.ready(0) == []

    def test_call_an_instance_with_a_scheduled_start_ready_when_its_time_has_come(self, store: Store) -> None:
        waits = made(row(scheduled=500), inbox_added=[(0, raised("start"))], timers_added=[(START_TIMER, 500)])
        put(store, waits)
        assert (store.ready(499), store.ready(500)) == ([], [KEY])
        assert (store.due(499), store.due(500), store.next_due(0)) == ([], [KEY], 500)
        put(store, later(row(scheduled=500, started=501), timers_removed=[START_TIMER]))
        assert (store.ready(0), store.due(2**62), store.next_due(0)) == ([KEY], [], None)

    def test_find_timers_that_are_due(self, store: Store) -> None:
        for number, times in enumerate(([30, 900], [10], [20, 25], [], [800]), 1):
            timers = list(enumerate(times, 1))
            put(store, made(row(f"i{number}", number), timers_added=timers))
        due = [instance_id for _, instance_id in store.due(30)]
        assert sorted(due) == ["i1", "i2", "i3"]
        assert len(due) == 3, "an instance with two timers is one instance"
        assert store.due(9) == []
        assert [store.next_due(now) for now in (-1, 10, 25, 30, 800, 900)] == [10, 20, 30, 800, 900, None]
        put(store, later(row("i2", 2), timers_removed=[1]))
        assert store.next_due(-1) == 20
        # Set again, it is due at its new time only.
        put(store, later(row("i3", 3), timers_removed=[1, 2]), later(row("i3", 3), timers_added=[(1, 700)]))
        assert [instance_id for _, instance_id in store.due(30)] == ["i1"]
        put(store, gone((APP, "i1"), 1))
        assert store.due(30) == []
        assert store.next_due(-1) == 700
        put(store, Change((APP, "i5"), 5, row("i5", 5, generation=2), renewed=True))
        assert store.next_due(700) is None

    def test_find_the_longest_due_first_and_no_more_than_they_say(self, store: Store) -> None:
        put(store, *(made(row(f"i{n}", n), timers_added=[(1, 5000 - n)]) for n in range(1, 1101)))
        due = [instance_id for _, instance_id in store.due(5000)]
        assert due == [f"i{n}" for n in range(1100, 100, -1)]

    def test_forget_all_but_activities_when_renewed(self, store: Store) -> None:
        first = made(row(), history=[raised("old")], inbox_added=[(0, raised("old"))])
        first.timers_added, first.tasks_added = [(1, 1)], [((1, 1), pb.ActivityRequest())]
        second = made(row(generation=2, execution_id="execution-2", input="2"), inbox_added=[(0, raised("new"))])
        put(store, first, second)
        assert store.row(KEY) == second.row
        state = store.load(KEY)
        assert state is not None
        assert (state.history, state.timers, set(state.tasks)) == ([], {}, {(1, 1)})
        assert [item.event for item in state.inbox] == [raised("new")]

    def test_what_is_loaded_is_the_callers_to_change(self, store: Store) -> None:
        put(store, made(row(), history=[raised("kept")], timers_added=[(1, 1)]))
        state = store.load(KEY)
        assert state is not None
        state.history.clear()
        state.timers.clear()
        again = store.load(KEY)
        assert again is not None
        assert (len(again.history), again.timers) == (1, {1: 1})


_STATUSES = (
    {},
    {"started": 5},
    {"started": 5, "suspended": True},
    {"suspended": True},
    {"started": 5, "stalled": pb.STALLED_REASON_PATCH_MISMATCH},
    {"started": 5, "stalled": pb.STALLED_REASON_PATCH_MISMATCH, "suspended": True},
    {"started": 5, "ended": pb.WORKFLOW_STATUS_COMPLETED, "completed": 60},
    {"started": 5, "ended": pb.WORKFLOW_STATUS_FAILED, "completed": 70},
    {"started": 5, "ended": pb.WORKFLOW_STATUS_TERMINATED, "completed": 80},
    # What ended while it stalled or was suspended has ended.
    {"started": 5, "ended": pb.WORKFLOW_STATUS_COMPLETED, "completed": 90, "stalled": 0, "suspended": True},
)


def _some_rows() -> list[InstanceRow]:
    """Rows of every status, two names and two apps, with ids that are easy to mix up."""
    ids = ("order-1", "order-10", "Order-1", "o%rder", "o_rder", "é1", "e1", "order", "x", "")
    rows: list[InstanceRow] = []
    for number, (instance_id, changes) in enumerate(zip(ids * 2, _STATUSES * 2, strict=True), 1):
        app_id = APP if number <= 10 else "another"
        name = "invoice" if number % 3 == 0 else "order"
        rows.append(row(instance_id, number, app_id=app_id, name=name, created=number * 10, **changes))
    return rows


_SELECTIONS = st.builds(
    Selection,
    app_id=st.sampled_from([APP, "another", "nobody"]),
    statuses=st.frozensets(st.sampled_from(pb.WorkflowStatus.values()), max_size=3),
    name=st.sampled_from(["", "", "order", "invoice", "nothing"]),
    prefix=st.sampled_from(["", "", "order", "order-1", "o%", "o_", "é", "ordering"]),
    created_from=st.sampled_from([None, None, 0, 30, 31]),
    created_to=st.sampled_from([None, None, 0, 150, 149, 2**62]),
    completed_to=st.sampled_from([None, None, None, 59, 60, 80, 2**62]),
    after=st.sampled_from([0, 0, 3, 15, 99]),
    newest_first=st.booleans(),
    limit=st.sampled_from([1, 4, 1000]),
)


def _fits(kept: InstanceRow, wanted: Selection) -> bool:
    """What a selection means, one line per attribute."""
    return all(
        (
            kept.app_id == wanted.app_id,
            not wanted.statuses or kept.status in wanted.statuses,
            wanted.name in ("", kept.name),
            kept.instance_id[: len(wanted.prefix)] == wanted.prefix,
            wanted.created_from is None or wanted.created_from <= kept.created,
            wanted.created_to is None or kept.created <= wanted.created_to,
            wanted.completed_to is None or (kept.completed is not None and kept.completed <= wanted.completed_to),
            not wanted.after or (kept.number < wanted.after if wanted.newest_first else kept.number > wanted.after),
        )
    )


class TestSelection:
    @pytest.fixture
    def filled(self, store: Store) -> Store:
        # Numbers, not the order of writing, decide.
        put(store, *(made(kept) for kept in reversed(_some_rows())))
        return store

    def test_of_an_app_is_all_of_it_oldest_first(self, filled: Store) -> None:
        assert filled.select(Selection(APP)) == _some_rows()[:10]
        assert filled.select(Selection("another", newest_first=True)) == _some_rows()[:9:-1]
        assert filled.select(Selection("nobody")) == []

    @pytest.mark.parametrize(
        ("status", "ids"),
        [
            (pb.WORKFLOW_STATUS_PENDING, ["order-1"]),
            (pb.WORKFLOW_STATUS_RUNNING, ["order-10"]),
            (pb.WORKFLOW_STATUS_SUSPENDED, ["Order-1", "o%rder"]),
            (pb.WORKFLOW_STATUS_STALLED, ["o_rder", "é1"]),
            (pb.WORKFLOW_STATUS_COMPLETED, ["e1", ""]),
            (pb.WORKFLOW_STATUS_FAILED, ["order"]),
            (pb.WORKFLOW_STATUS_TERMINATED, ["x"]),
            (pb.WORKFLOW_STATUS_CANCELED, []),
        ],
    )
    def test_by_status_is_by_what_clients_see(self, filled: Store, status: pb.WorkflowStatus, ids: list[str]) -> None:
        found = filled.select(Selection(APP, statuses=frozenset({status})))
        assert [each.instance_id for each in found] == ids
        assert {each.status for each in found} <= {status}

    @pytest.mark.parametrize(
        ("prefix", "ids"),
        [
            ("order", ["order-1", "order-10", "order"]),
            ("o%", ["o%rder"]),
            ("o_", ["o_rder"]),
            ("é", ["é1"]),
            ("ORDER", []),
            ("order-100", []),
        ],
    )
    def test_by_prefix_takes_it_literally(self, filled: Store, prefix: str, ids: list[str]) -> None:
        assert [each.instance_id for each in filled.select(Selection(APP, prefix=prefix))] == ids

    def test_by_times_includes_both_ends(self, filled: Store) -> None:
        found = filled.select(Selection(APP, created_from=20, created_to=40))
        assert [each.created for each in found] == [20, 30, 40]
        ended = filled.select(Selection(APP, completed_to=80))
        assert [each.completed for each in ended] == [60, 70, 80], "what runs has not ended"

    @pytest.mark.parametrize("newest_first", [False, True])
    @pytest.mark.parametrize("size", [1, 3, 10, 11])
    def test_page_by_page_is_the_whole(self, filled: Store, newest_first: bool, size: int) -> None:
        found: list[InstanceRow] = []
        after = 0
        while page := filled.select(Selection(APP, after=after, newest_first=newest_first, limit=size)):
            assert len(page) <= size
            found += page
            after = page[-1].number
        whole = _some_rows()[:10]
        assert found == (whole[::-1] if newest_first else whole)

    def test_answers_from_what_is_committed(self, filled: Store) -> None:
        put(filled, gone((APP, "order-1"), 1), later(row("order-10", 2, started=5, ended=1, completed=7)))
        found = filled.select(Selection(APP, limit=1))
        assert [(each.instance_id, each.status) for each in found] == [("order-10", pb.WORKFLOW_STATUS_COMPLETED)]

    @QUICK
    @given(wanted=_SELECTIONS)
    def test_is_what_its_attributes_say(self, wanted: Selection) -> None:
        rows = [each for each in _some_rows() if _fits(each, wanted)]
        expected = (rows[::-1] if wanted.newest_first else rows)[: wanted.limit]
        for kept in _filled_stores():
            assert kept.select(wanted) == expected, type(kept).__name__


@functools.cache
def _filled_stores() -> tuple[Store, ...]:
    """One store of each kind for all examples."""
    folder = tempfile.TemporaryDirectory()
    file = SqliteStore(Path(folder.name) / "engine.db", synchronous="OFF")
    atexit.register(folder.cleanup)
    atexit.register(file.close)
    stores: tuple[Store, ...] = (MemoryStore(), file)
    for store in stores:
        put(store, *(made(kept) for kept in _some_rows()))
    return stores


def _commit_some(store: SqliteStore) -> None:
    put(store, made(row(input='"x"'), history=[raised("go")], timers_added=[(1, 5)]))


class TestFile:
    def test_outlives_the_store(self, tmp_path: Path) -> None:
        path = tmp_path / "deep" / "er" / "engine.db"
        first = SqliteStore(path)
        _commit_some(first)
        first.close()
        second = SqliteStore(str(path))
        state = second.load(KEY)
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

    @pytest.mark.parametrize(
        ("version", "error"),
        [
            (3, f"newer version of this package .its layout is 3, this one reads up to {VERSION}"),
            (99, "its layout is 99"),
            (-1, "as the engine's database"),
        ],
    )
    def test_of_another_version_is_refused_and_left_alone(self, tmp_path: Path, version: int, error: str) -> None:
        path = tmp_path / "engine.db"
        with sqlite3.connect(path) as connection:
            connection.execute(f"PRAGMA user_version={version}")
        connection.close()
        with pytest.raises(RuntimeStateError, match=error):
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
        assert store.row(KEY) is not None
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
        bad = made(row("order-8", 8), history=[cast("Any", "not an event")])
        with pytest.raises(AttributeError):
            put(store, later(row(updated=99)), bad)
        kept = store.row(KEY)
        assert kept is not None
        assert kept.updated == 2
        _commit_some_more(store)
        store.close()

    def test_by_a_full_disk_is_told_and_over_when_there_is_room(self, tmp_path: Path) -> None:
        store = SqliteStore(tmp_path / "engine.db")
        _commit_some(store)
        self._break("disk")(store)
        big = made(row("order-8", 8, input="x" * 1_000_000))
        with pytest.raises(sqlite3.Error, match="full"):
            put(store, later(row(updated=99)), big)
        kept = store.row(KEY)
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
            put(store, Change(KEY, 7, history=[raised("again")]))
        _commit_some_more(store)
        store.close()


def _commit_some_more(store: SqliteStore) -> None:
    put(store, later(row(updated=100)))
    kept = store.row(KEY)
    assert kept is not None
    assert kept.updated == 100
