"""What clients do, once: the synchronous face and any other differ only in who waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from datetime import datetime
from typing import Any

from dapr_workflow_sdk.client.history import WorkflowHistoryEvent, WorkflowInstanceIdPage, read_event
from dapr_workflow_sdk.client.requests import Requests
from dapr_workflow_sdk.client.state import WorkflowState, read_state
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import TaskHubError
from dapr_workflow_sdk.taskhub.port import Milestone, TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# Seconds for a look at what holds up an instance that was waited for in vain.
_LOOK = 1.0


class ClientOperations:
    """Client operations over a task hub; each runs on the SDK's own event loop."""

    def __init__(self, hub: TaskHub, converter: Converter) -> None:
        """Uses `hub`, and `converter` for payloads."""
        self._hub = hub
        self._requests = Requests(converter)

    def _at(self, app_id: str | None) -> TaskHub:
        return self._hub if app_id is None else self._hub.for_app(app_id)

    async def start(
        self,
        workflow: Callable[..., Any] | str,
        value: Any,
        instance_id: str | None,
        start_at: datetime | None,
        app_id: str | None,
    ) -> str:
        """Starts an instance."""
        return await self._at(app_id).start(self._requests.start(workflow, value, instance_id, start_at))

    async def state(self, instance_id: str, payloads: bool, app_id: str | None) -> WorkflowState | None:
        """Reads a state."""
        wire = await self._at(app_id).state(instance_id, payloads=payloads)
        return None if wire is None else read_state(wire)

    async def wait_for_start(
        self, instance_id: str, payloads: bool, timeout: float, app_id: str | None
    ) -> WorkflowState | None:
        """Waits for the first turn."""
        return await self._wait(instance_id, Milestone.STARTED, payloads, timeout, app_id)

    async def wait_for_completion(
        self, instance_id: str, payloads: bool, timeout: float, app_id: str | None
    ) -> WorkflowState | None:
        """Waits for the end."""
        return await self._wait(instance_id, Milestone.COMPLETED, payloads, timeout, app_id)

    async def _wait(
        self, instance_id: str, until: Milestone, payloads: bool, timeout: float, app_id: str | None
    ) -> WorkflowState | None:
        waiting = self._at(app_id).wait(instance_id, until, payloads=payloads)
        try:
            wire = await (asyncio.wait_for(waiting, timeout) if timeout > 0 else waiting)
        except asyncio.TimeoutError:
            step = "begun" if until is Milestone.STARTED else "ended"
            hint = "It goes on; is a worker that knows the workflow connected?"
            with contextlib.suppress(TaskHubError, asyncio.TimeoutError):
                state = await asyncio.wait_for(self._at(app_id).state(instance_id, payloads=False), _LOOK)
                if state is not None and state.workflowStatus == pb.WORKFLOW_STATUS_STALLED:
                    hint = f"It is stalled; `dapr-workflow show {instance_id}` tells why, and what lets it go on."
            raise TimeoutError(
                f"Workflow instance {instance_id!r} has not {step} within {timeout:g} s at {self._hub.description}. "
                f"{hint}"
            ) from None
        return None if wire is None else read_state(wire)

    async def raise_event(self, instance_id: str, event_name: str, data: Any, app_id: str | None) -> None:
        """Raises an event."""
        await self._at(app_id).raise_event(self._requests.raise_event(instance_id, event_name, data))

    async def pause(self, instance_id: str, app_id: str | None) -> None:
        """Suspends an instance."""
        await self._at(app_id).suspend(pb.SuspendRequest(instanceId=instance_id))

    async def resume(self, instance_id: str, app_id: str | None) -> None:
        """Resumes an instance."""
        await self._at(app_id).resume(pb.ResumeRequest(instanceId=instance_id))

    async def terminate(self, instance_id: str, output: Any, recursive: bool, app_id: str | None) -> None:
        """Ends an instance."""
        await self._at(app_id).terminate(self._requests.terminate(instance_id, output, recursive))

    async def purge(self, instance_id: str, recursive: bool, app_id: str | None) -> int:
        """Removes an instance."""
        return await self._at(app_id).purge(self._requests.purge(instance_id, recursive))

    async def list_ids(self, page_size: int | None, continuation_token: str | None) -> WorkflowInstanceIdPage:
        """Reads a page of the list of instances."""
        page = await self._hub.list_ids(self._requests.list_ids(page_size, continuation_token))
        token = page.continuationToken if page.HasField("continuationToken") else None
        return WorkflowInstanceIdPage(list(page.instanceIds), token or None)

    async def history(self, instance_id: str) -> list[WorkflowHistoryEvent]:
        """Reads a history."""
        return [read_event(event) for event in await self._hub.history(instance_id)]

    async def rerun(
        self,
        instance_id: str,
        event_id: int,
        new_instance_id: str | None,
        value: Any,
        new_child_id: str | None,
        app_id: str | None,
    ) -> str:
        """Runs an instance again from an event."""
        return await self._at(app_id).rerun(
            self._requests.rerun(instance_id, event_id, new_instance_id, value, new_child_id)
        )

    async def aclose(self) -> None:
        """Closes the task hub."""
        await self._hub.aclose()
