"""What a crash left in the engine's SQLite file, and what must be true of it."""

from __future__ import annotations

import shutil
import sqlite3
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dapr_workflow_sdk.engine.state import START_TIMER
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_TABLES = {"instances", "history", "inbox", "tasks", "timers"}


@dataclass
class StoredInstance:
    """Everything the file has of one instance."""

    row: dict[str, Any]
    positions: list[int] = field(default_factory=list)
    history: list[bytes] = field(default_factory=list)
    inbox: list[bytes] = field(default_factory=list)
    tasks: list[tuple[int, int]] = field(default_factory=list)
    timers: list[int] = field(default_factory=list)

    def __str__(self) -> str:
        history, inbox = [_kind(event) for event in self.events()], [_kind(event) for event in self.waiting()]
        return f"{history}, inbox {inbox}, activities {self.tasks}, timers {self.timers}"

    @property
    def ended(self) -> bool:
        """Whether it has completed, failed or been terminated."""
        return self.row["ended"] is not None

    def events(self) -> list[pb.HistoryEvent]:
        """Its history."""
        return [pb.HistoryEvent.FromString(event) for event in self.history]

    def waiting(self) -> list[pb.HistoryEvent]:
        """Its inbox."""
        return [pb.HistoryEvent.FromString(event) for event in self.inbox]


Stored = Mapping[str, StoredInstance]


