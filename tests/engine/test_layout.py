"""Files that an earlier version wrote: they are brought up to date, all or nothing, and their instances go on."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk.engine.state import START_TIMER
from dapr_workflow_sdk.engine.stores.base import Selection
from dapr_workflow_sdk.engine.stores.layout import APPLICATION, VERSION
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, text_of, timestamp_from_ns
from tests.builders import (
    activity_done,
    activity_scheduled,
    at,
    child_created,
    raised,
    started,
    timer_created,
    turn_marker,
)
from tests.engine.support import DAY, Worker, engine, output, standing, status
from tests.worker.support import again, answer_to, complete, kinds, on_loop, run_python

# What the first version of the engine made of an empty file.
_VERSION_1 = """
CREATE TABLE instances (
  instance_id TEXT PRIMARY KEY, name TEXT NOT NULL, execution_id TEXT NOT NULL, generation INTEGER NOT NULL,
  created INTEGER NOT NULL, updated INTEGER NOT NULL, started INTEGER, completed INTEGER, scheduled INTEGER,
  ended INTEGER, suspended INTEGER NOT NULL, input TEXT, output TEXT, custom_status TEXT, failure BLOB, parent BLOB
) WITHOUT ROWID;
CREATE TABLE history (
  instance_id TEXT NOT NULL, position INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance_id, position)
) WITHOUT ROWID;
CREATE TABLE inbox (
  instance_id TEXT NOT NULL, number INTEGER NOT NULL, event BLOB NOT NULL, PRIMARY KEY (instance_id, number)
) WITHOUT ROWID;
CREATE TABLE tasks (
  instance_id TEXT NOT NULL, generation INTEGER NOT NULL, task_id INTEGER NOT NULL, request BLOB NOT NULL,
  PRIMARY KEY (instance_id, generation, task_id)
) WITHOUT ROWID;
CREATE TABLE timers (
  instance_id TEXT NOT NULL, timer_id INTEGER NOT NULL, fire_at INTEGER NOT NULL, PRIMARY KEY (instance_id, timer_id)
) WITHOUT ROWID;
"""
_BEGIN = nanoseconds(at(0))


class OldFile:
    """A file as the first version wrote it."""

    def __init__(self, path: Path) -> None:
        self.path = path
        with sqlite3.connect(path) as connection:
            connection.execute("PRAGMA journal_mode=WAL")
            connection.execute(f"PRAGMA application_id={APPLICATION}")
            connection.executescript(_VERSION_1)
            connection.execute("PRAGMA user_version=1")
        connection.close()

    def _write(self, statement: str, *values: Any) -> None:
        connection = sqlite3.connect(self.path)
        with connection:
            connection.execute(statement, values)
        connection.close()

    def instance(self, instance_id: str, created: int, **changes: Any) -> None:
        """An instance without anything."""
        columns = {
            "instance_id": instance_id,
            "name": "flow",
            "execution_id": "execution-1",
            "generation": 1,
            "created": _BEGIN + created,
            "updated": _BEGIN + created,
            "suspended": 0,
            **changes,
        }
        marks = ", ".join("?" * len(columns))
        self._write(f"INSERT INTO instances ({', '.join(columns)}) VALUES ({marks})", *columns.values())

    def history(self, instance_id: str, *events: pb.HistoryEvent) -> None:
        for position, event in enumerate(events):
            self._write("INSERT INTO history VALUES (?, ?, ?)", instance_id, position, event.SerializeToString())

    def inbox(self, instance_id: str, *events: pb.HistoryEvent) -> None:
        # Numbers begin where earlier turns left off.
        for number, event in enumerate(events, 4):
            self._write("INSERT INTO inbox VALUES (?, ?, ?)", instance_id, number, event.SerializeToString())

    def task(self, instance_id: str, generation: int, call_id: int, name: str = "work") -> None:
        request = pb.ActivityRequest(
            name=name,
            taskId=call_id,
            attempt=1,
            workflowInstance=pb.WorkflowInstance(instanceId=instance_id, executionId=text_of("execution-1")),
        )
        self._write(
            "INSERT INTO tasks VALUES (?, ?, ?, ?)", instance_id, generation, call_id, request.SerializeToString()
        )

    def timer(self, instance_id: str, timer_id: int, fire_at: int) -> None:
        self._write("INSERT INTO timers VALUES (?, ?, ?)", instance_id, timer_id, fire_at)


def _begun(instance_id: str, data: str | None = None) -> tuple[pb.HistoryEvent, pb.HistoryEvent]:
    return turn_marker(), started("flow", data, instance_id=instance_id)


@pytest.fixture
def old(tmp_path: Path) -> OldFile:
    """A file with an instance of every kind."""
    file = OldFile(tmp_path / "old.db")
    running = {"started": _BEGIN + 50}
    file.instance("done", 900, **running, ended=1, completed=_BEGIN + 999, output='"ok"', custom_status="s")
    file.history("done", *_begun("done"), activity_scheduled(1, "work"), activity_done(1, '"r"'))
    failure = pb.TaskFailureDetails(errorType="E", errorMessage="m")
    file.instance("failed", 800, **running, ended=3, completed=_BEGIN + 998, failure=failure.SerializeToString())
    file.instance("new", 700, input='"in"')
    file.inbox("new", started("flow", '"in"', instance_id="new"))
    file.instance("later", 600, scheduled=_BEGIN + DAY)
    start = started("flow", instance_id="later")
    start.executionStarted.scheduledStartTimestamp.CopyFrom(timestamp_from_ns(_BEGIN + DAY))
    file.inbox("later", start)
    file.instance("works", 500, **running, generation=3)
    file.history("works", *_begun("works"), activity_scheduled(1, "work"))
    file.task("works", 3, 1)
    # An activity of a run before, that nobody waits for any more.
    file.task("works", 2, 1, "left over")
    file.instance("sleeps", 400, **running)
    file.history("sleeps", *_begun("sleeps"), timer_created(1), raised("seen"))
    file.timer("sleeps", 1, _BEGIN + DAY)
    file.inbox("sleeps", raised("first", "1"), raised("second", "2"))
    file.instance("parent", 300, **running)
    file.history("parent", *_begun("parent"), child_created(1, "flow", "kid"))
    parent = pb.ParentInstanceInfo(
        taskScheduledId=1,
        name=text_of("flow"),
        workflowInstance=pb.WorkflowInstance(instanceId="parent", executionId=text_of("execution-1")),
        appID="app",
    )
    file.instance("kid", 200, **running, parent=parent.SerializeToString())
    file.history("kid", *_begun("kid"), timer_created(1))
    file.timer("kid", 1, _BEGIN + 2 * DAY)
    file.instance("paused", 100, **running, suspended=1)
    file.history("paused", *_begun("paused"))
    return file


def _layout(path: Path) -> tuple[int, set[str]]:
    connection = sqlite3.connect(path)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    connection.close()
    return version, tables


_TABLES = {"instances", "history", "inbox", "tasks", "timers"}


def test_an_old_file_is_brought_up_to_date_once(old: OldFile) -> None:
    for _ in range(2):
        store = SqliteStore(old.path, app_id="shop")
        assert _layout(old.path) == (VERSION, _TABLES)
        rows = store.select(Selection("shop"))
        # Oldest first, as lists of instances are.
        assert [row.instance_id for row in rows] == [
            "paused", "kid", "parent", "sleeps", "works", "later", "new", "failed", "done",
        ]  # fmt: skip
        assert [row.number for row in rows] == sorted({row.number for row in rows})
        assert store.apps() == ["shop"]
        store.close()


def test_everything_of_an_instance_comes_along(old: OldFile) -> None:
    store = SqliteStore(old.path)
    try:
        done = store.load(("app", "done"))
        assert done is not None
        row = done.row
        assert (row.ended, row.output, row.custom_status) == (pb.WORKFLOW_STATUS_COMPLETED, '"ok"', "s")
        assert (row.created, row.started, row.completed) == (_BEGIN + 900, _BEGIN + 50, _BEGIN + 999)
        assert (row.version, row.stalled, row.propagated) == (None, None, None)
        assert kinds(done.history) == ["workflowStarted", "executionStarted", "taskScheduled", "taskCompleted"]
        failed = store.row(("app", "failed"))
        assert failed is not None
        assert failed.failure == pb.TaskFailureDetails(errorType="E", errorMessage="m")
        works = store.load(("app", "works"))
        assert works is not None
        assert {key: request.name for key, request in works.tasks.items()} == {(3, 1): "work", (2, 1): "left over"}
        sleeps = store.load(("app", "sleeps"))
        assert sleeps is not None
        assert sleeps.timers == {1: _BEGIN + DAY}
        assert [(item.number, item.event.eventRaised.name) for item in sleeps.inbox] == [(4, "first"), (5, "second")]
        later = store.load(("app", "later"))
        assert later is not None
        assert later.timers == {START_TIMER: _BEGIN + DAY}
        kid = store.row(("app", "kid"))
        assert kid is not None
        assert kid.parent is not None
        assert kid.parent.workflowInstance.instanceId == "parent"
        parent = store.load(("app", "parent"))
        assert parent is not None
        assert parent.children == {1: ("app", "kid")}
        paused = store.row(("app", "paused"))
        assert paused is not None
        assert paused.status == pb.WORKFLOW_STATUS_SUSPENDED
    finally:
        store.close()


@on_loop
async def test_instances_of_an_old_file_finish_on_the_new_engine(old: OldFile) -> None:
    clock = standing()
    async with engine(SqliteStore(old.path), clock=clock) as hub, Worker(hub) as worker:
        items: list[WorkItem] = [await worker.item() for _ in range(4)]
        await worker.nothing()
        turns = {item.instance_id: item for item in items if isinstance(item, TurnItem)}
        runs = {item.request.name: item for item in items if isinstance(item, ActivityItem)}
        assert set(turns) == {"new", "sleeps"}
        assert set(runs) == {"work", "left over"}
        assert turns["new"].new[1].executionStarted.input.value == '"in"'
        assert kinds(turns["sleeps"].past) == ["workflowStarted", "executionStarted", "timerCreated", "eventRaised"]
        assert [event.eventRaised.input.value for event in turns["sleeps"].new[1:]] == ["1", "2"]
        await worker.answer(turns["new"], complete(1, '"new"'))
        await hub.complete_turn(answer_to(turns["sleeps"]))
        await worker.finish(runs["left over"], '"nobody cares"')
        finished = asyncio.ensure_future(worker.finish(runs["work"], '"7"'))
        done = await worker.play(complete(2, '"worked"'))
        await finished
        assert done.new[1].taskCompleted.result.value == '"7"'
        clock.advance(DAY)
        woken = {turn.instance_id: turn for turn in [await worker.turn(), await worker.turn()]}
        assert kinds(woken["later"].new) == ["workflowStarted", "executionStarted"]
        assert kinds(woken["sleeps"].new) == ["workflowStarted", "timerFired"]
        # A next generation rewrites the whole instance.
        await worker.answer(woken["later"], again(1, '"round two"'))
        second = await worker.play(complete(1, '"later"'))
        assert second.new[1].executionStarted.input.value == '"round two"'
        await worker.answer(woken["sleeps"], complete(2, '"slept"'))
        clock.advance(DAY)
        assert (await worker.play(complete(2, '"kid"'))).instance_id == "kid"
        parent = await worker.play(complete(2, '"parent"'))
        assert parent.new[1].childWorkflowInstanceCompleted.result.value == '"kid"'
        await hub.resume(pb.ResumeRequest(instanceId="paused"))
        await worker.play(complete(1, '"paused"'))
        names = ("new", "works", "later", "sleeps", "kid", "parent", "paused", "done")
        assert [await output(hub, name) for name in names] == [
            '"new"', '"worked"', '"later"', '"slept"', '"kid"', '"parent"', '"paused"', '"ok"',
        ]  # fmt: skip
        listed = await hub.list_ids(pb.ListInstanceIDsRequest())
        assert len(listed.instanceIds) == 9
        assert await hub.start(pb.CreateInstanceRequest(instanceId="done", name="flow")) == "done"
        assert await status(hub, "done") == "PENDING"


# Dies by SIGKILL when SQLite is about to run a statement that begins like the second argument.
_DIES = """
import os, signal, sqlite3, sys
connect = sqlite3.connect

