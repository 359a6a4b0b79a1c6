"""The engine, its workers and its time, as a test environment puts them together: one loop, one thread, no ports.

Nothing of the engine or the worker is made again here. What differs from a program is where things come from: the
clock stands still until somebody moves it, ids are counted, and activities run where the loop runs. So two runs of a
test have the same history to the microsecond.

Time. Whoever waits for an instance waits for quiet first: no turn and no activity runs, and nothing is on its way.
Then the clock jumps to the next alarm, which is a timer of some instance, and there is quiet again after what that
timer caused. If no alarm is left nothing will ever happen, and the wait ends with an error that says what for.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import sys
import uuid
from collections.abc import Callable, Coroutine, Generator, Sequence
from contextlib import AsyncExitStack
from datetime import datetime, timedelta
from typing import Any, TypeVar

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.client.requests import Requests
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.state import Change, InstanceKey, InstanceRow
from dapr_workflow_sdk.engine.stores.base import Selection
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.errors import RuntimeStateError
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.taskhub.port import WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing.activities import RecordingRegistry
from dapr_workflow_sdk.testing.shadow import ShadowDispatcher
from dapr_workflow_sdk.testing.virtual_time import SteppedClock, aware
from dapr_workflow_sdk.testing.waits import stuck
from dapr_workflow_sdk.testing.watching import SETTINGS, WATCHERS
from dapr_workflow_sdk.worker.activities import ActivityRunner
from dapr_workflow_sdk.worker.delivery import Session
from dapr_workflow_sdk.worker.dispatcher import Dispatcher
from dapr_workflow_sdk.worker.links import ActivityLinks
from dapr_workflow_sdk.worker.threads import ActivityThreads
from dapr_workflow_sdk.worker.watchdog import TurnWatchdog

T = TypeVar("T")

_NANOSECONDS = timedelta(microseconds=1)
# As many turns and activities as there may be: a limit would be one more thing that decides about their order.
_UNLIMITED = sys.maxsize
# Seconds that activities which are cancelled when the environment closes have to come to an end.
_GRACE = 1.0


class KeepingStore(MemoryStore):
    """A store in memory that keeps the histories that continue-as-new replaces, and knows which apps are called."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.earlier: dict[InstanceKey, list[Sequence[pb.HistoryEvent]]] = {}
        self.keys: dict[InstanceKey, None] = {}
        self.apps_called: set[str] = set()

    def write(self, changes: Sequence[Change]) -> None:
        """Applies the changes."""
        for change in changes:
            if change.removed:
                self.earlier.pop(change.key, None)
                self.keys.pop(change.key, None)
                continue
            self.apps_called.update(task.targetAppId for _, task in change.tasks_added if task.targetAppId)
            if change.key not in self.keys:
                self.keys[change.key] = None
                self.apps_called.add(change.key[0])
            elif change.renewed:
                self.earlier.setdefault(change.key, []).append(self.history(change.key))
        super().write(changes)

    def history(self, key: InstanceKey) -> list[pb.HistoryEvent]:
        """The history of the current execution; empty for an unknown instance."""
        kept = self._kept.get(key)
        return [] if kept is None else list(kept.history)


class _NoWatchdog(TurnWatchdog):
    """Watches nothing: it would need a thread."""

    def enter(self, instance_id: str) -> None:
        """Nothing."""

    def leave(self) -> None:
        """Nothing."""


class _FairDispatcher(Dispatcher):
    """A dispatcher that lets the rest of the loop have its turn after every item, and not when time is up."""

    async def submit(self, item: WorkItem, session: Session) -> None:
        self._pause_at = -1.0
        await super().submit(item, session)


class _FairShadowDispatcher(_FairDispatcher, ShadowDispatcher):
    """The same, with a whole replay beside each turn."""


