"""Async: a workflow and its activities written with async and await.

An ``async def`` workflow awaits tasks where a generator would yield them; everything else is the same. It may
await nothing but tasks: asyncio belongs into activities, of which thousands can wait at the same time on one
thread.

    dapr-workflow run examples/async_workflow.py
"""

import asyncio
import uuid
from dataclasses import dataclass
from datetime import timedelta

from dapr_workflow_sdk import (
    EmbeddedEngine,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    when_all,
    workflow,
)


@dataclass
class Forecast:
    """What one station expects for tomorrow."""

    station: str
    degrees: float


@workflow
async def weather_map(ctx: WorkflowContext, stations: list[str]) -> str:
    """Asks all stations at the same time, waits for the print run, and publishes the map."""
    forecasts = await when_all([ctx.call_activity(ask_station, input=station) for station in stations])
    warmest = max(forecasts, key=lambda forecast: forecast.degrees)
    await ctx.create_timer(timedelta(milliseconds=100))
    edition = await ctx.call_activity(publish_map, input=forecasts)
    return f"{edition}, warmest in {warmest.station} with {warmest.degrees} degrees"


@activity
async def ask_station(ctx: WorkflowActivityContext, station: str) -> Forecast:
    """Asks one station; slow, but others are asked meanwhile."""
    await asyncio.sleep(0.1)
    return Forecast(station, 10 + sum(station.encode()) % 200 / 10)


@activity
async def publish_map(ctx: WorkflowActivityContext, forecasts: list[Forecast]) -> str:
    """Publishes the map, and returns the name of the edition."""
    await asyncio.sleep(0.02)
    return f"map of {len(forecasts)} stations"


def main(engine: EmbeddedEngine | None = None) -> None:
    """Draws one map of 25 stations."""
    stations = [f"station {letter}" for letter in "ABCDEFGHIJKLMNOPQRSTUVWXY"]
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        instance_id = client.schedule_new_workflow(
            weather_map, input=stations, instance_id=f"weather-{uuid.uuid4().hex}"
        )
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
        assert state is not None
        print(f"{state.runtime_status.name}: {state.serialized_output}")


if __name__ == "__main__":
    main()
