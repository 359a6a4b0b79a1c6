"""What type checkers must refuse: every line that ends in `# error` must be reported, and no other."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from dapr_workflow_sdk import RetryPolicy, Task, WorkflowActivityContext, WorkflowContext, activity, workflow
from dapr_workflow_sdk.testing import WorkflowEnvironment


@activity
def double(ctx: WorkflowActivityContext, value: int) -> int:
    return value * 2


@workflow
def flow(ctx: WorkflowContext, value: int) -> Generator[Task[Any], Any, str]:
    text: str = yield from ctx.call_activity(double, input=value)  # error
    ctx.create_timer(5)  # error
    ctx.wait_for_external_event(7)  # error
    return text


double("not a context", 3)  # error
double(WorkflowActivityContext(), "three")  # error
RetryPolicy(max_number_of_attempts=3)  # error

with WorkflowEnvironment() as env:
    env.activity(double).returns("two")  # error
    number: int = env.run(flow, 1).result  # error
    env.run(flow).instance  # error
