"""The turns of a recorded history, and whether the code as it is now would answer each of them in the same way."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dapr_workflow_sdk.authoring.definitions import Definition, Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import WorkflowNotRegisteredError
from dapr_workflow_sdk.replay.calls import Call, Place, TimerCall
from dapr_workflow_sdk.replay.causes import Cause, Diagnosis, Situation, diagnose, keep_old_code, missing_patch
from dapr_workflow_sdk.replay.explanation import at
from dapr_workflow_sdk.replay.mismatch import Mismatch, explained, last_agreement, make_mismatch, source_of
from dapr_workflow_sdk.replay.outcome import ending_of
from dapr_workflow_sdk.replay.steps import Step, asked_step, is_optional, recorded_step, recorded_steps
from dapr_workflow_sdk.replay.trace import Agreement, Trace, retrace
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# What a task hub writes when a turn is over, after the events that the turn was given.
_ANSWERS = frozenset(
    {
        "taskScheduled",
        "timerCreated",
        "childWorkflowInstanceCreated",
        "detachedWorkflowInstanceCreated",
        "eventSent",
        "executionCompleted",
        "executionStalled",
        "workflowCompleted",
        "continueAsNew",
    }
)
_ENDS = (pb.WORKFLOW_STATUS_COMPLETED, pb.WORKFLOW_STATUS_FAILED)


@dataclass(frozen=True)
class RecordedTurn:
    """One turn of a history.

    Attributes:
        past: What was committed before it.
        new: What it was given.
        answer: What was recorded of its answer.
    """

    past: tuple[pb.HistoryEvent, ...]
    new: tuple[pb.HistoryEvent, ...]
    answer: tuple[pb.HistoryEvent, ...]

    @property
    def first_answer(self) -> int:
        """Number of the first event of the answer, from 1."""
        return len(self.past) + len(self.new) + 1


def recorded_turns(events: Sequence[pb.HistoryEvent]) -> list[RecordedTurn]:
    """The turns of a history; each begins with its marker."""
    begins = [place for place, event in enumerate(events) if event.HasField("workflowStarted")]
    turns: list[RecordedTurn] = []
    for begin, end in zip(begins, [*begins[1:], len(events)], strict=True):
        answered = next((n for n in range(begin, end) if events[n].WhichOneof("eventType") in _ANSWERS), end)
        turns.append(RecordedTurn(tuple(events[:begin]), tuple(events[begin:answered]), tuple(events[answered:end])))
    return turns


class TurnCheck:
    """Compares what the code answers to the turns of one history with what the history records."""

    def __init__(
        self,
        workflow: str,
        instance_id: str,
        events: Sequence[pb.HistoryEvent],
        registry: Registry,
        converter: Converter,
    ) -> None:
        """Takes the whole history.

        Raises:
            WorkflowNotRegisteredError: The workflow is not registered.
        """
        if registry.find("workflow", workflow) is None and not registry.versions_of(workflow):
            known = ", ".join(registry.names("workflow")) or "none"
            raise WorkflowNotRegisteredError(
                f"The history of instance {instance_id!r} is one of workflow {workflow!r}, which is not among those "
                f"that are replayed: {known}. A worker without it fails the instances that it has begun."
            )
        self._workflow = workflow
        self._instance_id = instance_id
        self._events = events
        self._registry = registry
        self._converter = converter
        self._definition: Definition | None = None

    def mismatch(self, turn: RecordedTurn) -> Mismatch | None:
        """Where the answer of the code to a turn differs from the recorded one, or None."""
        trace = self._trace(turn, new=len(turn.new))
        run = trace.instance
        self._definition = run.definition
        if trace.parting is not None:
            return explained(trace.parting, run, self._events, self._registry, self._converter)
        if run._version_missing:
            return self._without_version(turn, trace)
        recorded_patches = list(turn.new[0].workflowStarted.version.patches)
        met = run.patches.told()
        if met[: len(recorded_patches)] != recorded_patches:
            return self._without_patch(turn, trace, recorded_patches)
        if len(met) > len(recorded_patches):
            # An instance that comes here now goes the new way; those of the history have gone the old one.
            trace = self._trace(turn)
        if any(event.HasField("executionTerminated") for event in (*turn.past, *turn.new)):
            # Whoever ends an instance need not wait for its code.
            return None
        recorded = [
            step
            for number, event in enumerate(turn.answer, turn.first_answer)
            if not is_optional(event) and (step := recorded_step(event, number)) is not None
        ]
        asked = _steps(trace)
        # Numbers differ where the code has timers of waits that the history lacks; see the essay in replay/ledger.py.
        kept = {event.eventId for event in turn.answer}
        shifted = len(asked) < len(trace.asked) and any(
            call.id not in kept for call in trace.asked if _is_optional(call)
        )
        agreed = 0
        for had, has in zip(recorded, asked, strict=False):
            if not has.fits(had) or (has.number != had.number and not shifted):
                break
            agreed += 1
        if agreed < max(len(recorded), len(asked)):
            return self._other_call(turn, trace, recorded, asked, agreed)
        return self._other_end(turn, trace)

    def _trace(self, turn: RecordedTurn, new: int = 0) -> Trace:
        events = (*turn.past, *turn.new)
        return retrace(self._instance_id, events, self._registry, self._converter, new=new)

    def _other_call(
        self, turn: RecordedTurn, trace: Trace, recorded: list[Step], asked: list[Step], agreed: int
    ) -> Mismatch:
        had = recorded[agreed] if agreed < len(recorded) else None
        has = asked[agreed] if agreed < len(asked) else None
        if had is not None:
            event = had.event
        else:
            # In its place the history has the timer of a wait without a timeout, or nothing more of this turn.
            later = [n for n, e in enumerate(turn.answer, turn.first_answer) if e.eventId >= asked[agreed].number]
            event = later[0] if later else turn.first_answer + len(turn.answer)
        ending = ending_of(trace.instance.outcome)
        rest = recorded_steps(self._events[event - 1 :], event)
        earlier = (*trace.agreements, *(Agreement(*pair) for pair in zip(recorded[:agreed], asked, strict=False)))
        if asked != _steps(self._trace(turn)):
            diagnosis = _TELLS_REPLAYS
        else:
            situation = Situation(
                self._workflow,
                recorded=tuple(rest),
                asked=tuple(asked[agreed:]),
                agreed=tuple(agreement.recorded for agreement in earlier),
                ending=ending,
                source=source_of(self._definition, self._registry),
            )
            diagnosis = diagnose(situation)
        place = has.place if has is not None else trace.place
        waits = ending or f"waits at {at(trace.place)}"
        now = f"the code now {waits}" if has is None else f"the code now makes {has}, at {at(has.place)}"
        number = has.number if has is not None else recorded[agreed].number
        if had is None:
            what = f"event {event} of its history records no call, but {now}"
        else:
            what = f"event {event} of its history is {had}, but {now}"
        return self._make(
            event,
            number,
            had,
            None if has is None else str(has),
            place,
            earlier,
            diagnosis,
            what,
        )

    def _without_version(self, turn: RecordedTurn, trace: Trace) -> Mismatch:
        version, known = trace.instance._recorded_version, ", ".join(self._registry.versions_of(self._workflow))
        diagnosis = Diagnosis(
            Cause.VERSION,
            f"The instance has begun with version {version!r}, which is not registered; these are: {known}.",
            "Keep every version until no instance is left that has begun with it.",
        )
        number = next(n for n, event in enumerate(self._events, 1) if event.HasField("executionStarted"))
        what = f"event {number} of its history starts version {version!r}, which is not registered"
        return self._make(number, 0, None, None, None, trace.agreements, diagnosis, what)

    def _without_patch(self, turn: RecordedTurn, trace: Trace, recorded: list[str]) -> Mismatch:
        number = len(turn.past) + 1
        met = trace.instance.patches.told()
        name = next(name for n, name in enumerate(recorded) if met[n : n + 1] != [name])
        then, now = (", ".join(patches) or "none" for patches in (recorded, met))
        what = f"event {number} of its history has patches {then}, and the code now has {now}"
        return self._make(number, 0, None, None, trace.place, trace.agreements, missing_patch(name), what)

    def _other_end(self, turn: RecordedTurn, trace: Trace) -> Mismatch | None:
        """Whether the code ends where the history does, and in the same way."""
        outcome = trace.instance.outcome
        ends = [(n, e) for n, e in enumerate(turn.answer, turn.first_answer) if e.HasField("executionCompleted")]
        if ends:
            number, event = ends[0]
            status = event.executionCompleted.workflowStatus
            if status not in _ENDS or (outcome is not None and outcome.status == status):
                return None
            had = "ends" if status == pb.WORKFLOW_STATUS_COMPLETED else "fails"
        else:
            number = len(turn.past) + len(turn.new) + len(turn.answer) + 1
            renewed = outcome is not None and outcome.status == pb.WORKFLOW_STATUS_CONTINUED_AS_NEW
            if outcome is None or (renewed and number > len(self._events)):
                return None
            had = "goes on"
        now = ending_of(outcome) or f"waits at {at(trace.place)}"
        cause = Cause.LENGTHENED
        if outcome is not None:
            cause = Cause.SHORTENED if outcome.failure is None else Cause.FAILS
        diagnosis = Diagnosis(cause, f"In the history it {had} there; now it {now}.", keep_old_code(self._workflow))
        return self._make(
            number,
            trace.instance._ledger.sequence,
            None,
            None,
            trace.place,
            trace.agreements,
            diagnosis,
            f"it {had} at event {number} of its history, but the code now {now}",
        )

    def _make(
        self,
        event: int,
        call: int,
        recorded: Step | None,
        asked: str | None,
        place: Place | None,
        agreements: Sequence[Agreement],
        diagnosis: Diagnosis,
        what: str,
    ) -> Mismatch:
        code = None if self._definition is None else self._definition.code
        if place is None and code is not None:
            place = (code.co_filename, code.co_firstlineno)
        who = f"Workflow {self._workflow!r}, instance {self._instance_id!r}"
        return make_mismatch(
            self._workflow,
            self._instance_id,
            event=event,
            events=len(self._events),
            call=call,
            recorded=recorded,
            asked=asked,
            place=place,
            agreement=last_agreement(agreements),
            diagnosis=diagnosis,
            message=f"{who}, no longer matches its history: {what}.",
        )


_TELLS_REPLAYS = Diagnosis(
    Cause.UNSTEADY,
    "The code asks for something else when it runs first than when it is replayed: it decides by ctx.is_replaying, or "
    "by something that its own runs change.",
    "Let nothing but logging depend on ctx.is_replaying, and keep state in local variables.",
)


def _steps(trace: Trace) -> list[Step]:
    """Calls that the code asks for, without the timers of waits without a timeout, which a history need not have."""
    return [asked_step(call) for call in trace.asked if not _is_optional(call)]


def _is_optional(call: Call) -> bool:
    return isinstance(call, TimerCall) and call.optional
