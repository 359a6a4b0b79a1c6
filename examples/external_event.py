"""External event: a workflow waits for a person, but not for ever.

Two purchases need a manager's word. One gets it; for the other nobody answers, and a timer wins the race.

    dapr-workflow run examples/external_event.py
"""

import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    when_any,
    workflow,
)


@dataclass
class Purchase:
    """Something that is only bought if a manager agrees."""

    product: str
    cost: float


@workflow
def purchase(ctx: WorkflowContext, wish: Purchase) -> Generator[Task, Any, str]:
    """Buys small things at once, and larger ones when they are approved in time."""
    if wish.cost >= 1000:
        yield ctx.call_activity(ask_manager, input=wish)
        approval = ctx.wait_for_external_event("approval")
        timeout = ctx.create_timer(timedelta(seconds=2))
        ctx.set_custom_status("waiting for the manager")
        winner = yield when_any([approval, timeout])
        if winner is timeout:
            return f"{wish.product}: cancelled, nobody answered"
        ctx.set_custom_status(f"approved by {approval.get_result()['approver']}")
    yield ctx.call_activity(buy, input=wish)
    return f"{wish.product}: bought"


@activity
def ask_manager(ctx: WorkflowActivityContext, wish: Purchase) -> None:
    """Sends the request for approval."""
    print(f"{wish.product}: may we buy it for {wish.cost:.2f}?", flush=True)


@activity
def buy(ctx: WorkflowActivityContext, wish: Purchase) -> None:
    """Places the order."""
    print(f"{wish.product}: ordering", flush=True)


def main(engine: EmbeddedEngine | None = None) -> None:
    """Starts three purchases, and approves one of those that need it."""
    wishes = [Purchase("pencils", 12.5), Purchase("espresso machine", 1850), Purchase("grand piano", 48000)]
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        instance_ids = [
            client.schedule_new_workflow(purchase, input=wish, instance_id=f"purchase-{uuid.uuid4().hex}")
            for wish in wishes
        ]
        espresso = instance_ids[1]
        while (state := client.get_workflow_state(espresso)) and not state.serialized_custom_status:
            time.sleep(0.05)  # An event may also come early; it is waited for here to show the status.
        print(f"espresso machine: status {state and state.serialized_custom_status}")
        client.raise_workflow_event(espresso, "approval", data={"approver": "Ms Okafor"})

        for instance_id in instance_ids:
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state is not None
            print(f"{state.runtime_status.name}: {state.serialized_output}")


if __name__ == "__main__":
    main()
