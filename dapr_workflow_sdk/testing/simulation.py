"""The engine driven by hand: in memory, on a clock that stands still, one work item at a time and in any order.

Everything that happens to an instance happens because a method of `Simulation` was called, so two simulations that
get the same calls have the same histories, to the byte. What decides about the calls is above: `world` plays what
choosers choose, tests drive a simulation themselves.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import Any, TypeVar

from typing_extensions import Self

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.state import InstanceRow, describe
from dapr_workflow_sdk.engine.stores.memory import MemoryStore
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.errors import describe_failure
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem, WorkerOffer
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import failure_to_wire, text_of
from dapr_workflow_sdk.testing.virtual_time import SteppedClock
from dapr_workflow_sdk.worker.activities import ActivityRunner
from dapr_workflow_sdk.worker.links import ActivityLinks
from dapr_workflow_sdk.worker.threads import ActivityThreads

T = TypeVar("T")

INSTANCE = "simulated"
_START = datetime(2026, 1, 1, tzinfo=timezone.utc)


@dataclass(frozen=True, slots=True)
class PlayedTurn:
    """A turn that a worker has run.

    Attributes:
        instance_id: The instance.
        execution: Id of the execution, which changes when the instance continues as new.
        past: The history before it.
        new: Its new events.
        output: What the code asked for.
        answered: Whether the task hub was told; if not, the turn came again.
    """

    instance_id: str
    execution: str
    past: Sequence[pb.HistoryEvent]
    new: Sequence[pb.HistoryEvent]
    output: TurnOutput
    answered: bool


# Runs a turn: all that a worker knows of it in, what the code asks for out.
TurnRunner = Callable[
    [str, Sequence[pb.HistoryEvent], Sequence[pb.HistoryEvent], Registry, Converter, ParkedInstances], TurnOutput
]


class InlineThreads(ActivityThreads):
    """No threads: plain functions run where they are called."""

    async def run(self, function: Callable[..., Any], *arguments: Any) -> Any:
        """Runs the function at once."""
        return function(*arguments)


class Simulation:
    """One engine, one worker, and what the worker holds: the turns and activities that wait to be run."""

    def __init__(
        self,
        registry: Registry,
        *,
        converter: Converter | None = None,
        parks: bool = True,
        turn: TurnRunner = run_turn,
    ) -> None:
        """Opens an engine with a worker.

        Args:
            registry: Where workflows and activities are found.
            converter: How payloads are read and written; JSON by default.
            parks: Whether the worker keeps instances between their turns, or replays each turn from the start.
            turn: What runs a turn.
        """
        self.registry = registry
        self.converter: Converter = converter or JsonConverter()
        self.clock = SteppedClock(_START)
        self.turns: list[TurnItem] = []
        self.activities: list[ActivityItem] = []
        self.played: list[PlayedTurn] = []
        self.instance_ids: list[str] = []
        self.parked = ParkedInstances(64 if parks else 0)
        self._turn = turn
        self._loop = asyncio.new_event_loop()
        counted = itertools.count(1)
        self.hub = EngineHub(
            MemoryStore(), clock=self.clock, name="simulation", execution_ids=lambda: f"execution-{next(counted)}"
        )
        self._subscription: AbstractAsyncContextManager[Subscription] | None = None
        self._worker: Subscription | None = None
        self._runner: ActivityRunner | None = None
        self._do(self._open())

    # ---- the loop ------------------------------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """Lets something happen, and everything that follows from it at once."""
        return self._loop.run_until_complete(self._settled(work))

    async def _settled(self, work: Coroutine[Any, Any, T]) -> T:
        result = await work
        # What an alarm or a commit causes takes a pass of the loop, and what that causes may take another.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        worker = self._worker
        while worker is not None and worker.unread and not worker.ended:
            item = worker.take()
            if isinstance(item, TurnItem):
                self.turns.append(item)
                if item.instance_id not in self.instance_ids:
                    self.instance_ids.append(item.instance_id)
            elif item is not None:
                self.activities.append(item)
        return result

    async def _open(self) -> None:
        await self.hub.open()
        await self._subscribe()

    async def _subscribe(self) -> None:
        self._subscription = self.hub.subscription(WorkerOffer(turns=0, activities=0, identity="simulation"))
        self._worker = await self._subscription.__aenter__()

    async def _unsubscribe(self) -> None:
        subscription, self._subscription, self._worker = self._subscription, None, None
        if subscription is not None:
            await subscription.__aexit__(None, None, None)

    def close(self) -> None:
        """Closes the engine; the records stay readable."""
        if not self._loop.is_closed():
            self.parked.clear()
            self._loop.run_until_complete(self._close())
            self._loop.close()

    async def _close(self) -> None:
        await self._unsubscribe()
        await self.hub.aclose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- clients -------------------------------------------------------------------------------------------

    def start(self, name: str, value: Any = None, instance_id: str = INSTANCE) -> str:
        """Starts an instance of the workflow of this name; returns its id."""
        text = None if value is None else self.converter.encode(value)
        return self._do(
            self.hub.start(pb.CreateInstanceRequest(instanceId=instance_id, name=name, input=text_of(text)))
        )

    def raise_event(self, name: str, value: Any = None, instance_id: str = INSTANCE) -> None:
        """Raises an event."""
        text = None if value is None else self.converter.encode(value)
        self._do(self.hub.raise_event(pb.RaiseEventRequest(instanceId=instance_id, name=name, input=text_of(text))))

    def suspend(self, instance_id: str = INSTANCE) -> None:
        """Suspends an instance."""
        self._do(self.hub.suspend(pb.SuspendRequest(instanceId=instance_id)))

    def resume(self, instance_id: str = INSTANCE) -> None:
        """Resumes an instance."""
        self._do(self.hub.resume(pb.ResumeRequest(instanceId=instance_id)))

    def state(self, instance_id: str = INSTANCE) -> pb.WorkflowState:
        """The state of an instance."""
        return describe(self._row(instance_id), payloads=True)

    def status(self, instance_id: str = INSTANCE) -> pb.WorkflowStatus:
        """Where an instance stands."""
        return self._row(instance_id).status

    def _row(self, instance_id: str) -> InstanceRow:
        # Not by way of the hub, whose methods wait for commits: here nothing waits, and this is asked at each step.
        row = self.hub._runner.row((self.hub.app_id, instance_id))
        if row is None:
            raise LookupError(f"The simulation has no instance {instance_id!r}.")
        return row

    def history(self, instance_id: str = INSTANCE) -> list[pb.HistoryEvent]:
        """The history of the current execution of an instance."""
        live = self.hub._runner.find((self.hub.app_id, instance_id), remember=False)
        return [] if live is None else list(live.state.history)

    # ---- the worker ----------------------------------------------------------------------------------------

    def take_turn(self, item: TurnItem, *, answer: bool = True) -> TurnOutput:
        """Runs a turn that the worker holds.

        Args:
            item: One of `turns`.
            answer: Whether the answer reaches the task hub; if not, the task hub hands out the turn again.
        """
        self.turns.remove(item)
        return self._do(self._take(item, answer))

    async def _take(self, item: TurnItem, answer: bool) -> TurnOutput:
        past, new = list(item.past), list(item.new)
        output = self._turn(item.instance_id, past, new, self.registry, self.converter, self.parked)
        self.played.append(PlayedTurn(item.instance_id, execution_of(past, new), past, new, output, answer))
        if answer:
            response = output.response(item.instance_id, item.token)
            await self.hub.complete_turn(response)
        else:
            await self.hub.abandon(item.token, turn=True)
        return output

    def run(self, item: ActivityItem) -> pb.ActivityResponse:
        """Runs an activity that the worker holds by its own function, and answers with what comes of it."""
        self.activities.remove(item)
        return self._do(self._run(item))

    async def _run(self, item: ActivityItem) -> pb.ActivityResponse:
        if self._runner is None:
            links = ActivityLinks(self.hub, self.converter, "simulation")
            self._runner = ActivityRunner(self.registry, self.converter, InlineThreads(0), links)
        response = await self._runner.run(item.request, item.token)
        # Durable only with the turn that takes the result, so nobody can wait for that here.
        _ = self.hub.complete_activity(response)
        return response

    def complete(self, item: ActivityItem, value: Any = None) -> None:
        """Answers an activity that the worker holds with a result."""
        response = self._response(item)
        if value is not None:
            response.result.value = self.converter.encode(value)
        self._send(item, response)

    def fail(self, item: ActivityItem, error: BaseException) -> None:
        """Answers an activity that the worker holds with a failure."""
        response = self._response(item)
        response.failureDetails.CopyFrom(failure_to_wire(describe_failure(error)))
        self._send(item, response)

    def _response(self, item: ActivityItem) -> pb.ActivityResponse:
        return pb.ActivityResponse(
            instanceId=item.request.workflowInstance.instanceId,
            taskId=item.request.taskId,
            completionToken=item.token,
        )

    def _send(self, item: ActivityItem, response: pb.ActivityResponse) -> None:
        self.activities.remove(item)
        self._do(self._complete(response))

    async def _complete(self, response: pb.ActivityResponse) -> None:
        _ = self.hub.complete_activity(response)

    def lose_worker(self) -> None:
        """Loses the worker with all that it holds and keeps in memory; another one takes its place."""
        self.turns.clear()
        self.activities.clear()
        self.parked.clear()
        self._do(self._replace_worker())

    async def _replace_worker(self) -> None:
        await self._unsubscribe()
        await self._subscribe()

    def skip(self) -> bool:
        """Moves the clock to the next alarm; returns whether there was one."""
        if self.clock.next_alarm is None:
            return False
        self._do(self._skip())
        return True

    async def _skip(self) -> None:
        self.clock.jump()


def execution_of(past: Sequence[pb.HistoryEvent], new: Sequence[pb.HistoryEvent]) -> str:
    """Id of the execution to which events belong."""
    for event in (*past[:4], *new):
        if event.WhichOneof("eventType") == "executionStarted":
            return event.executionStarted.workflowInstance.executionId.value
    return ""


def told(output: TurnOutput) -> tuple[list[pb.WorkflowAction], str | None]:
    """What a task hub learns from a turn.

    Stack traces are left out: they name the frames of the machinery, which differ between a first run and a replay.
    """
    actions: list[pb.WorkflowAction] = []
    for action in output.actions:
        if action.completeWorkflow.failureDetails.HasField("stackTrace"):
            bare = pb.WorkflowAction()
            bare.CopyFrom(action)
            details = bare.completeWorkflow.failureDetails
            details.ClearField("stackTrace")
            actions.append(bare)
        else:
            actions.append(action)
    return actions, output.custom_status
