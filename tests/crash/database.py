"""What a crash left in the engine's SQLite file, and what must be true of it."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from dapr_workflow_sdk.engine.state import START_TIMER
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.stored import Stored, StoredInstance, answered, asked_for, kind_of, read_file, take_copy


def read_after_crash(database: Path, scratch: Path) -> dict[str, StoredInstance]:
    """Reads a copy of the file, so that looking at it recovers nothing for the engine that opens it next.

    Args:
        database: The file; no process may have it open.
        scratch: A folder for the copy.
    """
    copy = scratch / "copy.db"
    take_copy(database, copy)
    return read_file(copy) if copy.exists() else {}


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
    kinds = Counter(kind_of(event) for event in events)
    starts = kinds["executionStarted"] + sum(kind_of(event) == "executionStarted" for event in waiting)
    assert starts == 1, f"{name} was started {starts} times"

    ends = kinds["executionCompleted"]
    assert ends == (1 if instance.ended else 0), f"{name} has {ends} ends and its status is {instance.row['ended']}"
    if instance.ended:
        assert kind_of(events[-1]) == "executionCompleted", f"{name} went on after its end: {events[-1]}"
        assert events[-1].executionCompleted.workflowStatus == instance.row["ended"], name
        assert not instance.inbox, f"{name} has ended with {waiting} waiting"
        assert not instance.timers, f"{name} has ended with timers {instance.timers} running"

    tasks = asked_for(events, "taskScheduled")
    timers = asked_for(events, "timerCreated")
    children = asked_for(events, "childWorkflowInstanceCreated")
    numbers = Counter([*tasks, *timers, *children])
    assert not numbers or max(numbers.values()) == 1, f"{name} asked twice for something: {numbers}"

    run = answered(name, tasks, [*events, *waiting], ("taskCompleted", "taskFailed"), "taskScheduledId")
    fired = answered(name, timers, [*events, *waiting], ("timerFired",), "timerId")
    came = answered(
        name,
        children,
        [*events, *waiting],
        ("childWorkflowInstanceCompleted", "childWorkflowInstanceFailed"),
        "taskScheduledId",
    )
    for number in children:
        child = next(e for e in events if e.eventId == number and kind_of(e) == "childWorkflowInstanceCreated")
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
