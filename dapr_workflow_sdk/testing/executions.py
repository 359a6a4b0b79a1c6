"""Executions of a workflow that a simulation has played: what was asked, what came of it, and in which order."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from google.protobuf.json_format import MessageToDict

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.client.state import WorkflowStatus, read_state
from dapr_workflow_sdk.client.timeline import Entry, Story, read_story
from dapr_workflow_sdk.client.wording import span
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER_NS, timestamp_from_ns
from dapr_workflow_sdk.testing.simulation import PlayedTurn

# Long payloads and messages are cut there, so that a timeline stays readable.
_WIDEST = 100


@dataclass(frozen=True, slots=True)
class AnsweredCall:
    """A call of an activity, and how it was answered.

    Attributes:
        instance_id: The instance that made the call.
        name: Name of the activity.
        input: Its input, as plain JSON.
        number: Number of the call; a retry has another one.
        failure: How it failed; None if it returned.
        result: What it returned, as plain JSON.
    """

    instance_id: str
    name: str
    input: Any
    number: int
    failure: FailureDetails | None
    result: Any

    @property
    def succeeded(self) -> bool:
        """Whether it returned."""
        return self.failure is None


@dataclass(frozen=True, repr=False)
class Execution:
    """One instance of a workflow, from its start to its end, or to where nothing happens to it any more.

    Its text is the timeline.

    Attributes:
        workflow: Name of the workflow.
        input: What it was given.
        instance_id: Id of the instance.
        status: Where it stands at the end.
        result: What it returned, as plain JSON.
        failure: Why it failed; None if it did not.
        custom_status: Its custom status.
        calls: Activities that were answered, in the order of the answers; those of children too.
        raised: Payloads of the events that were raised, by name and in order; the doubled ones twice.
        disturbances: What the world did that no history shows, such as workers lost.
        unfinished: Why it has not ended; empty if it has.
    """

    workflow: str
    input: Any
    instance_id: str
    status: WorkflowStatus
    result: Any
    failure: FailureDetails | None
    custom_status: str | None
    calls: Sequence[AnsweredCall]
    raised: Mapping[str, Sequence[Any]]
    disturbances: Sequence[str]
    unfinished: str
    turns: Sequence[PlayedTurn]
    events: Sequence[pb.HistoryEvent]
    registry: Registry
    converter: Converter

    @property
    def ended(self) -> bool:
        """Whether the instance has ended."""
        return not self.unfinished

    def calls_of(self, activity: Callable[..., Any] | str) -> list[AnsweredCall]:
        """The answered calls of one activity."""
        name = activity if isinstance(activity, str) else self.registry.name_for("activity", activity)
        return [call for call in self.calls if call.name == name]

    def timeline(self) -> str:
        """What happened, turn by turn, for people."""
        lines = [f"{self.workflow}({shown(self.input)})"]
        lines += ["  " + line for line in story_lines(read_story(self.events))]
        lines += [f"  meanwhile: {disturbance}" for disturbance in self.disturbances]
        if self.unfinished:
            lines.append(f"  not ended: {self.unfinished}")
        return "\n".join(lines)

    def __repr__(self) -> str:
        # On lines of its own, because hypothesis prints it after the name of the argument.
        return f"<execution\n{self.timeline()}\n>"

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        # Hypothesis would list the fields.
        printer.text(repr(self))

    def document(self) -> Mapping[str, Any]:
        """The history as ``dapr-workflow export`` writes it."""
        return {
            "format": "dapr-workflow-history",
            "version": 1,
            "instance_id": self.instance_id,
            "name": self.workflow,
            "status": self.status.name,
            "input": None if self.input is None else self.converter.encode(self.input),
            "output": None if self.result is None else self.converter.encode(self.result),
            "events": [MessageToDict(event) for event in self.events],
        }

    def save(self, path: str | Path) -> Path:
        """Writes the history to a file that a `Replayer` reads; returns its path.

        Args:
            path: The file; its folder is made if need be.
        """
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(self.document(), indent=1) + "\n", encoding="utf-8")
        return path


def execution_from(
    name: str,
    value: Any,
    state: pb.WorkflowState,
    events: Sequence[pb.HistoryEvent],
    turns: Sequence[PlayedTurn],
    calls: Sequence[AnsweredCall],
    raised: Mapping[str, Sequence[Any]],
    disturbances: Sequence[str],
    unfinished: str,
    registry: Registry,
    converter: Converter,
) -> Execution:
    """Puts together what a simulation knows of an instance."""
    read = read_state(state)
    return Execution(
        workflow=name,
        input=value,
        instance_id=state.instanceId,
        status=read.runtime_status,
        result=plain(state.output.value) if state.HasField("output") else None,
        failure=read.failure_details,
        custom_status=state.customStatus.value if state.HasField("customStatus") else None,
        calls=calls,
        raised=raised,
        disturbances=disturbances,
        unfinished=unfinished,
        turns=turns,
        events=events,
        registry=registry,
        converter=converter,
    )


def plain(text: str) -> Any:
    """What payload text says, as plain JSON; None for no text."""
    return json.loads(text) if text else None


def shown(value: Any) -> str:
    """A value in a line."""
    text = repr(value)
    return text if len(text) <= _WIDEST else f"{text[: _WIDEST - 3]}..."


def story_lines(story: Story) -> list[str]:
    """A story as plain lines: the turn, the time since the start, and what happened."""
    lines: list[str] = []
    turn = 0
    for entry in story.entries:
        number = f"turn {entry.turn}" if entry.turn != turn else ""
        turn = entry.turn
        lines.append(f"{number:<8}{span(entry.at - story.begun):>10}  {entry_text(entry)}".rstrip())
    return lines


def entry_text(entry: Entry) -> str:
    """What happened, in one line of plain text."""
    text = entry.sentence
    if entry.failure is not None:
        detail = " ".join(f"{entry.failure.error_type}: {entry.failure.message}".split())
    else:
        detail = " ".join((entry.payload or "").split())
    if not detail:
        return text
    if entry.failure is None:
        detail = detail if len(detail) <= _WIDEST else f"{detail[: _WIDEST - 3]}..."
    return f"{text}: {detail}"


def open_wait(story: Story) -> str:
    """What an instance waits for, in words; empty if for nothing."""
    waits: list[str] = []
    for number, entry in sorted(story.open.items()):
        if entry.kind == "activity_called":
            waits.append(f"activity {entry.name} #{number}")
        elif entry.kind == "child_called":
            waits.append(f"child workflow {entry.name} #{number}")
        elif entry.kind == "event_awaited":
            waits.append(f"event {entry.name!r}")
        elif entry.due is not None and entry.due != NEVER_NS:
            waits.append(f"the timer #{number}, due {timestamp_from_ns(entry.due).ToJsonString()}")
    return " and ".join(waits)
