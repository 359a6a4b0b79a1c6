"""A state machine for hypothesis: one instance of a workflow, moved by rules, and invariants that you write.

Needs hypothesis, which comes with the extra ``testing``. Example::

    class Orders(WorkflowMachine):
        workflow = staticmethod(order)
        inputs = st.floats(1, 5000)
        activities = [charge, refund]
        events = {"approval": st.booleans()}

        @invariant()
        def never_refunds_what_was_not_charged(self):
            assert len(self.returned(refund)) <= len(self.returned(charge))

    TestOrders = Orders.TestCase

Hypothesis looks for a sequence of steps after which an invariant fails, and prints the shortest one it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, ClassVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.client.state import WorkflowStatus, read_state
from dapr_workflow_sdk.errors import RegistrationError
from dapr_workflow_sdk.taskhub.wire.values import FINAL_STATUSES
from dapr_workflow_sdk.testing.executions import AnsweredCall, Execution
from dapr_workflow_sdk.testing.properties import replays_equal
from dapr_workflow_sdk.testing.simulation import Simulation
from dapr_workflow_sdk.testing.strategies import DEFAULT_FAILURES, Answers, Failures
from dapr_workflow_sdk.testing.world import Calm, World

Function = Callable[..., Any]


# More in a row, and the engine holds an instance back.
_MOST_LOSSES = 2


class WorkflowMachine(RuleBasedStateMachine):
    """Moves one instance of a workflow step by step. Subclass it, and write methods with ``@invariant()``.

    Attributes:
        workflow: The workflow, in ``staticmethod()``.
        inputs: Its inputs; without them it gets none.
        activities: Activities it calls, as in `executions`.
        events: Names of events that may be raised, and their payloads.
        failures: What activities fail with, as in `executions`.
        workflows: Child workflows that are not defined at module level.
    """

    workflow: ClassVar[Function]
    inputs: ClassVar[st.SearchStrategy[Any]] = st.none()
    activities: ClassVar[Iterable[Function] | Mapping[Any, st.SearchStrategy[Any] | None]] = ()
    events: ClassVar[Mapping[str, st.SearchStrategy[Any]]] = {}
    failures: ClassVar[Failures] = DEFAULT_FAILURES
    workflows: ClassVar[Iterable[Function]] = ()

    def __init__(self) -> None:
        """Opens an engine for the instance."""
        super().__init__()
        if not hasattr(type(self), "workflow"):
            raise RegistrationError(f"{type(self).__name__} needs a workflow: write workflow = staticmethod(...).")
        registry = Registry()
        self._name = registry.add("workflow", type(self).workflow).name
        for child in self.workflows:
            registry.add("workflow", child)
        self._answers = Answers(registry, self.activities, self.failures)
        self._simulation = Simulation(registry)
        self._world = World(self._simulation, Calm())
        self._input: Any = None
        self._suspended = False
        self._losses = 0

    # ---- what invariants look at ---------------------------------------------------------------------------

    @property
    def status(self) -> WorkflowStatus:
        """Where the instance stands."""
        return read_state(self._simulation.state()).runtime_status

    @property
    def custom_status(self) -> str | None:
        """Its custom status."""
        state = self._simulation.state()
        return state.customStatus.value if state.HasField("customStatus") else None

    @property
    def calls(self) -> list[AnsweredCall]:
        """Activities that were answered, in the order of the answers."""
        return list(self._world.calls)

    @property
    def waiting(self) -> list[str]:
        """Names of activities that were called and are not answered."""
        return [item.request.name for item in self._simulation.activities]

    def returned(self, activity: Function | str) -> list[AnsweredCall]:
        """The calls of an activity that returned."""
        registry = self._simulation.registry
        name = activity if isinstance(activity, str) else registry.name_for("activity", activity)
        return [call for call in self._world.calls if call.name == name and call.succeeded]

    @property
    def execution(self) -> Execution:
        """The execution so far, for the ready-made properties."""
        return self._world.recorded(self._name, self._input)

    # ---- rules ---------------------------------------------------------------------------------------------

    @property
    def _runs(self) -> bool:
        return self._simulation.status() not in FINAL_STATUSES

    @initialize(data=st.data())
    def start(self, data: st.DataObject) -> None:
        """The instance is started."""
        self._input = data.draw(type(self).inputs, label="input")
        self._simulation.start(self._name, self._input)

    @precondition(lambda self: self._simulation.turns)
    @rule()
    def take_turn(self) -> None:
        """The worker takes the turn that has waited longest."""
        self._losses = 0
        self._simulation.take_turn(self._simulation.turns[0])

    @precondition(lambda self: self._simulation.activities)
    @rule(data=st.data())
    def answer_activity(self, data: st.DataObject) -> None:
        """Some activity returns or fails."""
        activities = self._simulation.activities
        place = 0 if len(activities) == 1 else data.draw(st.integers(0, len(activities) - 1), label="which activity")
        item = activities[place]
        answer = self._answers.draw(data.draw, item)
        self._world.answer = lambda _: answer
        self._world.answer_activity(item)

    @precondition(lambda self: self.events and self._runs)
    @rule(data=st.data())
    def raise_event(self, data: st.DataObject) -> None:
        """Some event is raised, whether it is waited for or not."""
        name = data.draw(st.sampled_from(sorted(self.events)), label="event")
        value = data.draw(self.events[name], label="payload")
        self._world.raised.append((name, value))
        self._simulation.raise_event(name, value)

    @precondition(lambda self: self._runs and self._simulation.clock.next_alarm is not None)
    @rule()
    def let_time_pass(self) -> None:
        """Time passes until the next timer fires."""
        self._simulation.skip()

    @precondition(lambda self: self._runs)
    @rule()
    def suspend_or_resume(self) -> None:
        """The instance is suspended, or resumed if it is."""
        self._suspended = not self._suspended
        if self._suspended:
            self._simulation.suspend()
        else:
            self._simulation.resume()

    @precondition(lambda self: self._runs and self._simulation.turns and self._losses < _MOST_LOSSES)
    @rule()
    def lose_answer(self) -> None:
        """A turn is run and its answer is lost, so it comes again."""
        self._losses += 1
        self._simulation.take_turn(self._simulation.turns[0], answer=False)

    @precondition(lambda self: self._runs and self._losses < _MOST_LOSSES)
    @rule()
    def lose_worker(self) -> None:
        """The worker is lost, and another one takes its place."""
        self._losses += 1
        self._simulation.lose_worker()

    @precondition(lambda self: not self._runs)
    @rule()
    def rest(self) -> None:
        """The instance has ended; hypothesis wants something that can be done all the same."""

    def teardown(self) -> None:
        """Looks whether every turn replays, and closes the engine."""
        try:
            if self._simulation.instance_ids:
                replays_equal(self.execution)
        finally:
            self._simulation.close()
