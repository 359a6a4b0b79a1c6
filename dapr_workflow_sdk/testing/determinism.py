"""Does a workflow replay? It is run in a simulation, and each turn is replayed while one thing at a time is changed.

First the workflow runs once under pinned conditions: a clock that stands still, fixed random numbers. Replays under the
same conditions must ask for the same; then the clock is moved, the time zone changed, and so on; what differs then
is due to that. Where code keeps state between runs, nothing else can be told apart and nothing else is tried.
"""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, cast

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import FailureDetails, WorkflowError
from dapr_workflow_sdk.replay.calls import Place
from dapr_workflow_sdk.taskhub.port import ActivityItem
from dapr_workflow_sdk.testing.conditions import CAN_PIN_CLOCK, CAN_PIN_ZONE, START, Conditions
from dapr_workflow_sdk.testing.determinism_report import RULES, DeterminismReport, Finding, Perturbation
from dapr_workflow_sdk.testing.elsewhere import (
    ANSWERING,
    THREAD,
    Job,
    Pretence,
    Unreachable,
    replay_elsewhere,
    source_of,
)
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.observed import Observer
from dapr_workflow_sdk.testing.properties import action_text, is_mistake
from dapr_workflow_sdk.testing.replays import Asked, PinnedTurns, chosen, replay_fresh, replay_parked
from dapr_workflow_sdk.testing.simulation import PlayedTurn, Simulation, told
from dapr_workflow_sdk.testing.watched import Watch
from dapr_workflow_sdk.testing.world import NOTHING_COMES, Answer, Calm, Chooser, Newest, Raises, Returns, World

__all__ = ["RULES", "DeterminismError", "DeterminismReport", "Finding", "assert_deterministic", "check_determinism"]

Function = Callable[..., Any]
Activities = Iterable[Function] | Mapping[Function | str, Any]
Events = Mapping[str, Any] | Sequence[tuple[str, Any]]

_HOUR = 3600.0
_DAY = 24 * _HOUR
# Other hours, weekdays, months and years; odd and even seconds; before and after.
_SHIFTS = (
    11 * _HOUR + 1,
    3 * _DAY + 19 * _HOUR + 1800,
    187 * _DAY + 7,
    10 * 365 * _DAY + 13,
    -6 * 365 * _DAY - 5 * _HOUR,
)
# Far to the east and far to the west, in the words of POSIX, which need no database of zones.
_ZONES = ("EAST-14", "WEST+11:30")
# A choice of two falls out the same for all of these about once in a thousand times.
_SEEDS = tuple(range(1, 11))
_HASH_SEEDS = (1, 2, 3, 4)
# Seconds of a turn after which it is called slow, if it takes as long so many times.
_SLOW = 0.5
_TIMES = 3


class DeterminismError(WorkflowError, AssertionError):
    """A workflow is not deterministic; its text is the report."""

    def __init__(self, report: DeterminismReport) -> None:
        """Keeps the report."""
        super().__init__(str(report))
        self.report = report


def assert_deterministic(workflow: Function, **how: Any) -> DeterminismReport:
    """Checks a workflow as `check_determinism` does, and takes the same arguments.

    Returns:
        The report, which has no findings but may say what could not be checked.

    Raises:
        DeterminismError: There are findings.
    """
    report = check_determinism(workflow, **how)
    if not report.ok:
        raise DeterminismError(report)
    return report


