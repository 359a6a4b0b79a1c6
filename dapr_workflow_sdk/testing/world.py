"""The world around an instance: who answers what and when, as somebody chooses.

A chooser is asked for numbers, and 0 always means the usual thing: the item that has waited longest is next, the
activity returns, nothing is lost. So choices of nothing but zeros play the calm execution, and a search that makes
numbers smaller makes executions simpler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from dapr_workflow_sdk.client.timeline import Story, read_story
from dapr_workflow_sdk.errors import describe_failure
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem
from dapr_workflow_sdk.taskhub.wire.values import FINAL_STATUSES, failure_from_wire
from dapr_workflow_sdk.testing.executions import AnsweredCall, Execution, execution_from, open_wait, plain, shown
from dapr_workflow_sdk.testing.simulation import INSTANCE, Simulation

Fault = Literal["suspend", "crash", "redeliver", "duplicate", "early", "late"]

FAULTS: frozenset[Fault] = frozenset({"suspend", "crash", "redeliver", "duplicate", "early", "late"})


# Why an execution has not ended where the code waits for nothing that anybody knows of.
NOTHING_COMES = "nothing more happens"


class Chooser(Protocol):
    """What decides."""

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1; 0 is the usual one."""
        ...


class Calm:
    """Chooses the usual, always."""

    def below(self, bound: int) -> int:
        """0."""
        return 0


class Newest:
    """Chooses the last there is: what came last is done first."""

    def below(self, bound: int) -> int:
        """The highest number."""
        return bound - 1


@dataclass(frozen=True, slots=True)
class Returns:
    """An activity returns this."""

    value: Any


@dataclass(frozen=True, slots=True)
class Raises:
    """An activity raises this."""

    error: BaseException


# How an activity is answered; None lets its own function run.
Answer = Returns | Raises | None

# A worker lost more often than this in a row makes the engine suspect the instance and pause.
_MOST_CRASHES = 2
_MOST_DISTURBANCES = 4
# One step in so many is a disturbance, while there may be any.
_ODDS = 4


