"""Strategies for hypothesis: executions and histories of workflows, as a hostile world brings them about.

Needs hypothesis, which comes with the extra ``testing``. Example::

    @given(executions(order, st.floats(1, 5000), activities=[charge, refund], events={"approval": st.booleans()}))
    def test_orders_balance(execution):
        completes(execution)
        replays_equal(execution)
        compensations_balance(execution, {charge: refund})

Hypothesis shrinks a counterexample to the shortest one it finds, and prints its timeline.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol, TypeVar, cast

from hypothesis import strategies as st

from dapr_workflow_sdk.authoring.definitions import UNTYPED, Registry, result_type_of
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import RegistrationError
from dapr_workflow_sdk.taskhub.port import ActivityItem
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.simulation import Simulation
from dapr_workflow_sdk.testing.world import FAULTS, Answer, Fault, Raises, Returns, World

__all__ = ["FAULTS", "Execution", "ExecutionHistory", "Fault", "executions", "histories"]

T = TypeVar("T")

Function = Callable[..., Any]
# A strategy of results; or None, which lets the activity's own function run.
Results = st.SearchStrategy[Any] | None
Failures = Iterable[BaseException] | Mapping[Function | str, Iterable[BaseException]]

# One answer in so many is a failure, where there may be failures.
_FAILURE_ODDS = 4


class ActivityFailure(Exception):  # noqa: N818 - it reads as what happened, in timelines
    """What an activity fails with where a test does not say."""


DEFAULT_FAILURES: Failures = (ActivityFailure("it did not work"),)


class Draw(Protocol):
    """What draws a value from a strategy."""

    def __call__(self, strategy: st.SearchStrategy[T], label: object = None) -> T: ...


class _Drawn:
    """A chooser that draws."""

    def __init__(self, draw: Draw) -> None:
        self._draw = draw
        self._numbers: dict[int, st.SearchStrategy[int]] = {}

    def below(self, bound: int) -> int:
        strategy = _NUMBERS.get(bound)
        if strategy is None:
            strategy = _NUMBERS[bound] = st.integers(0, bound - 1)
        return self._draw(strategy)


_NUMBERS: dict[int, st.SearchStrategy[int]] = {}


class Answers:
    """How activities are answered: by drawn results, their own functions, or failures."""

    def __init__(
        self,
        registry: Registry,
        activities: Iterable[Function] | Mapping[Function | str, Results],
        failures: Failures,
    ) -> None:
        """Registers the activities; for the rest see `executions`."""
        self._results: dict[str, Results] = {}
        if isinstance(activities, Mapping):
            given = cast("Mapping[Function | str, Results]", activities)
            for activity, results in given.items():
                self._results[_register(registry, activity)] = results
        else:
            for activity in activities:
                self._results[_register(registry, activity)] = _results_of(activity)
        self._failures: dict[str, tuple[BaseException, ...]] = {}
        self._any: tuple[BaseException, ...] = ()
        if isinstance(failures, Mapping):
            named = cast("Mapping[Function | str, Iterable[BaseException]]", failures)
            for activity, errors in named.items():
                name = activity if isinstance(activity, str) else registry.name_for("activity", activity)
                self._failures[name] = tuple(errors)
        else:
            self._any = tuple(failures)

    def draw(self, draw: Draw, item: ActivityItem) -> Answer:
        """How an activity is answered this time."""
        name = item.request.name
        failures = self._failures.get(name, self._any)
        # The usual number is 0, so failures shrink to results.
        if failures and draw(_failing) == _FAILURE_ODDS - 1:
            return Raises(failures[0] if len(failures) == 1 else draw(st.sampled_from(failures)))
        results = self._results.get(name, _NOTHING if name not in self._results else None)
        return None if results is None else Returns(draw(results))


_failing = st.integers(0, _FAILURE_ODDS - 1)
_NOTHING: st.SearchStrategy[Any] = st.none()


def _register(registry: Registry, activity: Function | str) -> str:
    if isinstance(activity, str):
        return activity
    return registry.add("activity", activity).name


def _results_of(activity: Function) -> st.SearchStrategy[Any]:
    """Results as the activity annotates them."""
    wanted = result_type_of(activity)
    if wanted is UNTYPED or wanted in (None, type(None), Any):
        return _NOTHING
    return st.from_type(wanted)


def _registry_of(workflow: Function, workflows: Iterable[Function]) -> tuple[Registry, str]:
    registry = Registry()
    name = registry.add("workflow", workflow).name
    for other in workflows:
        registry.add("workflow", other)
    return registry, name


def executions(
    workflow: Function,
    inputs: st.SearchStrategy[Any] | None = None,
    *,
    activities: Iterable[Function] | Mapping[Function | str, st.SearchStrategy[Any] | None] = (),
    events: Mapping[str, st.SearchStrategy[Any]] | None = None,
    failures: Failures = DEFAULT_FAILURES,
    faults: Collection[Fault] = FAULTS,
    workflows: Iterable[Function] = (),
    converter: Converter | None = None,
    most_steps: int = 400,
    history_file: str | Path | None = None,
) -> st.SearchStrategy[Execution]:
    """Executions of a workflow: the real engine and the real replay, in every order that the world may choose.

    Drawn are the input, what each activity returns or fails with, the order in which turns and activities are done,
    when events come (also before anybody waits for them, and twice), whether timers win or activities, suspensions,
    lost workers, and turns that are run twice because an answer was lost. Time is virtual.

    Args:
        workflow: The workflow.
        inputs: Its inputs; without them it gets none.
        activities: Activities it calls. A list draws what each is annotated to return; a mapping says what each
            returns, where None lets the function itself run. Activities that are not named return None.
        events: Names of events that may be raised, and their payloads. An event that is waited for is raised at
            last, or its timeout comes.
        failures: What activities fail with; one list for all or one for each. An empty one lets nothing fail.
        faults: What may disturb the execution besides; of `FAULTS`.
        workflows: Child workflows that are not defined at module level.
        converter: How payloads are read and written; JSON by default.
        most_steps: After so many steps an execution is given up as one that does not end.
        history_file: Where the history of each execution is written; when hypothesis reports a counterexample, that
            is the last one it ran. By default ``DAPR_WORKFLOW_COUNTEREXAMPLES`` names a folder for such files.

    Returns:
        A strategy of executions. Their text is a timeline.

    Raises:
        RegistrationError: A function does not fit.
    """
    registry, name = _registry_of(workflow, workflows)
    answers = Answers(registry, activities, failures)
    raised = dict(events or {})
    chosen_faults = frozenset(faults)
    if unknown := chosen_faults - FAULTS:
        raise RegistrationError(f"No fault is called {min(unknown)!r}. Known: {', '.join(sorted(FAULTS))}.")
    given = inputs if inputs is not None else st.none()
    file = _history_file(name, history_file)

    @st.composite
    def drawn(draw: st.DrawFn) -> Execution:
        value = draw(given)
        chooser = _Drawn(draw)
        with Simulation(registry, converter=converter) as simulation:
            world = World(
                simulation,
                chooser,
                answer=lambda item: answers.draw(draw, item),
                events={event: functools.partial(draw, payload) for event, payload in raised.items()},
                faults=chosen_faults,
                most_steps=most_steps,
            )
            execution = world.play(name, value)
        if file is not None:
            execution.save(file)
        return execution

    return drawn()


def _history_file(name: str, given: str | Path | None) -> Path | None:
    if given is not None:
        return Path(given)
    folder = os.environ.get("DAPR_WORKFLOW_COUNTEREXAMPLES")
    return None if not folder else Path(folder) / f"{name}.history.json"


class ExecutionHistory:
    """A history that an execution left, as ``dapr-workflow export`` writes it; its text is the timeline.

    Attributes:
        document: The history as a document, which `Replayer.replay` takes.
        execution: What it is the history of.
    """

    def __init__(self, execution: Execution) -> None:
        """Keeps the execution."""
        self.execution = execution
        self.document: Mapping[str, Any] = execution.document()

    def save(self, path: str | Path) -> Path:
        """Writes it to a file; returns its path."""
        return self.execution.save(path)

    def __repr__(self) -> str:
        return f"<history\n{self.execution.timeline()}\n>"


def histories(workflow: Function, inputs: st.SearchStrategy[Any] | None = None, **how: Any) -> st.SearchStrategy[Any]:
    """Histories of a workflow, as executions leave them behind; takes what `executions` takes."""
    return executions(workflow, inputs, **how).map(ExecutionHistory)
