"""What becomes of running work when a worker stops."""

from __future__ import annotations

import asyncio
import threading
import time
from typing import Any

import pytest

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, WorkflowRuntime, WorkflowStatus, when_all
from tests.worker.support import Place, eventually, python_child, within
from tests.worker.test_runtime import finish, sdk_threads


def calls(ctx: WorkflowContext) -> Any:
    return (yield ctx.call_activity("slow"))


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_shutdown_waits_for_running_activities_and_delivers_their_results(place: Place, kind: str) -> None:
    runtime, client = place.runtime(shutdown_timeout=8), place.client()
    entered, runs = threading.Event(), []

    def slow(ctx: WorkflowActivityContext) -> str:
        runs.append(1)
        entered.set()
        time.sleep(0.3)
        return "done"

    async def slow_async(ctx: WorkflowActivityContext) -> str:
        runs.append(1)
        entered.set()
        await asyncio.sleep(0.3)
        return "done"

    runtime.register_workflow(calls)
    runtime.register_activity(slow if kind == "plain" else slow_async, name="slow")
    runtime.start()
    instance_id = client.schedule_new_workflow(calls)
    assert entered.wait(5)
    began = time.monotonic()
    within(runtime.shutdown, 10, "shutdown")
    assert 0.1 < time.monotonic() - began < 2, "shutdown takes as long as the activity, not as long as it may"
    with runtime:
        assert finish(client, instance_id) == '"done"'
    assert runs == [1]


def test_a_chain_of_activities_does_not_keep_a_worker_from_stopping(place: Place) -> None:
    runtime, client = place.runtime(shutdown_timeout=8), place.client()
    ran: list[int] = []

    @runtime.activity
    def step(ctx: WorkflowActivityContext, number: int) -> int:
        ran.append(number)
        time.sleep(0.02)
        return number

    @runtime.workflow
    def chain(ctx: WorkflowContext) -> Any:
        for number in range(60):
            yield ctx.call_activity(step, input=number)
        return "end"

    runtime.start()
    instance_id = client.schedule_new_workflow(chain)
    eventually(lambda: len(ran) > 3, "a few steps")
    began = time.monotonic()
    within(runtime.shutdown, 10, "shutdown")
    assert time.monotonic() - began < 2
    stopped_at = len(ran)
    assert stopped_at < 50
    time.sleep(0.05)
    assert len(ran) == stopped_at
    with runtime:
        assert finish(client, instance_id, 15) == '"end"'
    assert ran == list(range(60)), "every step ran once, since each had its time to finish"


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_shutdown_gives_up_what_is_stuck_and_says_so(place: Place, kind: str, caplog: pytest.LogCaptureFixture) -> None:
    runtime, other, client = place.runtime(shutdown_timeout=0.3), place.runtime(), place.client()
    before = set(threading.enumerate())
    gate, entered, cancelled = threading.Event(), threading.Event(), threading.Event()

    def slow(ctx: WorkflowActivityContext) -> str:
        entered.set()
        gate.wait(20)
        return "stuck"

    async def slow_async(ctx: WorkflowActivityContext) -> str:
        entered.set()
        try:
            await asyncio.sleep(20)
        except asyncio.CancelledError:
            cancelled.set()
            raise
        return "stuck"

    for each in (runtime, other):
        each.register_workflow(calls)
    runtime.register_activity(slow if kind == "plain" else slow_async, name="slow")
    other.register_activity(lambda ctx: "other", name="slow")
    runtime.start()
    instance_id = client.schedule_new_workflow(calls)
    assert entered.wait(5)
    began = time.monotonic()
    within(runtime.shutdown, 5, "shutdown")
    assert 0.25 < time.monotonic() - began < 1.5
    assert "1 activities were still running" in caplog.text
    if kind == "async":
        assert cancelled.wait(2)
    with other:
        assert finish(client, instance_id) == '"other"'
    gate.set()
    eventually(lambda: not sdk_threads(before), "the end of all threads")


def test_activities_that_were_queued_do_not_begin_after_the_worker_stopped(place: Place) -> None:
    """The task hub gives them to another worker, so here they would run a second time, unseen."""
    runtime = place.runtime(shutdown_timeout=0.2, maximum_thread_pool_workers=1)
    client, before = place.client(), set(threading.enumerate())
    gate, entered, ran = threading.Event(), threading.Event(), []

    @runtime.activity
    def slow(ctx: WorkflowActivityContext, number: int) -> None:
        ran.append(number)
        entered.set()
        gate.wait(20)

    @runtime.workflow
    def fan(ctx: WorkflowContext) -> Any:
        yield when_all([ctx.call_activity(slow, input=n) for n in range(10)])

    runtime.start()
    client.schedule_new_workflow(fan)
    assert entered.wait(5)
    within(runtime.shutdown, 5, "shutdown")
    assert ran == [0]
    gate.set()
    eventually(lambda: not sdk_threads(before), "the end of all threads")
    assert ran == [0]


def test_no_activity_begins_while_the_worker_stops(place: Place) -> None:
    runtime = place.runtime(shutdown_timeout=5, maximum_concurrent_activity_work_items=1)
    client = place.client()
    entered, ran = threading.Event(), []

    @runtime.activity
    def slow(ctx: WorkflowActivityContext, number: int) -> None:
        ran.append(number)
        entered.set()
        time.sleep(0.2)

    @runtime.workflow
    def fan(ctx: WorkflowContext) -> Any:
        yield when_all([ctx.call_activity(slow, input=n) for n in range(3)])
        return "all"

    runtime.start()
    instance_id = client.schedule_new_workflow(fan)
    assert entered.wait(5)
    within(runtime.shutdown, 6, "shutdown")
    assert ran == [0]
    with runtime:
        assert finish(client, instance_id) == '"all"'
    assert ran == [0, 1, 2]


