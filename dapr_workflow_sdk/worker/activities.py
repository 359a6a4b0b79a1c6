"""Running activities."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.converter.arguments import read_arguments
from dapr_workflow_sdk.errors import ActivityNotRegisteredError, PayloadError, describe_failure
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_to_wire
from dapr_workflow_sdk.worker.links import ActivityLinks, Link
from dapr_workflow_sdk.worker.threads import ActivityThreads
from dapr_workflow_sdk.worker.traces import enter, leave

logger = logging.getLogger("dapr_workflow_sdk.worker")


class ActivityRunner:
    """Turns activity requests into responses; a failure of any kind is a response, too."""

    def __init__(
        self,
        registry: Registry,
        converter: Converter,
        threads: ActivityThreads,
        links: ActivityLinks,
        caller_loop: asyncio.AbstractEventLoop | None = None,
    ) -> None:
        """Makes a runner.

        Args:
            registry: Where activities are found.
            converter: How payloads are read and written.
            threads: Where plain functions run.
            links: What ties running activities to the task hub.
            caller_loop: Where ``async def`` activities run; the loop of the worker by default.
        """
        self._registry = registry
        self._converter = converter
        self._threads = threads
        self._links = links
        self._caller_loop = caller_loop
        # Set before running activities are cancelled; without it a cancellation is the activity's own doing.
        self.stopping = False

    async def run(self, request: pb.ActivityRequest, token: str) -> pb.ActivityResponse:
        """Runs one activity.

        Raises:
            asyncio.CancelledError: The worker stops and gives the activity up.
        """
        response = pb.ActivityResponse(
            instanceId=request.workflowInstance.instanceId, taskId=request.taskId, completionToken=token
        )
        link = self._links.open(request, token)
        trace = enter(request.parentTraceContext) if request.HasField("parentTraceContext") else None
        try:
            text = await self._result(request, link)
        except asyncio.CancelledError:
            if self.stopping:
                raise
            failure = describe_failure(RuntimeError(f"Activity {request.name!r} was cancelled."))
            response.failureDetails.CopyFrom(failure_to_wire(failure))
        except BaseException as error:
            logger.debug("Activity %s of %s failed", request.name, response.instanceId, exc_info=True)
            response.failureDetails.CopyFrom(failure_to_wire(describe_failure(error)))
        else:
            if text is not None:
                response.result.value = text
        finally:
            if trace is not None:
                leave(trace)
            self._links.close(link)
        return response

    async def _result(self, request: pb.ActivityRequest, link: Link) -> str | None:
        instance_id = request.workflowInstance.instanceId
        definition = self._registry.find("activity", request.name)
        if definition is None:
            known = ", ".join(self._registry.names("activity")) or "none"
            raise ActivityNotRegisteredError(
                f"Activity {request.name!r}, called by instance {instance_id!r}, is not registered on this worker. "
                f"Registered: {known}. Register it with @activity or runtime.register_activity(), under that name."
            )
        context = WorkflowActivityContext(
            workflow_id=instance_id,
            task_id=request.taskId,
            task_execution_id=request.taskExecutionId,
            attempt=request.attempt or None,
            name=request.name,
            link=link,
        )
        arguments = (context, *read_arguments(definition, request.input.value, self._converter, instance_id))
        if definition.is_coroutine:
            value = await self._await(definition.function(*arguments))
        else:
            value = await self._threads.run(definition.function, *arguments)
            if inspect.isawaitable(value):
                # A plain function that returns a coroutine: a partial or a wrapper of an async activity.
                value = await self._await(value)
        if value is None:
            return None
        try:
            return self._converter.encode(value)
        except PayloadError as error:
            raise PayloadError(
                f"Activity {definition.name!r} ({definition.location}), called by instance {instance_id!r}, returned a "
                f"result that cannot be stored. {error}"
            ) from error

    async def _await(self, work: Any) -> Any:
        if self._caller_loop is None or self._caller_loop is asyncio.get_running_loop():
            return await work
        on_their_loop = asyncio.run_coroutine_threadsafe(_outcome(work), self._caller_loop)
        value, error = await asyncio.wrap_future(on_their_loop)
        if error is not None:
            raise error
        return value


async def _outcome(work: Any) -> tuple[Any, BaseException | None]:
    """Result and error of an activity on the caller's loop, which errors such as SystemExit would end."""
    try:
        return await work, None
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 - it is raised again where the call is answered
        return None, error
