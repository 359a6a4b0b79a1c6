"""An activity between the commit that asks for it and the one that has its result."""

from __future__ import annotations

from dataclasses import dataclass, field

from dapr_workflow_sdk.engine.clock import Alarm
from dapr_workflow_sdk.engine.state import InstanceKey, TaskKey
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.suspicion import Losses
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


@dataclass(eq=False, slots=True)
class ActivityRun:
    """An activity at a worker, or on its way to one.

    Attributes:
        instance: The caller.
        key: The call.
        request: What the worker is asked.
        app_id: The app whose workers run it.
        token: What the answer must carry, if it carries any; a new one for each worker.
        worker: Who has it; None while it waits.
        losses: How often in a row workers were lost with it.
        lease: How long a worker may have it without a sign of life, in nanoseconds; 0 for as long as it likes.
        sent: When it was given to its worker, in nanoseconds since 1970; noted only where somebody is told of spans.
        over: Whether nobody waits for it any more; whoever still holds it lets go then.
        alarm: Rings when the lease is over, or the pause before another try.
    """

    instance: InstanceKey
    key: TaskKey
    request: pb.ActivityRequest
    app_id: str
    token: str = ""
    worker: Subscription | None = None
    losses: Losses = field(default_factory=Losses)
    lease: int = 0
    sent: int = 0
    over: bool = False
    alarm: Alarm | None = None

    def quiet(self) -> None:
        """Takes its alarm back."""
        if self.alarm is not None:
            self.alarm.cancel()
            self.alarm = None
