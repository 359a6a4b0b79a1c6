"""Several apps on one engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.base import Store
from dapr_workflow_sdk.errors import WorkflowAlreadyExistsError, WorkflowNotFinishedError, WorkflowNotFoundError
from dapr_workflow_sdk.taskhub.port import ActivityItem, Milestone, TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.engine.support import (
    Worker,
    engine,
    output,
    purge,
    raise_event,
    start,
    status,
    suspend,
    terminate,
    to_app,
)
from tests.worker.support import activity_call, answer_to, child_call, complete, kinds, on_loop, result_of

OTHER = "warehouse"


# ---- apart -----------------------------------------------------------------------------------------------------


@on_loop
async def test_hubs_of_all_apps_share_the_engine() -> None:
    async with engine(app_id="shop", name="here") as hub:
        other = hub.for_app(OTHER)
        assert hub is hub.for_app("shop")
        assert (hub.app_id, other.app_id, other.for_app("shop").app_id) == ("shop", OTHER, "shop")
        assert hub.description == other.description
        await start(hub)
        assert not hub.closed
        await other.aclose()
        assert hub.closed
        assert other.closed
        assert other.for_app("third").closed


@on_loop
async def test_one_id_in_two_apps_is_two_instances(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub:
        other = hub.for_app(OTHER)
        await start(hub, "same", name="mine", data="1")
        await start(other, "same", name="theirs", data="2")
        with pytest.raises(WorkflowAlreadyExistsError):
            await start(other, "same")
        async with Worker(hub) as worker, Worker(other) as another:
            mine, theirs = await worker.turn(), await another.turn()
            assert [turn.new[1].executionStarted.name for turn in (mine, theirs)] == ["mine", "theirs"]
            assert [turn.new[1].router.sourceAppID for turn in (mine, theirs)] == ["app", OTHER]
            # Each answers its own, also one that sends no token back.
            await worker.answer(mine, activity_call(1), token="")
            await another.answer(theirs, activity_call(1), token="")
            runs = await worker.activity(), await another.activity()
            done = [
                asyncio.ensure_future(worker.finish(runs[0], '"mine"')),
                asyncio.ensure_future(another.finish(runs[1], '"theirs"')),
            ]
            turns = await worker.turn(), await another.turn()
            assert [turn.new[1].taskCompleted.result.value for turn in turns] == ['"mine"', '"theirs"']
            await worker.answer(turns[0], complete(2, '"mine"'))
            await done[0]
            assert (await status(hub, "same"), await status(other, "same")) == ("COMPLETED", "RUNNING")
            await raise_event(other, "same")
            assert await purge(hub, "same") == 1
            assert (await status(hub, "same"), await status(other, "same")) == ("MISSING", "RUNNING")
            await another.answer(turns[1])
            await done[1]
    async with engine(reopen()) as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as another:
        turn = await another.turn()
        assert kinds(turn.new) == ["workflowStarted", "eventRaised"]
        await worker.nothing()
        with pytest.raises(WorkflowNotFoundError):
            await raise_event(hub, "same")


@on_loop
async def test_results_without_tokens_go_to_the_instance_of_the_workers_app() -> None:
    """Workers in other languages answer by instance and number; here both apps have both."""
    async with engine() as hub:
        other = hub.for_app(OTHER)
        async with Worker(hub) as worker, Worker(other) as another:
            for each, hand in ((hub, worker), (other, another)):
                await start(each, "same")
                await hand.play(activity_call(1))
            runs = await worker.activity(), await another.activity()
            done = [
                asyncio.ensure_future(worker.finish(runs[0], '"mine"', token="")),
                asyncio.ensure_future(another.finish(runs[1], '"theirs"', token="")),
            ]
            mine = await worker.turn(2)
            theirs = await another.turn(2)
            assert mine.new[1].taskCompleted.result.value == '"mine"'
            assert theirs.new[1].taskCompleted.result.value == '"theirs"'
            await worker.answer(mine)
            await another.answer(theirs)
            await asyncio.gather(*done)


@on_loop
async def test_lists_and_workers_are_those_of_one_app() -> None:
    async with engine(app_id="shop") as hub:
        other = hub.for_app(OTHER)
        for name in ("a", "b"):
            await start(hub, name)
        await start(other, "c")
        assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds == ["a", "b"]
        assert (await other.list_ids(pb.ListInstanceIDsRequest())).instanceIds == ["c"]
        found = await other.instances(pb.ListInstancesRequest())
        assert [state.instanceId for state in found.workflowStates] == ["c"]
        async with Worker(hub, identity="mine"), Worker(other, identity="theirs"):
            assert [worker.identity for worker in await hub.workers()] == ["mine"]
            assert [(worker.identity, worker.appId) for worker in await other.workers()] == [("theirs", OTHER)]
            assert (hub.worker_count, other.worker_count) == (1, 1)
        described = await hub.describe()
        assert (described.appId, list(described.appIds)) == ("shop", ["shop", OTHER])
        assert (await other.describe()).appId == OTHER
        purged = await other.purge(
            pb.PurgeInstancesRequest(
                purgeInstanceFilter=pb.PurgeInstanceFilter(runtimeStatus=[pb.WORKFLOW_STATUS_PENDING]), force=True
            )
        )
        assert purged == 1
        assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds == ["a", "b"]


# ---- together --------------------------------------------------------------------------------------------------


@on_loop
async def test_an_activity_runs_at_a_worker_of_the_app_it_is_for(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub)
        await worker.play(to_app(activity_call(1, "pack"), OTHER), activity_call(2))
        theirs, mine = await other.activity(), await worker.activity()
        assert (theirs.request.name, mine.request.taskId) == ("pack", 2)
        assert theirs.request.workflowInstance.instanceId == "one"
        done = asyncio.ensure_future(other.finish(theirs, '"packed"'))
        turn = await worker.play(complete(3))
        await done
        assert turn.new[1].taskCompleted.result.value == '"packed"'
        event = turn.past[2]
        assert (event.router.sourceAppID, event.router.targetAppID) == ("app", OTHER)
        await other.nothing()


@on_loop
async def test_a_child_in_another_app_answers_its_parent(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub, "parent")
        await worker.play(to_app(child_call(1, "kid"), OTHER), to_app(child_call(2, "parent"), OTHER))
        kids = {turn.instance_id: turn for turn in [await other.turn(), await other.turn()]}
        assert set(kids) == {"kid", "parent"}, "an id may be taken in another app"
        start_event = kids["kid"].new[1]
        assert (start_event.router.sourceAppID, start_event.router.targetAppID) == ("app", OTHER)
        state = await hub.for_app(OTHER).state("kid", payloads=False)
        assert state is not None
        assert (state.parentInstanceId.value, state.parentAppId.value) == ("parent", "app")
        assert await status(hub, "kid") == "MISSING"
        await other.answer(kids["kid"], complete(1, '"done"'))
        turn = await worker.play()
        assert turn.new[1].childWorkflowInstanceCompleted.result.value == '"done"'
        await other.answer(kids["parent"], complete(1, failed="no luck"))
        turn = await worker.play(complete(3))
        assert turn.new[1].childWorkflowInstanceFailed.failureDetails.errorMessage == "no luck"
        assert (await status(hub, "parent"), await status(hub.for_app(OTHER), "parent")) == ("COMPLETED", "FAILED")


@on_loop
async def test_a_child_calls_back_into_the_app_of_its_parent() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub, "parent")
        await worker.play(to_app(child_call(1, "kid"), OTHER))
        await other.play(to_app(activity_call(1), "app"), to_app(child_call(2, "grandkid"), "app"))
        items = [await worker.item(), await worker.item()]
        (run,) = [item for item in items if isinstance(item, ActivityItem)]
        (grandkid,) = [item for item in items if isinstance(item, TurnItem)]
        assert grandkid.instance_id == "grandkid"
        # The other app's hub and this one both reach the activity: the token says which it is.
        done = asyncio.ensure_future(worker.finish(run, "1"))
        await other.play()
        await done
        await worker.answer(grandkid, complete(1, "2"))
        await other.play(complete(3))
        assert kinds((await worker.play(complete(2))).new)[1:] == ["childWorkflowInstanceCompleted"]


@on_loop
async def test_calls_to_an_app_without_workers_wait_for_one(
    reopen: Callable[[], Store], caplog: pytest.LogCaptureFixture
) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await start(hub)
        await worker.play(to_app(activity_call(1), OTHER), to_app(child_call(2, "kid"), OTHER))
        await worker.nothing()
        assert await status(hub) == "RUNNING"
        warnings = [record.getMessage() for record in caplog.records]
        assert len([text for text in warnings if f"flow one calls app '{OTHER}'" in text]) == 2
        assert all("no worker is connected" in text for text in warnings)
        assert list((await hub.describe()).appIds) == ["app", OTHER]
    # They wait over a restart, too.
    async with engine(reopen()) as hub, Worker(hub) as worker:
        await worker.nothing()
        async with Worker(hub.for_app(OTHER)) as other:
            items = [await other.item(), await other.item()]
            (run,) = [item for item in items if isinstance(item, ActivityItem)]
            (kid,) = [item for item in items if isinstance(item, TurnItem)]
            await other.answer(kid, complete(1))
            await worker.play()
            done = asyncio.ensure_future(other.finish(run))
            await worker.play(complete(3))
            await done
    assert await status_after(reopen) == "COMPLETED"


async def status_after(reopen: Callable[[], Store]) -> str:
    async with engine(reopen()) as hub:
        return await status(hub)


@on_loop
async def test_what_a_lost_worker_of_another_app_had_goes_to_a_worker_of_that_app() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        async with Worker(hub.for_app(OTHER)) as leaves:
            await worker.play(to_app(activity_call(1), OTHER), to_app(child_call(2, "kid"), OTHER))
            assert {type(await leaves.item()) for _ in range(2)} == {ActivityItem, TurnItem}
        await worker.nothing()
        async with Worker(hub.for_app(OTHER)) as stays:
            assert {type(await stays.item()) for _ in range(2)} == {ActivityItem, TurnItem}


@on_loop
async def test_a_result_for_an_app_whose_workers_are_gone_is_stored(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub.for_app(OTHER)) as other:
        async with Worker(hub) as worker:
            await start(hub)
            await worker.play(to_app(activity_call(1), OTHER))
        run = await other.activity()
        await asyncio.wait_for(other.finish(run, "7"), 2)
    async with engine(reopen()) as hub, Worker(hub) as worker:
        assert (await worker.turn()).new[1].taskCompleted.result.value == "7"


async def family(hub: EngineHub, worker: Worker, other: Worker) -> None:
    """A parent here, a child there and a grandchild here, which have had their first turns."""
    await start(hub, "parent")
    await worker.play(to_app(child_call(1, "kid"), OTHER), child_call(2, "sister"))
    await worker.play()
    await other.play(to_app(child_call(1, "grandkid"), "app"))
    await worker.play()


@on_loop
async def test_terminating_goes_across_apps() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await family(hub, worker, other)
        ending = asyncio.ensure_future(terminate(hub, "parent", '"why"'))
        assert (await worker.play()).instance_id == "parent"
        assert kinds((await other.play()).new) == ["workflowStarted", "executionTerminated"]
        assert {(await worker.play()).instance_id for _ in range(2)} == {"sister", "grandkid"}
        await ending
        assert [await status(hub, name) for name in ("parent", "sister", "grandkid")] == ["TERMINATED"] * 3
        assert await status(hub.for_app(OTHER), "kid") == "TERMINATED"


@on_loop
async def test_terminating_goes_across_apps_also_where_no_worker_is() -> None:
    async with engine() as hub:
        async with Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
            await family(hub, worker, other)
        await asyncio.wait_for(terminate(hub, "parent"), 2)
        for each, name in ((hub.for_app(OTHER), "kid"), (hub, "sister"), (hub, "grandkid")):
            await asyncio.wait_for(each.wait(name, Milestone.COMPLETED, payloads=False), 2)
            assert await status(each, name) == "TERMINATED"


@on_loop
async def test_purging_goes_across_apps(reopen: Callable[[], Store]) -> None:
    async with engine(reopen()) as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await family(hub, worker, other)
        # An instance of the child's id in the parent's own app has nothing to do with it.
        await start(hub, "kid")
        await worker.play(complete(1))
        await raise_event(hub, "grandkid")
        await worker.play(complete(1))
        await other.play(complete(2))
        assert (await worker.play()).instance_id == "parent"
        await raise_event(hub, "sister")
        await worker.play(complete(1))
        await worker.play(complete(3))
        assert await status(hub, "parent") == "COMPLETED"
        assert await purge(hub, "parent") == 4
        assert await status(hub, "kid") == "COMPLETED"
        assert (await hub.list_ids(pb.ListInstanceIDsRequest())).instanceIds == ["kid"]
        assert not (await hub.for_app(OTHER).list_ids(pb.ListInstanceIDsRequest())).instanceIds


@on_loop
async def test_a_child_that_runs_in_another_app_keeps_its_parent() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub, "parent")
        await worker.play(to_app(child_call(1, "kid"), OTHER), complete(2))
        kid = await other.turn()
        with pytest.raises(WorkflowNotFinishedError):
            await purge(hub, "parent")
        with pytest.raises(WorkflowAlreadyExistsError) as refused:
            await start(hub, "parent")
        assert refused.value.details() == (
            "cannot recreate workflow with ID 'parent': child workflow 'kid': already exists"
        )
        await other.answer(kid, complete(1))
        await start(hub, "parent")


@on_loop
async def test_events_and_terminations_of_workflows_reach_other_apps() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub.for_app(OTHER), "target")
        await other.play()
        await start(hub, "sender")
        event = pb.SendEventAction(instance=pb.WorkflowInstance(instanceId="target"), name="ping")
        await worker.play(to_app(pb.WorkflowAction(id=1, sendEvent=event), OTHER))
        assert (await other.play()).new[1].eventRaised.name == "ping"
        await raise_event(hub, "sender")
        stop = pb.TerminateWorkflowAction(instanceId="target")
        await worker.play(to_app(pb.WorkflowAction(id=2, terminateWorkflow=stop), OTHER))
        assert kinds((await other.play()).new)[1:] == ["executionTerminated"]
        assert await status(hub.for_app(OTHER), "target") == "TERMINATED"


@on_loop
async def test_a_detached_workflow_begins_in_another_app() -> None:
    async with engine() as hub, Worker(hub) as worker, Worker(hub.for_app(OTHER)) as other:
        await start(hub)
        asked = pb.CreateDetachedWorkflowAction(instanceId="free", name="free")
        await worker.play(to_app(pb.WorkflowAction(id=1, createDetachedWorkflow=asked), OTHER), complete(2))
        assert (await other.play(complete(1))).instance_id == "free"
        assert await status(hub.for_app(OTHER), "free") == "COMPLETED"
        assert await status(hub, "free") == "MISSING"


@on_loop
async def test_an_app_that_is_busy_does_not_hold_up_another() -> None:
    async with engine() as hub, Worker(hub.for_app(OTHER), turns=1) as other:
        for number in range(20):
            await start(hub.for_app(OTHER), f"i{number}")
            await start(hub, f"i{number}")
        async with Worker(hub) as worker:
            for _ in range(20):
                await worker.play(complete(1))
        await other.turn()
        await other.nothing()


@on_loop
async def test_a_token_of_one_app_is_of_no_use_to_an_instance_of_another() -> None:
    async with engine() as hub, Worker(hub) as worker:
        await start(hub)
        turn = await worker.turn()
        await hub.for_app(OTHER).complete_turn(answer_to(turn, complete(1, '"forged"')))
        assert await status(hub) == "PENDING"
        await worker.answer(turn, activity_call(1))
        run = await worker.activity()
        other = result_of(run, '"forged"')
        other.instanceId = "two"
        await hub.for_app(OTHER).complete_activity(other)
        await worker.nothing()
        await suspend(hub)
        assert await output(hub) == ""