class AppWorker:
    """The worker and the client of one app of an environment."""

    def __init__(self, stage: Stage, app_id: str, *, module_level: bool) -> None:
        """Does nothing until `open`."""
        self.app_id = app_id
        self.hub = stage.hub.for_app(app_id)
        self.registry = RecordingRegistry(stage.clock, stage.converter, module_level=module_level)
        self.registry.suspend = self._suspend
        self.registry.interrupted = stage.interrupt
        self._requests = Requests(stage.converter)
        self.parked = ParkedInstances(_UNLIMITED)
        self._stage = stage
        self._exits = AsyncExitStack()
        self._dispatcher: Dispatcher
        self._tasks: list[asyncio.Task[None]] = []

    async def open(self) -> None:
        """Begins to take work; to be called on the loop on which everything is to run."""
        stage = self._stage
        worker_id = f"test environment, {self.app_id}"
        links = ActivityLinks(self.hub, stage.converter, worker_id)
        runner = ActivityRunner(self.registry, stage.converter, ActivityThreads(0), links)
        parts = (self.hub, self.registry, stage.converter, runner, self.parked, _NoWatchdog(0.0), _UNLIMITED)
        if stage.shadow:
            shadowing = _FairShadowDispatcher(*parts)
            shadowing.on_difference = stage.interrupt
            self._dispatcher = shadowing
        else:
            self._dispatcher = _FairDispatcher(*parts)
        offer = WorkerOffer(_UNLIMITED, _UNLIMITED, worker_id=worker_id, identity=worker_id)
        self._subscription = await self._exits.enter_async_context(self.hub.subscription(offer))
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._work()), loop.create_task(links.listen())]

    async def _work(self) -> None:
        session = Session()
        try:
            async for item in self._subscription.items():
                await self._dispatcher.submit(item, session)
                self._stage.check_apps()
        except Exception as error:  # noqa: BLE001 - without a worker the test would wait for ever
            self._stage.interrupt(error)
        finally:
            session.over = True

    async def _suspend(self, ctx: WorkflowActivityContext) -> Any:
        """Runs an activity that never ends; time need not wait for it."""
        token = getattr(ctx.link, "token", "")
        self._subscription.activities.discard(token)
        with self._stage.runner.watched():
            pass
        await asyncio.get_running_loop().create_future()

    @property
    def running(self) -> set[str]:
        """Tokens of the activities that run, without those that never end."""
        return self._subscription.activities

    # ---- what clients do -----------------------------------------------------------------------------------

    async def start(self, name: str, value: Any, instance_id: str, start_at: datetime | None) -> None:
        """Starts an instance."""
        await self.hub.start(self._requests.start(name, value, instance_id, start_at))

    async def run(self, name: str, value: Any, instance_id: str, start_at: datetime | None) -> None:
        """Starts an instance and lets time go on until it has ended."""
        self._stage._check_open()
        await self.start(name, value, instance_id, start_at)
        await self._stage.finish((self.app_id, instance_id))

    async def raise_event(self, instance_id: str, name: str, data: Any) -> None:
        """Raises an event."""
        await self.hub.raise_event(self._requests.raise_event(instance_id, name, data))

    async def pause(self, instance_id: str) -> None:
        """Suspends an instance."""
        await self.hub.suspend(pb.SuspendRequest(instanceId=instance_id))

    async def resume(self, instance_id: str) -> None:
        """Resumes an instance."""
        await self.hub.resume(pb.ResumeRequest(instanceId=instance_id))

    async def terminate(self, instance_id: str, output: Any, recursive: bool) -> None:
        """Ends an instance."""
        await self.hub.terminate(self._requests.terminate(instance_id, output, recursive))

    async def purge(self, instance_id: str, recursive: bool) -> int:
        """Removes an instance."""
        return await self.hub.purge(pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive))

    # ---- the end -------------------------------------------------------------------------------------------

    async def aclose(self) -> None:
        """Stops working; what runs is cancelled."""
        dispatcher = self._dispatcher
        running = {*dispatcher._activities, *dispatcher._results, *dispatcher._turns}
        await dispatcher.drain(0.0)
        for task in self._tasks:
            task.cancel()
        if ending := {*running, *self._tasks}:
            await asyncio.wait(ending, timeout=_GRACE)
        await self._exits.aclose()


