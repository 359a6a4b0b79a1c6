"""Hello world: one of everything, in the order in which most people come to need it.

Shows activities, retries of an activity and of a child workflow, an event that races a timer, pause and
resume, and the purge of what is done. Its functions are registered on one runtime by name; the other examples
use the module-level decorators, which need no runtime.

    dapr-workflow run examples/hello_world.py
"""

import time
import uuid
from collections import Counter
from collections.abc import Generator
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import (
    DaprWorkflowClient,
    DaprWorkflowContext,
    EmbeddedEngine,
    RetryPolicy,
    Task,
    WorkflowActivityContext,
    WorkflowRuntime,
    WorkflowStatus,
    when_any,
)

retry_policy = RetryPolicy(first_retry_interval=timedelta(milliseconds=100), max_number_of_attempts=3)
tries: Counter[str] = Counter()  # For simulated faults; anything that matters would not live in memory.
wfr = WorkflowRuntime()


@wfr.workflow(name="hello_world")
def hello_world(ctx: DaprWorkflowContext, greeting: str) -> Generator[Task, Any, str]:
    """Greets, tries hard, and waits for an answer."""
    yield ctx.call_activity(say, input=f"{greeting}, world!")
    yield ctx.call_activity(flaky, input=f"activity of {ctx.instance_id}", retry_policy=retry_policy)
    yield ctx.call_child_workflow(flaky_child, input=ctx.instance_id, retry_policy=retry_policy)

    event = ctx.wait_for_external_event("answer")
    timeout = ctx.create_timer(timedelta(seconds=10))
    ctx.set_custom_status("waiting for an answer")
    winner = yield when_any([event, timeout])
    if winner is timeout:
        return "nobody answered"
    yield ctx.call_activity(say, input=f"The answer is: {event.get_result()}")
    return "completed"


@wfr.workflow(name="flaky_child")
def flaky_child(ctx: DaprWorkflowContext, parent_id: str) -> Generator[Task, Any, None]:
    """Fails in its first run and works in its second; what it knows of the world, an activity told it."""
    run = yield from ctx.call_activity(count_run, input=f"child of {parent_id}")
    if run == 1:
        raise ValueError("the child fails once")


@wfr.activity(name="say")
def say(ctx: WorkflowActivityContext, text: str) -> None:
    """Prints a text."""
    print(text, flush=True)


@wfr.activity(name="flaky")
def flaky(ctx: WorkflowActivityContext, what: str) -> None:
    """Fails the first time and works the second."""
    if count_run(ctx, what) == 1:
        raise ValueError("the activity fails once")


@wfr.activity(name="count_run")
def count_run(ctx: WorkflowActivityContext, what: str) -> int:
    """How often it was called for the same thing."""
    tries[what] += 1
    print(f"Run {tries[what]} of the {what.partition(' ')[0]}", flush=True)
    return tries[what]


def main(engine: EmbeddedEngine | None = None) -> None:
    """Starts one instance and leads it through its life."""
    runtime = wfr if engine is None else WorkflowRuntime(engine=engine)
    if runtime is not wfr:
        for workflow in (hello_world, flaky_child):
            runtime.register_workflow(workflow)
        for activity in (say, flaky, count_run):
            runtime.register_activity(activity)

    with runtime, DaprWorkflowClient(engine=engine) as client:
        instance_id = client.schedule_new_workflow(
            workflow=hello_world, input="Hello", instance_id=f"hello-{uuid.uuid4().hex}"
        )
        client.wait_for_workflow_start(instance_id)
        while (state := client.get_workflow_state(instance_id)) and not state.serialized_custom_status:
            time.sleep(0.05)

        client.pause_workflow(instance_id)
        show_status(client, instance_id, WorkflowStatus.SUSPENDED)
        client.resume_workflow(instance_id)
        show_status(client, instance_id, WorkflowStatus.RUNNING)

        client.raise_workflow_event(instance_id, event_name="answer", data="hello, you")
        final = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
        assert final is not None
        print(f"{final.runtime_status.name}: {final.serialized_output}")

        client.purge_workflow(instance_id)
        print(f"After the purge: {client.get_workflow_state(instance_id)}")


def show_status(client: DaprWorkflowClient, instance_id: str, wanted: WorkflowStatus) -> None:
    """Waits for a status, as a sidecar takes a moment to pause or resume, and prints it."""
    while (state := client.get_workflow_state(instance_id)) and state.runtime_status is not wanted:
        time.sleep(0.05)
    print(f"The instance is {wanted.name}")


if __name__ == "__main__":
    main()
