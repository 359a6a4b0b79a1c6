"""The environment's synchronous face: running workflows, time, events, instances, apps."""

from __future__ import annotations

import asyncio
import threading
import time
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from dapr_workflow_sdk import (
    NonDeterminismError,
    RuntimeStateError,
    WorkflowActivityContext,
    WorkflowAlreadyExistsError,
    WorkflowContext,
    WorkflowFailedError,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
    WorkflowStatus,
)
from dapr_workflow_sdk.testing import WorkflowEnvironment, WorkflowStuckError
from tests.testing import sample
from tests.testing.sample import BOOK, Order, environment

DAY = timedelta(days=1)


# ---- running -------------------------------------------------------------------------------------------------------


def test_a_workflow_runs_to_its_end_with_its_real_activities() -> None:
    with environment() as env:
        run = env.run(sample.buy, BOOK)
    assert run.result == "receipt over 12.50"
    assert run.status is WorkflowStatus.COMPLETED
    assert run.instance_id == "buy-1"
    assert run.name == "buy"
    assert run.custom_status == "reserved"
    assert run.executions == 1


def test_two_days_pass_on_the_clock_and_none_on_the_machine() -> None:
    with environment() as env:
        began, machine = env.now, time.monotonic()
        env.run(sample.buy, BOOK)
        assert timedelta(days=2) < env.now - began < timedelta(days=2, seconds=1)
        assert time.monotonic() - machine < 60
    assert began.replace(microsecond=0) == datetime(2026, 1, 1, tzinfo=timezone.utc)


def test_the_clock_begins_where_it_is_told_to() -> None:
    with environment(start=datetime(2030, 5, 6, 7)) as env:
        run = env.run(sample.long_monitor, 0)
        assert run.result == "2030-05-06"


def test_a_workflow_may_be_given_by_its_name_and_its_result_is_still_as_annotated() -> None:
    async def give(ctx: WorkflowContext) -> Order:
        return BOOK

    with environment() as env:
        env.register(workflows=[give])
        assert env.run("give").result == BOOK


def test_a_function_that_nobody_registered_is_registered_when_it_is_run() -> None:
    def local(ctx: WorkflowContext, number: int) -> int:
        return number + 1

    with WorkflowEnvironment() as env:
        assert env.run(local, 4).result == 5


def test_the_failure_of_a_workflow_is_raised_by_its_result_with_cause_and_timeline() -> None:
    with environment() as env:
        env.activity(sample.reserve).raises(LookupError("no books left"))
        run = env.run(sample.buy, BOOK)
    assert run.failure is not None
    with pytest.raises(WorkflowFailedError) as caught:
        _ = run.result
    text = str(caught.value)
    assert text.startswith("Workflow 'buy', instance 'buy-1', failed: TaskFailedError:")
    assert "calls reserve #1" in text
    assert "failed reserve #1  LookupError: no books left" in text
    assert "raise error.with_traceback" in text
    assert caught.value.details.cause is not None
    assert caught.value.details.cause.error_type == "LookupError"


def test_instances_are_counted_by_workflow_or_have_the_id_they_are_given() -> None:
    with environment() as env:
        ids = [env.run(sample.buy, BOOK).instance_id, env.run(sample.race).instance_id]
        ids += [env.run(sample.buy, BOOK).instance_id, env.run(sample.race, instance_id="mine").instance_id]
        assert ids == ["buy-1", "race-1", "buy-2", "mine"]
        assert [run.instance_id for run in env.runs] == ["buy-1", "race-1", "buy-2", "mine"]
        assert env.instance("mine") == env.runs[-1]
        with pytest.raises(WorkflowNotFoundError, match="other"):
            env.instance("other")


def test_an_id_that_is_in_use_is_refused() -> None:
    with environment() as env:
        env.start(sample.approve, instance_id="one")
        with pytest.raises(WorkflowAlreadyExistsError):
            env.start(sample.approve, instance_id="one")


def test_a_workflow_may_begin_later() -> None:
    with environment() as env:
        run = env.start(sample.buy, BOOK, start_at=env.now + DAY)
        assert run.status is WorkflowStatus.PENDING
        env.wait(run)
        assert run.state.created_at + timedelta(days=3) < run.state.last_updated_at


# ---- waiting -------------------------------------------------------------------------------------------------------


def test_an_event_that_nobody_raises_is_an_error_that_says_what_and_where() -> None:
    line = sample.approve.__code__.co_firstlineno + 3
    with environment() as env:
        with pytest.raises(WorkflowStuckError) as caught:
            env.run(sample.approve)
    text = str(caught.value)
    assert text.startswith(
        "Workflow 'approve', instance 'approve-1', cannot go on: it waits for event 'approval' since 2026-01-01 "
        f"00:00:00, at {sample.__file__}:{line}."
    )
    assert "env.raise_event('approve-1', 'approval')" in text


