"""Runs a case turn by turn on the engine's own transitions, and looks what it does under replay."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dapr_workflow_sdk import WorkflowActivityContext
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.converter.arguments import read_arguments
from dapr_workflow_sdk.engine.conclusion import conclude
from dapr_workflow_sdk.engine.state import InstanceState
from dapr_workflow_sdk.engine.transitions import accept, accept_unstored, create, event_at, wants
from dapr_workflow_sdk.errors import describe_failure
from dapr_workflow_sdk.replay.instance import Instance
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_from_ns
from tests import builders
from tests.determinism.case import Case, Shows, World
from tests.replay.model_hub import told

_SECOND = 1_000_000_000
_MOST_TURNS = 120
# A turn decides and does nothing else; those of good cases take a tenth of this.
SLOW = 0.1
_CALLS = ("taskScheduled", "timerCreated", "childWorkflowInstanceCreated")
_RESULTS = {
    "taskCompleted": "taskScheduledId",
    "taskFailed": "taskScheduledId",
    "timerFired": "timerId",
    "childWorkflowInstanceCompleted": "taskScheduledId",
    "childWorkflowInstanceFailed": "taskScheduledId",
}


def registry_of(case: Case) -> Registry:
    """A registry that knows what the case needs and nothing else."""
    registry = Registry(module_level=False)
    for function in (case.workflow, *case.children):
        registry.add("workflow", function)
    for function in case.activities:
        registry.add("activity", function)
    return registry


@dataclass
class Turn:
    """A committed turn, as text that another process can replay."""

    instance_id: str
    past: list[bytes]
    new: list[bytes]
    said: tuple[bytes, ...]


def replayed(turn: Turn, registry: Registry) -> tuple[bytes, ...]:
    """What a turn tells the task hub when its history is replayed from the start."""
    past, new = ([pb.HistoryEvent.FromString(text) for text in part] for part in (turn.past, turn.new))
    return _comparable(told(run_turn(turn.instance_id, past, new, registry, JsonConverter(), ParkedInstances(0))))


def _comparable(output: tuple[Any, ...]) -> tuple[bytes, ...]:
    actions, status = output
    return (*(action.SerializeToString(deterministic=True) for action in actions), repr(status).encode())


@dataclass
class Play:
    """One run of a case."""

    case: Case
    turns: list[Turn] = field(default_factory=list)
    called: list[str] = field(default_factory=list)
    status: str = "stuck"
    failure: str = ""
    result: str = ""
    unheard: int = 0
    unanswered: int = 0
    slowest: float = 0.0
    repeats: bool = False
    differs: bool = False
    swallows: bool = False

    def shows(self) -> set[Shows]:
        """What can be seen of this run and its replays."""
        seen = {
            Shows.AGAIN: self.differs,
            Shows.HANGS: self.status == "stuck",
            Shows.REFUSED: self.status == "failed",
            Shows.SWALLOWS: self.swallows,
            Shows.LOSES: self.status == "completed" and bool(self.unheard or self.unanswered or self.left_out()),
            Shows.BLOCKS: self.slowest > SLOW,
            Shows.REPEATS: self.repeats,
        }
        return {kind for kind, holds in seen.items() if holds}

    def left_out(self) -> set[str]:
        """Activities of the case that were never called."""
        return {function.__name__ for function in self.case.activities} - set(self.called)


class Stage:
    """Plays a case: activities return in the order of their calls, and time passes when nothing else happens."""

    def __init__(self, case: Case, world: World, *, shadow: bool) -> None:
        """Prepares a run.

        Args:
            case: What to run.
            world: What is around it.
            shadow: Replay each turn beside the live run, which stays in memory, and drop a replay at each wait.
        """
        self.play = Play(case)
        self._world = world
        self._shadow = shadow
        self._registry = registry_of(case)
        self._converter = JsonConverter()
        self._now = builders.EPOCH_SECONDS * _SECOND
        self._events = list(case.events)

    def run(self) -> Play:
        """Runs the case to its end."""
        case = self.play.case
        text = self._converter.encode(case.given(self._world))
        end = self._instance(case.name, text, builders.INSTANCE).row
        self.play.status = "stuck" if end.ended is None else _STATUS[end.ended]
        self.play.result = end.output or ""
        self.play.failure = f"{end.failure.errorType}: {end.failure.errorMessage}" if end.failure is not None else ""
        return self.play

    def _tick(self) -> int:
        self._now += 1_000_000
        return self._now

    def _instance(self, name: str, text: str | None, instance_id: str) -> InstanceState:
        start = builders.started(name, text, instance_id=instance_id)
        state, _ = create("", 1, start, self._now, 1)
        parked = ParkedInstances(8)
        for _ in range(_MOST_TURNS):
            if state.ended:
                break
            if state.inbox:
                self._turn(state, parked)
            elif not (self._activity(state) or self._child(state) or self._event(state) or self._timer(state)):
                break
        self._count_unheard(state)
        parked.clear()
        return state

    def _count_unheard(self, state: InstanceState) -> None:
        """Calls whose results the instance did not wait for; a timer that lost a race is nothing of the kind."""
        if state.row.ended is None:
            return
        kinds = [(event.WhichOneof("eventType"), event) for event in state.history]
        heard = {getattr(getattr(event, kind), _RESULTS[kind]) for kind, event in kinds if kind in _RESULTS}
        asked = {event.eventId for kind, event in kinds if kind in ("taskScheduled", "childWorkflowInstanceCreated")}
        self.play.unheard += len(asked - heard)
        waits = [
            event for kind, event in kinds if kind == "timerCreated" and event.timerCreated.HasField("externalEvent")
        ]
        raised = [event for kind, event in kinds if kind == "eventRaised"]
        self.play.unanswered += len(waits) - len(raised)

    # ---- turns ---------------------------------------------------------------------------------------------

    def _turn(self, state: InstanceState, parked: ParkedInstances) -> None:
        marker = event_at(self._tick())
        marker.workflowStarted.SetInParent()
        taken = list(state.inbox)
        new = [marker, *(item.event for item in taken)]
        past = list(state.history)
        instance_id = state.row.instance_id
        began = time.perf_counter()
        output = run_turn(instance_id, past, new, self._registry, self._converter, parked)
        self.play.slowest = max(self.play.slowest, time.perf_counter() - began)
        turn = Turn(
            instance_id,
            [event.SerializeToString() for event in past],
            [event.SerializeToString() for event in new],
            _comparable(told(output)),
        )
        self.play.turns.append(turn)
        answer = pb.WorkflowResponse(
            instanceId=instance_id, actions=output.actions, customStatus=text_of(output.custom_status)
        )
        conclude(state, taken, new, answer, self._tick(), lambda: f"execution-{len(self.play.turns) + 1}")
        if self._shadow:
            self._look(turn, [*past, *new])

    def _look(self, turn: Turn, events: list[pb.HistoryEvent]) -> None:
        witness = self.play.case.witness
        before = witness(self._world) if witness is not None else 0
        if replayed(turn, self._registry) != turn.said:
            self.play.differs = True
        if _swallows_its_end(turn.instance_id, events, self._registry):
            self.play.swallows = True
        if witness is not None and witness(self._world) != before:
            self.play.repeats = True

    # ---- what the world does -------------------------------------------------------------------------------

    def _stamped(self, event: pb.HistoryEvent) -> pb.HistoryEvent:
        event.timestamp.CopyFrom(timestamp_from_ns(self._tick()))
        return event

    def _activity(self, state: InstanceState) -> bool:
        taken = {item.task for item in state.inbox}
        key = next((key for key in state.tasks if key not in taken), None)
        if key is None:
            return False
        scheduled = next(
            event for event in state.history if event.eventId == key[1] and event.HasField("taskScheduled")
        )
        event = self._stamped(self._result(key[1], scheduled.taskScheduled))
        if wants(state, event, key):
            accept_unstored(state, event, task=key)
        return True

    def _result(self, number: int, call: pb.TaskScheduledEvent) -> pb.HistoryEvent:
        definition = self._registry.find("activity", call.name)
        assert definition is not None, f"{self.play.case.name} calls {call.name!r}, which it does not list"
        self.play.called.append(call.name)
        context = WorkflowActivityContext(builders.INSTANCE, number)
        try:
            arguments = read_arguments(definition, call.input.value, self._converter, builders.INSTANCE)
            value = definition.function(context, *arguments)
            if definition.is_coroutine:
                value = _on_a_loop_of_its_own(value)
            return builders.activity_done(number, None if value is None else self._converter.encode(value))
        except (Exception, GeneratorExit) as error:
            failure = describe_failure(error)
            return builders.activity_failed(number, failure.message, failure.error_type)

    def _child(self, state: InstanceState) -> bool:
        number = next(iter(state.children), None)
        if number is None:
            return False
        created = next(
            event.childWorkflowInstanceCreated
            for event in state.history
            if event.eventId == number and event.HasField("childWorkflowInstanceCreated")
        )
        text = created.input.value if created.HasField("input") else None
        child = self._instance(created.name, text, created.instanceId)
        if child.row.ended == pb.WORKFLOW_STATUS_COMPLETED:
            event = builders.child_done(number, child.row.output)
        else:
            failure = child.row.failure
            event = builders.child_failed(number, "stuck" if failure is None else failure.errorMessage)
        if wants(state, self._stamped(event)):
            accept(state, event)
        return True

    def _event(self, state: InstanceState) -> bool:
        if not self._events:
            return False
        name, payload = self._events.pop(0)
        accept(
            state, self._stamped(builders.raised(name, None if payload is None else self._converter.encode(payload)))
        )
        return True

    def _timer(self, state: InstanceState) -> bool:
        taken = {item.timer for item in state.inbox}
        waiting = [(fire_at, timer) for timer, fire_at in state.timers.items() if timer not in taken]
        if not waiting:
            return False
        fire_at, timer = min(waiting)
        self._now = max(self._now, fire_at)
        event = self._stamped(builders.timer_fired(timer))
        if wants(state, event):
            accept_unstored(state, event, timer=timer)
        return True


_STATUS = {
    pb.WORKFLOW_STATUS_COMPLETED: "completed",
    pb.WORKFLOW_STATUS_FAILED: "failed",
    pb.WORKFLOW_STATUS_TERMINATED: "terminated",
}


def _on_a_loop_of_its_own(coroutine: Any) -> Any:
    results: list[Callable[[], Any]] = []

    def run() -> None:
        try:
            value = asyncio.run(coroutine)
        except (Exception, GeneratorExit) as error:
            results.append(lambda error=error: _raise(error))
        else:
            results.append(lambda: value)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    return results[0]()


def _raise(error: Exception) -> None:
    raise error


def _swallows_its_end(instance_id: str, events: list[pb.HistoryEvent], registry: Registry) -> bool:
    """Whether a run that is dropped where it waits now does anything but leave."""
    instance = Instance(instance_id, registry, JsonConverter())
    try:
        for event in events:
            instance.feed(event)
    except Exception:
        instance.close()
        return False  # The replay differs, which is told elsewhere.
    running: Any = instance._code._running
    if instance.outcome is not None or running is None:
        instance.close()
        return False
    instance.is_replaying = True
    instance._code.inside = False
    instance._code.closed = True
    try:
        running.throw(GeneratorExit())
    except GeneratorExit:
        return False
    except StopIteration:
        return True  # It was caught, and the code has come to its end.
    except Exception:
        return True
    instance.close()
    return True  # It was caught, and the code waits again.
