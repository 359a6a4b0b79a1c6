"""A mismatch of code and history, explained like an error of a compiler."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dapr_workflow_sdk.authoring.definitions import Definition, Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.replay.calls import Place
from dapr_workflow_sdk.replay.causes import Cause, Diagnosis, Situation, diagnose
from dapr_workflow_sdk.replay.explanation import at
from dapr_workflow_sdk.replay.instance import Instance
from dapr_workflow_sdk.replay.parting import PartingError
from dapr_workflow_sdk.replay.source import Source, line_of, read_source
from dapr_workflow_sdk.replay.steps import Step, asked_step, recorded_step, recorded_steps
from dapr_workflow_sdk.replay.trace import Agreement, retrace
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


@dataclass(frozen=True)
class Mismatch:
    """Where the code of a workflow and a history part, and why. As text it is the whole explanation.

    Attributes:
        workflow: Name of the workflow.
        instance_id: Id of the instance.
        event: Number of the history event, from 1; one more than there are if the history is over.
        events: How many events there are.
        call: Number of the call, from 1.
        recorded: What the history has there, or None.
        asked: What the code asks for there, or None.
        file: File of the line where the code parts from the history, or None if it has ended.
        line: Number of the line.
        source: The line itself, without its indentation.
        agreement: The last call on which both agree, and where it is made; or that there is none.
        cause: The likely cause.
        reason: The likely cause as a sentence about this code.
        fix: What to do about it.
        message: The first sentence of the explanation.
    """

    workflow: str
    instance_id: str
    event: int
    events: int
    call: int
    recorded: str | None
    asked: str | None
    file: str | None
    line: int | None
    source: str
    agreement: str
    cause: Cause
    reason: str
    fix: str
    message: str

    def __str__(self) -> str:
        has = self.recorded or ("nothing" if self.event <= self.events else "nothing; the history ends before it")
        where = f"event {self.event} of {self.events}" if self.event <= self.events else f"after event {self.events}"
        width = max(len(f"history, {where}:"), len(f"the code, call {self.call}:"))
        lines = [
            self.message,
            "",
            f"  {f'history, {where}:':{width}}  {has}",
            f"  {f'the code, call {self.call}:':{width}}  {self.asked or 'nothing'}",
        ]
        if self.file is not None and self.line is not None:
            lines.append(f"  --> {self.file}:{self.line}")
            if self.source:
                margin = len(str(self.line))
                lines += [f"  {'':{margin}} |", f"  {self.line} |     {self.source}", f"  {'':{margin}} |"]
        lines += [
            f"  Both agree up to:  {self.agreement}",
            f"  Likely cause:      {self.cause.value}. {self.reason}",
            f"  What to do:        {self.fix}",
        ]
        return "\n".join(lines)


def explained(
    parting: PartingError,
    run: Instance,
    events: Sequence[pb.HistoryEvent],
    registry: Registry,
    converter: Converter,
    missing: int = 0,
) -> Mismatch:
    """Explains why a recorded call and the code do not fit.

    The history is replayed once more to find out on what both agreed before, and whether the code does the same
    again.

    Args:
        parting: What the run has found.
        run: The run.
        events: Its history and the new events, as far as they are known here.
        registry: Where the workflow's code is found.
        converter: How payloads are read and written.
        missing: How many events come before the first of `events`.
    """
    try:
        return _explain(parting, run, events, registry, converter, missing)
    except Exception as error:  # noqa: BLE001 - the answer must not be lost; the parting's own sentence is one, too
        run.notices.append(f"The cause of a mismatch with the history could not be found out: {error!r}")
        return make_mismatch(
            run.workflow_name,
            run.instance_id,
            event=missing + len(events),
            events=missing + len(events),
            call=parting.event.eventId,
            recorded=recorded_step(parting.event),
            asked=None,
            place=parting.place,
            agreement="unknown",
            diagnosis=Diagnosis(Cause.REPLACED, "The code does not ask for what it asked for.", "Bring it back."),
            message=str(parting),
        )


def _explain(
    parting: PartingError,
    run: Instance,
    events: Sequence[pb.HistoryEvent],
    registry: Registry,
    converter: Converter,
    missing: int,
) -> Mismatch:
    workflow, instance_id, definition = run.workflow_name, run.instance_id, run.definition
    number = next((n for n, event in enumerate(events, missing + 1) if event is parting.event), 0) or next(
        (n for n, event in enumerate(events, missing + 1) if event == parting.event), missing + len(events)
    )
    trace = None if missing else retrace(instance_id, events, registry, converter, versions=run._keeps_versions)
    asked = tuple(asked_step(call) for call in parting.pending)
    recorded = tuple(recorded_steps(events[number - missing - 1 :], number))
    agreements = () if trace is None else trace.agreements
    source = source_of(definition, registry)
    situation = Situation(
        workflow=workflow,
        recorded=recorded,
        asked=asked,
        agreed=tuple(agreement.recorded for agreement in agreements),
        ending=parting.ending,
        source=source,
        patches=tuple(name for name in run.patches.unasked() if source.calls and name not in source.patches),
        unsteady=trace is not None and not _same(trace.parting, parting),
    )
    place = parting.place if parting.found is None else parting.found.place
    if place is None and parting.ending is not None and definition is not None and definition.code is not None:
        place = (definition.code.co_filename, definition.code.co_firstlineno)
    return make_mismatch(
        workflow,
        instance_id,
        event=number,
        events=missing + len(events),
        call=parting.event.eventId,
        recorded=recorded_step(parting.event),
        asked=parting.found.label if parting.found is not None else _instead(parting),
        place=place,
        agreement=_agreement(agreements, events[: number - missing - 1], missing),
        diagnosis=diagnose(situation),
        message=str(parting),
    )


def make_mismatch(
    workflow: str,
    instance_id: str,
    *,
    event: int,
    events: int,
    call: int,
    recorded: Step | None,
    asked: str | None,
    place: Place | None,
    agreement: str,
    diagnosis: Diagnosis,
    message: str,
) -> Mismatch:
    """Puts an explanation together."""
    return Mismatch(
        workflow=workflow,
        instance_id=instance_id,
        event=event,
        events=events,
        call=call,
        recorded=None if recorded is None else str(recorded),
        asked=asked,
        file=None if place is None else place[0],
        line=None if place is None else place[1],
        source="" if place is None else line_of(*place),
        agreement=agreement,
        cause=diagnosis.cause,
        reason=diagnosis.reason,
        fix=diagnosis.fix,
        message=message,
    )


def last_agreement(agreements: Sequence[Agreement]) -> str:
    """The last call on which code and history agree."""
    if not agreements:
        return "the start of the workflow, there is no call before"
    last = agreements[-1]
    return f"event {last.recorded.event}, call {last.asked.number}, {last.asked}, at {at(last.asked.place)}"


def source_of(definition: Definition | None, registry: Registry) -> Source:
    """The calls in the source of a workflow, if it can be read."""
    if definition is None:
        return Source()
    try:
        return read_source(definition.function, registry)
    except Exception:  # noqa: BLE001 - odd code must not cost the explanation
        return Source()


def _instead(parting: PartingError) -> str | None:
    if parting.ending is not None:
        return f"nothing, it {parting.ending}"
    return "nothing, it waits"


def _agreement(agreements: Sequence[Agreement], before: Sequence[pb.HistoryEvent], missing: int) -> str:
    if agreements or not missing:
        return last_agreement(agreements)
    earlier = recorded_steps(before, missing + 1)
    if not earlier:
        return f"event {missing + len(before)}"
    return f"event {earlier[-1].event}, call {earlier[-1].number}, {earlier[-1]}"


def _same(again: PartingError | None, parting: PartingError) -> bool:
    def told(one: PartingError) -> tuple[int, list[tuple[int, str]], str | None]:
        return one.event.eventId, [(call.id, call.label) for call in one.pending], one.ending

    return again is not None and told(again) == told(parting)
