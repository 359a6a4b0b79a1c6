"""A task hub at the other end of a gRPC channel: a Dapr sidecar, or the engine in another process."""

from __future__ import annotations

import asyncio
import copy
import logging
import os
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from dapr_workflow_sdk.errors import TaskHubError, TaskHubUnavailableError, WorkflowNotFoundError
from dapr_workflow_sdk.taskhub.address import Address, AddressError
from dapr_workflow_sdk.taskhub.exchange import MESSAGE_BYTES, WorkerExchange
from dapr_workflow_sdk.taskhub.failures import of_call, unavailable
from dapr_workflow_sdk.taskhub.port import ActivityItem, Capabilities, Milestone, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.trace_context import to_headers
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import FINAL_STATUSES

logger = logging.getLogger("dapr_workflow_sdk.taskhub")

# A sidecar refuses pings more often than every eight seconds, and closes connections idle for longer than minutes.
_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 5_000),
    # Channels of one process would otherwise share their pauses after failures.
    ("grpc.use_local_subchannel_pool", 1),
]
# A completion is answered in milliseconds, but old sidecars hold on to one they do not know for a quarter of an hour.
_COMPLETION_TIMEOUT = 30.0
# A sidecar answers many operations only while a worker of the app is connected; without this it would never say so.
_OPERATION_TIMEOUT = 60.0
_PROBE_TIMEOUT = 5.0
# A wait outlives a restart of the task hub, but not its end.
_LONGEST_OUTAGE = 60.0
# Seconds that a call waits for the connection to a task hub that restarts, and between its tries.
_RECONNECTING = 1.0
_RECONNECT_PAUSE = 0.1
_NOT_SENT = "failed to connect to all addresses"
# A sidecar that starts together with its app needs this long, in seconds, without anybody wondering.
_QUIET_START = 3.0
_WAY_OUT = (
    "Two ways out: start a task hub beside the program (`dapr-workflow run APP.py`, or `dapr run --app-id app -- "
    "python APP.py`), or use one inside it: WorkflowRuntime(engine=EmbeddedEngine('workflows.db')) and "
    "WorkflowClient(engine=...) with the same engine."
)


