"""What the client programs do. Each scenario uses instances named after it, and returns what was seen as JSON."""

import asyncio
import json
import time
from datetime import datetime, timedelta, timezone

import grpc

PATIENCE = 20


def seen(state):
    """Status and output of an instance, or None if it is gone."""
    if state is None:
        return None
    output = state.serialized_output
    return [state.runtime_status.name, json.loads(output) if output else None]


async def end(client, instance_id):
    return seen(await client.wait_for_workflow_completion(instance_id, timeout_in_seconds=PATIENCE))


async def start(client, workflow, instance_id, value=None):
    return await client.schedule_new_workflow(workflow=workflow, input=value, instance_id=instance_id)


async def run(client, workflow, instance_id, value=None):
    await start(client, workflow, instance_id, value)
    return await end(client, instance_id)


async def until_waiting(client, instance_id):
    """Returns the state once the workflow has said that it waits, which no call of the client can wait for."""
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        state = await client.get_workflow_state(instance_id)
        if state is not None and state.serialized_custom_status == "waiting":
            return state
        await asyncio.sleep(0.02)
    raise TimeoutError(instance_id)


async def refusal(call):
    """The status code of a call that is refused."""
    try:
        await call
    except grpc.RpcError as error:
        return error.code().name
    return "OK"


async def chain(client):
    result = await run(client, "chain", "chain", 1)
    state = await client.get_workflow_state("chain")
    return [result, state.name, state.serialized_input, state.created_at <= state.last_updated_at]


async def fan_out(client):
    return await run(client, "fan_out", "fan_out", 20)


async def children(client):
    return [await run(client, "family", "children"), seen(await client.get_workflow_state("children-named"))]


async def failures(client):
    return await run(client, "careful", "failures")


async def uncaught(client):
    result = await run(client, "unlucky", "uncaught")
    details = (await client.get_workflow_state("uncaught")).failure_details
    return [result, details.error_type, details.message]


async def unknown_workflow(client):
    result = await run(client, "nobody has this workflow", "unknown_workflow")
    return [result, (await client.get_workflow_state("unknown_workflow")).failure_details.error_type]


async def events(client):
    await start(client, "events", "events")
    for name, data in (("item", "a"), ("ITEM", {"b": [1, None]}), ("Start", "go")):
        await client.raise_workflow_event("events", name, data=data)
    return await end(client, "events")


async def event_or_timer(client):
    await start(client, "approval", "approved", 60)
    await client.raise_workflow_event("approved", "approval", data="yes")
    return [await end(client, "approved"), await run(client, "approval", "not approved", 0.3)]


async def event_with_timeout(client):
    await start(client, "patience", "patient", 60)
    await client.raise_workflow_event("patient", "approval", data="yes")
    return [await end(client, "patient"), await run(client, "patience", "impatient", 0.3)]


async def timers(client):
    before = time.monotonic()
    return [await run(client, "sleeper", "timers", 500), time.monotonic() - before >= 0.5]


async def continue_as_new(client):
    return await run(client, "counter", "continue_as_new", 1)


async def carry_over(client):
    await start(client, "collector", "carry_over", [])
    for item in "abc":
        await client.raise_workflow_event("carry_over", "item", data=item)
    return await end(client, "carry_over")


async def suspend(client):
    await start(client, "waiting", "suspend")
    await until_waiting(client, "suspend")
    await client.pause_workflow("suspend")
    suspended = await client.get_workflow_state("suspend")
    await client.raise_workflow_event("suspend", "go", data=7)
    still = await client.get_workflow_state("suspend")
    await client.resume_workflow("suspend")
    return [seen(suspended), seen(still), await end(client, "suspend")]


async def terminate(client):
    await start(client, "parent", "terminate")
    await until_waiting(client, "terminate-child")
    await client.terminate_workflow("terminate", output="stopped")
    return [await end(client, "terminate"), await end(client, "terminate-child")]


async def terminate_alone(client):
    await start(client, "parent", "terminate_alone")
    await until_waiting(client, "terminate_alone-child")
    await client.terminate_workflow("terminate_alone", output="stopped", recursive=False)
    result = await end(client, "terminate_alone")
    await client.raise_workflow_event("terminate_alone-child", "go", data="on")
    return [result, await end(client, "terminate_alone-child")]


async def purge(client):
    await run(client, "family", "purge")
    ids = ["purge", "purge:0001", "purge-named"]
    before = [seen(await client.get_workflow_state(instance_id)) is None for instance_id in ids]
    await client.purge_workflow("purge")
    return [before, [seen(await client.get_workflow_state(instance_id)) for instance_id in ids]]


async def purge_refused(client):
    await start(client, "waiting", "purge_refused")
    await until_waiting(client, "purge_refused")
    running = await refusal(client.purge_workflow("purge_refused"))
    return [running != "OK", seen(await client.get_workflow_state("purge_refused"))]


async def custom_status(client):
    await start(client, "waiting", "custom_status")
    state = await until_waiting(client, "custom_status")
    await client.raise_workflow_event("custom_status", "go", data="now")
    result = await end(client, "custom_status")
    after = await client.get_workflow_state("custom_status")
    return [state.runtime_status.name, result, after.serialized_custom_status]


