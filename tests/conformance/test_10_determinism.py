"""Scenarios 117 to 130 of the conformance list: code against history, results out of order, combinations."""

from __future__ import annotations

import errno
import re
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk import (
    Task,
    TaskFailedError,
    TaskHubUnavailableError,
    WorkflowActivityContext,
    WorkflowAlreadyExistsError,
    WorkflowContext,
    WorkflowStatus,
    when_all,
    when_any,
)
from dapr_workflow_sdk.engine.state import Change
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.errors import WorkflowStalledError
from dapr_workflow_sdk.replay.turn import TurnOutput
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance import literal as h
from tests.conformance.hubs import KINDS, Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, engine_hub, in_background, own_hub
from tests.engine.traces import Traces, attributes_of, id_of, parent_of, trace_of

Run = Generator[Task[Any], Any, Any]
Call = Callable[[WorkflowContext], Task[Any]]


@pytest.fixture(scope="module")
def own(hub: Hub, tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[OwnHub]:
    """A hub of the same kind, without a worker unless a test connects one."""
    with own_hub(hub.kind, tmp_path_factory.mktemp("own"), request) as own:
        yield own


def _result(output: TurnOutput) -> str | None:
    """The result of a run that completed in this turn."""
    assert output.outcome is not None, h.asked(output)
    assert output.outcome.status == pb.WORKFLOW_STATUS_COMPLETED, output.outcome
    return output.outcome.result


# ---- 117: history and code differ --------------------------------------------------------------------------

_RECORDED: dict[str, pb.HistoryEvent] = {
    "activity": h.scheduled(1),
    "other activity": h.scheduled(1, "other"),
    "child": h.child_set(1),
    "other child": h.child_set(1, "other"),
    "timer": h.timer_set(1),
}
_CALLS: dict[str, Call] = {
    "activity": lambda ctx: ctx.call_activity("work"),
    "child": lambda ctx: ctx.call_child_workflow("child"),
    "timer": lambda ctx: ctx.create_timer(timedelta(seconds=10)),
    "wait": lambda ctx: ctx.wait_for_external_event("go"),
    "limited wait": lambda ctx: ctx.wait_for_external_event("go", timeout=timedelta(seconds=10)),
}
# The timer of a limited wait is a timer as far as histories without origins tell.
_FIT = {("activity", "activity"), ("child", "child"), ("timer", "timer"), ("timer", "limited wait")}


@pytest.mark.parametrize("called", _CALLS)
@pytest.mark.parametrize("recorded", _RECORDED)
def test_117_code_that_calls_something_else_fails(recorded: str, called: str) -> None:
    def changed(ctx: WorkflowContext) -> Run:
        return (yield _CALLS[called](ctx))

    output = h.turn(changed, [h.begun(), h.started(), _RECORDED[recorded]], [h.begun(1), h.raised("other")])
    if (recorded, called) in _FIT:
        assert output.outcome is None
        return
    end = h.ending(output)
    assert end.workflowStatus == pb.WORKFLOW_STATUS_FAILED
    assert end.failureDetails.errorType == "NonDeterminismError"
    assert "no longer matches its history" in end.failureDetails.errorMessage


def test_117_code_that_makes_fewer_calls_fails() -> None:
    def shorter(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity("work")
        return "done"

    past = [h.begun(), h.started(), h.scheduled(1), h.begun(1), h.completed(1), h.scheduled(2)]
    end = h.ending(h.turn(shorter, past, [h.begun(2), h.completed(2)]))
    assert (end.workflowStatus, end.failureDetails.errorType) == (
        pb.WORKFLOW_STATUS_FAILED,
        "NonDeterminismError",
    )


def test_117_code_that_makes_more_calls_at_its_end_does_not_fail() -> None:
    def longer(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity("work")
        return (yield ctx.call_activity("work"))

    output = h.turn(longer, [h.begun(), h.started(), h.scheduled(1)], [h.begun(1), h.completed(1)])
    assert h.asked(output) == [(2, "scheduleTask")]


def _changing(hub: Hub) -> tuple[Callable[..., Run], threading.Event]:
    """A workflow that calls another activity once the event is set."""
    changed = threading.Event()

    @hub.activity
    def before(ctx: WorkflowActivityContext) -> None: ...

    @hub.activity
    def after(ctx: WorkflowActivityContext) -> None: ...

    def code(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(after if changed.is_set() else before)
        ctx.set_custom_status("waiting")
        return (yield ctx.wait_for_external_event("go"))

    @hub.workflow
    def subject(ctx: WorkflowContext) -> Run:
        # What another function returns is never kept between turns, so every turn replays.
        return code(ctx)

    return subject, changed


def _assert_explained(text: str, instance_id: str) -> None:
    for part in (instance_id, "call 1 of its history", "before-", "after-", __file__, "Likely cause:", "What to do:"):
        assert part in text, text


def test_117_an_instance_whose_code_changed_fails_and_says_why(own: OwnHub) -> None:
    subject, changed = _changing(own)
    # A Dapr sidecar knows nothing else.
    options = {} if own.kind == "daprd" else {"on_nondeterminism": "fail"}
    with own.new_runtime(**options):
        instance_id = own.start(subject)
        own.eventually(lambda: own.state(instance_id).serialized_custom_status, "it waits for the event")
        changed.set()
        own.client.raise_workflow_event(instance_id, "go")
        state = own.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.error_type == "NonDeterminismError"
    _assert_explained(state.failure_details.message, instance_id)


@pytest.mark.not_on("daprd", reason="it has no way to let an instance stall for this")
def test_117_an_instance_whose_code_changed_stalls_until_the_code_is_back(own: OwnHub) -> None:
    subject, changed = _changing(own)
    with own.new_runtime():
        instance_id = own.start(subject)
        own.eventually(lambda: own.state(instance_id).serialized_custom_status, "it waits for the event")
        changed.set()
        own.client.raise_workflow_event(instance_id, "go", data="gone")
        own.eventually(lambda: own.state(instance_id).runtime_status is WorkflowStatus.STALLED, "it stalls")
    (stalled,) = [event.executionStalled for event in own.history(instance_id) if kind_of(event) == "executionStalled"]
    assert stalled.reason == pb.STALLED_REASON_HISTORY_MISMATCH
    _assert_explained(stalled.description, instance_id)
    changed.clear()
    with own.new_runtime():
        assert own.finish(instance_id).serialized_output == '"gone"'


# ---- 118 to 120: results that come twice, early, or for nobody ---------------------------------------------


def _two(call: Call) -> Callable[[WorkflowContext], Run]:
    def two(ctx: WorkflowContext) -> Run:
        first = yield call(ctx)
        second = yield call(ctx)
        return [first, second]

    return two


_PAIRS: dict[str, tuple[Callable[[int], pb.HistoryEvent], Callable[[int, str], pb.HistoryEvent]]] = {
    "activity": (h.scheduled, h.completed),
    "child": (h.child_set, h.child_done),
    "timer": (h.timer_set, lambda call, text: h.timer_fired(call)),
}


@pytest.mark.parametrize("kind", _PAIRS)
@pytest.mark.parametrize("later", [False, True], ids=["same turn", "later turn"])
def test_118_the_second_of_two_results_is_dropped(kind: str, later: bool) -> None:
    record, finish = _PAIRS[kind]
    subject = _two(_CALLS[kind])
    past = [h.begun(), h.started(), record(1)]
    new = [h.begun(1), finish(1, '"a"'), *([] if later else [finish(1, '"b"')])]
    output = h.turn(subject, past, new)
    assert output.outcome is None
    assert [action_id for action_id, _ in h.asked(output)] == [2]

    past += [*new, record(2)]
    output = h.turn(subject, past, [h.begun(2), *([finish(1, '"b"')] if later else []), finish(2, '"c"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["a", "c"]')


def test_118_a_failure_after_the_result_is_dropped() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    new = [h.begun(1), h.completed(1, '"a"'), h.failed(1, "too late")]
    assert h.asked(h.turn(_two(_CALLS["activity"]), past, new)) == [(2, "scheduleTask")]


@pytest.mark.not_on("daprd", reason="1.16.0 holds the second answer back for a quarter of an hour")
def test_118_results_sent_twice_are_recorded_once(hub: Hub) -> None:
    @hub.activity
    def twice(ctx: WorkflowActivityContext, number: int) -> int:
        response = pb.ActivityResponse(instanceId=ctx.workflow_id, taskId=ctx.task_id, result=text_of(str(number)))
        for _ in range(2):
            hub.ask(lambda port: port.complete_activity(response))
        return -number

    @hub.workflow
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity(twice, input=number) for number in range(1, 6)]))

    state = hub.run(fan)
    assert state.serialized_output == "[1, 2, 3, 4, 5]"
    results = [event for event in hub.history(state.instance_id) if kind_of(event) == "taskCompleted"]
    assert sorted(event.taskCompleted.taskScheduledId for event in results) == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", _PAIRS)
def test_119_a_result_that_comes_before_its_call_is_kept_for_it(kind: str) -> None:
    record, finish = _PAIRS[kind]
    past = [h.begun(), h.started(), record(1)]
    output = h.turn(_two(_CALLS[kind]), past, [h.begun(1), finish(2, '"second"'), finish(1, '"first"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["first", "second"]')


@pytest.mark.parametrize("kind", _PAIRS)
def test_119_it_is_kept_from_turn_to_turn(kind: str) -> None:
    record, finish = _PAIRS[kind]
    past = [h.begun(), h.started(), record(1), h.begun(1), finish(2, '"second"')]
    output = h.turn(_two(_CALLS[kind]), past, [h.begun(2), finish(1, '"first"')])
    assert _result(output) == ("[null, null]" if kind == "timer" else '["first", "second"]')


def test_119_only_a_call_of_its_kind_takes_it() -> None:
    past = [h.begun(), h.started(), h.scheduled(1)]
    new = [h.begun(1), h.timer_fired(2), h.child_done(2), h.completed(1)]
    assert h.asked(h.turn(_two(_CALLS["activity"]), past, new)) == [(2, "scheduleTask")]


def test_120_results_that_nothing_ever_asks_for_do_no_harm() -> None:
    def one(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    orphans = [h.completed(7, '"x"'), h.failed(8, "x"), h.timer_fired(9), h.child_done(10, '"x"')]
    waiting = h.turn(one, [h.begun(), h.started(), h.scheduled(1)], [h.begun(1), *orphans])
    assert waiting.outcome is None
    assert waiting.actions == []

    past = [h.begun(), h.started(), h.scheduled(1), h.begun(1), *orphans]
    assert _result(h.turn(one, past, [h.begun(2), h.completed(1, '"done"'), *orphans])) == '"done"'


# ---- 121, 122: what may happen only once ---------------------------------------------------------------------


def test_121_a_second_start_or_end_in_a_history_changes_nothing() -> None:
    starts: list[int] = []

    def one(ctx: WorkflowContext, value: int) -> Run:
        starts.append(value)
        return (yield ctx.call_activity("work"))

    past = [h.begun(), h.started(text="1"), h.scheduled(1)]
    output = h.turn(one, past, [h.begun(1), h.started(text="2"), h.completed(1, '"done"')])
    assert _result(output) == '"done"'
    assert starts == [1]


def test_121_an_instance_is_started_and_ended_once(own: OwnHub) -> None:
    @own.workflow
    def subject(ctx: WorkflowContext) -> Run:
        return (yield ctx.wait_for_external_event("go"))

    with HandWorker(own) as worker:
        instance_id = own.start_soon(subject)
        worker.play(worker.turn(instance_id))
        with pytest.raises(WorkflowAlreadyExistsError, match="already exists"):
            own.client.schedule_new_workflow(subject, instance_id=instance_id)
        own.client.raise_workflow_event(instance_id, "go")
        worker.answer(worker.turn(instance_id), [_ended(2, '"first"'), _ended(3, '"second"')])
        assert own.finish(instance_id).serialized_output == '"first"'
    kinds = [kind_of(event) for event in own.recorded(instance_id)]
    assert (kinds.count("executionStarted"), kinds.count("executionCompleted")) == (1, 1)


@pytest.mark.not_on("daprd", reason="1.16 takes the events that are carried over as they are")
def test_121_a_start_that_is_carried_over_is_dropped(own: OwnHub) -> None:
    @own.workflow
    def subject(ctx: WorkflowContext) -> None: ...

    with HandWorker(own) as worker:
        instance_id = own.start_soon(subject)
        first = worker.turn(instance_id)
        again = pb.CompleteWorkflowAction(
            workflowStatus=pb.WORKFLOW_STATUS_CONTINUED_AS_NEW,
            result=text_of("2"),
            carryoverEvents=[
                first.new[1],
                h.raised("kept"),
                h.event(7, executionCompleted=pb.ExecutionCompletedEvent()),
            ],
        )
        worker.answer(first, [pb.WorkflowAction(id=1, completeWorkflow=again)])
        second = worker.turn(instance_id)
        assert [kind_of(event) for event in second.new] == ["workflowStarted", "executionStarted", "eventRaised"]
        assert second.new[1].executionStarted.input.value == "2"
        worker.play(second)
        assert own.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED


@pytest.mark.not_on("daprd", reason="1.16 tells the parent of each of the two ends; its worker must drop the second")
def test_122_a_child_that_ends_twice_in_one_answer_tells_its_parent_once(own: OwnHub) -> None:
    @own.workflow
    def child(ctx: WorkflowContext) -> None: ...

    @own.workflow
    def parent(ctx: WorkflowContext) -> Run:
        first = yield ctx.call_child_workflow(child, instance_id=f"{ctx.instance_id}-child")
        return [first, (yield ctx.wait_for_external_event("go"))]

    with HandWorker(own) as worker:
        instance_id = own.start_soon(parent)
        worker.play(worker.turn(instance_id))
        failed = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_FAILED)
        worker.answer(
            worker.turn(f"{instance_id}-child"),
            [_ended(1, '"first"'), _ended(2, '"second"'), pb.WorkflowAction(id=3, completeWorkflow=failed)],
        )
        told = worker.turn(instance_id)
        assert [kind_of(event) for event in told.new] == ["workflowStarted", "childWorkflowInstanceCompleted"]
        worker.play(told)
        own.client.raise_workflow_event(instance_id, "go", data="on")
        after = worker.turn(instance_id)
        assert [kind_of(event) for event in after.new] == ["workflowStarted", "eventRaised"]
        worker.play(after)
        assert own.finish(instance_id).serialized_output == '["first", "on"]'
    state = own.finish(f"{instance_id}-child")
    assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, '"first"')


def _ended(action_id: int, text: str) -> pb.WorkflowAction:
    end = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_COMPLETED, result=text_of(text))
    return pb.WorkflowAction(id=action_id, completeWorkflow=end)


# ---- 123: a store that fails -----------------------------------------------------------------------------------


class _Disk:
    """Breaks the stores of one kind while a certain instance is written.

    Attributes:
        doomed: The instance.
        countdown: How many of its commits succeed before one fails; below 0, none fails.
        failures: How many have failed.
    """

    def __init__(self, store: type[MemoryStore] | type[SqliteStore], at: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.doomed = ""
        self.countdown = -1
        self.failures = 0
        write, sync = store.write, store.sync
        broken = threading.Event()

        def write_or_fail(self_: Any, changes: Sequence[Change]) -> None:
            if any(change.key[1].startswith(self.doomed) for change in changes) and self.countdown >= 0:
                self.countdown -= 1
                if self.countdown < 0:
                    if at == "write":
                        self._fail()
                    broken.set()
            write(self_, changes)

        def sync_or_fail(self_: Any) -> None:
            if broken.is_set():
                broken.clear()
                self_._take_back()
                self._fail()
            sync(self_)

        monkeypatch.setattr(store, "write", write_or_fail)
        monkeypatch.setattr(store, "sync", sync_or_fail)

    def _fail(self) -> None:
        self.failures += 1
        raise OSError(errno.EIO, "Input/output error")


@pytest.mark.not_on("daprd", reason="its state store cannot be told to fail")
@pytest.mark.parametrize(
    "at",
    [
        "write",
        pytest.param("sync", marks=pytest.mark.not_on("memory", reason="it has no disk that a commit waits for")),
    ],
)
def test_123_a_commit_that_fails_in_the_middle_of_a_run_leaves_no_trace(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: str
) -> None:
    disk = _Disk(MemoryStore if hub.kind == "memory" else SqliteStore, at, monkeypatch)
    children: list[str] = []
    with engine_hub(hub.kind, tmp_path) as own:

        @own.activity
        def work(ctx: WorkflowActivityContext, number: int) -> int:
            return number

        @own.workflow
        def child(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_activity(work, input=3))

        @own.workflow
        def parent(ctx: WorkflowContext) -> Run:
            results = [(yield ctx.wait_for_external_event("begin"))]
            results.append((yield ctx.call_activity(work, input=1)))
            results += yield when_all([ctx.call_activity(work, input=2), ctx.call_child_workflow(child)])
            yield ctx.create_timer(timedelta(milliseconds=1))
            ctx.set_custom_status("waiting")
            results.append((yield ctx.wait_for_external_event("go")))
            return results

        def run() -> tuple[list[tuple[str, int]], list[tuple[str, int]]]:
            """Runs the workflow and returns the shapes of its history and that of its child."""
            instance_id = own.fresh("i")
            own.client.schedule_new_workflow(parent, instance_id=instance_id)
            # From here on every commit counts, and none comes before this.
            own.eventually(lambda: len(own.history(instance_id)) > 2, "it waits for its beginning")
            disk.doomed = instance_id
            _raise_until_it_is_taken(own, instance_id, "begin", 0)
            own.eventually(lambda: own.state(instance_id).serialized_custom_status, "it waits")
            _raise_until_it_is_taken(own, instance_id, "go", 4)
            state = own.finish(instance_id)
            assert state.serialized_output == "[0, 1, 2, 3, 4]"
            children.append(f"{instance_id}:0004")
            return _shape(own, instance_id), _shape(own, children[-1])

        with own.runtime:
            expected = run()
            commits = 0
            while True:
                disk.countdown = commits
                failures = disk.failures
                assert run() == expected, f"after commit {commits} failed"
                if disk.failures == failures:
                    break
                commits += 1
            # Turn by turn, with the child: each commit has failed once.
            assert commits >= 8


def _raise_until_it_is_taken(hub: Hub, instance_id: str, name: str, data: int) -> None:
    """Raises an event once more if it could not be stored; the engine has told so, and nothing has happened."""
    try:
        hub.client.raise_workflow_event(instance_id, name, data=data)
    except TaskHubUnavailableError as error:
        assert "Input/output error" in str(error)
        hub.client.raise_workflow_event(instance_id, name, data=data)


def _shape(hub: Hub, instance_id: str) -> list[tuple[str, int]]:
    """What a history records; turns may be cut otherwise."""
    events = [(kind_of(event), event.eventId) for event in hub.history(instance_id)]
    return sorted(event for event in events if event[0] != "workflowStarted")


# ---- 124 to 126: code of another version -----------------------------------------------------------------------

_of_1_17 = pytest.mark.not_on("daprd", reason="1.17 was the first to know versions and patches")


def _version(*patches: str, name: str | None = None) -> pb.WorkflowVersion:
    return pb.WorkflowVersion(patches=patches, name=name)


def _stamps(events: Sequence[pb.HistoryEvent]) -> list[tuple[list[str], str]]:
    """Patches and names that the turns of a history are stamped with."""
    return [
        (list(event.workflowStarted.version.patches), event.workflowStarted.version.name)
        for event in events
        if kind_of(event) == "workflowStarted"
    ]


def _call(action_id: int) -> pb.WorkflowAction:
    return pb.WorkflowAction(id=action_id, scheduleTask=pb.ScheduleTaskAction(name="work"))


@_of_1_17
def test_124_a_turn_is_stamped_with_the_version_of_its_code(own: OwnHub) -> None:
    with HandWorker(own) as worker:
        instance_id = own.start_soon("anything")
        worker.answer(worker.turn(instance_id), [_call(1)], version=_version("a", name="v1"))
        assert _stamps(own.history(instance_id)) == [(["a"], "v1")]
        activity = worker.activity(instance_id)
        done = in_background(lambda: worker.finish(activity))
        second = worker.turn(instance_id)
        assert _stamps(second.past) == [(["a"], "v1")]
        assert _stamps(second.new) == [([], "")]
        # Patches that come later are added; what the history has stays as it is.
        worker.answer(second, [], version=_version("a", "b", name="v1"))
        done.result(10)
        own.client.raise_workflow_event(instance_id, "go")
        third = worker.turn(instance_id)
        assert _stamps(third.past) == [(["a"], "v1"), (["a", "b"], "v1")]
        again = pb.CompleteWorkflowAction(workflowStatus=pb.WORKFLOW_STATUS_CONTINUED_AS_NEW)
        action = pb.WorkflowAction(id=2, completeWorkflow=again)
        worker.answer(third, [action], version=_version("a", "b", name="v1"))
        # A new execution takes the code as it is now.
        fourth = worker.turn(instance_id)
        assert fourth.past == []
        assert _stamps(fourth.new) == [([], "")]
        worker.answer(fourth, [_ended(1, '"done"')], version=_version("c"))
        assert own.finish(instance_id).serialized_output == '"done"'
    assert _stamps(own.history(instance_id)) == [(["c"], "")]


@_of_1_17
@pytest.mark.parametrize(
    ("recorded", "met", "shown"),
    [
        (["a"], ["b"], ("a", "b")),
        (["a"], [], ("a", "")),
        (["a", "b"], ["a"], ("a, b", "a")),
        (["a", "b"], ["b", "a"], ("a, b", "b, a")),
    ],
    ids=["another one", "none", "fewer", "another order"],
)
def test_125_code_without_a_recorded_patch_stalls_until_it_is_back(
    own: OwnHub, recorded: list[str], met: list[str], shown: tuple[str, str]
) -> None:
    text = f"Patch mismatch. History patches: [{shown[0]}], current patches: [{shown[1]}]. "
    with HandWorker(own) as worker:
        instance_id = own.start_soon("anything")
        worker.answer(worker.turn(instance_id), [_call(1)], version=_version(*recorded))
        activity = worker.activity(instance_id)
        done = in_background(lambda: worker.finish(activity, "1"))
        worker.answer(worker.turn(instance_id), [_ended(2, '"wrong"')], version=_version(*met))
        # The result is kept, and nothing of the answer happens.
        done.result(10)
        _assert_stalled(own, instance_id, pb.STALLED_REASON_PATCH_MISMATCH, text)
    with HandWorker(own) as worker:
        # The same code again says the same, once.
        worker.answer(worker.turn(instance_id), [_ended(2, '"wrong"')], version=_version(*met))
        _assert_stalled(own, instance_id, pb.STALLED_REASON_PATCH_MISMATCH, text)
    with HandWorker(own) as worker:
        right = worker.turn(instance_id)
        assert [kind_of(event) for event in right.new] == ["workflowStarted", "taskCompleted"]
        worker.answer(right, [_ended(2, '"right"')], version=_version(*recorded, "more"))
        assert own.finish(instance_id).serialized_output == '"right"'
    kinds = [kind_of(event) for event in own.history(instance_id)]
    assert kinds.count("taskCompleted") == 1
    assert kinds.count("executionStalled") == 1


@_of_1_17
def test_126_code_without_the_recorded_version_stalls_until_it_is_back(own: OwnHub) -> None:
    missing = pb.WorkflowAction(id=1, workflowVersionNotAvailable=pb.WorkflowVersionNotAvailableAction())
    with HandWorker(own) as worker:
        instance_id = own.start_soon("anything")
        worker.answer(worker.turn(instance_id), [], version=_version(name="v1"))
        own.client.raise_workflow_event(instance_id, "go", data=1)
        worker.answer(worker.turn(instance_id), [missing])
        text = "Version not available: v1"
        _assert_stalled(own, instance_id, pb.STALLED_REASON_VERSION_NOT_AVAILABLE, text)
        # Others are served.
        other = own.start_soon("anything")
        worker.answer(worker.turn(other), [_ended(1, "1")], version=_version(name="v2"))
        assert own.finish(other).serialized_output == "1"
    with HandWorker(own) as worker:
        right = worker.turn(instance_id)
        assert [kind_of(event) for event in right.new] == ["workflowStarted", "eventRaised"]
        assert _stamps(right.past) == [([], "v1")]
        worker.answer(right, [_ended(1, '"v1"')], version=_version(name="v1"))
        assert own.finish(instance_id).serialized_output == '"v1"'


@_of_1_17
def test_126_a_stalled_instance_refuses_everything_but_removal_by_force(own: OwnHub) -> None:
    missing = pb.WorkflowAction(id=1, workflowVersionNotAvailable=pb.WorkflowVersionNotAvailableAction())
    with HandWorker(own) as worker:
        instance_id = own.start_soon("anything")
        worker.answer(worker.turn(instance_id), [missing], version=_version(name="v1"))
        history = own.history(instance_id)
        client = own.client
        operations: list[Callable[[], object]] = [
            lambda: client.raise_workflow_event(instance_id, "go"),
            lambda: client.pause_workflow(instance_id),
            lambda: client.resume_workflow(instance_id),
            lambda: client.terminate_workflow(instance_id),
            lambda: client.purge_workflow(instance_id),
        ]
        for operation in operations:
            with pytest.raises(WorkflowStalledError) as refused:
                operation()
            assert refused.value.code() is grpc.StatusCode.FAILED_PRECONDITION
            assert "stalled" in refused.value.details()
            assert "Version not available: v1" in refused.value.details()
        assert own.history(instance_id) == history
        request = pb.PurgeInstancesRequest(instanceId=instance_id, force=True)
        assert own.ask(lambda port: port.purge(request)) == 1
        assert client.get_workflow_state(instance_id) is None


def _assert_stalled(hub: Hub, instance_id: str, reason: int, text: str) -> None:
    assert hub.state(instance_id).runtime_status is WorkflowStatus.STALLED
    told = [event.executionStalled for event in hub.history(instance_id) if kind_of(event) == "executionStalled"]
    assert [(event.reason, event.description) for event in told] == [(reason, text)]


# ---- 128: traces -------------------------------------------------------------------------------------------------

_TRACE, _SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


@pytest.mark.not_on("daprd", reason="1.16 ignores the trace context of a request to start, and makes traces of its own")
def test_128_a_trace_goes_through_activities_and_children(own: OwnHub) -> None:
    @own.workflow
    def child(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    @own.workflow
    def parent(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity("work"), ctx.call_activity("work"), ctx.call_child_workflow(child)]))

    instance_id = own.fresh("i")
    given = pb.TraceContext(traceParent=f"00-{_TRACE}-{_SPAN}-01", traceState=text_of("vendor=1"))
    name = own.registered_name(parent)
    request = pb.CreateInstanceRequest(instanceId=instance_id, name=name, parentTraceContext=given)
    own.ask(lambda port: port.start(request))
    with HandWorker(own) as worker:
        first = worker.turn(instance_id)
        assert first.new[1].executionStarted.parentTraceContext == given
        worker.play(first)
        calls = {item.request.taskId: item.request for item in (worker.activity(instance_id) for _ in range(2))}
        begun = worker.turn(f"{instance_id}:0003")
        of_child = begun.new[1].executionStarted.parentTraceContext
        worker.play(begun)
        grandchild = worker.activity(f"{instance_id}:0003").request
        contexts = [calls[1].parentTraceContext, calls[2].parentTraceContext, of_child, grandchild.parentTraceContext]
        # It dies, and everything is handed out again.
    spans = []
    for context in contexts:
        version, trace, span, flags = context.traceParent.split("-")
        assert (version, trace, flags) == ("00", _TRACE, "01")
        assert re.fullmatch("[0-9a-f]{16}", span)
        assert context.traceState.value == "vendor=1"
        spans.append(span)
    assert len({_SPAN, *spans}) == 5
    with HandWorker(own) as worker:
        again = [worker.activity(instance_id) for _ in range(2)]
        again.append(worker.activity(f"{instance_id}:0003"))
        assert {item.request.taskId: item.request for item in again[:2]} == calls
        assert again[2].request == grandchild
    recorded = {event.eventId: event for event in own.history(instance_id) if event.eventId > 0}
    assert [recorded[number].taskScheduled.parentTraceContext for number in (1, 2)] == contexts[:2]
    assert recorded[3].childWorkflowInstanceCreated.parentTraceContext == of_child


def test_128_who_is_not_traced_has_no_trace(own: OwnHub) -> None:
    @own.workflow
    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("work"))

    with HandWorker(own) as worker:
        instance_id = own.start_soon(call)
        worker.play(worker.turn(instance_id))
        assert not worker.activity(instance_id).request.HasField("parentTraceContext")


_ENGINES = [kind for kind in KINDS if kind != "daprd"]


@pytest.mark.parametrize("kind", _ENGINES)
def test_128_the_spans_of_a_workflow(kind: str, tmp_path: Path) -> None:
    """Names, kinds, parents and attributes are Dapr's; a sidecar tells of them by itself, to an exporter of its own."""
    traces = Traces()
    with engine_hub(kind, tmp_path, tracer_provider=traces.provider) as own:

        @own.runtime.activity(name="work")
        def work(ctx: WorkflowActivityContext, fails: bool) -> None:
            with traces.tracer.start_as_current_span("inside"):
                if fails:
                    raise ValueError("no such order")

        @own.runtime.workflow(name="kid")
        def kid(ctx: WorkflowContext, _: None) -> Run:
            yield ctx.call_activity(work, input=True)

        @own.runtime.workflow(name="flow")
        def flow(ctx: WorkflowContext, last: bool) -> Run:
            yield ctx.call_activity(work, input=False)
            if not last:
                ctx.continue_as_new(True, save_events=True)
                return None
            yield ctx.create_timer(timedelta(milliseconds=1))
            yield ctx.wait_for_external_event("go")
            try:
                yield ctx.call_child_workflow(kid, instance_id="kid")
            except TaskFailedError:
                return "caught"

        own.runtime.start()
        with traces.tracer.start_as_current_span("request"):
            instance_id = own.start(flow, False)
        own.client.raise_workflow_event(instance_id, "go", data="now")
        assert own.finish(instance_id).serialized_output == '"caught"'

    request, creation = traces.one("request"), traces.one("create_orchestration||flow")
    first, second = traces.named("orchestration||flow")
    child, timer = traces.one("orchestration||kid"), traces.one("timer")
    works, inside = traces.named("activity||work"), traces.named("inside")
    assert len(traces.all()) == 12
    assert [parent_of(span) for span in (request, creation, first, second, child, timer)] == [
        None,
        id_of(request),
        id_of(creation),
        None,
        id_of(second),
        id_of(second),
    ]
    assert [parent_of(span) for span in works] == [id_of(first), id_of(second), id_of(child)]
    assert [parent_of(span) for span in inside] == [id_of(span) for span in works]
    assert {trace_of(span) for span in (creation, first, works[0], inside[0])} == {trace_of(request)}
    assert {trace_of(span) for span in (child, timer, *works[1:], *inside[1:])} == {trace_of(second)}
    assert trace_of(first) != trace_of(second)
    assert [span.kind.name for span in (creation, first, child, works[0], timer)] == [
        "CLIENT",
        "SERVER",
        "SERVER",
        "SERVER",
        "INTERNAL",
    ]
    run = {"type": "orchestration", "task.name": "flow", "task.instance_id": instance_id}
    assert attributes_of(creation) == run
    assert attributes_of(first) == {**run, "runtime_status": "CONTINUED_AS_NEW"}
    assert attributes_of(second) == {**run, "runtime_status": "COMPLETED"}
    assert attributes_of(child) == {
        "type": "orchestration",
        "task.name": "kid",
        "task.instance_id": "kid",
        "runtime_status": "FAILED",
    }
    assert attributes_of(works[0]) == {
        "type": "activity",
        "task.name": "work",
        "task.instance_id": instance_id,
        "task.task_id": 1,
    }
    fire_at = attributes_of(timer).pop("fire_at")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", str(fire_at))
    assert attributes_of(timer) == {
        "type": "timer",
        "fire_at": fire_at,
        "task.task_id": 2,
        "task.instance_id": instance_id,
    }
    assert [(event.name, dict(event.attributes or {})) for event in second.events] == [
        ("Received external event", {"name": "go", "size": 5})
    ]
    errors = {span.name for span in traces.all() if span.status.status_code.name == "ERROR"}
    assert errors == {"activity||work", "orchestration||kid", "inside"}
    assert works[2].status.description == "no such order"


# ---- 130: combinations -------------------------------------------------------------------------------------


def test_130_results_are_in_the_order_of_the_calls() -> None:
    def fan(ctx: WorkflowContext) -> Run:
        return (yield when_all([ctx.call_activity("work") for _ in range(3)]))

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2), h.scheduled(3)]
    results = [h.completed(3, "3"), h.completed(1, "1"), h.completed(2, "2")]
    assert h.turn(fan, past, [h.begun(1), *results[:2]]).outcome is None
    assert _result(h.turn(fan, past, [h.begun(1), *results])) == "[1, 2, 3]"