def test_a_parent_whose_child_waits_for_ever_names_the_event_of_the_child() -> None:
    with environment() as env, pytest.raises(WorkflowStuckError) as caught:
        env.run(sample.waiting_parent)
    assert "waits for child workflow 'approve' (the-child)" in str(caught.value)
    assert "instance 'the-child', cannot go on: it waits for event 'approval'" in str(caught.value)


def test_an_event_lets_a_workflow_go_on() -> None:
    with environment() as env:
        run = env.start(sample.approve)
        assert run.status is WorkflowStatus.RUNNING
        run.assert_waits_for_event("APPROVAL")
        env.raise_event(run, "Approval", "yes")
        assert run.result == "yes"


def test_the_result_of_what_still_waits_is_an_error() -> None:
    with environment() as env:
        run = env.start(sample.approve)
        with pytest.raises(WorkflowStuckError, match="waits for event 'approval'"):
            _ = run.result
        soon = env.start(sample.approve_soon)
        with pytest.raises(RuntimeStateError, match=r"has not ended; it waits for event 'approval', due at 2026-01-04"):
            _ = soon.result


def test_a_timeout_comes_by_itself() -> None:
    with environment() as env:
        assert env.run(sample.approve_soon).result == "nobody came"


def test_time_is_skipped_timer_by_timer() -> None:
    with environment() as env:
        run = env.start(sample.long_monitor, 100)
        env.skip(timedelta(hours=26 * 10 + 5))
        assert len([line for line in run.timeline.splitlines() if "timer fired" in line]) == 10
        assert env.now.replace(microsecond=0) == datetime(2026, 1, 12, 1, tzinfo=timezone.utc)
        env.skip(timedelta(days=200))
        assert run.status is WorkflowStatus.COMPLETED


def test_time_does_not_go_back() -> None:
    with environment() as env, pytest.raises(ValueError, match="does not go back"):
        env.skip(-DAY)


def test_a_skip_goes_on_after_the_last_timer() -> None:
    with environment() as env:
        before = env.now
        env.skip(DAY)
        assert DAY <= env.now - before < DAY + timedelta(seconds=1)


def test_an_eternal_workflow_is_moved_on_by_skips_and_never_waited_for() -> None:
    async def eternal(ctx: WorkflowContext, rounds: int) -> None:
        await ctx.create_timer(DAY)
        ctx.continue_as_new(rounds + 1)

    with environment() as env:
        run = env.start(eternal, 0)
        env.skip(timedelta(days=30, hours=1))
        assert run.executions == 31
        env.skip(timedelta(days=2))
        assert run.executions == 33


def test_what_takes_too_long_in_real_time_is_an_error() -> None:
    async def eternal(ctx: WorkflowContext, rounds: int) -> None:
        await ctx.create_timer(DAY)
        ctx.continue_as_new(rounds + 1)

    async def breathless(ctx: WorkflowContext, rounds: int) -> None:
        ctx.continue_as_new(rounds + 1)

    async def slow(ctx: WorkflowActivityContext) -> None:
        await asyncio.Event().wait()

    async def calls(ctx: WorkflowContext) -> None:
        await ctx.call_activity(slow)

    with environment(timeout=0.05) as env:
        env.register(activities=[slow])
        with pytest.raises(
            TimeoutError, match=r"0\.05 s of real time workflow instance 'eternal-1' has not ended.*skip"
        ):
            env.run(eternal, 0)
        env.terminate("eternal-1")
        with pytest.raises(
            TimeoutError, match="instance 'calls-1' has not ended; the clock stands at 2026.*an activity still runs"
        ):
            env.run(calls)
        with pytest.raises(TimeoutError, match="what can happen now has not come to an end"):
            env.settle()
    with environment(timeout=0.05) as env, pytest.raises(TimeoutError, match="has not ended"):
        env.run(breathless, 0)


# ---- virtual time --------------------------------------------------------------------------------------------------


def test_thirty_years_with_ten_thousand_timers_have_the_same_history_twice() -> None:
    def history() -> tuple[Any, str]:
        with environment() as env:
            run = env.run(sample.long_monitor, 10_000)
            assert env.now > datetime(2056, 1, 1, tzinfo=timezone.utc)
            return [event.SerializeToString(deterministic=True) for event in run._events()], run.result

    began = time.process_time()
    first, second = history(), history()
    assert first == second
    assert first[1] == "2056-01-02"
    assert len(first[0]) > 30_000
    assert time.process_time() - began < 60


def test_runs_with_activities_children_and_retries_have_the_same_histories_twice() -> None:
    def histories() -> list[list[bytes]]:
        with environment() as env:
            env.activity(sample.charge).returns("paid").raises(ConnectionError("down"), times=2)
            env.run(sample.parent, ["book", "pen", "lamp"])
            env.run(sample.monitor, 25)
            return [[event.SerializeToString(deterministic=True) for event in run._events()] for run in env.runs]

    assert histories() == histories()


