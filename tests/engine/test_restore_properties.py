"""Whatever happens to an instance, a store that was told of every change gives back the same instance."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk.engine.conclusion import conclude
from dapr_workflow_sdk.engine.state import START_TIMER, Change, InstanceState
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.engine.transitions import (
    accept,
    accept_unstored,
    beat,
    create,
    drop_task,
    event_at,
    stall,
    store_unstored,
    unstall,
    wants,
)
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER, text_of
from tests import builders
from tests.engine.support import put
from tests.strategies import QUICK

# Later than anything here is due.
_FAR = 2**62
_START = builders.EPOCH_SECONDS * 1_000_000_000
_TEXTS = st.sampled_from([None, "", "null", '"é"', "0"])


@st.composite
def _actions(draw: st.DrawFn) -> list[tuple[str, Any]]:
    kinds = ["activity", "timer", "sentinel", "child", "event", "detached", "foreign activity", "foreign child"]
    kinds += ["patch", "handing down"]
    asked = draw(st.lists(st.tuples(st.sampled_from(kinds), _TEXTS), max_size=4))
    ending = draw(st.sampled_from([None, None, None, None, "renew", "renew", "complete", "fail", "unknown"]))
    return asked if ending is None else [*asked, (ending, draw(_TEXTS))]


_STEPS = st.one_of(
    st.tuples(st.just("turn"), _actions()),
    st.tuples(st.just("turn"), _actions()),
    st.tuples(st.just("turn"), _actions()),
    st.tuples(st.just("lost turn"), st.none()),
    st.tuples(st.just("activity"), st.integers(0, 9)),
    st.tuples(st.just("timer"), st.integers(0, 9)),
    st.tuples(st.just("child"), st.integers(0, 9)),
    st.tuples(st.just("raise"), _TEXTS),
    st.tuples(st.just("suspend"), st.none()),
    st.tuples(st.just("resume"), st.none()),
    st.tuples(st.just("terminate"), _TEXTS),
    st.tuples(st.just("store"), st.none()),
    st.tuples(st.just("drop"), st.integers(0, 9)),
    st.tuples(st.just("late"), st.integers(0, 3)),
    st.tuples(st.just("stall"), st.sampled_from(["one reason", "another"])),
    st.tuples(st.just("unstall"), st.none()),
    st.tuples(st.just("beat"), _TEXTS),
)


class _Driver:
    """Takes steps and commits what each of them changed."""

    def __init__(self, store: Store, *, scheduled: bool = False) -> None:
        self.store = store
        self.scheduled = scheduled
        self.now = _START
        self.number = store.new_number()
        self.key = ("app", f"instance-{self.number}")
        self.call_ids: Iterator[int] = itertools.count(1)
        self.executions: Iterator[int] = itertools.count(2)
        self.state = self._create(1)

    def _tick(self) -> int:
        self.now += 1000
        return self.now

    def _create(self, generation: int) -> InstanceState:
        start = builders.started("flow", '"input"', instance_id=self.key[1])
        given: pb.PropagatedHistory | None = None
        if self.scheduled:
            start.executionStarted.scheduledStartTimestamp.CopyFrom(builders.at(500))
            start.executionStarted.version.value = "v2"
            start.executionStarted.parentTraceContext.traceParent = f"00-{'a' * 32}-{'b' * 16}-01"
            given = pb.PropagatedHistory(chunks=[pb.PropagatedHistoryChunk(instanceId="elder", rawEvents=[b"", b"x"])])
        state, change = create(self.key[0], self.number, start, self._tick(), generation, given)
        put(self.store, change)
        return state

    def step(self, kind: str, detail: Any) -> None:
        change = self._change(kind, detail)
        if change is not None:
            put(self.store, change)

    def _change(self, kind: str, detail: Any) -> Change | None:
        if kind == "turn" and self.state.inbox and not self.state.ended:
            return self._turn(detail)
        if kind == "activity":
            self._unstored(sorted(self.state.tasks), detail)
        elif kind == "timer" and self.state.timers.keys() - {START_TIMER}:
            timers = sorted(self.state.timers.keys() - {START_TIMER})
            timer = timers[detail % len(timers)]
            event = builders.timer_fired(timer)
            if wants(self.state, event):
                accept_unstored(self.state, event, timer=timer)
        elif kind == "child" and self.state.children:
            children = sorted(self.state.children)
            call_id = children[detail % len(children)]
            event = builders.child_done(call_id) if detail % 2 else builders.child_failed(call_id)
            if wants(self.state, event):
                return accept(self.state, event)
        elif kind == "store":
            return store_unstored(self.state)
        elif kind == "beat" and self.state.tasks:
            kept = beat(self.state, min(self.state.tasks), detail)
            return None if kept is None else kept[1]
        elif kind == "unstall":
            return unstall(self.state)
        elif kind == "stall" and not self.state.ended:
            return stall(self.state, pb.STALLED_REASON_PATCH_MISMATCH, detail, self._tick())
        elif kind == "drop" and self.state.tasks:
            keys = [key for key in sorted(self.state.tasks) if not self._taken(key)]
            return drop_task(self.state, keys[detail % len(keys)]) if keys else None
        elif not self.state.ended:
            return self._arrive(kind, detail)
        return None

    def _taken(self, key: tuple[int, int]) -> bool:
        return any(item.task == key for item in self.state.inbox)

    def _unstored(self, keys: list[tuple[int, int]], detail: int) -> None:
        if keys:
            key = keys[detail % len(keys)]
            event = builders.activity_done(key[1]) if detail % 2 else builders.activity_failed(key[1])
            if wants(self.state, event, key):
                accept_unstored(self.state, event, task=key)

    def _arrive(self, kind: str, detail: Any) -> Change | None:
        arrivals: dict[str, Callable[[], pb.HistoryEvent]] = {
            "raise": lambda: builders.raised("go", detail),
            "suspend": builders.suspended,
            "resume": builders.resumed,
            "terminate": lambda: builders.terminated(detail, recurse=True),
            "late": lambda: builders.activity_done(detail),
        }
        return accept(self.state, arrivals[kind]()) if kind in arrivals else None

    def _turn(self, asked: list[tuple[str, Any]]) -> Change:
        marker = event_at(self._tick())
        marker.workflowStarted.SetInParent()
        taken = list(self.state.inbox)
        actions = [self._action(kind, text) for kind, text in asked if kind != "patch"]
        status = asked[0][1] if asked else None
        answer = pb.WorkflowResponse(actions=actions, customStatus=text_of(status))
        met = [text or "" for kind, text in asked if kind == "patch"]
        if met:
            # What was met before is met again; an answer without it would have stalled the instance.
            answer.version.patches.extend([*self.state.patches, *met])
        elif self.state.patches:
            answer.version.patches.extend(self.state.patches)
        new = [marker, *(item.event for item in taken)]
        execution = f"execution-{next(self.executions)}"
        return conclude(self.state, taken, new, answer, self._tick(), lambda: execution).change

    def _action(self, kind: str, text: str | None) -> pb.WorkflowAction:
        action = pb.WorkflowAction(id=next(self.call_ids))
        given_text = text_of(text)
        if kind.startswith("foreign "):
            action.router.targetAppID = "another-app"
            kind = kind.removeprefix("foreign ")
        if kind == "handing down":
            action.scheduleTask.CopyFrom(pb.ScheduleTaskAction(name="look", input=given_text))
            action.scheduleTask.historyPropagationScope = pb.HISTORY_PROPAGATION_SCOPE_LINEAGE
        elif kind == "activity":
            execution = f"call-{action.id % 3}"
            action.scheduleTask.CopyFrom(
                pb.ScheduleTaskAction(name="charge", input=given_text, taskExecutionId=execution)
            )
        elif kind == "timer":
            action.createTimer.fireAt.CopyFrom(builders.at(action.id))
        elif kind == "sentinel":
            action.createTimer.fireAt.CopyFrom(NEVER)
        elif kind == "child":
            action.createChildWorkflow.CopyFrom(pb.CreateChildWorkflowAction(name="c", input=given_text))
        elif kind == "event":
            action.sendEvent.CopyFrom(pb.SendEventAction(name="go", data=given_text))
        elif kind == "detached":
            action.createDetachedWorkflow.CopyFrom(pb.CreateDetachedWorkflowAction(name="d", instanceId="d"))
        elif kind != "unknown":
            end = action.completeWorkflow
            if given_text is not None:
                end.result.CopyFrom(given_text)
            if kind == "renew":
                end.workflowStatus = pb.WORKFLOW_STATUS_CONTINUED_AS_NEW
                end.carryoverEvents.append(builders.raised("carried", text))
            elif kind == "fail":
                end.workflowStatus = pb.WORKFLOW_STATUS_FAILED
                end.failureDetails.errorMessage = "no luck"
            else:
                end.workflowStatus = pb.WORKFLOW_STATUS_COMPLETED
        return action


def _durable(state: InstanceState) -> dict[str, Any]:
    """An instance as a crash would leave it: without the events whose rows still stand for them."""
    return {
        "row": dataclasses.asdict(state.row),
        "history": [event.SerializeToString(deterministic=True) for event in state.history],
        "inbox": [
            (item.number, item.event.SerializeToString(deterministic=True)) for item in state.inbox if item.stored
        ],
        "tasks": {key: request.SerializeToString(deterministic=True) for key, request in state.tasks.items()},
        "timers": dict(state.timers),
        "children": dict(state.children),
        "attempts": dict(state.attempts),
        "patches": state.patches,
    }


@pytest.fixture(scope="module", params=["memory", "sqlite"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    if request.param == "memory":
        kept: Store = MemoryStore()
    else:
        path: Path = tmp_path_factory.mktemp("engine") / "engine.db"
        kept = SqliteStore(path, synchronous="OFF")
    yield kept
    kept.close()


@QUICK
@given(scheduled=st.booleans(), steps=st.lists(_STEPS, max_size=25))
def test_a_store_gives_back_what_is_in_memory_after_every_step(
    store: Store, scheduled: bool, steps: list[tuple[str, Any]]
) -> None:
    driver = _Driver(store, scheduled=scheduled)
    for kind, detail in steps:
        driver.step(kind, detail)
        restored = store.load(driver.key)
        assert restored is not None
        assert _durable(restored) == _durable(driver.state), f"after {kind} {detail}"
        assert restored.inbox_next <= driver.state.inbox_next
        assert store.row(driver.key) == driver.state.row


@QUICK
@given(scheduled=st.booleans(), steps=st.lists(_STEPS, max_size=15), more=st.lists(_STEPS, max_size=10))
def test_an_instance_taken_up_from_a_store_goes_on_as_it_would_have(
    store: Store, scheduled: bool, steps: list[tuple[str, Any]], more: list[tuple[str, Any]]
) -> None:
    driver = _Driver(store, scheduled=scheduled)
    for kind, detail in steps:
        driver.step(kind, detail)
    change = store_unstored(driver.state)
    if change is not None:
        put(store, change)
    other = _Driver(MemoryStore())
    other.key, other.now = driver.key, driver.now
    other.call_ids, driver.call_ids = itertools.tee(driver.call_ids)
    other.executions, driver.executions = itertools.tee(driver.executions)
    restored = store.load(driver.key)
    assert restored is not None
    other.state = restored
    for kind, detail in more:
        driver.step(kind, detail)
        other._change(kind, detail)
        mine, theirs = _durable(driver.state), _durable(other.state)
        # Numbers in the inbox may start over; their order may not.
        for durable in (mine, theirs):
            durable["inbox"] = [event for _, event in durable["inbox"]]
        assert mine == theirs, f"after {kind} {detail}"


@QUICK
@given(steps=st.lists(_STEPS, max_size=20))
def test_an_id_used_again_starts_with_nothing_of_the_old_instance_but_its_activities(
    store: Store, steps: list[tuple[str, Any]]
) -> None:
    driver = _Driver(store)
    for kind, detail in [*steps, ("turn", [("activity", None), ("complete", None)])]:
        driver.step(kind, detail)
    if not driver.state.ended:
        return
    left = set(driver.state.tasks)
    generation = driver.state.row.generation
    driver.state = driver._create(generation + 1)
    restored = store.load(driver.key)
    assert restored is not None
    assert restored.row.generation == generation + 1
    assert [item.event.WhichOneof("eventType") for item in restored.inbox] == ["executionStarted"]
    assert (restored.history, restored.timers, restored.children, restored.attempts) == ([], {}, {}, {})
    assert (restored.patches, restored.row.stalled, restored.row.output) == ((), None, None)
    assert set(restored.tasks) == left
    for key in left:
        assert not wants(restored, builders.activity_done(key[1]), key)


@QUICK
@given(steps=st.lists(_STEPS, max_size=15))
def test_a_purged_instance_leaves_nothing(store: Store, steps: list[tuple[str, Any]]) -> None:
    driver = _Driver(store)
    for kind, detail in steps:
        driver.step(kind, detail)
    put(store, Change(driver.key, driver.number, removed=True))
    assert store.load(driver.key) is None
    assert store.row(driver.key) is None
    assert driver.key not in store.ready(_FAR)
    assert driver.key not in store.due(_FAR)
    # Nothing of it turns up under a new instance of the id either.
    again = driver._create(1)
    restored = store.load(driver.key)
    assert restored is not None
    assert _durable(restored) == _durable(again)