def check_determinism(
    workflow: Function,
    *,
    input: Any = None,
    activities: Activities = (),
    events: Events = (),
    workflows: Iterable[Function] = (),
    converter: Converter | None = None,
    other_processes: bool = True,
    most_steps: int = 400,
) -> DeterminismReport:
    """Runs a workflow in a simulation and replays every turn while one thing at a time is changed.

    Changed are the clock, the time zone, random numbers, the thread, the order in which activities finish, workers
    that restart at every turn, and, in other processes, the seed of hashes, the environment, and the moment of import.
    What the code does to the machine while it runs (files, network, threads, sleeping) is found as well, and calls that
    nobody waits for, and code that goes on when it is dropped.

    Only what runs is checked: give an input, results and events that lead through the code that matters, and check
    again with others. Activities run several times.

    Args:
        workflow: The workflow.
        input: Its input.
        activities: Activities it calls. A list runs the functions; a mapping answers each call with a value, or fails
            it with an exception.
        events: Names and payloads of events. Each is raised when the workflow waits for it and has nothing else to do.
        workflows: Child workflows that are not defined at module level.
        converter: How payloads are read and written; JSON by default.
        other_processes: Whether other processes are started. They are kept until this process ends.
        most_steps: After so many steps a run is cut off; what it did until then is checked.

    Returns:
        The report.

    Raises:
        RegistrationError: A function does not fit.
    """
    if ANSWERING:
        # This module is imported by a check, for its workflows alone.
        return DeterminismReport(
            getattr(workflow, "__name__", ""), (), ("anything: a check has imported this module",), 0
        )
    check = _Check(workflow, input, activities, events, tuple(workflows), converter, most_steps)
    # On a thread of its own, because the caller may be on an event loop.
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=THREAD) as pool:
        return pool.submit(check.run, other_processes).result()


