"""Monitor: a workflow that looks, sleeps, and starts itself anew, for as long as there is something to watch.

Each round is a fresh run with an empty history, so a monitor may go on for years. This one watches a website
that is down at first, looks less often the longer it waits, and stops when the site is back.

    dapr-workflow run examples/monitor.py
"""

import uuid
from collections.abc import Generator
from dataclasses import dataclass, replace
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
    workflow,
)


@dataclass
class Watch:
    """What is watched, and what the rounds so far have left to the next one."""

    site: str
    round: int = 1
    seconds_to_next: float = 0.1
    alerted: bool = False


@workflow
def watch_site(ctx: WorkflowContext, watch: Watch) -> Generator[Task, Any, str | None]:
    """One round: look, alert once if the site is down, sleep, go on with a longer interval."""
    healthy = yield from ctx.call_activity(check_site, input=watch)
    if healthy:
        return f"{watch.site} is up in round {watch.round}"
    if not watch.alerted:
        yield ctx.call_activity(send_alert, input=f"{watch.site} is down!")
    ctx.set_custom_status(f"down in round {watch.round}")
    yield ctx.create_timer(timedelta(seconds=watch.seconds_to_next))
    ctx.continue_as_new(replace(watch, round=watch.round + 1, seconds_to_next=watch.seconds_to_next * 2, alerted=True))
    return None


@activity
def check_site(ctx: WorkflowActivityContext, watch: Watch) -> bool:
    """Whether the site answers; this simulated one is repaired before the fourth round."""
    print(f"round {watch.round}: looking at {watch.site}", flush=True)
    return watch.round >= 4


@activity
def send_alert(ctx: WorkflowActivityContext, message: str) -> None:
    """Wakes somebody up."""
    print(f"*** {message}", flush=True)


def main(engine: EmbeddedEngine | None = None) -> None:
    """Starts a monitor and waits until it has nothing left to watch."""
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        instance_id = client.schedule_new_workflow(
            watch_site, input=Watch("shop.example"), instance_id=f"monitor-{uuid.uuid4().hex}"
        )
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
        assert state is not None
        print(f"{state.runtime_status.name}: {state.serialized_output}")


if __name__ == "__main__":
    main()
