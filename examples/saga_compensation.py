"""Saga: when a step fails, the steps before it are undone, last one first.

Two trips are booked; for the second there is no car, so its hotel and its flight are cancelled again.

    dapr-workflow run examples/saga_compensation.py
"""

import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    RetryPolicy,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    workflow,
)

# Undoing must not fail for a passing reason, so it is tried for longer than the steps themselves.
PATIENCE = RetryPolicy(first_retry_interval=timedelta(milliseconds=200), max_number_of_attempts=10)


@dataclass
class Trip:
    """Where to, and for how many."""

    city: str
    travellers: int


@workflow
def book_trip(ctx: WorkflowContext, trip: Trip) -> Generator[Task, Any, str]:
    """Books a flight, a hotel and a car, or nothing at all."""
    undo: list[Callable[..., Any]] = []
    try:
        # Noted before the step: even a step that failed may have had its effect.
        undo.append(cancel_flight)
        flight = yield from ctx.call_activity(book_flight, input=trip)
        undo.append(cancel_hotel)
        hotel = yield from ctx.call_activity(book_hotel, input=trip)
        undo.append(cancel_car)
        car = yield from ctx.call_activity(book_car, input=trip)
    except TaskFailedError as error:
        for cancel in reversed(undo):
            yield ctx.call_activity(cancel, input=trip, retry_policy=PATIENCE)
        return f"no trip to {trip.city}: {error.details.message}"
    return f"trip to {trip.city}: {flight}, {hotel}, {car}"


@activity
def book_flight(ctx: WorkflowActivityContext, trip: Trip) -> str:
    """Step 1."""
    print(f"  flight to {trip.city} booked", flush=True)
    return f"{trip.travellers} seats"


@activity
def cancel_flight(ctx: WorkflowActivityContext, trip: Trip) -> None:
    """Undoes step 1; may run twice, and finds nothing to do the second time."""
    print(f"  flight to {trip.city} cancelled", flush=True)


@activity
def book_hotel(ctx: WorkflowActivityContext, trip: Trip) -> str:
    """Step 2."""
    print(f"  hotel in {trip.city} booked", flush=True)
    return f"{(trip.travellers + 1) // 2} rooms"


@activity
def cancel_hotel(ctx: WorkflowActivityContext, trip: Trip) -> None:
    """Undoes step 2."""
    print(f"  hotel in {trip.city} cancelled", flush=True)


@activity
def book_car(ctx: WorkflowActivityContext, trip: Trip) -> str:
    """Step 3, which fails for large parties."""
    if trip.travellers > 5:
        raise ValueError(f"no car takes {trip.travellers} people")
    print(f"  car in {trip.city} booked", flush=True)
    return "a car"


@activity
def cancel_car(ctx: WorkflowActivityContext, trip: Trip) -> None:
    """Undoes step 3, if there is anything to undo."""
    print(f"  car in {trip.city} cancelled, if there was one", flush=True)


def main(engine: EmbeddedEngine | None = None) -> None:
    """Books a trip that works, and one that does not."""
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        for trip in (Trip("Lisbon", 2), Trip("Oslo", 7)):
            print(f"{trip.travellers} people want to see {trip.city}")
            instance_id = client.schedule_new_workflow(book_trip, input=trip, instance_id=f"trip-{uuid.uuid4().hex}")
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state is not None
            print(f"  {state.runtime_status.name}: {state.serialized_output}")


if __name__ == "__main__":
    main()