def test_130_the_first_to_finish_wins() -> None:
    def race(ctx: WorkflowContext) -> Run:
        tasks = [
            ctx.call_activity("work"),
            ctx.create_timer(timedelta(seconds=10)),
            ctx.call_activity("work"),
        ]
        winner = yield when_any(tasks)
        return [tasks.index(winner), winner.get_result()]

    past = [h.begun(), h.started(), h.scheduled(1), h.timer_set(2), h.scheduled(3)]
    for number, result in ((1, h.completed(1, "1")), (2, h.timer_fired(2)), (3, h.completed(3, "3"))):
        others = [h.completed(1, "-1"), h.timer_fired(2), h.completed(3, "-3")]
        output = h.turn(race, past, [h.begun(1), result, *others])
        assert _result(output) == f"[{number - 1}, {'null' if number == 2 else number}]"


def test_130_a_failed_task_wins_and_raises_when_it_is_read() -> None:
    def race(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity("work"), ctx.call_activity("work")]
        winner = yield when_any(tasks)
        assert winner is tasks[1]
        assert winner.is_failed
        try:
            winner.get_result()
        except TaskFailedError as error:
            return error.details.message
        return None

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2)]
    assert _result(h.turn(race, past, [h.begun(1), h.failed(2, "broken")])) == '"broken"'