class GrpcTaskHub:
    """The task hub port over a gRPC channel. All methods are to be called on the SDK's own event loop."""

    def __init__(self, address: Address, *, api_token: str | None = None, app_id: str | None = None) -> None:
        """Opens no connection yet.

        Args:
            address: Where the task hub is.
            api_token: Token that a sidecar may ask for; ``DAPR_API_TOKEN`` by default, read anew at every call.
            app_id: Which app to speak for, if the task hub serves several at this address; only the engine does.
        """
        self._address = address
        self._api_token = api_token
        self._app_id = app_id
        # The app that operations are meant for, if that is another one than the task hub's own.
        self._target = ""
        self._capabilities: Capabilities | None = None
        self._exchange: WorkerExchange | None = None
        self._channel: grpc.aio.Channel | None = None
        self._calls: dict[str, Any] = {}

    @property
    def description(self) -> str:
        """Where this task hub is."""
        return f"{self._address.target} ({self._address.source})"

    @property
    def closed(self) -> bool:
        """Never for good: a sidecar that is gone may come back."""
        return False

    def for_app(self, app_id: str) -> GrpcTaskHub:
        """Sends requests to another app, where the task hub passes them on: Dapr from version 1.18, and the engine."""
        self._open()
        found = copy.copy(self)
        found._target = app_id
        return found

    def _open(self) -> grpc.aio.Channel:
        if self._channel is None:
            if self._address.tls:
                credentials = _tls_credentials()
                self._channel = grpc.aio.secure_channel(self._address.target, credentials, options=_OPTIONS)
            else:
                self._channel = grpc.aio.insecure_channel(self._address.target, options=_OPTIONS)
        return self._channel

    def _metadata(self) -> tuple[tuple[str, str], ...]:
        token = self._api_token or os.environ.get("DAPR_API_TOKEN")
        metadata = (("dapr-api-token", token),) if token else ()
        return (*metadata, ("dapr-app-id", self._app_id)) if self._app_id else metadata

    def _stub(self, method: methods.Method) -> Any:
        call = self._calls.get(method.name)
        if call is None:
            make: Any = self._open().unary_unary
            if method is methods.EXCHANGE:
                make = self._open().stream_stream
            elif method is methods.GET_WORK_ITEMS or method is methods.NOTICES:
                make = self._open().unary_stream
            call = make(
                method.path,
                request_serializer=method.request.SerializeToString,
                response_deserializer=method.response.FromString,
            )
            self._calls[method.name] = call
        return call

    async def _call(
        self,
        method: methods.Method,
        request: Message,
        operation: str,
        instance_id: str = "",
        *,
        timeout: float | None = _OPERATION_TIMEOUT,
        headers: tuple[tuple[str, str], ...] = (),
    ) -> Any:
        if self._target and "router" in request.DESCRIPTOR.fields_by_name:
            to: Any = request
            to.router.targetAppID = self._target
        loop = asyncio.get_running_loop()
        give_up = loop.time() + _RECONNECTING
        while True:
            try:
                return await self._stub(method)(request, metadata=(*self._metadata(), *headers), timeout=timeout)
            except grpc.RpcError as error:
                failure = of_call(error, operation, instance_id, self.description)
                # A channel that has just lost its task hub refuses calls without trying; nothing was sent.
                unsent = failure.code() is grpc.StatusCode.UNAVAILABLE and _NOT_SENT in failure.details()
                if not unsent or method is methods.HELLO or loop.time() > give_up:
                    raise failure from error
            await asyncio.sleep(_RECONNECT_PAUSE)

    async def connect(self, timeout: float) -> None:
        """Waits until the task hub says hello."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        problem = "nothing answered"
        patience = loop.time() + _QUIET_START
        while (left := deadline - loop.time()) > 0:
            try:
                await self._call(methods.HELLO, Empty(), "say hello", timeout=min(left, 5.0))
            except TaskHubUnavailableError as error:
                problem = error.details()
            except TaskHubError as error:
                raise unavailable(f"{self.description} answers, but refuses to talk: {error.details()}") from error
            else:
                return
            if patience <= loop.time():
                patience = deadline
                logger.warning("Nothing answers at %s yet; waiting for it up to %g s.", self.description, timeout)
            await asyncio.sleep(min(0.1, max(0.0, deadline - loop.time())))
        raise unavailable(
            f"No Dapr sidecar and no engine answers at {self.description} within {timeout:g} s: {problem}. {_WAY_OUT}"
        )

    async def start(self, request: pb.CreateInstanceRequest) -> str:
        """Starts an instance."""
        # A sidecar of 1.16 takes the trace from the call alone.
        headers = to_headers(request.parentTraceContext) if request.HasField("parentTraceContext") else ()
        response: pb.CreateInstanceResponse = await self._call(
            methods.START, request, "start workflow", request.instanceId, headers=headers
        )
        return response.instanceId

    async def state(self, instance_id: str, *, payloads: bool) -> pb.WorkflowState | None:
        """Reads the state of an instance."""
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=payloads)
        try:
            response = await self._call(methods.GET, request, "read the state", instance_id)
        except WorkflowNotFoundError:
            return None
        return _state(response)

    async def wait(self, instance_id: str, until: Milestone, *, payloads: bool) -> pb.WorkflowState | None:
        """Waits for an instance; a sidecar would wait for ever for one that does not exist, so that is asked first."""
        method = methods.WAIT_START if until is Milestone.STARTED else methods.WAIT_COMPLETION
        request = pb.GetInstanceRequest(instanceId=instance_id, getInputsAndOutputs=payloads)
        loop = asyncio.get_running_loop()
        pause, failing_since = 0.1, None
        while True:
            began = loop.time()
            try:
                found = await self.state(instance_id, payloads=payloads)
                if found is None or _has_reached(found, until):
                    return found
                return _state(await self._call(method, request, "wait", instance_id, timeout=None))
            except TaskHubError as error:
                # The task hub restarts, or moves its workers: the wait goes on where it was.
                if error.code() not in _PASSING:
                    raise
                if failing_since is None or loop.time() - began > _LONGEST_OUTAGE:
                    pause, failing_since = 0.1, loop.time()
                if loop.time() - failing_since > _LONGEST_OUTAGE:
                    raise
                await asyncio.sleep(pause)
                pause = min(pause * 2, 5.0)

    async def raise_event(self, request: pb.RaiseEventRequest) -> None:
        """Raises an event."""
        await self._call(methods.RAISE_EVENT, request, f"raise event {request.name!r}", request.instanceId)

    async def suspend(self, request: pb.SuspendRequest) -> None:
        """Suspends an instance."""
        await self._call(methods.SUSPEND, request, "pause", request.instanceId)

    async def resume(self, request: pb.ResumeRequest) -> None:
        """Resumes an instance."""
        await self._call(methods.RESUME, request, "resume", request.instanceId)

    async def terminate(self, request: pb.TerminateRequest) -> None:
        """Terminates an instance."""
        await self._call(methods.TERMINATE, request, "terminate", request.instanceId)

    async def purge(self, request: pb.PurgeInstancesRequest) -> int:
        """Purges an instance."""
        response: pb.PurgeInstancesResponse = await self._call(methods.PURGE, request, "purge", request.instanceId)
        return response.deletedInstanceCount

    async def history(self, instance_id: str) -> Sequence[pb.HistoryEvent]:
        """Reads the history of an instance; sidecars before 1.17 have no such call."""
        request = pb.GetInstanceHistoryRequest(instanceId=instance_id)
        response: pb.GetInstanceHistoryResponse = await self._call(
            methods.HISTORY, request, "read the history", instance_id
        )
        return response.events

    async def capabilities(self) -> Capabilities:
        """Finds out by asking: sidecars do not tell their version reliably."""
        if self._capabilities is None:
            if await self._answers(methods.DESCRIBE, pb.DescribeEngineRequest()):
                self._capabilities = Capabilities(lists=True, stalls=True, detaches=True, extensions=True)
            else:
                lists = await self._answers(methods.LIST_IDS, pb.ListInstanceIDsRequest(pageSize=1))
                # A sidecar that knows the newer name ignores a turn that it does not wait for.
                probe = pb.WorkflowResponse(instanceId=f"capability-probe-{uuid.uuid4().hex}")
                detaches = lists and await self._answers(methods.COMPLETE_TURN_NEW, probe)
                self._capabilities = Capabilities(lists=lists, stalls=lists, detaches=detaches, extensions=False)
        return self._capabilities

    async def _answers(self, method: methods.Method, request: Message) -> bool:
        try:
            await self._call(method, request, f"find out about {method.name}", timeout=_PROBE_TIMEOUT)
        except TaskHubUnavailableError:
            raise
        except TaskHubError:
            return False
        return True

    async def list_ids(self, request: pb.ListInstanceIDsRequest) -> pb.ListInstanceIDsResponse:
        """Lists ids; sidecars before 1.17 have no such call."""
        response: pb.ListInstanceIDsResponse = await self._call(methods.LIST_IDS, request, "list instances")
        return response

    async def instances(self, request: pb.ListInstancesRequest) -> pb.ListInstancesResponse:
        """Lists instances; only the engine of this package has this call."""
        response: pb.ListInstancesResponse = await self._call(methods.LIST_INSTANCES, request, "list instances")
        return response

    async def rerun(self, request: pb.RerunWorkflowFromEventRequest) -> str:
        """Runs an instance again from an event."""
        response: pb.RerunWorkflowFromEventResponse = await self._call(
            methods.RERUN, request, "rerun", request.sourceInstanceID
        )
        return response.newInstanceID

    async def describe(self) -> pb.DescribeEngineResponse:
        """Asks the engine about itself."""
        response: pb.DescribeEngineResponse = await self._call(
            methods.DESCRIBE, pb.DescribeEngineRequest(), "ask about the engine"
        )
        return response

    async def workers(self) -> Sequence[pb.WorkerInfo]:
        """Lists workers."""
        response: pb.ListWorkersResponse = await self._call(
            methods.LIST_WORKERS, pb.ListWorkersRequest(), "list workers"
        )
        return response.workers

    async def heartbeat(self, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        """Sends a heartbeat."""
        response: pb.HeartbeatResponse = await self._call(
            methods.HEARTBEAT, request, "send a heartbeat", request.instanceId, timeout=_COMPLETION_TIMEOUT
        )
        return response

    @asynccontextmanager
    async def notices(self, worker_id: str) -> AsyncGenerator[AsyncIterator[pb.Notice], None]:
        """Subscribes to notices."""
        stream = self._stub(methods.NOTICES)(pb.NoticesRequest(workerId=worker_id), metadata=self._metadata())
        try:
            yield self._notices(stream)
        finally:
            stream.cancel()

    async def _notices(self, stream: Any) -> AsyncIterator[pb.Notice]:
        try:
            async for notice in stream:
                yield notice
        except grpc.RpcError as error:
            raise of_call(error, "receive notices", "", self.description) from error

    @asynccontextmanager
    async def work_items(self, offer: WorkerOffer) -> AsyncGenerator[AsyncIterator[WorkItem], None]:
        """Subscribes to work items."""
        request = pb.GetWorkItemsRequest(
            maxConcurrentWorkflowWorkItems=offer.turns,
            maxConcurrentActivityWorkItems=offer.activities,
            capabilities=[pb.WORKER_CAPABILITY_STATEFUL_HISTORY] if offer.stateful else [],
            workerId=offer.worker_id,
            workerIdentity=offer.identity,
        )
        if (await self.capabilities()).extensions:
            async with self._exchanging(request) as items:
                yield items
            return
        stream = self._stub(methods.GET_WORK_ITEMS)(request, metadata=self._metadata())
        try:
            yield self._items(stream)
        finally:
            stream.cancel()

    @asynccontextmanager
    async def _exchanging(self, request: pb.GetWorkItemsRequest) -> AsyncGenerator[AsyncIterator[WorkItem], None]:
        try:
            call = self._stub(methods.EXCHANGE)(metadata=self._metadata())
            await call.write(pb.WorkerMessage(subscribe=request))
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            raise unavailable(f"{self.description} ended the stream of work items: {error}") from error
        exchange = self._exchange = WorkerExchange(call, self.description, _read_item)
        try:
            yield self._exchanged(exchange)
        finally:
            if self._exchange is exchange:
                self._exchange = None
            await exchange.close()

    async def _exchanged(self, exchange: WorkerExchange) -> AsyncIterator[WorkItem]:
        try:
            async for item in exchange.items():
                yield item
        except grpc.RpcError as error:
            raise of_call(error, "receive work items", "", self.description) from error

    async def _items(self, stream: Any) -> AsyncIterator[WorkItem]:
        try:
            async for wire in stream:
                item = _read_item(wire)
                if item is not None:
                    yield item
        except grpc.RpcError as error:
            raise of_call(error, "receive work items", "", self.description) from error

    def complete_turn(self, response: pb.WorkflowResponse) -> Awaitable[None]:
        """Answers a turn."""
        return self._exchanged_answer(response) or self._complete_turn(response)

    def complete_activity(self, response: pb.ActivityResponse) -> Awaitable[None]:
        """Answers an activity."""
        return self._exchanged_answer(response) or self._complete_activity(response)

    def _exchanged_answer(self, response: pb.WorkflowResponse | pb.ActivityResponse) -> asyncio.Future[None] | None:
        if self._exchange is None or not response.completionToken or response.ByteSize() > MESSAGE_BYTES:
            return None
        return self._exchange.send(response)

    async def _complete_turn(self, response: pb.WorkflowResponse) -> None:
        await self._call(
            methods.COMPLETE_TURN, response, "complete a turn", response.instanceId, timeout=_COMPLETION_TIMEOUT
        )

    async def _complete_activity(self, response: pb.ActivityResponse) -> None:
        await self._call(
            methods.COMPLETE_ACTIVITY,
            response,
            "complete an activity",
            response.instanceId,
            timeout=_COMPLETION_TIMEOUT,
        )

    async def aclose(self) -> None:
        """Closes the channel."""
        channel, self._channel = self._channel, None
        self._calls = {}
        if channel is not None:
            await channel.close(None)


def _tls_credentials() -> grpc.ChannelCredentials:
    """Credentials from the files that the environment names; by default, the authorities that gRPC brings."""
    files = {name: os.environ.get(f"DAPR_GRPC_TLS_{name}") for name in ("CA", "CERT", "KEY")}
    if bool(files["CERT"]) != bool(files["KEY"]):
        raise AddressError("DAPR_GRPC_TLS_CERT and DAPR_GRPC_TLS_KEY go together: set both, or neither.")
    try:
        parts = {name: Path(file).read_bytes() if file else None for name, file in files.items()}
    except OSError as error:
        raise AddressError(f"A file for TLS cannot be read: {error}.") from error
    return grpc.ssl_channel_credentials(parts["CA"], parts["KEY"], parts["CERT"])


_PASSING = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.FAILED_PRECONDITION, grpc.StatusCode.CANCELLED)


def _read_item(wire: pb.WorkItem) -> WorkItem | None:
    """An item, or None for one of a kind that this worker does not know."""
    kind = wire.WhichOneof("request")
    if kind == "workflowRequest":
        asked = wire.workflowRequest
        return TurnItem(
            asked.instanceId,
            asked.pastEvents,
            asked.newEvents,
            wire.completionToken,
            asked.cachedHistory.eventCount,
            asked.propagatedHistory if asked.HasField("propagatedHistory") else None,
        )
    if kind == "activityRequest":
        return ActivityItem(wire.activityRequest, wire.completionToken)
    return None


def _has_reached(state: pb.WorkflowState, until: Milestone) -> bool:
    if until is Milestone.STARTED:
        return state.workflowStatus != pb.WORKFLOW_STATUS_PENDING
    return state.workflowStatus in FINAL_STATUSES


def _state(response: pb.GetInstanceResponse) -> pb.WorkflowState | None:
    return response.workflowState if response.exists else None