class _Check:
    def __init__(
        self,
        workflow: Function,
        value: Any,
        activities: Activities,
        events: Events,
        workflows: tuple[Function, ...],
        converter: Converter | None,
        most_steps: int,
    ) -> None:
        self._workflow = workflow
        self._workflows = tuple(dict.fromkeys((workflow, *workflows)))
        self._value = value
        self._converter: Converter = converter or JsonConverter()
        self._own_converter = converter
        self._most_steps = most_steps
        self._pairs = list(events.items() if isinstance(events, Mapping) else events)
        functions = [activity for activity in activities if not isinstance(activity, str)]
        self._watch = Watch()
        self._registry: Registry = self._watch.registry(self._workflows, functions)
        self._name = self._registry.name_for("workflow", workflow)
        self._answers: dict[str, Any] = {}
        if isinstance(activities, Mapping):
            for activity, answer in cast("Mapping[Function | str, Any]", activities).items():
                name = activity if isinstance(activity, str) else self._registry.name_for("activity", activity)
                self._answers[name] = answer
        self._findings: list[Finding] = []
        self._not_checked: list[str] = []
        self._turns: list[PlayedTurn] = []

    # ---- playing -------------------------------------------------------------------------------------------

    def _play(
        self, chooser: Chooser, *, batches: bool = False, parks: bool = True, observer: Observer | None = None
    ) -> Execution:
        """One execution under pinned conditions."""
        left = list(self._pairs)

        def payload_of(name: str) -> Callable[[], Any]:
            def take() -> Any:
                # Each is raised once; the last of a name stands for all that follow.
                place = next((at for at, (given, _) in enumerate(left) if given == name), None)
                if place is None:
                    return next(value for given, value in reversed(self._pairs) if given == name)
                return left.pop(place)[1]

            return take

        turns = PinnedTurns(Conditions(), observer)
        with Simulation(self._registry, converter=self._converter, parks=parks, turn=turns) as simulation:
            world = World(
                simulation,
                chooser,
                answer=self._answer,
                events={name: payload_of(name) for name, _ in self._pairs},
                most_steps=self._most_steps,
                batches=batches,
            )
            return world.play(self._name, self._value)

    def _answer(self, item: ActivityItem) -> Answer:
        name = item.request.name
        if name not in self._answers:
            return None
        answer: Any = self._answers[name]
        if isinstance(answer, BaseException):
            return Raises(answer)
        if isinstance(answer, type) and issubclass(answer, BaseException):
            return Raises(answer(f"activity {name!r} failed"))
        return Returns(answer)

    # ---- the check -----------------------------------------------------------------------------------------

    def run(self, other_processes: bool) -> DeterminismReport:
        observer = Observer()
        execution = self._play(Calm(), observer=observer)
        runs = list(self._watch.runs)
        self._turns = chosen([turn for turn in execution.turns if turn.answered])
        self._look_at_deeds(observer)
        self._look_at_end(execution)
        self._look_at_waits(execution, runs)
        if execution.failure is not None and execution.failure.error_type == "EndlessTurn":
            self._not_checked.append("replays: the first run had to be ended")
            return DeterminismReport(self._name, self._deduplicated(), tuple(self._not_checked), len(self._turns))
        self._look_at_drops()
        if self._compare_replays():
            self._change_conditions()
            self._change_orders()
            if other_processes:
                self._go_elsewhere()
            else:
                self._not_checked.append("other processes (hash seed, environment, import): not asked for")
        else:
            self._not_checked.append(
                "the clock, random numbers and the rest: replays differ already while nothing is changed"
            )
        return DeterminismReport(self._name, self._deduplicated(), tuple(self._not_checked), len(self._turns))

    def _deduplicated(self) -> tuple[Finding, ...]:
        return tuple(dict.fromkeys(self._findings))

    def _add(
        self, rule: str, message: str, place: Place | None, event: int = 0, perturbation: Perturbation = ""
    ) -> None:
        path, line = place or ("", 0)
        self._findings.append(Finding(rule, message, path, line, event, perturbation))

    # ---- what shows without any change ---------------------------------------------------------------------

    def _look_at_deeds(self, observer: Observer) -> None:
        for deed in observer.deeds:
            self._add(deed.rule, f"workflow {self._name!r} {deed.what}", deed.place)
        if observer.slowest <= _SLOW or any(deed.rule == "sleep" for deed in observer.deeds):
            return
        # A busy machine makes any turn slow now and then; code that blocks is slow each time.
        slowest = [observer.slowest]
        while len(slowest) < _TIMES and slowest[-1] > _SLOW:
            again = Observer()
            replay_fresh(self._turns, self._registry, self._watch, self._converter, Conditions(), again)
            slowest.append(again.slowest)
        if min(slowest) > _SLOW:
            self._add("blocks", f"a turn of workflow {self._name!r} took {min(slowest):.1f} s", self._definition())

    def _definition(self) -> Place | None:
        definition = self._registry.find("workflow", self._name)
        if definition is None:
            return None
        path, _, line = definition.location.rpartition(":")
        return (path, int(line)) if line.isdecimal() else None

    def _look_at_end(self, execution: Execution) -> None:
        if execution.unfinished == NOTHING_COMES:
            message = f"workflow {self._name!r} waits here for what can never come"
            self._add("waits-for-nothing", message, self._last_place(), len(execution.events))
        elif execution.unfinished:
            self._not_checked.append(f"what follows in {self._name!r}: {execution.unfinished}")
        failure = execution.failure
        if failure is None:
            return
        broken = _broken_rule(failure)
        # A task that is read too early was not waited for, which is told at its own place.
        if broken is None and is_mistake(failure) and failure.error_type != "ValueError":
            self._add(
                "mistake", f"workflow {self._name!r} fails with {failure}", self._last_place(), len(execution.events)
            )
            return
        if broken is None:
            if execution.status is WorkflowStatus.FAILED:
                self._not_checked.append(f"what would have followed in {self._name!r}, which failed with {failure}")
            return
        rule, details = broken
        # The words of the failure name the code that watches, where the author's code is meant.
        place = self._last_place()
        if rule != "not-a-task":
            self._add(rule, f"workflow {self._name!r} fails with {details.message}", place, len(execution.events))
            return
        what = details.message.partition(", yielded ")[2] or details.message.partition(", awaited ")[2]
        what = what.partition(" at ")[0]
        self._add(rule, f"workflow {self._name!r} waits for {what}, which is not a task", place, len(execution.events))

    def _last_place(self) -> Place | None:
        return self._watch.runs[-1].waits if self._watch.runs else None

    def _look_at_waits(self, execution: Execution, runs: Sequence[Any]) -> None:
        """Calls that nobody waited for, where the code came to its end."""
        failure = execution.failure
        if execution.unfinished or not runs:
            return
        if failure is not None and "Task" not in failure.message and "task has not completed" not in failure.message:
            return
        if failure is not None and failure.error_type == "TaskFailedError":
            return
        for run in runs:
            if run.instance.outcome is None:
                continue
            for call in run.never_awaited():
                what = call.label.removeprefix("the timer of ")
                self._add("never-awaited", f"nobody waits for {what} in workflow {self._name!r}", call.place)

    def _look_at_drops(self) -> None:
        """Whether code that is dropped after each turn lets itself be dropped."""
        for turn in self._turns:
            if turn.output.outcome is not None:
                continue
            begun = len(self._watch.runs)
            self._fresh([turn], Conditions())
            for run in self._watch.runs[begun:]:
                if run.stubborn is not None:
                    message = f"workflow {self._name!r} goes on when it is dropped while it waits here"
                    self._add("swallows-exit", message, run.stubborn, len(turn.past) + len(turn.new))
                    return

    # ---- replays -------------------------------------------------------------------------------------------

    def _fresh(self, turns: Sequence[PlayedTurn], conditions: Conditions) -> list[Asked]:
        return replay_fresh(turns, self._registry, self._watch, self._converter, conditions)

    def _compare_replays(self) -> bool:
        """Whether replays under the same conditions ask for the same."""
        recorded = [_asked(turn) for turn in self._turns]
        first = self._fresh(self._turns, Conditions())
        second = self._fresh(self._turns, Conditions())
        self._reference = first
        if self._differs(first, second, "global-state", "again", "replayed a second time"):
            return False
        return not self._differs(recorded, first, "replay", "fresh", "replayed from the start")

    def _differs(
        self,
        expected: Sequence[Asked],
        found: Sequence[Asked],
        rule: str,
        perturbation: Perturbation,
        how: str,
        turns: Sequence[PlayedTurn] | None = None,
    ) -> bool:
        for turn, before, now in zip(turns or self._turns, expected, found, strict=True):
            if not before.same(now):
                self._tell_difference(turn, before, now, rule, perturbation, how)
                return True
        return False

    def _tell_difference(
        self, turn: PlayedTurn, before: Asked, now: Asked, rule: str, perturbation: Perturbation, how: str
    ) -> None:
        position, was, is_now = _first_difference(before, now)
        place = _place(position, before, now)
        event = len(turn.past) + len(turn.new) + position + 1
        self._add(
            rule,
            f"workflow {self._name!r} asks for {is_now} when it is {how}, where it asked for {was}",
            place,
            event,
            perturbation,
        )

    # ---- changes -------------------------------------------------------------------------------------------

    def _change_conditions(self) -> None:
        turns = self._turns
        reads_clock = False
        if CAN_PIN_CLOCK:
            moved = replay_parked(turns, self._registry, self._watch, self._converter, Conditions())
            reads_clock = self._differs(
                self._reference, moved, "wall-clock", "clock", "run while the clock goes on"
            ) or self._try_each(
                "wall-clock", "clock", "replayed at another time", [Conditions(START + shift) for shift in _SHIFTS]
            )
        else:
            self._not_checked.append("the clock: time-machine is not installed (it comes with the extra 'testing')")
        if CAN_PIN_ZONE and not reads_clock:
            # What the clock shows depends on the zone as well, which is the same mistake.
            self._try_each(
                "time-zone", "time zone", "replayed in another time zone", [Conditions(zone=zone) for zone in _ZONES]
            )
        elif not CAN_PIN_ZONE:
            self._not_checked.append("the time zone: this platform cannot change it while a program runs")
        self._try_each(
            "random", "random numbers", "replayed with other random numbers", [Conditions(seed=seed) for seed in _SEEDS]
        )
        with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="another") as pool:
            found = pool.submit(self._fresh, turns, Conditions()).result()
        self._differs(self._reference, found, "thread", "thread", "replayed on another thread")

    def _try_each(self, rule: str, perturbation: Perturbation, how: str, conditions: Sequence[Conditions]) -> bool:
        return any(
            self._differs(self._reference, self._fresh(self._turns, changed), rule, perturbation, how)
            for changed in conditions
        )

    def _change_orders(self) -> None:
        """Other executions: activities in other orders, and a worker that restarts at every turn."""
        orders: tuple[tuple[str, Perturbation, str, Execution], ...] = (
            ("restart", "restart", "replayed after a restart at every turn", self._play(Calm(), parks=False)),
            ("order", "order", "replayed after activities finished last in, first out", self._play(Newest())),
            ("order", "order", "replayed after activities finished all at once", self._play(Newest(), batches=True)),
        )
        for rule, perturbation, how, execution in orders:
            failure = execution.failure
            if failure is not None and failure.error_type == "NonDeterminismError":
                self._add(
                    rule,
                    f"workflow {self._name!r} no longer matches its history when it is {how}: {failure.message}",
                    self._watch.runs[-1].waits,
                    len(execution.events),
                    perturbation,
                )
                return
            turns = chosen([turn for turn in execution.turns if turn.answered])
            again = self._fresh(turns, Conditions())
            if self._differs([_asked(turn) for turn in turns], again, rule, perturbation, how, turns):
                return

    # ---- other processes -----------------------------------------------------------------------------------

    def _go_elsewhere(self) -> None:
        try:
            sources = [source_of(function) for function in self._workflows]
        except Unreachable as reason:
            self._not_checked.append(f"other processes (hash seed, environment, import): {reason}")
            return
        job = Job(sources, Job.packed(self._turns), self._own_converter, Conditions())
        try:
            there = replay_elsewhere(job, _HASH_SEEDS[0])
            again = replay_elsewhere(job, _HASH_SEEDS[0])
            if self._differs(there, again, "elsewhere", "process", "replayed in another process"):
                return
            # Hash seeds first: those of this process are not known, so others are compared among themselves.
            for seed in _HASH_SEEDS[1:]:
                other = replay_elsewhere(job, seed)
                if self._differs(there, other, "set-order", "hash seed", "replayed with another hash seed"):
                    return
            if self._differs(self._reference, there, "elsewhere", "process", "replayed in another process"):
                return
            self._try_elsewhere(there, job, "machine", "machine", "replayed on another machine", pretence="machine")
            if CAN_PIN_CLOCK:
                for shift in _SHIFTS:
                    later = replace(job, imported_at=START + shift)
                    found = replay_elsewhere(later, _HASH_SEEDS[0])
                    how = "replayed by a process that imported it at another time"
                    if self._differs(there, found, "import-time", "import", how):
                        return
        except Unreachable as reason:
            self._not_checked.append(f"other processes (hash seed, environment, import): {reason}")

    def _try_elsewhere(
        self, there: list[Asked], job: Job, rule: str, perturbation: Perturbation, how: str, *, pretence: Pretence
    ) -> None:
        found = replay_elsewhere(replace(job, pretence=pretence), _HASH_SEEDS[0])
        self._differs(there, found, rule, perturbation, how)


