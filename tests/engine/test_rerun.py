"""Running a finished workflow again from one of its calls."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import grpc
import pytest

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.rerun import rerun
from dapr_workflow_sdk.engine.state import InstanceState
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.engine.transitions import create, restore
from dapr_workflow_sdk.errors import InvalidOperationError, WorkflowAlreadyExistsError, WorkflowNotFoundError
from dapr_workflow_sdk.taskhub.port import ActivityItem, TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER, nanoseconds, text_of
from tests.builders import (
    EPOCH_SECONDS,
    activity_done,
    activity_scheduled,
    at,
    child_created,
    child_done,
    raised,
    sentinel_created,
    started,
    timer_created,
    timer_fired,
    turn_marker,
)
from tests.engine.support import DAY, Worker, engine, output, purge, standing, start, status, suspend, to_app
from tests.worker.support import activity_call, child_call, complete, kinds, on_loop, timer

_BEGIN = EPOCH_SECONDS * 1_000_000_000
_NOW = _BEGIN + DAY


def ended(*events: pb.HistoryEvent) -> InstanceState:
    """A finished instance with this history after its start."""
    state, _ = create("app", 4, started("flow", '"in"'), _BEGIN, 3)
    end = pb.HistoryEvent(eventId=99, executionCompleted=pb.ExecutionCompletedEvent())
    return restore(state.row, [turn_marker(), started("flow", '"in"'), *events, end], [], {}, {})


def again(source: InstanceState, event_id: int, **more: Any) -> Any:
    """Runs it again from this event."""
    request = pb.RerunWorkflowFromEventRequest(sourceInstanceID="order-7", eventID=event_id, **more)
    return rerun(source, request, "new", 12, _NOW, "execution-new")


class TestCopy:
    def test_ends_with_the_call_which_is_made_anew(self) -> None:
        source = ended(activity_scheduled(1, "a"), activity_done(1, "1"), activity_scheduled(2, "b"), activity_done(2))
        source.row.output = '"out"'
        new = again(source, 2)
        assert kinds(new.state.history)[2:] == ["taskScheduled", "taskCompleted", "taskScheduled"]
        assert list(new.state.tasks) == [(1, 2)]
        request = new.state.tasks[1, 2]
        assert (request.name, request.attempt, request.workflowInstance.instanceId) == ("b", 1, "new")
        assert request.workflowInstance.executionId.value == "execution-new"
        row = new.state.row
        assert (row.number, row.instance_id, row.execution_id, row.generation) == (12, "new", "execution-new", 1)
        assert (row.created, row.started, row.input) == (_NOW, _NOW, '"in"')
        assert (row.ended, row.completed, row.output) == (None, None, None)
        assert new.change.renewed
        assert new.change.history == new.state.history
        assert new.change.tasks_added == [((1, 2), request)]
        start_event = new.state.history[1].executionStarted
        assert start_event.workflowInstance.instanceId == "new"
        assert start_event.workflowInstance.executionId.value == "execution-new"

    def test_says_where_the_call_comes_from_and_leaves_the_source_alone(self) -> None:
        source = ended(activity_scheduled(1, "a"), activity_done(1), activity_scheduled(2, "b"))
        before = [event.SerializeToString() for event in source.history]
        new = again(source, 2, input=text_of("9"), overwriteInput=True)
        assert new.state.history[-1].taskScheduled.rerunParentInstanceInfo.instanceID == "order-7"
        assert not new.state.history[2].taskScheduled.HasField("rerunParentInstanceInfo")
        assert [event.SerializeToString() for event in source.history] == before
        assert (source.row.instance_id, source.row.number) == ("order-7", 4)

    def test_makes_calls_anew_that_had_no_answer_by_then(self) -> None:
        source = ended(
            activity_scheduled(1, "slow"),
            timer_created(2, 60),
            child_created(3, "kid"),
            activity_scheduled(4, "answered"),
            activity_done(4),
            activity_scheduled(5, "again"),
            # These came only afterwards.
            activity_done(1),
            timer_fired(2),
            child_done(3),
        )
        new = again(source, 5)
        assert {key: request.name for key, request in new.state.tasks.items()} == {(1, 1): "slow", (1, 5): "again"}
        assert list(new.state.timers) == [2]
        assert new.state.children == {3: ("app", "new:0003")}
        assert [message.target for message in new.messages] == [("app", "new:0003")]

    def test_counts_the_tries_of_a_call_on(self) -> None:
        source = ended(
            *(activity_scheduled(number, "flaky") for number in (1, 2, 3)),
        )
        for number, event in enumerate(source.history[2:5], 1):
            event.taskScheduled.taskExecutionId = "same"
            source.history.insert(2 + 2 * number - 1, activity_done(number))
        new = again(source, 3)
        assert new.state.tasks[1, 3].attempt == 3
        assert new.state.attempts == {"same": 3}

    @pytest.mark.parametrize(
        ("more", "expected"),
        [
            ({}, '"old"'),
            ({"input": text_of('"ignored"')}, '"old"'),
            ({"overwriteInput": True, "input": text_of('"new"')}, '"new"'),
            ({"overwriteInput": True, "input": text_of("")}, ""),
            ({"overwriteInput": True}, None),
        ],
        ids=["the same", "not asked for", "another", "empty", "none"],
    )
    @pytest.mark.parametrize("kind", ["activity", "child"])
    def test_has_the_input_that_is_asked_for(self, kind: str, more: dict[str, Any], expected: str | None) -> None:
        call = activity_scheduled(1, "a") if kind == "activity" else child_created(1, "kid")
        content = call.taskScheduled if kind == "activity" else call.childWorkflowInstanceCreated
        content.input.value = '"old"'
        new = again(ended(call), 1, **more)
        sent: Any = new.state.tasks[1, 1] if kind == "activity" else new.messages[0].event.executionStarted
        recorded: Any = getattr(new.state.history[-1], str(call.WhichOneof("eventType")))
        for given in (sent, recorded):
            assert (given.input.value if given.HasField("input") else None) == expected

    def test_waits_for_a_timer_as_long_as_the_first_time(self) -> None:
        new = again(ended(timer_created(1, 60)), 1)
        assert new.state.timers == {1: _NOW + 60_000_000_000}
        assert new.change.timers_added == [(1, _NOW + 60_000_000_000)]
        assert nanoseconds(new.state.history[-1].timerCreated.fireAt) == _NOW + 60_000_000_000

    def test_waits_for_an_event_for_ever_if_it_did(self) -> None:
        new = again(ended(sentinel_created(1, "go"), raised("go")), 1)
        assert new.state.timers == {}
        assert new.state.history[-1].timerCreated.fireAt == NEVER

    @pytest.mark.parametrize(("given", "expected"), [(None, "new:0001"), ("mine", "mine")])
    def test_starts_a_child_under_a_new_id(self, given: str | None, expected: str) -> None:
        new = again(ended(child_created(1, "kid", "old-id")), 1, newChildWorkflowInstanceID=given)
        (message,) = new.messages
        assert message.target == ("app", expected)
        content = message.event.executionStarted
        assert content.workflowInstance.instanceId == expected
        assert content.parentInstance.workflowInstance.instanceId == "new"
        assert content.parentInstance.workflowInstance.executionId.value == "execution-new"
        assert new.state.history[-1].childWorkflowInstanceCreated.instanceId == expected
        assert new.state.children == {1: ("app", expected)}

    def test_calls_other_apps_again(self) -> None:
        job, kid = activity_scheduled(1, "a"), child_created(2, "kid", "theirs")
        for event in (job, kid):
            event.router.targetAppID = "warehouse"
        new = again(ended(job, kid), 2)
        assert new.state.tasks[1, 1].targetAppId == "warehouse"
        assert new.messages[0].target == ("warehouse", "new:0002")


async def chain(hub: EngineHub, worker: Worker, *, failing: int = 0) -> list[str]:
    """A finished workflow of five activities; returns what they returned."""
    await start(hub, data='"in"')
    await worker.play(activity_call(1))
    results: list[str] = []
    for number in range(1, 6):
        run = await worker.activity()
        results.append(f'"r{number}"')
        done = asyncio.ensure_future(worker.finish(run, results[-1]))
        last = number in (5, failing)
        await worker.play(
            complete(number + 1, failed="no luck" if failing else "") if last else activity_call(number + 1)
        )
        await done
        if last:
            break
    return results


def request(source: str = "one", event_id: int = 1, **more: Any) -> pb.RerunWorkflowFromEventRequest:
    return pb.RerunWorkflowFromEventRequest(sourceInstanceID=source, eventID=event_id, **more)


@on_loop
async def test_only_the_calls_from_there_on_run_again(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await chain(hub, worker)
        new_id = await hub.rerun(request(event_id=4, newInstanceID="two"))
        assert new_id == "two"
        assert await status(hub, "two") == "RUNNING"
        run = await worker.activity()
        assert (run.request.taskId, run.request.workflowInstance.instanceId) == (4, "two")
        done = asyncio.ensure_future(worker.finish(run, '"again"'))
        turn = await worker.play(activity_call(5))
        await done
        assert kinds(turn.past) == [
            "workflowStarted", "executionStarted", "taskScheduled",
            *["workflowStarted", "taskCompleted", "taskScheduled"] * 3,
        ]  # fmt: skip
        assert turn.past[1].executionStarted.input.value == '"in"'
        assert turn.new[1].taskCompleted.result.value == '"again"'
        done = asyncio.ensure_future(worker.finish(await worker.activity(), '"end"'))
        await worker.play(complete(6, '"fresh"'))
        await done
        await worker.nothing()
        assert await output(hub, "two") == '"fresh"'
        assert await status(hub) == "COMPLETED"
        assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds == ["one", "two"]


@on_loop
async def test_a_failed_workflow_may_succeed_from_where_it_failed() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await chain(hub, worker, failing=3)
        assert await status(hub) == "FAILED"
        await hub.rerun(request(event_id=3, newInstanceID="two"))
        state = await hub.state("two", payloads=True)
        assert state is not None
        assert not state.HasField("failureDetails")
        done = asyncio.ensure_future(worker.finish(await worker.activity(), "1"))
        await worker.play(complete(4, '"well"'))
        await done
        assert (await status(hub, "two"), await output(hub, "two")) == ("COMPLETED", '"well"')


@on_loop
async def test_calls_side_by_side_run_as_often_as_they_must() -> None:
    """Two fan-outs, of three and of five: from the third call of all, the third and then the five."""
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(*(activity_call(n) for n in (1, 2, 3)))
        pending = []
        for calls in ((4, 5, 6, 7, 8), ()):
            runs = [await worker.activity() for _ in range(5 if not calls else 3)]
            # They answer one by one, so that each turn has one result.
            for run in runs:
                pending.append(asyncio.ensure_future(worker.finish(run)))
                last = run is runs[-1]
                actions = [activity_call(n) for n in calls] if calls else [complete(9)]
                await worker.play(*(actions if last else ()))
        await asyncio.gather(*pending)
        assert await status(hub) == "COMPLETED"
        await hub.rerun(request(event_id=8, newInstanceID="late"))
        again_ = sorted([(await worker.activity()).request.taskId for _ in range(5)])
        # All five of the second fan-out were asked for before any of them had answered.
        assert again_ == [4, 5, 6, 7, 8]
        await worker.nothing()
        await hub.rerun(request(event_id=4, newInstanceID="early"))
        assert (await worker.activity()).request.taskId == 4
        await worker.nothing()


@on_loop
async def test_a_timer_is_waited_for_again() -> None:
    clock = standing()
    async with engine(clock=clock) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(timer(1, clock.now() + DAY))
        clock.advance(DAY)
        await worker.play(complete(2))
        await hub.rerun(request(newInstanceID="two"))
        await worker.nothing()
        clock.advance(DAY - 1_000_000_000)
        await worker.nothing()
        clock.advance(2_000_000_000)
        turn = await worker.play(complete(2))
        assert (turn.instance_id, kinds(turn.new)) == ("two", ["workflowStarted", "timerFired"])


@on_loop
async def test_a_child_is_started_again_under_a_new_id() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(child_call(1, "kid"))
        await worker.play(complete(1, "1"))
        await worker.play(complete(2))
        for given, expected in ((None, "two:0001"), ("second-kid", "second-kid")):
            name = "two" if given is None else "three"
            await hub.rerun(request(newInstanceID=name, newChildWorkflowInstanceID=given))
            kid = await worker.play(complete(1, "2"))
            assert kid.instance_id == expected
            turn = await worker.play(complete(2))
            assert (turn.instance_id, turn.new[1].childWorkflowInstanceCompleted.result.value) == (name, "2")
        with pytest.raises(InvalidOperationError) as refused:
            await hub.rerun(request("second-kid", newInstanceID="four"))
        assert refused.value.details() == "'second-kid': cannot rerun from child-workflows"


@on_loop
async def test_a_child_whose_id_is_taken_fails_in_the_new_instance() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, "busy")
        await worker.turn()
        await start(hub)
        await worker.play(child_call(1, "kid"))
        await worker.play(complete(1))
        await worker.play(complete(2))
        await hub.rerun(request(newInstanceID="two", newChildWorkflowInstanceID="busy"))
        turn = await worker.play(complete(2))
        assert turn.instance_id == "two"
        assert turn.new[1].childWorkflowInstanceFailed.failureDetails.errorType == "WorkflowInstanceAlreadyExists"


@on_loop
async def test_a_rerun_can_be_run_again_itself_and_gets_an_id_if_it_has_none() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await chain(hub, worker)
        second = await hub.rerun(request(event_id=5))
        assert len(second) == 36
        done = asyncio.ensure_future(worker.finish(await worker.activity()))
        await worker.play(complete(6))
        await done
        third = await hub.rerun(request(second, event_id=2))
        run = await worker.activity()
        assert run.request.workflowInstance.instanceId == third
        event = (await hub.history(third))[-1].taskScheduled
        assert event.rerunParentInstanceInfo.instanceID == second


@on_loop
async def test_a_rerun_goes_on_in_a_new_engine(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await chain(hub, worker)
        await hub.rerun(request(event_id=3, newInstanceID="two"))
    async with engine(reopen()) as hub, Worker(hub) as worker:
        run = await worker.activity()
        assert run.request.taskId == 3
        done = asyncio.ensure_future(worker.finish(run))
        turn = await worker.play(complete(4))
        await done
        assert len(turn.past) == 9


@on_loop
async def test_a_rerun_without_a_worker_waits_for_one() -> None:
    async with engine() as hub:
        async with Worker(hub) as worker:
            await chain(hub, worker)
        await hub.rerun(request(event_id=1, newInstanceID="two"))
        async with Worker(hub) as worker:
            assert (await worker.activity()).request.taskId == 1


@on_loop
async def test_calls_to_other_apps_go_there_again() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app("warehouse")) as other:
        await start(hub)
        await worker.play(to_app(activity_call(1), "warehouse"))
        done = asyncio.ensure_future(other.finish(await other.activity()))
        await worker.play(complete(2))
        await done
        await hub.rerun(request(newInstanceID="two"))
        assert (await other.activity()).request.workflowInstance.instanceId == "two"
        await worker.nothing()


@on_loop
async def test_purging_a_rerun_leaves_the_children_of_its_source() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(child_call(1, "kid"))
        await worker.play(complete(1))
        await worker.play(activity_call(2))
        done = asyncio.ensure_future(worker.finish(await worker.activity()))
        await worker.play(complete(3))
        await done
        await hub.rerun(request(event_id=2, newInstanceID="two"))
        done = asyncio.ensure_future(worker.finish(await worker.activity()))
        await worker.play(complete(3))
        await done
        assert await purge(hub, "two") == 1
        assert await status(hub, "kid") == "COMPLETED"


# ---- what cannot be run again ----------------------------------------------------------------------------------


async def refusal(hub: EngineHub, asked: pb.RerunWorkflowFromEventRequest) -> tuple[grpc.StatusCode, str]:
    """How a rerun is refused; nothing is made then."""
    before = (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds
    with pytest.raises((InvalidOperationError, WorkflowNotFoundError, WorkflowAlreadyExistsError)) as refused:
        await hub.rerun(asked)
    assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds == before
    return refused.value.code(), refused.value.details()


_INVALID, _MISSING = grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.NOT_FOUND


@pytest.mark.parametrize(
    ("asked", "code", "text"),
    [
        (request(""), _INVALID, "rerun workflow source instance ID is required"),
        (
            request(newInstanceID="one"),
            _INVALID,
            "rerun workflow instance ID must be different from the original instance ID",
        ),
        (request("x"), _MISSING, "workflow instance does not exist with ID 'x'"),
        (request("running"), _INVALID, "'running' is not in a terminal state"),
        (request("suspended"), _INVALID, "'suspended' is not in a terminal state"),
        (request("kid"), _INVALID, "'kid': cannot rerun from child-workflows"),
        (request(event_id=77), _MISSING, "does not have history event with ID '77'"),
        (request(event_id=0), _MISSING, "does not have history event with ID '0'"),
        (
            request(event_id=6),
            _MISSING,
            "target event '*protos.HistoryEvent_ExecutionCompleted' with ID '6' is not an event that can be rerun",
        ),
        (
            request(event_id=5),
            _MISSING,
            "target event '*protos.HistoryEvent_EventSent' with ID '5' is not an event that can be rerun",
        ),
        (request(event_id=4), _INVALID, "cannot rerun from detached workflow event '4'"),
        (
            request(event_id=2, overwriteInput=True, input=text_of("1")),
            _INVALID,
            "cannot write input to timer event '2'",
        ),
        (request(event_id=2, overwriteInput=True), _INVALID, "cannot write input to timer event '2'"),
        (
            request(event_id=1, newChildWorkflowInstanceID="c"),
            _INVALID,
            "cannot set new child workflow instance ID on activity event '1'",
        ),
        (
            request(event_id=2, newChildWorkflowInstanceID="c"),
            _INVALID,
            "cannot set new child workflow instance ID on timer event '2'",
        ),
        (
            request(newInstanceID="running"),
            grpc.StatusCode.ALREADY_EXISTS,
            "workflow 'running' has already been created",
        ),
        (request(newInstanceID="kid"), grpc.StatusCode.ALREADY_EXISTS, "workflow 'kid' has already been created"),
    ],
    ids=lambda value: value if isinstance(value, str) else None,
)
@on_loop
async def test_what_cannot_be_run_again_is_refused(
    asked: pb.RerunWorkflowFromEventRequest, code: grpc.StatusCode, text: str
) -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub, "running")
        await worker.play()
        await start(hub, "suspended")
        await worker.play()
        await suspend(hub, "suspended")
        await worker.play()
        await start(hub)
        sent = pb.SendEventAction(instance=pb.WorkflowInstance(instanceId="nobody"), name="go")
        await worker.play(
            activity_call(1),
            timer(2, nanoseconds(at(0)) + 400 * DAY),
            child_call(3, "kid"),
            pb.WorkflowAction(id=4, createDetachedWorkflow=pb.CreateDetachedWorkflowAction(instanceId="d", name="d")),
            pb.WorkflowAction(id=5, sendEvent=sent),
            complete(6),
        )
        for _ in range(3):
            item = await worker.item()
            if isinstance(item, TurnItem):
                await worker.answer(item, complete(1))
            else:
                assert isinstance(item, ActivityItem)
                await worker.finish(item)
        assert await refusal(hub, asked) == (code, text)


@on_loop
async def test_no_event_raised_can_be_run_again() -> None:
    """They have no number of their own."""
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(complete(1))
        code, text = await refusal(hub, request(event_id=2**32 - 1))
        assert code is grpc.StatusCode.NOT_FOUND
        assert text == f"does not have history event with ID '{2**32 - 1}'"
