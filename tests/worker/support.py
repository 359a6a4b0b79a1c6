"""What tests of things that wait have in common: polling, child processes, workers played by hand, odd stores."""

from __future__ import annotations

import asyncio
import functools
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
import grpc.aio
from typing_extensions import Self

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.engine.state import Change
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.port import ActivityItem, Capabilities, TaskHub, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns

T = TypeVar("T")
REPOSITORY = Path(__file__).parents[2]
PATIENCE = 10.0


def eventually(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """Waits until a condition gives something true, and returns it."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        time.sleep(0.005)
    return found


async def soon(condition: Callable[[], T], what: str, timeout: float = PATIENCE) -> T:
    """The same on an event loop."""
    deadline = time.monotonic() + timeout
    while not (found := condition()):
        assert time.monotonic() < deadline, f"not within {timeout} s: {what}"
        await asyncio.sleep(0.002)
    return found


def on_loop(test: Callable[..., Awaitable[None]]) -> Callable[..., None]:
    """Runs an async test on a loop of its own; what falls on the floor there fails it."""

    @functools.wraps(test)
    def run(*arguments: Any, **fixtures: Any) -> None:
        dropped: list[str] = []

        async def main() -> None:
            asyncio.get_running_loop().set_exception_handler(
                lambda _, context: dropped.append(f"{context['message']}: {context.get('exception')!r}")
            )
            await asyncio.wait_for(test(*arguments, **fixtures), 30)

        asyncio.run(main())
        assert dropped == []

    return run


def within(function: Callable[[], T], timeout: float, what: str) -> T:
    """Runs a function that may hang on a thread that nobody has to wait for."""
    results: list[T] = []
    errors: list[BaseException] = []

    def run() -> None:
        try:
            results.append(function())
        except BaseException as error:
            errors.append(error)

    thread = threading.Thread(target=run, daemon=True, name="test-may-hang")
    thread.start()
    thread.join(timeout)
    assert not thread.is_alive(), f"still going after {timeout} s: {what}"
    if errors:
        raise errors[0]
    return results[0]


# ---- child processes -----------------------------------------------------------------------------------------


def environment(**more: str) -> dict[str, str]:
    """The environment of a child: this one without any Dapr settings."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("DAPR_")}
    return {**kept, "PYTHONPATH": str(REPOSITORY), "PYTHONWARNINGS": "error", **more}


def run_python(code: str, *arguments: str, timeout: float = 20, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs Python code in a process of its own until it ends."""
    return subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        env=environment(**more),
        check=False,
    )


class Child:
    """A process whose output is read as it comes."""

    def __init__(self, command: Sequence[str], *, cwd: Path | None = None, **more: str) -> None:
        """Starts it, in a group of its own."""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=environment(**more),
            cwd=cwd,
            start_new_session=True,
        )
        self.out: list[str] = []
        self.err: list[str] = []
        assert self.process.stdout is not None
        assert self.process.stderr is not None
        self._readers = [
            threading.Thread(target=self._read, args=(stream, lines), daemon=True)
            for stream, lines in ((self.process.stdout, self.out), (self.process.stderr, self.err))
        ]
        for reader in self._readers:
            reader.start()

    @staticmethod
    def _read(stream: Any, lines: list[str]) -> None:
        with stream:
            for line in stream:
                lines.append(line.rstrip("\n"))

    @property
    def pid(self) -> int:
        return self.process.pid

    def says(self, start: str, timeout: float = 15) -> str:
        """Waits for a line on either stream that begins like this, and returns the rest of it."""

        def look() -> str | None:
            for line in [*self.out, *self.err]:
                if line.startswith(start):
                    return line
            if self.process.poll() is not None:
                self._join()
                for line in [*self.out, *self.err]:
                    if line.startswith(start):
                        return line
                raise AssertionError(f"ended with {self.process.returncode}: {self.out} {self.err}")
            return None

        found = eventually(look, f"{start!r} from the child; it said {self.out} {self.err}", timeout)
        assert found is not None
        return found.removeprefix(start)

    def ends(self, timeout: float = 15) -> int:
        """Waits for its end and returns its exit status."""
        try:
            status = self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the child goes on after {timeout} s: {self.out} {self.err}") from None
        self._join()
        return status

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(2)

    def kill(self) -> None:
        """Ends it and its children as a crash would."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(10)
        self._join()


@contextmanager
def child(command: Sequence[str], *, cwd: Path | None = None, **more: str) -> Iterator[Child]:
    """A process that does not outlive the test."""
    process = Child(command, cwd=cwd, **more)
    try:
        yield process
    finally:
        process.kill()


@contextmanager
def python_child(code: str, *arguments: str, **more: str) -> Iterator[Child]:
    """Python code in a process that does not outlive the test."""
    with child([sys.executable, "-u", "-c", code, *arguments], cwd=None, **more) as process:
        yield process


def is_alive(pid: int) -> bool:
    """Whether a process exists and is no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


# ---- workers played by hand ----------------------------------------------------------------------------------


class Hand:
    """A worker played by the test; leaving the context ends its stream, as its death would."""

    def __init__(self, hub: TaskHub, turns: int = 0, activities: int = 0) -> None:
        """Offers this much; 0 means no limit."""
        self._hub = hub
        self._offer = WorkerOffer(turns, activities)
        self._stream: AbstractAsyncContextManager[AsyncIterator[WorkItem]] | None = None
        self._items: AsyncIterator[WorkItem] | None = None
        self._next: asyncio.Future[WorkItem] | None = None

    async def __aenter__(self) -> Self:
        self._stream = self._hub.work_items(self._offer)
        self._items = await self._stream.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.leave()

    async def leave(self) -> None:
        """Ends the stream."""
        stream, self._stream = self._stream, None
        if stream is None:
            return
        if self._next is not None:
            self._next.cancel()
            await asyncio.wait([self._next])
            self._next = None
        await stream.__aexit__(None, None, None)

    async def item(self, timeout: float = PATIENCE) -> WorkItem:
        """The next item."""
        item = await self._poll(timeout)
        assert item is not None, f"no work item within {timeout} s"
        return item

    async def _poll(self, timeout: float) -> WorkItem | None:
        assert self._items is not None
        if self._next is None:
            self._next = asyncio.ensure_future(self._items.__anext__())
        await asyncio.wait([self._next], timeout=timeout)
        if not self._next.done():
            return None
        done, self._next = self._next, None
        return done.result()

    async def nothing(self, timeout: float = 0.03) -> None:
        """Makes sure that nothing comes."""
        item = await self._poll(timeout)
        assert item is None, f"an item too many: {item}"

    async def turn(self, timeout: float = PATIENCE) -> TurnItem:
        """The next item, which is a turn."""
        item = await self.item(timeout)
        assert isinstance(item, TurnItem), f"an activity, where a turn was due: {item}"
        # In process the past is the engine's own list, which goes on growing.
        return TurnItem(item.instance_id, list(item.past), list(item.new), item.token)

    async def activity(self, timeout: float = PATIENCE) -> ActivityItem:
        """The next item, which is an activity."""
        item = await self.item(timeout)
        assert isinstance(item, ActivityItem), f"a turn, where an activity was due: {item}"
        return item

    async def answer(self, item: TurnItem, *actions: pb.WorkflowAction, token: str | None = None) -> None:
        """Answers a turn."""
        await self._hub.complete_turn(answer_to(item, *actions, token=token))

    async def finish(self, item: ActivityItem, text: str | None = None, *, token: str | None = None) -> None:
        """Answers an activity."""
        await self._hub.complete_activity(result_of(item, text, token=token))

    async def play(self, *actions: pb.WorkflowAction) -> TurnItem:
        """Takes a turn and answers it."""
        item = await self.turn()
        await self.answer(item, *actions)
        return item


def answer_to(item: TurnItem, *actions: pb.WorkflowAction, token: str | None = None) -> pb.WorkflowResponse:
    """The answer to a turn."""
    return pb.WorkflowResponse(
        instanceId=item.instance_id, actions=actions, completionToken=item.token if token is None else token
    )


def result_of(item: ActivityItem, text: str | None = None, *, token: str | None = None) -> pb.ActivityResponse:
    """The answer to an activity."""
    return pb.ActivityResponse(
        instanceId=item.request.workflowInstance.instanceId,
        taskId=item.request.taskId,
        result=text_of(text),
        completionToken=item.token if token is None else token,
    )


def kinds(events: Sequence[pb.HistoryEvent]) -> list[str]:
    """What the events are."""
    return [event.WhichOneof("eventType") or "" for event in events]


def activity_call(number: int, name: str = "work") -> pb.WorkflowAction:
    """Calls an activity."""
    return pb.WorkflowAction(id=number, scheduleTask=pb.ScheduleTaskAction(name=name))


def timer(number: int, fire_at: int) -> pb.WorkflowAction:
    """Sets a timer, to nanoseconds since 1970."""
    return pb.WorkflowAction(id=number, createTimer=pb.CreateTimerAction(fireAt=timestamp_from_ns(fire_at)))


def child_call(number: int, instance_id: str, name: str = "child") -> pb.WorkflowAction:
    """Starts a child workflow."""
    return pb.WorkflowAction(
        id=number, createChildWorkflow=pb.CreateChildWorkflowAction(instanceId=instance_id, name=name)
    )


def complete(number: int, result: str | None = None, *, failed: str = "") -> pb.WorkflowAction:
    """Ends the instance."""
    end = pb.CompleteWorkflowAction(
        workflowStatus=pb.WORKFLOW_STATUS_FAILED if failed else pb.WORKFLOW_STATUS_COMPLETED,
        result=text_of(result),
        failureDetails=pb.TaskFailureDetails(errorType="ValueError", errorMessage=failed) if failed else None,
    )
    return pb.WorkflowAction(id=number, completeWorkflow=end)


def again(number: int, result: str | None = None, *carried: pb.HistoryEvent) -> pb.WorkflowAction:
    """Continues as new."""
    end = pb.CompleteWorkflowAction(
        workflowStatus=pb.WORKFLOW_STATUS_CONTINUED_AS_NEW, result=text_of(result), carryoverEvents=carried
    )
    return pb.WorkflowAction(id=number, completeWorkflow=end)


# ---- task hubs -------------------------------------------------------------------------------------------------


@dataclass
class Place:
    """An engine, and how workers and clients of a test reach it: in the same process, or over gRPC."""

    kind: str
    engine: EmbeddedEngine
    port: int = 0
    opened: list[Any] = field(default_factory=list[Any])

    def runtime(self, **options: Any) -> WorkflowRuntime:
        """A worker, not started; it is shut down with the test."""
        options = {"shutdown_timeout": 0.5, **options}
        if self.kind == "grpc":
            runtime = WorkflowRuntime("127.0.0.1", self.port, **options)
        else:
            runtime = WorkflowRuntime(engine=self.engine, **options)
        self.opened.append(runtime.shutdown)
        return runtime

    def client(self) -> WorkflowClient:
        """A client; it is closed with the test."""
        client = WorkflowClient("127.0.0.1", self.port) if self.kind == "grpc" else WorkflowClient(engine=self.engine)
        self.opened.append(client.close)
        return client


@contextmanager
def place_of(kind: str, **options: Any) -> Iterator[Place]:
    """An engine in memory, served if that is asked for."""
    with EmbeddedEngine(**options) as engine, ExitStack() as stack:
        place = Place(kind, engine)
        if kind == "grpc":
            place.port = stack.enter_context(engine.serve()).grpc_port
        try:
            yield place
        finally:
            for close in reversed(place.opened):
                close()


class FakeSidecar:
    """A task hub that sends what the test says and answers as it says.

    Attributes:
        items: What each worker is sent when it subscribes.
        refusals: Status and details for completions to come, one each; after them all is well.
        ends: How streams end after their items: a status, or None to stay open.
        hello: How greetings are answered, if not well.
        completions: The completions that were accepted.
        tries: All completions, with the time of each.
        calls: Method and metadata of every call.
    """

    def __init__(self, *items: pb.WorkItem, port: int = 0) -> None:
        self.items = list(items)
        self.refusals: list[tuple[grpc.StatusCode, str]] = []
        self.ends: tuple[grpc.StatusCode, str] | None = None
        self.hello: tuple[grpc.StatusCode, str] | None = None
        self.completions: list[Any] = []
        self.tries: list[tuple[float, Any]] = []
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.port = port
        self._server: grpc.aio.Server | None = None
        self._hang_up = asyncio.Event()

    def __enter__(self) -> Self:
        PORTAL.call(self._start)
        return self

    def __exit__(self, *_: object) -> None:
        PORTAL.call(self._stop)

    def hang_up(self) -> None:
        """Ends all streams well."""
        PORTAL.loop.call_soon_threadsafe(self._hang_up.set)

    @property
    def subscriptions(self) -> int:
        """How often a worker subscribed."""
        return sum(name == methods.GET_WORK_ITEMS.name for name, _ in self.calls)

    async def _start(self) -> None:
        self._server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        handlers: dict[str, Any] = {}
        for method in (methods.HELLO, methods.COMPLETE_TURN, methods.COMPLETE_TURN_NEW, methods.COMPLETE_ACTIVITY):
            handlers[method.name] = self._unary(method)
        handlers[methods.GET_WORK_ITEMS.name] = grpc.unary_stream_rpc_method_handler(
            self._stream,
            request_deserializer=pb.GetWorkItemsRequest.FromString,
            response_serializer=pb.WorkItem.SerializeToString,
        )
        self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(methods.SERVICE, handlers),))
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        await self._server.start()

    async def _stop(self) -> None:
        if self._server is not None:
            await self._server.stop(0)
            self._server = None

    def _note(self, method: methods.Method, context: Any) -> None:
        self.calls.append((method.name, {key: value for key, value in context.invocation_metadata()}))

    def _unary(self, method: methods.Method) -> Any:
        async def handle(request: Any, context: Any) -> Any:
            self._note(method, context)
            if method is methods.HELLO:
                if self.hello is not None:
                    await context.abort(*self.hello)
                return method.response()
            self.tries.append((time.monotonic(), request))
            if self.refusals:
                await context.abort(*self.refusals.pop(0))
            self.completions.append(request)
            return method.response()

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    async def _stream(self, request: pb.GetWorkItemsRequest, context: Any) -> AsyncIterator[pb.WorkItem]:
        self._note(methods.GET_WORK_ITEMS, context)
        await context.send_initial_metadata(())
        for item in list(self.items):
            yield item
        if self.ends is not None:
            await context.abort(*self.ends)
        await self._hang_up.wait()
        self._hang_up.clear()


class StubHub:
    """A task hub of this process that hands out what the test says and notes the answers; only what workers need."""

    description = "a stub"

    def __init__(self, *items: WorkItem) -> None:
        """Sends these items to the first worker."""
        self.items = list(items)
        self.turns: list[pb.WorkflowResponse] = []
        self.results: list[pb.ActivityResponse] = []

    @property
    def hub(self) -> Any:
        """Stands for an engine, too."""
        return self

    closed = False

    async def capabilities(self) -> Capabilities:
        """Has nothing that a worker could do without."""
        return Capabilities(lists=False, stalls=False, detaches=False, extensions=False)

    async def connect(self, timeout: float) -> None:
        """Answers at once."""

    @asynccontextmanager
    async def work_items(self, offer: WorkerOffer) -> AsyncIterator[AsyncIterator[WorkItem]]:
        """Sends the items, and waits for ever."""

        async def items() -> AsyncIterator[WorkItem]:
            sent, self.items = self.items, []
            for item in sent:
                yield item
            await asyncio.Event().wait()

        yield items()

    async def complete_turn(self, response: pb.WorkflowResponse) -> None:
        """Notes it."""
        self.turns.append(response)

    async def complete_activity(self, response: pb.ActivityResponse) -> None:
        """Notes it."""
        self.results.append(response)

    async def aclose(self) -> None:
        """Has nothing to let go of."""


def activity_item(
    name: str, number: int = 1, *, data: str | None = None, instance_id: str = "one", token: str = ""
) -> pb.WorkItem:
    """An activity as a sidecar sends it."""
    request = pb.ActivityRequest(
        name=name, taskId=number, input=text_of(data), workflowInstance=pb.WorkflowInstance(instanceId=instance_id)
    )
    return pb.WorkItem(activityRequest=request, completionToken=token or f"token-{number}")


def turn_item(name: str, *, instance_id: str = "one", data: str | None = None) -> pb.WorkItem:
    """The first turn of an instance as a sidecar sends it."""
    marker = pb.HistoryEvent(eventId=-1, workflowStarted=pb.WorkflowStartedEvent())
    begun = pb.HistoryEvent(
        eventId=-1,
        executionStarted=pb.ExecutionStartedEvent(
            name=name, input=text_of(data), workflowInstance=pb.WorkflowInstance(instanceId=instance_id)
        ),
    )
    asked = pb.WorkflowRequest(instanceId=instance_id, newEvents=[marker, begun])
    return pb.WorkItem(workflowRequest=asked, completionToken="token")


# ---- stores ----------------------------------------------------------------------------------------------------


class FlakyStore(MemoryStore):
    """A store in memory whose commits fail when they are told to.

    Attributes:
        failures: How many of the next commits fail.
        fails_at: Where they do: "sync", as a disk that is full when it is flushed, or "write", when a statement runs.
        attempts: What was to be committed together.
        committed: What was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures = 0
        self.fails_at = "sync"
        self.attempts: list[list[Change]] = []
        self.committed: list[list[Change]] = []
        self._written: list[Change] = []

    def write(self, changes: Sequence[Change]) -> None:
        self.attempts.append(list(changes))
        self._fail_at("write")
        self._written = list(changes)

    def sync(self) -> None:
        written, self._written = self._written, []
        self._fail_at("sync")
        super().write(written)
        self.committed.append(written)

    def _fail_at(self, place: str) -> None:
        if self.failures > 0 and self.fails_at == place:
            self.failures -= 1
            raise OSError(28, "No space left on device")


class SlowStore(FlakyStore):
    """A store whose commits wait, on the committer's thread, until the test opens the gate."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = threading.Event()
        self.gate.set()
        self.entered = threading.Event()

    @property
    def waits(self) -> bool:
        return True

    def sync(self) -> None:
        self.entered.set()
        assert self.gate.wait(10), "the test never opened the gate"
        super().sync()
