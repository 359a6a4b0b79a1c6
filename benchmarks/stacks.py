"""Whole stacks, each running in the process that asks for it: task hub, worker and client, or what a peer has of them.

Importing this module imports none of them: two of the peers register the same protobuf files and cannot share a
process, and one lives in an environment of its own.
"""

from __future__ import annotations

import importlib
import logging
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Protocol

TIMEOUT = 600


class Stack(Protocol):
    """Runs workflows by their shape: `chain` and `fan_out` take a number of activities."""

    def start(self, shape: str, activities: int) -> Any:
        """Starts a workflow; what it gives is for `wait`."""
        ...

    def wait(self, started: Any) -> None:
        """Waits until it has completed, and makes sure that it has."""
        ...


# ---- this package ------------------------------------------------------------------------------------------

# When each step of a chain began, in the process of the worker.
STEPS: list[float] = []


def work(ctx: Any, value: Any) -> Any:
    """An activity: gives back what it gets."""
    return value


async def async_work(ctx: Any, value: Any) -> Any:
    """The same as a coroutine."""
    return value


async def timed_work(ctx: Any, value: Any) -> Any:
    """The same, and notes when it ran."""
    STEPS.append(time.perf_counter())
    return value


def chain(ctx: Any, activities: int) -> Any:
    """A workflow that calls activities one after the other."""
    for step in range(activities):
        yield ctx.call_activity("work", input=step)
    return activities


def timed_chain(ctx: Any, activities: int) -> Any:
    """The same over the activity that notes when it ran."""
    for step in range(activities):
        yield ctx.call_activity("timed_work", input=step)
    return activities


def waiting(ctx: Any, value: Any) -> Any:
    """A workflow that waits for an event."""
    return (yield ctx.wait_for_external_event("go"))


class OurStack:
    """The engine in this process, or a task hub at a port."""

    def __init__(self, client: Any) -> None:
        self.client = client

    def start(self, shape: str, activities: int) -> Any:
        return self.client.schedule_new_workflow(shape, input=activities)

    def wait(self, started: Any) -> None:
        state = self.client.wait_for_workflow_completion(started, timeout_in_seconds=TIMEOUT)
        if state is None or state.runtime_status.name != "COMPLETED":
            raise RuntimeError(f"{started} ended as {state}")


@contextmanager
def our_stack(*, database: Path | None = None, port: int = 0, asynchronous: bool = False) -> Iterator[OurStack]:
    """This package with the engine in this process, in memory or on a file; or with what listens at `port`."""
    from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime, when_all

    def fan_out(ctx: Any, activities: int) -> Any:
        results = yield when_all([ctx.call_activity("work", input=step) for step in range(activities)])
        return len(results)

    with ExitStack() as stack:
        where: dict[str, Any] = {"host": "127.0.0.1", "port": port}
        if not port:
            where = {"engine": stack.enter_context(EmbeddedEngine(database))}
        runtime = WorkflowRuntime(**where)
        for function in (chain, timed_chain, waiting, fan_out):
            runtime.register_workflow(function)
        runtime.register_activity(async_work if asynchronous else work, name="work")
        runtime.register_activity(timed_work)
        stack.enter_context(runtime)
        yield OurStack(stack.enter_context(WorkflowClient(**where)))


# ---- peers -------------------------------------------------------------------------------------------------


@contextmanager
def durabletask_stack() -> Iterator[Stack]:
    """durabletask with its worker and client over gRPC to its own task hub in memory, all in this process."""
    logger = _quiet("durabletask")
    tasks: Any = importlib.import_module("durabletask.task")
    testing: Any = importlib.import_module("durabletask.testing")
    worker_module: Any = importlib.import_module("durabletask.worker")
    client_module: Any = importlib.import_module("durabletask.client")

    def fan_out(ctx: Any, activities: int) -> Any:
        results = yield tasks.when_all([ctx.call_activity(work, input=step) for step in range(activities)])
        return len(results)

    shapes = {"chain": chain, "fan_out": fan_out}

    class Durabletask:
        def start(self, shape: str, activities: int) -> Any:
            return client.schedule_new_orchestration(shapes[shape], input=activities)

        def wait(self, started: Any) -> None:
            state = client.wait_for_orchestration_completion(started, timeout=TIMEOUT)
            if state is None or state.runtime_status.name != "COMPLETED":
                raise RuntimeError(f"{started} ended as {state}")

    address = f"localhost:{_free_port()}"
    backend = testing.create_test_backend(port=int(address.rpartition(":")[2]), max_history_size=10_000_000)
    worker = worker_module.TaskHubGrpcWorker(host_address=address, logger=logger)
    for function in (chain, fan_out):
        worker.add_orchestrator(function)
    worker.add_activity(work)
    worker.start()
    try:
        client = client_module.TaskHubGrpcClient(host_address=address, logger=logger)
        yield Durabletask()
    finally:
        worker.stop()
        backend.stop()


@contextmanager
def dapr_stack(port: int) -> Iterator[Stack]:
    """The official SDK, with its worker and client here and daprd at `port`."""
    _quiet("WorkflowRuntime")
    wf: Any = importlib.import_module("dapr.ext.workflow")

    def fan_out(ctx: Any, activities: int) -> Any:
        results = yield wf.when_all([ctx.call_activity("work", input=step) for step in range(activities)])
        return len(results)

    shapes = {"chain": chain, "fan_out": fan_out}

    class Dapr:
        def start(self, shape: str, activities: int) -> Any:
            return client.schedule_new_workflow(workflow=shapes[shape], input=activities)

        def wait(self, started: Any) -> None:
            state = client.wait_for_workflow_completion(started, timeout_in_seconds=TIMEOUT)
            if state is None or state.runtime_status.name != "COMPLETED":
                raise RuntimeError(f"{started} ended as {state}")

    runtime = wf.WorkflowRuntime(host="127.0.0.1", port=str(port))
    for function in (chain, fan_out):
        runtime.register_workflow(function)
    runtime.register_activity(work)
    runtime.start()
    try:
        client = wf.DaprWorkflowClient(host="127.0.0.1", port=str(port))
        yield Dapr()
    finally:
        runtime.shutdown()


@contextmanager
def dbos_stack(database: Path) -> Iterator[Stack]:
    """DBOS on a SQLite file, in this process."""
    dbos: Any = importlib.import_module("dbos")
    config = {
        "name": "benchmark",
        "system_database_url": f"sqlite:///{database}",
        "log_level": "CRITICAL",
        "run_admin_server": False,
    }
    dbos.DBOS(config=config)

    @dbos.DBOS.step()
    def step(value: int) -> int:
        return value

    @dbos.DBOS.workflow()
    def dbos_chain(activities: int) -> int:
        for number in range(activities):
            step(number)
        return activities

    class Dbos:
        def start(self, shape: str, activities: int) -> Any:
            if shape != "chain":
                raise ValueError(f"no {shape} for DBOS")
            return dbos.DBOS.start_workflow(dbos_chain, activities)

        def wait(self, started: Any) -> None:
            started.get_result()

    dbos.DBOS.launch()
    try:
        yield Dbos()
    finally:
        dbos.DBOS.destroy()


def _quiet(name: str) -> logging.Logger:
    logger = logging.getLogger(name)
    logger.setLevel(logging.CRITICAL)
    return logger


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
