"""Sends requests that make no sense to an engine, and looks after every batch whether it is still well."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import httpx
from google.protobuf.message import Message

from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.fuzz.requests import METHODS, STREAMS, Maker

_ROOT = Path(__file__).parents[2]
# Calls that wait for an instance are given up after this many seconds; all others must answer within `_PATIENCE`.
_SHORT = 0.05
_PATIENCE = 20.0
_WAITING = ("WaitForInstanceStart", "WaitForInstanceCompletion", "TerminateInstance", "CompleteActivityTask")

_ENGINE = """
import faulthandler, logging, signal, sys, threading
from dapr_workflow_sdk import EmbeddedEngine, WorkflowRuntime
logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
stop = threading.Event()
faulthandler.register(signal.SIGUSR1)
signal.signal(signal.SIGTERM, lambda *_: stop.set())
with EmbeddedEngine(sys.argv[1] or None, synchronous="NORMAL") as engine, engine.serve(http_port=0) as served:
    runtime = WorkflowRuntime("127.0.0.1", served.grpc_port)
    @runtime.activity
    def work(ctx, value=None):
        return value
    @runtime.workflow
    def flow(ctx, value=None):
        return (yield ctx.call_activity(work, input=value))
    @runtime.workflow
    def listens(ctx, value=None):
        return (yield ctx.wait_for_external_event("go"))
    with runtime:
        print(served.grpc_port, served.http_port, flush=True)
        stop.wait()
"""


_MISMATCH = "ERROR dapr_workflow_sdk.worker: Workflow "


class FuzzError(Exception):
    """The engine is not well."""


@dataclass
class Report:
    """What was sent, what came back, and what it cost."""

    cases: int = 0
    seconds: float = 0.0
    answers: Counter[str] = field(default_factory=Counter[str])
    megabytes: list[float] = field(default_factory=list)

    def __str__(self) -> str:
        rate = self.cases / self.seconds if self.seconds else 0.0
        lines = [
            f"{self.cases} cases in {self.seconds:.0f} s ({rate:.0f} a second); no crash, no hang, no error logged",
            f"resident memory of the engine, in MiB, over the batches: {_thinned(self.megabytes)}",
            *(f"  {name}: {count}" for name, count in sorted(self.answers.items())),
        ]
        return "\n".join(lines)


def _thinned(values: list[float]) -> str:
    step = max(1, len(values) // 20)
    return " ".join(f"{value:.0f}" for value in [*values[:-1:step], *values[-1:]])


class Target:
    """An engine in a process of its own, with a worker."""

    def __init__(self, folder: Path, *, file: bool) -> None:
        """Starts it."""
        self.log = folder / "engine.log"
        environment = {name: value for name, value in os.environ.items() if not name.startswith("DAPR_")}
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", _ENGINE, str(folder / "engine.db") if file else ""],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**environment, "PYTHONPATH": str(_ROOT)},
                cwd=folder,
            )
        assert self.process.stdout is not None
        ports = self.process.stdout.readline().split()
        if len(ports) != 2:
            self.stop()
            raise FuzzError(f"The engine did not start:\n{self.log.read_text()[-3000:]}")
        self.grpc_port, self.http_port = map(int, ports)

    def stop(self) -> None:
        """Ends it."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()

    def megabytes(self) -> float:
        """Its resident memory."""
        for line in Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) / 1024
        return 0.0

    def check(self) -> None:
        """Raises a `FuzzError` if it has ended, or has logged an error or a trace."""
        # A worker that answers with nonsense makes histories that fit no code, and the worker with the code says so.
        text = self.log.read_text(errors="replace").replace(_MISMATCH, "a mismatch: Workflow ")
        for sign in ("Traceback", "ERROR ", "CRITICAL "):
            at = text.find(sign)
            if at >= 0 and (sign == "Traceback" or at == 0 or text[at - 1] == "\n"):
                raise FuzzError(f"The engine has logged this:\n{text[max(0, at - 1000) : at + 4000]}")
        if self.process.poll() is not None:
            raise FuzzError(f"The engine has ended with {self.process.returncode}:\n{text[-3000:]}")


@contextlib.contextmanager
def target(folder: Path, *, file: bool) -> Iterator[Target]:
    """An engine, ended with the context."""
    started = Target(folder, file=file)
    try:
        yield started
    finally:
        started.stop()


