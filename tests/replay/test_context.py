"""What a workflow is told: time, ids, replay, logger; and that its context serves nobody else."""

from __future__ import annotations

import json
import logging
import threading
import uuid
from collections.abc import Generator
from datetime import datetime, timedelta, timezone, tzinfo
from typing import Any, cast

import dapr.ext.workflow._durabletask.internal.protos as official_pb
import pytest
from dapr.ext.workflow._durabletask import worker

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.errors import AuthoringError
from dapr_workflow_sdk.replay.parked import ParkedInstances
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    at,
    failure_of,
    play,
    raised,
    result_of,
    started,
    timer_fired,
    turn_marker,
)


class TestTime:
    def test_is_that_of_the_turn_naive_and_utc(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            seen = [ctx.current_utc_datetime]
            yield ctx.call_activity("a")
            seen.append(ctx.current_utc_datetime)
            assert all(moment.tzinfo is None for moment in seen)
            return [moment.isoformat() for moment in seen]

        instance = Play(flow)
        instance.turn(moment=0.123456789)
        result = result_of(instance.turn(activity_done(1), moment=60))
        assert result == '["2026-01-01T00:00:00.123456", "2026-01-01T00:01:00"]'

    def test_stands_still_within_a_turn(self) -> None:
        def flow(ctx: Context) -> bool:
            return ctx.current_utc_datetime is ctx.current_utc_datetime

        assert result_of(play(flow)) == "true"

    @pytest.mark.parametrize("seconds", [0, 0.5, 0.000001, 1.999999999, 86_400.25])
    def test_and_ids_are_those_of_the_official_sdk(self, seconds: float) -> None:
        def flow(ctx: Any, given: Any = None) -> Any:
            return [ctx.current_utc_datetime.isoformat(), str(ctx.new_guid()), str(ctx.new_guid())]

        official: Any = worker
        theirs = official._Registry()
        theirs.add_named_orchestrator("flow", flow)
        events = [
            official_pb.HistoryEvent.FromString(event.SerializeToString())
            for event in (turn_marker(seconds), started("flow"))
        ]
        executor = official._OrchestrationExecutor(theirs, logging.getLogger("tests.official"))
        (end,) = executor.execute(INSTANCE, [], events).actions
        assert result_of(Play(flow).turn(moment=seconds)) == end.completeWorkflow.result.value


class TestTimers:
    @pytest.mark.parametrize(
        ("when", "seconds"),
        [
            (timedelta(seconds=90), 100),
            (timedelta(microseconds=1), 10.000001),
            (timedelta(0), 10),
            (timedelta(seconds=-5), 5),
            (datetime(2026, 1, 1, 0, 2), 120),
            (datetime(2026, 1, 1, 0, 2, tzinfo=timezone.utc), 120),
            (datetime(2026, 1, 1, 2, 2, tzinfo=timezone(timedelta(hours=2))), 120),
        ],
    )
    def test_fire_at_a_moment_or_after_a_duration(self, when: Any, seconds: float) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.wait_for_external_event("go", timeout=when if when != timedelta(0) else timedelta(1))
            yield ctx.create_timer(when)

        wait, timer = Play(flow).turn(moment=10).actions
        if isinstance(when, datetime) or when > timedelta(0):
            assert wait.createTimer.fireAt == at(seconds)
        assert timer.createTimer.fireAt == at(seconds)

    def test_a_zone_that_does_not_know_its_offset_counts_as_utc(self) -> None:
        class Nowhere(tzinfo):
            def utcoffset(self, moment: datetime | None) -> None:
                return None

            def dst(self, moment: datetime | None) -> None:
                return None

            def tzname(self, moment: datetime | None) -> str:
                return "nowhere"

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(datetime(2026, 1, 1, 0, 2, tzinfo=Nowhere()))

        assert play(flow).actions[0].createTimer.fireAt == at(120)

    def test_after_a_replayed_turn_count_from_its_time(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("a")
            yield ctx.create_timer(timedelta(seconds=5))
            yield ctx.call_activity("b")

        instance = Play(flow)
        instance.turn(moment=0)
        timer = instance.turn(activity_done(1), moment=10).actions[0]
        assert timer.createTimer.fireAt == at(15)


class TestGuids:
    def test_differ_between_calls_turns_and_instances(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ids = [ctx.new_guid(), ctx.new_guid()]
            yield ctx.call_activity("a")
            return [str(guid) for guid in (*ids, ctx.new_guid())]

        results = []
        for name in ("one", "two"):
            instance = Play(flow, instance_id=name)
            instance.turn()
            results.append(result_of(instance.turn(activity_done(1))))
        ids = [uuid.UUID(guid) for result in results for guid in json.loads(str(result))]
        assert len(set(ids)) == 6
        assert {guid.version for guid in ids} == {5}

    def test_count_activities_but_not_their_retries_children_or_timers(self) -> None:
        def with_calls(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.call_child_workflow("c")
            ctx.create_timer(timedelta(1))
            ctx.wait_for_external_event("go")
            ctx.call_activity("a")
            guid = ctx.new_guid()
            yield ctx.create_timer(timedelta(1))
            return str(guid)

        def without(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.new_guid()
            guid = ctx.new_guid()
            yield ctx.create_timer(timedelta(1))
            return str(guid)

        assert result_of(play(with_calls, timer_fired(5))) == result_of(play(without, timer_fired(1)))

    def test_of_an_activity_are_its_execution_id(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("a")

        def guid(ctx: Context) -> str:
            return str(ctx.new_guid())

        task_execution_id = play(flow).actions[0].scheduleTask.taskExecutionId
        assert result_of(play(guid)) == f'"{task_execution_id}"'


class TestReplaying:
    def test_is_true_for_the_past_and_false_for_what_is_new(self) -> None:
        seen: list[bool] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            for _ in range(3):
                seen.append(ctx.is_replaying)
                yield ctx.call_activity("a")
            seen.append(ctx.is_replaying)

        instance = Play(flow)
        expected = [[False], [True, False], [True, True, False], [True, True, True, False]]
        for turn, replays in enumerate(expected):
            seen.clear()
            instance.turn(*([activity_done(turn)] if turn else []))
            assert seen == replays

    def test_is_false_throughout_in_a_parked_run(self) -> None:
        seen: list[bool] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            for _ in range(3):
                seen.append(ctx.is_replaying)
                yield ctx.call_activity("a")

        instance = Play(flow, parked=ParkedInstances(1))
        for turn in range(3):
            instance.turn(*([activity_done(turn)] if turn else []))
        assert seen == [False, False, False]


class TestLogger:
    def test_is_silent_on_replay_and_names_workflow_and_instance(self, caplog: pytest.LogCaptureFixture) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.logger.info("charging %d", 5)
            yield ctx.call_activity("a")
            ctx.logger.info("shipping")
            yield ctx.call_activity("b")

        with caplog.at_level(logging.INFO, "dapr_workflow_sdk.workflow"):
            instance = Play(flow)
            instance.turn()
            instance.turn(activity_done(1))
            instance.turn(activity_done(2))
        assert [record.getMessage() for record in caplog.records] == [
            f"flow {INSTANCE}: charging 5",
            f"flow {INSTANCE}: shipping",
        ]
        for record in caplog.records:
            assert cast("Any", record).instance_id == INSTANCE
            assert cast("Any", record).workflow == "flow"
            assert record.funcName == "flow"

    def test_answers_whether_it_would_write(self, caplog: pytest.LogCaptureFixture) -> None:
        enabled: list[bool] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            enabled.append(ctx.logger.isEnabledFor(logging.INFO))
            enabled.append(ctx.logger.isEnabledFor(logging.DEBUG))
            yield ctx.call_activity("a")

        with caplog.at_level(logging.INFO, "dapr_workflow_sdk.workflow"):
            instance = Play(flow)
            instance.turn()
            instance.turn(raised("nothing"))
        assert enabled == [True, False, False, False]

    def test_keeps_the_extra_fields_of_the_caller(self, caplog: pytest.LogCaptureFixture) -> None:
        def flow(ctx: Context) -> None:
            ctx.logger.warning("low stock", extra={"item": "apple"})

        play(flow)
        assert cast("Any", caplog.records[0]).item == "apple"

    def test_writes_names_with_percent_signs(self, caplog: pytest.LogCaptureFixture) -> None:
        def flow(ctx: Context) -> None:
            ctx.logger.warning("discount of %d%%", 50)

        Play(flow, instance_id="sale-50%-off").turn()
        assert caplog.records[0].getMessage() == "flow sale-50%-off: discount of 50%"

    def test_writes_messages_with_percent_signs(self, caplog: pytest.LogCaptureFixture) -> None:
        def flow(ctx: Context) -> None:
            ctx.logger.warning("50% off")

        play(flow)
        assert caplog.records[0].getMessage() == f"flow {INSTANCE}: 50% off"

    def test_is_silent_while_a_dropped_run_unwinds(self, caplog: pytest.LogCaptureFixture) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity("a")
            finally:
                ctx.logger.error("cleaned up")

        play(flow)
        assert caplog.records == []


class TestOutsideOfTheWorkflow:
    def _leak(self) -> Context:
        leaked: list[Context] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            leaked.append(ctx)
            yield ctx.call_activity("a")

        self.instance = Play(flow, parked=ParkedInstances(1))
        self.instance.turn()
        return leaked[0]

    @pytest.mark.parametrize(
        "use",
        [
            lambda ctx: ctx.call_activity("a"),
            lambda ctx: ctx.call_child_workflow("a"),
            lambda ctx: ctx.create_timer(timedelta(1)),
            lambda ctx: ctx.wait_for_external_event("go"),
            lambda ctx: ctx.continue_as_new(1),
            lambda ctx: ctx.new_guid(),
            lambda ctx: ctx.set_custom_status("x"),
        ],
        ids=["activity", "child", "timer", "event", "continue", "guid", "status"],
    )
    def test_every_call_is_refused_with_workflow_and_instance(self, use: Any) -> None:
        ctx = self._leak()
        with pytest.raises(AuthoringError, match=f"workflow 'flow', instance '{INSTANCE}', was used outside"):
            use(ctx)
        assert self.instance.turn(activity_done(1)).outcome is not None

    def test_by_a_thread_is_refused(self) -> None:
        ctx = self._leak()
        errors: list[BaseException] = []

        def work() -> None:
            try:
                ctx.call_activity("a")
            except AuthoringError as error:
                errors.append(error)

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        assert len(errors) == 1

    def test_of_one_workflow_by_another_is_refused(self) -> None:
        ctx = self._leak()

        def thief(own: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("a")

        assert failure_of(play(thief)).error_type == "AuthoringError"

    def test_reading_harms_nobody(self) -> None:
        ctx = self._leak()
        assert ctx.instance_id == INSTANCE
        assert ctx.current_utc_datetime == datetime(2026, 1, 1)


def test_unknown_attributes_are_attribute_errors() -> None:
    def flow(ctx: Any) -> list[bool]:
        return [hasattr(ctx, name) for name in ("no_such_thing", "_calls_", "get_input")]

    assert result_of(play(flow)) == "[false, false, false]"


def test_nothing_can_be_kept_on_the_context() -> None:
    def flow(ctx: Any) -> None:
        ctx.total = 5

    assert failure_of(play(flow)).error_type == "AttributeError"


def test_a_call_travels_under_the_name_its_own_registry_knows() -> None:
    def charge(ctx: Any) -> None:
        raise NotImplementedError

    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity(charge)

    registry = Registry(module_level=False)
    registry.add("activity", charge, "charge-v2")
    assert Play(flow, registry=registry).turn().actions[0].scheduleTask.name == "charge-v2"
