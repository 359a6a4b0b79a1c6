"""Fan-out and fan-in: many activities at the same time, then one result of them all.

Once without a limit, and once with at most five activities in flight.

    dapr-workflow run examples/fan_out_fan_in.py
"""

import asyncio
import time
import uuid
from collections.abc import Generator
from dataclasses import dataclass
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    when_all,
    when_any,
    workflow,
)


@dataclass
class Batch:
    """A number of photos to shrink; with a cap, never more than so many at a time."""

    photos: int
    cap: int | None = None


@workflow
def shrink_photos(ctx: WorkflowContext, batch: Batch) -> Generator[Task, Any, str]:
    """Shrinks all photos and adds up how many kilobytes that saved."""
    names = yield from ctx.call_activity(list_photos, input=batch.photos)
    if batch.cap is None:
        saved = yield from when_all([ctx.call_activity(shrink, input=name) for name in names])
    else:
        saved = yield from capped(ctx, names, batch.cap)
    return f"{len(saved)} photos, {sum(saved)} KB saved"


def capped(ctx: WorkflowContext, names: list[str], cap: int) -> Generator[Task, Any, list[int]]:
    """The same with at most `cap` activities in flight: whenever one finishes, the next one starts."""
    saved: list[int] = []
    in_flight: list[Task[int]] = []
    for name in names:
        if len(in_flight) == cap:
            finished = yield from when_any(in_flight)
            in_flight.remove(finished)
            saved.append(finished.get_result())
        in_flight.append(ctx.call_activity(shrink, input=name))
    saved += yield from when_all(in_flight)
    return saved


@activity
def list_photos(ctx: WorkflowActivityContext, count: int) -> list[str]:
    """The work to be done."""
    return [f"photo-{number:02}.jpg" for number in range(count)]


@activity
async def shrink(ctx: WorkflowActivityContext, name: str) -> int:
    """Shrinks one photo, and returns how many kilobytes that saved."""
    await asyncio.sleep(0.05)
    return 100 + len(name) * int(name[6:8])


def main(engine: EmbeddedEngine | None = None) -> None:
    """Shrinks 20 photos in both ways, and shows what the cap costs."""
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        for batch in (Batch(photos=20), Batch(photos=20, cap=5)):
            started = time.monotonic()
            instance_id = client.schedule_new_workflow(
                shrink_photos, input=batch, instance_id=f"photos-{uuid.uuid4().hex}"
            )
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state is not None
            state.raise_if_failed()
            how = "all at once" if batch.cap is None else f"{batch.cap} at a time"
            print(f"{how}: {state.serialized_output} in {time.monotonic() - started:.2f} s")


if __name__ == "__main__":
    main()
