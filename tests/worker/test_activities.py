"""Running activities: how many at a time, where, and what becomes of whatever they do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import inspect
import json
import os
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest

from dapr_workflow_sdk import (
    FailureDetails,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowRuntime,
    WorkflowStatus,
    when_all,
)
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.port import ActivityItem
from dapr_workflow_sdk.worker.threads import ActivityThreads
from tests.worker.support import FakeSidecar, Place, StubHub, activity_item, eventually, python_child, within
from tests.worker.test_runtime import finish, run, sdk_threads


@dataclass
class Order:
    id: int
    total: float


def fan_out(activity: Callable[..., Any], count: int) -> Callable[..., Any]:
    """A workflow that calls an activity many times at once."""

    def fan(ctx: WorkflowContext) -> Any:
        return (yield when_all([ctx.call_activity(activity, input=n) for n in range(count)]))

    return fan


@pytest.mark.parametrize("size", [1, 3, 2 * (os.cpu_count() or 1) + 9])
def test_plain_activities_run_as_many_at_a_time_as_there_are_threads(place: Place, size: int) -> None:
    runtime, client = place.runtime(maximum_thread_pool_workers=size), place.client()
    together = threading.Barrier(size)
    running, most, lock = 0, 0, threading.Lock()

    def meet(ctx: WorkflowActivityContext, number: int) -> None:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
        together.wait(5)
        with lock:
            running -= 1

    flow = fan_out(meet, 3 * size)
    runtime.register_activity(meet)
    runtime.register_workflow(flow)
    with runtime:
        run(client, flow, None)
    assert most == size


def test_by_default_a_hundred_plain_activities_run_at_a_time(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    together = threading.Barrier(100)
    meet = lambda ctx, number: together.wait(10) and None  # noqa: E731
    runtime.register_activity(meet, name="meet")
    flow = fan_out(meet, 100)
    runtime.register_workflow(flow)
    with runtime:
        run(client, flow, None)


def test_no_more_activities_run_than_allowed_and_none_of_five_thousand_is_dropped() -> None:
    """A sidecar sends all it has, whatever the worker offers."""
    hub = StubHub(*(ActivityItem(activity_item("work", n).activityRequest, f"t{n}") for n in range(1, 5001)))
    runtime = WorkflowRuntime(engine=hub, maximum_concurrent_activity_work_items=70)
    running, most = 0, 0

    @runtime.activity
    async def work(ctx: WorkflowActivityContext) -> int:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.002)
        running -= 1
        return ctx.task_id

    with runtime:
        eventually(lambda: len(hub.results) >= 5000, "5000 completions", 30)
    assert sorted(result.taskId for result in hub.results) == list(range(1, 5001))
    assert all(result.result.value == str(result.taskId) for result in hub.results)
    assert most == 70


def test_a_thousand_activities_of_a_sidecar_are_all_answered_once() -> None:
    items = [activity_item("work", number) for number in range(1, 1001)]
    with FakeSidecar(*items) as sidecar:
        runtime = WorkflowRuntime("127.0.0.1", sidecar.port, maximum_thread_pool_workers=5)
        runtime.register_activity(lambda ctx: ctx.task_id, name="work")
        with runtime:
            eventually(lambda: len(sidecar.completions) >= 1000, "all completions", 30)
        assert sorted(completion.taskId for completion in sidecar.completions) == list(range(1, 1001))
        assert sidecar.subscriptions == 1


def test_five_thousand_activities_of_an_engine_all_run_once(place: Place) -> None:
    runtime = place.runtime(maximum_concurrent_activity_work_items=50, maximum_thread_pool_workers=20)
    client = place.client()
    running, most, calls, lock = 0, 0, 0, threading.Lock()

    def work(ctx: WorkflowActivityContext, number: int) -> None:
        nonlocal running, most, calls
        with lock:
            running += 1
            calls += 1
            most = max(most, running)
        with lock:
            running -= 1

    flow = fan_out(work, 500)
    runtime.register_activity(work)
    runtime.register_workflow(flow)
    with runtime:
        ids = [client.schedule_new_workflow(flow) for _ in range(10)]
        for instance_id in ids:
            finish(client, instance_id, 40)
    assert calls == 5000
    assert most <= 20


def test_many_async_activities_wait_at_the_same_time(place: Place) -> None:
    runtime, client = place.runtime(maximum_concurrent_activity_work_items=300), place.client()

    @runtime.activity
    async def nap(ctx: WorkflowActivityContext, number: int) -> None:
        await asyncio.sleep(0.3)

    flow = fan_out(nap, 300)
    runtime.register_workflow(flow)
    with runtime:
        began = time.monotonic()
        run(client, flow, None)
        assert time.monotonic() - began < 3


def test_activities_see_the_context_of_whoever_started_the_worker_and_keep_theirs(here: Place) -> None:
    variable: contextvars.ContextVar[str] = contextvars.ContextVar("variable", default="nothing")
    runtime, client = here.runtime(maximum_thread_pool_workers=1), here.client()

    @runtime.activity
    def look(ctx: WorkflowActivityContext) -> str:
        found = variable.get()
        variable.set("left behind")
        return found

    @runtime.activity
    async def look_async(ctx: WorkflowActivityContext) -> str:
        found = variable.get()
        variable.set("left behind")
        return found

    @runtime.workflow
    def looks(ctx: WorkflowContext) -> Any:
        results = []
        for activity in (look, look, look_async, look_async, look):
            results.append((yield ctx.call_activity(activity)))
        return results

    token = variable.set("the starter's")
    with runtime:
        variable.reset(token)
        assert json.loads(run(client, looks, None) or "") == ["the starter's"] * 5
    assert variable.get() == "nothing"


class Odd(BaseException):
    """An error of nobody's family."""


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")


