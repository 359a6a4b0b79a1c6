"""Mistakes of workflow authors: each ends the instance with an explanation, none leaves it hanging."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable, Generator, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import when_all, when_any
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import (
    INSTANCE,
    Play,
    activity_done,
    activity_failed,
    activity_scheduled,
    child_done,
    failure_of,
    play,
    raised,
    replay,
    result_of,
    started,
    summary,
    timer_fired,
    turn_marker,
)

_HERE = "test_mistakes.py:"


def _line_of(function: Callable[..., Any], offset: int) -> str:
    return f"{_HERE}{function.__code__.co_firstlineno + offset}"


class TestResultWithoutText:
    """3.1.1: the official SDK hangs."""

    @pytest.mark.parametrize("result", [{1, 2}, object(), 1j], ids=["set", "object", "complex"])
    def test_fails_the_instance_and_names_type_workflow_and_line(self, result: Any) -> None:
        def flow(ctx: Context) -> Any:
            return result

        failure = failure_of(play(flow))
        assert failure.error_type == "PayloadError"
        for words in ("'flow'", INSTANCE, _line_of(flow, 0), type(result).__name__):
            assert words in failure.message

    def test_fails_a_generator_too(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge")
            return {1, 2}

        assert failure_of(play(flow, activity_done(1))).error_type == "PayloadError"

    def test_fails_the_instance_whatever_its_encoding_raises(self) -> None:
        class Broken:
            def model_dump(self) -> Any:
                raise RuntimeError("the database is gone")

            @classmethod
            def model_validate(cls, value: Any) -> Any:
                raise NotImplementedError

        failure = failure_of(play(lambda ctx: Broken()))
        assert "the database is gone" in failure.message

    def test_fails_for_a_number_too_long_to_print(self) -> None:
        assert "digits" in failure_of(play(lambda ctx: 10**5000)).message


class TestAsyncWorkflow:
    """3.1.2: the official SDK takes the coroutine for a result and hangs."""

    def test_runs(self) -> None:
        async def flow(ctx: Context) -> Any:
            return await ctx.call_activity("charge") + 1

        assert result_of(play(flow, activity_done(1, "41"))) == "42"

    @pytest.mark.filterwarnings("ignore:coroutine .* was never awaited")
    def test_that_awaits_asyncio_is_told_what_to_await(self) -> None:
        async def flow(ctx: Context) -> None:
            await asyncio.sleep(0)

        failure = failure_of(play(flow))
        assert failure.error_type == "AuthoringError"
        assert "ctx.create_timer() replaces asyncio.sleep()" in failure.message
        assert _line_of(flow, 1) in failure.message


class TestYieldingWhatIsNoTask:
    """3.1.3: the official SDK hangs or raises an AttributeError of its own."""

    @pytest.mark.parametrize("value", [None, 1, "text", [], {}, object], ids=repr)
    @pytest.mark.parametrize("first", [True, False], ids=["first", "later"])
    def test_fails_with_value_type_and_line(self, value: Any, first: bool) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            if not first:
                yield ctx.call_activity("charge")
            yield value

        failure = failure_of(play(flow) if first else play(flow, activity_done(1)))
        assert failure.error_type == "AuthoringError"
        for words in ("'flow'", INSTANCE, repr(value), type(value).__name__, _line_of(flow, 3), "Yield tasks only"):
            assert words in failure.message

    def test_none_hints_at_a_forgotten_return(self) -> None:
        def helper(ctx: Context) -> Any:
            ctx.call_activity("charge")

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield helper(ctx)

        output = play(flow)
        assert "may lack its return statement" in failure_of(output).message
        # The call itself was made, as any call that nobody waits for.
        assert summary(output.actions) == [(1, "activity charge"), (2, "FAILED")]

    def test_a_list_of_tasks_fails(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield [ctx.call_activity("charge"), ctx.call_activity("ship")]

        assert "of type list" in failure_of(play(flow)).message

    def test_the_line_is_that_of_the_innermost_generator(self) -> None:
        def helper() -> Iterator[Any]:
            yield 5

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield from helper()

        assert _line_of(helper, 1) in failure_of(play(flow)).message

    def test_a_value_that_cannot_even_be_shown_fails(self) -> None:
        class Shy:
            def __repr__(self) -> str:
                raise RuntimeError("do not look")

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield Shy()

        assert failure_of(play(flow))

    def test_a_huge_value_is_shortened(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield "x" * 100_000

        assert len(failure_of(play(flow)).message) < 1000


class TestCodeShortenedAfterDeploy:
    """3.1.4: the official SDK hangs."""

    def test_fails_with_what_history_has_and_what_the_code_does(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge")

        past = [activity_scheduled(1, "charge"), activity_done(1), activity_scheduled(2, "ship")]
        failure = failure_of(replay(flow, past, activity_done(2)))
        assert failure.error_type == "NonDeterminismError"
        for words in ("'flow'", INSTANCE, "call 2 of its history is a call of activity 'ship'", "ends before it"):
            assert words in failure.message

    def test_fails_too_when_the_code_now_raises(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge")
            raise ValueError("new check")

        past = [activity_scheduled(1, "charge"), activity_done(1), activity_scheduled(2, "ship")]
        failure = failure_of(replay(flow, past, activity_done(2)))
        assert failure.error_type == "NonDeterminismError"
        assert "fails with ValueError: new check" in failure.message

    def test_fails_when_the_code_no_longer_waits_at_all(self) -> None:
        failure = failure_of(replay(lambda ctx: "done", [activity_scheduled(1, "charge")], activity_done(1)))
        assert failure.error_type == "NonDeterminismError"

    def test_fails_without_asking_for_anything(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_child_workflow("invoice")

        output = replay(flow, [activity_scheduled(1, "charge")], activity_done(1))
        assert [kind for _, kind in summary(output.actions)] == ["FAILED"]


_FALSY = [("0", 0), ("false", False), ('""', ""), ("[]", []), ("{}", {}), ("0.0", 0.0), ("null", None), (None, None)]


@pytest.mark.parametrize(("data", "value"), _FALSY)
class TestFalsyPayloads:
    """3.1.5: the official SDK loses them in places."""

    def _returned(self, flow: Callable[..., Any], *events: pb.HistoryEvent, data: str | None = None) -> Any:
        result = result_of(play(flow, *events, data=data))
        return None if result is None else JsonConverter().decode(result)

    def test_as_input(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context, given: Any) -> Any:
            return [given]

        assert self._returned(flow, data=data) == [value]

    def test_as_result_of_an_activity(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return [(yield ctx.call_activity("charge"))]

        assert self._returned(flow, activity_done(1, data)) == [value]

    def test_as_result_of_a_child(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return [(yield ctx.call_child_workflow("invoice"))]

        assert self._returned(flow, child_done(1, data)) == [value]

    def test_as_an_event_waited_for(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            return [(yield ctx.wait_for_external_event("Approved"))]

        assert self._returned(flow, raised("Approved", data)) == [value]

    def test_as_an_event_that_came_before_the_wait(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            return [(yield ctx.wait_for_external_event("Approved"))]

        assert self._returned(flow, raised("Approved", data), timer_fired(1)) == [value]

    def test_as_result_of_the_workflow(self, data: str | None, value: Any) -> None:
        result = result_of(play(lambda ctx: value))
        assert result == (None if value is None else JsonConverter().encode(value))

    def test_as_input_of_an_activity(self, data: str | None, value: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge", input=value)

        asked = play(flow).actions[0].scheduleTask
        assert asked.HasField("input") is (value is not None)
        assert asked.input.value == ("" if value is None else JsonConverter().encode(value))


class TestFinally:
    """3.1.6: in the official SDK it runs at the end of every turn."""

    def _flow(self, cleaned: list[str]) -> Callable[..., Any]:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                for _ in range(3):
                    yield ctx.call_activity("charge")
            finally:
                cleaned.append("cleaned")

        return flow

    def test_runs_once_when_a_parked_run_ends(self) -> None:
        cleaned: list[str] = []
        instance = Play(self._flow(cleaned), parked=ParkedInstances(1))
        instance.turn()
        for call_id in (1, 2):
            instance.turn(activity_done(call_id))
        assert cleaned == []
        instance.turn(activity_done(3))
        assert cleaned == ["cleaned"]

    def test_runs_when_the_run_is_dropped_and_asks_for_nothing(self) -> None:
        asked: list[str] = []

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity("charge")
            finally:
                asked.append("before")
                ctx.call_activity("undo")
                asked.append("after")

        parked = ParkedInstances(1)
        instance = Play(flow, parked=parked)
        first = instance.turn()
        assert asked == []
        parked.clear()
        assert asked == ["before"], "the context ends code that unwinds at its first call"
        assert summary(first.actions) == [(1, "activity charge")]

    def test_that_yields_while_it_is_dropped_harms_nobody(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            task = ctx.call_activity("charge")
            try:
                yield task
            finally:
                yield task

        assert summary(play(flow).actions) == [(1, "activity charge")]

    def test_that_raises_while_it_is_dropped_harms_nobody(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity("charge")
            finally:
                raise RuntimeError("cleanup failed")

        assert summary(play(flow).actions) == [(1, "activity charge")]

    def test_of_an_async_workflow_runs_when_it_is_dropped(self) -> None:
        cleaned: list[str] = []

        async def flow(ctx: Context) -> None:
            try:
                await ctx.call_activity("charge")
            finally:
                cleaned.append("cleaned")

        play(flow)
        assert cleaned == ["cleaned"]


class TestUnknownHistory:
    """3.1.9: the official SDK fails the instance."""

    def _flow(self, ctx: Context) -> Generator[Any, Any, Any]:
        return (yield ctx.call_activity("charge"))

    @pytest.mark.parametrize(
        "event",
        [
            pb.HistoryEvent(eventId=5, eventSent=pb.EventSentEvent(instanceId="other", name="x")),
            pb.HistoryEvent(eventId=-1, workflowCompleted=pb.WorkflowCompletedEvent()),
            pb.HistoryEvent(eventId=-1, executionStalled=pb.ExecutionStalledEvent()),
            pb.HistoryEvent(
                eventId=5, detachedWorkflowInstanceCreated=pb.DetachedWorkflowInstanceCreatedEvent(instanceId="x")
            ),
            pb.HistoryEvent(eventId=-1, continueAsNew=pb.ContinueAsNewEvent()),
        ],
        ids=lambda event: event.WhichOneof("eventType"),
    )
    def test_events_that_say_nothing_to_the_code_are_passed_over(self, event: pb.HistoryEvent) -> None:
        past = [activity_scheduled(1, "charge"), event]
        output = replay(self._flow, past, event, activity_done(1, "7"))
        assert result_of(output) == "7"
        assert output.notices == []

    def test_events_of_the_future_are_noted_and_passed_over(self) -> None:
        # Field 99 of a later protocol: this version sees an event without content.
        future = pb.HistoryEvent.FromString(pb.HistoryEvent(eventId=9).SerializeToString() + b"\x9a\x06\x00")
        output = replay(self._flow, [activity_scheduled(1, "charge")], future, activity_done(1, "7"))
        assert result_of(output) == "7"
        (notice,) = output.notices
        assert "does not know" in notice


class TestUnregisteredName:
    def test_fails_and_lists_what_is_registered(self) -> None:
        registry = Registry(module_level=False)
        registry.add("workflow", lambda ctx: None, "invoice")
        new = [turn_marker(), started("order")]
        output = run_turn(INSTANCE, [], new, registry, JsonConverter(), ParkedInstances(0))
        failure = failure_of(output)
        assert failure.error_type == "WorkflowNotRegisteredError"
        for words in ("'order'", INSTANCE, "Registered: invoice", "@workflow"):
            assert words in failure.message

    def test_later_events_do_not_hide_it(self) -> None:
        registry = Registry(module_level=False)
        past = [turn_marker(), started("order"), activity_scheduled(1, "charge")]
        new = [turn_marker(1), activity_done(1)]
        output = run_turn(INSTANCE, past, new, registry, JsonConverter(), ParkedInstances(0))
        assert failure_of(output).error_type == "WorkflowNotRegisteredError"
        assert summary(output.actions)[-1][1] == "FAILED"

    def test_a_name_that_several_modules_define_fails_with_both_places(self, monkeypatch: pytest.MonkeyPatch) -> None:
        from dapr_workflow_sdk.authoring import definitions

        monkeypatch.setattr(definitions, "MODULE_LEVEL", definitions._ModuleLevel())
        _define_order_in("billing")
        _define_order_in("shipping")
        new = [turn_marker(), started("order")]
        output = run_turn(INSTANCE, [], new, Registry(), JsonConverter(), ParkedInstances(0))
        failure = failure_of(output)
        assert failure.error_type == "RegistrationError"
        assert failure.message.count(_HERE) == 2

    def test_a_name_that_becomes_ambiguous_while_an_instance_is_parked_fails_it(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from dapr_workflow_sdk.authoring import definitions

        monkeypatch.setattr(definitions, "MODULE_LEVEL", definitions._ModuleLevel())
        _define_order_in("billing")
        parked, registry = ParkedInstances(1), Registry()
        past = [turn_marker(), started("order")]
        run_turn(INSTANCE, [], past, registry, JsonConverter(), parked)
        assert len(parked) == 1
        _define_order_in("shipping")
        past.append(activity_scheduled(1, "charge"))
        new = [turn_marker(1), activity_done(1)]
        output = run_turn(INSTANCE, past, new, registry, JsonConverter(), parked)
        assert failure_of(output).error_type == "RegistrationError"


def _define_order_in(module: str) -> None:
    from dapr_workflow_sdk.authoring.definitions import workflow

    def order(ctx: Context) -> Generator[Any, Any, Any]:
        yield ctx.call_activity("charge")

    order.__module__, order.__qualname__ = module, "order"
    workflow(order)


class TestErrorsThatAreHardToDescribe:
    """The explanation itself must not be what leaves an instance hanging."""

    def test_an_error_that_cannot_be_shown_fails_the_instance(self) -> None:
        class Mute(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no words")

        def flow(ctx: Context) -> None:
            raise Mute

        assert failure_of(play(flow)).error_type == "Mute"

    def test_an_error_with_the_name_of_an_odd_file_fails_the_instance(self) -> None:
        """File names that are no UTF-8 come with lone surrogates, which no payload can hold."""

        def flow(ctx: Context) -> None:
            raise FileNotFoundError("caf\udce9.txt")

        output = play(flow)
        assert "caf" in failure_of(output).message
        output.actions[0].SerializeToString()

    def test_an_error_with_a_lone_surrogate_in_an_argument_of_a_later_call_fails_the_instance(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge\ud800")

        assert failure_of(play(flow))

    def test_a_custom_status_with_a_lone_surrogate_can_be_sent_or_fails(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            ctx.set_custom_status("half\ud800way")
            yield ctx.call_activity("charge")

        output = play(flow)
        if output.outcome is None:
            assert output.custom_status is not None
            pb.WorkflowResponse(customStatus={"value": output.custom_status}).SerializeToString()

    @pytest.mark.parametrize(
        "error", [SystemExit(2), GeneratorExit(), asyncio.CancelledError(), StopIteration(1), KeyboardInterrupt()]
    )
    def test_whatever_is_raised_fails_the_instance_and_not_the_worker(self, error: BaseException) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge")
            raise error

        def plain(ctx: Context) -> None:
            raise error

        assert failure_of(play(flow, activity_done(1)))
        assert failure_of(play(plain))

    def test_endless_recursion_fails_the_instance(self) -> None:
        def flow(ctx: Context) -> None:
            flow(ctx)

        assert failure_of(play(flow)).error_type == "RecursionError"

    def test_the_failure_of_an_activity_stays_the_cause(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge")

        failure = failure_of(play(flow, activity_failed(1, "card declined", "CardError")))
        assert failure.error_type == "TaskFailedError"
        assert failure.message == f"{INSTANCE}: Activity task #1 failed: card declined"
        assert failure.cause is not None
        assert (failure.cause.error_type, failure.cause.message) == ("CardError", "card declined")
        assert failure.stack_trace is not None
        assert _HERE.rstrip(":") in failure.stack_trace


@dataclass
class Order:
    number: int

    def __post_init__(self) -> None:
        if self.number < 0:
            raise ArithmeticError("no negative orders")


class TestPayloadsThatDoNotFit:
    @pytest.mark.parametrize("data", ["{", '{"numer": 1}', '"text"', '{"number": "x"}'])
    def test_a_wrong_input_fails_with_workflow_line_and_reason(self, data: str) -> None:
        def flow(ctx: Context, order: Order) -> None:
            raise AssertionError("the code runs only with an input that fits")

        failure = failure_of(play(flow, data=data))
        assert failure.error_type == "PayloadError"
        for words in ("'flow'", INSTANCE, _line_of(flow, 0), "cannot read its input"):
            assert words in failure.message

    def test_an_input_that_its_class_refuses_fails_with_the_reason(self) -> None:
        def flow(ctx: Context, order: Order) -> None:
            raise AssertionError("the code runs only with an input that fits")

        assert "no negative orders" in failure_of(play(flow, data='{"number": -1}')).message

    def test_a_wrong_result_is_raised_where_it_is_waited_for(self) -> None:
        def charge(ctx: Any) -> Order:
            raise NotImplementedError

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity(charge)
            except ValueError as error:
                return str(error)

        assert "Order" in str(result_of(play(flow, activity_done(1, '{"numer": 1}'))))

    def test_a_result_that_its_class_refuses_is_raised_where_it_is_waited_for(self) -> None:
        def charge(ctx: Any) -> Order:
            raise NotImplementedError

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            try:
                yield ctx.call_activity(charge)
            except ValueError as error:
                return str(error)

        assert "no negative orders" in str(result_of(play(flow, activity_done(1, '{"number": -1}'))))

    def test_an_event_that_is_no_json_is_raised_where_it_is_waited_for(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("Approved")

        failure = failure_of(play(flow, raised("Approved", "{not json")))
        assert failure.error_type == "PayloadError"
        assert "{not json" in failure.message

    def test_an_event_that_is_no_json_and_came_early_is_raised_where_it_is_waited_for(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta(1))
            yield ctx.wait_for_external_event("Approved")

        assert failure_of(play(flow, raised("Approved", "{"), timer_fired(1))).error_type == "PayloadError"

    def test_an_input_without_text_is_raised_at_the_call_and_names_it(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge", input={1, 2})

        failure = failure_of(play(flow))
        assert failure.error_type == "PayloadError"
        for words in ("'flow'", INSTANCE, "activity 'charge'", "set"):
            assert words in failure.message

    def test_the_next_input_without_text_is_raised_at_continue_as_new(self) -> None:
        def flow(ctx: Context) -> None:
            ctx.continue_as_new({1})

        assert "continue_as_new" in failure_of(play(flow)).message

    def test_a_workflow_without_input_ignores_one(self) -> None:
        assert result_of(play(lambda ctx: "done", data='{"a": 1}')) == '"done"'

    def test_a_missing_input_takes_the_default(self) -> None:
        def flow(ctx: Context, order: int = 5) -> int:
            return order

        assert result_of(play(flow)) == "5"
        assert result_of(play(flow, data="")) == "5"
        assert result_of(play(flow, data="6")) == "6"
        assert failure_of(play(flow, data="null")).error_type == "PayloadError"


class TestWrongArguments:
    @pytest.mark.parametrize("wrong", [5, "tomorrow", None])
    def test_a_timer_takes_a_moment_or_a_duration(self, wrong: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(wrong)

        failure = failure_of(play(flow))
        assert failure.error_type == "TypeError"
        assert f"takes a timedelta or a datetime, not {type(wrong).__name__}" in failure.message

    @pytest.mark.parametrize("wrong", [5, 0, "tomorrow"])
    def test_a_timeout_takes_a_moment_or_a_duration(self, wrong: Any) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.wait_for_external_event("Approved", timeout=wrong)

        assert "takes a timedelta or a datetime" in failure_of(play(flow)).message

    def test_a_timer_beyond_the_calendar_fails_at_its_line(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.create_timer(timedelta.max)

        assert failure_of(play(flow)).error_type == "OverflowError"

    def test_a_retry_beyond_the_calendar_fails_or_is_not_made(self) -> None:
        policy = RetryPolicy(first_retry_interval=timedelta(days=4_000_000), max_number_of_attempts=3)

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity("charge", retry_policy=policy)

        assert failure_of(play(flow, activity_failed(1)))

    def test_a_function_without_a_name_cannot_be_called(self) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity(lambda ctx: None)

        assert "no name of its own" in failure_of(play(flow)).message

    @pytest.mark.parametrize("combine", [when_all, when_any])
    def test_combinations_of_what_is_no_task_fail(self, combine: Callable[..., Any]) -> None:
        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield combine([ctx.create_timer(timedelta(1)), None])

        assert "item 1 is None" in failure_of(play(flow)).message

    def test_a_registered_object_without_a_name_can_be_called(self) -> None:
        class Charge:
            __slots__ = ()

            def __call__(self, ctx: Any) -> int:
                raise NotImplementedError

        charge = Charge()

        def flow(ctx: Context) -> Generator[Any, Any, Any]:
            yield ctx.call_activity(charge)

        registry = Registry(module_level=False)
        registry.add("activity", charge, "charge")
        assert summary(Play(flow, registry=registry).turn().actions) == [(1, "activity charge")]


class Stage(enum.Enum):
    PAID = "paid"


def test_every_value_with_a_text_may_be_a_status() -> None:
    def flow(ctx: Context) -> Generator[Any, Any, Any]:
        ctx.set_custom_status({"stage": Stage.PAID})
        yield ctx.call_activity("charge")

    assert play(flow).custom_status == '{"stage": "paid"}'
