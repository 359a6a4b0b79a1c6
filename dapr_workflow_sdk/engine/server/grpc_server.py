"""The worker protocol, served from a hub: the mirror image of `dapr_workflow_sdk.taskhub.channel`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import grpc
import grpc.aio
from google.protobuf.empty_pb2 import Empty

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.errors import RuntimeStateError, TaskHubError
from dapr_workflow_sdk.taskhub.port import Milestone, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

logger = logging.getLogger("dapr_workflow_sdk.engine")

_OPTIONS: list[tuple[str, Any]] = [
    ("grpc.max_receive_message_length", -1),
    ("grpc.max_send_message_length", -1),
    ("grpc.so_reuseport", 0),
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.http2.max_ping_strikes", 0),
]
_GRACE = 0.5

_Context = grpc.aio.ServicerContext[Any, Any]


class GrpcServer:
    """Serves one hub on one port."""

    def __init__(self, hub: EngineHub) -> None:
        """Listens nowhere yet."""
        self._hub = hub
        self._server: grpc.aio.Server | None = None

    async def start(self, host: str, port: int) -> int:
        """Listens, and returns the port.

        Raises:
            RuntimeStateError: The port is taken.
        """
        server = grpc.aio.server(options=_OPTIONS)
        handlers = {method.name: self._unary(method, serve) for method, serve in self._unary_methods().items()}
        handlers[methods.GET_WORK_ITEMS.name] = grpc.unary_stream_rpc_method_handler(
            self._work_items,
            request_deserializer=pb.GetWorkItemsRequest.FromString,
            response_serializer=pb.WorkItem.SerializeToString,
        )
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(methods.SERVICE, handlers),))
        try:
            bound = server.add_insecure_port(f"{host}:{port}")
        except RuntimeError as error:
            bound = 0
            logger.debug("Cannot listen", exc_info=error)
        if not bound:
            raise RuntimeStateError(
                f"Cannot listen for gRPC on {host}:{port}: the port is taken or not allowed. Choose another, or 0 for "
                "any that is free."
            )
        await server.start()
        self._server = server
        return bound

    async def stop(self) -> None:
        """Ends all calls."""
        server, self._server = self._server, None
        if server is not None:
            await server.stop(_GRACE)

    def _unary_methods(self) -> dict[methods.Method, Callable[[Any], Awaitable[Any]]]:
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
        }

    @staticmethod
    def _unary(method: methods.Method, serve: Callable[[Any], Awaitable[Any]]) -> grpc.RpcMethodHandler[Any, Any]:
        async def handle(request: Any, context: _Context) -> Any:
            try:
                return await serve(request)
            except TaskHubError as error:
                await context.abort(error.code(), error.details())

        return grpc.unary_unary_rpc_method_handler(
            handle,
            request_deserializer=method.request.FromString,
            response_serializer=method.response.SerializeToString,
        )

    async def _hello(self, request: Empty) -> Empty:
        return request

    async def _start(self, request: pb.CreateInstanceRequest) -> pb.CreateInstanceResponse:
        return pb.CreateInstanceResponse(instanceId=await self._hub.start(request))

    async def _get(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        return _response(await self._hub.state(request.instanceId, payloads=request.getInputsAndOutputs))

    async def _wait_start(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        payloads = request.getInputsAndOutputs
        return _response(await self._hub.wait(request.instanceId, Milestone.STARTED, payloads=payloads))

    async def _wait_completion(self, request: pb.GetInstanceRequest) -> pb.GetInstanceResponse:
        payloads = request.getInputsAndOutputs
        return _response(await self._hub.wait(request.instanceId, Milestone.COMPLETED, payloads=payloads))

    async def _raise_event(self, request: pb.RaiseEventRequest) -> pb.RaiseEventResponse:
        await self._hub.raise_event(request)
        return pb.RaiseEventResponse()

    async def _terminate(self, request: pb.TerminateRequest) -> pb.TerminateResponse:
        await self._hub.terminate(request)
        return pb.TerminateResponse()

    async def _suspend(self, request: pb.SuspendRequest) -> pb.SuspendResponse:
        await self._hub.suspend(request)
        return pb.SuspendResponse()

    async def _resume(self, request: pb.ResumeRequest) -> pb.ResumeResponse:
        await self._hub.resume(request)
        return pb.ResumeResponse()

    async def _purge(self, request: pb.PurgeInstancesRequest) -> pb.PurgeInstancesResponse:
        response = pb.PurgeInstancesResponse(deletedInstanceCount=await self._hub.purge(request))
        response.isComplete.value = True
        return response

    async def _complete_activity(self, request: pb.ActivityResponse) -> pb.CompleteTaskResponse:
        await self._hub.complete_activity(request)
        return pb.CompleteTaskResponse()

    async def _complete_turn(self, request: pb.WorkflowResponse) -> pb.CompleteTaskResponse:
        await self._hub.complete_turn(request)
        return pb.CompleteTaskResponse()

    async def _history(self, request: pb.GetInstanceHistoryRequest) -> pb.GetInstanceHistoryResponse:
        return pb.GetInstanceHistoryResponse(events=await self._hub.history(request.instanceId))

    async def _work_items(self, request: pb.GetWorkItemsRequest, context: _Context) -> AsyncIterator[pb.WorkItem]:
        offer = WorkerOffer(request.maxConcurrentWorkflowWorkItems, request.maxConcurrentActivityWorkItems)
        # Asked now: once the call has ended, asking its context crashes the process.
        peer = context.peer()
        logger.info("A worker connected from %s", peer)
        try:
            async with self._hub.work_items(offer) as items:
                # The worker learns at once that it is subscribed, not with its first item.
                await context.send_initial_metadata(())
                async for item in items:
                    yield _to_wire(item)
        finally:
            logger.info("The worker at %s is gone", peer)


def _response(state: pb.WorkflowState | None) -> pb.GetInstanceResponse:
    return pb.GetInstanceResponse(exists=state is not None, workflowState=state)


def _to_wire(item: WorkItem) -> pb.WorkItem:
    if isinstance(item, TurnItem):
        asked = pb.WorkflowRequest(instanceId=item.instance_id, pastEvents=item.past, newEvents=item.new)
        return pb.WorkItem(workflowRequest=asked, completionToken=item.token)
    return pb.WorkItem(activityRequest=item.request, completionToken=item.token)
