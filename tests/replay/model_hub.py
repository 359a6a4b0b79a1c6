"""A task hub in miniature: one instance, the engine's own transitions, and a schedule that decides what happens."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.engine.conclusion import conclude
from dapr_workflow_sdk.engine.state import InboxEvent, InstanceState
from dapr_workflow_sdk.engine.transitions import accept, accept_unstored, create, event_at, wants
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER, text_of, timestamp_from_ns
from tests import builders
from tests.strategies import ERROR_TYPES, EVENTS, Choices

_SECOND = 1_000_000_000
_RESULTS = ("null", "0", "false", '""', "[]", '"done"', '{"n": 1}', "7")


@dataclass(frozen=True)
class CommittedTurn:
    """A turn that was committed, as a later replay of its history meets it."""

    generation: int
    past: list[pb.HistoryEvent]
    new: list[pb.HistoryEvent]
    output: TurnOutput

    def told(self) -> tuple[Any, ...]:
        """Everything that the turn told the task hub."""
        return told(self.output)


def told(output: TurnOutput) -> tuple[Any, ...]:
    """What of an output a task hub learns."""
    actions = []
    for action in output.actions:
        if action.completeWorkflow.failureDetails.HasField("stackTrace"):
            # Traces name the frames of the machinery, which differ between a first run and a replay.
            bare = pb.WorkflowAction()
            bare.CopyFrom(action)
            bare.completeWorkflow.failureDetails.ClearField("stackTrace")
            actions.append(bare)
        else:
            actions.append(action)
    return actions, output.custom_status


@dataclass
class ModelHub:
    """Runs one instance of one workflow by a schedule.

    Two workers with parked runs share the turns, so each of them misses some; with every turn a third worker that
    keeps nothing runs the same and must say the same.
    """

    function: Callable[..., Any]
    choices: Choices
    runs_to_go: int = 2
    suspends: bool = True
    now: int = builders.EPOCH_SECONDS * _SECOND
    turns: list[CommittedTurn] = field(default_factory=list)
    log: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.registry = Registry(module_level=False)
        self.registry.add("workflow", self.function, "flow")
        self.converter = JsonConverter()
        self.workers = [ParkedInstances(8), ParkedInstances(8)]
        start = builders.started("flow", json.dumps(self.runs_to_go))
        self.state: InstanceState
        self.state, _ = create("", 1, start, self.now, 1)
        self._executions = 1

    # ---- what the world does -------------------------------------------------------------------------------

    def run(self, steps: int = 25) -> None:
        """Lets things happen by the schedule, then lets everything that is pending come true."""
        for _ in range(steps):
            if self.state.ended:
                return
            self._happen()
        self._finish()

    def _happen(self) -> None:
        what = self.choices.below(16)
        if what == 5:
            self.lose_turn()
        elif what in (6, 7):
            self.complete_activity()
        elif what == 8:
            self.complete_child()
        elif what == 9:
            self.fire_timer()
        elif what in (10, 11):
            self.raise_event(EVENTS[self.choices.below(len(EVENTS))])
        elif what == 12 and self.suspends:
            self.deliver(builders.suspended() if self.choices.below(2) else builders.resumed())
        elif what == 13 and self.choices.one_in(6):
            self.deliver(builders.terminated('"stopped"'))
        elif what == 14:
            self.deliver_stray()
        elif self.state.inbox:
            self.turn()
        elif not (self.complete_activity() or self.complete_child()):
            self.fire_timer()

    def _finish(self) -> None:
        """Property (e): whatever happened, answering all that is pending brings the instance to its end."""
        # Lost turns may have brought suspensions and resumes into another order than the hub saw them in.
        if self.suspends:
            self.deliver(builders.resumed())
        for _ in range(400):
            if self.state.ended:
                return
            if self.state.inbox:
                self.turn()
            elif self.state.row.suspended:
                self.deliver(builders.resumed())
            elif not (self.complete_activity() or self.complete_child() or self.fire_timer()):
                names = self.waited_for()
                assert names, f"nothing is pending and the instance goes on: {self.log}"
                self.raise_event(names[self.choices.below(len(names))])
        raise AssertionError(f"the instance never ends: {self.log[-30:]}")

    def waited_for(self) -> list[str]:
        """Names of events that the instance waits for without a timeout, as its history tells."""
        return [
            event.timerCreated.externalEvent.name
            for event in self.state.history
            if event.WhichOneof("eventType") == "timerCreated" and event.timerCreated.fireAt == NEVER
        ]

    def tick(self) -> int:
        """A little time passes."""
        self.now += 1_000_000 + self.choices.below(1000)
        return self.now

    def deliver(self, event: pb.HistoryEvent) -> None:
        """An event arrives from outside."""
        if self.state.ended:
            return
        event.timestamp.CopyFrom(timestamp_from_ns(self.tick()))
        accept(self.state, event)

    def raise_event(self, name: str) -> None:
        # Upper and lower case do not matter to anybody.
        spelled = name.upper() if self.choices.one_in(4) else name
        self.deliver(builders.raised(spelled, self._result()))

    def _result(self) -> str | None:
        place = self.choices.below(len(_RESULTS) + 1)
        return None if place == len(_RESULTS) else _RESULTS[place]

    def _failure(self) -> tuple[str, str]:
        return "no luck", ERROR_TYPES[self.choices.below(len(ERROR_TYPES))]

    def complete_activity(self) -> bool:
        """Some activity returns or fails."""
        taken = {item.task for item in self.state.inbox}
        keys = [key for key in self.state.tasks if key not in taken]
        if not keys:
            return False
        key = keys[self.choices.below(len(keys))]
        if self.choices.below(3) < 2:
            event = builders.activity_done(key[1], self._result())
        else:
            event = builders.activity_failed(key[1], *self._failure())
        event.timestamp.CopyFrom(timestamp_from_ns(self.tick()))
        if wants(self.state, event, key):
            accept_unstored(self.state, event, task=key)
        else:
            del self.state.tasks[key]
        return True

    def complete_child(self) -> bool:
        """Some child completes, fails or is terminated."""
        if not self.state.children:
            return False
        ids = list(self.state.children)
        call_id = ids[self.choices.below(len(ids))]
        what = self.choices.below(4)
        if what < 2:
            event = builders.child_done(call_id, self._result())
        elif what == 2:
            event = builders.child_failed(call_id, *self._failure())
        else:
            event = builders.child_terminated(call_id)
        if wants(self.state, event):
            self.deliver(event)
        return True

    def fire_timer(self) -> bool:
        """The next timer fires."""
        taken = {item.timer for item in self.state.inbox}
        waiting = [(fire_at, timer) for timer, fire_at in self.state.timers.items() if timer not in taken]
        if not waiting:
            return False
        fire_at, timer = min(waiting)
        self.now = max(self.now, fire_at)
        event = builders.timer_fired(timer)
        event.timestamp.CopyFrom(timestamp_from_ns(self.tick()))
        if wants(self.state, event):
            accept_unstored(self.state, event, timer=timer)
        return True

    def deliver_stray(self) -> None:
        """A result comes that nobody asked for, as sidecars without deduplication send them."""
        past = [
            event
            for event in self.state.history
            if event.WhichOneof("eventType") in ("taskCompleted", "taskFailed", "timerFired")
        ]
        if past:
            again = pb.HistoryEvent()
            again.CopyFrom(past[self.choices.below(len(past))])
            self.deliver(again)

    # ---- turns ---------------------------------------------------------------------------------------------

    def _new_events(self) -> tuple[list[InboxEvent], list[pb.HistoryEvent]]:
        marker = event_at(self.tick())
        marker.workflowStarted.SetInParent()
        taken = list(self.state.inbox)
        return taken, [marker, *(item.event for item in taken)]

    def _run_worker(self, new: list[pb.HistoryEvent]) -> TurnOutput:
        past = list(self.state.history)
        instance_id = self.state.row.instance_id
        worker = self.workers[self.choices.below(len(self.workers))]
        output = run_turn(instance_id, past, new, self.registry, self.converter, worker)
        afresh = run_turn(instance_id, past, new, self.registry, self.converter, ParkedInstances(0))
        assert told(output) == told(afresh), f"a parked run differs from a replay: {self.log}"
        return output

    def turn(self) -> None:
        """A turn is run and committed."""
        taken, new = self._new_events()
        past = list(self.state.history)
        generation = self.state.row.generation
        output = self._run_worker(new)
        self._executions += 1
        self.log.append(f"{[e.WhichOneof('eventType') for e in new[1:]]} -> {builders.summary(output.actions)}")
        self.turns.append(CommittedTurn(generation, past, new, output))
        answer = pb.WorkflowResponse(
            instanceId=self.state.row.instance_id,
            actions=output.actions,
            customStatus=text_of(output.custom_status),
        )
        conclude(self.state, taken, new, answer, self.tick(), lambda: f"execution-{self._executions}")

    def lose_turn(self) -> None:
        """A worker runs a turn and its answer is lost; what it was given comes again later, in another order."""
        if not self.state.inbox:
            return
        self._run_worker(self._new_events()[1])
        self.log.append("lost a turn")
        if self.choices.below(2):
            # The start stays first, as task hubs have it; what else was not committed has no order yet.
            first = [item for item in self.state.inbox if item.event.HasField("executionStarted")]
            rest = [item for item in self.state.inbox if not item.event.HasField("executionStarted")]
            self.state.inbox[:] = [*first, *self.choices.shuffled(rest)]
