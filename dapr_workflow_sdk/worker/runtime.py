"""The worker as an application sees it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import uuid
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from typing_extensions import Self

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import NotSupportedError, RuntimeStateError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.taskhub.connection import HasHub, check_engine, open_hub
from dapr_workflow_sdk.taskhub.port import TaskHub, WorkerOffer
from dapr_workflow_sdk.worker.activities import ActivityRunner
from dapr_workflow_sdk.worker.dispatcher import Dispatcher
from dapr_workflow_sdk.worker.links import ActivityLinks
from dapr_workflow_sdk.worker.poller import Poller
from dapr_workflow_sdk.worker.threads import ActivityThreads
from dapr_workflow_sdk.worker.watchdog import TurnWatchdog

if TYPE_CHECKING:
    from dapr_workflow_sdk.linting.findings import Finding

logger = logging.getLogger("dapr_workflow_sdk.worker")

F = TypeVar("F", bound=Callable[..., Any])

_ACTIVITIES = 100
_TURNS = 1000
_PARKED = 1000
_SLOW_TURN = 1.0


class WorkflowRuntime:
    """Runs the workflows and activities of this process for a task hub.

    Without arguments it connects to the Dapr sidecar that the environment names; with `engine` it works for an
    `EmbeddedEngine` of this process. It finds functions decorated with the module-level `workflow` and `activity`
    by itself, and those registered on it. It may be started again after it was shut down.

    Example::

        with WorkflowRuntime() as runtime:
            ...
    """

    def __init__(
        self,
        host: str | None = None,
        port: int | str | None = None,
        *,
        engine: HasHub | None = None,
        app_id: str | None = None,
        converter: Converter | None = None,
        maximum_concurrent_activity_work_items: int | None = None,
        maximum_concurrent_orchestration_work_items: int | None = None,
        maximum_thread_pool_workers: int | None = None,
        max_parked_instances: int | None = None,
        on_nondeterminism: Literal["stall", "fail"] | None = None,
        worker_ready_timeout: float = 30.0,
        shutdown_timeout: float = 10.0,
        lint: bool = True,
    ) -> None:
        """Connects to nothing yet.

        Args:
            host: Host of the sidecar; ``DAPR_GRPC_ENDPOINT`` or ``DAPR_RUNTIME_HOST`` by default, else 127.0.0.1.
            port: gRPC port of the sidecar; ``DAPR_GRPC_PORT`` by default, else 50001.
            engine: The engine to work for instead.
            app_id: The app to work for where one address serves several, as the engine of this package may; in
                process that is ``engine=engine.app("name")``.
            converter: How payloads are written and read; typed JSON by default.
            maximum_concurrent_activity_work_items: How many activities run at a time; 100 by default.
            maximum_concurrent_orchestration_work_items: How many turns the worker asks the engine for at a time; 1000
                by default. Turns run one after the other, each for microseconds.
            maximum_thread_pool_workers: How many threads run activities that are plain functions; as many as
                activities may run, by default.
            max_parked_instances: How many waiting instances stay in memory, so that their next turn need not replay
                their history; 1000 by default, 0 for none.
            on_nondeterminism: What becomes of an instance whose history the code does not match. With "stall", which is
                the default, it stands still with the explanation as its reason, and goes on when a worker connects
                whose code matches; with "fail" it ends. A Dapr sidecar cannot let it stall, so there it fails.
            worker_ready_timeout: Seconds that `start` waits for the task hub.
            shutdown_timeout: Seconds that `shutdown` waits for running activities.
            lint: Whether `start` warns of code in workflows that breaks on replay (`WorkflowLintWarning`). The
                environment variable ``DAPR_WORKFLOW_LINT=off`` switches it off as well.

        Raises:
            ValueError: A number is too small, both `engine` and an address are given, or `on_nondeterminism` is none of
                its values.
        """
        self._converter = converter or JsonConverter()
        self._registry = Registry()
        self._engine = engine
        self._host = host
        self._port = port
        self._app_id = app_id
        self._activities = _positive(
            "maximum_concurrent_activity_work_items", maximum_concurrent_activity_work_items, _ACTIVITIES
        )
        self._turns = _positive(
            "maximum_concurrent_orchestration_work_items", maximum_concurrent_orchestration_work_items, _TURNS
        )
        self._threads = _positive("maximum_thread_pool_workers", maximum_thread_pool_workers, self._activities)
        self._parked = _PARKED if max_parked_instances is None else max_parked_instances
        if on_nondeterminism not in (None, "stall", "fail"):
            raise ValueError(f'on_nondeterminism must be "stall" or "fail", not {on_nondeterminism!r}.')
        self._on_nondeterminism = on_nondeterminism
        self._ready_timeout = worker_ready_timeout
        self._shutdown_timeout = shutdown_timeout
        self._lint = lint
        self._running: _Running | None = None
        check_engine(engine, host, port, app_id)

    # ---- registration --------------------------------------------------------------------------------------

    def register_workflow(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        """Registers a workflow, under its own name or another; also while the worker runs.

        Raises:
            RegistrationError: It cannot be a workflow, or another function has the name.
        """
        self._registry.add("workflow", function, name)
        if self._running is not None:
            self._warn(self._findings(function))

    def register_activity(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        """Registers an activity, under its own name or another; also while the worker runs.

        Raises:
            RegistrationError: It cannot be an activity, or another function has the name.
        """
        self._registry.add("activity", function, name)

    def register_versioned_workflow(
        self, function: Callable[..., Any], *, name: str, version_name: str | None = None, is_latest: bool
    ) -> None:
        """Registers one of several versions of a workflow, also while the worker runs.

        An instance stays with the version that it began with, however long it takes. One whose version no worker has
        stalls until a worker has it.

        Args:
            function: The version.
            name: Name of the workflow, by which instances are started.
            version_name: Name of the version, as histories keep it; the function's own name by default.
            is_latest: Whether new instances begin with it. The version that was registered last with True is the one.

        Raises:
            RegistrationError: It cannot be a workflow, or another function is this version.
            NotSupportedError: The worker runs for a Dapr sidecar before 1.17, which does not keep versions.
        """
        running = self._running
        if running is not None and not running.dispatcher.versions:
            raise _no_versions(running.hub)
        self._registry.add_version(function, name, version_name, is_latest=is_latest)
        if running is not None:
            self._warn(self._findings(function))

    @overload
    def versioned_workflow(self, function: F, *, name: str, version_name: str | None = None, is_latest: bool) -> F: ...
    @overload
    def versioned_workflow(
        self, *, name: str, version_name: str | None = None, is_latest: bool
    ) -> Callable[[F], F]: ...
    def versioned_workflow(
        self, function: F | None = None, *, name: str, version_name: str | None = None, is_latest: bool
    ) -> F | Callable[[F], F]:
        """Decorates a version of a workflow; see `register_versioned_workflow`. The function stays as it is."""

        def decorate(decorated: F) -> F:
            self.register_versioned_workflow(decorated, name=name, version_name=version_name, is_latest=is_latest)
            return decorated

        return decorate if function is None else decorate(function)

    @overload
    def workflow(self, function: F) -> F: ...
    @overload
    def workflow(self, *, name: str | None = None) -> Callable[[F], F]: ...
    def workflow(self, function: F | None = None, *, name: str | None = None) -> F | Callable[[F], F]:
        """Decorates a function and registers it as a workflow of this worker; the function stays as it is."""
        return self._decorate(self.register_workflow, function, name)

    @overload
    def activity(self, function: F) -> F: ...
    @overload
    def activity(self, *, name: str | None = None) -> Callable[[F], F]: ...
    def activity(self, function: F | None = None, *, name: str | None = None) -> F | Callable[[F], F]:
        """Decorates a function and registers it as an activity of this worker; the function stays as it is."""
        return self._decorate(self.register_activity, function, name)

    @staticmethod
    def _decorate(register: Callable[..., None], function: F | None, name: str | None) -> F | Callable[[F], F]:
        def decorate(decorated: F) -> F:
            register(decorated, name=name)
            return decorated

        return decorate if function is None else decorate(function)

    # ---- life ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Connects and starts working; returns when work items can arrive.

        Raises:
            TaskHubUnavailableError: No task hub answered within `worker_ready_timeout`.
            RuntimeStateError: The worker runs already.
        """
        self._warn(self._findings())
        PORTAL.call(self._start, None)

    def shutdown(self) -> None:
        """Stops taking work, waits for running activities up to `shutdown_timeout`, and disconnects.

        What did not finish in time runs again on another worker, or on this one when it is started again. Calling it
        on a stopped worker does nothing.
        """
        PORTAL.call(self._stop)

    def wait_for_worker_ready(self, timeout: float = 30.0) -> bool:
        """Waits until the worker is connected.

        Args:
            timeout: Seconds to wait at most.

        Returns:
            Whether it is.
        """
        return PORTAL.call(self._wait_ready, timeout)

    def is_worker_ready(self) -> bool:
        """Whether the worker is connected."""
        return self._running is not None and self._running.poller.subscribed.is_set()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()

    async def __aenter__(self) -> Self:
        # Reading source takes milliseconds that the caller's loop need not wait for.
        self._warn(await asyncio.to_thread(self._findings))
        await PORTAL.acall(self._start, asyncio.get_running_loop())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await PORTAL.acall(self._stop)

    def _findings(self, function: Callable[..., Any] | None = None) -> list[Finding]:
        """What the linter finds in one workflow, or in all that this worker can run."""
        if not self._lint:
            return []
        from dapr_workflow_sdk.linting.registration import find_in, is_on, workflows_of

        if not is_on():
            return []
        return find_in(workflows_of(self._registry) if function is None else [function])

    @staticmethod
    def _warn(findings: list[Finding]) -> None:
        if findings:
            from dapr_workflow_sdk.linting.registration import warn_about

            warn_about(findings)

    async def _start(self, caller_loop: asyncio.AbstractEventLoop | None) -> None:
        if self._running is not None:
            raise RuntimeStateError("This WorkflowRuntime is running already; shut it down before starting it again.")
        hub, owned = open_hub(self._engine, self._host, self._port, self._app_id)
        threads = ActivityThreads(self._threads)
        watchdog = TurnWatchdog(_SLOW_TURN)
        worker_id = uuid.uuid4().hex
        links = ActivityLinks(hub, self._converter, worker_id)
        runner = ActivityRunner(self._registry, self._converter, threads, links, caller_loop)
        dispatcher = Dispatcher(
            hub,
            self._registry,
            self._converter,
            runner,
            ParkedInstances(self._parked),
            watchdog,
            self._activities,
            stalls=self._on_nondeterminism != "fail",
        )
        offer = WorkerOffer(
            turns=self._turns,
            activities=self._activities,
            # In process a whole history costs nothing.
            stateful=self._engine is None and self._parked > 0,
            worker_id=worker_id,
            identity=f"{socket.gethostname()}, process {os.getpid()}",
        )
        poller = Poller(hub, dispatcher, offer)
        # Two concurrent calls of start must not both get past this line.
        running = self._running = _Running(hub, owned, dispatcher, poller, threads, watchdog)
        try:
            running.connecting = asyncio.ensure_future(hub.connect(self._ready_timeout))
            await asyncio.wait([running.connecting])
            if running.connecting.cancelled():
                raise RuntimeStateError("This WorkflowRuntime was shut down while it was starting.")
            running.connecting.result()
            dispatcher.versions = (await hub.capabilities()).stalls
            if self._registry.has_versions() and not dispatcher.versions:
                raise _no_versions(hub)
            if self._on_nondeterminism == "stall" and not (await hub.capabilities()).extensions:
                logger.warning(
                    "%s cannot let an instance stall whose history the code does not match: it fails there, whatever "
                    "on_nondeterminism says.",
                    hub.description,
                )
            running.task = asyncio.get_running_loop().create_task(poller.run())
            running.listening = asyncio.get_running_loop().create_task(links.listen())
            if not await self._wait_ready(self._ready_timeout):
                raise RuntimeStateError(
                    f"{hub.description} answers, but opened no stream of work items within {self._ready_timeout:g} s."
                )
        except BaseException:
            if self._running is running:
                self._running = None
                await running.stop(0.0)
            raise
        logger.info(
            "Worker ready at %s; workflows: %s; activities: %s",
            hub.description,
            ", ".join(self._registry.names("workflow")) or "none",
            ", ".join(self._registry.names("activity")) or "none",
        )

    async def _wait_ready(self, timeout: float) -> bool:
        running = self._running
        if running is None:
            return False
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(running.poller.subscribed.wait(), timeout)
        return running.poller.subscribed.is_set()

    async def _stop(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            given_up = await running.stop(self._shutdown_timeout)
            if given_up:
                logger.warning(
                    "Stopped while %d activities were still running; they will run again on another worker.", given_up
                )


class _Running:
    """The parts of a started worker."""

    def __init__(
        self,
        hub: TaskHub,
        owned: bool,
        dispatcher: Dispatcher,
        poller: Poller,
        threads: ActivityThreads,
        watchdog: TurnWatchdog,
    ) -> None:
        self.hub = hub
        self.owned = owned
        self.dispatcher = dispatcher
        self.poller = poller
        self.threads = threads
        self.watchdog = watchdog
        self.connecting: asyncio.Future[None] | None = None
        self.task: asyncio.Task[None] | None = None
        self.listening: asyncio.Task[None] | None = None

    async def stop(self, timeout: float) -> int:
        if self.connecting is not None:
            self.connecting.cancel()
        # The stream stays open while activities finish, or the task hub would hand them to another worker.
        given_up = await self.dispatcher.drain(timeout)
        for task in (self.task, self.listening):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        self.threads.stop()
        self.watchdog.stop()
        if self.owned:
            await self.hub.aclose()
        return given_up


def _no_versions(hub: TaskHub) -> NotSupportedError:
    return NotSupportedError(
        f"Versioned workflows need a Dapr sidecar of version 1.17 or newer, or the engine of this package; "
        f"{hub.description} does not keep which version an instance has begun with. Register each version under a name "
        "of its own until then."
    )


def _positive(name: str, given: int | None, default: int) -> int:
    if given is None:
        return default
    if given < 1:
        raise ValueError(f"{name} must be at least 1, not {given}")
    return given
