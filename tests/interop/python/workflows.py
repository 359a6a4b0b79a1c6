"""The workflows of the tests, on `dapr.ext.workflow` or on any package with the same names; js/workflows.js has them too."""

import importlib
import os
import threading
from collections import Counter
from datetime import timedelta

wf = importlib.import_module(os.environ.get("INTEROP_SDK", "dapr.ext.workflow"))
NAME = os.environ.get("INTEROP_WORKER", "python")
HOLD = "INTEROP_HOLD" in os.environ

attempts = Counter()
three_attempts = wf.RetryPolicy(first_retry_interval=timedelta(milliseconds=20), max_number_of_attempts=3)


# Activities


def plus_one(ctx, number):
    return number + 1


def square(ctx, number):
    return number * number


def echo(ctx, value):
    return value


def who(ctx):
    return NAME


def hold(ctx):
    """Never returns in a worker that is going to be killed."""
    if HOLD:
        print('{"holding": true}', flush=True)
        threading.Event().wait()
    return NAME


def flaky(ctx, good_attempt):
    attempts[ctx.workflow_id] += 1
    if attempts[ctx.workflow_id] < good_attempt:
        raise ValueError(f"attempt {attempts[ctx.workflow_id]}")
    return attempts[ctx.workflow_id]


# Workflows


def chain(ctx, number):
    for _ in range(3):
        number = yield ctx.call_activity(plus_one, input=number)
    return number


def fan_out(ctx, width):
    squares = yield wf.when_all([ctx.call_activity(square, input=number) for number in range(1, width + 1)])
    return squares


def child(ctx, number):
    value = yield ctx.call_activity(square, input=number)
    return {"id": ctx.instance_id, "value": value}


def unlucky(ctx):
    yield ctx.call_activity(flaky, input=9)


def family(ctx):
    default = yield ctx.call_child_workflow(child, input=2)
    named = yield ctx.call_child_workflow(child, input=3, instance_id=f"{ctx.instance_id}-named")
    return [default, named]


def careful(ctx):
    """Survives a child's failure and an activity's."""
    caught = []
    try:
        yield ctx.call_child_workflow(unlucky, instance_id=f"{ctx.instance_id}-unlucky")
    except wf.TaskFailedError as error:
        caught.append(error.details.error_type)
    try:
        yield ctx.call_activity("nobody has this activity")
    except wf.TaskFailedError as error:
        caught.append(error.details.error_type)
    yield ctx.call_activity(plus_one, input=1)
    return caught


def events(ctx):
    started = yield ctx.wait_for_external_event("start")
    first = yield ctx.wait_for_external_event("item")
    second = yield ctx.wait_for_external_event("item")
    return [started, first, second]


def approval(ctx, seconds):
    approved = ctx.wait_for_external_event("approval")
    timer = ctx.create_timer(timedelta(seconds=seconds))
    winner = yield wf.when_any([approved, timer])
    return "timed out" if winner is timer else approved.get_result()


def patience(ctx, seconds):
    try:
        return (yield ctx.wait_for_external_event("approval", timeout=timedelta(seconds=seconds)))
    except TimeoutError:
        return "timed out"


def sleeper(ctx, milliseconds):
    before = ctx.current_utc_datetime
    yield wf.when_all([ctx.create_timer(timedelta(milliseconds=part)) for part in (milliseconds, 0, milliseconds // 2)])
    return {"early": ctx.current_utc_datetime - before < timedelta(milliseconds=milliseconds)}


def counter(ctx, number):
    number = yield ctx.call_activity(plus_one, input=number)
    if number < 5:
        ctx.continue_as_new(number)
        return None
    return number


def collector(ctx, seen):
    item = yield ctx.wait_for_external_event("item")
    if len(seen) < 2:
        ctx.continue_as_new([*seen, item], save_events=True)
        return None
    return [*seen, item]


def waiting(ctx):
    ctx.set_custom_status("waiting")
    data = yield ctx.wait_for_external_event("go")
    ctx.set_custom_status("going")
    return data


def parent(ctx):
    return (yield ctx.call_child_workflow(waiting, instance_id=f"{ctx.instance_id}-child"))


def retrying(ctx, good_attempt):
    return (yield ctx.call_activity(flaky, input=good_attempt, retry_policy=three_attempts))


def mirror(ctx, value):
    return (yield ctx.call_activity(echo, input=value))


def relay(ctx):
    """Is begun by one worker and finished by another."""
    guid = str(ctx.new_guid())
    first = yield ctx.call_activity(who)
    echoed = yield ctx.call_activity(echo, input=guid)
    early = yield ctx.wait_for_external_event("early")
    yield ctx.create_timer(timedelta(milliseconds=10))
    held = yield ctx.call_activity(hold)
    mine = yield ctx.call_child_workflow(child, input=4)
    late = yield ctx.wait_for_external_event("late")
    second_guid = str(ctx.new_guid())
    last = yield ctx.call_activity(who)
    return {
        "workers": [first, held, last],
        "child": mine,
        "events": [early, late],
        "guids": [guid == echoed, guid == second_guid],
    }


def across(ctx, app_id):
    """Uses what the worker of another app has."""
    who_else = yield ctx.call_activity("who", app_id=app_id)
    value = yield ctx.call_activity("square", input=7, app_id=app_id)
    return [who_else, value, (yield ctx.call_child_workflow("child", input=5, app_id=app_id))]


ACTIVITIES = [plus_one, square, echo, who, hold, flaky]
WORKFLOWS = [
    chain, fan_out, child, unlucky, family, careful, events, approval, patience, sleeper, counter, collector, waiting,
    parent, retrying, mirror, relay, across,
]  # fmt: skip