class Stage:
    """An engine with its workers, on virtual time."""

    def __init__(
        self, *, start: datetime, converter: Converter, app_id: str, timeout: float, shadow: bool | None
    ) -> None:
        """Does nothing until `open`; see `WorkflowEnvironment` for what the arguments mean."""
        self.clock = SteppedClock(start)
        self.store = KeepingStore()
        self.converter = converter
        self.timeout = timeout
        self.shadow = SETTINGS.shadow if shadow is None else shadow
        self.closed = False
        executions = itertools.count(1)
        self.hub = EngineHub(
            self.store,
            clock=self.clock,
            app_id=app_id,
            name="of a test environment",
            execution_ids=lambda: str(uuid.UUID(int=(4 << 76) | (2 << 62) | next(executions))),
        )
        self.runner = self.hub._runner
        self.apps: dict[str, AppWorker] = {}
        self._numbers: dict[str, int] = {}
        self._waiting: dict[asyncio.Future[None], InstanceKey | None] = {}
        self._interruption: BaseException | None = None
        self.main = self.apps[app_id] = AppWorker(self, app_id, module_level=True)
        for watcher in WATCHERS:
            watcher(self)

    async def open(self) -> None:
        """Starts the engine on the running loop."""
        self.runner.on_ended = self._ended
        await self.hub.open()
        await self.main.open()

    async def open_app(self, app_id: str) -> AppWorker:
        """The worker of an app, which is made if it is not there; it knows only what it is given."""
        self._check_open()
        worker = self.apps.get(app_id)
        if worker is None:
            worker = self.apps[app_id] = AppWorker(self, app_id, module_level=False)
            await worker.open()
        return worker

    async def aclose(self) -> None:
        """Stops everything. What has happened can still be read."""
        if self.closed:
            return
        self.closed = True
        for worker in self.apps.values():
            await worker.aclose()
        await self.hub.aclose()

    def new_id(self, name: str) -> str:
        """An id for an instance: the workflow's name and a count."""
        stem = "".join(c if c.isascii() and (c.isalnum() or c in "_-.") else "-" for c in name)[:150]
        stem = stem if stem[:1].isalnum() else f"workflow{stem}"
        number = self._numbers[stem] = self._numbers.get(stem, 0) + 1
        return f"{stem}-{number}"

    # ---- reading -------------------------------------------------------------------------------------------

    def row(self, key: InstanceKey) -> InstanceRow | None:
        """The scalar part of an instance."""
        return self.store.row(key)

    def history(self, key: InstanceKey) -> list[pb.HistoryEvent]:
        """The history of the current execution."""
        return self.store.history(key)

    def rows(self) -> list[InstanceRow]:
        """All instances, oldest first."""
        return [row for app_id in self.store.apps() for row in self.store.select(Selection(app_id, limit=sys.maxsize))]

    # ---- time ----------------------------------------------------------------------------------------------

    def interrupt(self, error: BaseException) -> None:
        """Ends the wait of the test with an error that is not a workflow's."""
        self._interruption = error
        for waiting in self._waiting:
            if not waiting.done():
                waiting.set_result(None)

    def _raise_interruption(self) -> None:
        error, self._interruption = self._interruption, None
        if error is not None:
            raise error

    def _ended(self, row: InstanceRow) -> None:
        for waiting, key in self._waiting.items():
            if key == row.key and not waiting.done():
                waiting.set_result(None)

    def check_apps(self) -> None:
        """Ends the wait of the test if something was called in an app that nobody works for."""
        missing = self.store.apps_called - self.apps.keys() if self._waiting else None
        if missing:
            app_id = min(missing)
            text = (
                f"App {app_id!r} was called, and the environment has no such app, so the call would wait for ever. "
                f"Make it before the workflow runs: env.app({app_id!r}, activities=[...], workflows=[...])."
            )
            self.interrupt(RuntimeStateError(text))

    async def _quiet(self, key: InstanceKey | None) -> None:
        """Waits until nothing can happen before the next alarm, or an instance has ended."""
        self._raise_interruption()
        waiting: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[waiting] = key
        self.check_apps()
        self.clock.tell_when_quiet(waiting)
        try:
            with self.runner.watched():
                await waiting
        finally:
            del self._waiting[waiting]
        self._raise_interruption()

    @contextlib.contextmanager
    def _limited(self, what: Callable[[], str]) -> Generator[Callable[[], None], None, None]:
        """Bounds the real time that something takes; gives a function that raises when it is up."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout

        def check() -> None:
            if loop.time() >= deadline:
                raise TimeoutError(what())

        def overdue() -> None:
            self.interrupt(TimeoutError(what()))

        alarm = loop.call_at(deadline, overdue)
        try:
            yield check
        finally:
            alarm.cancel()

    async def settle(self) -> None:
        """Lets everything happen that can happen without time going on."""
        self._check_open()
        with self._limited(lambda: self._too_long("what can happen now has not come to an end")):
            await self._quiet(None)

    async def done(self, operation: Callable[..., Coroutine[Any, Any, T]], *arguments: Any) -> T:
        """What an operation gives, when all that follows from it at once has happened."""
        self._check_open()
        result = await operation(*arguments)
        await self.settle()
        return result

    async def finish(self, key: InstanceKey) -> None:
        """Lets time go on until an instance has ended."""
        self._check_open()
        with self._limited(lambda: self._too_long(f"workflow instance {key[1]!r} has not ended")) as check:
            while (row := self.store.row(key)) is not None and row.ended is None:
                await self._quiet(key)
                row = self.store.row(key)
                if row is None or row.ended is not None:
                    break
                if row.stalled is not None or not self.clock.jump():
                    raise stuck(self, key)
                check()

    async def skip(self, length: timedelta) -> None:
        """Lets time go on so far, timer by timer, and lets everything happen that is then due."""
        self._check_open()
        if length < timedelta(0):
            raise ValueError(f"Time does not go back: skip() takes a length of time, not {length!r}.")
        target = self.clock.moment + length // _NANOSECONDS * 1000
        with self._limited(lambda: self._too_long(f"skip({length!r}) has not come to its end")) as check:
            await self._quiet(None)
            while self.clock.jump(target):
                await self._quiet(None)
                check()
            if target > self.clock.moment:
                self.clock.move_to(target)
            await self._quiet(None)

    def _too_long(self, what: str) -> str:
        running = sum(len(worker.running) for worker in self.apps.values())
        if running:
            runs = "an activity still runs" if running == 1 else f"{running} activities still run"
            why = f"{runs} and takes real time: replace it with a stand-in"
        else:
            why = "a workflow that goes on for ever is best started with env.start() and moved on with env.skip()"
        now = aware(self.clock.moment)
        return (
            f"After {self.timeout:g} s of real time {what}; the clock stands at {now:%Y-%m-%d %H:%M}. Perhaps {why}, "
            "or give the environment a longer timeout=..."
        )

    def _check_open(self) -> None:
        if self.closed:
            raise RuntimeStateError("This test environment is closed; make a new one.")
