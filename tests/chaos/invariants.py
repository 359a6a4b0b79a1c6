"""What must be true of the engine's file after every kill, whatever was going on.

How the file is laid out is known to `tests.stored` alone, which reads it.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.chaos.journal import Known
from tests.stored import Stored, StoredInstance, answered, asked_for, kind_of

_STATUS = {
    pb.WORKFLOW_STATUS_COMPLETED: "COMPLETED",
    pb.WORKFLOW_STATUS_FAILED: "FAILED",
    pb.WORKFLOW_STATUS_TERMINATED: "TERMINATED",
}
_FOREVER = 4_102_444_800  # Waits without an end have timers of a far century, which nothing sets.


def root_of(name: str) -> str:
    """The instance that a client started, of which this one is a descendant."""
    return name.split(":")[0].removesuffix("-child")


def check_instance(name: str, instance: StoredInstance, stored: Stored) -> None:
    """Checks that some run without a crash could have left an instance like this."""
    assert instance.positions == list(range(len(instance.history))), f"{name}: the history has gaps"
    events, waiting = instance.events(), instance.waiting()
    kinds = Counter(kind_of(event) for event in events)
    starts = kinds["executionStarted"] + sum(kind_of(event) == "executionStarted" for event in waiting)
    assert starts == 1, f"{name} was started {starts} times"
    assert kinds["executionCompleted"] == instance.ended, f"{name} ended {kinds['executionCompleted']} times"
    if instance.ended:
        assert kind_of(events[-1]) == "executionCompleted", f"{name} went on after its end: {events[-1]}"
        assert events[-1].executionCompleted.workflowStatus == instance.row["ended"], name
        assert not instance.inbox, f"{name} has ended with {waiting} waiting"
        assert not instance.call_timers, f"{name} has ended with timers {instance.timers}"

    tasks, children = asked_for(events, "taskScheduled"), asked_for(events, "childWorkflowInstanceCreated")
    timers = [
        event.eventId
        for event in events
        if kind_of(event) == "timerCreated" and event.timerCreated.fireAt.seconds < _FOREVER
    ]
    numbers = Counter([*tasks, *timers, *children])
    assert not numbers or max(numbers.values()) == 1, f"{name} asked twice for something: {numbers}"
    arrived = [*events, *waiting]
    run = answered(name, tasks, arrived, ("taskCompleted", "taskFailed"), "taskScheduledId")
    fired = answered(name, timers, arrived, ("timerFired",), "timerId")
    ends = ("childWorkflowInstanceCompleted", "childWorkflowInstanceFailed")
    came = answered(name, children, arrived, ends, "taskScheduledId")
    if not instance.ended:
        generation = instance.row["generation"]
        left = sorted(number for of, number in instance.tasks if of == generation)
        assert left == sorted(set(tasks) - run), f"{name}: activities {left} are to run, of {tasks} {run} have"
        assert sorted(instance.call_timers) == sorted(set(timers) - fired), (
            f"{name}: timers {instance.timers} of {timers}"
        )
        for number in set(children) - came:
            (child,) = [e for e in events if e.eventId == number and kind_of(e) == "childWorkflowInstanceCreated"]
            child_id = child.childWorkflowInstanceCreated.instanceId
            assert child_id in stored, f"{name} waits for a child {child_id} that is not there"
            assert not stored[child_id].ended, f"{name} was not told of the end of its child {child_id}"


def check_grown(before: Stored, after: Stored, known: Mapping[str, Known]) -> None:
    """Checks that nothing that was there at one kill is gone or different at the next without having been asked for."""
    for name, old in before.items():
        asked = known.get(root_of(name), Known())
        if name not in after:
            assert asked.purges, f"lost: {name} is gone, and nobody purged it"
            continue
        new = after[name]
        if new.row["execution_id"] == old.row["execution_id"]:
            assert new.history[: len(old.history)] == old.history, f"the history of {name} was rewritten"
            if old.ended:
                assert new.row == old.row, f"{name} had ended and was changed: {old.row} is now {new.row}"
        elif old.ended:
            again = asked.tries[_run(new)] > 1 or _run(new) != _run(old) or root_of(name) != name
            assert again, f"double: {name} had ended as {old.row} and ran once more: {new.row}"
        else:
            renewed = new.row["generation"] > old.row["generation"] or asked.purges or sum(asked.tries.values()) > 1
            assert renewed, f"{name} is another execution: {old.row}, {new.row}"


def _run(instance: StoredInstance) -> str:
    return json.loads(instance.row["input"])["run"]


def check_promises(stored: Stored, known: Mapping[str, Known]) -> None:
    """Checks that everything that was acknowledged is there, and what is gone for good is not."""
    for name, promised in known.items():
        if promised.gone:
            assert name not in stored, f"lost: the purge of {name} was acknowledged"
        if not promised.certain:
            continue
        assert name in stored, f"lost: {promised.run} was acknowledged"
        instance = stored[name]
        assert _run(instance) == promised.run, f"lost: {promised.run} was acknowledged, and there is {_run(instance)}"
        if promised.terminated:
            assert instance.ended, f"lost: the termination of {promised.run} was acknowledged: {instance.row}"
        if promised.suspended and not instance.ended:
            assert instance.row["suspended"], f"lost: the suspension of {promised.run} was acknowledged"
        if promised.final is not None:
            now = {
                "execution": instance.row["execution_id"],
                "status": _STATUS.get(instance.row["ended"], "unfinished"),
                "output": instance.row["output"],
            }
            told = {key: promised.final[key] for key in now}
            assert now == told, f"lost: a client was told that {promised.run} had ended as {told}, and it is {now}"
        if promised.events:
            _check_events(instance, promised)


def _check_events(instance: StoredInstance, promised: Known) -> None:
    """Each event is in one place: taken by an earlier generation, in the history, or waiting."""
    if instance.ended:
        there = Counter(json.loads(instance.row["output"]))
    else:
        raised = [e for e in (*instance.events(), *instance.waiting()) if kind_of(e) == "eventRaised"]
        there = Counter(json.loads(event.eventRaised.input.value)["key"] for event in raised)
        there.update(json.loads(instance.row["input"])["seen"])
    for key in promised.events:
        assert there[key], f"lost: event {key} of {promised.run} was acknowledged: {instance}, {instance.row}"
    assert max(there.values()) == 1, f"double: events of {promised.run}: {there}"


def check_finished(stored: Stored, known: Mapping[str, Known]) -> None:
    """Checks that all instances have ended, that nothing is left to do, and that nobody is there unasked."""
    for name, instance in stored.items():
        assert instance.ended, f"hangs: {name}: {instance}, {instance.row}"
        assert not instance.tasks, f"{name} has ended with activities {instance.tasks} to run"
        assert known.get(root_of(name), Known()).run, f"{name} is there, and nobody started it"
