"""What the engine of this package has beyond the protocol, and what becomes of it on a Dapr sidecar."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import sys
import threading
import time
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk import (
    Task,
    VirtualClock,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowStatus,
    __version__,
)
from dapr_workflow_sdk.errors import TaskHubError, WorkflowStalledError
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.conformance.hubs import Hub, kind_of
from tests.conformance.own_hubs import HandWorker, OwnHub, engine_hub, in_background
from tests.sidecar.processes import ServerProcess

Run = Generator[Task[Any], Any, Any]

_of_engines = pytest.mark.not_on("daprd", reason="a sidecar has no such thing")
_in_process = pytest.mark.not_on("grpc", reason="there the workers are processes of their own, and really die")
_over_grpc = pytest.mark.not_on("memory", "sqlite", reason="in process a worker cannot die without its engine")


def _workers(hub: Hub) -> list[pb.WorkerInfo]:
    async def read(port: TaskHub) -> list[pb.WorkerInfo]:
        return list(await port.workers())

    return hub.ask(read)


def _pass_time(clock: VirtualClock, time: timedelta) -> None:
    async def move() -> None:
        clock.advance(time // timedelta(microseconds=1) * 1000)

    Hub.call(move)


# ---- workers that are processes ----------------------------------------------------------------------------

_PROGRAM = """
import itertools, os, sys, threading, time
from pathlib import Path
from dapr_workflow_sdk import WorkflowRuntime

runtime = WorkflowRuntime("127.0.0.1", int(sys.argv[1]))
notes = Path(sys.argv[2])

@runtime.workflow(name="poison")
def poison(ctx):
    os._exit(3)

@runtime.workflow(name="call_poison")
def call_poison(ctx):
    return (yield ctx.call_activity("poisonous"))

@runtime.activity(name="poisonous")
def poisonous(ctx):
    os._exit(4)

@runtime.workflow(name="innocent")
def innocent(ctx):
    return (yield ctx.call_activity("harmless"))

@runtime.activity(name="harmless")
def harmless(ctx):
    return "unharmed"

@runtime.workflow(name="call_long")
def call_long(ctx):
    return (yield ctx.call_activity("long"))

@runtime.activity(name="long")
def long(ctx):
    for page in itertools.count(1):
        ctx.heartbeat({"page": page})
        notes.write_text(str(page))
        time.sleep(0.01)

with runtime:
    print("ready", flush=True)
    threading.Event().wait()