def test_another_worker_goes_on_while_one_stops(place: Place) -> None:
    """What the stopping worker is sent and will not run is another's at the latest when it has stopped."""
    leaving, staying, client = place.runtime(shutdown_timeout=1), place.runtime(), place.client()
    gate, entered = threading.Event(), threading.Event()

    def slow(ctx: WorkflowActivityContext) -> str:
        entered.set()
        gate.wait(10)
        return "slow"

    leaving.register_activity(slow)
    leaving.register_workflow(calls)
    leaving.start()
    slow_id = client.schedule_new_workflow(calls)
    assert entered.wait(5)
    stopping = threading.Thread(target=leaving.shutdown, daemon=True)
    stopping.start()
    staying.register_workflow(calls)
    staying.register_activity(lambda ctx: "quick", name="slow")
    staying.start()
    ids = [client.schedule_new_workflow(calls) for _ in range(6)]
    assert [finish(client, instance_id, 5) for instance_id in ids] == ['"quick"'] * 6
    stopping.join(5)
    assert finish(client, slow_id, 5) == '"quick"'
    gate.set()


def test_shutting_down_from_inside_an_activity_ends(here: Place) -> None:
    runtime, client = here.runtime(shutdown_timeout=0.3), here.client()
    done = threading.Event()

    @runtime.activity
    def last(ctx: WorkflowActivityContext) -> None:
        runtime.shutdown()
        done.set()

    @runtime.workflow
    def ends(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(last)

    runtime.start()
    client.schedule_new_workflow(ends)
    assert done.wait(5)
    assert not runtime.is_worker_ready()


def test_shutting_down_from_an_async_activity_is_refused_with_an_explanation(here: Place) -> None:
    runtime, client = here.runtime(), here.client()

    @runtime.activity
    async def last(ctx: WorkflowActivityContext) -> None:
        runtime.shutdown()

    @runtime.workflow
    def ends(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(last)

    with runtime:
        instance_id = client.schedule_new_workflow(ends)
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
        assert state is not None
        assert state.runtime_status is WorkflowStatus.FAILED
        assert "asyncio.to_thread" in str(state.failure_details and state.failure_details.message)


_STUCK = """
import sys, threading, time
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
engine = EmbeddedEngine(sys.argv[1] if len(sys.argv) > 1 else None)
runtime = WorkflowRuntime(engine=engine, shutdown_timeout=0.2)
entered = threading.Event()
@runtime.activity
def stuck(ctx):
    entered.set()
    time.sleep(3600)
@runtime.workflow
def calls(ctx):
    yield ctx.call_activity(stuck)
with runtime, WorkflowClient(engine=engine) as client:
    client.schedule_new_workflow(calls)
    entered.wait(5)
engine.close()
print("closed")
"""


def test_a_stuck_activity_does_not_keep_the_process_alive() -> None:
    with python_child(_STUCK) as child:
        child.says("closed")
        assert child.ends(3) == 0
        # The warning is that of the runtime; nothing else is said.
        assert [line for line in child.err if "still running" not in line] == []


_LEFT_OPEN = """
import sys, threading
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
engine = EmbeddedEngine()
if sys.argv[1] == "grpc":
    served = engine.serve()
    port = served.__enter__().grpc_port
    runtime, client = WorkflowRuntime("127.0.0.1", port), WorkflowClient("127.0.0.1", port)
else:
    runtime, client = WorkflowRuntime(engine=engine), WorkflowClient(engine=engine)
@runtime.activity
def work(ctx):
    return 1
@runtime.workflow
def calls(ctx):
    return (yield ctx.call_activity(work))
runtime.start()
i = client.schedule_new_workflow(calls)
print(client.wait_for_workflow_completion(i, timeout_in_seconds=5).serialized_output)
"""


@pytest.mark.parametrize("kind", ["in-process", "grpc"])
def test_a_program_that_closes_nothing_ends_quietly(kind: str) -> None:
    with python_child(_LEFT_OPEN, kind) as child:
        child.says("1")
        assert child.ends(5) == 0
        assert child.err == []


_RESTARTS = """
import faulthandler, sys
faulthandler.enable()
from tests.worker.support import place_of
from tests.worker.test_runtime import finish

def step(ctx, number):
    return number
def chain(ctx):
    for number in range(20):
        yield ctx.call_activity("step", input=number)
    return "end"

with place_of(sys.argv[1]) as place:
    client = place.client()
    for _ in range(5):
        runtime = place.runtime(shutdown_timeout=0.001)
        runtime.register_activity(step)
        runtime.register_workflow(chain)
        runtime.start()
        ids = [client.schedule_new_workflow(chain) for _ in range(20)]
        runtime.shutdown()
        with runtime:
            for i in ids:
                assert finish(client, i, 5) == '"end"'
print("all")
"""


@pytest.mark.parametrize("kind", ["in-process", "grpc"])
def test_completions_on_their_way_are_not_lost_when_the_deadline_passes(kind: str) -> None:
    """A turn's answer that is being committed when the worker gives up must take effect as a whole.

    In a process of its own, because the engine used to crash over it.
    """
    with python_child(_RESTARTS, kind) as child:
        assert child.ends(30) == 0, child.err[-4:]
        assert child.out == ["all"]


def test_a_runtime_is_garbage_when_it_was_shut_down(here: Place) -> None:
    import gc
    import weakref

    runtime = WorkflowRuntime(engine=here.engine)
    with runtime:
        pass
    gone = weakref.ref(runtime)
    del runtime
    gc.collect()
    assert gone() is None