def test_130_combinations_of_nothing_are_there_at_once() -> None:
    def nothing(ctx: WorkflowContext) -> Run:
        everything = yield when_all([])
        anything = yield when_any([])
        both = yield when_all([when_all([]), when_all([])])
        return [everything, anything, both]

    assert _result(h.turn(nothing, [], [h.begun(), h.started()])) == "[[], [], [[], []]]"


def test_130_finished_tasks_can_be_combined_and_waited_for_again() -> None:
    def again(ctx: WorkflowContext) -> Run:
        first, second = ctx.call_activity("work"), ctx.call_activity("work")
        values = [(yield first)]
        winner = yield when_any([second, first])
        assert winner is first
        values += yield when_all([first, second, first])
        values.append((yield second))
        return values

    past = [h.begun(), h.started(), h.scheduled(1), h.scheduled(2)]
    assert _result(h.turn(again, past, [h.begun(1), h.completed(1, "1"), h.completed(2, "2")])) == "[1, 1, 2, 1, 2]"


def test_130_combinations_can_be_combined() -> None:
    def nested(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity("work") for _ in range(4)]
        left, right = when_all(tasks[:2]), when_all(tasks[2:])
        winner = yield when_any([left, right])
        first = "left" if winner is left else "right"
        both = yield when_all([left, right])
        return [first, both]

    past = [h.begun(), h.started(), *(h.scheduled(call) for call in range(1, 5))]
    order = [h.completed(call, str(call)) for call in (1, 4, 3, 2)]
    assert h.turn(nested, past, [h.begun(1), *order[:3]]).outcome is None
    assert _result(h.turn(nested, past, [h.begun(1), *order])) == '["right", [[1, 2], [3, 4]]]'


