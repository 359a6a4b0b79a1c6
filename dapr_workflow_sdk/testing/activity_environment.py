"""One activity, run as a worker runs it, without a workflow."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar, overload

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.authoring.definitions import UNTYPED, Definition, define
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.converter.arguments import read_arguments
from dapr_workflow_sdk.errors import PayloadError, RuntimeStateError

R = TypeVar("R")

_TASK_EXECUTION_ID = "00000000-0000-5000-8000-000000000001"


@dataclass(frozen=True)
class Heartbeat:
    """A sign of life that an activity gave.

    Attributes:
        details: How far it said it was.
        timeout: How long it said the engine should wait for the next one; None for as long as usual.
    """

    details: Any
    timeout: timedelta | None


class ActivityEnvironment:
    """Calls activities with a context as a worker gives it, and keeps what they say meanwhile.

    Inputs and results travel as payloads, so a value that a real workflow could not send or receive fails here, too::

        env = ActivityEnvironment(attempt=2)
        assert env.run(import_rows, "orders.csv") == 1200
        assert env.heartbeats[-1].details == {"row": 1200}
    """

    def __init__(
        self,
        *,
        workflow_id: str = "test-workflow",
        task_id: int = 1,
        task_execution_id: str = _TASK_EXECUTION_ID,
        attempt: int = 1,
        heartbeat_details: Any = None,
        on_heartbeat: Callable[[Any], None] | None = None,
        converter: Converter | None = None,
    ) -> None:
        """Makes an environment, for as many calls as you like.

        Args:
            workflow_id: Id of the workflow instance that calls.
            task_id: Number of the call.
            task_execution_id: Id of the call that stays the same over its retries.
            attempt: 1 for a first run, 2 for its first retry and so on.
            heartbeat_details: What the run before this one said in its last heartbeat.
            on_heartbeat: Called with the details of each heartbeat; it may call `cancel`.
            converter: How payloads are written and read; typed JSON by default.
        """
        self.heartbeats: list[Heartbeat] = []
        self._context = WorkflowActivityContext(workflow_id, task_id, task_execution_id, attempt)
        self._given = heartbeat_details
        self._on_heartbeat = on_heartbeat
        self._converter = converter or JsonConverter()
        self._cancelled = False

    # ---- calls ---------------------------------------------------------------------------------------------

    @overload
    def run(self, activity: Callable[..., Coroutine[Any, Any, R]], input: Any = None) -> R: ...
    @overload
    def run(self, activity: Callable[..., R], input: Any = None) -> R: ...
    def run(self, activity: Callable[..., Any], input: Any = None) -> Any:
        """Runs an activity on this thread; an ``async def`` one on an event loop of its own.

        Args:
            activity: The function, decorated or not.
            input: Its input.

        Returns:
            What it returns, as a workflow would get it.

        Raises:
            PayloadError: The input does not fit the function's annotation, or the result has no JSON text.
            RuntimeStateError: It is async, and an event loop runs here already: await `run_async`.
            Exception: Whatever the activity raises.
        """
        definition = define("activity", activity)
        result = self._begin(definition, input)
        if inspect.isawaitable(result):
            result = _run(result)
        return self._end(definition, result)

    @overload
    async def run_async(self, activity: Callable[..., Coroutine[Any, Any, R]], input: Any = None) -> R: ...
    @overload
    async def run_async(self, activity: Callable[..., R], input: Any = None) -> R: ...
    async def run_async(self, activity: Callable[..., Any], input: Any = None) -> Any:
        """The same on the caller's event loop, for async tests."""
        definition = define("activity", activity)
        result = self._begin(definition, input)
        return self._end(definition, await result if inspect.isawaitable(result) else result)

    def cancel(self) -> None:
        """Tells the activity that it is in vain, as when its workflow is terminated."""
        self._cancelled = True

    def _begin(self, definition: Definition, value: Any) -> Any:
        text = "" if value is None else self._converter.encode(value)
        ctx = WorkflowActivityContext(
            workflow_id=self._context.workflow_id,
            task_id=self._context.task_id,
            task_execution_id=self._context.task_execution_id,
            attempt=self._context.attempt,
            name=definition.name,
            link=_Link(self, definition.name),
        )
        arguments = read_arguments(definition, text, self._converter, ctx.workflow_id)
        return definition.function(ctx, *arguments)

    def _end(self, definition: Definition, value: Any) -> Any:
        if value is None:
            return None
        try:
            text = self._converter.encode(value)
        except PayloadError as error:
            raise PayloadError(
                f"Activity {definition.name!r} ({definition.location}) returned a result that cannot be stored. {error}"
            ) from error
        if definition.result_type is UNTYPED:
            return self._converter.decode(text)
        return self._converter.decode(text, definition.result_type)


class _Link:
    """What ties the activity to its environment."""

    def __init__(self, environment: ActivityEnvironment, name: str) -> None:
        self._environment = environment
        self._name = name

    @property
    def cancelled(self) -> bool:
        return self._environment._cancelled

    def wait_cancelled(self, timeout: float | None) -> bool:
        if timeout is None and not self.cancelled:
            raise RuntimeStateError(
                f"Activity {self._name!r} waits for ever to be cancelled. Call cancel() before it runs, or from "
                "on_heartbeat while it runs."
            )
        return self.cancelled  # Nothing would happen meanwhile, so no time is spent.

    def heartbeat(self, details: Any, timeout: timedelta | None) -> None:
        environment = self._environment
        said = None if details is None else environment._converter.decode(environment._converter.encode(details))
        environment.heartbeats.append(Heartbeat(said, timeout))
        if environment._on_heartbeat is not None:
            environment._on_heartbeat(said)

    def last_details(self) -> Any:
        return self._environment._given


def _run(work: Any) -> Any:
    try:
        asyncio.get_running_loop()
    except RuntimeError:

        async def wait() -> Any:
            return await work

        return asyncio.run(wait())
    if inspect.iscoroutine(work):
        work.close()
    raise RuntimeStateError(
        "An event loop runs here already, as in an async test: use `await env.run_async(activity, input)`."
    )
