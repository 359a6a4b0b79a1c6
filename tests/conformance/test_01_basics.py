"""Scenarios 1 to 20 of the conformance list."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any
from uuid import UUID

import httpx
import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    InvalidOperationError,
    RetryPolicy,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowStalledError,
    WorkflowStatus,
    when_all,
    when_any,
)
from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import naive_utc
from tests.conformance import literal
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, engine_hub
from tests.sidecar.cluster import DaprCluster

Steps = Generator[Task[Any], Any, Any]


def utc_now() -> datetime:
    """The time in the form that workflows see."""
    return datetime.now(timezone.utc).replace(tzinfo=None)


def test_001_a_workflow_that_returns_at_once_completes(hub: Hub) -> None:
    @hub.workflow
    def empty(ctx: WorkflowContext) -> None:
        return None

    @hub.workflow
    def stepless(ctx: WorkflowContext) -> Steps:
        return None
        yield

    @hub.workflow
    async def awaiting(ctx: WorkflowContext) -> None:
        return None

    before = utc_now()
    ids = [hub.start(workflow) for workflow in (empty, stepless, awaiting)]
    for instance_id in ids:
        state = hub.finish(instance_id)
        assert state.runtime_status is WorkflowStatus.COMPLETED
        assert state.serialized_output is None
        assert state.failure_details is None
        assert before <= state.created_at <= state.last_updated_at <= utc_now()
        if hub.has_history:
            kinds = [kind_of(event) for event in hub.history(instance_id)]
            assert kinds == ["workflowStarted", "executionStarted", "executionCompleted"]


def test_002_the_input_arrives_as_it_was_sent(hub: Hub) -> None:
    received: dict[str, Any] = {}

    @hub.workflow
    def echo(ctx: WorkflowContext, value: Any) -> Any:
        received[ctx.instance_id] = value
        return value

    values = [{"a": [1, None, "é"], "b": {"c": 1.5}}, 0, "", [], False, "\u2028\\\x22\n\x00", "x" * 100_000]
    started = {hub.start(echo, value): value for value in values}
    for instance_id, value in started.items():
        state = hub.finish(instance_id)
        assert state.serialized_input is not None
        assert json.loads(state.serialized_input) == value
        assert state.serialized_output == state.serialized_input
        assert received[instance_id] == value
        assert type(received[instance_id]) is type(value)
    nothing = hub.run(echo)
    assert nothing.serialized_input is None
    assert nothing.serialized_output is None


def test_003_an_activity_gets_its_input_and_gives_the_output(hub: Hub) -> None:
    seen: list[WorkflowActivityContext] = []

    @hub.activity
    def double(ctx: WorkflowActivityContext, value: dict[str, int]) -> dict[str, int]:
        seen.append(ctx)
        return {key: 2 * number for key, number in value.items()}

    @hub.workflow
    def single(ctx: WorkflowContext, value: dict[str, int]) -> Steps:
        result = yield from ctx.call_activity(double, input=value)
        return result

    instance_id = hub.start(single, {"é": 21})
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert json.loads(state.serialized_output or "") == {"é": 42}
    (call,) = seen
    assert call.workflow_id == instance_id
    assert call.name.startswith("double-")
    assert UUID(call.task_execution_id)
    if hub.has_history:
        history = hub.history(instance_id)
        assert [kind_of(event) for event in history] == [
            "workflowStarted",
            "executionStarted",
            "taskScheduled",
            "workflowStarted",
            "taskCompleted",
            "executionCompleted",
        ]
        scheduled, completed = history[2], history[4]
        assert scheduled.eventId == call.task_id == completed.taskCompleted.taskScheduledId
        assert scheduled.taskScheduled.name == call.name
        assert json.loads(scheduled.taskScheduled.input.value) == {"é": 21}
        assert scheduled.taskScheduled.taskExecutionId == call.task_execution_id


def test_004_ten_activities_in_a_chain_run_in_order(hub: Hub) -> None:
    ran: list[int] = []

    @hub.activity
    def add_one(ctx: WorkflowActivityContext, value: int) -> int:
        ran.append(value)
        return value + 1

    @hub.workflow
    def chain(ctx: WorkflowContext, value: int) -> Steps:
        for _ in range(10):
            value = yield ctx.call_activity(add_one, input=value)
        return value

    instance_id = hub.start(chain, 0)
    assert hub.finish(instance_id).serialized_output == "10"
    assert ran == list(range(10))
    if hub.has_history:
        history = hub.history(instance_id)
        scheduled = [event.eventId for event in history if kind_of(event) == "taskScheduled"]
        completed = [e.taskCompleted.taskScheduledId for e in history if kind_of(e) == "taskCompleted"]
        assert scheduled == completed == list(range(1, 11))


def test_005_a_fan_out_runs_concurrently(hub: Hub) -> None:
    together = threading.Barrier(10)

    @hub.activity
    def meet(ctx: WorkflowActivityContext, number: int) -> int:
        together.wait(timeout=15)  # Nobody gets past it unless ten run at the same time.
        return number

    @hub.workflow
    def fan_out(ctx: WorkflowContext) -> Steps:
        results = yield when_all([ctx.call_activity(meet, input=number) for number in range(10)])
        return results

    instance_id = hub.start(fan_out)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED, state
    assert json.loads(state.serialized_output or "") == list(range(10))
    if hub.has_history:
        kinds = [kind_of(event) for event in hub.history(instance_id)]
        assert kinds[2:13] == ["taskScheduled"] * 10 + ["workflowStarted"]


def test_006_a_fan_in_fails_with_the_failure_that_came_first(hub: Hub) -> None:
    may_go_on = threading.Event()
    ran: list[str] = []

    @hub.activity
    def part(ctx: WorkflowActivityContext, name: str) -> str:
        if name != "first":
            assert may_go_on.wait(15)
        ran.append(name)
        if name == "well":
            return name
        raise ValueError(f"{name} went wrong")

    @hub.activity
    def release(ctx: WorkflowActivityContext) -> None:
        may_go_on.set()

    @hub.workflow
    def fan_in(ctx: WorkflowContext) -> Steps:
        parts = [ctx.call_activity(part, input=name) for name in ("second", "first", "well")]
        everything = when_all(parts)
        yield when_any([parts[1]])
        yield ctx.call_activity(release)
        try:
            yield everything
        except TaskFailedError as error:
            done = [task.is_complete for task in parts]
            return [error.details.error_type, error.details.message, done, parts[2].get_result()]
        return "no failure"

    @hub.workflow
    def uncaught(ctx: WorkflowContext) -> Steps:
        calls = [ctx.call_activity(part, input=name) for name in ("first", "well")]
        yield when_all(calls)
        return "no failure"

    caught = hub.finish(hub.start(fan_in))
    assert json.loads(caught.serialized_output or "") == [
        "ValueError",
        "first went wrong",
        [True] * 3,
        "well",
    ]
    assert ran[0] == "first"
    assert sorted(ran) == ["first", "second", "well"]
    state = hub.run(uncaught)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert "first went wrong" in state.failure_details.message


def test_007_activities_that_nobody_waits_for_still_run_exactly_once(hub: Hub) -> None:
    lock = threading.Lock()
    ran: list[tuple[int, int]] = []

    @hub.activity
    def note(ctx: WorkflowActivityContext, number: int) -> None:
        with lock:
            ran.append((number, ctx.task_id))

    @hub.workflow
    def leave(ctx: WorkflowContext) -> str:
        for number in range(30):
            ctx.call_activity(note, input=number)
        return "gone"

    @hub.workflow
    def later(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(note, input=-1)

    instance_id = hub.start(leave)
    state = hub.finish(instance_id)
    assert state.runtime_status is WorkflowStatus.COMPLETED
    assert state.serialized_output == '"gone"'
    hub.eventually(lambda: len(ran) >= 30, "30 activities ran")
    # Whatever the hub still had to hand out comes before what it is asked now.
    assert hub.run(later).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(ran) == [(-1, 1), *((number, number + 1) for number in range(30))]
    after = hub.client.get_workflow_state(instance_id)
    assert after is not None
    assert after.runtime_status is WorkflowStatus.COMPLETED
    if hub.has_history:
        kinds = [kind_of(event) for event in hub.history(instance_id)]
        assert kinds == ["workflowStarted", "executionStarted", *["taskScheduled"] * 30, "executionCompleted"]


def test_008_the_failure_of_an_activity_reaches_the_workflow_and_the_client(hub: Hub) -> None:
    @hub.activity
    def refuse_the_order(ctx: WorkflowActivityContext, number: int) -> None:
        raise LookupError(f"no order {number}")

    @hub.workflow
    def catching(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_activity(refuse_the_order, input=7)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message, error.details.stack_trace, str(error)]

    @hub.workflow
    def failing(ctx: WorkflowContext) -> Steps:
        yield ctx.call_activity(refuse_the_order, input=8)

    ids = [hub.start(catching), hub.start(failing)]
    caught = hub.finish(ids[0])
    assert caught.runtime_status is WorkflowStatus.COMPLETED
    kind, message, stack, text = json.loads(caught.serialized_output or "")
    assert (kind, message) == ("LookupError", "no order 7")
    assert "refuse_the_order" in stack
    assert text == f"{ids[0]}: Activity task #1 failed: no order 7"

    state = hub.finish(ids[1])
    assert state.runtime_status is WorkflowStatus.FAILED
    details = state.failure_details
    assert details is not None
    assert details.error_type == "TaskFailedError"
    assert details.message == f"{ids[1]}: Activity task #1 failed: no order 8"
    assert "failing" in (details.stack_trace or "")
    assert details.cause is not None
    assert (details.cause.error_type, details.cause.message) == ("LookupError", "no order 8")
    assert "refuse_the_order" in (details.cause.stack_trace or "")
    assert state.serialized_output is None
    if hub.has_history:
        failed = [event.taskFailed for event in hub.history(ids[1]) if kind_of(event) == "taskFailed"]
        assert [(event.taskScheduledId, event.failureDetails.errorType) for event in failed] == [(1, "LookupError")]


def test_009_a_workflow_that_is_not_registered_fails(hub: Hub) -> None:
    missing = hub.fresh("missing")

    @hub.workflow
    def hopeful(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_child_workflow(missing)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    state = hub.run(missing, 1)
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.serialized_output is None
    assert state.failure_details is not None
    assert state.failure_details.error_type == "WorkflowNotRegisteredError"
    assert missing in state.failure_details.message
    kind, message = json.loads(hub.run(hopeful).serialized_output or "")
    assert kind == "WorkflowNotRegisteredError"
    assert missing in message


def test_010_an_activity_that_is_not_registered_fails_its_call(hub: Hub) -> None:
    missing = hub.fresh("missing")

    @hub.workflow
    def hopeful(ctx: WorkflowContext) -> Steps:
        try:
            yield ctx.call_activity(missing, input=1)
        except TaskFailedError as error:
            return [error.details.error_type, error.details.message]

    kind, message = json.loads(hub.run(hopeful).serialized_output or "")
    assert kind == "ActivityNotRegisteredError"
    assert missing in message


def test_011_a_worker_needs_no_port_of_its_own(hub: Hub) -> None:
    if hub.http_port is not None:
        answer = httpx.get(f"http://127.0.0.1:{hub.http_port}/v1.0/metadata", trust_env=False, verify=False, timeout=20)
        assert answer.status_code == 200
        assert "port" not in answer.json().get("appConnectionProperties", {})

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> str:
        return "done"

    @hub.workflow
    def work(ctx: WorkflowContext) -> Steps:
        return (yield ctx.call_activity(step))

    assert hub.run(work).serialized_output == '"done"'


@contextmanager
def _two_doors(kind: str, folder: Path, request: pytest.FixtureRequest) -> Iterator[tuple[WorkflowRuntime, int]]:
    """A worker that is not started, and the port of another door to the same app."""
    with ExitStack() as stack:
        if kind == "daprd":
            cluster: DaprCluster = request.getfixturevalue("dapr_cluster")
            doors = [cluster.sidecar("pair"), cluster.sidecar("pair")]
            for door in doors:
                stack.callback(door.stop)
            yield WorkflowRuntime("127.0.0.1", doors[0].grpc_port), doors[1].grpc_port
            return
        engine = stack.enter_context(EmbeddedEngine(None if kind == "memory" else folder / "hub.db"))
        other = stack.enter_context(engine.serve())
        if kind == "grpc":
            own = stack.enter_context(engine.serve())
            yield WorkflowRuntime("127.0.0.1", own.grpc_port), other.grpc_port
        else:
            yield WorkflowRuntime(engine=engine), other.grpc_port


def test_012_client_and_worker_may_come_by_different_doors(
    hub: Hub, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    with _two_doors(hub.kind, tmp_path, request) as (runtime, port):

        @runtime.activity(name="shout")
        def shout(ctx: WorkflowActivityContext, text: str) -> str:
            return text.upper()

        @runtime.workflow(name="answer")
        def answer(ctx: WorkflowContext) -> Steps:
            text = yield ctx.wait_for_external_event("question")
            return (yield ctx.call_activity(shout, input=text))

        with runtime, WorkflowClient("127.0.0.1", port) as client:
            ids = [client.schedule_new_workflow("answer", instance_id=hub.fresh("i")) for _ in range(3)]
            for instance_id in ids:
                client.raise_workflow_event(instance_id, "question", data=f"of {instance_id}")
            for instance_id in ids:
                state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
                assert state is not None
                assert state.serialized_output == json.dumps(f"of {instance_id}".upper())


def _large_result(runtime: WorkflowRuntime, name: str) -> None:
    @runtime.activity(name=f"{name}-produce")
    def produce(ctx: WorkflowActivityContext, size: int) -> str:
        return "x" * size

    @runtime.workflow(name=name)
    def measure(ctx: WorkflowContext, size: int) -> Steps:
        return len((yield ctx.call_activity(f"{name}-produce", input=size)))


def test_013_a_result_of_five_megabytes_does_not_leave_its_workflow_stuck(hub: Hub) -> None:
    name = hub.fresh("measure")
    _large_result(hub.runtime, name)
    state = hub.run(name, 5_000_000)
    if hub.is_daprd:  # It takes messages of 4 MiB.
        assert state.runtime_status is WorkflowStatus.FAILED
        assert state.failure_details is not None
        assert state.failure_details.cause is not None
        assert state.failure_details.cause.error_type == "PayloadTooLargeError"
    else:
        assert (state.runtime_status, state.serialized_output) == (WorkflowStatus.COMPLETED, "5000000")
    assert hub.run(name, 10).serialized_output == "10"


_TIGHT = Limits(message_bytes=1_000_000, payload_bytes=500_000, body_bytes=500_000)


_TIGHT = Limits(message_bytes=1_000_000, payload_bytes=500_000, body_bytes=500_000)
_IN_PROCESS = "in process nothing is sent, so nothing is too large to be sent"


@pytest.mark.not_on("memory", "sqlite", reason=_IN_PROCESS)
@pytest.mark.not_on("daprd", reason="its limit is that of the test before")
def test_013_a_result_beyond_the_limits_of_an_engine_fails_its_activity(hub: Hub, tmp_path: Path) -> None:
    with engine_hub(hub.kind, tmp_path, limits=_TIGHT) as own:
        _large_result(own.runtime, "measure")
        with own.runtime:
            for size in (2_000_000, 600_000):  # Beyond what a message may have, and what a payload may.
                state = own.run("measure", size)
                assert state.runtime_status is WorkflowStatus.FAILED
                assert state.failure_details is not None
                assert state.failure_details.cause is not None
                assert state.failure_details.cause.error_type == "PayloadTooLargeError"
            assert own.run("measure", 10).serialized_output == "10"


@pytest.mark.not_on("memory", "sqlite", reason=_IN_PROCESS)
@pytest.mark.not_on("daprd", reason="instances stall from 1.18 on; 1.16 breaks its worker's stream again and again")
def test_013_an_activity_whose_input_is_too_large_to_be_sent_stalls_its_instance(hub: Hub, tmp_path: Path) -> None:
    with engine_hub(hub.kind, tmp_path) as roomy:

        @roomy.activity
        def measure(ctx: WorkflowActivityContext, text: str) -> int:
            return len(text)

        @roomy.workflow
        def send(ctx: WorkflowContext, size: int) -> Steps:
            return (yield ctx.call_activity(measure, input="x" * size))

        with HandWorker(roomy) as worker:
            instance_id = roomy.start_soon(send, 2_000_000)
            worker.play(worker.turn(instance_id))

    with engine_hub(hub.kind, tmp_path, limits=_TIGHT) as tight:
        tight.know(roomy)
        with tight.runtime:
            stalled = WorkflowStatus.STALLED
            tight.eventually(lambda: tight.state(instance_id).runtime_status is stalled, "the instance stalls")
            with pytest.raises(WorkflowStalledError) as caught:
                tight.client.raise_workflow_event(instance_id, "anything")
            assert "activity 'measure" in caught.value.details()
            assert "bytes" in caught.value.details()
            assert tight.run(send, 10).serialized_output == "10"

    with engine_hub(hub.kind, tmp_path) as roomy_again:
        roomy_again.know(roomy)
        with roomy_again.runtime:
            assert roomy_again.finish(instance_id).serialized_output == "2000000"


@pytest.mark.parametrize("odd", ["a b", "a||b", "a.b", "a:b", "UPPER", "a-_b", "7", "-".join("x" * 80)])
def test_014_ids_may_have_these_characters(hub: Hub, odd: str) -> None:
    @hub.activity
    def same(ctx: WorkflowActivityContext, value: str) -> str:
        return value

    @hub.workflow
    def child(ctx: WorkflowContext, value: str) -> Steps:
        return (yield ctx.call_activity(same, input=value))

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Steps:
        yield ctx.create_timer(timedelta(0))
        return [
            (yield ctx.call_activity(same, input=ctx.instance_id)),
            (yield ctx.call_child_workflow(child, input="child")),
            (yield ctx.wait_for_external_event("go")),
        ]

    instance_id = hub.start(parent, instance_id=f"{odd}{hub.fresh('')}")
    hub.client.raise_workflow_event(instance_id, "go", data=1)
    assert json.loads(hub.finish(instance_id).serialized_output or "") == [instance_id, "child", 1]
    assert hub.client.purge_workflow(instance_id) == 2
    assert hub.client.get_workflow_state(instance_id) is None


@pytest.mark.parametrize("odd", ["a|b", "a@b", "a::b", "a/b", ".a", "\u00e9"])
def test_014_ids_that_some_task_hub_cannot_work_with_are_refused(hub: Hub, odd: str) -> None:
    empty = hub.workflow(lambda ctx: None)
    with pytest.raises(InvalidOperationError, match="cannot be the id of a workflow instance"):
        hub.start(empty, instance_id=f"{odd}{hub.fresh('')}")


# A function that returns the generator of another one is never kept between turns, so its history is replayed
# from the start in every turn, on every hub.


def test_015_replaying_is_told_only_while_the_past_repeats(hub: Hub) -> None:
    seen: list[tuple[int, bool]] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        for number in range(4):
            seen.append((number, ctx.is_replaying))
            if number < 3:
                yield ctx.call_activity(step)

    @hub.workflow
    def replayed(ctx: WorkflowContext) -> Any:
        return body(ctx)

    kept_seen: list[bool] = []

    @hub.workflow
    def kept(ctx: WorkflowContext) -> Steps:
        for _ in range(3):
            kept_seen.append(ctx.is_replaying)
            yield ctx.call_activity(step)

    ids = [hub.start(replayed), hub.start(kept)]
    for instance_id in ids:
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    turns = [[(number, number < turn) for number in range(turn + 1)] for turn in range(4)]
    assert seen == [entry for turn in turns for entry in turn]
    # Whether or not a run is kept between turns, each step is new exactly once.
    assert kept_seen.count(False) == 3


def test_015_replaying_ends_with_the_last_past_event() -> None:
    seen: list[bool] = []

    def steps(ctx: WorkflowContext) -> Steps:
        for _ in range(3):
            seen.append(ctx.is_replaying)
            yield ctx.call_activity("work")
        seen.append(ctx.is_replaying)

    history = [literal.begun(), literal.started()]
    reached = [1]  # A step is reached with the start, or with the result of the step before it.
    for call in (1, 2, 3):
        history += [literal.scheduled(call), literal.begun(call), literal.completed(call)]
        reached.append(len(history) - 1)
    for past in range(len(history) + 1):
        seen.clear()
        output = literal.turn(steps, history[:past], history[past:])
        assert literal.ending(output).workflowStatus == pb.WORKFLOW_STATUS_COMPLETED
        assert seen == [place < past for place in reached]


def test_016_the_time_is_that_of_the_turn_and_the_same_on_every_replay(hub: Hub) -> None:
    seen: dict[int, set[datetime]] = {number: set() for number in range(4)}
    replays: list[int] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        for number in range(4):
            seen[number].add(ctx.current_utc_datetime)
            seen[number].add(ctx.current_utc_datetime)
            if ctx.is_replaying:
                replays.append(number)
            if number < 3:
                yield ctx.call_activity(step)

    @hub.workflow
    def timed(ctx: WorkflowContext) -> Any:
        return body(ctx)

    before = utc_now()
    instance_id = hub.start(timed)
    assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(replays) == [0, 0, 0, 1, 1, 2]
    times = []
    for number in range(4):
        (only,) = seen[number]
        times.append(only)
    assert all(time.tzinfo is None for time in times)
    assert before <= times[0] < times[1] < times[2] < times[3] <= utc_now()
    if hub.has_history:
        turns = [event.timestamp for event in hub.history(instance_id) if kind_of(event) == "workflowStarted"]
        assert times == [naive_utc(time.seconds, time.nanos) for time in turns]


def test_017_new_ids_are_the_same_on_every_replay_and_never_twice(hub: Hub) -> None:
    seen: dict[str, dict[int, set[UUID]]] = {}
    replays: list[str] = []

    @hub.activity
    def step(ctx: WorkflowActivityContext) -> None:
        return None

    def body(ctx: WorkflowContext) -> Steps:
        mine = seen.setdefault(ctx.instance_id, {})
        if ctx.is_replaying:
            replays.append(ctx.instance_id)
        for number in range(3):
            mine.setdefault(2 * number, set()).add(ctx.new_guid())
            mine.setdefault(2 * number + 1, set()).add(ctx.new_guid())
            yield ctx.call_activity(step)

    @hub.workflow
    def naming(ctx: WorkflowContext) -> Any:
        return body(ctx)

    ids = [hub.start(naming), hub.start(naming)]
    for instance_id in ids:
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
    assert sorted(replays) == sorted(ids * 3)
    everything = [guid for instance_id in ids for guids in seen[instance_id].values() for guid in guids]
    assert len(everything) == len(set(everything)) == 12
    assert all(guid.version == 5 for guid in everything)


# ---- 19, 20: what is recorded ------------------------------------------------------------------------------


def test_019_a_fan_out_is_recorded_once(hub: Hub) -> None:
    @hub.activity
    def part(ctx: WorkflowActivityContext, number: int) -> int:
        return number

    @hub.workflow
    def fan_out(ctx: WorkflowContext) -> Steps:
        return sum((yield when_all([ctx.call_activity(part, input=number) for number in range(20)])))

    instance_id = hub.start(fan_out)
    assert hub.finish(instance_id).serialized_output == "190"
    history = hub.recorded(instance_id)
    scheduled = Counter(event.eventId for event in history if kind_of(event) == "taskScheduled")
    completed = Counter(e.taskCompleted.taskScheduledId for e in history if kind_of(e) == "taskCompleted")
    assert scheduled == completed == dict.fromkeys(range(1, 21), 1)


def test_020_a_history_has_as_many_events_as_it_needs(hub: Hub) -> None:
    @hub.activity
    def same(ctx: WorkflowActivityContext) -> None:
        return None

    @hub.activity
    def fails(ctx: WorkflowActivityContext) -> None:
        raise ValueError("on purpose")

    @hub.workflow
    def empty(ctx: WorkflowContext) -> None:
        return None

    @hub.workflow
    def three_activities(ctx: WorkflowContext) -> Steps:
        for _ in range(3):
            yield ctx.call_activity(same)

    @hub.workflow
    def two_timers(ctx: WorkflowContext) -> Steps:
        for _ in range(2):
            yield ctx.create_timer(timedelta(0))

    @hub.workflow
    def two_children(ctx: WorkflowContext) -> Steps:
        for _ in range(2):
            yield ctx.call_child_workflow(empty)

    @hub.workflow
    def failure(ctx: WorkflowContext) -> Steps:
        with pytest.raises(TaskFailedError):
            yield ctx.call_activity(fails)

    @hub.workflow
    def second_try(ctx: WorkflowContext) -> Steps:
        policy = RetryPolicy(first_retry_interval=timedelta(milliseconds=1), max_number_of_attempts=2)
        with pytest.raises(TaskFailedError):
            yield ctx.call_activity(fails, retry_policy=policy)

    @hub.workflow
    def event(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("go")

    @hub.workflow
    def renewed(ctx: WorkflowContext, generation: int | None) -> Steps:
        yield ctx.call_activity(same)
        if generation is None:
            ctx.continue_as_new(2)

    # The first turn, the start and the end are 3 events. Each wait adds the turn that it ends with and what that turn
    # brings; a call adds its own record as well, and so does a wait for an event, whose record is a timer that never
    # fires. Of several generations only the last is kept.
    expected = {
        empty: 3,
        three_activities: 3 + 3 * 3,
        two_timers: 3 + 2 * 3,
        two_children: 3 + 2 * 3,
        failure: 3 + 3,
        second_try: 3 + 3 * 3,
        event: 3 + 3,
        renewed: 3 + 3,
    }
    counted: dict[Callable[..., Any], int] = {}
    for workflow in expected:
        instance_id = hub.start(workflow)
        hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
        if workflow is event:
            hub.client.raise_workflow_event(instance_id, "go")
        assert hub.finish(instance_id).runtime_status is WorkflowStatus.COMPLETED
        counted[workflow] = len(hub.recorded(instance_id))
        if workflow is two_children:
            assert [len(hub.recorded(f"{instance_id}:{number:04x}")) for number in (1, 2)] == [3, 3]
    assert counted == expected


def test_020_pausing_and_ending_are_recorded_with_two_events_each(hub: Hub) -> None:
    @hub.workflow
    def waiting(ctx: WorkflowContext) -> Steps:
        yield ctx.wait_for_external_event("go")

    instance_id = hub.start(waiting)
    hub.client.wait_for_workflow_start(instance_id, timeout_in_seconds=10)
    for change in (hub.client.pause_workflow, hub.client.resume_workflow, hub.client.terminate_workflow):
        before = len(hub.recorded(instance_id))
        change(instance_id)
        hub.eventually(lambda: len(hub.recorded(instance_id)) >= before + 2, "it is recorded")  # noqa: B023
    hub.finish(instance_id)
    assert [kind_of(event) for event in hub.recorded(instance_id)] == [
        "workflowStarted",
        "executionStarted",
        "timerCreated",
        "workflowStarted",
        "executionSuspended",
        "workflowStarted",
        "executionResumed",
        "workflowStarted",
        "executionTerminated",
        "executionCompleted",
    ]
