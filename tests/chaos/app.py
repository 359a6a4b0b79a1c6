"""The workflows under load. What each returns follows from its input alone, so a model can say it beforehand.

Activities note each of their runs in a log that is only appended to; whatever else happens to them, that stays. Only
workers import this module: what it registers is known to the whole process.
"""

from __future__ import annotations

import os
import time
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import RetryPolicy, TaskFailedError, activity, when_all, when_any, workflow
from tests.chaos.plans import LOG_VARIABLE, mix

_FAR = timedelta(hours=1)
_RETRIES = RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=4, backoff_coefficient=2)
_log = -1


def _note(tag: str) -> None:
    global _log
    if _log < 0:
        _log = os.open(os.environ[LOG_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(_log, f"{tag}\n".encode())


@activity
def step(ctx, given: dict[str, Any]) -> int:
    _note(given["tag"])
    time.sleep(given.get("pause", 0))
    return mix(given["value"])


@activity
def flaky(ctx, given: dict[str, Any]) -> int:
    _note(f"{given['tag']}/{ctx.attempt}")
    if ctx.attempt <= given["fails"]:
        raise ValueError(f"planned failure {ctx.attempt}")
    return ctx.attempt


@workflow
def chain(ctx, given: dict[str, Any]):
    value = given["value"]
    for i in range(given["length"]):
        asked = {"tag": f"{given['run']}/{i}", "value": value, "pause": given.get("pause", 0)}
        value = yield ctx.call_activity(step, input=asked)
    return value


@workflow
def fan(ctx, given: dict[str, Any]):
    calls = [{"tag": f"{given['run']}/{i}", "value": given["value"] + i} for i in range(given["width"])]
    values = yield when_all([ctx.call_activity(step, input=call) for call in calls])
    return sum(values)


@workflow
def nested(ctx, given: dict[str, Any]):
    if not given["depth"]:
        return (yield ctx.call_activity(step, input={"tag": given["path"], "value": given["value"]}))
    children = [
        {**given, "depth": given["depth"] - 1, "path": f"{given['path']}/{i}", "value": given["value"] + i}
        for i in range(given["width"])
    ]
    values = yield when_all([ctx.call_child_workflow(nested, input=child) for child in children])
    return sum(values)


@workflow
def timed(ctx, given: dict[str, Any]):
    value = given["value"]
    for i, pause in enumerate(given["pauses"]):
        yield ctx.create_timer(timedelta(milliseconds=pause))
        asked = ctx.call_activity(step, input={"tag": f"{given['run']}/{i}", "value": value})
        yield when_any([asked, ctx.create_timer(_FAR)])
        value = asked.get_result()
    try:
        yield ctx.wait_for_external_event("never", timeout=timedelta(milliseconds=50))
    except TimeoutError:
        return value
    return -1


@workflow
def counter(ctx, given: dict[str, Any]):
    tag = f"{given['run']}/{given['count']}"
    value = yield ctx.call_activity(step, input={"tag": tag, "value": given["value"]})
    if given["count"] + 1 == given["limit"]:
        return value
    ctx.continue_as_new({**given, "count": given["count"] + 1, "value": value})
    return None


@workflow
def mailbox(ctx, given: dict[str, Any]):
    """Takes numbered mail until the letter that closes it; after so many letters it continues as new."""
    seen = list(given["seen"])
    for _ in range(given["batch"] or 1_000_000):
        letter = yield ctx.wait_for_external_event("mail")
        seen.append(letter["key"])
        if letter.get("close"):
            return seen
        if given["works"]:
            yield ctx.call_activity(step, input={"tag": f"{given['run']}/{letter['key']}", "value": 0})
    ctx.continue_as_new({**given, "seen": seen}, save_events=True)
    return None


@workflow
def retried(ctx, given: dict[str, Any]):
    attempts = []
    for i, fails in enumerate(given["fails"]):
        call = {"tag": f"{given['run']}/{i}", "fails": fails}
        try:
            attempts.append((yield ctx.call_activity(flaky, input=call, retry_policy=_RETRIES)))
        except TaskFailedError:
            attempts.append(-1)
    return attempts


@workflow
def failing(ctx, given: dict[str, Any]):
    yield ctx.call_activity(step, input={"tag": f"{given['run']}/0", "value": given["value"]})
    raise RuntimeError(f"planned end of {given['run']}")


@workflow
def endless(ctx, given: dict[str, Any]):
    """Never ends by itself, and leaves an activity running when it is ended."""
    slow = ctx.call_activity(
        step, input={"tag": f"{given['run']}/0", "value": -given["value"], "pause": given["pause"]}
    )
    if given["child"]:
        child = {**given, "child": False, "run": f"{given['run']}/child"}
        ctx.call_child_workflow(endless, input=child, instance_id=f"{ctx.instance_id}-child")
    yield ctx.create_timer(timedelta(milliseconds=5))
    yield when_all([slow, ctx.wait_for_external_event("never"), ctx.create_timer(_FAR)])
