"""Where the code of a run and its history part, as the run sees it."""

from __future__ import annotations

from collections.abc import Sequence

from dapr_workflow_sdk.errors import NonDeterminismError
from dapr_workflow_sdk.replay.calls import Call, Place
from dapr_workflow_sdk.replay.explanation import at
from dapr_workflow_sdk.replay.steps import recorded_step
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class PartingError(NonDeterminismError):
    """A history event records a call that the code has not made.

    Attributes:
        event: The event.
        pending: Calls that the code has made and history does not record, in the order of their numbers.
        place: Where the code waits.
        ending: How the code ended before it made the call; None if it waits.
    """

    def __init__(
        self, who: str, event: pb.HistoryEvent, pending: Sequence[Call], place: Place | None, ending: str | None
    ) -> None:
        """Keeps what an explanation needs; the message is its first sentence."""
        self.event = event
        self.pending = pending
        self.place = place
        self.ending = ending
        self.found = next((call for call in pending if call.id == event.eventId), None)
        if self.found is not None:
            actual = f"the code now makes {self.found.label} there, at {at(self.found.place)}"
        elif ending is not None:
            actual = f"the code now {ending} before it"
        else:
            actual = f"the code now makes no such call and waits at {at(place)}"
        super().__init__(
            f"{who}, no longer matches its history: call {event.eventId} of its history is {recorded_step(event)}, but "
            f"{actual}."
        )