ODD_ERRORS: list[tuple[BaseException, str]] = [
    (SystemExit(3), "SystemExit"),
    (asyncio.CancelledError(), "cancelled"),
    (concurrent.futures.CancelledError(), ""),
    (StopIteration(5), "StopIteration"),
    (StopAsyncIteration(5), "StopAsyncIteration"),
    (GeneratorExit(), "GeneratorExit"),
    (KeyboardInterrupt(), "KeyboardInterrupt"),
    (Odd("odd"), "odd"),
    (TimeoutError("too late"), "too late"),
    (Mute(), "Mute"),
    (FileNotFoundError("no such file: 'caf\udce9'"), "no such file"),
    (RuntimeError("nul \x00 and \U0001f600"), "nul"),
    (ValueError("x" * 1_000_000), "xxx"),
]


def failure_of(place: Place, activity: Callable[..., Any], value: Any = None, timeout: float = 5) -> FailureDetails:
    """What the call of an activity fails with, in an instance that catches nothing."""
    runtime, client = place.runtime(), place.client()
    runtime.register_activity(activity, name="the-activity")

    def calls(ctx: WorkflowContext, value: Any) -> Any:
        return (yield ctx.call_activity("the-activity", input=value))

    runtime.register_workflow(calls)
    within(runtime.start, 5, "start")
    instance_id = within(lambda: client.schedule_new_workflow(calls, input=value, instance_id="the-instance"), 5, "go")
    state = within(
        lambda: client.wait_for_workflow_completion(instance_id, timeout_in_seconds=timeout),
        timeout + 2,
        "the instance",
    )
    assert state is not None
    assert state.runtime_status is WorkflowStatus.FAILED
    assert state.failure_details is not None
    assert state.failure_details.cause is not None
    # The worker is as well as before.
    runtime.register_workflow(lambda ctx: 1, name="after")
    assert within(lambda: run(client, "after", None), 5, "the next instance") == "1"
    return state.failure_details.cause


# A KeyboardInterrupt ends the loop of the whole process, so its tests are below, in a process of their own.
@pytest.mark.parametrize(
    ("error", "text"),
    [entry for entry in ODD_ERRORS if not isinstance(entry[0], KeyboardInterrupt)],
    ids=lambda value: type(value).__name__ if isinstance(value, BaseException) else "",
)
@pytest.mark.parametrize("kind", ["plain", "async"])
def test_whatever_an_activity_raises_is_a_failure_of_the_call(
    here: Place, kind: str, error: BaseException, text: str
) -> None:
    def plain(ctx: WorkflowActivityContext, value: Any) -> None:
        raise error

    async def on_loop(ctx: WorkflowActivityContext, value: Any) -> None:
        raise error

    failure = failure_of(here, plain if kind == "plain" else on_loop)
    assert text in failure.message or text in failure.error_type


