"""The loop behind the synchronous faces."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
import time
from typing import Any

import pytest

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, WorkflowStatus
from dapr_workflow_sdk.portal import PORTAL, Portal
from tests.worker.support import Place, python_child, run_python, within
from tests.worker.test_runtime import finish


async def double(value: int) -> int:
    await asyncio.sleep(0)
    return 2 * value


def test_calls_from_many_threads_get_their_own_results() -> None:
    portal = Portal()
    results: dict[int, int] = {}

    def call(number: int) -> None:
        results[number] = portal.call(double, number)

    threads = [threading.Thread(target=call, args=(n,)) for n in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(5)
    assert results == {n: 2 * n for n in range(50)}
    loop = portal.loop
    own_thread = portal._thread
    loop.call_soon_threadsafe(loop.stop)
    assert own_thread is not None
    own_thread.join(5)
    loop.close()


def test_errors_come_out_as_they_are() -> None:
    async def fail() -> None:
        raise KeyError("as it is")

    with pytest.raises(KeyError, match="as it is"):
        PORTAL.call(fail)

    async def outside() -> None:
        with pytest.raises(KeyError, match="as it is"):
            await PORTAL.acall(fail)
        assert await PORTAL.acall(double, 4) == 8

    asyncio.run(outside())


def test_a_call_from_the_loop_itself_is_refused_at_once() -> None:
    async def inside() -> str:
        with pytest.raises(RuntimeError, match="asyncio.to_thread"):
            PORTAL.call(double, 1)
        return str(await PORTAL.acall(double, 2))

    assert within(lambda: PORTAL.call(inside), 3, "the call") == "4"


def test_a_client_in_an_async_activity_or_a_workflow_is_refused_not_stuck(place: Place) -> None:
    runtime, client = place.runtime(), place.client()

    @runtime.activity
    async def asks(ctx: WorkflowActivityContext) -> None:
        client.get_workflow_state("x")

    @runtime.activity
    def may_ask(ctx: WorkflowActivityContext) -> str:
        return str(client.get_workflow_state("x"))

    @runtime.activity
    async def asks_well(ctx: WorkflowActivityContext) -> str:
        return str(await asyncio.to_thread(client.get_workflow_state, "x"))

    @runtime.workflow
    def asks_itself(ctx: WorkflowContext) -> None:
        client.get_workflow_state("x")

    @runtime.workflow
    def calls(ctx: WorkflowContext, name: str) -> Any:
        return (yield ctx.call_activity(name))

    with runtime:
        for workflow, value in ((calls, "asks"), (asks_itself, None)):
            instance_id = client.schedule_new_workflow(workflow, input=value)
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
            assert state is not None
            assert state.runtime_status is WorkflowStatus.FAILED
            assert state.failure_details is not None
            assert "asyncio.to_thread" in state.failure_details.message
        for name in ("may_ask", "asks_well"):
            assert finish(client, client.schedule_new_workflow(calls, input=name)) == '"None"'


_WAITS = """
import sys
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
engine = EmbeddedEngine()
with engine.serve() as served:
    client = WorkflowClient("127.0.0.1", served.grpc_port) if sys.argv[1] == "grpc" else WorkflowClient(engine=engine)
    i = client.schedule_new_workflow("nobody")
    print("waiting", flush=True)
    try:
        client.wait_for_workflow_completion(i)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    client.close()
engine.close()
"""


@pytest.mark.parametrize("kind", ["in-process", "grpc"])
def test_control_c_ends_a_wait_without_end(kind: str) -> None:
    with python_child(_WAITS, kind) as child:
        child.says("waiting")
        time.sleep(0.05)
        os.kill(child.pid, signal.SIGINT)
        child.says("interrupted", 3)
        assert child.ends(5) == 0
        assert child.err == []


_AT_THE_END = """
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient

class Owner:
    def __init__(self):
        self.engine = EmbeddedEngine()
        self.client = WorkflowClient(engine=self.engine)
    def __del__(self):
        self.engine.close()
def session():
    with EmbeddedEngine() as engine, engine.serve() as served:
        yield served
owner, opened = Owner(), session()
next(opened)
print("end", flush=True)
"""


def test_what_is_closed_while_the_interpreter_ends_does_not_hang_it() -> None:
    """The loop's thread is gone by then, so nobody would ever answer."""
    with python_child(_AT_THE_END) as child:
        child.says("end")
        assert child.ends(3) == 0


_FORKS = """
import os, sys
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime

def work(number):
    with EmbeddedEngine() as engine, WorkflowRuntime(engine=engine) as runtime, WorkflowClient(engine=engine) as client:
        runtime.register_workflow(lambda ctx: number, name="flow")
        i = client.schedule_new_workflow("flow")
        state = client.wait_for_workflow_completion(i, timeout_in_seconds=5)
        assert state.serialized_output == str(number), state
work(1)
pid = os.fork()
if pid == 0:
    work(2)
    os._exit(7)
_, status = os.waitpid(pid, 0)
work(3)
print("child", os.waitstatus_to_exitcode(status))
"""


def test_a_forked_process_has_a_loop_of_its_own() -> None:
    done = run_python(_FORKS, PYTHONWARNINGS="ignore")
    assert (done.stdout, done.returncode) == ("child 7\n", 0), done.stderr


def test_the_loop_survives_whatever_its_callers_do() -> None:
    """A caller that is interrupted takes its work back and nothing else."""
    started = threading.Event()

    async def long() -> None:
        started.set()
        await asyncio.sleep(30)

    async def main() -> None:
        waiting = asyncio.ensure_future(PORTAL.acall(long))
        await asyncio.to_thread(started.wait, 5)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting

    asyncio.run(main())
    assert within(lambda: PORTAL.call(double, 3), 2, "the next call") == 6
