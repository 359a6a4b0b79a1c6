"""The synchronous client."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine, Iterator
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


class WorkflowClient:
    """Starts workflow instances and manages them; safe to share between threads.

    Without arguments it connects to the Dapr sidecar that the environment names, when it is first used; with
    `engine` it uses an `EmbeddedEngine` of this process. It can be used in a ``with`` statement.

    Methods that take an `app_id` mean an instance of another app with it: of one on the same engine, or one that a Dapr
    sidecar of version 1.18 or newer passes the request on to. Older sidecars ignore it and mean the client's own app.

    Every method that takes an instance id raises `WorkflowNotFoundError` for an unknown one, except the methods that
    return a state: those return None. All of them raise `TaskHubUnavailableError` if nothing answers.
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
        """Connects to nothing yet.

        Args:
            host: Host of the sidecar; ``DAPR_GRPC_ENDPOINT`` or ``DAPR_RUNTIME_HOST`` by default, else 127.0.0.1.
            port: gRPC port of the sidecar; ``DAPR_GRPC_PORT`` by default, else 50001.
            engine: The engine to use instead.
            app_id: The app whose instances are meant where one address serves several, as the engine of this package
                may; in process that is ``engine=engine.app("name")``.
            converter: How payloads are written; JSON by default.

        Raises:
            ValueError: Both `engine` and an address are given, or the address makes no sense.
        """
        hub, self._owned = open_hub(engine, host, port, app_id)
        self._operations = ClientOperations(hub, converter or JsonConverter())
        self._closed = threading.Event()
        self._used = False

    def _call(self, operation: Callable[..., Coroutine[Any, Any, R]], *arguments: Any) -> R:
        if self._closed.is_set():
            raise RuntimeStateError("This WorkflowClient is closed; make a new one.")
        self._used = True
        try:
            return PORTAL.call(operation, *arguments)
        except concurrent.futures.CancelledError as error:
            if not self._closed.is_set():
                raise
            raise RuntimeStateError("This WorkflowClient was closed while a call waited for its answer.") from error

    def schedule_new_workflow(
        self,
        workflow: Callable[..., Any] | str,
        *,
        input: Any = None,
        instance_id: str | None = None,
        start_at: datetime | None = None,
        app_id: str | None = None,
    ) -> str:
        """Starts an instance.

        Args:
            workflow: The workflow's function, or its name.
            input: Its input; anything with a JSON text.
            instance_id: Its id: letters, digits and ``_ - .``, at most 200; a new one by default. The id of a finished
                instance may be used again: the new instance takes its place.
            start_at: When to start; naive means UTC. At once by default, or if it is past.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            The id. A Dapr sidecar answers when the first turn is over, so a worker must be connected there; the
            engine answers when the instance is durable.

        Raises:
            WorkflowAlreadyExistsError: An unfinished instance has the id.
            InvalidOperationError: The id cannot be one.
            PayloadError: The input has no JSON text.
        """
        return self._call(self._operations.start, workflow, input, instance_id, start_at, app_id)

    def get_workflow_state(
        self, instance_id: str, *, fetch_payloads: bool = True, app_id: str | None = None
    ) -> WorkflowState | None:
        """The state of an instance now.

        Args:
            instance_id: Id of the instance.
            fetch_payloads: Whether to bring input, output, custom status and failure details.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            The state, or None if there is no such instance.
        """
        return self._call(self._operations.state, instance_id, fetch_payloads, app_id)

    def wait_for_workflow_start(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = False,
        timeout_in_seconds: float = 0,
        app_id: str | None = None,
    ) -> WorkflowState | None:
        """Waits until an instance has had its first turn.

        Args:
            instance_id: Id of the instance.
            fetch_payloads: Whether to bring input, output, custom status and failure details.
            timeout_in_seconds: How long to wait at most; 0 means for ever.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            The state then, or None if there is no such instance.

        Raises:
            TimeoutError: It has not begun in time.
        """
        return self._call(self._operations.wait_for_start, instance_id, fetch_payloads, timeout_in_seconds, app_id)

    def wait_for_workflow_completion(
        self,
        instance_id: str,
        *,
        fetch_payloads: bool = True,
        timeout_in_seconds: float = 0,
        app_id: str | None = None,
    ) -> WorkflowState | None:
        """Waits until an instance has ended, well or badly.

        Args:
            instance_id: Id of the instance.
            fetch_payloads: Whether to bring input, output, custom status and failure details.
            timeout_in_seconds: How long to wait at most; 0 means for ever.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            The state then, or None if there is no such instance.

        Raises:
            TimeoutError: It has not ended in time.
        """
        return self._call(self._operations.wait_for_completion, instance_id, fetch_payloads, timeout_in_seconds, app_id)

    def raise_workflow_event(
        self, instance_id: str, event_name: str, *, data: Any = None, app_id: str | None = None
    ) -> None:
        """Raises an event for an instance; one that has ended ignores it.

        Args:
            instance_id: Id of the instance.
            event_name: Name of the event; upper and lower case do not matter.
            data: Its payload; anything with a JSON text.
            app_id: The app that the instance belongs to; the client's own by default.
        """
        self._call(self._operations.raise_event, instance_id, event_name, data, app_id)

    def pause_workflow(self, instance_id: str, *, app_id: str | None = None) -> None:
        """Suspends an instance: events and results are kept for it until it is resumed."""
        self._call(self._operations.pause, instance_id, app_id)

    def resume_workflow(self, instance_id: str, *, app_id: str | None = None) -> None:
        """Lets a suspended instance go on."""
        self._call(self._operations.resume, instance_id, app_id)

    def terminate_workflow(
        self, instance_id: str, *, output: Any = None, recursive: bool = True, app_id: str | None = None
    ) -> None:
        """Ends an instance where it stands; running activities are not stopped, and their results are dropped.

        Args:
            instance_id: Id of the instance.
            output: The result it ends with.
            recursive: Whether its child workflows end, too.
            app_id: The app that the instance belongs to; the client's own by default.
        """
        self._call(self._operations.terminate, instance_id, output, recursive, app_id)

    def purge_workflow(self, instance_id: str, recursive: bool = True, *, app_id: str | None = None) -> int:
        """Removes a finished instance and its history.

        Args:
            instance_id: Id of the instance.
            recursive: Whether its child workflows are removed, too.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            How many instances were removed.

        Raises:
            WorkflowNotFinishedError: It still runs.
        """
        return self._call(self._operations.purge, instance_id, recursive, app_id)

    def list_workflow_instance_ids(
        self, *, page_size: int | None = None, continuation_token: str | None = None
    ) -> WorkflowInstanceIdPage:
        """A page of the ids of all instances of the app, finished ones included.

        Args:
            page_size: How many ids to bring at most; the task hub decides by default.
            continuation_token: Of the page before; the first page by default.

        Raises:
            ValueError: `page_size` is less than 1.
            TaskHubError: The sidecar is older than 1.17, or its state store cannot list keys.
        """
        return self._call(self._operations.list_ids, page_size, continuation_token)

    def iter_workflow_instance_ids(self, *, page_size: int = 1024) -> Iterator[str]:
        """The ids of all instances of the app; pages are brought as they are needed.

        Args:
            page_size: How many ids to bring at a time.
        """
        token: str | None = None
        while True:
            page = self.list_workflow_instance_ids(page_size=page_size, continuation_token=token)
            yield from page.instance_ids
            token = page.continuation_token
            if token is None:
                return

    def get_workflow_history(self, instance_id: str) -> list[WorkflowHistoryEvent]:
        """What has happened to an instance since it was started, or last continued as new, oldest first.

        Raises:
            TaskHubError: The sidecar is older than 1.17.
        """
        return self._call(self._operations.history, instance_id)

    def rerun_workflow_from_event(
        self,
        instance_id: str,
        event_id: int,
        *,
        new_instance_id: str | None = None,
        input: Any = UNSET,
        new_child_workflow_instance_id: str | None = None,
        app_id: str | None = None,
    ) -> str:
        """Starts a new instance with the history of a finished one up to a call, which is made again.

        Args:
            instance_id: Id of the finished instance, which stays as it is.
            event_id: Number of the call: `event_id` of an event of its history that `is_rerunnable`.
            new_instance_id: Id of the new instance; a new one by default.
            input: What to call with; as before by default. A timer takes none.
            new_child_workflow_instance_id: Id of the child workflow, if the call starts one.
            app_id: The app that the instance belongs to; the client's own by default.

        Returns:
            The id of the new instance.

        Raises:
            ValueError: `event_id` is no number of a call.
            InvalidOperationError: The instance still runs or is a child workflow, or the call does not take what is
                given.
            WorkflowNotFoundError: There is no such instance, or no such call in its history.
            WorkflowAlreadyExistsError: `new_instance_id` is taken.
        """
        return self._call(
            self._operations.rerun,
            instance_id,
            event_id,
            new_instance_id,
            input,
            new_child_workflow_instance_id,
            app_id,
        )

    def close(self) -> None:
        """Closes the connection. Closing twice does nothing."""
        if not self._closed.is_set():
            self._closed.set()
            if self._owned and self._used:
                PORTAL.call(self._operations.aclose)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # Programs make a client per request and never close it: its channel must not outlive it.
        closed = getattr(self, "_closed", None)
        if closed is not None and self._owned and self._used and not closed.is_set():
            closed.set()
            try:
                asyncio.run_coroutine_threadsafe(self._operations.aclose(), PORTAL.loop)
            except RuntimeError:
                return  # The interpreter ends, and the channel with it.
