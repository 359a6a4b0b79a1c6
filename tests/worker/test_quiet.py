"""A worker and an engine with nothing to do do nothing, and say nothing that was not asked for."""

from __future__ import annotations

import threading
import time

import pytest

from dapr_workflow_sdk.worker.watchdog import TurnWatchdog
from tests.worker.support import Place, eventually, python_child, run_python
from tests.worker.test_runtime import run, sdk_threads

_IDLE = """
import sys, time, pathlib
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
kind = sys.argv[1]
def switches():
    total = {}
    for status in pathlib.Path("/proc/self/task").glob("*/status"):
        fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
        total[fields["Name"].strip() + " " + status.parent.name] = int(fields["voluntary_ctxt_switches"])
    return total
engine = EmbeddedEngine(sys.argv[2] if kind == "file" else None)
if kind in ("grpc", "http"):
    served = engine.serve(http_port=0 if kind == "http" else None)
    port = served.__enter__().grpc_port
    runtime, client = WorkflowRuntime("127.0.0.1", port), WorkflowClient("127.0.0.1", port)
else:
    runtime, client = WorkflowRuntime(engine=engine), WorkflowClient(engine=engine)
@runtime.activity
def work(ctx):
    return 1
@runtime.activity
async def awork(ctx):
    return 1
@runtime.workflow
def calls(ctx):
    yield ctx.call_activity(work)
    yield ctx.call_activity(awork)
    yield ctx.wait_for_external_event("never")
runtime.start()
i = client.schedule_new_workflow(calls)
client.wait_for_workflow_start(i)
time.sleep(1.2)
before = switches()
time.sleep(2)
after = switches()
woke = {name: after[name] - before.get(name, 0) for name in after if after[name] != before.get(name, 0)}
print("woke", woke)
# gRPC's own threads look after their connections; they are not this package's to judge.
print("sum", sum(count for name, count in woke.items() if not name.startswith(("grpc_", "event_engine", "lifeguard"))))
client.terminate_workflow(i)
runtime.shutdown()
"""


@pytest.mark.parametrize("kind", ["file", "http"])
def test_nothing_wakes_up_while_there_is_nothing_to_do(kind: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    """An instance waits, a worker and a client are connected; the main thread itself wakes up once from its sleep."""
    with python_child(_IDLE, kind, str(tmp_path_factory.mktemp("idle") / "e.db")) as child:
        count = int(child.says("sum "))
        woke = next(line for line in child.out if line.startswith("woke"))
    assert count <= 3, woke


_SAYS = """
import logging, sys, threading
root = logging.getLogger()
from dapr_workflow_sdk import *
import dapr_workflow_sdk
for name in dapr_workflow_sdk.__all__:
    getattr(dapr_workflow_sdk, name)
engine = EmbeddedEngine(sys.argv[1])
with engine.serve() as served, WorkflowRuntime(engine=engine) as runtime, WorkflowRuntime("127.0.0.1", served.grpc_port):
    with WorkflowClient(engine=engine) as client, WorkflowClient("127.0.0.1", served.grpc_port) as other:
        @runtime.activity
        def fails(ctx):
            raise ValueError("expected")
        @runtime.workflow
        def calls(ctx):
            ctx.logger.info("from the workflow")
            try:
                yield ctx.call_activity(fails)
            except TaskFailedError:
                return 1
        i = client.schedule_new_workflow(calls)
        other.wait_for_workflow_completion(i, timeout_in_seconds=5)
        try:
            other.purge_workflow("missing")
        except WorkflowNotFoundError:
            pass
engine.close()
assert root.handlers == [] and root.level == logging.WARNING, root.handlers
for name, logger in logging.root.manager.loggerDict.items():
    if isinstance(logger, logging.Logger) and name.startswith("dapr_workflow_sdk"):
        assert not logger.handlers and logger.propagate and logger.level == 0 and not logger.disabled, name
"""


def test_nothing_is_printed_and_no_logger_is_touched(tmp_path_factory: pytest.TempPathFactory) -> None:
    done = run_python(_SAYS, str(tmp_path_factory.mktemp("quiet") / "e.db"))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_importing_the_package_starts_no_thread_and_loads_nothing_heavy() -> None:
    code = """
import sys, threading
import dapr_workflow_sdk
assert threading.active_count() == 1
heavy = {"grpc", "sqlite3", "dapr_workflow_sdk.engine", "starlette", "uvicorn", "typer"} & set(sys.modules)
assert not heavy, heavy
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_runtime_and_a_client_that_are_only_made_start_nothing() -> None:
    code = """
import gc, threading
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
runtime, client = WorkflowRuntime(), WorkflowClient()
assert threading.active_count() == 1, threading.enumerate()
del runtime, client
gc.collect()
assert threading.active_count() == 1, threading.enumerate()
"""
    done = run_python(code)
    assert (done.returncode, done.stderr) == (0, "")


# ---- the watchdog ----------------------------------------------------------------------------------------------


def test_a_slow_turn_is_reported_with_the_stack_it_is_stuck_in(place: Place, caplog: pytest.LogCaptureFixture) -> None:
    runtime, client = place.runtime(), place.client()

    def stuck_here() -> None:
        deadline = time.monotonic() + 5
        while time.monotonic() < deadline and "stuck_here" not in caplog.text:
            time.sleep(0.01)

    @runtime.workflow
    def blocks(ctx: object) -> str:
        stuck_here()
        return "done"

    @runtime.workflow
    def quick(ctx: object) -> str:
        return "quick"

    with runtime:
        instance_id = client.schedule_new_workflow(blocks)
        client.wait_for_workflow_completion(instance_id, timeout_in_seconds=8)
        (line,) = [r.getMessage() for r in caplog.records if "turn of workflow" in r.getMessage()]
        assert instance_id in line
        assert __file__ in line
        assert "stuck_here" in line
        assert "activity" in line
        caplog.clear()
        for _ in range(20):
            run(client, quick, None)
        assert [r for r in caplog.records if "turn of workflow" in r.getMessage()] == []


def test_the_watchdog_reports_each_slow_turn_once_and_misses_none(caplog: pytest.LogCaptureFixture) -> None:
    watchdog, before = TurnWatchdog(0.05), set(threading.enumerate())
    try:
        for number in range(8):
            for quick in range(50):
                watchdog.enter(f"quick-{quick}")
                watchdog.leave()
            # The thread falls asleep somewhere in between, at another moment each time.
            time.sleep(0.013 * number)
            watchdog.enter(f"slow-{number}")
            time.sleep(0.2)
            watchdog.leave()
            lines = [r.getMessage() for r in caplog.records if f"slow-{number} " in r.getMessage()]
            assert len(lines) == 1, lines
    finally:
        watchdog.stop()
    eventually(lambda: not sdk_threads(before), "its end")


def test_the_watchdog_sees_a_turn_that_begins_just_as_it_falls_asleep(caplog: pytest.LogCaptureFixture) -> None:
    """Between its last look and its sleep a turn may begin, which must wake it up again."""
    watchdog = TurnWatchdog(0.05)

    class Sleepy(threading.Event):
        """Begins a slow turn at the worst moment: when the thread has seen nothing and is about to sleep."""

        begun = False

        def clear(self) -> None:
            if not Sleepy.begun:
                Sleepy.begun = True
                watchdog.enter("slow")
            super().clear()

    watchdog._active = Sleepy()
    try:
        watchdog.enter("quick")
        watchdog.leave()
        eventually(lambda: "slow" in caplog.text, "the report", 2)
    finally:
        watchdog.stop()
