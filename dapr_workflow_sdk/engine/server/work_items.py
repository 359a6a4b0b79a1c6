"""Work items on the wire."""

from __future__ import annotations

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.taskhub.port import TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# Workers of other SDKs say no number, and some of them lose what they cannot run and have no room to keep.
_UNSAID = 100


def offer_of(request: pb.GetWorkItemsRequest, peer: str) -> WorkerOffer:
    """What a worker offers that subscribes."""
    return WorkerOffer(
        turns=_positive(request.maxConcurrentWorkflowWorkItems),
        activities=_positive(request.maxConcurrentActivityWorkItems),
        stateful=pb.WORKER_CAPABILITY_STATEFUL_HISTORY in request.capabilities,
        worker_id=request.workerId,
        identity=request.workerIdentity or peer,
    )


def _positive(said: int) -> int:
    return said if said > 0 else _UNSAID


def to_wire(item: WorkItem) -> pb.WorkItem:
    """An item as workers read it."""
    if isinstance(item, TurnItem):
        asked = pb.WorkflowRequest(
            instanceId=item.instance_id,
            pastEvents=item.past,
            newEvents=item.new,
            propagatedHistory=item.propagated,
            cachedHistory=pb.CachedHistory(eventCount=item.cached) if item.cached else None,
        )
        return pb.WorkItem(workflowRequest=asked, completionToken=item.token)
    return pb.WorkItem(activityRequest=item.request, completionToken=item.token)


async def refuse_if_too_large(hub: EngineHub, item: WorkItem, size: int, limits: Limits) -> bool:
    """Lets the instance of an item stall that no message can hold; returns whether that is so."""
    if size <= limits.message_bytes:
        return False
    what = "The turn" if isinstance(item, TurnItem) else f"The call of activity {item.request.name!r}"
    text = (
        f"{what} takes {size} bytes, and a message may have {limits.message_bytes}. Start the engine with a higher "
        "limit for messages to resume."
    )
    await hub.refuse(item, text)
    return True
