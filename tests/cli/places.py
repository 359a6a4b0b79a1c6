"""Task hubs with a worker whose workflows do a bit of everything, and the command against them."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from dapr_workflow_sdk import EmbeddedEngine, RetryPolicy, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.cli.command import app
from tests.worker.support import environment

COMMAND = [sys.executable, "-m", "dapr_workflow_sdk"]


def add(ctx: Any, value: int) -> int:
    return value + 1


def boom(ctx: Any, value: Any) -> None:
    raise ValueError(f"no {value}")


def chain(ctx: Any, count: int) -> Any:
    value = 0
    for _ in range(count):
        value = yield ctx.call_activity("add", input=value)
    return value


def approval(ctx: Any, limit: float | None) -> Any:
    ctx.set_custom_status("awaiting approval")
    timeout = None if limit is None else timedelta(seconds=limit)
    answer = yield ctx.wait_for_external_event("approval", timeout=timeout)
    return {"answer": answer}


def failing(ctx: Any, value: Any) -> Any:
    yield ctx.call_activity("boom", input=value)


def stubborn(ctx: Any, value: Any) -> Any:
    policy = RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=2)
    yield ctx.call_activity("boom", input=value, retry_policy=policy)


def parent(ctx: Any, count: int) -> Any:
    return (yield ctx.call_child_workflow("chain", input=count, instance_id=f"{ctx.instance_id}-child"))


def waiting_parent(ctx: Any, value: Any) -> Any:
    return (yield ctx.call_child_workflow("approval", instance_id=f"{ctx.instance_id}-child"))


def busy(ctx: Any, value: Any) -> Any:
    """Waits for an activity that ends when the test says so."""
    return (yield ctx.call_activity("held", input=value))


WORKFLOWS = (chain, approval, failing, stubborn, parent, waiting_parent, busy)


@dataclass
class Answer:
    """What a command gave."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        assert self.code in (0, 1, 3, 4), self.err
        return json.loads(self.out)

    @property
    def lines(self) -> list[Any]:
        return [json.loads(line) for line in self.out.splitlines()]


def quick(*arguments: str, input: str | None = None, **variables: str) -> Answer:
    """Runs the command in this process."""
    result = CliRunner().invoke(app, list(arguments), input=input, env={"NO_COLOR": "1", **variables})
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "Traceback" not in result.stderr
    return Answer(result.exit_code, result.stdout, result.stderr)


def real(*arguments: str, cwd: Path | None = None, input: str | None = None, **variables: str) -> Answer:
    """Runs the command as a user does, in a process of its own."""
    done = subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=90,
        cwd=cwd,
        env=environment(NO_COLOR="1", **variables),
        check=False,
        **({"stdin": subprocess.DEVNULL} if input is None else {"input": input}),
    )
    assert "Traceback" not in done.stderr
    return Answer(done.returncode, done.stdout, done.stderr)


@dataclass
class Place:
    """A task hub with a worker.

    Attributes:
        options: How the command is told about it.
        client: A client of it.
        gate: What the activity `held` waits for.
        engine: The engine, if it is one of this process.
    """

    options: list[str]
    client: WorkflowClient
    gate: threading.Event
    engine: EmbeddedEngine | None = None

    def run(self, command: str, *arguments: str, **more: Any) -> Answer:
        """Runs a command against it."""
        return quick(command, *arguments, *self.options, **more)

    def finish(self, workflow: str, value: Any = None, *, instance_id: str | None = None) -> str:
        """Runs a workflow to its end."""
        started = self.start(workflow, value, instance_id=instance_id)
        assert self.client.wait_for_workflow_completion(started, timeout_in_seconds=20) is not None
        return started

    def start(self, workflow: str, value: Any = None, *, instance_id: str | None = None) -> str:
        """Starts a workflow, and waits for its first turn."""
        started = self.client.schedule_new_workflow(workflow, input=value, instance_id=instance_id)
        self.client.wait_for_workflow_start(started, timeout_in_seconds=20)
        return started


@contextmanager
def working(runtime: WorkflowRuntime) -> Iterator[threading.Event]:
    """Registers the workflows and runs the worker; gives the gate of the activity that waits."""
    gate = threading.Event()

    def held(ctx: Any, value: Any) -> Any:
        assert gate.wait(20)
        return value

    for function in WORKFLOWS:
        runtime.register_workflow(function, name=function.__name__)
    for activity in (add, boom, held):
        runtime.register_activity(activity, name=activity.__name__)
    with runtime:
        try:
            yield gate
        finally:
            gate.set()


@contextmanager
def served(path: Path | None = None, **options: Any) -> Iterator[Place]:
    """An engine that serves gRPC, in this process."""
    with ExitStack() as stack:
        engine = stack.enter_context(EmbeddedEngine(path, **options))
        port = stack.enter_context(engine.serve()).grpc_port
        gate = stack.enter_context(working(WorkflowRuntime(engine=engine, shutdown_timeout=1)))
        client = stack.enter_context(WorkflowClient(engine=engine))
        yield Place(["--grpc-port", str(port)], client, gate, engine)


@contextmanager
def filled(path: Path) -> Iterator[None]:
    """A file in which instances of every kind are, some of them unfinished; no engine has it open."""
    with served(path) as place:
        place.finish("chain", 2, instance_id="chain-1")
        place.finish("failing", "tea", instance_id="failing-1")
        place.finish("parent", 1, instance_id="parent-1")
        place.start("approval", instance_id="approval-1")
        place.start("approval", instance_id="approval-2")
        place.client.pause_workflow("approval-2")
        place.start("approval", instance_id="approval-3")
        place.client.terminate_workflow("approval-3", output="enough")
    yield
