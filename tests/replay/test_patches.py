"""Patches and versions: what a turn answers, and what it takes from the history."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk import NotSupportedError, RegistrationError, WorkflowContext
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.patches import Patches
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.builders import INSTANCE, activity_done, activity_scheduled, started, turn_marker

NAMES = st.lists(st.sampled_from("abcdef"), max_size=8)


def marker(*patches: str, name: str | None = None) -> pb.HistoryEvent:
    event = turn_marker()
    event.workflowStarted.version.CopyFrom(pb.WorkflowVersion(patches=patches, name=name))
    return event


def turn(registry: Registry, past: list[pb.HistoryEvent], new: list[pb.HistoryEvent], **options: Any) -> TurnOutput:
    return run_turn(INSTANCE, past, new, registry, JsonConverter(), ParkedInstances(0), **options)


def registry_of(flow: Callable[..., Any]) -> Registry:
    registry = Registry(module_level=False)
    registry.add("workflow", flow, "flow")
    return registry


def asks(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    before = ctx.is_patched("before")
    yield ctx.call_activity("one")
    return [before, ctx.is_patched("before"), ctx.is_patched("after")]


# ---- the decision ------------------------------------------------------------------------------------------


@given(NAMES, NAMES)
def test_a_first_run_has_every_patch_and_names_each_once_in_the_order_of_meeting(
    first: list[str], more: list[str]
) -> None:
    patches = Patches()
    assert all(patches.has(name, replaying=False) for name in first + more)
    assert patches.told() == list(dict.fromkeys(first + more))


@given(NAMES, NAMES)
def test_a_replay_has_what_the_history_records_and_nothing_else(recorded: list[str], asked: list[str]) -> None:
    recorded = list(dict.fromkeys(recorded))
    patches = Patches()
    patches.record(recorded)
    for name in asked:
        assert patches.has(name, replaying=True) == (name in recorded)
    # The first answer stands, also when the code asks again later.
    for name in asked:
        assert patches.has(name, replaying=False) == (name in recorded)


@given(NAMES, NAMES)
def test_a_replay_of_the_same_code_tells_what_the_first_run_told(first: list[str], more: list[str]) -> None:
    original = Patches()
    for name in first:
        original.has(name, replaying=False)
    recorded = original.told()
    replay = Patches()
    replay.record(recorded)
    for name in first:
        assert replay.has(name, replaying=True)
    for name in more:
        replay.has(name, replaying=False)
        original.has(name, replaying=False)
    assert replay.told() == original.told()
    assert replay.told()[: len(recorded)] == recorded


@given(NAMES, NAMES)
def test_what_another_sdk_recorded_twice_stays_the_beginning(recorded: list[str], more: list[str]) -> None:
    patches = Patches()
    patches.record(recorded)
    for name in recorded:
        assert patches.has(name, replaying=True)
    for name in more:
        patches.has(name, replaying=False)
    told = patches.told()
    assert told[: len(recorded)] == recorded
    assert list(dict.fromkeys(told)) == list(dict.fromkeys(recorded + more))


def test_a_patch_that_is_not_asked_for_any_more_is_not_told() -> None:
    patches = Patches()
    patches.record(["a", "b", "b"])
    patches.has("b", replaying=True)
    assert patches.told() == ["b"], "the task hub sees that this does not begin with what it has recorded"


# ---- turns -------------------------------------------------------------------------------------------------


def test_a_new_instance_has_its_patches_and_says_so_in_each_turn() -> None:
    registry = registry_of(asks)
    first = turn(registry, [], [turn_marker(), started()])
    assert first.patches == ["before"]
    past = [marker("before"), started(), activity_scheduled(1, "one")]
    last = turn(registry, past, [turn_marker(), activity_done(1)])
    assert last.outcome is not None
    assert last.outcome.result == "[true, true, true]"
    assert last.patches == ["before", "after"]


def test_an_instance_that_has_passed_the_place_goes_on_without_the_patch() -> None:
    past = [turn_marker(), started(), activity_scheduled(1, "one")]
    last = turn(registry_of(asks), past, [turn_marker(), activity_done(1)])
    assert last.outcome is not None
    assert last.outcome.result == "[false, false, true]", "what comes after the last wait is new"
    assert last.patches == ["after"]


def test_a_run_that_is_parked_and_one_that_is_not_say_the_same() -> None:
    registry, parked = registry_of(asks), ParkedInstances(10)
    events = [turn_marker(), started()]
    first = run_turn(INSTANCE, [], events, registry, JsonConverter(), parked)
    assert first.patches == ["before"]
    past = [marker("before"), events[1], activity_scheduled(1, "one")]
    new = [turn_marker(), activity_done(1)]
    resumed = run_turn(INSTANCE, past, new, registry, JsonConverter(), parked)
    assert resumed.replayed == 1, "it was parked"
    fresh = turn(registry, past, new)
    assert resumed == TurnOutput(**{**_fields(fresh), "replayed": 1})


def _fields(output: TurnOutput) -> dict[str, Any]:
    return {name: getattr(output, name) for name in TurnOutput.__slots__}


def test_a_task_hub_that_keeps_no_patches_is_told_apart() -> None:
    failed = turn(registry_of(asks), [], [turn_marker(), started()], versions=False)
    assert failed.outcome is not None
    assert failed.outcome.failure is not None
    assert failed.outcome.failure.error_type == NotSupportedError.__name__
    assert "ctx.is_patched('before') needs a Dapr sidecar of version 1.17 or newer" in failed.outcome.failure.message


# ---- versions ----------------------------------------------------------------------------------------------


def one(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    return ["one", (yield ctx.call_activity("work"))]


def two(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    return ["two", (yield ctx.call_activity("work"))]


def versions_of(*registered: tuple[Callable[..., Any], bool]) -> Registry:
    registry = Registry(module_level=False)
    for function, is_latest in registered:
        registry.add_version(function, "flow", None, is_latest=is_latest)
    return registry


def test_a_new_instance_begins_with_the_latest_version() -> None:
    for registered, expected in ((((one, True), (two, True)), "two"), (((two, True), (one, False)), "two")):
        first = turn(versions_of(*registered), [], [turn_marker(), started()])
        assert first.version_name == expected
        assert [action.id for action in first.actions] == [1]


def test_an_instance_stays_with_its_version() -> None:
    past = [marker(name="one"), started(), activity_scheduled(1, "work")]
    last = turn(versions_of((one, False), (two, True)), past, [turn_marker(), activity_done(1, "7")])
    assert last.outcome is not None
    assert (last.version_name, last.outcome.result) == ("one", '["one", 7]')


def test_a_version_that_is_gone_is_asked_for() -> None:
    past = [marker(name="one"), started(), activity_scheduled(1, "work")]
    missing = turn(versions_of((two, True)), past, [turn_marker(), activity_done(1, "7")])
    (action,) = missing.actions
    assert action.WhichOneof("workflowActionType") == "workflowVersionNotAvailable"
    assert missing.outcome is None
    (notice,) = missing.notices
    assert notice.startswith("Version 'one' of the workflow, with which the instance has begun, is not registered")


def test_versions_none_of_which_is_the_latest_begin_nothing() -> None:
    failed = turn(versions_of((one, False), (two, False)), [], [turn_marker(), started()])
    assert failed.outcome is not None
    assert failed.outcome.failure is not None
    assert (
        "None of the versions of workflow 'flow' (one, two) is registered with is_latest=True"
        in failed.outcome.failure.message
    )


def test_a_workflow_without_versions_wins_over_versions_of_the_same_name() -> None:
    registry = versions_of((two, True))
    registry.add("workflow", one, "flow")
    first = turn(registry, [], [turn_marker(), started()])
    assert first.version_name is None


def test_a_version_has_one_function_and_a_name() -> None:
    registry = versions_of((one, True), (one, True))
    with pytest.raises(RegistrationError, match="Two functions are registered as version 'one' of workflow 'flow'"):
        registry.add_version(two, "flow", "one", is_latest=True)
    with pytest.raises(RegistrationError, match="give it one with version_name="):
        registry.add_version(two, "flow", "", is_latest=True)
    assert registry.versions_of("flow") == ["one"]
    assert registry.names("workflow") == ["flow"]


def test_a_parked_run_whose_version_was_replaced_starts_over() -> None:
    registry, parked = versions_of((one, True)), ParkedInstances(10)
    events = [turn_marker(), started()]
    run_turn(INSTANCE, [], events, registry, JsonConverter(), parked)
    past = [marker(name="one"), events[1], activity_scheduled(1, "work")]
    new = [turn_marker(), activity_done(1, "7")]
    assert run_turn(INSTANCE, past, new, registry, JsonConverter(), parked).replayed == 1
    run_turn(INSTANCE, [], events, registry, JsonConverter(), parked)
    other = versions_of((two, True))
    assert run_turn(INSTANCE, past, new, other, JsonConverter(), parked).replayed == 3