async def retries(client):
    return [await run(client, "retrying", "retries", 3), await run(client, "retrying", "too few retries", 4)]


async def large(client):
    text = "zażółć 🐢 " * 30_000
    return await run(client, "mirror", "large", text) == ["COMPLETED", text]


async def payloads(client):
    values = [True, 1.5, [], {"a": {"b": [1, "c", None]}}, 'quote " and \\']
    results = [await run(client, "mirror", f"payloads-{number}", value) for number, value in enumerate(values)]
    return results == [["COMPLETED", value] for value in values] or results


async def falsy_payloads(client):
    values = [None, False, 0, ""]
    results = [await run(client, "mirror", f"falsy-{number}", value) for number, value in enumerate(values)]
    return results == [["COMPLETED", value] for value in values] or results


async def id_in_use(client):
    await start(client, "waiting", "id_in_use")
    await until_waiting(client, "id_in_use")
    taken = await refusal(start(client, "waiting", "id_in_use"))
    await client.raise_workflow_event("id_in_use", "go", data=1)
    return [taken != "OK", await end(client, "id_in_use"), await run(client, "chain", "id_in_use", 1)]


async def missing(client):
    refusals = [
        await refusal(client.terminate_workflow("missing")),
        await refusal(client.pause_workflow("missing")),
        await refusal(client.purge_workflow("missing")),
    ]
    return [await client.get_workflow_state("missing"), "OK" in refusals]


async def missing_event(client):
    return await refusal(client.raise_workflow_event("missing", "go")) != "OK"


async def impatient(client):
    await start(client, "waiting", "impatient_wait")
    try:
        await client.wait_for_workflow_completion("impatient_wait", timeout_in_seconds=1)
    except TimeoutError:
        return "timed out"
    return "completed"


async def scheduled_start(client):
    due = datetime.now(timezone.utc) + timedelta(seconds=2)
    await client.schedule_new_workflow(workflow="chain", input=1, instance_id="scheduled_start", start_at=due)
    at_first = await client.get_workflow_state("scheduled_start")
    started = await client.wait_for_workflow_start("scheduled_start", timeout_in_seconds=PATIENCE)
    on_time = datetime.now(timezone.utc) >= due
    return [at_first.runtime_status.name, started is not None and on_time, await end(client, "scheduled_start")]


async def list_ids(client):
    wanted = {f"list_ids-{number}" for number in range(5)}
    for instance_id in sorted(wanted):
        await run(client, "chain", instance_id, 1)
    found, token, sizes = [], None, set()
    while True:
        page = await client.list_workflow_instance_ids(page_size=2, continuation_token=token)
        found += page.instance_ids
        sizes.add(len(page.instance_ids) <= 2)
        token = page.continuation_token
        if not token:
            break
    return [wanted <= set(found), len(found) == len(set(found)), sizes == {True}]


async def history(client):
    await run(client, "chain", "history", 1)
    told = await client.get_workflow_history("history")
    rerunnable = [event.event_id for event in told if event.is_rerunnable]
    return [[event.event_type.value for event in told], rerunnable, await refusal(client.get_workflow_history("none"))]


async def rerun(client):
    await run(client, "chain", "rerun", 1)
    await client.rerun_workflow_from_event("rerun", 2, new_instance_id="rerun-100", input=100)
    unnamed = await client.rerun_workflow_from_event("rerun", 3)
    return [await end(client, "rerun-100"), unnamed != "rerun", await end(client, unnamed), await end(client, "rerun")]


async def rerun_refused(client):
    await start(client, "waiting", "rerun_refused")
    await until_waiting(client, "rerun_refused")
    await run(client, "chain", "rerun_refused-chain", 1)
    return [
        await refusal(client.rerun_workflow_from_event("rerun_refused", 1)),
        await refusal(client.rerun_workflow_from_event("rerun_refused-chain", 77)),
        await refusal(client.rerun_workflow_from_event("rerun_refused-none", 1)),
        await refusal(client.rerun_workflow_from_event("rerun_refused-chain", 1, new_instance_id="rerun_refused")),
    ]


async def deltas(client):
    """Whether the worker was sent only the new part of a history."""
    status, count = await run(client, "long_chain", "deltas", 12)
    return [status, count > 0]


async def other_app(client):
    """The app called javascript, seen from the default one."""
    there = {"app_id": "javascript"}
    await client.schedule_new_workflow(workflow="waiting", instance_id="other_app", **there)
    await client.wait_for_workflow_start("other_app", timeout_in_seconds=PATIENCE, **there)
    await client.raise_workflow_event("other_app", "go", data="over there", **there)
    state = await client.wait_for_workflow_completion("other_app", timeout_in_seconds=PATIENCE, **there)
    return [seen(state), seen(await client.get_workflow_state("other_app"))]


SCENARIOS = [
    chain, fan_out, children, failures, uncaught, unknown_workflow, events, event_or_timer, event_with_timeout, timers,
    continue_as_new, carry_over, suspend, terminate, terminate_alone, purge, purge_refused, custom_status, retries,
    large, payloads, falsy_payloads, id_in_use, missing, missing_event, impatient, scheduled_start, list_ids, history,
    rerun, rerun_refused, deltas, other_app,
]  # fmt: skip
