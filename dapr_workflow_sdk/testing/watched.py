"""Workflow code under observation: the calls it makes and where, what it waits for, how it takes being dropped."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Generator, Iterable
from dataclasses import dataclass, field
from typing import Any

from dapr_workflow_sdk.authoring.definitions import Definition, Registry
from dapr_workflow_sdk.authoring.tasks import Task, WhenAllTask, WhenAnyTask
from dapr_workflow_sdk.replay.calls import Call, Place, TimerCall
from dapr_workflow_sdk.replay.explanation import waiting_place
from dapr_workflow_sdk.replay.ledger import Ledger
from dapr_workflow_sdk.replay.stubbornness import keep_for_ever


@dataclass
class Run:
    """One run of workflow code.

    Attributes:
        calls: The calls it made, retries included.
        awaited: Tasks that it waited for, those inside of combinations too.
        waits: Where it waits, or waited last.
        stubborn: Where it waited when it was dropped and went on all the same; None if it did not go on.
        instance: What stands behind its context.
    """

    calls: list[Call] = field(default_factory=list[Call])
    awaited: set[int] = field(default_factory=set[int])
    waits: Place | None = None
    stubborn: Place | None = None
    instance: Any = None

    def place_of(self, call_id: int) -> Place | None:
        """Where a call was made."""
        return next((call.place for call in reversed(self.calls) if call.id == call_id), None)

    def never_awaited(self) -> list[Call]:
        """Calls whose results nobody waited for, in their order."""
        seen: set[int] = set()
        found: list[Call] = []
        for call in self.calls:
            task: Task[Any] = call.task
            if isinstance(call, TimerCall):
                if call.retries is not None:
                    continue
                if call.wait is not None:
                    task = call.wait.task
            if id(task) in seen:
                continue
            seen.add(id(task))
            if id(task) not in self.awaited:
                found.append(call)
        return found


class _WatchedLedger(Ledger):
    """A ledger that remembers what went through it."""

    __slots__ = ("_run",)

    def __init__(self, run: Run) -> None:
        super().__init__()
        self._run = run

    def add(self, call: Call) -> None:
        self._run.calls.append(call)
        super().add(call)


class Watch:
    """Watches workflows: `runs` has each run that was begun, in order."""

    def __init__(self) -> None:
        """Has seen nothing."""
        self.runs: list[Run] = []
        # Tasks are known by their ids, so they have to live as long.
        self._kept: list[Any] = []

    def registry(self, workflows: Iterable[Callable[..., Any]], activities: Iterable[Callable[..., Any]]) -> Registry:
        """A registry of these workflows, watched, and activities; others are found at module level."""
        registry = Registry()
        for activity in activities:
            registry.add("activity", activity)
        for workflow in workflows:
            definition = registry.add("workflow", workflow)
            registry._named["workflow", definition.name] = self._watched(definition)
        return registry

    def _watched(self, definition: Definition) -> Definition:
        function = definition.function
        watched: Any
        if inspect.iscoroutinefunction(function):

            async def watched_coroutine(ctx: Any, *arguments: Any) -> Any:
                run = self._begin(ctx)
                return await _Forwarded(self, run, function(ctx, *arguments))

            watched = watched_coroutine
        elif inspect.isgeneratorfunction(function):

            def watched_generator(ctx: Any, *arguments: Any) -> Generator[Any, Any, Any]:
                run = self._begin(ctx)
                return (yield from self._forward(run, function(ctx, *arguments)))

            watched = watched_generator
        else:

            def watched_function(ctx: Any, *arguments: Any) -> Any:
                run = self._begin(ctx)
                produced = function(ctx, *arguments)
                if inspect.iscoroutine(produced) or inspect.isgenerator(produced):
                    return self._forward(run, produced)
                return produced

            return dataclasses.replace(definition, function=watched_function, code=None)
        # A definition has code only where the function's own code is what runs, and only such runs are kept.
        code = watched.__code__ if definition.code is not None else None
        return dataclasses.replace(definition, function=watched, code=code)

    def _begin(self, ctx: Any) -> Run:
        run = Run(instance=ctx._calls)
        self.runs.append(run)
        ctx._calls._ledger = _WatchedLedger(run)
        return run

    def _forward(self, run: Run, running: Any) -> Generator[Any, Any, Any]:
        """Runs code from wait to wait, as its caller would, and writes down what it waits for."""
        send, value = running.send, None
        while True:
            try:
                yielded = send(value)
            except StopIteration as stop:
                return stop.value
            run.waits = waiting_place(running)
            if isinstance(yielded, Task):
                self._note(run, yielded)  # pyright: ignore[reportUnknownArgumentType]
            try:
                value = yield yielded
            except GeneratorExit:
                self._drop(run, running)
                raise
            except BaseException as error:  # noqa: BLE001 - whatever comes is the code's to handle
                send, value = running.throw, error
            else:
                send = running.send

    def _drop(self, run: Run, running: Any) -> None:
        place = waiting_place(running)
        refused = run.instance._refusals
        try:
            # As `close` does, which does not tell whether the code took it for an order to end.
            running.throw(GeneratorExit)
        except GeneratorExit:
            pass
        except StopIteration:
            run.stubborn = place
        except BaseException:  # noqa: BLE001, S110 - what code raises as it unwinds tells nobody anything
            pass
        else:
            run.stubborn = place
            keep_for_ever(running)
        if run.instance._refusals > refused:
            run.stubborn = place

    def _note(self, run: Run, task: Task[Any]) -> None:
        if id(task) in run.awaited:
            return
        self._kept.append(task)
        run.awaited.add(id(task))
        if isinstance(task, WhenAllTask | WhenAnyTask):
            for part in task.get_tasks():
                self._note(run, part)


class _Forwarded:
    """Forwards a coroutine inside of another one."""

    def __init__(self, watch: Watch, run: Run, running: Any) -> None:
        self._steps = watch._forward(run, running)

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._steps