@dataclass
class World:
    """Plays one instance to its end.

    Attributes:
        simulation: What is played upon.
        chooser: What decides.
        answer: How activities are answered.
        events: Events that may be raised: what makes the payload of each.
        faults: What may disturb the instance.
        most_steps: When to give up.
        batches: Whether all activities are answered before the next turn is taken.
        calls: Activities that were answered.
        disturbances: What was done that nobody asked for.
        raised: Names and payloads of the events that were raised.
    """

    simulation: Simulation
    chooser: Chooser
    answer: Callable[[ActivityItem], Answer] = lambda _: None
    events: Mapping[str, Callable[[], Any]] = field(default_factory=dict[str, Callable[[], Any]])
    faults: frozenset[Fault] = frozenset()
    most_steps: int = 400
    batches: bool = False
    calls: list[AnsweredCall] = field(default_factory=list[AnsweredCall])
    disturbances: list[str] = field(default_factory=list[str])
    _answered: set[tuple[str, str, int]] = field(default_factory=set[tuple[str, str, int]])
    raised: list[tuple[str, Any]] = field(default_factory=list[tuple[str, Any]])
    _crashes: int = 0
    _suspended: bool = False

    def play(self, name: str, value: Any = None) -> Execution:
        """Starts an instance of a workflow and plays it to its end, or to where nothing can happen any more."""
        self.simulation.start(name, value)
        why = ""
        for _ in range(self.most_steps):
            if self._disturbs():
                continue
            if not self._go_on():
                break
        else:
            why = f"it still goes on after {self.most_steps} steps"
        return self.recorded(name, value, why)

    def recorded(self, name: str, value: Any, why: str = "") -> Execution:
        """What has happened so far to an instance of a workflow with this input; `why` says why it has not ended."""
        simulation = self.simulation
        state = simulation.state()
        events = simulation.history()
        if state.workflowStatus in FINAL_STATUSES:
            why = ""
        elif not why:
            waits = open_wait(read_story(events))
            why = f"it waits for {waits}, and nothing more happens" if waits else NOTHING_COMES
        return execution_from(
            name,
            value,
            state,
            events,
            tuple(simulation.played),
            tuple(self.calls),
            {name: [value for raised, value in self.raised if raised == name] for name in self.events},
            tuple(self.disturbances),
            why,
            simulation.registry,
            simulation.converter,
        )

    # ---- the usual -----------------------------------------------------------------------------------------

    def _go_on(self) -> bool:
        """Does what is due; returns whether there was anything."""
        simulation = self.simulation
        if self.batches and simulation.activities:
            self.answer_activity(simulation.activities[self.chooser.below(len(simulation.activities))])
            return True
        turns = len(simulation.turns)
        if ready := turns + len(simulation.activities):
            place = self.chooser.below(ready) if ready > 1 else 0
            if place < turns:
                self._take(simulation.turns[place])
            else:
                self.answer_activity(simulation.activities[place - turns])
            return True
        if self._suspended:
            self._resume()
            return True
        if self.ended:
            return False
        return self._somebody_acts()

    @property
    def ended(self) -> bool:
        """Whether the instance has ended."""
        return self.simulation.status() in FINAL_STATUSES

    def _take(self, item: TurnItem) -> None:
        self._crashes = 0
        self.simulation.take_turn(item)

    def answer_activity(self, item: ActivityItem) -> None:
        """Answers an activity that the worker holds."""
        request = item.request
        answer = self.answer(item)
        failure = None
        result = None
        if answer is None:
            response = self.simulation.run(item)
            if response.HasField("failureDetails"):
                failure = failure_from_wire(response.failureDetails)
            else:
                result = plain(response.result.value)
        elif isinstance(answer, Raises):
            failure = describe_failure(answer.error)
            self.simulation.fail(item, answer.error)
        else:
            result = plain(self.simulation.converter.encode(answer.value))
            self.simulation.complete(item, answer.value)
        key = (request.workflowInstance.instanceId, request.taskExecutionId, request.taskId)
        if key not in self._answered:
            self._answered.add(key)
            self.calls.append(
                AnsweredCall(key[0], request.name, plain(request.input.value), request.taskId, failure, result)
            )

    def _somebody_acts(self) -> bool:
        """Nothing is to be done before the next timer: an event is raised that is waited for, or time passes."""
        waited = self._waited_for()
        timer = self.simulation.clock.next_alarm is not None
        options = len(waited) + timer
        if not options:
            return False
        place = self.chooser.below(options) if options > 1 else 0
        if place < len(waited):
            instance_id, name = waited[place]
            self._raise(name, self.events[name](), instance_id)
            return True
        return self.simulation.skip()

    def _waited_for(self) -> list[tuple[str, str]]:
        """Instances, and events that each waits for and that may be raised."""
        if not self.events:
            return []
        names = {name.casefold(): name for name in self.events}
        found: list[tuple[str, str]] = []
        for instance_id in self.simulation.instance_ids:
            story: Story = read_story(self.simulation.history(instance_id))
            for entry in story.open.values():
                name = names.get(entry.name.casefold()) if entry.kind == "event_awaited" else None
                if name is not None and (instance_id, name) not in found:
                    found.append((instance_id, name))
        return found

    def _raise(self, name: str, value: Any, instance_id: str = INSTANCE) -> None:
        self.raised.append((name, value))
        self.simulation.raise_event(name, value, instance_id)

    # ---- the unusual ---------------------------------------------------------------------------------------

    def _disturbs(self) -> bool:
        """Perhaps does something that nobody asked for; returns whether it did."""
        if not self.faults or len(self.disturbances) >= _MOST_DISTURBANCES or self.ended:
            return False
        possible = self._possible()
        if not possible or self.chooser.below(_ODDS) < _ODDS - 1:
            return False
        possible[self.chooser.below(len(possible)) if len(possible) > 1 else 0]()
        return True

    def _possible(self) -> Sequence[Callable[[], None]]:
        simulation, faults = self.simulation, self.faults
        possible: list[Callable[[], None]] = []
        if "early" in faults and self.events:
            possible.append(self._raise_some)
        if "duplicate" in faults and self.raised:
            possible.append(self._raise_again)
        if "late" in faults and simulation.clock.next_alarm is not None:
            possible.append(self._let_time_pass)
        if "suspend" in faults:
            possible.append(self._resume if self._suspended else self._suspend)
        if "redeliver" in faults and simulation.turns and self._crashes < _MOST_CRASHES:
            possible.append(self._lose_answer)
        if "crash" in faults and self._crashes < _MOST_CRASHES and simulation.instance_ids:
            possible.append(self._crash)
        return possible

    def _raise_some(self) -> None:
        names = list(self.events)
        name = names[self.chooser.below(len(names)) if len(names) > 1 else 0]
        value = self.events[name]()
        self.disturbances.append(f"event {name!r} was raised with {shown(value)} whether it was waited for or not")
        self._raise(name, value)

    def _raise_again(self) -> None:
        name, value = self.raised[-1]
        self.disturbances.append(f"event {name!r} was raised a second time")
        self._raise(name, value)

    def _let_time_pass(self) -> None:
        self.disturbances.append("time passed until the next timer although there was work to do")
        self.simulation.skip()

    def _suspend(self) -> None:
        self._suspended = True
        self.disturbances.append("the instance was suspended")
        self.simulation.suspend()

    def _resume(self) -> None:
        self._suspended = False
        self.disturbances.append("the instance was resumed")
        self.simulation.resume()

    def _lose_answer(self) -> None:
        self._crashes += 1
        self.disturbances.append("the answer to a turn was lost, and the turn came again")
        self.simulation.take_turn(self.simulation.turns[0], answer=False)

    def _crash(self) -> None:
        self._crashes += 1
        self.disturbances.append("the worker was lost, and another one took its place")
        self.simulation.lose_worker()