def test_130_combinations_on_a_hub(hub: Hub) -> None:
    gates = [threading.Event() for _ in range(4)]

    @hub.activity
    def wait(ctx: WorkflowActivityContext, number: int) -> int:
        assert gates[number].wait(20)
        return number

    @hub.workflow
    def combine(ctx: WorkflowContext) -> Run:
        tasks = [ctx.call_activity(wait, input=number) for number in range(4)]
        never = ctx.create_timer(timedelta(hours=1))
        pair = when_all([tasks[3], tasks[1]])
        winner = yield when_any([never, pair, when_all([])])
        assert winner.get_result() == []
        winner = yield when_any([never, tasks[0], pair])
        ctx.set_custom_status("pair" if winner is pair else "other")
        everything = yield when_all([when_any([tasks[2], never]), pair, when_all(tasks)])
        return [everything[0].get_result(), *everything[1:]]

    instance_id = hub.start(combine)
    for number in (1, 3):
        gates[number].set()
    hub.eventually(lambda: hub.state(instance_id).serialized_custom_status, "the pair is complete")
    for number in (2, 0):
        gates[number].set()
    state = hub.finish(instance_id)
    assert (state.serialized_custom_status, state.serialized_output) == ("pair", "[2, [3, 1], [0, 1, 2, 3]]")
