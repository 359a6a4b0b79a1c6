"""Task chaining: the result of each step is the input of the next.

A handler takes care of a step that fails, and then lets the workflow fail.

    dapr-workflow run examples/task_chaining.py
"""

import uuid
from collections.abc import Generator
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    TaskFailedError,
    WorkflowActivityContext,
    WorkflowClient,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    workflow,
)


@workflow
def celsius_report(ctx: WorkflowContext, reading: str) -> Generator[Task, Any, list[str]]:
    """Turns what a thermometer in Fahrenheit sends into a sentence; returns the result of every step."""
    try:
        fahrenheit = yield from ctx.call_activity(parse_reading, input=reading)
        celsius = yield from ctx.call_activity(to_celsius, input=fahrenheit)
        sentence = yield from ctx.call_activity(describe, input=celsius)
    except TaskFailedError as error:
        yield ctx.call_activity(report_broken_reading, input=f"{reading!r}: {error.details.message}")
        raise
    return [str(fahrenheit), str(celsius), sentence]


@activity
def parse_reading(ctx: WorkflowActivityContext, reading: str) -> float:
    """Step 1: text to number."""
    return float(reading.removesuffix("F"))


@activity
def to_celsius(ctx: WorkflowActivityContext, fahrenheit: float) -> float:
    """Step 2: number to number."""
    return round((fahrenheit - 32) * 5 / 9, 1)


@activity
def describe(ctx: WorkflowActivityContext, celsius: float) -> str:
    """Step 3: number to sentence."""
    return f"It is {'cold' if celsius < 10 else 'warm'}: {celsius} degrees."


@activity
def report_broken_reading(ctx: WorkflowActivityContext, problem: str) -> None:
    """What to do when a step fails."""
    print(f"  handler: a reading is broken, {problem}", flush=True)


def main(engine: EmbeddedEngine | None = None) -> None:
    """Runs the chain on two good readings and a broken one."""
    with WorkflowRuntime(engine=engine), WorkflowClient(engine=engine) as client:
        for reading in ("95.0F", "41F", "warm"):
            print(f"reading {reading!r}")
            instance_id = client.schedule_new_workflow(
                celsius_report, input=reading, instance_id=f"chain-{uuid.uuid4().hex}"
            )
            state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state is not None
            print(f"  {state.runtime_status.name}: {state.serialized_output or state.failure_details}")


if __name__ == "__main__":
    main()