_INTERRUPT = """
import sys
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
engine = EmbeddedEngine()
runtime = WorkflowRuntime(engine=engine)
@runtime.activity
def plain(ctx):
    raise KeyboardInterrupt("from the activity")
@runtime.activity
async def on_loop(ctx):
    raise KeyboardInterrupt("from the activity")
@runtime.workflow
def calls(ctx, name):
    yield ctx.call_activity(name)
@runtime.workflow
def itself(ctx, name):
    raise KeyboardInterrupt("from the workflow")
with runtime, WorkflowClient(engine=engine) as client:
    workflow = itself if sys.argv[1] == "itself" else calls
    i = client.schedule_new_workflow(workflow, input=sys.argv[1])
    print(client.wait_for_workflow_completion(i, timeout_in_seconds=3).runtime_status.name)
"""


@pytest.mark.parametrize("which", ["plain", "on_loop", "itself"])
def test_a_keyboard_interrupt_in_user_code_does_not_end_the_loop_of_the_process(which: str) -> None:
    """It comes from libraries that run subprocesses, and from debuggers; Ctrl-C itself goes to the main thread."""
    with python_child(_INTERRUPT, which) as child:
        assert child.ends(6) == 0
        assert child.out == ["FAILED"]


_ON_THE_CALLERS_LOOP = """
import asyncio, sys
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
engine = EmbeddedEngine()
client = WorkflowClient(engine=engine)
runtime = WorkflowRuntime(engine=engine)
@runtime.activity
async def ends(ctx):
    raise {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt}[sys.argv[1]]("from the activity")
@runtime.workflow
def calls(ctx):
    yield ctx.call_activity(ends)
async def main():
    async with runtime:
        i = client.schedule_new_workflow(calls)
        state = await asyncio.to_thread(client.wait_for_workflow_completion, i, timeout_in_seconds=3)
        print(state.runtime_status.name)
asyncio.run(main())
"""


@pytest.mark.parametrize("error", ["SystemExit", "KeyboardInterrupt"])
def test_what_an_activity_on_the_callers_loop_raises_does_not_end_that_loop(error: str) -> None:
    with python_child(_ON_THE_CALLERS_LOOP, error) as child:
        assert child.ends(6) == 0, child.err[-3:]
        assert child.out == ["FAILED"]


class Unencodable:
    """Has no JSON text."""


@pytest.mark.parametrize("kind", ["plain", "async"])
@pytest.mark.parametrize("value", [{1, 2}, Unencodable(), {"a": {"b": Unencodable()}}, [object()]], ids=repr)
def test_a_result_without_json_text_fails_and_names_all(here: Place, kind: str, value: Any) -> None:
    def plain(ctx: WorkflowActivityContext, given: Any) -> Any:
        return value

    async def on_loop(ctx: WorkflowActivityContext, given: Any) -> Any:
        return value

    function = plain if kind == "plain" else on_loop
    failure = failure_of(here, function)
    line = inspect.getsourcelines(function)[1]
    assert failure.error_type == "PayloadError"
    for part in ("'the-activity'", "'the-instance'", f"{__file__}:{line}", "result"):
        assert part in failure.message, part


def test_a_result_that_contains_itself_fails(here: Place) -> None:
    def circle(ctx: WorkflowActivityContext, given: Any) -> Any:
        around: list[Any] = []
        around.append(around)
        return around

    assert "the-activity" in failure_of(here, circle).message