# ---- managing ------------------------------------------------------------------------------------------------------


def test_a_paused_workflow_waits_until_it_is_resumed() -> None:
    with environment() as env:
        run = env.start(sample.approve)
        env.pause(run)
        assert run.status is WorkflowStatus.SUSPENDED
        env.raise_event(run, "approval", "yes")
        with pytest.raises(WorkflowStuckError, match=r"is paused.*env\.resume\('approve-1'\)"):
            env.wait(run)
        env.resume(run)
        assert run.result == "yes"


def test_a_terminated_workflow_ends_with_its_children() -> None:
    with environment() as env:
        run = env.start(sample.waiting_parent)
        env.terminate(run, output="enough")
        run.assert_terminated()
        assert run.output == "enough"
        assert env.instance("the-child").status is WorkflowStatus.TERMINATED
        with pytest.raises(WorkflowFailedError, match="was terminated"):
            _ = run.result


def test_a_purged_workflow_is_gone() -> None:
    with environment() as env:
        run = env.start(sample.waiting_parent)
        with pytest.raises(WorkflowNotFinishedError):
            env.purge(run)
        env.terminate(run)
        assert run.exists
        assert env.purge(run) == 2
        assert not run.exists
        assert repr(run) == "<WorkflowRun waiting_parent-1 purged>"
        with pytest.raises(WorkflowNotFoundError):
            _ = run.status
        assert env.runs == []


def test_continue_as_new_counts_executions_and_keeps_their_calls() -> None:
    async def twice(ctx: WorkflowContext, again: bool) -> str:
        receipt = await ctx.call_activity(sample.charge, input=1.0)
        if again:
            ctx.continue_as_new(False)
        return receipt

    with environment() as env:
        run = env.run(twice, True)
        run.assert_calls(sample.charge, sample.charge)
        assert run.executions == 2
        assert env.run(sample.monitor, 25).result == 5


def test_children_are_runs_of_their_own() -> None:
    with environment() as env:
        run = env.run(sample.parent, ["book", "pen"])
        assert run.result == ["receipt over 1.00", "receipt over 1.00"]
        assert [child.instance_id for child in run.children] == ["parent-1:0001", "parent-1:0002"]
        assert [child.result for child in run.children] == run.result
        assert len(env.runs) == 3
    run.assert_calls("buy", "buy")


def test_functions_may_have_other_names_and_versions() -> None:
    def first(ctx: WorkflowContext, text: str) -> Any:
        yield ctx.create_timer(DAY)
        return f"first {text}"

    async def second(ctx: WorkflowContext, text: str) -> str:
        return await ctx.call_activity("shout", input=text)

    def loud(ctx: WorkflowActivityContext, text: str) -> str:
        return text.upper()

    with environment() as env:
        env.register_activity(loud, name="shout")
        env.register_workflow(second, name="shouting")
        assert env.run("shouting", "hello").result == "HELLO"
        env.register_versioned_workflow(first, name="greet", is_latest=True)
        early = env.start("greet", "hello")
        env.register_versioned_workflow(second, name="greet", is_latest=True)
        assert env.run("greet", "hello").result == "HELLO"
        assert env.wait(early).result == "first hello"


def test_a_workflow_that_nobody_registered_fails_with_the_names_there_are() -> None:
    with environment() as env:
        env.run("nobody").assert_failed("WorkflowNotRegisteredError", match="'nobody'.*Registered: .*approve")


def test_a_stalled_workflow_is_an_error_with_the_reason() -> None:
    activities = [sample.charge, sample.ship]

    async def unsteady(ctx: WorkflowContext) -> None:
        await ctx.call_activity(activities[0], input=1.0)
        await ctx.create_timer(DAY)

    with environment() as env:
        run = env.start(unsteady)
        activities.reverse()
        env._worker.parked.clear()
        with pytest.raises(WorkflowStuckError, match=r"(?s)'unsteady-1', has stalled: .*'charge'.*'ship'"):
            env.wait(run)
        assert run.status is WorkflowStatus.STALLED


# ---- apps ----------------------------------------------------------------------------------------------------------


def test_apps_share_the_engine_and_the_clock() -> None:
    async def settle(ctx: WorkflowContext, amount: float) -> str:
        await ctx.create_timer(DAY)
        return f"settled {amount}"

    with environment() as env:
        billing = env.app("billing", workflows=[settle])
        billing.activity("invoice").returns("invoice 7")
        assert (env.app_id, billing.app_id) == ("app", "billing")
        assert env.app("billing").app_id == "billing"
        assert env.run(sample.elsewhere, 5.0).result == "invoice 7"
        billing.activity("invoice").assert_called_once_with(5.0)
        run = env.run(sample.child_elsewhere, 6.0)
        assert run.result == "settled 6.0"
        assert [child.result for child in run.children] == ["settled 6.0"]
        assert billing.run(settle, 1.0).result == "settled 1.0"


