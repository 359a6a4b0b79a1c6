"""The client for programs that run on an event loop of their own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from datetime import datetime
from types import TracebackType
from typing import Any, TypeVar

from typing_extensions import Self

from dapr_workflow_sdk.client.history import UNSET, WorkflowHistoryEvent, WorkflowInstanceIdPage
from dapr_workflow_sdk.client.operations import ClientOperations
from dapr_workflow_sdk.client.state import WorkflowState
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.connection import HasHub, open_hub

R = TypeVar("R")


class AsyncWorkflowClient:
    """What `WorkflowClient` does, for ``async`` code: the same methods with the same meaning, to be awaited.

    It may be made anywhere and used on any event loop, also on several. Close it with ``await client.close()`` or use
    it in an ``async with`` statement.
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | str | None = None,
        *,
        engine: HasHub | None = None,
        app_id: str | None = None,
        converter: Converter | None = None,
    ) -> None:
        """Connects to nothing yet; the arguments are those of `WorkflowClient`.

        Raises:
            ValueError: Both `engine` and an address are given, or the address makes no sense.
        """
        hub, self._owned = open_hub(engine, host, port, app_id)
        self._operations = ClientOperations(hub, converter or JsonConverter())
        self._closed = False
        self._used = False

    async def _call(self, operation: Callable[..., Coroutine[Any, Any, R]], *arguments: Any) -> R:
        if self._closed:
            raise RuntimeStateError("This WorkflowClient is closed; make a new one.")
        self._used = True
        return await PORTAL.acall(operation, *arguments)

    async def schedule_new_workflow(
        self,
        workflow: Callable[..., Any] | str,
        *,
        input: Any = None,
        instance_id: str | None = None,
        start_at: datetime | None = None,
        app_id: str | None = None,
    ) -> str:
        """Starts an instance; see `WorkflowClient.schedule_new_workflow`."""
        return await self._call(self._operations.start, workflow, input, instance_id, start_at, app_id)

    async def get_workflow_state(
        self, instance_id: str, *, fetch_payloads: bool = True, app_id: str | None = None
    ) -> WorkflowState | None:
        """The state of an instance now; see `WorkflowClient.get_workflow_state`."""
        return await self._call(self._operations.state, instance_id, fetch_payloads, app_id)

    async def wait_for_workflow_start(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = False,
        timeout_in_seconds: float = 0,
        app_id: str | None = None,
    ) -> WorkflowState | None:
        """Waits until an instance has had its first turn; see `WorkflowClient.wait_for_workflow_start`."""
        return await self._call(
            self._operations.wait_for_start, instance_id, fetch_payloads, timeout_in_seconds, app_id
        )

    async def wait_for_workflow_completion(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = True,
        timeout_in_seconds: float = 0,
        app_id: str | None = None,
    ) -> WorkflowState | None:
        """Waits until an instance has ended; see `WorkflowClient.wait_for_workflow_completion`."""
        return await self._call(
            self._operations.wait_for_completion, instance_id, fetch_payloads, timeout_in_seconds, app_id
        )

    async def raise_workflow_event(
        self, instance_id: str, event_name: str, *, data: Any = None, app_id: str | None = None
    ) -> None:
        """Raises an event for an instance; see `WorkflowClient.raise_workflow_event`."""
        await self._call(self._operations.raise_event, instance_id, event_name, data, app_id)

    async def pause_workflow(self, instance_id: str, *, app_id: str | None = None) -> None:
        """Suspends an instance: events and results are kept for it until it is resumed."""
        await self._call(self._operations.pause, instance_id, app_id)

    async def resume_workflow(self, instance_id: str, *, app_id: str | None = None) -> None:
        """Lets a suspended instance go on."""
        await self._call(self._operations.resume, instance_id, app_id)

    async def terminate_workflow(
        self, instance_id: str, *, output: Any = None, recursive: bool = True, app_id: str | None = None
    ) -> None:
        """Ends an instance where it stands; see `WorkflowClient.terminate_workflow`."""
        await self._call(self._operations.terminate, instance_id, output, recursive, app_id)

    async def purge_workflow(self, instance_id: str, recursive: bool = True, *, app_id: str | None = None) -> int:
        """Removes a finished instance and its history; see `WorkflowClient.purge_workflow`."""
        return await self._call(self._operations.purge, instance_id, recursive, app_id)

    async def list_workflow_instance_ids(
        self, *, page_size: int | None = None, continuation_token: str | None = None
    ) -> WorkflowInstanceIdPage:
        """A page of the ids of all instances; see `WorkflowClient.list_workflow_instance_ids`."""
        return await self._call(self._operations.list_ids, page_size, continuation_token)

    async def iter_workflow_instance_ids(self, *, page_size: int = 1024) -> AsyncIterator[str]:
        """The ids of all instances of the app; pages of `page_size` ids are brought as they are needed."""
        token: str | None = None
        while True:
            page = await self.list_workflow_instance_ids(page_size=page_size, continuation_token=token)
            for instance_id in page.instance_ids:
                yield instance_id
            token = page.continuation_token
            if token is None:
                return

    async def get_workflow_history(self, instance_id: str) -> list[WorkflowHistoryEvent]:
        """What has happened to an instance; see `WorkflowClient.get_workflow_history`."""
        return await self._call(self._operations.history, instance_id)

    async def rerun_workflow_from_event(
        self,
        instance_id: str,
        event_id: int,
        *,
        new_instance_id: str | None = None,
        input: Any = UNSET,
        new_child_workflow_instance_id: str | None = None,
        app_id: str | None = None,
    ) -> str:
        """Starts a new instance with the start of another's history; see `WorkflowClient.rerun_workflow_from_event`."""
        return await self._call(
            self._operations.rerun,
            instance_id,
            event_id,
            new_instance_id,
            input,
            new_child_workflow_instance_id,
            app_id,
        )

    async def close(self) -> None:
        """Closes the connection. Closing twice does nothing."""
        if not self._closed:
            self._closed = True
            if self._owned and self._used:
                await PORTAL.acall(self._operations.aclose)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    def __del__(self) -> None:
        # Its channel must not outlive a client that nobody closed.
        if not getattr(self, "_closed", True) and self._owned and self._used:
            self._closed = True
            try:
                asyncio.run_coroutine_threadsafe(self._operations.aclose(), PORTAL.loop)
            except RuntimeError:
                return  # The interpreter ends, and the channel with it.