@pytest.mark.parametrize("kind", ["plain", "async"])
def test_an_input_of_the_wrong_type_fails_and_names_all(here: Place, kind: str) -> None:
    def plain(ctx: WorkflowActivityContext, order: Order) -> None:
        raise AssertionError("never called")

    async def on_loop(ctx: WorkflowActivityContext, order: Order) -> None:
        raise AssertionError("never called")

    function = plain if kind == "plain" else on_loop
    failure = failure_of(here, function, {"id": "seven", "total": 1.5})
    line = inspect.getsourcelines(function)[1]
    assert failure.error_type == "PayloadError"
    for part in ("'the-activity'", "'the-instance'", f"{__file__}:{line}", "input", "Order"):
        assert part in failure.message, part


def test_an_unknown_activity_fails_with_the_names_that_are_known(here: Place) -> None:
    runtime, client = here.runtime(), here.client()
    runtime.register_activity(lambda ctx: None, name="known-activity")

    @runtime.workflow
    def calls(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity("unknown-activity")

    with runtime:
        instance_id = client.schedule_new_workflow(calls)
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=5)
    assert state is not None
    assert state.failure_details is not None
    cause = state.failure_details.cause
    assert cause is not None
    assert cause.error_type == "ActivityNotRegisteredError"
    for part in ("'unknown-activity'", instance_id, "known-activity"):
        assert part in cause.message


@pytest.mark.parametrize("value", [0, False, "", [], {}, None], ids=repr)
def test_falsy_results_and_inputs_arrive(place: Place, value: Any) -> None:
    runtime, client = place.runtime(), place.client()
    got: list[Any] = []

    @runtime.activity
    def same(ctx: WorkflowActivityContext, given: Any) -> Any:
        got.append(given)
        return given

    @runtime.workflow
    def calls(ctx: WorkflowContext, given: Any) -> Any:
        result = yield ctx.call_activity(same, input=given)
        return [given, result]

    with runtime:
        assert json.loads(run(client, calls, value) or "") == [value, value]
    assert got == [value]
    assert type(got[0]) is type(value)


def test_what_an_activity_is_told(place: Place) -> None:
    runtime, client = place.runtime(), place.client()
    told: list[WorkflowActivityContext] = []

    @runtime.activity(name="told-name")
    def note(ctx: WorkflowActivityContext) -> None:
        told.append(ctx)

    @runtime.workflow
    def calls(ctx: WorkflowContext) -> Any:
        yield ctx.call_activity(note)
        yield ctx.call_activity(note)

    with runtime:
        instance_id = client.schedule_new_workflow(calls)
        finish(client, instance_id)
    assert [(c.workflow_id, c.task_id, c.attempt, c.name) for c in told] == [
        (instance_id, 1, 1, "told-name"),
        (instance_id, 2, 1, "told-name"),
    ]
    assert told[0].task_execution_id != told[1].task_execution_id


# ---- the threads alone -----------------------------------------------------------------------------------------


def test_threads_start_only_as_they_are_needed_and_serve_again() -> None:
    threads = ActivityThreads(10)

    async def main() -> None:
        assert threads._threads == 0
        await threads.run(lambda: None)
        assert threads._threads == 1
        gate = threading.Event()
        waiting = [asyncio.ensure_future(threads.run(gate.wait, 5)) for _ in range(10)]
        await asyncio.sleep(0)
        assert threads._threads == 10
        late = asyncio.ensure_future(threads.run(lambda: "late"))
        gate.set()
        await asyncio.gather(*waiting)
        assert await late == "late"

    before = set(threading.enumerate())
    try:
        PORTAL.call(main)
    finally:
        threads.stop()
    eventually(lambda: not sdk_threads(before), "the end of the threads")


def test_work_that_was_given_up_before_it_began_never_begins() -> None:
    threads = ActivityThreads(1)
    gate, ran = threading.Event(), threading.Event()

    async def main() -> None:
        first = asyncio.ensure_future(threads.run(gate.wait, 5))
        second = asyncio.ensure_future(threads.run(ran.set))
        await asyncio.sleep(0.01)
        second.cancel()
        first.cancel()
        threads.stop()
        await asyncio.wait([first, second])

    before = set(threading.enumerate())
    PORTAL.call(main)
    gate.set()
    eventually(lambda: not sdk_threads(before), "the end of the threads")
    assert not ran.is_set()
