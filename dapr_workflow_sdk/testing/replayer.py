"""Replays recorded histories on the code as it is now: whole, and up to every point where a worker may crash."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.errors import NonDeterminismError
from dapr_workflow_sdk.replay.causes import Cause as MismatchCause
from dapr_workflow_sdk.replay.mismatch import Mismatch
from dapr_workflow_sdk.replay.outcome import Outcome
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.steps import StepKind
from dapr_workflow_sdk.replay.trace import retrace
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import status_name
from dapr_workflow_sdk.testing.history_files import WorkflowHistory, history_of, load_histories
from dapr_workflow_sdk.testing.recorded_turns import TurnCheck, recorded_turns

if TYPE_CHECKING:
    from dapr_workflow_sdk.worker.runtime import WorkflowRuntime

__all__ = [
    "InputDrift",
    "Mismatch",
    "MismatchCause",
    "ReplayAction",
    "ReplayReport",
    "ReplayResult",
    "Replayer",
]

_STATUS = {
    pb.WORKFLOW_STATUS_COMPLETED: WorkflowStatus.COMPLETED,
    pb.WORKFLOW_STATUS_FAILED: WorkflowStatus.FAILED,
    pb.WORKFLOW_STATUS_TERMINATED: WorkflowStatus.TERMINATED,
}
_ACTIONS = {
    "scheduleTask": StepKind.ACTIVITY.value,
    "createChildWorkflow": StepKind.CHILD.value,
    "createTimer": StepKind.TIMER.value,
    "sendEvent": "event to another instance",
    "terminateWorkflow": "end of another instance",
    "createDetachedWorkflow": "detached workflow",
    "completeWorkflow": "end",
}


@dataclass(frozen=True)
class ReplayAction:
    """What the code asks for after the last event of a history.

    Attributes:
        kind: "activity", "child workflow", "timer", "wait for an event", "delay before a retry" or "end".
        id: Number of the call.
        name: Of the activity, child workflow or event; of an end, its status.
        input: Payload text of the input, or of the result of an end.
    """

    kind: str
    id: int
    name: str
    input: str | None = None


@dataclass(frozen=True)
class InputDrift:
    """A call that is made with another input than the history records, or a result that differs.

    Attributes:
        event: Number of the history event, from 1.
        call: Number of the call, from 1.
        what: What is called: "a call of activity 'charge'".
        recorded: Payload text in the history.
        current: Payload text now.
        file: File of the line that makes the call now, or None.
        line: Number of that line.
    """

    event: int
    call: int
    what: str
    recorded: str | None
    current: str | None
    file: str | None
    line: int | None

    def __str__(self) -> str:
        where = f", at {self.file}:{self.line}" if self.file is not None else ""
        return f"event {self.event}: {self.what} has {self.current} now and had {self.recorded}{where}"


@dataclass(frozen=True)
class ReplayResult:
    """What came of replaying one history.

    Attributes:
        history: The history.
        status: Where the code is after it: RUNNING, COMPLETED, FAILED or TERMINATED.
        serialized_output: Payload text of the result, or of the next input if it continues as new; else None.
        actions: What the code asks for after the last event.
        mismatch: Where code and history part, and why; None if they agree.
        drifts: Inputs and results that differ, if the replayer checks inputs.
        turns: How many turns the history has.
    """

    history: WorkflowHistory
    status: WorkflowStatus
    serialized_output: str | None
    actions: tuple[ReplayAction, ...]
    mismatch: Mismatch | None
    drifts: tuple[InputDrift, ...]
    turns: int

    @property
    def ok(self) -> bool:
        """Whether code and history agree."""
        return self.mismatch is None and not self.drifts

    @property
    def output(self) -> Any:
        """The result as plain JSON values."""
        return None if self.serialized_output is None else json.loads(self.serialized_output)

    def raise_if_mismatched(self) -> None:
        """Raises an error with the whole explanation if code and history do not agree.

        Raises:
            NonDeterminismError: They do not.
        """
        if not self.ok:
            raise NonDeterminismError(str(self))

    def __str__(self) -> str:
        if self.mismatch is not None:
            return str(self.mismatch)
        who = f"Workflow {self.history.name!r}, instance {self.history.instance_id!r}"
        if self.drifts:
            return "\n".join([f"{who}, replays with other payloads:", *(f"  {drift}" for drift in self.drifts)])
        return f"{who}, replays: {self.turns} turns, {len(self.history)} events, {self.status.name}."


@dataclass(frozen=True)
class ReplayReport:
    """What came of replaying many histories.

    Attributes:
        results: One for each, in the order of their files.
    """

    results: tuple[ReplayResult, ...]

    @property
    def ok(self) -> bool:
        """Whether all of them replay."""
        return not self.failures

    @property
    def failures(self) -> tuple[ReplayResult, ...]:
        """Those that do not."""
        return tuple(result for result in self.results if not result.ok)

    def raise_if_mismatched(self) -> None:
        """Raises an error with all explanations if some history does not replay.

        Raises:
            NonDeterminismError: Some do not.
        """
        if not self.ok:
            raise NonDeterminismError(str(self))

    def __str__(self) -> str:
        count = len(self.results)
        if self.ok:
            return f"All {count} histories replay." if count != 1 else "The history replays."
        head = f"{len(self.failures)} of {count} histories do not replay:"
        return "\n\n".join([head, *(f"{result.history.origin}: {result}" for result in self.failures)])


class Replayer:
    """Replays histories on workflows as they are now; nothing is called, sent or waited for.

    Example::

        def test_running_orders_survive_this_change() -> None:
            Replayer(workflows=[process_order]).replay_all("tests/histories").raise_if_mismatched()
    """

    def __init__(
        self,
        workflows: Iterable[Callable[..., Any]] | WorkflowRuntime | None = None,
        *,
        converter: Converter | None = None,
        check_inputs: bool = False,
        prefixes: bool = True,
        registry: Registry | None = None,
    ) -> None:
        """Takes the code.

        Args:
            workflows: The workflows, or a `WorkflowRuntime` that has them and their versions; by default all that are
                decorated at module level.
            converter: How payloads are read and written; JSON by default.
            check_inputs: Also compare inputs of calls and results with what is recorded. Replay itself does not.
            prefixes: Also replay the history up to each turn, as a worker does that takes over there, and compare what
                the code asks for with what was recorded. The time grows with the square of the number of turns.
            registry: Where the workflows are found, instead of `workflows`.

        Raises:
            RegistrationError: A function cannot be a workflow.
        """
        if registry is None:
            of_runtime = getattr(workflows, "_registry", None)
            registry = of_runtime if isinstance(of_runtime, Registry) else Registry(module_level=workflows is None)
        self._registry = registry
        for function in workflows if isinstance(workflows, Iterable) else ():
            self._registry.add("workflow", function)
        self._converter = converter or JsonConverter()
        self._check_inputs = check_inputs
        self._prefixes = prefixes

    def replay(self, history: WorkflowHistory | str | Path | Sequence[Any] | dict[str, Any]) -> ReplayResult:
        """Replays one history.

        Args:
            history: What `load_history` returns, a path it takes, the events of a client's ``get_workflow_history``, or
                the document of an export.

        Raises:
            HistoryFileError: It is no history.
            WorkflowNotRegisteredError: The workflow is not among those that were given.
        """
        recorded = history_of(history)
        events = recorded._wire
        check = TurnCheck(recorded.name, recorded.instance_id, events, self._registry, self._converter)
        turns = recorded_turns(events)
        output = run_turn(recorded.instance_id, events, (), self._registry, self._converter, ParkedInstances(0))
        mismatch = output.mismatch
        # At an earlier turn code and history may part before they do in the whole history.
        if mismatch is None or self._prefixes:
            checked = turns if self._prefixes else turns[-1:]
            found = next(filter(None, map(check.mismatch, checked)), None)
            if found is not None and (mismatch is None or found.event < mismatch.event):
                mismatch = found
        return ReplayResult(
            history=recorded,
            status=_status(output.outcome),
            serialized_output=None if output.outcome is None else output.outcome.result,
            actions=tuple(map(_action, output.actions)),
            mismatch=mismatch,
            drifts=self._drifts(recorded, output) if self._check_inputs and mismatch is None else (),
            turns=len(turns),
        )

    def replay_all(self, folder: str | Path) -> ReplayReport:
        """Replays the histories of a folder, or of a file that has several.

        Raises:
            HistoryFileError: A file is no history, or there is none.
            WorkflowNotRegisteredError: A workflow is not among those that were given.
        """
        return ReplayReport(tuple(map(self.replay, load_histories(folder))))

    def _drifts(self, history: WorkflowHistory, output: TurnOutput) -> tuple[InputDrift, ...]:
        trace = retrace(history.instance_id, history._wire, self._registry, self._converter)
        drifts = [
            InputDrift(
                agreed.recorded.event,
                agreed.asked.number,
                str(agreed.asked),
                agreed.recorded.input,
                agreed.asked.input,
                None if agreed.asked.place is None else agreed.asked.place[0],
                None if agreed.asked.place is None else agreed.asked.place[1],
            )
            for agreed in trace.agreements
            if agreed.asked.is_named and not _same_payload(agreed.recorded.input, agreed.asked.input)
        ]
        for number, event in enumerate(history._wire, 1):
            completed = event.executionCompleted
            if completed.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED and output.outcome is not None:
                recorded = completed.result.value if completed.HasField("result") else None
                if not _same_payload(recorded, output.outcome.result):
                    drifts.append(
                        InputDrift(number, event.eventId, "the result", recorded, output.outcome.result, None, None)
                    )
        return tuple(drifts)


def _same_payload(one: str | None, other: str | None) -> bool:
    if one == other:
        return True
    try:
        # Absent and null arrive as the same.
        return bool(json.loads(one or "null") == json.loads(other or "null"))
    except ValueError:
        return False


def _status(outcome: Outcome | None) -> WorkflowStatus:
    return WorkflowStatus.RUNNING if outcome is None else _STATUS.get(outcome.status, WorkflowStatus.RUNNING)


def _action(action: pb.WorkflowAction) -> ReplayAction:
    kind = action.WhichOneof("workflowActionType") or ""
    asked: Any = getattr(action, kind)
    if kind == "completeWorkflow":
        status = status_name(asked.workflowStatus)
        return ReplayAction("end", action.id, status, asked.result.value if asked.HasField("result") else None)
    if kind == "createTimer":
        origin = asked.WhichOneof("origin")
        if origin == "externalEvent":
            return ReplayAction(StepKind.WAIT.value, action.id, asked.externalEvent.name)
        retry = origin in ("activityRetry", "childWorkflowRetry")
        return ReplayAction((StepKind.RETRY if retry else StepKind.TIMER).value, action.id, "")
    name = getattr(asked, "name", "")
    text = asked.input.value if "input" in asked.DESCRIPTOR.fields_by_name and asked.HasField("input") else None
    return ReplayAction(_ACTIONS.get(kind, kind), action.id, name, text)
