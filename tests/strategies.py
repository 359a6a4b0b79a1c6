"""Random workflow programs, the code that interprets them, and random schedules to run them by.

A program is data: a list of statements over a few expressions that make tasks. `interpret` runs it as workflow code
would: it asks the context for tasks, waits for them and writes down everything it learns, so two runs that differ in
any way end with different results. It only uses what both SDKs have in common, so the official executor can run it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Union

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any

# Few enough to run with every change; a night of searching sets HYPOTHESIS_EXAMPLES to tens of thousands.
QUICK = settings(
    max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "75")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture],
)

ACTIVITIES = ("charge", "ship", "notify")
CHILDREN = ("invoice", "parcel")
EVENTS = ("Approved", "cancel")
ERROR_TYPES = ("ValueError", "Fatal", "NonRetryableError")


@dataclass(frozen=True)
class Retry:
    """A retry policy in plain numbers."""

    attempts: int
    first: float
    backoff: float | None
    longest: float | None
    timeout: float | None

    def policy(self, make: Callable[..., Any]) -> Any:
        return make(
            first_retry_interval=timedelta(seconds=self.first),
            max_number_of_attempts=self.attempts,
            backoff_coefficient=self.backoff,
            max_retry_interval=None if self.longest is None else timedelta(seconds=self.longest),
            retry_timeout=None if self.timeout is None else timedelta(seconds=self.timeout),
        )


@dataclass(frozen=True)
class Activity:
    name: str
    value: Any
    retry: Retry | None = None


@dataclass(frozen=True)
class Child:
    name: str
    value: Any
    retry: Retry | None = None


@dataclass(frozen=True)
class Timer:
    seconds: float


@dataclass(frozen=True)
class Wait:
    event: str
    timeout: float | None


@dataclass(frozen=True)
class All:
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Any_:
    parts: tuple[Expression, ...]


@dataclass(frozen=True)
class Again:
    """A task made earlier, whatever became of it; the newest if `back` is 0."""

    back: int


Expression = Union[Activity, Child, Timer, Wait, All, Any_, Again]


@dataclass(frozen=True)
class Await:
    task: Expression


@dataclass(frozen=True)
class Start:
    """A call that nobody waits for here."""

    task: Expression


@dataclass(frozen=True)
class Guid:
    pass


@dataclass(frozen=True)
class Now:
    pass


@dataclass(frozen=True)
class Status:
    value: Any


@dataclass(frozen=True)
class Try:
    body: tuple[Statement, ...]
    handler: tuple[Statement, ...]


@dataclass(frozen=True)
class Branch:
    """What has been learned so far decides, as it does in real workflows."""

    odd: tuple[Statement, ...]
    even: tuple[Statement, ...]


@dataclass(frozen=True)
class Return:
    pass


@dataclass(frozen=True)
class Raise:
    message: str


@dataclass(frozen=True)
class Renew:
    """Continue as new while the input, a number of runs still to go, is above zero."""

    save_events: bool


Statement = Union[Await, Start, Guid, Now, Status, Try, Branch, Return, Raise, Renew]
Program = tuple[Statement, ...]


class ProgramError(Exception):
    """What a program raises by itself."""


class _Return(Exception):
    pass


@dataclass
class _Run:
    ctx: Any
    runs_to_go: int
    all_of: Callable[..., Any]
    any_of: Callable[..., Any]
    policy: Callable[..., Any]
    made: list[Any] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)

    def make(self, expression: Expression) -> Any:
        task = self._make(expression)
        self.made.append(task)
        return task

    def _make(self, expression: Expression) -> Any:
        ctx = self.ctx
        if isinstance(expression, Activity | Child):
            retry = None if expression.retry is None else expression.retry.policy(self.policy)
            if isinstance(expression, Activity):
                return ctx.call_activity(expression.name, input=expression.value, retry_policy=retry)
            return ctx.call_child_workflow(expression.name, input=expression.value, retry_policy=retry)
        if isinstance(expression, Timer):
            return ctx.create_timer(timedelta(seconds=expression.seconds))
        if isinstance(expression, Wait):
            timeout = None if expression.timeout is None else timedelta(seconds=expression.timeout)
            return ctx.wait_for_external_event(expression.event, timeout=timeout)
        if isinstance(expression, Again):
            if not self.made:
                return self.all_of([])
            return self.made[-1 - expression.back % len(self.made)]
        parts = [self.make(part) for part in expression.parts]
        return self.all_of(parts) if isinstance(expression, All) else self.any_of(parts)

    def describe(self, value: Any) -> Any:
        """A result in JSON; a winning task is told by its place among all tasks made."""
        if isinstance(value, list):
            return [self.describe(item) for item in value]
        if hasattr(value, "get_result"):
            place = next(i for i, task in enumerate(self.made) if task is value)
            return {"won": place, "failed": value.is_failed}
        return value

    def learn(self, *what: Any) -> None:
        self.log.append(list(what))


def _describe_error(error: BaseException) -> list[str]:
    details = getattr(error, "details", None)
    if details is None:
        return [type(error).__name__]
    # The official SDK knows no details of a terminated child.
    return [type(error).__name__, details.error_type or "WorkflowTerminated"]


def interpret(
    ctx: Any,
    program: Program,
    runs_to_go: int,
    *,
    all_of: Callable[..., Any] = when_all,
    any_of: Callable[..., Any] = when_any,
    policy: Callable[..., Any] = RetryPolicy,
) -> Generator[Any, Any, Any]:
    """Runs a program as a generator workflow; its result is everything it has learned."""
    run = _Run(ctx, runs_to_go, all_of, any_of, policy)
    try:
        yield from _block(run, program)
    except _Return:
        pass
    return run.log


def _block(run: _Run, statements: tuple[Statement, ...]) -> Generator[Any, Any, None]:
    for statement in statements:
        if isinstance(statement, Await):
            result = yield run.make(statement.task)
            run.learn("got", run.describe(result))
        elif isinstance(statement, Start):
            run.make(statement.task)
        elif isinstance(statement, Guid):
            run.learn("guid", str(run.ctx.new_guid()))
        elif isinstance(statement, Now):
            run.learn("now", run.ctx.current_utc_datetime.isoformat())
        elif isinstance(statement, Status):
            run.ctx.set_custom_status(statement.value)
        elif isinstance(statement, Try):
            try:
                yield from _block(run, statement.body)
            except _Return:
                raise
            except Exception as error:
                run.learn("failed", _describe_error(error))
                yield from _block(run, statement.handler)
        elif isinstance(statement, Branch):
            yield from _block(run, statement.odd if len(repr(run.log)) % 2 else statement.even)
        elif isinstance(statement, Return):
            raise _Return
        elif isinstance(statement, Raise):
            raise ProgramError(statement.message)
        elif run.runs_to_go > 0:
            run.ctx.continue_as_new(run.runs_to_go - 1, save_events=statement.save_events)
            raise _Return


def generator_workflow(program: Program) -> Callable[..., Any]:
    """The program as a generator workflow."""

    def flow(ctx: Any, runs_to_go: int) -> Generator[Any, Any, Any]:
        return (yield from interpret(ctx, program, runs_to_go))

    return flow


def async_workflow(program: Program) -> Callable[..., Any]:
    """The same program as an async workflow: it awaits where the generator yields."""

    async def flow(ctx: Any, runs_to_go: int) -> Any:
        steps = interpret(ctx, program, runs_to_go)
        try:
            task = next(steps)
            while True:
                try:
                    result = await task
                except Exception as error:
                    task = steps.throw(error)
                else:
                    task = steps.send(result)
        except StopIteration as stop:
            return stop.value

    return flow


# ---- strategies ---------------------------------------------------------------------------------------------

values: st.SearchStrategy[Any] = st.sampled_from([None, 0, 1, "", "é", [], {"a": [1, None]}, 2.5, True])
_seconds = st.sampled_from([0, 0.001, 1, 2.5, 60, 86_400])


@st.composite
def retries(draw: st.DrawFn) -> Retry:
    return Retry(
        attempts=draw(st.integers(1, 4)),
        first=draw(st.sampled_from([0, 0.25, 1, 30])),
        backoff=draw(st.sampled_from([1, 1.5, 2])),
        longest=draw(st.sampled_from([None, None, 1, 45])),
        timeout=draw(st.sampled_from([None, None, 1, 60])),
    )


activities = st.builds(Activity, st.sampled_from(ACTIVITIES), values, st.none() | retries())
children = st.builds(Child, st.sampled_from(CHILDREN), values, st.none() | retries())
timers = st.builds(Timer, _seconds)
waits = st.builds(Wait, st.sampled_from(EVENTS), st.sampled_from([None, None, None, -1, 5, 3600, 0]))
leaves = activities | children | timers | waits

expressions: st.SearchStrategy[Expression] = st.recursive(
    st.one_of(leaves, leaves, leaves, st.builds(Again, st.integers(0, 5))),
    lambda inner: (
        st.builds(All, st.lists(inner, min_size=1, max_size=4).map(tuple))
        | st.builds(Any_, st.lists(inner, max_size=3).map(tuple))
    ),
    max_leaves=5,
)
# Combinations that the official SDK takes too: no task in two of them, none twice.
plain_expressions: st.SearchStrategy[Expression] = leaves | st.one_of(
    st.builds(All, st.lists(leaves, max_size=4).map(tuple)),
    st.builds(Any_, st.lists(leaves, max_size=3).map(tuple)),
    st.builds(
        Any_,
        st.tuples(st.builds(All, st.lists(leaves, min_size=1, max_size=3).map(tuple)), leaves),
    ),
)


def _statements(tasks: st.SearchStrategy[Expression], *, unwaited: bool) -> st.SearchStrategy[Statement]:
    waiting: st.SearchStrategy[Statement] = st.builds(Await, tasks)
    other: st.SearchStrategy[Statement] = st.one_of(
        st.builds(Guid), st.builds(Now), st.builds(Status, st.sampled_from(["half way", "", None]))
    )
    if unwaited:
        other = st.builds(Start, tasks) | other
    simple = st.one_of(waiting, waiting, waiting, other)

    def nest(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
        blocks = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.builds(Try, blocks, blocks) | st.builds(Branch, blocks, blocks)

    # Most failures are caught, or most programs would end at their first wait.
    caught: st.SearchStrategy[Statement] = st.builds(lambda task: Try((Await(task),), ()), tasks)
    nested = nest(simple)
    return st.one_of(caught, caught, caught, simple, nested, nest(simple | nested))


_endings: st.SearchStrategy[Program] = st.one_of(
    st.just(()),
    st.just((Return(),)),
    st.just((Raise("gave up"),)),
    st.booleans().map(lambda save: (Renew(save),)),
)


def _programs(
    tasks: st.SearchStrategy[Expression], *, unwaited: bool, endings: st.SearchStrategy[Program] = _endings
) -> st.SearchStrategy[Program]:
    body = st.lists(_statements(tasks, unwaited=unwaited), min_size=3, max_size=8)
    return st.builds(lambda statements, ending: (*statements, *ending), body, endings)


programs: st.SearchStrategy[Program] = _programs(expressions, unwaited=True)
plain_programs: st.SearchStrategy[Program] = _programs(plain_expressions, unwaited=True)


class Choices:
    """Decisions drawn beforehand and handed out one by one, over and over: quick to draw and to shrink."""

    def __init__(self, drawn: bytes) -> None:
        """Takes at least one byte."""
        self._drawn = drawn
        self._numbers = self._forever()

    def __repr__(self) -> str:
        return f"Choices({self._drawn!r})"

    def _forever(self) -> Iterator[int]:
        lap = 0
        while True:
            for byte in self._drawn:
                yield byte + lap
            lap += 1

    def below(self, bound: int) -> int:
        """A number from 0 to `bound` - 1."""
        return next(self._numbers) % bound

    def one_in(self, chances: int) -> bool:
        """True about once in so many times; never when everything drawn is zero."""
        return self.below(chances) == chances - 1

    def shuffled(self, items: list[Any]) -> list[Any]:
        """The items in some order."""
        left, order = list(items), []
        while left:
            order.append(left.pop(self.below(len(left))))
        return order


schedules: st.SearchStrategy[Choices] = st.binary(min_size=12, max_size=64).map(Choices)
