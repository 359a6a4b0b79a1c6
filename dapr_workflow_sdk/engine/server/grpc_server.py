"""The worker protocol, served from a hub: the mirror image of `dapr_workflow_sdk.taskhub.channel`."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias
from urllib.parse import quote

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.access import APP_HEADER, TOKEN_HEADER, Access, bracketed
from dapr_workflow_sdk.engine.server.checks import read
from dapr_workflow_sdk.engine.server.exchange import Exchange
from dapr_workflow_sdk.engine.server.limits import Limits, Places
from dapr_workflow_sdk.engine.server.work_items import offer_of, refuse_if_too_large, to_wire
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.errors import RuntimeStateError, TaskHubError
from dapr_workflow_sdk.taskhub.failures import unavailable
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.trace_context import from_headers
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

logger = logging.getLogger("dapr_workflow_sdk.engine")

_OPTIONS: list[tuple[str, Any]] = [
    # A history is as long as its workflow made it; what is not sent is a workflow that can never go on.
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
    ("grpc.server_handshake_timeout_ms", 10_000),
]
_GRACE = 0.5
# Details travel in a header, and callers refuse long ones together with the answer.
_LONGEST_DETAILS = 4000

_Context = grpc.aio.ServicerContext[Any, Any]
_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_Serve: TypeAlias = "Callable[[EngineHub, Any], Awaitable[Any]]"


class GrpcServer:
    """Serves one hub on one port."""

    def __init__(self, hub: EngineHub, access: Access, limits: Limits, waits: Places) -> None:
        """Listens nowhere yet.

        Args:
            hub: What is served.
            access: Where, and to whom.
            limits: How much a call may ask.
            waits: Places for calls that wait for instances.
        """
        self._hub = hub
        self._access = access
        self._limits = limits
        self._waits = waits
        self._streams = Places(limits.worker_streams, "worker streams open")
        self._server: grpc.aio.Server | None = None
        self._workers: set[Subscription] = set()

    async def start(self, port: int) -> int:
        """Listens, and returns the port.

        Raises:
            RuntimeStateError: The port is taken.
        """
        limits = self._limits
        most_calls = 2 * (limits.worker_streams + limits.waiting_calls)
        options = [
            *_OPTIONS,
            ("grpc.max_receive_message_length", limits.message_bytes),
            ("grpc.max_metadata_size", limits.header_bytes),
            ("grpc.absolute_max_metadata_size", limits.header_bytes),
            # Calls beyond it would wait in the caller and nobody would say why, so it is above the limits that do.
            ("grpc.max_concurrent_streams", most_calls),
            # By itself gRPC keeps 1000 calls that the loop has not come to yet, and cancels some of what comes beyond
            # them, without a reason that a caller could be told.
            ("grpc.server.max_pending_requests", most_calls),
            ("grpc.server.max_pending_requests_hard_limit", most_calls),
        ]
        interceptors = [_TokenCheck(self._access)] if self._access.api_token else []
        server = grpc.aio.server(options=options, interceptors=interceptors)
        handlers: dict[str, dict[str, _Handler]] = {methods.SERVICE: {}}
        for method, serve in self._unary_methods().items():
            handlers.setdefault(method.service, {})[method.name] = self._unary(method, serve)
        handlers[methods.EXTENSIONS][methods.NOTICES.name] = grpc.unary_stream_rpc_method_handler(
            self._notices, response_serializer=pb.Notice.SerializeToString
        )
        handlers[methods.EXTENSIONS][methods.EXCHANGE.name] = grpc.stream_stream_rpc_method_handler(
            self._exchange, response_serializer=pb.EngineMessage.SerializeToString
        )
        handlers[methods.SERVICE][methods.GET_WORK_ITEMS.name] = grpc.unary_stream_rpc_method_handler(
            self._work_items, response_serializer=pb.WorkItem.SerializeToString
        )
        server.add_generic_rpc_handlers(
            tuple(grpc.method_handlers_generic_handler(service, served) for service, served in handlers.items())
        )
        address = f"{bracketed(self._access.host)}:{port}"
        try:
            bound = self._listen(server, address)
        except RuntimeError as error:
            bound = 0
            logger.debug("Cannot listen", exc_info=error)
        if not bound:
            raise RuntimeStateError(
                f"Cannot listen for gRPC on {address}: the port is taken or not allowed. Choose another, or 0 for "
                "any that is free."
            )
        # gRPC logs it as an error, with a trace, when a caller leaves at the moment it is answered.
        logging.getLogger("grpc._cython.cygrpc").addFilter(_is_worth_telling)
        await server.start()
        self._server = server
        return bound

    def _listen(self, server: grpc.aio.Server, address: str) -> int:
        access = self._access
        if access.tls_cert is None or access.tls_key is None:
            return server.add_insecure_port(address)
        authorities = None if access.tls_client_ca is None else access.tls_client_ca.read_bytes()
        credentials = grpc.ssl_server_credentials(
            [(access.tls_key.read_bytes(), access.tls_cert.read_bytes())],
            root_certificates=authorities,
            require_client_auth=authorities is not None,
        )
        return server.add_secure_port(address, credentials)

    async def stop(self) -> None:
        """Ends all calls."""
        server, self._server = self._server, None
        for worker in self._workers:
            # Some workers connect again after a stream that ended in order, and not after one that broke.
            worker.end()
        if server is not None:
            await server.stop(_GRACE)

    def _unary_methods(self) -> dict[methods.Method, _Serve]:
        return {
            methods.HELLO: self._hello,
            methods.START: self._start,
            methods.GET: self._get,
            methods.WAIT_START: self._wait_start,
            methods.WAIT_COMPLETION: self._wait_completion,
            methods.RAISE_EVENT: self._raise_event,
            methods.TERMINATE: self._terminate,
            methods.SUSPEND: self._suspend,
            methods.RESUME: self._resume,
            methods.PURGE: self._purge,
            methods.COMPLETE_ACTIVITY: self._complete_activity,
            methods.COMPLETE_TURN: self._complete_turn,
            methods.COMPLETE_TURN_NEW: self._complete_turn,
            methods.HISTORY: self._history,
            methods.LIST_IDS: self._list_ids,
            methods.RERUN: self._rerun,
            methods.ABANDON_ACTIVITY: self._abandon_activity,
            methods.ABANDON_TURN: self._abandon_turn,
            methods.DESCRIBE: self._describe,
            methods.LIST_INSTANCES: self._list_instances,
            methods.LIST_WORKERS: self._list_workers,
            methods.HEARTBEAT: self._heartbeat,
        }

    def _unary(self, method: methods.Method, serve: _Serve) -> _Handler:
        async def handle(data: bytes, context: _Context) -> Any:
            try:
                request = read(method.request, data, self._limits)
                if isinstance(request, pb.CreateInstanceRequest):
                    _join_trace(request, context)
                return await serve(self._hub_for(context, request), request)
            except TaskHubError as error:
                code, details = error.code(), error.details()
            except Exception as error:
                logger.exception("%s failed", method.name)
                code, details = grpc.StatusCode.INTERNAL, f"{method.name} failed: {error!r}"
            return await context.abort(code, _short(details))

        return grpc.unary_unary_rpc_method_handler(handle, response_serializer=method.response.SerializeToString)

    def _hub_for(self, context: _Context, request: Any = None) -> EngineHub:
        """The hub of the app that a call names in its router or its metadata, or that of the port."""
        router = getattr(request, "router", None)
        if router is not None and router.targetAppID:
            return self._hub.for_app(router.targetAppID)
        metadata: Any = context.invocation_metadata() or ()
        for key, value in metadata:
            if key == APP_HEADER:
                return self._hub.for_app(value)
        return self._hub

    async def _hello(self, hub: EngineHub, request: Empty) -> Empty:
        return request

    async def _start(self, hub: EngineHub, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        return pb.CreateInstanceResponse(instanceId=await hub.start(request))

    async def _get(self, hub: EngineHub, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        return _response(await hub.state(request.instanceId, payloads=request.getInputsAndOutputs))

    async def _wait_start(self, hub: EngineHub, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        payloads = request.getInputsAndOutputs
        with self._waits.one():
            return _response(await hub.wait(request.instanceId, Milestone.STARTED, payloads=payloads))

    async def _wait_completion(self, hub: EngineHub, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        payloads = request.getInputsAndOutputs
        with self._waits.one():
            return _response(await hub.wait(request.instanceId, Milestone.COMPLETED, payloads=payloads))

    async def _raise_event(self, hub: EngineHub, request: pb.RaiseEventRequest) -> pb.RaiseEventResponse:
        await hub.raise_event(request)
        return pb.RaiseEventResponse()

    async def _terminate(self, hub: EngineHub, request: pb.TerminateRequest) -> pb.TerminateResponse:
        with self._waits.one():
            await hub.terminate(request)
        return pb.TerminateResponse()

    async def _suspend(self, hub: EngineHub, request: pb.SuspendRequest) -> pb.SuspendResponse:
        await hub.suspend(request)
        return pb.SuspendResponse()

    async def _resume(self, hub: EngineHub, request: pb.ResumeRequest) -> pb.ResumeResponse:
        await hub.resume(request)
        return pb.ResumeResponse()

    async def _purge(self, hub: EngineHub, request: pb.PurgeInstancesRequest) -> pb.PurgeInstancesResponse:
        response = pb.PurgeInstancesResponse(deletedInstanceCount=await hub.purge(request))
        response.isComplete.value = True
        return response

    async def _complete_activity(self, hub: EngineHub, request: pb.ActivityResponse) -> pb.CompleteTaskResponse:
        # Workers of other SDKs wait for this before they take another item, so it must not wait for the next turn,
        # which may be such an item. Nothing is lost by that: until the result is durable the activity is, too.
        done = hub.complete_activity(request)
        if done.done():
            done.result()
        else:
            done.add_done_callback(_look_at)
        return pb.CompleteTaskResponse()

    async def _complete_turn(self, hub: EngineHub, request: pb.WorkflowResponse) -> pb.CompleteTaskResponse:
        await hub.complete_turn(request)
        return pb.CompleteTaskResponse()

    async def _history(self, hub: EngineHub, request: pb.GetInstanceHistoryRequest) -> pb.GetInstanceHistoryResponse:
        return pb.GetInstanceHistoryResponse(events=await hub.history(request.instanceId))

    async def _list_ids(self, hub: EngineHub, request: pb.ListInstanceIDsRequest) -> pb.ListInstanceIDsResponse:
        return await hub.list_ids(request)

    async def _rerun(
        self, hub: EngineHub, request: pb.RerunWorkflowFromEventRequest
    ) -> pb.RerunWorkflowFromEventResponse:
        return pb.RerunWorkflowFromEventResponse(newInstanceID=await hub.rerun(request))

    async def _abandon_activity(
        self, hub: EngineHub, request: pb.AbandonActivityTaskRequest
    ) -> pb.AbandonActivityTaskResponse:
        await hub.abandon(request.completionToken, turn=False)
        return pb.AbandonActivityTaskResponse()

    async def _abandon_turn(
        self, hub: EngineHub, request: pb.AbandonWorkflowTaskRequest
    ) -> pb.AbandonWorkflowTaskResponse:
        await hub.abandon(request.completionToken, turn=True)
        return pb.AbandonWorkflowTaskResponse()

    async def _describe(self, hub: EngineHub, request: pb.DescribeEngineRequest) -> pb.DescribeEngineResponse:
        return await hub.describe()

    async def _list_instances(self, hub: EngineHub, request: pb.ListInstancesRequest) -> pb.ListInstancesResponse:
        return await hub.instances(request)

    async def _list_workers(self, hub: EngineHub, request: pb.ListWorkersRequest) -> pb.ListWorkersResponse:
        return pb.ListWorkersResponse(workers=await hub.workers())

    async def _heartbeat(self, hub: EngineHub, request: pb.HeartbeatRequest) -> pb.HeartbeatResponse:
        return await hub.heartbeat(request)

    async def _notices(self, data: bytes, context: _Context) -> None:
        try:
            request = read(pb.NoticesRequest, data, self._limits)
            with self._streams.one():
                async with self._hub_for(context).notices(request.workerId) as notices:
                    await context.send_initial_metadata(())
                    async for notice in notices:
                        await context.write(notice)
            return
        except TaskHubError as error:
            code, details = error.code(), error.details()
        await context.abort(code, _short(details))

    async def _work_items(self, data: bytes, context: _Context) -> None:
        try:
            request = read(pb.GetWorkItemsRequest, data, self._limits)
            with self._streams.one():
                code, details = await self._send_items(request, context)
        except TaskHubError as error:
            code, details = error.code(), error.details()
        if code is not grpc.StatusCode.OK:
            await context.abort(code, _short(details))

    async def _send_items(self, request: pb.GetWorkItemsRequest, context: _Context) -> tuple[grpc.StatusCode, str]:
        hub = self._hub_for(context)
        async with self._subscribed(hub, request, context) as (worker, writer):
            async for item in worker.items():
                wire = to_wire(item)
                if not await refuse_if_too_large(hub, item, wire.ByteSize(), self._limits):
                    await writer.write(wire)
        return grpc.StatusCode.OK, ""

    async def _exchange(self, _: Any, context: _Context) -> None:
        try:
            data: Any = await context.read()
            first = read(pb.WorkerMessage, b"" if data is grpc.aio.EOF else data, self._limits)
            with self._streams.one():
                await self._trade(first.subscribe, context)
            return
        except TaskHubError as error:
            code, details = error.code(), error.details()
        await context.abort(code, _short(details))

    async def _trade(self, request: pb.GetWorkItemsRequest, context: _Context) -> None:
        hub = self._hub_for(context)
        async with self._subscribed(hub, request, context) as (worker, writer):
            exchange = Exchange(hub, worker, self._limits, writer.write)
            work = (exchange.read_answers(context), exchange.write_items())
            both = [asyncio.ensure_future(each) for each in work]
            try:
                ended, _ = await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for task in ended:
                    task.result()
            finally:
                for task in both:
                    task.cancel()
                await asyncio.gather(*both, return_exceptions=True)

    @asynccontextmanager
    async def _subscribed(
        self, hub: EngineHub, request: pb.GetWorkItemsRequest, context: _Context
    ) -> AsyncGenerator[tuple[Subscription, _Writer], None]:
        # Asked now: once the call has ended, asking its context crashes the process.
        peer = context.peer()
        logger.info("A worker connected from %s", peer)
        try:
            async with AsyncExitStack() as stack:
                worker = await stack.enter_async_context(hub.subscription(offer_of(request, peer)))
                self._workers.add(worker)
                stack.callback(self._workers.discard, worker)
                # The worker learns at once that it is subscribed, not with its first item.
                await context.send_initial_metadata(())
                yield worker, _Writer(context, stack, self._limits.send_seconds, peer)
        finally:
            logger.info("The worker at %s is gone", peer)


class _Writer:
    """Writes to a worker, and unsubscribes one that does not read."""

    def __init__(self, context: _Context, subscription: AsyncExitStack, seconds: float, peer: str) -> None:
        self._context = context
        self._subscription = subscription
        self._seconds = seconds
        self._peer = peer
        self._loop = asyncio.get_running_loop()
        self._leaving: asyncio.Task[None] | None = None

    async def write(self, message: Message) -> None:
        # A write that waits for the worker cannot be broken off; it ends when the worker reads again or its connection
        # breaks. Others get the items of the worker before that.
        patience = self._loop.call_later(self._seconds, self._give_up)
        try:
            await self._context.write(message)
        finally:
            patience.cancel()
        if self._leaving is not None:
            await self._leaving
            raise unavailable(f"The worker took nothing for {self._seconds:g} s. Connect again.")

    def _give_up(self) -> None:
        logger.warning(
            "The worker at %s takes nothing for %g s: others get its items, and it must connect again.",
            self._peer,
            self._seconds,
        )
        self._leaving = self._loop.create_task(self._subscription.aclose())


class _TokenCheck(grpc.aio.ServerInterceptor):
    """Answers calls without the right token before anything of them is read."""

    def __init__(self, access: Access) -> None:
        self._access = access

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:
        metadata: Any = handler_call_details.invocation_metadata
        token = next((value for key, value in metadata if key == TOKEN_HEADER), None)
        if self._access.accepts_token(token):
            return await continuation(handler_call_details)
        return _REFUSAL


async def _refuse(_: Any, context: _Context) -> None:
    await context.abort(
        grpc.StatusCode.UNAUTHENTICATED,
        "Unauthorized: this engine asks for an API token, and the call has none or a wrong one. Set DAPR_API_TOKEN.",
    )


# A handler of a stream of requests is called before the first one is read.
_REFUSAL: _Handler = grpc.stream_unary_rpc_method_handler(_refuse)


def _is_worth_telling(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("ExecuteBatchError raised in core")


def _look_at(done: asyncio.Future[None]) -> None:
    if not done.cancelled():
        done.exception()


def _join_trace(request: pb.CreateInstanceRequest, context: _Context) -> None:
    """Clients that are instrumented for gRPC, and know nothing else of traces, send theirs in the metadata."""
    if request.HasField("parentTraceContext"):
        return
    metadata: Any = context.invocation_metadata() or ()
    found = from_headers((key, value) for key, value in metadata if isinstance(value, str))
    if found is not None:
        request.parentTraceContext.CopyFrom(found)


def _short(details: str) -> str:
    # Headers have every character that is not ASCII in three to twelve.
    while len(quote(details)) > _LONGEST_DETAILS:
        details = details[: len(details) // 2] + "..."
    return details


def _response(state: pb.WorkflowState | None) -> pb.GetInstanceResponse:
    return pb.GetInstanceResponse(exists=state is not None, workflowState=state)
