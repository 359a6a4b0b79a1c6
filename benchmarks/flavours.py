"""The flavours: one interface over the replay of this package and of the peers, and over their whole stacks.

Importing this module imports none of them: the two peers register the same protobuf files and cannot share a
process.
"""

from __future__ import annotations

import importlib
import logging
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from cases import DAPR, DURABLETASK, OURS, SQLITE, UNPARKED
from histories import INSTANCE_ID, PAYLOAD

_TIMEOUT = 600


def work(ctx: Any, value: Any) -> Any:
    """The activity: gives back what it gets."""
    return value


def chain_of(activities: int) -> Callable[..., Any]:
    """A workflow that calls activities one after the other, each with the result of the one before."""

    def chain(ctx: Any, value: Any) -> Any:
        for _ in range(activities):
            value = yield ctx.call_activity(work, input=value)
        return value

    return chain


def fan_out_of(activities: int, when_all: Callable[..., Any]) -> Callable[..., Any]:
    """A workflow that calls activities all at once and waits for all of them."""

    def fan_out(ctx: Any, value: Any) -> Any:
        results = yield when_all([ctx.call_activity(work, input=PAYLOAD) for _ in range(activities)])
        return len(results)

    return fan_out


class Replay(Protocol):
    """Runs turns of one instance."""

    def decode(self, wire: bytes) -> Any:
        """The request of a turn as the flavour's own message."""
        ...

    def turn(self, request: Any) -> list[Any]:
        """Runs a turn from its decoded request, as the flavour's worker does; the actions it answers with."""
        ...

    def result(self, actions: list[Any]) -> str | None:
        """The payload text that the workflow ends with, or None if it goes on or fails."""
        ...


class OurReplay:
    """The replay of this package."""

    def __init__(self, shape: str, activities: int, mode: str) -> None:
        """Takes up the workflow; with `UNPARKED` it replays the whole history in every turn."""
        from dapr_workflow_sdk import when_all
        from dapr_workflow_sdk.authoring.definitions import Registry
        from dapr_workflow_sdk.converter import JsonConverter
        from dapr_workflow_sdk.replay.parked import ParkedInstances
        from dapr_workflow_sdk.replay.turn import run_turn
        from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

        self._registry = Registry(module_level=False)
        function = chain_of(activities) if shape == "chain" else fan_out_of(activities, when_all)
        self._registry.add("workflow", function)
        self._registry.add("activity", work)
        self._converter = JsonConverter()
        self._parked = ParkedInstances(0 if mode == UNPARKED else 1000)
        self._run_turn = run_turn
        self._completed = pb.WORKFLOW_STATUS_COMPLETED
        self.decode: Callable[[bytes], Any] = pb.WorkflowRequest.FromString

    def turn(self, request: Any) -> list[Any]:
        """Runs a turn."""
        output = self._run_turn(
            INSTANCE_ID, request.pastEvents, request.newEvents, self._registry, self._converter, self._parked
        )
        return list(output.actions)

    def result(self, actions: list[Any]) -> str | None:
        """The result of the workflow."""
        end = actions[-1].completeWorkflow
        return end.result.value if end.workflowStatus == self._completed else None


class PeerReplay:
    """The replay of the official Dapr SDK or of durabletask; the former grew out of the latter."""

    def __init__(self, flavour: str, shape: str, activities: int) -> None:
        """Takes up the workflow."""
        package = "dapr.ext.workflow._durabletask" if flavour == DAPR else "durabletask"
        worker: Any = importlib.import_module(f"{package}.worker")
        tasks: Any = importlib.import_module(f"{package}.task")
        function = chain_of(activities) if shape == "chain" else fan_out_of(activities, tasks.when_all)
        registry = worker._Registry()
        registry.add_named_orchestrator(function.__name__, function)
        logger = logging.getLogger("benchmarks.peer")
        logger.setLevel(logging.ERROR)
        arguments: list[Any] = [registry, logger]
        if flavour == DURABLETASK:
            arguments.append(importlib.import_module("durabletask.serialization").JsonDataConverter())
        self._executor: Callable[[], Any] = lambda: worker._OrchestrationExecutor(*arguments)
        self._completed = worker.pb.ORCHESTRATION_STATUS_COMPLETED
        self._end = "completeWorkflow" if flavour == DAPR else "completeOrchestration"
        self._status = "workflowStatus" if flavour == DAPR else "orchestrationStatus"
        request = worker.pb.WorkflowRequest if flavour == DAPR else worker.pb.OrchestratorRequest
        self.decode: Callable[[bytes], Any] = request.FromString

    def turn(self, request: Any) -> list[Any]:
        """Runs a turn."""
        answer = self._executor().execute(INSTANCE_ID, list(request.pastEvents), request.newEvents)
        return list(answer.actions)

    def result(self, actions: list[Any]) -> str | None:
        """The result of the workflow."""
        end = getattr(actions[-1], self._end)
        return str(end.result.value) if getattr(end, self._status) == self._completed else None


