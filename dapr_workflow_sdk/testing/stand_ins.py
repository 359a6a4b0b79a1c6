"""What activities do in a test: the real thing or a stand-in, and what is known of each call."""

from __future__ import annotations

import inspect
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Generic, TypeGuard, TypeVar

from typing_extensions import Self

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.authoring.definitions import define
from dapr_workflow_sdk.client.wording import unmarked, value_of
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import NonRetryableError, PayloadError

R = TypeVar("R")

# What a stand-in does when it is called: it gets the context and the input.
Effect = Callable[[WorkflowActivityContext, Any], "Any | Awaitable[Any]"]


@dataclass(frozen=True)
class ActivityCall:
    """One run of an activity, real or replaced; a retry is a run of its own.

    Attributes:
        name: Name of the activity.
        input: Its input, as the activity's function annotates it.
        instance_id: The workflow instance that called it.
        task_id: Number of the call within its instance.
        attempt: 1 for the first run of a call, 2 for its first retry and so on.
        at: When, on the clock of the environment, in UTC.
    """

    name: str
    input: Any
    instance_id: str
    task_id: int
    attempt: int
    at: datetime

    def __str__(self) -> str:
        again = f", attempt {self.attempt}" if self.attempt > 1 else ""
        return f"{self.name}({self.input!r}) for {self.instance_id} at {self.at:%Y-%m-%d %H:%M:%S}{again}"


class _Never:
    """The effect of an activity that does not end."""

    def __call__(self, ctx: WorkflowActivityContext, value: Any) -> Any:
        raise AssertionError("Whoever calls activities waits for ever instead.")


NEVER: Effect = _Never()