class Campaign:
    """A number of cases against one engine."""

    def __init__(self, target: Target, seed: int, tell: Callable[[Report], None] | None = None) -> None:
        """Sends nothing yet; `tell` hears of every batch."""
        self._tell = tell
        self._target = target
        self._seed = seed
        self._ids = ("one", "two", "three", "one:0001", "parent")
        self._maker = Maker(seed, self._ids)
        self._health = 0
        self.report = Report()

    async def run(self, cases: int, batch: int) -> Report:
        """Sends that many cases, and looks after every batch."""
        began = time.monotonic()
        options = [("grpc.max_receive_message_length", -1), ("grpc.max_send_message_length", -1)]
        address = f"127.0.0.1:{self._target.grpc_port}"
        limits = httpx.Limits(max_connections=8)
        async with (
            grpc.aio.insecure_channel(address, options=options) as channel,
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{self._target.http_port}",
                trust_env=False,
                timeout=_PATIENCE,
                limits=limits,
            ) as http,
        ):
            while self.report.cases < cases:
                count = min(batch, cases - self.report.cases)
                await self._prepare(channel)
                async with self._greedy_worker(channel):
                    await asyncio.gather(
                        *(self._some(channel, http, count // 16 + (n < count % 16)) for n in range(16))
                    )
                self.report.cases += count
                await self._look(channel)
                self.report.seconds = time.monotonic() - began
                self.report.megabytes.append(self._target.megabytes())
                if self._tell is not None:
                    self._tell(self.report)
        return self.report

    async def _prepare(self, channel: Any) -> None:
        for name in self._ids:
            request = pb.CreateInstanceRequest(instanceId=name, name="listens")
            with contextlib.suppress(grpc.aio.AioRpcError):
                await _call(channel, methods.START, request, pb.CreateInstanceResponse)

    @contextlib.asynccontextmanager
    async def _greedy_worker(self, channel: Any) -> AsyncIterator[None]:
        """A second worker, which answers what it gets with nonsense."""
        stub = channel.unary_stream(
            methods.GET_WORK_ITEMS.path,
            request_serializer=pb.GetWorkItemsRequest.SerializeToString,
            response_deserializer=pb.WorkItem.FromString,
        )

        async def take() -> None:
            while True:
                asked = pb.GetWorkItemsRequest(maxConcurrentWorkflowWorkItems=20, maxConcurrentActivityWorkItems=20)
                call = stub(asked)
                try:
                    async for item in call:
                        self._maker.tokens = [*self._maker.tokens[-20:], item.completionToken]
                        await self._answer(channel, item)
                except grpc.aio.AioRpcError:
                    pass
                finally:
                    # A task that is cancelled while its stream opens leaves it open, and what the engine sends there
                    # would wait for an answer.
                    call.cancel()
                await asyncio.sleep(0.01)

        working = asyncio.create_task(take())
        try:
            yield
        finally:
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working

    async def _answer(self, channel: Any, item: pb.WorkItem) -> None:
        answer: Any
        if item.HasField("workflowRequest"):
            method, answer = methods.COMPLETE_TURN, self._maker.message(pb.WorkflowResponse)
            answer.instanceId = item.workflowRequest.instanceId
        else:
            method, answer = methods.COMPLETE_ACTIVITY, self._maker.message(pb.ActivityResponse)
            answer.instanceId = item.activityRequest.workflowInstance.instanceId
            answer.taskId = item.activityRequest.taskId
        answer.completionToken = item.completionToken
        self.report.answers["turns and activities answered with nonsense"] += 1
        with contextlib.suppress(grpc.aio.AioRpcError):
            await _call(channel, method, answer, pb.CompleteTaskResponse, timeout=0.2)

    async def _some(self, channel: Any, http: httpx.AsyncClient, count: int) -> None:
        for _ in range(count):
            chance = self._maker.random.random()
            if chance < 0.7:
                await self._rpc(channel)
            elif chance < 0.72:
                await self._stream(channel)
            elif chance < 0.97:
                await self._http(http)
            else:
                await self._raw()

    async def _rpc(self, channel: Any) -> None:
        method = self._maker.random.choice(METHODS)
        waits = method.name in _WAITING
        try:
            await channel.unary_unary(method.path)(
                self._maker.rpc(method.request),
                timeout=_SHORT if waits else _PATIENCE,
                metadata=self._maker.metadata(),
            )
            code = "OK"
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if code in ("INTERNAL", "UNKNOWN") or (code == "DEADLINE_EXCEEDED" and not waits):
                raise FuzzError(f"{method.name} answered {code}: {error.details()}") from error
        self.report.answers[f"{method.name} {code}"] += 1

    async def _stream(self, channel: Any) -> None:
        method = self._maker.random.choice(STREAMS)
        call = channel.unary_stream(method.path)(self._maker.rpc(method.request), timeout=_SHORT)
        code = "OK"
        try:
            async for _ in call:
                pass
        except grpc.aio.AioRpcError as error:
            code = error.code().name
            if code in ("INTERNAL", "UNKNOWN"):
                raise FuzzError(f"{method.name} answered {code}: {error.details()}") from error
        self.report.answers[f"{method.name} {code}"] += 1

    async def _http(self, http: httpx.AsyncClient) -> None:
        request = self._maker.http()
        try:
            patience = _SHORT if request.path.endswith("/terminate") else _PATIENCE
            response = await http.request(
                request.method, request.path, headers=request.headers, content=request.body, timeout=patience
            )
        except httpx.TimeoutException:
            if "/terminate" not in request.path:
                raise FuzzError(f"No answer to {request}") from None
            self.report.answers["HTTP given up"] += 1
            return
        except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
            self.report.answers[f"HTTP {type(error).__name__}"] += 1
            return
        if "ERR_INTERNAL" in response.text or (response.status_code >= 500 and "errorCode" not in response.text):
            raise FuzzError(f"{request} was answered with {response.status_code}: {response.text[:2000]}")
        self.report.answers[f"HTTP {response.status_code}"] += 1

    async def _raw(self) -> None:
        data = self._maker.raw_http()

        def exchange() -> bytes:
            with socket.create_connection(("127.0.0.1", self._target.http_port), _PATIENCE) as connection:
                connection.settimeout(0.05)
                try:
                    connection.sendall(data)
                    return connection.recv(64)
                except OSError:
                    return b""

        answer = await asyncio.to_thread(exchange)
        self.report.answers[f"raw HTTP {answer[9:12].decode('latin-1') or 'nothing'}"] += 1

    async def _look(self, channel: Any) -> None:
        """A workflow that makes sense still runs."""
        self._target.check()
        self._health += 1
        name, text = f"health-{self._health}", json.dumps(f"value {self._health}")
        start = pb.CreateInstanceRequest(instanceId=name, name="flow")
        start.input.value = text
        try:
            await _call(channel, methods.START, start, pb.CreateInstanceResponse)
            wait = pb.GetInstanceRequest(instanceId=name, getInputsAndOutputs=True)
            answer = await _call(channel, methods.WAIT_COMPLETION, wait, pb.GetInstanceResponse)
        except grpc.aio.AioRpcError as error:
            what = f"The health workflow got {error.code()}: {error.details()}"
            raise FuzzError(f"{what}\n{await self._symptoms(channel, name)}") from error
        if answer.workflowState.output.value != text:
            raise FuzzError(f"The health workflow ended like this:\n{answer}")
        # What the cases left is forgotten, so that memory that grows is memory that leaks.
        everything = pb.PurgeInstancesRequest(purgeInstanceFilter=pb.PurgeInstanceFilter(), force=True)
        with contextlib.suppress(grpc.aio.AioRpcError):
            await _call(channel, methods.PURGE, everything, pb.PurgeInstancesResponse)
        self._target.check()

    async def _symptoms(self, channel: Any, name: str) -> str:
        """What the engine says of an instance that does not end, and of its workers, and where its threads are."""
        asked = (
            (methods.GET, pb.GetInstanceRequest(instanceId=name), pb.GetInstanceResponse),
            (methods.HISTORY, pb.GetInstanceHistoryRequest(instanceId=name), pb.GetInstanceHistoryResponse),
            (methods.LIST_WORKERS, pb.ListWorkersRequest(), pb.ListWorkersResponse),
        )
        told: list[str] = []
        for method, request, response in asked:
            try:
                told.append(f"{method.name}:\n{await _call(channel, method, request, response)}")
            except grpc.aio.AioRpcError as error:
                told.append(f"{method.name}: {error.code()} {error.details()}")
        self._target.process.send_signal(signal.SIGUSR1)
        await asyncio.sleep(1)
        return "\n".join(told)


async def _call(
    channel: Any, method: methods.Method, request: Message, response: Any, timeout: float = _PATIENCE
) -> Any:
    stub = channel.unary_unary(
        method.path, request_serializer=type(request).SerializeToString, response_deserializer=response.FromString
    )
    return await stub(request, timeout=timeout)


def fuzz(
    folder: Path,
    *,
    cases: int,
    batch: int,
    seed: int,
    file: bool,
    tell: Callable[[Report], None] | None = None,
) -> Report:
    """Runs a campaign against a fresh engine.

    Raises:
        FuzzError: The engine is not well; the message says why, and the log of the engine is in the folder.
    """
    with target(folder, file=file) as engine:
        try:
            return asyncio.run(Campaign(engine, seed, tell).run(cases, batch))
        except FuzzError as error:
            raise FuzzError(
                f"{error}\nThe end of the log:\n{engine.log.read_text(errors='replace')[-4000:]}"
            ) from error