"""


@contextmanager
def _worker_process(folder: Path) -> Iterator[ServerProcess]:
    """A worker in a process of its own that is not running yet; see `_launch`."""
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    process = ServerProcess("the worker", folder / "worker.log", environment)
    try:
        yield process
    finally:
        process.kill()


def _launch(process: ServerProcess, hub: Hub, notes: Path) -> None:
    process.launch([sys.executable, "-c", _PROGRAM, str(hub.grpc_port), str(notes)])


# ---- heartbeats ----------------------------------------------------------------------------------------------


def test_heartbeats_do_no_harm_anywhere(hub: Hub, caplog: pytest.LogCaptureFixture) -> None:
    @hub.activity
    def work(ctx: WorkflowActivityContext) -> list[Any]:
        ctx.heartbeat({"page": 1}, timeout=timedelta(seconds=30))
        ctx.heartbeat()
        return [ctx.heartbeat_details, ctx.cancelled, ctx.wait_cancelled(0.01), ctx.attempt]

    @hub.activity
    async def work_later(ctx: WorkflowActivityContext) -> list[Any]:
        ctx.heartbeat("on a loop")
        await asyncio.sleep(0)
        return [ctx.heartbeat_details, ctx.cancelled, ctx.attempt]

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        return [*(yield ctx.call_activity(work)), *(yield ctx.call_activity(work_later))]

    with caplog.at_level(logging.INFO, "dapr_workflow_sdk"):
        state = hub.run(call)
    first = None if hub.is_daprd else 1
    assert json.loads(state.serialized_output or "") == [None, False, False, first, None, False, first]
    assert [record.getMessage() for record in caplog.records if record.levelno >= logging.WARNING] == []


@_of_engines
def test_a_run_that_misses_its_heartbeats_leaves_its_details_to_the_next_one(hub: Hub, tmp_path: Path) -> None:
    late = threading.Event()
    seen: list[tuple[Any, int | None, str]] = []
    told: list[bool] = []

    with engine_hub(hub.kind, tmp_path) as own:

        @own.activity
        def pages(ctx: WorkflowActivityContext) -> str:
            seen.append((ctx.heartbeat_details, ctx.attempt, ctx.task_execution_id))
            if len(seen) > 1:
                return "the second run"
            ctx.heartbeat({"page": 6})
            ctx.heartbeat({"page": 7}, timeout=timedelta(seconds=0.3))
            assert late.wait(20)
            # A heartbeat that comes too late is answered with the news that the run is lost.
            ctx.heartbeat({"page": 8})
            told.append(ctx.wait_cancelled(10))
            return "the first run"

        @own.workflow
        def call(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_activity(pages))

        with own.runtime:
            instance_id = own.start(call)
            state = own.finish(instance_id)
            late.set()
            own.eventually(lambda: told, "the first run ends")
        assert state.serialized_output == '"the second run"'
        assert told == [True]
        assert [details for details, _, _ in seen] == [None, {"page": 7}]
        # It is the same try of the same call.
        assert [attempt for _, attempt, _ in seen] == [1, 1]
        assert len({execution for _, _, execution in seen}) == 1
        assert own.state(instance_id) == state


@_of_engines
@_over_grpc
def test_a_worker_that_is_killed_leaves_its_details_to_the_next_one(hub: Hub, tmp_path: Path) -> None:
    notes = tmp_path / "page"

    def call(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("long"))

    def tell(ctx: WorkflowActivityContext) -> Any:
        return ctx.heartbeat_details

    with engine_hub(hub.kind, tmp_path) as own, _worker_process(tmp_path) as process:
        own.runtime.register_workflow(call, name="call_long")
        own.runtime.register_activity(tell, name="long")
        _launch(process, own, notes)
        instance_id = own.start("call_long")
        # Each heartbeat leaves only when the one before has been answered, so after so many some were.
        last = own.eventually(lambda: notes.exists() and _number(notes) >= 50 and _number(notes), "fifty pages", 30)
        process.kill()
        with own.runtime:
            told = json.loads(own.finish(instance_id).serialized_output or "null")
        assert last - 49 <= told["page"] <= _number(notes) + 1


def _number(path: Path) -> int:
    text = path.read_text()
    return int(text) if text else 0


# ---- leases --------------------------------------------------------------------------------------------------


@_of_engines
@pytest.mark.parametrize("beats", [True, False], ids=["with heartbeats", "without"])
def test_an_activity_stays_with_its_worker_as_long_as_it_gives_signs_of_life(
    hub: Hub, tmp_path: Path, beats: bool
) -> None:
    lease = 1.0
    runs: list[int] = []
    enough = threading.Event()

    with engine_hub(hub.kind, tmp_path, activity_lease=timedelta(seconds=lease)) as own:

        @own.activity
        def work(ctx: WorkflowActivityContext) -> int:
            runs.append(len(runs) + 1)
            mine = runs[-1]
            end = time.monotonic() + 2.5 * lease
            while mine == 1 and time.monotonic() < end and not enough.is_set():
                if beats:
                    ctx.heartbeat()
                enough.wait(lease / 20)
            return mine

        @own.workflow
        def call(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_activity(work))

        with own.runtime:
            state = own.run(call)
            enough.set()
        assert state.serialized_output == ("1" if beats else "2")
        assert runs == ([1] if beats else [1, 2])


@_of_engines
def test_without_a_lease_an_activity_may_be_silent(hub: Hub, tmp_path: Path) -> None:
    clock = VirtualClock(auto_advance=False)
    release = threading.Event()
    runs: list[int] = []

    with engine_hub(hub.kind, tmp_path, clock=clock) as own:

        @own.activity
        def work(ctx: WorkflowActivityContext) -> int:
            runs.append(ctx.task_id)
            assert release.wait(20)
            return len(runs)

        @own.workflow
        def call(ctx: WorkflowContext) -> Run:
            return (yield ctx.call_activity(work))

        with own.runtime:
            instance_id = own.start(call)
            own.eventually(lambda: runs, "it runs")
            _pass_time(clock, timedelta(days=365))
            assert [worker.activities for worker in _workers(own)] == [1]
            release.set()
            assert own.finish(instance_id).serialized_output == "1"


# ---- cancellation ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["def", "async def"])
@pytest.mark.parametrize("how", ["terminated", "terminated with its parent"])
def test_a_running_activity_learns_that_its_workflow_was_ended(hub: Hub, kind: str, how: str) -> None:
    began, told = threading.Event(), threading.Event()
    answers: list[bool] = []
    # A sidecar tells nothing, so there the activity only sees that nothing is told.
    patience = 0.3 if hub.is_daprd else 20.0

    def wait(ctx: WorkflowActivityContext) -> None:
        began.set()
        answers.append(ctx.wait_cancelled(patience))
        answers.append(ctx.cancelled)
        told.set()

    async def wait_on_the_loop(ctx: WorkflowActivityContext) -> None:
        began.set()
        end = time.monotonic() + patience
        while not ctx.cancelled and time.monotonic() < end:
            await asyncio.sleep(0.005)
        answers.extend([ctx.cancelled, ctx.wait_cancelled(0)])
        told.set()

    work = hub.activity(wait if kind == "def" else wait_on_the_loop)

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(work)

    @hub.workflow
    def parent(ctx: WorkflowContext) -> Run:
        yield ctx.call_child_workflow(call)

    instance_id = hub.start(call if how == "terminated" else parent)
    assert began.wait(20)
    hub.client.terminate_workflow(instance_id)
    assert told.wait(20)
    assert answers == [not hub.is_daprd] * 2
    assert hub.finish(instance_id).runtime_status is WorkflowStatus.TERMINATED


@_of_engines
def test_a_running_activity_learns_that_its_workflow_was_removed(hub: Hub) -> None:
    began = threading.Event()
    answers: list[bool] = []

    @hub.activity
    def wait(ctx: WorkflowActivityContext) -> None:
        began.set()
        answers.append(ctx.wait_cancelled(20))

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(wait)

    instance_id = hub.start(call)
    assert began.wait(20)
    request = pb.PurgeInstancesRequest(instanceId=instance_id, force=True)
    assert hub.ask(lambda port: port.purge(request)) == 1
    hub.eventually(lambda: answers, "it is told")
    assert answers == [True]


@_of_engines
def test_a_worker_that_has_just_connected_learns_it_as_well(own_engine: OwnHub) -> None:
    """However early an instance ends, its activity is told: no notice is lost before the worker listens."""
    answers: list[bool] = []
    began = threading.Semaphore(0)

    @own_engine.activity
    def wait(ctx: WorkflowActivityContext) -> None:
        began.release()
        answers.append(ctx.wait_cancelled(5))

    @own_engine.workflow
    def call(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(wait)

    for number in range(1, 6):
        instance_id = own_engine.start(call)
        with own_engine.runtime:
            assert began.acquire(timeout=10)
            own_engine.client.terminate_workflow(instance_id)
            own_engine.eventually(lambda number=number: len(answers) == number, "the activity ends")  # type: ignore[misc]
    assert answers == [True] * 5


@_of_engines
def test_a_heartbeat_also_brings_the_news(hub: Hub) -> None:
    began, ended = threading.Event(), threading.Event()
    beats: list[bool] = []

    @hub.activity
    def work(ctx: WorkflowActivityContext) -> None:
        began.set()
        assert ended.wait(20)
        ctx.heartbeat("on")
        beats.append(ctx.wait_cancelled(10))

    @hub.workflow
    def call(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(work)

    instance_id = hub.start(call)
    assert began.wait(20)
    hub.client.terminate_workflow(instance_id)
    ended.set()
    hub.eventually(lambda: beats, "it is told")
    assert beats == [True]


@_of_engines
def test_an_activity_that_nobody_waits_for_is_not_in_vain(hub: Hub) -> None:
    release = threading.Event()
    answers: list[bool] = []

    @hub.activity
    def work(ctx: WorkflowActivityContext) -> None:
        assert release.wait(20)
        ctx.heartbeat()
        answers.append(ctx.wait_cancelled(0.2))

    @hub.workflow
    def leave(ctx: WorkflowContext) -> Run:
        ctx.call_activity(work)
        yield ctx.create_timer(timedelta(0))
        return "left"

    assert hub.run(leave).serialized_output == '"left"'
    release.set()
    hub.eventually(lambda: answers, "it ends")
    assert answers == [False]


# ---- who works, and for whom -----------------------------------------------------------------------------------


@pytest.fixture
def own_engine(hub: Hub, tmp_path: Path) -> Iterator[OwnHub]:
    """An engine of its own, of the same kind, without a worker."""
    with engine_hub(hub.kind, tmp_path) as own:
        yield own


@_of_engines
def test_the_engine_tells_who_works_for_it(own_engine: OwnHub) -> None:
    release = threading.Event()
    running = threading.Semaphore(0)

    @own_engine.activity
    def work(ctx: WorkflowActivityContext) -> None:
        running.release()
        assert release.wait(20)

    @own_engine.workflow
    def call(ctx: WorkflowContext) -> Run:
        yield ctx.call_activity(work)

    assert _workers(own_engine) == []
    first = own_engine.new_runtime(
        maximum_concurrent_activity_work_items=3, maximum_concurrent_orchestration_work_items=5
    )
    with first:
        ids = [own_engine.start(call) for _ in range(2)]
        for _ in ids:
            assert running.acquire(timeout=10)
        with own_engine.runtime:
            one, two = _workers(own_engine)
        assert (one.maxTurns, one.maxActivities) == (5, 3)
        assert (one.turns, one.activities) == (0, 2)
        assert (two.turns, two.activities) == (0, 0)
        assert one.workerId != two.workerId
        assert one.connectedAt.ToNanoseconds() <= two.connectedAt.ToNanoseconds()
        for worker in (one, two):
            assert worker.appId == "app"
            assert worker.identity.endswith(f"process {os.getpid()}")
        assert [worker.workerId for worker in _workers(own_engine)] == [one.workerId]
        release.set()
        for instance_id in ids:
            own_engine.finish(instance_id)
    assert _workers(own_engine) == []


@_of_engines
def test_the_engine_tells_what_it_is(own_engine: OwnHub, tmp_path: Path) -> None:
    told = own_engine.ask(lambda port: port.describe())
    assert (told.version, told.appId, list(told.appIds)) == (__version__, "app", ["app"])
    if own_engine.kind == "memory":
        assert (told.store, told.storeBytes) == ("in memory", 0)
    else:
        assert told.store == str(tmp_path / "hub.db")
        assert told.storeBytes > 0
    capabilities = own_engine.ask(lambda port: port.capabilities())
    assert (capabilities.lists, capabilities.stalls, capabilities.detaches, capabilities.extensions) == (True,) * 4


def test_what_a_hub_has_can_be_asked(hub: Hub) -> None:
    capabilities = hub.ask(lambda port: port.capabilities())
    assert capabilities.extensions is not hub.is_daprd
    assert capabilities.lists is not hub.is_daprd
    if hub.is_daprd:
        with pytest.raises(TaskHubError):
            hub.ask(lambda port: port.describe())


# ---- work that kills workers -----------------------------------------------------------------------------------


def _told_to_stall(hub: Hub, instance_id: str) -> list[tuple[int, str]]:
    return [
        (event.executionStalled.reason, event.executionStalled.description)
        for event in hub.history(instance_id)
        if kind_of(event) == "executionStalled"
    ]


def _assert_given_up(hub: Hub, instance_id: str, words: Sequence[str]) -> None:
    assert hub.state(instance_id).runtime_status is WorkflowStatus.STALLED
    ((reason, text),) = _told_to_stall(hub, instance_id)
    assert reason == pb.STALLED_REASON_WORKER_LOST
    for word in ("A worker was lost 10 times in a row", "resume the instance", *words):
        assert word in text
    with pytest.raises(WorkflowStalledError, match="stalled"):
        hub.client.raise_workflow_event(instance_id, "go")


_POISON = pytest.mark.parametrize(
    ("name", "words"),
    [("poison", ["a turn of this instance"]), ("call_poison", ["activity 'poisonous' (call 1)"])],
    ids=["a turn", "an activity"],
)


def _cure(runtime: WorkflowRuntime) -> WorkflowRuntime:
    def poison(ctx: WorkflowContext) -> str:
        return "cured"

    def call_poison(ctx: WorkflowContext) -> Run:
        return (yield ctx.call_activity("poisonous"))

    def poisonous(ctx: WorkflowActivityContext) -> str:
        return "cured"

    runtime.register_workflow(poison, name="poison")
    runtime.register_workflow(call_poison, name="call_poison")
    runtime.register_activity(poisonous, name="poisonous")
    return runtime


@_of_engines
@_over_grpc
@_POISON
def test_work_that_kills_its_worker_each_time_is_given_up_in_the_end(
    hub: Hub, tmp_path: Path, name: str, words: list[str]
) -> None:
    # The pauses between the tries grow to many seconds, so the test makes them pass.
    clock = VirtualClock(auto_advance=False)
    with engine_hub(hub.kind, tmp_path, clock=clock) as own, _worker_process(tmp_path) as process:

        def dies() -> bool:
            _pass_time(clock, timedelta(seconds=30))
            return not process.running

        poisoned = own.start(name)
        waiting = in_background(lambda: own.finish(poisoned, 120))
        innocent = [own.start("innocent") for _ in range(3)]
        lives = 0
        while own.state(poisoned).runtime_status is not WorkflowStatus.STALLED:
            assert lives < 10, process.log_tail()
            _launch(process, own, tmp_path / "none")
            lives += 1
            own.eventually(dies, "the worker dies", 30)
            assert process.wait() in (3, 4), process.log_tail()
            own.eventually(lambda: not _workers(own), "the engine notices")
        assert lives == 10
        _assert_given_up(own, poisoned, words)
        # Who died with it was not given up.
        _launch(process, own, tmp_path / "none")
        for instance_id in innocent:
            assert own.finish(instance_id).serialized_output == '"unharmed"'
        assert process.running
        process.kill()
        with _cure(own.runtime):
            assert own.state(poisoned).runtime_status is WorkflowStatus.STALLED
            own.client.resume_workflow(poisoned)
            assert own.finish(poisoned).serialized_output == '"cured"'
        assert waiting.result(20).serialized_output == '"cured"'


@_of_engines
@_in_process
@_POISON
def test_work_that_is_lost_with_worker_after_worker_is_given_up_in_the_end(
    hub: Hub, tmp_path: Path, name: str, words: list[str]
) -> None:
    clock = VirtualClock(auto_advance=False)
    with engine_hub(hub.kind, tmp_path, clock=clock) as own:
        _cure(own.runtime)
        poisoned = own.start(name)
        if name == "call_poison":
            call = pb.ScheduleTaskAction(name="poisonous")
            with HandWorker(own) as worker:
                worker.answer(worker.turn(poisoned), [pb.WorkflowAction(id=1, scheduleTask=call)])
                worker.activity(poisoned)
        for _ in range(9 if name == "call_poison" else 10):
            assert own.state(poisoned).runtime_status is not WorkflowStatus.STALLED
            with HandWorker(own) as worker:
                _pass_time(clock, timedelta(seconds=30))
                take = worker.turn if name == "poison" else worker.activity
                take(poisoned)
        own.eventually(lambda: own.state(poisoned).runtime_status is WorkflowStatus.STALLED, "it is given up")
        _assert_given_up(own, poisoned, words)
        with own.runtime:
            _pass_time(clock, timedelta(days=1))
            assert own.state(poisoned).runtime_status is WorkflowStatus.STALLED
            own.client.resume_workflow(poisoned)
            assert own.finish(poisoned).serialized_output == '"cured"'


@_of_engines
@pytest.mark.parametrize("name", ["poison", "call_poison"], ids=["a turn", "an activity"])
def test_time_that_jumps_also_jumps_over_the_pauses_after_lost_workers(hub: Hub, tmp_path: Path, name: str) -> None:
    with engine_hub(hub.kind, tmp_path, clock=VirtualClock()) as own:
        _cure(own.runtime)
        instance_id = own.start(name)
        # Time jumps only while somebody waits.
        waiting = in_background(lambda: own.finish(instance_id, 15))
        if name == "call_poison":
            call = pb.ScheduleTaskAction(name="poisonous")
            with HandWorker(own) as worker:
                worker.answer(worker.turn(instance_id), [pb.WorkflowAction(id=1, scheduleTask=call)])
                worker.activity(instance_id)
        for _ in range(3):
            with HandWorker(own) as worker:
                (worker.turn if name == "poison" else worker.activity)(instance_id)
            own.eventually(lambda: not _workers(own), "the engine notices")
        with own.runtime:
            assert waiting.result(20).serialized_output == '"cured"'


@_of_engines
@pytest.mark.not_on("memory", reason="it keeps nothing")
def test_what_was_given_up_stays_so_in_a_new_engine_until_it_is_resumed(hub: Hub, tmp_path: Path) -> None:
    clock = VirtualClock(auto_advance=False)
    with engine_hub(hub.kind, tmp_path, clock=clock) as own:
        poisoned = own.start("poison")
        for _ in range(10):
            with HandWorker(own) as worker:
                _pass_time(clock, timedelta(seconds=30))
                worker.turn(poisoned)
            own.eventually(lambda: not _workers(own), "the engine notices")
        own.eventually(lambda: own.state(poisoned).runtime_status is WorkflowStatus.STALLED, "it is given up")
    with engine_hub(hub.kind, tmp_path) as own, _cure(own.runtime):
        assert own.state(poisoned).runtime_status is WorkflowStatus.STALLED
        own.client.resume_workflow(poisoned)
        assert own.finish(poisoned).serialized_output == '"cured"'