def test_a_call_of_an_app_that_is_not_there_is_an_error_at_once() -> None:
    with environment() as env, pytest.raises(RuntimeStateError, match=r"App 'billing' was called.*env\.app\('billing'"):
        env.run(sample.elsewhere, 5.0)


# ---- life ----------------------------------------------------------------------------------------------------------


def test_no_threads_are_started_and_none_are_left() -> None:
    before = set(threading.enumerate())

    async def looks(ctx: WorkflowActivityContext) -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - before]

    def looks_too(ctx: WorkflowActivityContext) -> list[str]:
        return [thread.name for thread in set(threading.enumerate()) - before]

    async def ask(ctx: WorkflowContext) -> list[str]:
        return [*await ctx.call_activity(looks), *await ctx.call_activity(looks_too)]

    with environment() as env:
        env.register(activities=[looks, looks_too])
        assert env.run(ask).result == []
        env.run(sample.buy, BOOK)
    assert set(threading.enumerate()) == before


def test_threads_that_an_activity_uses_end_with_the_environment() -> None:
    before = set(threading.enumerate())

    async def blocking(ctx: WorkflowActivityContext) -> str:
        return await asyncio.to_thread(lambda: threading.current_thread().name)

    async def ask(ctx: WorkflowContext) -> str:
        return await ctx.call_activity(blocking)

    with environment() as env:
        env.register(activities=[blocking])
        assert env.run(ask).result.startswith("asyncio")
    assert set(threading.enumerate()) == before


def test_what_has_happened_can_be_read_after_the_environment_has_closed_and_nothing_else_be_done() -> None:
    with environment() as env:
        run = env.run(sample.buy, BOOK)
        waiting = env.start(sample.approve)
    run.assert_completed("receipt over 12.50")
    assert len(env.runs) == 2
    with pytest.raises(WorkflowStuckError):
        _ = waiting.result
    with pytest.raises(RuntimeStateError, match="is closed"):
        env.run(sample.buy, BOOK)


def test_an_environment_that_was_not_entered_says_how_to_use_it() -> None:
    with pytest.raises(RuntimeStateError, match=r"is not open. Use it in a with statement"):
        environment().run(sample.buy, BOOK)


def test_an_environment_is_entered_once() -> None:
    with environment() as env:
        with pytest.raises(RuntimeStateError, match="in use already"), env:
            pass
        assert env.run(sample.race).result == "charged"
    with pytest.raises(RuntimeStateError), env:
        pass


def test_inside_of_a_running_loop_the_synchronous_face_says_what_to_use_instead() -> None:
    async def test() -> None:
        with pytest.raises(RuntimeStateError, match="async with WorkflowEnvironment"), environment():
            pass

    asyncio.run(test())
    with environment() as env:

        async def inside() -> None:
            with pytest.raises(RuntimeStateError, match="async with WorkflowEnvironment"):
                env.run(sample.race)

        asyncio.run(inside())


# ---- what is not a workflow's error --------------------------------------------------------------------------------


def test_pytest_fail_in_an_activity_fails_the_test_and_not_the_workflow() -> None:
    def check(ctx: WorkflowActivityContext, amount: float) -> str:
        pytest.fail("that was not to be charged")

    with environment() as env:
        env.activity(sample.charge).side_effect(check)
        with pytest.raises(pytest.fail.Exception, match="not to be charged"):
            env.run(sample.race)
        env.activity(sample.charge).raises(KeyboardInterrupt)
        with pytest.raises(KeyboardInterrupt):
            env.run(sample.race)
        env.activity(sample.charge).returns("fine")
        assert env.run(sample.race).result == "charged"


def test_shadow_replays_find_code_that_decides_by_something_outside_of_it() -> None:
    seen: list[int] = []

    async def forgetful(ctx: WorkflowContext) -> str:
        await ctx.create_timer(DAY)
        seen.append(1)
        return await ctx.call_activity(sample.charge, input=float(len(seen)))

    with environment() as env:
        assert env.run(forgetful).result == "receipt over 1.00"
    with environment(shadow=True) as env, pytest.raises(NonDeterminismError) as caught:
        env.run(forgetful)
    assert "activity 'charge' with the input '2.0'" in str(caught.value)
    assert "activity 'charge' with the input '3.0'" in str(caught.value)
    with environment(shadow=True) as env:
        env.activity(sample.charge).raises(ConnectionError("down"), times=1)
        assert env.run(sample.parent, ["book", "pen"]).result == ["receipt over 1.00"] * 2
        env.run(sample.monitor, 25).assert_completed(5)
        env.run(sample.fail).assert_failed(LookupError)