class ActivityStandIn(Generic[R]):
    """One activity of an environment: what it does when it is called, and the calls there were.

    Until it is told otherwise the real function runs. `returns`, `raises`, `side_effect` and `never` put something in
    its place. With ``times=`` they hold for the next calls only, and what was set before holds after them::

        env.activity(charge).returns("receipt").raises(ConnectionError("down"), times=2)

    fails twice and then returns.
    """

    def __init__(self, name: str, converter: Converter) -> None:
        """Made by an environment, for each activity when it is first asked for or called."""
        self.name = name
        self.calls: list[ActivityCall] = []
        self._converter = converter
        self._always: Effect | None = None
        self._next: deque[Effect] = deque()

    # ---- what it does --------------------------------------------------------------------------------------

    def returns(self, value: R, *, times: int | None = None) -> Self:
        """Returns a value from now on, or for the next `times` calls; it travels as a payload, as results do.

        Args:
            value: What the activity returns.
            times: For how many calls; for all, and instead of everything set before, by default.
        """
        return self._return(value, times)

    def raises(self, error: BaseException | type[BaseException], *, times: int | None = None) -> Self:
        """Raises an error from now on, or for the next `times` calls. A retry policy sees it like any other.

        Args:
            error: What the activity raises.
            times: For how many calls; for all, and instead of everything set before, by default.

        Raises:
            TypeError: `error` is no exception.
        """
        if not _is_error(error):
            raise TypeError(f"raises() takes an exception, not {error!r}.")

        def fail(*_: Any) -> Any:
            raise error.with_traceback(None) if isinstance(error, BaseException) else error

        return self._set(fail, times)

    def side_effect(self, effect: Callable[..., Any] | Iterable[Any]) -> Self:
        """Calls a function instead, or does one thing after the other.

        Args:
            effect: A function like an activity, ``def`` or ``async def``, that takes the context and perhaps the
                input; or a list with the outcome of each call: an exception is raised, anything else returned. A call
                after the last one fails for good and says so.

        Raises:
            RegistrationError: The function cannot be called as an activity is.
        """
        if _is_error(effect):
            return self.raises(effect)
        if callable(effect):
            # A mock takes whatever it is given, and not every Python can tell its signature.
            takes_input = _is_mock(effect) or define("activity", effect, self.name).takes_input
            return self._set(effect if takes_input else _without_input(effect), None)
        outcomes = list(effect)
        self._set(self._exhausted(len(outcomes)), None)
        for outcome in outcomes:
            if _is_error(outcome):
                self.raises(outcome, times=1)
            else:
                self._return(outcome, 1)
        return self

    def never(self, *, times: int | None = None) -> Self:
        """Never ends. Time goes on all the same, so timeouts and other branches of the workflow have their turn.

        Args:
            times: For how many calls; for all, and instead of everything set before, by default.
        """
        return self._set(NEVER, times)

    def real(self) -> Self:
        """Runs the real function again."""
        self._always = None
        self._next.clear()
        return self

    def _return(self, value: Any, times: int | None) -> Self:
        def give(*_: Any) -> Any:
            return value

        return self._set(give, times)

    def _set(self, effect: Effect, times: int | None) -> Self:
        if times is None:
            self._always = effect
            self._next.clear()
        else:
            if times < 1:
                raise ValueError(f"times must be at least 1, not {times}")
            self._next.extend([effect] * times)
        return self

    def _exhausted(self, known: int) -> Effect:
        def fail(*_: Any) -> Any:
            raise NonRetryableError(
                f"The stand-in of activity {self.name!r} has an outcome for {_times(known)}, and was called once more."
            )

        return fail

    @property
    def replaced(self) -> bool:
        """Whether the next call runs something else than the real function."""
        return bool(self._next) or self._always is not None

    def take(self) -> Effect | None:
        """What the next call does; None for the real function."""
        return self._next.popleft() if self._next else self._always

    # ---- what is known of its calls ------------------------------------------------------------------------

    @property
    def call_count(self) -> int:
        """How many runs there were, retries included."""
        return len(self.calls)

    def assert_called(self) -> None:
        """There was a call.

        Raises:
            AssertionError: There was none.
        """
        if not self.calls:
            raise AssertionError(f"Activity {self.name!r} was never called.")

    def assert_not_called(self) -> None:
        """There was no call.

        Raises:
            AssertionError: There was one.
        """
        if self.calls:
            raise AssertionError(f"Activity {self.name!r} was to be left alone, and was called. {self._told()}")

    def assert_called_once(self) -> None:
        """There was one call, without a retry.

        Raises:
            AssertionError: There were more, or none.
        """
        self.assert_call_count(1)

    def assert_call_count(self, count: int) -> None:
        """There were so many runs, retries included.

        Raises:
            AssertionError: There were more, or fewer.
        """
        if len(self.calls) != count:
            raise AssertionError(
                f"Activity {self.name!r} was to be called {_times(count)}, and was called {_times(len(self.calls))}. "
                f"{self._told()}"
            )

    def assert_called_once_with(self, input: Any) -> None:
        """There was one call, with this input.

        Raises:
            AssertionError: There were more, or none, or its input was another.
        """
        self.assert_call_count(1)
        self.assert_called_with(input)

    def assert_called_with(self, input: Any) -> None:
        """The last call had this input.

        Raises:
            AssertionError: It had another, or there was none.
        """
        self.assert_called()
        if not self._same(self.calls[-1].input, input):
            raise AssertionError(
                f"The last call of activity {self.name!r} was to have the input\n  {input!r}\nand had\n  "
                f"{self.calls[-1].input!r}\n{self._told()}"
            )

    def assert_any_call(self, input: Any) -> None:
        """Some call had this input.

        Raises:
            AssertionError: None had.
        """
        if not any(self._same(call.input, input) for call in self.calls):
            raise AssertionError(f"No call of activity {self.name!r} had the input\n  {input!r}\n{self._told()}")

    def assert_inputs(self, inputs: Sequence[Any]) -> None:
        """The calls had these inputs, in this order, retries included.

        Raises:
            AssertionError: They had others.
        """
        had = [call.input for call in self.calls]
        if len(had) != len(inputs) or not all(map(self._same, had, inputs)):
            raise AssertionError(
                f"The calls of activity {self.name!r} were to have the inputs\n  {list(inputs)!r}\nand had\n  {had!r}\n"
                f"{self._told()}"
            )

    def _same(self, had: Any, expected: Any) -> bool:
        if bool(had == expected):
            return True
        # An activity without annotations gets plain JSON where the workflow sent an object.
        try:
            return bool(self._plain(had) == self._plain(expected))
        except PayloadError:
            return False

    def _plain(self, value: Any) -> Any:
        return unmarked(value_of(self._converter.encode(value)))

    def _told(self) -> str:
        if not self.calls:
            return "It was never called."
        return "Its calls:\n" + "\n".join(f"  {number}. {call}" for number, call in enumerate(self.calls, 1))


def _is_error(value: Any) -> TypeGuard[BaseException | type[BaseException]]:
    return isinstance(value, BaseException) or (inspect.isclass(value) and issubclass(value, BaseException))


def _is_mock(value: object) -> bool:
    mock = sys.modules.get("unittest.mock")
    return mock is not None and isinstance(value, mock.NonCallableMock)


def _without_input(function: Callable[..., Any]) -> Effect:
    def call(ctx: WorkflowActivityContext, _: Any) -> Any:
        return function(ctx)

    return call


def _times(count: int) -> str:
    return {1: "once", 2: "twice"}.get(count, f"{count} times")
