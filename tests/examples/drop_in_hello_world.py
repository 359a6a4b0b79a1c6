"""A program of the shape of the hello world in Dapr's documentation, with its import statement as the only difference.

Shared counters in globals, decorators with names, retries of an activity, of a child workflow and of the child's own
activity, an event that races a timer, pause and resume, purge, and a look at what was purged.
"""

# ruff: noqa: I001 - the names come in the order in which the documentation has them.
from collections.abc import Callable, Generator
from datetime import timedelta
from time import monotonic, sleep
from typing import Any

from dapr_workflow_sdk import (
    WorkflowRuntime,
    DaprWorkflowContext,
    WorkflowActivityContext,
    RetryPolicy,
    DaprWorkflowClient,
    when_any,
)

litres = 0
boils = 0
steepings = 0
spills = 0
tea_log = ""
instance_id = "teaTime"
event_name = "guests"
no_such_instance = "no such instance exists"

retry_policy = RetryPolicy(
    first_retry_interval=timedelta(seconds=1),
    max_number_of_attempts=3,
    backoff_coefficient=2,
    max_retry_interval=timedelta(seconds=10),
    retry_timeout=timedelta(seconds=100),
)

wfr = WorkflowRuntime()


@wfr.workflow(name="tea_wf")
def tea_wf(ctx: DaprWorkflowContext, order: str) -> Generator[Any, Any, str]:
    if not ctx.is_replaying:
        print(f"Order: {order}", flush=True)
    yield ctx.call_activity(fill_kettle, input=1)
    yield ctx.call_activity(fill_kettle, input=10)
    yield ctx.call_activity(boil, retry_policy=retry_policy)
    yield ctx.call_child_workflow(steep_wf, retry_policy=retry_policy)

    guests = ctx.wait_for_external_event(event_name)
    timeout = ctx.create_timer(timedelta(seconds=30))
    winner = yield when_any([guests, timeout])
    if winner == timeout:
        return "Cold tea"
    yield ctx.call_activity(fill_kettle, input=100)
    yield ctx.call_activity(fill_kettle, input=1000)
    return "Served"


@wfr.activity(name="fill_kettle")
def fill_kettle(ctx: WorkflowActivityContext, amount: int) -> None:
    global litres
    litres += amount
    print(f"In the kettle: {litres}", flush=True)


@wfr.activity(name="boil")
def boil(ctx: WorkflowActivityContext) -> None:
    global boils
    boils += 1
    if boils % 2 == 1:
        print(f"Boil {boils}: a fuse blew", flush=True)
        raise ValueError("no power")
    print(f"Boil {boils}: it boils", flush=True)


@wfr.workflow(name="steep_wf")
def steep_wf(ctx: DaprWorkflowContext) -> Generator[Any, Any, None]:
    global steepings, tea_log
    if not ctx.is_replaying:
        steepings += 1
        print(f"Steeping {steepings}", flush=True)
        tea_log += str(steepings)
    yield ctx.call_activity(pour, input=steepings, retry_policy=retry_policy)
    if steepings < 3:
        raise ValueError("too weak")


@wfr.activity(name="pour")
def pour(ctx: WorkflowActivityContext, steeping: int) -> None:
    global spills, tea_log
    letter = chr(96 + steeping)
    print(f"Pouring {letter}", flush=True)
    tea_log += letter
    spills += 1
    if spills % 2 == 1:
        raise ValueError("spilled")


def until(condition: Callable[[], bool]) -> None:
    deadline = monotonic() + 40
    while not condition():
        assert monotonic() < deadline, (litres, boils, tea_log)
        sleep(0.05)


def main() -> None:
    wfr.start()
    client = DaprWorkflowClient()

    print("== Tea is ordered", flush=True)
    client.schedule_new_workflow(workflow=tea_wf, input="tea for two", instance_id=instance_id)
    client.wait_for_workflow_start(instance_id)

    until(lambda: tea_log == "1aa2bb3cc")
    assert litres == 11
    assert boils == 2

    def status() -> str:
        state = client.get_workflow_state(instance_id=instance_id)
        assert state is not None
        return state.runtime_status.name

    client.pause_workflow(instance_id=instance_id)
    until(lambda: status() == "SUSPENDED")
    print(f"After pause: {status()}", flush=True)
    client.resume_workflow(instance_id=instance_id)
    until(lambda: status() == "RUNNING")
    print(f"After resume: {status()}", flush=True)

    print("== The guests are here", flush=True)
    client.raise_workflow_event(instance_id=instance_id, event_name=event_name, data={"guests": 2})
    try:
        state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
        assert state is not None
        if state.runtime_status.name == "COMPLETED":
            assert state.serialized_output is not None
            print("Result: {}".format(state.serialized_output.strip('"')), flush=True)
        else:
            print(f"Failed: {state.runtime_status.name}", flush=True)
    except TimeoutError:
        print("Timed out", flush=True)

    client.purge_workflow(instance_id=instance_id)
    try:
        purged = client.get_workflow_state(instance_id=instance_id) is None
    except Exception as error:  # As the documentation's program expects it.
        purged = no_such_instance in str(error)
    print(f"Purged: {purged}", flush=True)

    wfr.shutdown()


if __name__ == "__main__":
    main()
