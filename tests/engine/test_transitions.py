"""The engine's rules, one by one: what an arrival or a finished turn does to an instance."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.engine.actions import Conclusion
from dapr_workflow_sdk.engine.conclusion import conclude
from dapr_workflow_sdk.engine.state import InboxEvent, InstanceState
from dapr_workflow_sdk.engine.transitions import (
    accept,
    accept_unstored,
    create,
    drop_task,
    event_at,
    refused_child,
    store_unstored,
    wants,
)
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER
from tests.builders import (
    INSTANCE,
    activity_done,
    activity_failed,
    at,
    child_done,
    child_failed,
    raised,
    resumed,
    started,
    suspended,
    terminated,
    text,
    timer_fired,
)

_NOW = 1_767_225_600_000_000_000
_APP = "shop"
_NUMBER = 12


def activity(call_id: int, name: str = "charge", *, execution: str = "", data: str | None = None) -> pb.WorkflowAction:
    asked = pb.ScheduleTaskAction(name=name, input=text(data), taskExecutionId=execution)
    return pb.WorkflowAction(id=call_id, scheduleTask=asked)


def timer(call_id: int, seconds: float = 60) -> pb.WorkflowAction:
    return pb.WorkflowAction(id=call_id, createTimer=pb.CreateTimerAction(fireAt=at(seconds)))


def child(call_id: int, child_id: str = "", name: str = "invoice") -> pb.WorkflowAction:
    return pb.WorkflowAction(
        id=call_id, createChildWorkflow=pb.CreateChildWorkflowAction(instanceId=child_id, name=name)
    )


def complete(
    call_id: int,
    status: pb.WorkflowStatus = pb.WORKFLOW_STATUS_COMPLETED,
    result: str | None = None,
    carryover: Sequence[pb.HistoryEvent] = (),
    failure: pb.TaskFailureDetails | None = None,
) -> pb.WorkflowAction:
    end = pb.CompleteWorkflowAction(
        workflowStatus=status, result=text(result), carryoverEvents=carryover, failureDetails=failure
    )
    return pb.WorkflowAction(id=call_id, completeWorkflow=end)


def renew(call_id: int, result: str | None = None, *carryover: pb.HistoryEvent) -> pb.WorkflowAction:
    return complete(call_id, pb.WORKFLOW_STATUS_CONTINUED_AS_NEW, result, carryover)


def new_instance(data: str | None = None, *, parent: str = "", generation: int = 1) -> InstanceState:
    start = started("order", data)
    if parent:
        start.executionStarted.parentInstance.CopyFrom(
            pb.ParentInstanceInfo(
                taskScheduledId=7,
                workflowInstance=pb.WorkflowInstance(
                    instanceId=parent, executionId=StringValue(value="parent-execution")
                ),
            )
        )
    state, _ = create(_APP, _NUMBER, start, _NOW, generation)
    return state


def turn(
    state: InstanceState,
    *actions: pb.WorkflowAction,
    status: str | None = None,
    taken: list[InboxEvent] | None = None,
    moment: int = _NOW,
) -> Conclusion:
    taken = list(state.inbox) if taken is None else taken
    marker = event_at(moment)
    marker.workflowStarted.SetInParent()
    answer = pb.WorkflowResponse(instanceId=INSTANCE, actions=actions, customStatus=text(status))
    new = [marker, *(item.event for item in taken)]
    return conclude(state, taken, new, answer, moment, lambda: "next-execution")


def kinds(events: Sequence[pb.HistoryEvent]) -> list[str]:
    return [event.WhichOneof("eventType") or "" for event in events]


class TestCreation:
    def test_puts_the_start_into_the_inbox(self) -> None:
        state, change = create(_APP, _NUMBER, started("order", '"input"'), _NOW, 3)
        assert (state.row.name, state.row.input, state.row.generation) == ("order", '"input"', 3)
        assert state.row.status == pb.WORKFLOW_STATUS_PENDING
        assert kinds([item.event for item in state.inbox]) == ["executionStarted"]
        assert change.renewed, "what an earlier instance of this id left is forgotten"
        assert change.inbox_added == [(0, state.inbox[0].event)]

    @pytest.mark.parametrize("data", [None, "", "null", "0"])
    def test_keeps_the_input_as_it_is(self, data: str | None) -> None:
        assert new_instance(data).row.input == data

    def test_runs_with_its_first_turn(self) -> None:
        state = new_instance()
        turn(state, activity(1), moment=_NOW + 5)
        assert state.row.started == _NOW + 5
        assert state.row.status == pb.WORKFLOW_STATUS_RUNNING
        turn(state, moment=_NOW + 9)
        assert state.row.started == _NOW + 5


class TestTurn:
    def test_writes_what_was_new_and_then_what_was_asked(self) -> None:
        state = new_instance()
        conclusion = turn(state, activity(1, data='"x"'), timer(2), child(3))
        assert kinds(state.history) == [
            "workflowStarted",
            "executionStarted",
            "taskScheduled",
            "timerCreated",
            "childWorkflowInstanceCreated",
        ]
        assert [event.eventId for event in state.history] == [-1, -1, 1, 2, 3]
        assert conclusion.change.history == state.history
        assert conclusion.change.inbox_removed == [0]
        assert state.inbox == []

    def test_leaves_what_came_meanwhile_for_the_next_one(self) -> None:
        state = new_instance()
        taken = list(state.inbox)
        accept(state, raised("go"))
        turn(state, taken=taken)
        assert kinds([item.event for item in state.inbox]) == ["eventRaised"]
        conclusion = turn(state)
        assert conclusion.change.history_start == 2
        assert conclusion.change.inbox_removed == [1]

    def test_sends_out_activities_with_their_input_and_number(self) -> None:
        state = new_instance(generation=4)
        ((key, request),) = turn(state, activity(1, "charge", execution="e", data="5")).activities
        assert key == (4, 1)
        assert (request.name, request.input.value, request.taskId) == ("charge", "5", 1)
        assert (request.workflowInstance.instanceId, request.workflowInstance.executionId.value) == (
            INSTANCE,
            "execution-1",
        )
        assert state.tasks == {key: request}

    def test_counts_the_tries_of_a_call(self) -> None:
        state = new_instance()
        attempts = [
            turn(state, activity(call_id, execution=execution)).activities[0][1].attempt
            for call_id, execution in enumerate(["a", "b", "a", "a", "b", ""])
        ]
        assert attempts == [1, 1, 2, 3, 2, 1]

    def test_accepts_any_first_number(self) -> None:
        """SDKs for Go count from zero."""
        state = new_instance()
        turn(state, activity(0), activity(1000))
        assert set(state.tasks) == {(1, 0), (1, 1000)}

    def test_keeps_real_timers_and_forgets_those_that_never_fire(self) -> None:
        state = new_instance()
        never = pb.WorkflowAction(id=2, createTimer=pb.CreateTimerAction(fireAt=NEVER))
        conclusion = turn(state, timer(1, 60), never)
        assert state.timers == {1: _NOW + 60_000_000_000}
        assert conclusion.change.timers_added == [(1, _NOW + 60_000_000_000)]
        assert kinds(state.history).count("timerCreated") == 2

    def test_the_origin_of_a_timer_is_recorded(self) -> None:
        state = new_instance()
        waiting = timer(1)
        waiting.createTimer.externalEvent.name = "go"
        turn(state, waiting)
        assert state.history[-1].timerCreated.externalEvent.name == "go"

    @pytest.mark.parametrize("status", [None, "", "half way"])
    def test_the_custom_status_is_that_of_the_last_turn(self, status: str | None) -> None:
        state = new_instance()
        turn(state, status="before")
        turn(state, status=status)
        assert state.row.custom_status == status

    def test_starts_children_that_know_their_parent(self) -> None:
        state = new_instance()
        named, unnamed = turn(state, child(1, "mine"), child(2)).messages
        assert (named.target, unnamed.target) == ((_APP, "mine"), (_APP, f"{INSTANCE}:0002"))
        assert named.creates
        start = named.event.executionStarted
        assert start.name == "invoice"
        assert start.parentInstance.taskScheduledId == 1
        assert start.parentInstance.workflowInstance.instanceId == INSTANCE
        assert start.parentInstance.workflowInstance.executionId.value == "execution-1"
        assert state.children == {1: (_APP, "mine"), 2: (_APP, f"{INSTANCE}:0002")}

    def test_starts_detached_workflows_without_a_parent(self) -> None:
        state = new_instance()
        asked = pb.CreateDetachedWorkflowAction(instanceId="free", name="report", input=StringValue(value="1"))
        (message,) = turn(state, pb.WorkflowAction(id=1, createDetachedWorkflow=asked)).messages
        assert (message.target, message.creates) == ((_APP, "free"), True)
        assert not message.event.executionStarted.HasField("parentInstance")
        assert message.event.executionStarted.input.value == "1"
        assert state.children == {}

    def test_delivers_events_and_terminations_to_other_instances(self) -> None:
        state = new_instance()
        send = pb.SendEventAction(
            instance=pb.WorkflowInstance(instanceId="other"), name="go", data=StringValue(value="0")
        )
        stop = pb.TerminateWorkflowAction(instanceId="other", reason=StringValue(value='"why"'), recurse=True)
        first, second = turn(
            state, pb.WorkflowAction(id=1, sendEvent=send), pb.WorkflowAction(id=2, terminateWorkflow=stop)
        ).messages
        assert (first.target, first.event.eventRaised.name, first.event.eventRaised.input.value) == (
            (_APP, "other"),
            "go",
            "0",
        )
        assert second.event.executionTerminated.recurse
        assert second.event.executionTerminated.input.value == '"why"'
        assert "eventSent" in kinds(state.history)


def _foreign(action: pb.WorkflowAction, app: str = "warehouse") -> pb.WorkflowAction:
    action.router.targetAppID = app
    return action


class TestCallsToOtherApps:
    def test_go_there_and_history_says_so(self) -> None:
        state = new_instance()
        conclusion = turn(state, _foreign(activity(1)), _foreign(child(2, "theirs")))
        ((key, request),) = conclusion.activities
        assert (key, request.targetAppId) == ((1, 1), "warehouse")
        assert state.tasks == {key: request}
        (message,) = conclusion.messages
        assert message.target == ("warehouse", "theirs")
        parent = message.event.executionStarted.parentInstance
        assert (parent.appID, parent.workflowInstance.instanceId) == (_APP, INSTANCE)
        assert state.children == {2: ("warehouse", "theirs")}
        for event in (*state.history[-2:], message.event):
            assert (event.router.sourceAppID, event.router.targetAppID) == (_APP, "warehouse")
        assert state.inbox == []

    def test_of_older_workers_name_the_app_inside(self) -> None:
        state = new_instance()
        older = pb.TaskRouter(sourceAppID=_APP, targetAppID="warehouse")
        job, kid = activity(1), child(2, "theirs")
        job.scheduleTask.router.CopyFrom(older)
        kid.createChildWorkflow.router.CopyFrom(older)
        conclusion = turn(state, job, kid)
        assert conclusion.activities[0][1].targetAppId == "warehouse"
        assert conclusion.messages[0].target == ("warehouse", "theirs")

    def test_to_the_own_app_by_name_are_calls_like_any_other(self) -> None:
        state = new_instance()
        conclusion = turn(state, _foreign(activity(1), _APP), _foreign(child(2, "mine"), _APP))
        assert conclusion.activities[0][1].targetAppId == ""
        assert conclusion.messages[0].target == (_APP, "mine")
        assert not any(event.router.HasField("targetAppID") for event in state.history)

    def test_take_events_terminations_and_detached_workflows_there(self) -> None:
        state = new_instance()
        send = pb.SendEventAction(instance=pb.WorkflowInstance(instanceId="other"), name="go")
        messages = turn(
            state,
            _foreign(pb.WorkflowAction(id=1, sendEvent=send)),
            _foreign(pb.WorkflowAction(id=2, terminateWorkflow=pb.TerminateWorkflowAction(instanceId="other"))),
            _foreign(pb.WorkflowAction(id=3, createDetachedWorkflow=pb.CreateDetachedWorkflowAction(instanceId="x"))),
        ).messages
        assert [message.target for message in messages] == [
            ("warehouse", "other"),
            ("warehouse", "other"),
            ("warehouse", "x"),
        ]

    def test_of_a_terminated_instance_are_terminated_there(self) -> None:
        state = new_instance()
        turn(state, _foreign(child(1, "theirs")), child(2, "mine"))
        accept(state, terminated(recurse=True))
        assert [message.target for message in turn(state).messages] == [("warehouse", "theirs"), (_APP, "mine")]

    @pytest.mark.parametrize("ending", ["complete", "renew"])
    def test_of_an_instance_that_ends_at_once_leave_nothing_behind(self, ending: str) -> None:
        state = new_instance()
        conclusion = turn(state, _foreign(activity(1)), complete(2) if ending == "complete" else renew(2))
        # An end lets them run although nobody waits; a next generation forgets them.
        assert (len(conclusion.activities), len(state.tasks)) == ((1, 1) if ending == "complete" else (0, 0))
        change = conclusion.change
        kept = [number for number, _ in change.inbox_added]
        # Stores may take removals first: what is removed must not be added in the same change.
        assert not set(kept) & set(change.inbox_removed)
        assert kept == [item.number for item in state.inbox]

    def test_are_answered_there(self) -> None:
        state = new_instance(parent="parent")
        assert state.row.parent is not None
        state.row.parent.appID = "warehouse"
        (message,) = turn(state, complete(1)).messages
        assert message.target == ("warehouse", "parent")


class TestUnknownActions:
    @pytest.mark.parametrize(
        "action",
        [
            pb.WorkflowAction(id=2),
            pb.WorkflowAction(id=2, workflowVersionNotAvailable=pb.WorkflowVersionNotAvailableAction()),
        ],
        ids=["unset", "version not available"],
    )
    def test_fail_the_instance_and_nothing_else_of_the_answer_happens(self, action: pb.WorkflowAction) -> None:
        state = new_instance(parent="parent")
        conclusion = turn(state, activity(1), child(3), action)
        assert state.row.status == pb.WORKFLOW_STATUS_FAILED
        assert state.row.failure is not None
        assert "action 2" in state.row.failure.errorMessage
        assert conclusion.activities == []
        assert state.tasks == {}
        assert [message.target for message in conclusion.messages] == [(_APP, "parent")]


class TestResults:
    def _waiting(self) -> InstanceState:
        state = new_instance()
        turn(state, activity(1), timer(2), child(3))
        return state

    def test_are_wanted_once(self) -> None:
        state = self._waiting()
        assert wants(state, activity_done(1), (1, 1))
        accept_unstored(state, activity_done(1), task=(1, 1))
        assert not wants(state, activity_done(1), (1, 1))
        assert not wants(state, activity_failed(1), (1, 1))
        assert wants(state, timer_fired(2))
        accept_unstored(state, timer_fired(2), timer=2)
        assert not wants(state, timer_fired(2))

    def test_of_children_are_wanted_once(self) -> None:
        state = self._waiting()
        assert wants(state, child_done(3))
        assert not wants(state, child_done(3))
        assert not wants(state, child_failed(3))

    def test_are_not_wanted_after_the_turn_that_took_them(self) -> None:
        state = self._waiting()
        accept_unstored(state, activity_done(1), task=(1, 1))
        accept_unstored(state, timer_fired(2), timer=2)
        conclusion = turn(state)
        assert conclusion.change.tasks_removed == [(1, 1)]
        assert conclusion.change.timers_removed == [2]
        assert not wants(state, activity_done(1), (1, 1))
        assert not wants(state, timer_fired(2))

    @pytest.mark.parametrize("key", [None, (0, 1), (2, 1), (1, 9)])
    def test_of_another_generation_or_call_are_not_wanted(self, key: tuple[int, int] | None) -> None:
        assert not wants(self._waiting(), activity_done(1), key)

    def test_of_unknown_timers_and_children_are_not_wanted(self) -> None:
        state = self._waiting()
        assert not wants(state, timer_fired(9))
        assert not wants(state, child_done(9))

    def test_are_not_wanted_by_an_instance_that_ended(self) -> None:
        state = self._waiting()
        turn(state, complete(4))
        for event, key in ((activity_done(1), (1, 1)), (timer_fired(2), None), (child_done(3), None)):
            assert not wants(state, event, key)
        assert not wants(state, raised("go"))

    def test_events_are_always_wanted_as_two_of_them_are_two(self) -> None:
        state = self._waiting()
        assert wants(state, raised("go"))
        accept(state, raised("go"))
        assert wants(state, raised("go"))

    def test_may_be_stored_when_no_turn_takes_them(self) -> None:
        state = self._waiting()
        accept_unstored(state, activity_done(1), task=(1, 1))
        accept(state, raised("go"))
        accept_unstored(state, timer_fired(2), timer=2)
        change = store_unstored(state)
        assert change is not None
        # Each has the place that it came to.
        assert [number for number, _ in change.inbox_added] == [1, 3]
        assert (change.tasks_removed, change.timers_removed) == ([(1, 1)], [2])
        assert store_unstored(state) is None
        # What was stored later is taken in the order of arrival all the same.
        assert kinds([item.event for item in state.inbox]) == ["taskCompleted", "eventRaised", "timerFired"]

    def test_of_a_call_that_nobody_waits_for_any_more_only_free_its_row(self) -> None:
        state = self._waiting()
        change = drop_task(state, (1, 1))
        assert change is not None
        assert change.tasks_removed == [(1, 1)]
        assert drop_task(state, (1, 1)) is None


class TestSuspension:
    def test_shows_at_once_and_goes_with_resume(self) -> None:
        state = new_instance()
        turn(state, activity(1))
        accept(state, suspended())
        assert state.row.status == pb.WORKFLOW_STATUS_SUSPENDED
        accept(state, resumed())
        assert state.row.status == pb.WORKFLOW_STATUS_RUNNING

    def test_survives_turns(self) -> None:
        state = new_instance()
        turn(state, activity(1))
        accept(state, suspended())
        turn(state)
        assert state.row.status == pb.WORKFLOW_STATUS_SUSPENDED

    def test_ends_with_the_instance(self) -> None:
        state = new_instance()
        accept(state, suspended())
        accept(state, terminated())
        turn(state, complete(1, pb.WORKFLOW_STATUS_TERMINATED))
        assert state.row.status == pb.WORKFLOW_STATUS_TERMINATED
        assert not state.row.suspended

    def test_that_comes_with_continue_as_new_suspends_the_next_run(self) -> None:
        """The status says SUSPENDED, so the next run must not run."""
        state = new_instance()
        accept(state, suspended())
        turn(state, renew(1))
        told = "executionSuspended" in kinds([item.event for item in state.inbox])
        assert told == state.row.suspended


class TestEnd:
    def test_keeps_result_and_failure(self) -> None:
        state = new_instance()
        turn(state, complete(1, result='"done"'), moment=_NOW + 7)
        assert (state.row.output, state.row.failure, state.row.completed) == ('"done"', None, _NOW + 7)
        failing = new_instance()
        details = pb.TaskFailureDetails(errorType="E", errorMessage="m")
        turn(failing, complete(1, pb.WORKFLOW_STATUS_FAILED, failure=details))
        assert failing.row.status == pb.WORKFLOW_STATUS_FAILED
        assert failing.row.failure == details

    @pytest.mark.parametrize("result", [None, "", "null", "0"])
    def test_keeps_falsy_results(self, result: str | None) -> None:
        state = new_instance()
        turn(state, complete(1, result=result))
        assert state.row.output == result

    def test_still_runs_activities_and_children_that_nobody_waited_for(self) -> None:
        state = new_instance()
        conclusion = turn(state, activity(1), child(2), timer(3), complete(4))
        assert [key for key, _ in conclusion.activities] == [(1, 1)]
        assert [message.target for message in conclusion.messages] == [(_APP, f"{INSTANCE}:0002")]
        assert state.tasks.keys() == {(1, 1)}
        assert state.timers == {}
        assert conclusion.change.timers_added == []

    def test_stops_timers_and_empties_the_inbox(self) -> None:
        state = new_instance()
        turn(state, timer(1), timer(2), activity(3))
        accept_unstored(state, timer_fired(2), timer=2)
        accept(state, raised("late"))
        accept_unstored(state, activity_done(3), task=(1, 3))
        conclusion = turn(state, complete(4), taken=[])
        assert (state.timers, state.inbox, state.tasks) == ({}, [], {})
        assert set(conclusion.change.timers_removed) == {1, 2}
        # Only what is stored has a row to remove.
        assert conclusion.change.inbox_removed == [2]
        assert conclusion.change.tasks_removed == [(1, 3)]

    def test_what_comes_after_the_end_in_one_answer_is_dropped(self) -> None:
        state = new_instance(parent="parent")
        conclusion = turn(state, complete(1, result='"first"'), complete(2, result='"second"'), activity(3))
        assert state.row.output == '"first"'
        assert conclusion.activities == []
        assert len(conclusion.messages) == 1, "the parent is told once"

    @pytest.mark.parametrize(
        ("status", "kind"),
        [
            (pb.WORKFLOW_STATUS_COMPLETED, "childWorkflowInstanceCompleted"),
            (pb.WORKFLOW_STATUS_FAILED, "childWorkflowInstanceFailed"),
            (pb.WORKFLOW_STATUS_TERMINATED, "childWorkflowInstanceFailed"),
        ],
    )
    def test_tells_the_parent(self, status: pb.WorkflowStatus, kind: str) -> None:
        state = new_instance(parent="parent")
        details = pb.TaskFailureDetails(errorType="E") if status == pb.WORKFLOW_STATUS_FAILED else None
        (message,) = turn(state, complete(1, status, '"r"', failure=details)).messages
        assert (message.target, message.creates, message.for_execution) == ((_APP, "parent"), False, "parent-execution")
        assert message.event.WhichOneof("eventType") == kind
        told = getattr(message.event, kind)
        assert told.taskScheduledId == 7
        if status == pb.WORKFLOW_STATUS_COMPLETED:
            assert told.result.value == '"r"'
        else:
            assert told.HasField("failureDetails") is (details is not None)

    def test_without_a_parent_tells_nobody(self) -> None:
        assert turn(new_instance(), complete(1)).messages == []


class TestTermination:
    def test_that_recurses_goes_to_open_children_only(self) -> None:
        state = new_instance()
        turn(state, child(1, "open"), child(2, "done"))
        assert wants(state, child_done(2))
        accept(state, child_done(2))
        stop = terminated('"why"', recurse=True)
        accept(state, stop)
        conclusion = turn(state, complete(3, pb.WORKFLOW_STATUS_TERMINATED, '"why"'))
        assert [message.target for message in conclusion.messages] == [(_APP, "open")]
        assert conclusion.messages[0].event.executionTerminated.recurse

    def test_that_does_not_recurse_leaves_children_alone(self) -> None:
        state = new_instance()
        turn(state, child(1, "open"))
        accept(state, terminated())
        assert turn(state, complete(2, pb.WORKFLOW_STATUS_TERMINATED)).messages == []

    def test_that_came_too_late_leaves_children_alone(self) -> None:
        state = new_instance()
        turn(state, child(1, "open"))
        accept(state, terminated(recurse=True))
        assert turn(state, complete(2)).messages == []
        assert state.row.status == pb.WORKFLOW_STATUS_COMPLETED

    @pytest.mark.parametrize("answer", ["nothing", "more work", "another run", "the last number"])
    def test_is_forced_upon_a_worker_that_ignores_it(self, answer: str) -> None:
        answers = {
            "more work": [activity(5), child(6)],
            "another run": [renew(5)],
            "the last number": [activity(2**31 - 1)],
        }
        actions = answers.get(answer, [])
        state = new_instance()
        turn(state, child(1, "open"))
        accept(state, terminated('"why"', recurse=True))
        conclusion = turn(state, *actions)
        assert state.row.status == pb.WORKFLOW_STATUS_TERMINATED
        assert state.row.output == '"why"'
        assert conclusion.activities == []
        assert [message.target for message in conclusion.messages] == [(_APP, "open")]
        assert state.row.generation == 1

    def test_without_output_ends_without_output(self) -> None:
        state = new_instance()
        accept(state, terminated())
        turn(state)
        assert state.row.output is None

    def test_of_a_child_tells_its_parent(self) -> None:
        state = new_instance(parent="parent")
        accept(state, terminated())
        assert [message.target for message in turn(state).messages] == [(_APP, "parent")]


class TestContinueAsNew:
    def test_starts_a_generation_with_an_empty_history(self) -> None:
        state = new_instance('"first"')
        turn(state, activity(1), timer(2), child(3), activity(4, execution="x"))
        conclusion = turn(state, renew(5, '"second"'))
        row = state.row
        assert (row.generation, row.execution_id, row.input) == (2, "next-execution", '"second"')
        assert row.status == pb.WORKFLOW_STATUS_RUNNING
        assert (state.history, state.timers, state.children, state.attempts) == ([], {}, {}, {})
        assert conclusion.change.renewed
        (start,) = (item.event.executionStarted for item in state.inbox)
        assert (start.name, start.input.value) == ("order", '"second"')
        assert start.workflowInstance.executionId.value == "next-execution"

    def test_keeps_the_parent(self) -> None:
        state = new_instance(parent="parent")
        assert turn(state, renew(1)).messages == []
        assert [message.target for message in turn(state, complete(1)).messages] == [(_APP, "parent")]

    def test_forgets_what_was_asked_in_the_same_answer(self) -> None:
        state = new_instance()
        conclusion = turn(state, activity(1), timer(2), child(3), renew(4))
        assert (conclusion.activities, conclusion.messages) == ([], [])
        assert (conclusion.change.tasks_added, conclusion.change.timers_added) == ([], [])
        assert (state.tasks, state.timers) == ({}, {})

    def test_takes_over_events_in_order_before_those_that_came_meanwhile(self) -> None:
        state = new_instance()
        taken = list(state.inbox)
        accept(state, raised("go", "3"))
        accept(state, terminated())
        turn(state, renew(1, None, raised("go", "1"), raised("go", "2")), taken=taken)
        assert [item.number for item in state.inbox] == [0, 1, 2, 3, 4]
        assert kinds([item.event for item in state.inbox])[-1] == "executionTerminated"
        assert [item.event.eventRaised.input.value for item in state.inbox[1:4]] == ["1", "2", "3"]

    def test_drops_results_meant_for_the_old_generation(self) -> None:
        state = new_instance()
        turn(state, activity(1), timer(2), child(3))
        accept_unstored(state, activity_done(1), task=(1, 1))
        accept_unstored(state, timer_fired(2), timer=2)
        assert wants(state, child_done(3))
        accept(state, child_done(3))
        accept(state, raised("go"))
        conclusion = turn(state, renew(4), taken=[])
        assert kinds([item.event for item in state.inbox]) == ["executionStarted", "eventRaised"]
        assert conclusion.change.tasks_removed == [(1, 1)]
        assert state.tasks == {}

    def test_late_results_of_the_old_generation_do_not_settle_new_calls(self) -> None:
        state = new_instance()
        turn(state, activity(1))
        turn(state, renew(2))
        turn(state, activity(1))
        assert set(state.tasks) == {(1, 1), (2, 1)}
        assert not wants(state, activity_done(1), (1, 1))
        assert wants(state, activity_done(1), (2, 1))
        assert not wants(state, child_done(3))

    def test_keeps_the_custom_status_of_its_turn(self) -> None:
        state = new_instance()
        turn(state, renew(1), status="round one")
        assert state.row.custom_status == "round one"

    def test_with_no_input_has_none(self) -> None:
        state = new_instance('"first"')
        turn(state, renew(1))
        assert state.row.input is None


def test_a_child_whose_id_is_taken_fails_in_its_parent() -> None:
    event = refused_child(3, "busy", _NOW)
    failure = event.childWorkflowInstanceFailed
    assert failure.taskScheduledId == 3
    assert failure.failureDetails.errorType == "WorkflowInstanceAlreadyExists"
    assert "an active workflow with ID 'busy' already exists" in failure.failureDetails.errorMessage
    state = new_instance()
    turn(state, child(3, "busy"))
    assert wants(state, event)
