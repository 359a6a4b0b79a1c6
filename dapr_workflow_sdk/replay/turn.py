"""A turn: past events and new events of one instance in, actions out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import NonDeterminismError
from dapr_workflow_sdk.replay.instance import Instance
from dapr_workflow_sdk.replay.outcome import Outcome
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.parting import PartingError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of

if TYPE_CHECKING:
    from dapr_workflow_sdk.replay.mismatch import Mismatch


@dataclass(slots=True)
class TurnOutput:
    """What a turn asks of the task hub.

    Attributes:
        actions: Actions by id; empty if the instance waits or is suspended.
        custom_status: The status as of this turn; task hubs forget it when it is not repeated.
        outcome: How the run ended, or None if it goes on.
        workflow_name: Name of the workflow, for logs.
        notices: What should be written to a log.
        replayed: How many events of the past were gone through.
        mismatch: Why the code does not match the history, if it does not; the outcome is a failure that says so.
        version_name: The version of the code that ran, if the workflow has several.
        patches: The patches that the run has met, as the task hub is to keep them.
    """

    actions: list[pb.WorkflowAction]
    custom_status: str | None
    outcome: Outcome | None
    workflow_name: str
    notices: list[str] = field(default_factory=list[str])
    replayed: int = 0
    mismatch: Mismatch | None = None
    version_name: str | None = None
    patches: Sequence[str] = ()

    def response(self, instance_id: str, token: str) -> pb.WorkflowResponse:
        """The answer to the task hub that handed out the turn with this token."""
        response = pb.WorkflowResponse(
            instanceId=instance_id,
            actions=self.actions,
            customStatus=text_of(self.custom_status),
            completionToken=token,
        )
        if self.version_name is not None or self.patches:
            response.version.CopyFrom(pb.WorkflowVersion(name=self.version_name, patches=self.patches))
        return response


class HistoryGapError(Exception):
    """A turn came with the end of a history whose beginning is not known here any more."""


def run_turn(
    instance_id: str,
    past: Sequence[pb.HistoryEvent],
    new: Sequence[pb.HistoryEvent],
    registry: Registry,
    converter: Converter,
    parked: ParkedInstances,
    cached: int = 0,
    *,
    versions: bool = True,
) -> TurnOutput:
    """Runs an instance's code through its history and its new events.

    Args:
        instance_id: Id of the instance.
        past: The committed history of the current execution, whole and in order.
        new: Events to apply now, in order.
        registry: Where the workflow's code is found.
        converter: How payloads are read and written.
        parked: Runs of earlier turns; one that fits goes on instead of starting over.
        cached: How many events are left out before those of `past`, because an earlier turn brought them.
        versions: Whether the task hub keeps the version of the code and its patches.

    Raises:
        HistoryGapError: Events are left out, and no run is parked that has seen them.

    Whatever the code does, there is an answer: mistakes end the instance with an explanation.
    """
    resumed = parked.take(instance_id, past, registry, cached)
    if resumed is None:
        if cached:
            raise HistoryGapError(instance_id, cached)
        instance, unseen = Instance(instance_id, registry, converter, versions=versions), past
        instance.recorded = frozenset([event.eventId for event in past if event.HasField("taskScheduled")])
    else:
        instance, unseen = resumed
    mismatched = False
    mismatch: Mismatch | None = None
    try:
        instance.is_replaying = True
        feed = instance.feed
        for event in unseen:
            feed(event)
        instance.is_replaying = False
        for event in new:
            feed(event)
    except PartingError as parting:
        from dapr_workflow_sdk.replay.mismatch import explained

        mismatch = explained(parting, instance, [*past, *new], registry, converter, cached)
        mismatched = True
        instance.fail(NonDeterminismError(str(mismatch)))
    notices, instance.notices = instance.notices, []
    try:
        actions = instance.actions()
    except ValueError as error:
        # A name or an id that no message can hold.
        mismatched = True
        instance.fail(error)
        actions = instance.actions()
    output = TurnOutput(
        actions=actions,
        custom_status=instance.custom_status,
        outcome=instance.outcome,
        workflow_name=instance.workflow_name,
        notices=notices,
        replayed=len(unseen),
        mismatch=mismatch,
        version_name=instance.version_name,
        patches=instance.patches.told(),
    )
    if mismatched or instance.outcome is not None:
        instance.close()
    else:
        parked.keep(instance, cached + len(past), new)
    return output