def replay_of(flavour: str, mode: str, shape: str, activities: int) -> Replay:
    """The replay of a flavour."""
    return OurReplay(shape, activities, mode) if flavour == OURS else PeerReplay(flavour, shape, activities)


class Stack(Protocol):
    """A task hub with a worker and a client."""

    def start(self, activities: int) -> str:
        """Starts a chain of activities."""
        ...

    def wait(self, instance_id: str) -> None:
        """Waits until it has completed."""
        ...


def end_to_end_chain(ctx: Any, activities: int) -> Any:
    """A workflow that calls activities one after the other."""
    for step in range(activities):
        yield ctx.call_activity(work, input=step)
    return activities


@contextmanager
def stack_of(flavour: str, mode: str) -> Iterator[Stack]:
    """Everything of a flavour, running in this process."""
    with _our_stack(mode) if flavour == OURS else _durabletask_stack() as stack:
        stack.wait(stack.start(3))
        yield stack


@contextmanager
def _our_stack(mode: str) -> Iterator[Stack]:
    from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime

    with tempfile.TemporaryDirectory() as folder:
        engine = EmbeddedEngine(Path(folder) / "benchmark.db" if mode == SQLITE else None)
        runtime = WorkflowRuntime(engine=engine)
        runtime.register_workflow(end_to_end_chain)
        runtime.register_activity(work)
        with engine, runtime, WorkflowClient(engine=engine) as client:
            yield _OurStack(client)


class _OurStack:
    def __init__(self, client: Any) -> None:
        self._client = client

    def start(self, activities: int) -> str:
        return str(self._client.schedule_new_workflow(end_to_end_chain, input=activities))

    def wait(self, instance_id: str) -> None:
        state = self._client.wait_for_workflow_completion(instance_id, timeout_in_seconds=_TIMEOUT)
        if state.runtime_status.name != "COMPLETED":
            raise RuntimeError(f"{instance_id} ended as {state}")


@contextmanager
def _durabletask_stack() -> Iterator[Stack]:
    logger = logging.getLogger("benchmarks.peer")
    for quiet in (logger, logging.getLogger("durabletask")):
        quiet.setLevel(logging.CRITICAL)
    testing: Any = importlib.import_module("durabletask.testing")
    worker_module: Any = importlib.import_module("durabletask.worker")
    client_module: Any = importlib.import_module("durabletask.client")
    port = _free_port()
    backend = testing.create_test_backend(port=port, max_history_size=10_000_000)
    worker = worker_module.TaskHubGrpcWorker(host_address=f"localhost:{port}", logger=logger)
    worker.add_orchestrator(end_to_end_chain)
    worker.add_activity(work)
    worker.start()
    try:
        yield _DurabletaskStack(client_module.TaskHubGrpcClient(host_address=f"localhost:{port}", logger=logger))
    finally:
        worker.stop()
        backend.stop()


class _DurabletaskStack:
    def __init__(self, client: Any) -> None:
        self._client = client

    def start(self, activities: int) -> str:
        return str(self._client.schedule_new_orchestration(end_to_end_chain, input=activities))

    def wait(self, instance_id: str) -> None:
        state = self._client.wait_for_orchestration_completion(instance_id, timeout=_TIMEOUT)
        if state is None or state.runtime_status.name != "COMPLETED":
            raise RuntimeError(f"{instance_id} ended as {state}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
