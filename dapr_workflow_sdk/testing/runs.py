"""One instance in a test environment: its result, its history, and what a test may claim about it."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar, cast

from dapr_workflow_sdk.authoring.definitions import UNTYPED, Kind
from dapr_workflow_sdk.client.history import WorkflowHistoryEvent, read_event
from dapr_workflow_sdk.client.recording import recording_of, write_recording
from dapr_workflow_sdk.client.state import WorkflowState, WorkflowStatus, read_state
from dapr_workflow_sdk.client.wording import unmarked, value_of
from dapr_workflow_sdk.engine.state import InstanceKey, InstanceRow, describe
from dapr_workflow_sdk.errors import FailureDetails, PayloadError, RuntimeStateError, WorkflowFailedError
from dapr_workflow_sdk.taskhub.failures import not_found
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing.timelines import timeline
from dapr_workflow_sdk.testing.waits import Wait, stuck, waits_of

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.stage import AppWorker, Stage

R = TypeVar("R")

# Moments that are this close are the same to an assertion: between a turn and the next the clock takes microseconds.
_CLOSE = timedelta(seconds=1)


@dataclass(frozen=True)
class RunCall:
    """A call that a workflow made, as its history records it.

    Attributes:
        kind: "activity" or "child workflow".
        name: Name of the activity or workflow.
        input: Its input, as plain JSON.
        attempts: How often it was tried.
    """

    kind: str
    name: str
    input: Any
    attempts: int

    def __str__(self) -> str:
        tried = f", tried {self.attempts} times" if self.attempts > 1 else ""
        return f"{self.kind} {self.name}({self.input!r}){tried}"


class WorkflowRun(Generic[R]):
    """One instance of an environment. Everything is read when it is asked for, also after the environment has closed.

    ``run == other`` if both are of the same instance.
    """

    def __init__(self, stage: Stage, worker: AppWorker, instance_id: str) -> None:
        """Made by an environment."""
        self.instance_id = instance_id
        self._stage = stage
        self._worker = worker
        self._key: InstanceKey = (worker.app_id, instance_id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, WorkflowRun) and self._key == other._key and self._stage is other._stage

    def __hash__(self) -> int:
        return hash(self._key)

    def __repr__(self) -> str:
        row = self._stage.row(self._key)
        status = "purged" if row is None else self.status.name
        return f"<WorkflowRun {self.instance_id} {status}>"

    def _row(self) -> InstanceRow:
        row = self._stage.row(self._key)
        if row is None:
            raise not_found(self.instance_id)
        return row

    # ---- state ---------------------------------------------------------------------------------------------

    @property
    def exists(self) -> bool:
        """Whether the instance is there: it has not been purged."""
        return self._stage.row(self._key) is not None

    @property
    def state(self) -> WorkflowState:
        """What a client is told about the instance.

        Raises:
            WorkflowNotFoundError: It was purged. So do all members that read the instance.
        """
        return read_state(describe(self._row(), payloads=True))

    @property
    def name(self) -> str:
        """Name of the workflow."""
        return self.state.name

    @property
    def status(self) -> WorkflowStatus:
        """Where the instance stands."""
        return self.state.runtime_status

    @property
    def result(self) -> R:
        """What the workflow returned, as it is annotated.

        Raises:
            WorkflowFailedError: It failed or was terminated; the message has the cause and the timeline.
            WorkflowStuckError: It has not ended, and nothing is under way that could let it go on.
            RuntimeStateError: It has not ended.
        """
        state = self.state
        status = state.runtime_status
        if status is WorkflowStatus.COMPLETED:
            return cast("R", self._decode(state.serialized_output))
        if status in (WorkflowStatus.FAILED, WorkflowStatus.TERMINATED):
            raise self._failed(state)
        if self._stage.closed or self._stage.clock.next_alarm is None:
            raise stuck(self._stage, self._key)
        raise RuntimeStateError(
            f"Workflow {state.name!r}, instance {self.instance_id!r}, has not ended; it waits for "
            f"{'; and for '.join(map(str, self.waits))}. Let time go on with env.wait(run) or env.skip(...)."
        )

    @property
    def output(self) -> Any:
        """What the instance ended with, also when it was terminated; None if it has not ended or has no output."""
        return self._decode(self.state.serialized_output)

    def _decode(self, text: str | None) -> Any:
        if text is None:
            return None
        definition = self._worker.registry.find("workflow", self.name)
        if definition is None or definition.result_type is UNTYPED or self.status is not WorkflowStatus.COMPLETED:
            return self._stage.converter.decode(text)
        return self._stage.converter.decode(text, definition.result_type)

    @property
    def failure(self) -> FailureDetails | None:
        """Why the instance failed; None if it did not."""
        return self.state.failure_details

    def _failed(self, state: WorkflowState) -> WorkflowFailedError:
        details = state.failure_details or FailureDetails("The workflow was terminated.", "WorkflowTerminated")
        verb = "failed" if state.runtime_status is WorkflowStatus.FAILED else "was terminated"
        text = f"Workflow {state.name!r}, instance {self.instance_id!r}, {verb}: {details}\n{self.timeline}"
        innermost = details
        while innermost.cause is not None:
            innermost = innermost.cause
        if innermost.stack_trace:
            text += f"\n{innermost.stack_trace.rstrip()}"
        return WorkflowFailedError(text, details)

    @property
    def custom_status(self) -> str | None:
        """The custom status: a string as the workflow set it, any other value as its JSON text."""
        return self.state.serialized_custom_status

    @property
    def waits(self) -> list[Wait]:
        """What the instance waits for, in the order of its calls."""
        return waits_of(self._stage, self._key)

    @property
    def timers(self) -> list[Wait]:
        """Those of its waits that end by themselves: timers, delays before retries, events with a timeout."""
        return [wait for wait in self.waits if wait.due is not None]

    # ---- history -------------------------------------------------------------------------------------------

    @property
    def history(self) -> list[WorkflowHistoryEvent]:
        """The history of the current execution, as a client's ``get_workflow_history`` returns it; it replays."""
        self._row()
        return [read_event(event) for event in self._events()]

    def save_history(self, folder: str | Path) -> Path:
        """Writes the history into a folder as ``dapr-workflow export`` does, for replay tests.

        Returns:
            The file, whose name is made of the instance's id.
        """
        state = describe(self._row(), payloads=True)
        return write_recording(Path(folder), recording_of(state, self._events()))

    @property
    def timeline(self) -> str:
        """What happened, one line for each thing."""
        return timeline(self._row(), self._events())

    def _events(self) -> Sequence[pb.HistoryEvent]:
        return self._stage.history(self._key)

    def _executions(self) -> list[Sequence[pb.HistoryEvent]]:
        return [*self._stage.store.earlier.get(self._key, ()), self._events()]

    @property
    def executions(self) -> int:
        """How many executions there were: 1, and one more for each continue-as-new."""
        self._row()
        return len(self._executions())

    @property
    def calls(self) -> list[RunCall]:
        """The activities and child workflows it called, oldest first, over all its executions."""
        self._row()
        return [call for events in self._executions() for call in _calls(events)]

    @property
    def children(self) -> list[WorkflowRun[Any]]:
        """The child workflows that its current execution started and that were not purged, oldest first."""
        found: list[WorkflowRun[Any]] = []
        for event in self._events():
            if event.HasField("childWorkflowInstanceCreated"):
                worker = self._stage.apps.get(event.router.targetAppID or self._worker.app_id)
                if worker is not None:
                    child: WorkflowRun[Any] = WorkflowRun(
                        self._stage, worker, event.childWorkflowInstanceCreated.instanceId
                    )
                    if child.exists and child not in found:
                        found.append(child)
        return found

    # ---- claims --------------------------------------------------------------------------------------------

    def assert_completed(self, *result: Any) -> None:
        """It completed, with this result if one is given.

        Raises:
            AssertionError: It did not, or with another; the message has the timeline.
        """
        self._assert_status(WorkflowStatus.COMPLETED)
        if result and self.result != result[0]:
            raise AssertionError(
                f"{self._who()} was to complete with\n  {result[0]!r}\nand did with\n  {self.result!r}\n{self.timeline}"
            )

    def assert_failed(self, error: type[BaseException] | str | None = None, *, match: str | None = None) -> None:
        """It failed, with this error if one is given.

        Args:
            error: The exception, or its name: the workflow's own, or one that led to it in an activity or child.
            match: A regular expression that is found in the message of that error.

        Raises:
            AssertionError: It did not, or with another.
        """
        self._assert_status(WorkflowStatus.FAILED)
        wanted = error.__name__ if isinstance(error, type) else error
        chain: list[FailureDetails] = []
        details = self.failure
        while details is not None:
            chain.append(details)
            details = details.cause
        for found in chain:
            if wanted in (None, found.error_type) and (match is None or re.search(match, found.message)):
                return
        had = "\n".join(f"  {found.error_type}: {found.message}" for found in chain)
        with_match = "" if match is None else f" and a message in which {match!r} is found"
        raise AssertionError(
            f"{self._who()} was to fail with {wanted or 'any error'}{with_match}, and failed with\n{had}\n"
            f"{self.timeline}"
        )

    def assert_terminated(self) -> None:
        """It was terminated.

        Raises:
            AssertionError: It was not.
        """
        self._assert_status(WorkflowStatus.TERMINATED)

    def _assert_status(self, status: WorkflowStatus) -> None:
        if self.status is not status:
            failure = "" if self.failure is None else f" ({self.failure})"
            waits = f" It waits for {'; and for '.join(map(str, self.waits))}." if self.waits else ""
            raise AssertionError(
                f"{self._who()} was to be {status.name}, and is {self.status.name}{failure}.{waits}\n{self.timeline}"
            )

    def assert_called_in_order(self, *called: Callable[..., Any] | str) -> None:
        """It called these activities and child workflows in this order; others may lie between them.

        Args:
            called: Functions or names. One that is to be called twice is given twice; retries do not count.

        Raises:
            AssertionError: It did not; the message says which one is missing after which.
        """
        names = [self._name_of(item) for item in called]
        had = [call.name for call in self.calls]
        position = 0
        for number, name in enumerate(names):
            try:
                position = had.index(name, position) + 1
            except ValueError:
                before = f" after {names[number - 1]!r}" if number else ""
                raise AssertionError(
                    f"{self._who()} was to call {', '.join(map(repr, names))} in this order, and did not call {name!r}"
                    f"{before}. {self._told_calls()}"
                ) from None

    def assert_calls(self, *called: Callable[..., Any] | str) -> None:
        """It called these activities and child workflows, in this order, and no others; retries do not count.

        Raises:
            AssertionError: It did not.
        """
        names = [self._name_of(item) for item in called]
        if names != [call.name for call in self.calls]:
            raise AssertionError(
                f"{self._who()} was to call {', '.join(map(repr, names)) or 'nothing'} and nothing else. "
                f"{self._told_calls()}"
            )

    def assert_retried(self, called: Callable[..., Any] | str, times: int) -> None:
        """The first call of this activity or child workflow was tried again so often.

        Raises:
            AssertionError: It was tried again more or less often, or never called.
        """
        name = self._name_of(called)
        call = next((call for call in self.calls if call.name == name), None)
        if call is None:
            raise AssertionError(f"{self._who()} never called {name!r}. {self._told_calls()}")
        if call.attempts - 1 != times:
            raise AssertionError(
                f"{self._who()} was to try {name!r} again {times} times, and did {call.attempts - 1} times.\n"
                f"{self.timeline}"
            )

    def assert_custom_status(self, status: Any) -> None:
        """Its custom status is this.

        Args:
            status: What the workflow gave to ``set_custom_status``.

        Raises:
            AssertionError: It is another.
        """
        expected = status
        if status is not None and not isinstance(status, str):
            try:
                expected = self._stage.converter.encode(status)
            except PayloadError as error:
                raise AssertionError(f"No workflow can have the custom status {status!r}: {error}") from error
        if self.custom_status != expected:
            raise AssertionError(
                f"{self._who()} was to have the custom status {expected!r}, and has {self.custom_status!r}."
            )

    def assert_waits_for_event(self, name: str) -> None:
        """It waits for this event now; upper and lower case do not matter.

        Raises:
            AssertionError: It does not.
        """
        if not any(wait.kind == "event" and wait.name.casefold() == name.casefold() for wait in self.waits):
            raise AssertionError(f"{self._who()} was to wait for event {name!r}. {self._told_waits()}")

    def assert_timer_due(self, due: datetime | timedelta) -> None:
        """One of its timers, retries or waits with a timeout is due then, to the second.

        Args:
            due: The moment, where naive means UTC, or how long from now on the environment's clock.

        Raises:
            AssertionError: None is.
        """
        if isinstance(due, timedelta):
            due = self._now() + due
        elif due.utcoffset() is None:
            due = due.replace(tzinfo=timezone.utc)
        if not any(wait.due is not None and abs(wait.due - due) < _CLOSE for wait in self.timers):
            raise AssertionError(
                f"{self._who()} was to have a timer that is due at {due:%Y-%m-%d %H:%M:%S}. {self._told_waits()}"
            )

    def _now(self) -> datetime:
        from dapr_workflow_sdk.testing.virtual_time import aware

        return aware(self._stage.clock.moment)

    def _name_of(self, called: Callable[..., Any] | str) -> str:
        if isinstance(called, str):
            return called
        registry = self._worker.registry
        definition = getattr(called, "__dapr_workflow_definition__", None)
        kind: Kind = "workflow" if getattr(definition, "kind", "") == "workflow" else "activity"
        return registry.name_for(kind, called)

    def _who(self) -> str:
        return f"Workflow {self.name!r}, instance {self.instance_id!r},"

    def _told_calls(self) -> str:
        calls = self.calls
        if not calls:
            return "It called nothing."
        return "Its calls:\n" + "\n".join(f"  {number}. {call}" for number, call in enumerate(calls, 1))

    def _told_waits(self) -> str:
        waits = self.waits
        if not waits:
            return f"It waits for nothing and is {self.status.name}.\n{self.timeline}"
        return "It waits for:\n" + "\n".join(f"  {wait}" for wait in waits)


def _calls(events: Sequence[pb.HistoryEvent]) -> list[RunCall]:
    """The calls of one execution; the tries of one call are told as one."""
    tries: dict[str, list[pb.HistoryEvent]] = {}
    for event in events:
        kind = event.WhichOneof("eventType")
        if kind == "taskScheduled":
            # The id stays the same over all tries of a call, and differs between calls.
            tries.setdefault(f"activity {event.taskScheduled.taskExecutionId}", []).append(event)
        elif kind == "childWorkflowInstanceCreated":
            tries.setdefault(f"child {event.childWorkflowInstanceCreated.instanceId}", []).append(event)
    found: list[RunCall] = []
    for again in tries.values():
        first = again[0]
        activity = first.HasField("taskScheduled")
        call = first.taskScheduled if activity else first.childWorkflowInstanceCreated
        value = unmarked(value_of(call.input.value)) if call.HasField("input") else None
        found.append(RunCall("activity" if activity else "child workflow", call.name, value, len(again)))
    return found
