"""The environment on the loop of the caller."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest

from dapr_workflow_sdk import RuntimeStateError, WorkflowActivityContext, WorkflowContext, WorkflowStatus
from dapr_workflow_sdk.testing import AsyncWorkflowEnvironment, WorkflowStuckError
from tests.testing import sample
from tests.testing.sample import BOOK, environment
from tests.worker.support import on_loop


@on_loop
async def test_a_workflow_runs_on_the_loop_of_the_caller() -> None:
    here = (asyncio.get_running_loop(), threading.get_ident())
    threads = set(threading.enumerate())

    async def look(ctx: WorkflowActivityContext) -> bool:
        return (asyncio.get_running_loop(), threading.get_ident()) == here

    async def ask(ctx: WorkflowContext) -> bool:
        await ctx.create_timer(timedelta(days=400))
        return await ctx.call_activity(look)

    async with environment() as env:
        assert isinstance(env, AsyncWorkflowEnvironment)
        env.register(activities=[look])
        run = await env.run(ask)
        assert run.result is True
    assert run.result is True
    assert set(threading.enumerate()) == threads


@on_loop
async def test_everything_that_can_be_done_to_instances_is_awaited() -> None:
    async with environment() as env:
        env.activity(sample.charge).returns("paid")
        run = await env.start(sample.approve)
        await env.pause(run)
        assert run.status is WorkflowStatus.SUSPENDED
        await env.resume(run)
        await env.raise_event(run, "approval", "yes")
        assert (await env.wait(run)).result == "yes"
        other = await env.start(sample.approve_soon)
        await env.skip(timedelta(days=2))
        other.assert_timer_due(timedelta(days=1))
        await env.terminate(other)
        other.assert_terminated()
        assert await env.purge(other) == 1
        await env.settle()
        assert env.runs == [run]
        with pytest.raises(WorkflowStuckError, match="event 'approval'"):
            await env.run(sample.approve)


@on_loop
async def test_instances_run_side_by_side() -> None:
    async with environment() as env:
        runs = await asyncio.gather(env.run(sample.buy, BOOK), env.run(sample.long_monitor, 30), env.run(sample.race))
        assert [run.status for run in runs] == [WorkflowStatus.COMPLETED] * 3


@on_loop
async def test_an_event_may_come_from_another_task() -> None:
    async with environment() as env:
        run = await env.start(sample.approve_soon)
        waiting = asyncio.ensure_future(env.skip(timedelta(days=1)))
        await asyncio.sleep(0)
        await env.raise_event(run, "approval", "yes")
        await waiting
        assert run.result == "yes"


@on_loop
async def test_apps_are_opened_on_the_loop() -> None:
    async with environment() as env:
        billing = await env.app("billing")
        billing.activity("invoice").returns("invoice 7")
        assert (await env.run(sample.elsewhere, 5.0)).result == "invoice 7"


@on_loop
async def test_an_activity_that_still_runs_is_cancelled_when_the_environment_closes() -> None:
    cancelled: list[str] = []
    begun = asyncio.Event()

    async def slow(ctx: WorkflowActivityContext) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            cancelled.append(ctx.name)

    async def ask(ctx: WorkflowContext) -> None:
        await ctx.call_activity(slow)

    async with environment() as env:
        env.register(activities=[slow])
        waiting = asyncio.ensure_future(env.start(ask))
        await begun.wait()
        waiting.cancel()
    assert cancelled == ["slow"]


@on_loop
async def test_an_activity_hears_that_its_workflow_was_terminated() -> None:
    heard: list[bool] = []
    begun = asyncio.Event()

    async def slow(ctx: WorkflowActivityContext) -> None:
        begun.set()
        while not ctx.cancelled:
            await asyncio.sleep(0)
        heard.append(ctx.cancelled)

    async def ask(ctx: WorkflowContext) -> None:
        await ctx.call_activity(slow)

    async with environment() as env:
        env.register(activities=[slow])
        waiting = asyncio.ensure_future(env.start(ask))
        await begun.wait()
        await env.terminate("ask-1")
        assert (await waiting).status is WorkflowStatus.TERMINATED
        assert heard == [True]


@on_loop
async def test_an_environment_is_used_once() -> None:
    env = environment()
    async with env as inner:
        with pytest.raises(RuntimeStateError, match="in use already"):
            async with env:
                pass
        with pytest.raises(RuntimeStateError, match="event loop runs here already"), env:
            pass
    with pytest.raises(RuntimeStateError, match="is closed"):
        await inner.run(sample.race)