def watched(*arguments, **options):
    connection = connect(*arguments, **options)
    connection.set_trace_callback(
        lambda statement: os.kill(os.getpid(), signal.SIGKILL) if statement.strip().startswith(sys.argv[2]) else None
    )
    return connection

sqlite3.connect = watched
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
SqliteStore(sys.argv[1])
print("survived")
"""


@pytest.mark.parametrize(
    "statement",
    ["ALTER TABLE timers", "CREATE TABLE instances", "INSERT INTO history", "DROP TABLE old_timers", "COMMIT"],
)
def test_a_migration_that_is_killed_leaves_the_file_as_it_was(old: OldFile, statement: str) -> None:
    died = run_python(_DIES, str(old.path), statement)
    assert died.returncode == -9, f"{died.stdout} {died.stderr}"
    assert _layout(old.path) == (1, _TABLES)
    connection = sqlite3.connect(old.path)
    assert connection.execute("SELECT count(*) FROM instances").fetchone() == (9,)
    assert connection.execute("SELECT count(*) FROM tasks").fetchone() == (2,)
    connection.close()
    store = SqliteStore(old.path)
    assert _layout(old.path) == (VERSION, _TABLES)
    assert store.row(("app", "works")) is not None
    store.close()


def test_a_migration_without_room_is_told_and_leaves_the_file_as_it_was(
    old: OldFile, monkeypatch: pytest.MonkeyPatch
) -> None:
    connect = sqlite3.connect

    def small(*arguments: Any, **options: Any) -> sqlite3.Connection:
        connection = connect(*arguments, **options)
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        connection.execute(f"PRAGMA max_page_count={pages + 2}")
        return connection

    with monkeypatch.context() as patch:
        patch.setattr(sqlite3, "connect", small)
        with pytest.raises(RuntimeStateError, match=r"old\.db as the engine's database: .*full"):
            SqliteStore(old.path)
    assert _layout(old.path) == (1, _TABLES)
    SqliteStore(old.path).close()
    assert _layout(old.path) == (VERSION, _TABLES)


def test_a_file_of_the_first_version_without_instances_is_brought_up_to_date(tmp_path: Path) -> None:
    file = OldFile(tmp_path / "empty.db")
    store = SqliteStore(file.path)
    assert store.new_number() == 1
    assert store.ready(2**62) == []
    store.close()
    assert _layout(file.path) == (VERSION, _TABLES)


def test_a_file_that_says_it_is_old_and_has_other_tables_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "odd.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA application_id={APPLICATION}")
    connection.execute("PRAGMA user_version=1")
    connection.execute("CREATE TABLE instances (whatever TEXT)")
    connection.commit()
    connection.close()
    with pytest.raises(RuntimeStateError, match=r"odd\.db as the engine's database"):
        SqliteStore(path)
    assert _layout(path) == (1, {"instances"})


def test_a_newer_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "newer.db"
    SqliteStore(path).close()
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version={VERSION + 1}")
    connection.close()
    before = path.read_bytes()
    with pytest.raises(RuntimeStateError, match=f"its layout is {VERSION + 1}, this one reads up to {VERSION}"):
        SqliteStore(path)
    assert path.read_bytes() == before
