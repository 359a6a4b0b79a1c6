"""The context of a workflow: everything that workflow code may ask for."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Coroutine, Generator, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar, overload

from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import Task

if TYPE_CHECKING:
    import random

    from dapr_workflow_sdk.authoring.deterministic import Deterministic

    _Adapter = logging.LoggerAdapter[logging.Logger]
else:
    # Python 3.10 has it without a parameter only.
    _Adapter = logging.LoggerAdapter

T = TypeVar("T")


class _Dataclass(Protocol):
    __dataclass_fields__: ClassVar[dict[str, Any]]


class _Model(Protocol):
    def model_dump(self) -> dict[str, Any]: ...


# What a workflow that is a plain function returns. The bound keeps generators and coroutines out, which type checkers
# would otherwise take for results as well.
V = TypeVar(
    "V", bound="bool | int | float | str | list[Any] | dict[str, Any] | tuple[Any, ...] | _Dataclass | _Model | None"
)


class WorkflowCalls(Protocol):
    """What stands behind a context: the run that turns calls into tasks."""

    @property
    def instance_id(self) -> str: ...
    @property
    def workflow_name(self) -> str: ...
    @property
    def is_replaying(self) -> bool: ...
    @property
    def now(self) -> datetime: ...
    def new_guid(self) -> uuid.UUID: ...
    def set_custom_status(self, status: Any) -> None: ...
    def call_activity(
        self, activity: Callable[..., Any] | str, value: Any, retry_policy: RetryPolicy | None, app_id: str | None
    ) -> Task[Any]: ...
    def call_child_workflow(
        self,
        workflow: Callable[..., Any] | str,
        value: Any,
        instance_id: str | None,
        retry_policy: RetryPolicy | None,
        app_id: str | None,
    ) -> Task[Any]: ...
    def create_timer(self, fire_at: datetime | timedelta) -> Task[None]: ...
    def wait_for_external_event(self, name: str, timeout: datetime | timedelta | None) -> Task[Any]: ...
    def continue_as_new(self, value: Any, save_events: bool) -> None: ...
    def is_patched(self, patch_name: str) -> bool: ...


class DaprWorkflowContext:
    """What a workflow may know and do; the first argument of every workflow.

    Workflow code is run again from the start whenever its instance continues, so everything that could differ
    from one run to the next (time, ids, calls) is asked of this object, and everything that touches the world is
    an activity.
    """

    __slots__ = ("_calls", "_helpers", "_logger")

    def __init__(self, calls: WorkflowCalls) -> None:
        """Made by the worker for every run."""
        self._calls = calls
        self._logger: ReplaySafeLogger | None = None
        self._helpers: Deterministic | None = None

    @property
    def instance_id(self) -> str:
        """Id of this instance."""
        return self._calls.instance_id

    @property
    def is_replaying(self) -> bool:
        """Whether this code only repeats what the history already records."""
        return self._calls.is_replaying

    @property
    def current_utc_datetime(self) -> datetime:
        """Time of the current turn: naive, in UTC, the same on every replay."""
        return self._calls.now

    @property
    def logger(self) -> ReplaySafeLogger:
        """A logger that is silent on replay and names the workflow and its instance."""
        if self._logger is None:
            self._logger = ReplaySafeLogger(self._calls)
        return self._logger

    def new_guid(self) -> uuid.UUID:
        """A UUID that is the same on every replay and differs between instances and between calls."""
        return self._calls.new_guid()

    @property
    def _deterministic(self) -> Deterministic:
        if self._helpers is None:
            from dapr_workflow_sdk.authoring.deterministic import Deterministic

            self._helpers = Deterministic(self._calls)
        return self._helpers

    def now(self) -> datetime:
        """The same as `current_utc_datetime`."""
        return self._calls.now

    def now_with_sequence(self) -> datetime:
        """`current_utc_datetime`, a microsecond later with each call of this method, so that moments have an order."""
        return self._deterministic.moment()

    def current_utc_datetime_with_sequence(self) -> datetime:
        """The same as `now_with_sequence`."""
        return self._deterministic.moment()

    def random(self) -> random.Random:
        """The random numbers of this run: one generator, which gives the same on every replay.

        It depends on the instance and on the time of the turn that first asks for it, and on nothing of the machine.
        What it gives is no secret.
        """
        return self._deterministic.generator

    def random_string(self, length: int, *, alphabet: str | None = None) -> str:
        """A random string, the same on every replay.

        Args:
            length: How many characters.
            alphabet: Characters to choose from; ASCII letters and digits by default.

        Raises:
            ValueError: `length` is negative, or `alphabet` empty.
        """
        return self._deterministic.text(length, alphabet)

    def random_int(self, min_value: int = 0, max_value: int = 2**31 - 1) -> int:
        """A random whole number, the same on every replay; both ends are included.

        Raises:
            ValueError: `min_value` is greater than `max_value`.
        """
        return self._deterministic.number(min_value, max_value)

    def random_choice(self, sequence: Sequence[T]) -> T:
        """A random element of a sequence, the same on every replay.

        Raises:
            IndexError: The sequence is empty.
        """
        return self._deterministic.choice(sequence)

    def uuid4(self) -> uuid.UUID:
        """The same as `new_guid`."""
        return self._calls.new_guid()

    def uuid7(self) -> uuid.UUID:
        """A UUID of version 7, the same on every replay; it begins with the time of the turn."""
        return self._deterministic.uuid7()

    def set_custom_status(self, custom_status: Any) -> None:
        """Publishes a status that clients read while the workflow runs.

        Args:
            custom_status: A string, which is kept as it is, or any other value, which is kept as its JSON text.

        Raises:
            PayloadError: The value has no JSON text.
        """
        self._calls.set_custom_status(custom_status)

    @overload
    def call_activity(
        self,
        activity: Callable[..., Coroutine[Any, Any, T]],
        *,
        input: Any = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[T]: ...
    @overload
    def call_activity(
        self,
        activity: Callable[..., T],
        *,
        input: Any = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[T]: ...
    @overload
    def call_activity(
        self,
        activity: str,
        *,
        input: Any = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[Any]: ...
    def call_activity(
        self,
        activity: Callable[..., Any] | str,
        *,
        input: Any = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[Any]:
        """Calls an activity.

        Args:
            activity: The activity's function, or its name.
            input: Its input; anything with a JSON text.
            retry_policy: When to try again after a failure; never, by default.
            app_id: The Dapr app that serves the activity; this one by default.

        Returns:
            A task whose result is what the activity returns: of its annotated type if the function is given, plain
            JSON values otherwise. It fails with a `TaskFailedError`.

        Raises:
            PayloadError: The input has no JSON text.
        """
        return self._calls.call_activity(activity, input, retry_policy, app_id)

    @overload
    def call_child_workflow(
        self,
        workflow: Callable[..., Generator[Any, Any, T]],
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[T]: ...
    @overload
    def call_child_workflow(
        self,
        workflow: Callable[..., Coroutine[Any, Any, T]],
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[T]: ...
    @overload
    def call_child_workflow(
        self,
        workflow: Callable[..., V],
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[V]: ...
    @overload
    def call_child_workflow(
        self,
        workflow: str,
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[Any]: ...
    def call_child_workflow(
        self,
        workflow: Callable[..., Any] | str,
        *,
        input: Any = None,
        instance_id: str | None = None,
        retry_policy: RetryPolicy | None = None,
        app_id: str | None = None,
    ) -> Task[Any]:
        """Starts another workflow as a child of this one.

        Args:
            workflow: The workflow's function, or its name.
            input: Its input; anything with a JSON text.
            instance_id: Id of the child; made from this instance's id and the number of the call by default.
            retry_policy: When to start it again after a failure; never, by default.
            app_id: The Dapr app that serves the workflow; this one by default.

        Returns:
            A task whose result is what the child returns. It fails with a `TaskFailedError`.

        Raises:
            PayloadError: The input has no JSON text.
        """
        return self._calls.call_child_workflow(workflow, input, instance_id, retry_policy, app_id)

    def create_timer(self, fire_at: datetime | timedelta) -> Task[None]:
        """A task that finishes at a time, or after a time.

        Args:
            fire_at: A duration from now, or a moment: naive means UTC. One in the past finishes at once.
        """
        return self._calls.create_timer(fire_at)

    def wait_for_external_event(self, name: str, *, timeout: datetime | timedelta | None = None) -> Task[Any]:
        """A task that finishes with the payload of an event raised from outside.

        Events of one name are handed out first in, first out; one that comes before anybody waits is kept.

        Args:
            name: Name of the event; upper and lower case do not matter.
            timeout: How long, or until when, to wait. None waits for ever; zero takes only an event that is there.

        Returns:
            A task with the payload of the event. It fails with the built-in `TimeoutError`.
        """
        return self._calls.wait_for_external_event(name, timeout)

    def is_patched(self, patch_name: str) -> bool:
        """Whether this instance goes the way of a change that was made to the code while instances were on their way.

        Instances that come here for the first time do, and do so from then on; those that have passed this place before
        the change do not::

            if ctx.is_patched("check-stock-first"):
                yield ctx.call_activity(check_stock, input=order)

        Keep the question in the code until no instance is left that has answered it; one that has, and meets code that
        does not ask any more, stalls until the question is back.

        Args:
            patch_name: Name of the change, used for nothing else in this workflow.

        Raises:
            NotSupportedError: The task hub is a Dapr sidecar before 1.17, which keeps no answers.
        """
        return self._calls.is_patched(patch_name)

    def continue_as_new(self, new_input: Any, *, save_events: bool = False) -> None:
        """Ends this run and starts the workflow again, with a new input and an empty history.

        It takes effect when the code next waits or returns; whatever it asks for after this call is dropped.

        Args:
            new_input: Input of the next run.
            save_events: Carry events that nobody waited for over to the next run; else they are dropped.

        Raises:
            PayloadError: The input has no JSON text.
        """
        self._calls.continue_as_new(new_input, save_events)


class ReplaySafeLogger(_Adapter):
    """A logger for workflow code: silent on replay, and each line names the workflow and the instance."""

    def __init__(self, calls: WorkflowCalls) -> None:
        """Logs to ``dapr_workflow_sdk.workflow``."""
        super().__init__(logging.getLogger("dapr_workflow_sdk.workflow"), {})
        self._calls = calls

    def isEnabledFor(self, level: int) -> bool:
        """Whether a message of this level would be written now: never while replaying."""
        return not self._calls.is_replaying and self.logger.isEnabledFor(level)

    def log(self, level: int, msg: object, *args: Any, **kwargs: Any) -> None:
        """Writes a message with the workflow and the instance before it, and in the record's extra fields."""
        if not self.isEnabledFor(level):
            return
        names = {"workflow": self._calls.workflow_name, "instance_id": self._calls.instance_id}
        prefix = f"{names['workflow']} {names['instance_id']}: "
        if args:
            prefix = prefix.replace("%", "%%")
        kwargs["extra"] = {**(kwargs.get("extra") or {}), **names}
        kwargs["stacklevel"] = kwargs.get("stacklevel", 1) + 1
        self.logger.log(level, f"{prefix}{msg}", *args, **kwargs)  # noqa: G004 - the message is the caller's
