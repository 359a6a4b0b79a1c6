"""Tasks: what a workflow waits for, and the two combinators."""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, Generic, cast

from typing_extensions import TypeVar

T = TypeVar("T", default=Any)
T_co = TypeVar("T_co", covariant=True)


class Task(Generic[T]):
    """Something a workflow can wait for, and its result once it is there.

    Wait with ``result = yield task``, with ``result = yield from task`` (which type checkers understand), or with
    ``result = await task`` in an ``async def`` workflow. A failed task raises its error at that place. A task may be
    waited for more than once, and may be part of several combinations.
    """

    __slots__ = ("_done", "_error", "_result", "_watchers")

    def __init__(self) -> None:
        """Starts unfinished. Workflow code gets tasks from its context and never makes one itself."""
        self._done = False
        self._result: Any = None
        self._error: BaseException | None = None
        self._watchers: list[_Combination] | None = None

    @property
    def is_complete(self) -> bool:
        """Whether the task has finished, well or badly."""
        return self._done

    @property
    def is_failed(self) -> bool:
        """Whether the task has finished with an error."""
        return self._error is not None

    def get_result(self) -> T:
        """The result of the finished task.

        Raises:
            ValueError: The task has not finished.
            BaseException: The error the task failed with, usually a ``TaskFailedError``.
        """
        if not self._done:
            raise ValueError("The task has not completed yet; wait for it with yield or await first.")
        if self._error is not None:
            raise self._error
        return cast("T", self._result)

    def get_exception(self) -> BaseException:
        """The error of the failed task.

        Raises:
            ValueError: The task has not failed.
        """
        if self._error is None:
            raise ValueError("The task has not failed.")
        return self._error

    def __iter__(self) -> Generator[Task[Any], Any, T]:
        yield self
        return self.get_result()

    def __await__(self) -> Generator[Task[Any], Any, T]:
        return self.__iter__()

    def _watch(self, combination: _Combination) -> None:
        if self._watchers is None:
            self._watchers = [combination]
        else:
            self._watchers.append(combination)

    def _resolve(self, result: Any) -> None:
        self._result = result
        self._settle()

    def _fail(self, error: BaseException) -> None:
        self._error = error
        self._settle()

    def _settle(self) -> None:
        self._done = True
        if self._watchers is not None:
            watchers, self._watchers = self._watchers, None
            for combination in watchers:
                combination._part_done(self)


class _Combination(Task[T]):
    """A task made of other tasks, which tells it when one of them finishes."""

    __slots__ = ("_parts",)

    def __init__(self, parts: list[Task[Any]]) -> None:
        super().__init__()
        self._parts = parts

    def get_tasks(self) -> list[Task[Any]]:
        """The tasks this one is made of, in the order they were given."""
        return list(self._parts)

    def _part_done(self, part: Task[Any]) -> None:
        raise NotImplementedError


class WhenAllTask(_Combination[list[T]], Generic[T]):
    """Finishes when all its tasks have; see `when_all`."""

    __slots__ = ("_first_error", "_missing")

    def __init__(self, parts: list[Task[Any]]) -> None:
        """Counts what is missing and watches it."""
        super().__init__(parts)
        self._missing = 0
        self._first_error: BaseException | None = None
        for part in parts:
            if not part._done:
                self._missing += 1
                part._watch(self)
            elif self._first_error is None:
                self._first_error = part._error
        if not self._missing:
            self._conclude()

    @property
    def pending_tasks(self) -> int:
        """How many of the tasks have not finished."""
        return self._missing

    def get_completed_tasks(self) -> int:
        """How many of the tasks have finished."""
        return len(self._parts) - self._missing

    def _part_done(self, part: Task[Any]) -> None:
        self._missing -= 1
        if self._first_error is None:
            self._first_error = part._error
        if not self._missing:
            self._conclude()

    def _conclude(self) -> None:
        if self._first_error is not None:
            self._fail(self._first_error)
        else:
            self._resolve([part._result for part in self._parts])


class WhenAnyTask(_Combination[Task[T]], Generic[T]):
    """Finishes with the first of its tasks to finish; see `when_any`."""

    __slots__ = ()

    def __init__(self, parts: list[Task[Any]]) -> None:
        """Takes the first finished task, or watches them all."""
        super().__init__(parts)
        if not parts:
            self._resolve([])
            return
        for part in parts:
            if part._done:
                self._resolve(part)
                return
        for part in parts:
            part._watch(self)

    def _part_done(self, part: Task[Any]) -> None:
        if not self._done:
            self._resolve(part)


def _as_tasks(tasks: Iterable[Task[Any]], combinator: str) -> list[Task[Any]]:
    if isinstance(tasks, Task):
        raise TypeError(f"{combinator}() takes a list of tasks, not one task: write {combinator}([task]).")
    parts = list(tasks)
    for position, part in enumerate(parts):
        if not isinstance(part, Task):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(
                f"{combinator}() takes tasks, but item {position} is {part!r} of type {type(part).__name__}. "
                "Tasks come from ctx.call_activity(), ctx.create_timer() and the like."
            )
    return parts


def when_all(tasks: Iterable[Task[T]]) -> WhenAllTask[T]:
    """A task that finishes when all the given tasks have finished.

    Args:
        tasks: Tasks of one workflow. An empty list finishes at once with an empty list.

    Returns:
        A task whose result is the list of results in the order of `tasks`. If some failed, it still waits for all
        and then fails with the error of the one that failed first.

    Raises:
        TypeError: Something in `tasks` is not a task.
    """
    return WhenAllTask(_as_tasks(tasks, "when_all"))


def when_any(tasks: Iterable[Task[T]]) -> WhenAnyTask[T]:
    """A task that finishes as soon as one of the given tasks has.

    Args:
        tasks: Tasks of one workflow. An empty list finishes at once with an empty list as its result.

    Returns:
        A task whose result is the winning task itself: compare it by identity (``winner is timeout``) and read it
        with ``get_result()``. A failed task wins too; its error is raised by ``get_result()``, not by the wait.

    Raises:
        TypeError: Something in `tasks` is not a task.
    """
    return WhenAnyTask(_as_tasks(tasks, "when_any"))