def read_after_crash(database: Path, scratch: Path) -> dict[str, StoredInstance]:
    """Reads a copy of the file, so that looking at it recovers nothing for the engine that opens it next.

    Args:
        database: The file; no process may have it open.
        scratch: A folder for the copy.
    """
    copy = scratch / "copy.db"
    for suffix in ("", "-wal", "-shm"):
        Path(f"{copy}{suffix}").unlink(missing_ok=True)
        # The shared memory is an index into the log, of use to living processes only.
        if suffix != "-shm" and Path(f"{database}{suffix}").exists():
            shutil.copyfile(f"{database}{suffix}", f"{copy}{suffix}")
    if not copy.exists():
        return {}
    connection = sqlite3.connect(copy)
    connection.row_factory = sqlite3.Row
    try:
        assert [tuple(row) for row in connection.execute("PRAGMA integrity_check")] == [("ok",)]
        tables = {row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
        return _read(connection) if tables >= _TABLES else {}
    finally:
        connection.close()


def _read(connection: sqlite3.Connection) -> dict[str, StoredInstance]:
    rows = [dict(row) for row in connection.execute("SELECT * FROM instances")]
    stored = {row["number"]: StoredInstance(row) for row in rows}
    for number, position, event in connection.execute("SELECT * FROM history ORDER BY instance, position"):
        stored[number].positions.append(position)
        stored[number].history.append(event)
    for number, _, event in connection.execute("SELECT * FROM inbox ORDER BY instance, number"):
        stored[number].inbox.append(event)
    for number, generation, task, _ in connection.execute("SELECT * FROM tasks"):
        stored[number].tasks.append((generation, task))
    for number, timer, _ in connection.execute("SELECT * FROM timers"):
        stored[number].timers.append(timer)
    return {instance.row["instance_id"]: instance for instance in stored.values()}


def check_consistent(stored: Stored, before: Stored | None = None) -> None:
    """Checks that each instance is as some run without a crash could have left it.

    Args:
        stored: The content of the file.
        before: An earlier content that was consistent; what did not change since is not looked at again.
    """
    for name, instance in stored.items():
        if before is None or not instance.ended or before.get(name) != instance:
            _check_instance(name, instance, stored)


def _check_instance(name: str, instance: StoredInstance, stored: Stored) -> None:
    assert instance.positions == list(range(len(instance.history))), f"{name}: the history has gaps"
    events, waiting = instance.events(), instance.waiting()
    kinds = Counter(_kind(event) for event in events)
    starts = kinds["executionStarted"] + sum(_kind(event) == "executionStarted" for event in waiting)
    assert starts == 1, f"{name} was started {starts} times"

    ends = kinds["executionCompleted"]
    assert ends == (1 if instance.ended else 0), f"{name} has {ends} ends and its status is {instance.row['ended']}"
    if instance.ended:
        assert _kind(events[-1]) == "executionCompleted", f"{name} went on after its end: {events[-1]}"
        assert events[-1].executionCompleted.workflowStatus == instance.row["ended"], name
        assert not instance.inbox, f"{name} has ended with {waiting} waiting"
        assert not instance.timers, f"{name} has ended with timers {instance.timers} running"

    tasks = _asked(events, "taskScheduled")
    timers = _asked(events, "timerCreated")
    children = _asked(events, "childWorkflowInstanceCreated")
    numbers = Counter([*tasks, *timers, *children])
    assert not numbers or max(numbers.values()) == 1, f"{name} asked twice for something: {numbers}"

    run = _answered(name, tasks, [*events, *waiting], ("taskCompleted", "taskFailed"), "taskScheduledId")
    fired = _answered(name, timers, [*events, *waiting], ("timerFired",), "timerId")
    came = _answered(
        name,
        children,
        [*events, *waiting],
        ("childWorkflowInstanceCompleted", "childWorkflowInstanceFailed"),
        "taskScheduledId",
    )
    for number in children:
        child = next(e for e in events if e.eventId == number and _kind(e) == "childWorkflowInstanceCreated")
        child_id = child.childWorkflowInstanceCreated.instanceId
        assert child_id in stored, f"{name} has no child {child_id} although its history says so"
        if not instance.ended:
            assert stored[child_id].ended == (number in came), f"{name} and its child {child_id} do not agree"
    if not instance.ended:
        left = sorted(number for _, number in instance.tasks)
        assert left == sorted(set(tasks) - run), f"{name}: activities {left} are to run, of {tasks} {run} have"
        due = set(timers) - fired
        if instance.row["scheduled"] is not None and instance.row["started"] is None:
            due.add(START_TIMER)
        assert sorted(instance.timers) == sorted(due), f"{name}: timers {instance.timers}"
        doing = instance.inbox or instance.tasks or instance.timers or set(children) - came
        assert doing, f"{name} is not finished and nothing will ever happen to it"


def _kind(event: pb.HistoryEvent) -> str:
    return event.WhichOneof("eventType") or ""


def _asked(events: Sequence[pb.HistoryEvent], kind: str) -> list[int]:
    return [event.eventId for event in events if _kind(event) == kind]


def _answered(
    name: str, asked: Sequence[int], events: Sequence[pb.HistoryEvent], kinds: tuple[str, ...], field_name: str
) -> set[int]:
    answers = [getattr(getattr(e, _kind(e)), field_name) for e in events if _kind(e) in kinds]
    assert len(answers) == len(set(answers)), f"{name} got {kinds} twice: {answers}"
    assert set(answers) <= set(asked), f"{name} got {kinds} for what it had not asked for: {answers}, {asked}"
    return set(answers)


def check_grown(before: Stored, after: Stored) -> None:
    """Checks that nothing that was durable at one crash is gone or different at the next."""
    for name, old in before.items():
        assert name in after, f"{name} is gone"
        new = after[name]
        if old.ended:
            assert new.row == old.row, f"{name} had ended and was changed"
        assert new.row["execution_id"] == old.row["execution_id"], f"{name} is another execution"
        assert new.history[: len(old.history)] == old.history, f"the history of {name} was rewritten"


def check_finished(stored: Stored) -> None:
    """Checks that all instances have completed and nothing is left to do."""
    check_consistent(stored)
    for name, instance in stored.items():
        assert instance.row["ended"] == pb.WORKFLOW_STATUS_COMPLETED, f"{name}: {instance.row}"
        assert not instance.tasks, f"{name} has ended with activities {instance.tasks} to run"