def _asked(turn: PlayedTurn) -> Asked:
    actions, status = told(turn.output)
    return Asked(actions, status, {}, None)


def _first_difference(before: Asked, now: Asked) -> tuple[int, str, str]:
    """Position of the first action that differs, and both in words."""
    for position in range(max(len(before.actions), len(now.actions))):
        was = before.actions[position] if position < len(before.actions) else None
        found = now.actions[position] if position < len(now.actions) else None
        if was != found:
            return position, _text(was), _text(found)
    return 0, f"custom status {before.custom_status!r}", f"custom status {now.custom_status!r}"


def _text(action: Any) -> str:
    return "nothing more" if action is None else action_text(action)


def _place(position: int, before: Asked, now: Asked) -> Place | None:
    for asked in (now, before):
        if position < len(asked.actions):
            place = asked.places.get(asked.actions[position].id)
            if place is not None:
                return place
    return now.waits or before.waits


def _broken_rule(failure: FailureDetails) -> tuple[str, FailureDetails] | None:
    """The rule that a failure says was broken, and the part of it that says so."""
    if failure.error_type == "NonDeterminismError":
        return "replay", failure
    if failure.error_type == "AuthoringError":
        return ("context-outside" if "was used outside" in failure.message else "not-a-task"), failure
    return None if failure.cause is None else _broken_rule(failure.cause)
