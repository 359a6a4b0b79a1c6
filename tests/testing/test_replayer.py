"""Replaying recorded histories: whole and up to every turn, from every kind of file, and with every kind of change."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Generator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.json_format import MessageToDict

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime, WorkflowStatus
from dapr_workflow_sdk.authoring.context import DaprWorkflowContext as Context
from dapr_workflow_sdk.authoring.tasks import when_all
from dapr_workflow_sdk.errors import NonDeterminismError, WorkflowNotRegisteredError
from dapr_workflow_sdk.replay.steps import is_optional, recorded_step
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing import (
    HistoryFileError,
    MismatchCause,
    ReplayAction,
    Replayer,
    WorkflowHistory,
    load_histories,
    load_history,
)
from dapr_workflow_sdk.testing.history_files import history_of
from dapr_workflow_sdk.testing.recorded_turns import recorded_turns
from tests.builders import Play, activity_done, activity_scheduled, raised, started, turn_marker
from tests.replay.test_recorded_histories import _WORKFLOWS

Run = Generator[Any, Any, Any]
FOLDER = Path(__file__).parents[1] / "histories"
FILES = sorted(FOLDER.glob("*/*.history.json"))
HISTORIES = [pytest.param(load_history(path), id=path.name.removesuffix(".history.json")) for path in FILES]


def with_events(history: WorkflowHistory, events: list[pb.HistoryEvent]) -> WorkflowHistory:
    return WorkflowHistory(history.instance_id, history.name, history.output, "the test", tuple(events))


def copies(history: WorkflowHistory) -> list[pb.HistoryEvent]:
    events = [pb.HistoryEvent() for _ in history._wire]
    for event, original in zip(events, history._wire, strict=True):
        event.CopyFrom(original)
    return events


# ---- recordings of a real sidecar ------------------------------------------------------------------------------


@pytest.mark.parametrize("history", HISTORIES)
def test_a_recording_replays_to_its_output(history: WorkflowHistory) -> None:
    result = Replayer(_WORKFLOWS, check_inputs=True).replay(history)
    assert result.ok, str(result)
    result.raise_if_mismatched()
    last = history._wire[-1].executionCompleted
    if last.workflowStatus == pb.WORKFLOW_STATUS_COMPLETED:
        assert (result.status, result.serialized_output) == (WorkflowStatus.COMPLETED, history.output)
        assert result.output == json.loads(history.output or "null")
    else:
        assert result.status.name == pb.WorkflowStatus.Name(last.workflowStatus).removeprefix("WORKFLOW_STATUS_")


@pytest.mark.parametrize("history", HISTORIES)
def test_every_prefix_of_a_recording_is_a_history_that_replays(history: WorkflowHistory) -> None:
    replayer = Replayer(_WORKFLOWS, check_inputs=True)
    turns = recorded_turns(history._wire)
    for turn in turns[1:]:
        result = replayer.replay(with_events(history, list(turn.past)))
        assert result.ok, str(result)
        assert result.status is WorkflowStatus.RUNNING
        # What the worker had asked for is in the history already, but for what histories need not have.
        assert {action.kind for action in result.actions} <= {"wait for an event"}


def test_a_folder_is_replayed_whole() -> None:
    report = Replayer(_WORKFLOWS).replay_all(FOLDER)
    assert report.ok
    assert len(report.results) == len(FILES) == 13
    assert str(report) == "All 13 histories replay."
    report.raise_if_mismatched()


# ---- changed histories: each place where something may be wrong ------------------------------------------------


def _recorded(history: WorkflowHistory) -> list[int]:
    """Places of the calls of a history."""
    return [n for n, event in enumerate(history._wire) if recorded_step(event) is not None and not is_optional(event)]


def _rename(event: pb.HistoryEvent) -> None:
    if event.HasField("taskScheduled"):
        event.taskScheduled.name += "_changed"
    else:
        event.childWorkflowInstanceCreated.name += "_changed"


def _become_a_child(event: pb.HistoryEvent) -> None:
    event.childWorkflowInstanceCreated.CopyFrom(pb.ChildWorkflowInstanceCreatedEvent(name="other", instanceId="x"))


def _become_an_activity(event: pb.HistoryEvent) -> None:
    event.taskScheduled.CopyFrom(pb.TaskScheduledEvent(name="other"))


@pytest.mark.parametrize("history", HISTORIES)
def test_a_call_that_is_recorded_otherwise_is_found_where_it_stands(history: WorkflowHistory) -> None:
    replayer = Replayer(_WORKFLOWS)
    for place in _recorded(history):
        original = history._wire[place]
        changes: list[Callable[[pb.HistoryEvent], None]] = [_become_a_child]
        if not original.HasField("timerCreated"):
            changes.append(_rename)
        if not original.HasField("taskScheduled"):
            changes.append(_become_an_activity)
        for change in changes:
            events = copies(history)
            change(events[place])
            mismatch = replayer.replay(with_events(history, events)).mismatch
            assert mismatch is not None, f"{change.__name__} at event {place + 1}"
            assert mismatch.event == place + 1, f"{change.__name__}: {mismatch}"
            assert mismatch.call == original.eventId


@pytest.mark.parametrize("history", HISTORIES)
def test_a_call_that_is_not_recorded_is_found_where_it_should_stand(history: WorkflowHistory) -> None:
    replayer = Replayer(_WORKFLOWS)
    for place in _recorded(history):
        events = copies(history)
        del events[place]
        mismatch = replayer.replay(with_events(history, events)).mismatch
        assert mismatch is not None, f"without event {place + 1}"
        assert mismatch.event == place + 1, str(mismatch)


@pytest.mark.parametrize("history", HISTORIES)
def test_two_calls_in_another_order_are_found(history: WorkflowHistory) -> None:
    replayer = Replayer(_WORKFLOWS)
    places = _recorded(history)
    for first, second in zip(places, places[1:]):
        one, other = (recorded_step(history._wire[n]) for n in (first, second))
        assert one is not None
        assert other is not None
        if one.is_like(other):
            continue
        events = copies(history)
        for field in ("taskScheduled", "childWorkflowInstanceCreated", "timerCreated"):
            for target, source in ((first, second), (second, first)):
                if history._wire[source].HasField(field):
                    getattr(events[target], field).CopyFrom(getattr(history._wire[source], field))
        mismatch = replayer.replay(with_events(history, events)).mismatch
        assert mismatch is not None
        assert mismatch.event == first + 1


@pytest.mark.parametrize("history", HISTORIES)
def test_a_call_that_nobody_made_is_found(history: WorkflowHistory) -> None:
    replayer = Replayer(_WORKFLOWS)
    numbers = [event.eventId for event in history._wire if event.eventId > 0 and recorded_step(event) is not None]
    for place in _recorded(history):
        events = copies(history)
        extra = activity_scheduled(max(numbers) + 1, "nobody")
        extra.timestamp.CopyFrom(events[place].timestamp)
        events.insert(place + 1, extra)
        mismatch = replayer.replay(with_events(history, events)).mismatch
        assert mismatch is not None
        assert mismatch.event == place + 2, str(mismatch)


@pytest.mark.parametrize(
    "status", [pb.WORKFLOW_STATUS_COMPLETED, pb.WORKFLOW_STATUS_FAILED], ids=["completed", "failed"]
)
@pytest.mark.parametrize("history", HISTORIES)
def test_another_end_is_found(history: WorkflowHistory, status: pb.WorkflowStatus) -> None:
    events = copies(history)
    was = events[-1].executionCompleted.workflowStatus
    events[-1].executionCompleted.workflowStatus = status
    mismatch = Replayer(_WORKFLOWS).replay(with_events(history, events)).mismatch
    if was in (status, pb.WORKFLOW_STATUS_TERMINATED):
        assert mismatch is None
    else:
        assert mismatch is not None
        assert mismatch.event == len(events)


@pytest.mark.parametrize("history", HISTORIES)
def test_code_that_ends_before_its_history_is_found(history: WorkflowHistory) -> None:
    events = [*history._wire[:-1], turn_marker(9)]
    mismatch = Replayer(_WORKFLOWS).replay(with_events(history, events)).mismatch
    if history.instance_id == "terminated-1":
        assert mismatch is None
    else:
        assert mismatch is not None
        assert mismatch.event == len(events)


# ---- changed code: every single change of a sequence of steps --------------------------------------------------

_NAMES = ["reserve", "charge", "pack", "ship"]


def steps(names: list[str]) -> Callable[[Context, Any], Run]:
    """A workflow that takes these steps one after the other; those that begin with ``child`` are children."""

    def flow(ctx: Context, order: Any) -> Run:
        for name in names:
            yield ctx.call_child_workflow(name) if name.startswith("child") else ctx.call_activity(name)

    return flow


def _changes() -> list[Any]:
    """All single changes of the steps, with the number of the first step that differs."""
    changes: list[Any] = []
    for n, name in enumerate(_NAMES):
        changes += [
            pytest.param([*_NAMES[:n], "other", *_NAMES[n + 1 :]], n, id=f"{name} renamed"),
            pytest.param([*_NAMES[:n], f"child {name}", *_NAMES[n + 1 :]], n, id=f"{name} became a child"),
            pytest.param([*_NAMES[:n], "other", *_NAMES[n:]], n, id=f"a step before {name}"),
            pytest.param([*_NAMES[:n], *_NAMES[n + 1 :]], n, id=f"{name} removed"),
            pytest.param(_NAMES[:n], n, id=f"the end before {name}"),
        ]
        changes += [
            pytest.param(
                [*_NAMES[:n], *reversed(_NAMES[n:m]), *_NAMES[m:]], n, id=f"{name} to {_NAMES[m - 1]} turned round"
            )
            for m in range(n + 2, len(_NAMES) + 1)
        ]
    return [*changes, pytest.param([*_NAMES, "other"], len(_NAMES), id="a step at the end")]


@pytest.mark.parametrize(("changed", "first"), _changes())
def test_every_single_change_of_code_is_found_where_it_shows(changed: list[str], first: int) -> None:
    play = Play(steps(_NAMES))
    play.turn()
    for number in range(1, len(_NAMES) + 1):
        play.turn(activity_done(number))
    mismatch = Replayer([steps(changed)]).replay(play.history).mismatch
    assert mismatch is not None
    # Marker, start and first call; then marker, result and call for each step.
    assert (mismatch.event, mismatch.call) == (3 * (first + 1), first + 1), str(mismatch)


# ---- what comes out --------------------------------------------------------------------------------------------


def test_an_unfinished_history_tells_what_is_asked_for_next() -> None:
    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("reserve", input=7)
        yield when_all(
            [
                ctx.call_activity("charge", input={"amount": 3}),
                ctx.call_child_workflow("ship"),
                ctx.create_timer(timedelta(1)),
                ctx.wait_for_external_event("paid"),
            ]
        )

    events = [turn_marker(), started("flow"), activity_scheduled(1, "reserve"), turn_marker(1), activity_done(1)]
    result = Replayer([flow], prefixes=False).replay(events)
    # The last turn has no answer in this history, which is what the code is asked about.
    assert result.mismatch is not None
    result = Replayer([flow]).replay(events[:3])
    assert (result.ok, result.status, result.turns, result.actions) == (True, WorkflowStatus.RUNNING, 1, ())
    assert str(result) == "Workflow 'flow', instance 'order-7', replays: 1 turns, 3 events, RUNNING."


def test_the_actions_of_the_end() -> None:
    result = Replayer(_WORKFLOWS).replay(FOLDER / "daprd-1.18.1" / "chain-5.history.json")
    assert result.actions == (ReplayAction("end", 6, "COMPLETED", "5"),)


def test_calls_that_nobody_waits_for_are_told_at_the_end() -> None:
    def flow(ctx: Context, order: Any) -> Run:
        ctx.call_activity("notify", input="bye")
        return "done"
        yield

    play = Play(flow)
    play.turn()
    result = Replayer([flow]).replay(play.history)
    assert result.ok, str(result)
    assert result.actions == (ReplayAction("end", 2, "COMPLETED", '"done"'),)


def test_another_input_is_only_told_if_asked_for() -> None:
    def old(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("charge", input={"amount": 3, "to": "a"})
        return 1

    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("charge", input={"to": "a", "amount": 4})
        return 2

    play = Play(old)
    play.turn()
    play.turn(activity_done(1))
    play.history[-1].executionCompleted.result.value = "1"
    assert Replayer([flow]).replay(play.history).ok
    result = Replayer([flow], check_inputs=True).replay(play.history)
    assert not result.ok
    drift, other = result.drifts
    assert (drift.event, drift.call, drift.recorded) == (3, 1, '{"amount": 3, "to": "a"}')
    assert drift.current == '{"to": "a", "amount": 4}'
    assert (drift.file, drift.line) == (__file__, flow.__code__.co_firstlineno + 1)
    assert (other.event, other.what, other.recorded, other.current) == (6, "the result", "1", "2")
    with pytest.raises(NonDeterminismError, match="replays with other payloads"):
        result.raise_if_mismatched()


def test_payloads_that_mean_the_same_are_the_same() -> None:
    def old(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("charge", input={"amount": 3, "to": "a"})

    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.call_activity("charge", input={"to": "a", "amount": 3})

    play = Play(old)
    play.turn()
    assert Replayer([flow], check_inputs=True).replay(play.history).ok


def test_without_prefixes_only_the_whole_history_and_its_last_turn_are_replayed() -> None:
    seen: list[bool] = []

    def flow(ctx: Context, order: Any) -> Run:
        seen.append(True)
        for _ in range(5):
            yield ctx.call_activity("work")

    play = Play(flow)
    play.turn()
    for number in range(1, 6):
        play.turn(activity_done(number))
    seen.clear()
    assert Replayer([flow], prefixes=False).replay(play.history).ok
    assert len(seen) == 2
    seen.clear()
    assert Replayer([flow]).replay(play.history).ok
    assert len(seen) == 7


def test_code_that_remembers_other_runs_is_found_at_the_turn_where_it_shows() -> None:
    runs: list[int] = []

    def flow(ctx: Context, order: Any) -> Run:
        runs.append(1)
        yield ctx.call_activity("first")
        yield ctx.call_activity("second" if len(runs) < 3 else "third")

    play = Play(flow)
    play.turn()
    play.turn(activity_done(1))
    runs.clear()
    mismatch = Replayer([flow]).replay(play.history).mismatch
    assert mismatch is not None
    assert mismatch.event == 6


def test_an_unknown_workflow_is_told_by_name() -> None:
    with pytest.raises(
        WorkflowNotRegisteredError, match="'chain', which is not among those .*: fan, greet_all"
    ) as told:
        Replayer([_named("fan"), _named("greet_all")]).replay(FILES[1])
    assert "'chain-40'" in str(told.value)


def _named(name: str) -> Callable[..., Any]:
    def flow(ctx: Context) -> None: ...

    flow.__name__ = flow.__qualname__ = name
    return flow


# ---- patches and versions --------------------------------------------------------------------------------------


def _runtime(engine: EmbeddedEngine, flow: Callable[..., Any]) -> WorkflowRuntime:
    runtime = WorkflowRuntime(engine=engine)
    runtime.register_workflow(flow, name="order")
    for name in ("check", "charge"):
        runtime.register_activity(lambda ctx, _=None: None, name=name)
    return runtime


def plain(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("charge")


def patched(ctx: Context, order: Any) -> Run:
    if ctx.is_patched("check-first"):
        yield ctx.call_activity("check")
    yield ctx.call_activity("charge")


def patch_forgotten(ctx: Context, order: Any) -> Run:
    yield ctx.call_activity("check")
    yield ctx.call_activity("charge")


def _history(flow: Callable[..., Any]) -> Any:
    with EmbeddedEngine() as engine, _runtime(engine, flow), WorkflowClient(engine=engine) as client:
        client.schedule_new_workflow("order", instance_id="one")
        client.wait_for_workflow_completion("one", timeout_in_seconds=20)
        return client.get_workflow_history("one")


def _replay(flow: Callable[..., Any], history: Any) -> Any:
    replayed = _named("order")
    replayed.__code__ = flow.__code__
    return Replayer([replayed]).replay(history)


def test_histories_of_a_client_replay_on_the_code_that_made_them_and_on_patched_code() -> None:
    before, after = _history(plain), _history(patched)
    for flow, history in ((plain, before), (patched, before), (patched, after)):
        result = _replay(flow, history)
        assert result.ok, str(result)


@pytest.mark.parametrize("flow", [plain, patch_forgotten])
def test_a_patch_that_is_gone_from_the_code_is_named(flow: Callable[..., Any]) -> None:
    mismatch = _replay(flow, _history(patched)).mismatch
    assert mismatch is not None
    assert mismatch.cause is MismatchCause.PATCH
    assert "ctx.is_patched('check-first')" in mismatch.fix


def test_versions_are_those_of_a_runtime() -> None:
    with EmbeddedEngine() as engine, WorkflowClient(engine=engine) as client:
        runtime = _runtime(engine, _named("other"))
        runtime.register_versioned_workflow(plain, name="priced", version_name="v1", is_latest=True)
        with runtime:
            client.schedule_new_workflow("priced", instance_id="one")
            client.wait_for_workflow_completion("one", timeout_in_seconds=20)
            history = client.get_workflow_history("one")
    later = WorkflowRuntime(engine=EmbeddedEngine())
    later.register_versioned_workflow(patch_forgotten, name="priced", version_name="v2", is_latest=True)
    mismatch = Replayer(later).replay(history).mismatch
    assert mismatch is not None
    assert mismatch.cause is MismatchCause.VERSION
    assert "version 'v1', which is not registered; these are: v2" in mismatch.reason
    later.register_versioned_workflow(plain, name="priced", version_name="v1", is_latest=False)
    result = Replayer(later).replay(history)
    assert result.ok, str(result)


# ---- files -----------------------------------------------------------------------------------------------------


def test_a_file_in_any_form_is_the_same_history(tmp_path: Path) -> None:
    path = FILES[2]
    document = json.loads(path.read_text())
    events = [pb.HistoryEvent.FromString(base64.b64decode(event)) for event in document["events_wire"]]
    forms: dict[str, str | bytes] = {
        "recording.history.json": path.read_text(),
        "export.history.json": json.dumps(
            {
                "format": "dapr-workflow-history",
                "version": 1,
                "instance_id": document["instance_id"],
                "name": document["workflow"],
                "output": document["output"],
                "events": [MessageToDict(event) for event in events],
            }
        ),
        "text.json": json.dumps({"instance_id": document["instance_id"], "events": document["events"]}),
        "events.json": json.dumps(document["events"]),
        "bytes.json": json.dumps(document["events_wire"]),
        "wire.history.binpb": pb.GetInstanceHistoryResponse(events=events).SerializeToString(),
    }
    for name, content in forms.items():
        file = tmp_path / name
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        history = load_history(file)
        assert (history.instance_id, history.name, len(history)) == ("chain-5", "chain", 18), name
        assert history._wire == tuple(events), name
        assert history.origin == str(file)
        assert Replayer(_WORKFLOWS).replay(file).ok
    assert [history.origin for history in load_histories(tmp_path)] == [
        str(tmp_path / name) for name in ("export.history.json", "recording.history.json", "wire.history.binpb")
    ]


def test_lines_of_an_export_are_several_histories(tmp_path: Path) -> None:
    lines = tmp_path / "all.history.jsonl"
    lines.write_text("\n".join(json.dumps(json.loads(path.read_text())) for path in FILES[:3]))
    assert [history.instance_id for history in load_histories(lines)] == ["approval-1", "chain-40", "chain-5"]
    with pytest.raises(HistoryFileError, match="has 3 histories where one is expected"):
        load_history(lines)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "is empty"),
        (b"{", "is not JSON"),
        (b"3", "neither JSON nor a history on the wire"),
        (b'{"turns": 1, "entries": []}', "`dapr-workflow history --json`"),
        (b'{"format": "other", "events": []}', "has format 'other'"),
        (b'{"format": "dapr-workflow-history", "version": 2, "events": []}', "version 2; this package reads"),
        (b'{"events": 3}', "has no list of events"),
        (b'{"events": []}', "has 0 events, and none of them starts a workflow"),
        (b'{"events": [3]}', "Event 1 of .* is neither an object nor bytes in base64"),
        (b'{"events": [{"eventId": "x"}]}', "Event 1 of .* cannot be read"),
        (b'{"events_wire": ["!"]}', "Event 1 of .* cannot be read"),
        (b'["\xff"]', "neither text nor a history on the wire"),
        (b"[1", "is not JSON"),
        (pb.GetInstanceHistoryResponse(events=[turn_marker()]).SerializeToString(), "has 1 events, and none"),
    ],
)
def test_what_is_no_history_says_what_it_is(content: bytes, words: str, tmp_path: Path) -> None:
    path = tmp_path / "strange.history.json"
    path.write_bytes(content)
    with pytest.raises(HistoryFileError, match=words) as told:
        load_history(path)
    assert str(path) in str(told.value)
    assert isinstance(told.value, ValueError)


def test_what_is_given_must_be_a_history(tmp_path: Path) -> None:
    with pytest.raises(HistoryFileError, match="A int is no history"):
        history_of(3)
    with pytest.raises(HistoryFileError, match="A str is no event of a history"):
        history_of(["event"])
    with pytest.raises(HistoryFileError, match="No file below .* is named"):
        Replayer(_WORKFLOWS).replay_all(tmp_path)
    with pytest.raises(FileNotFoundError):
        load_history(tmp_path / "gone.json")


def test_unknown_events_and_fields_are_no_harm() -> None:
    events = [MessageToDict(event) for event in (turn_marker(), started("flow"), raised("go"))]
    events.append({"eventId": -1, "somethingNew": {}})

    def flow(ctx: Context, order: Any) -> Run:
        yield ctx.wait_for_external_event("stop")

    result = Replayer([flow]).replay({"events": events})
    assert result.ok, str(result)
    assert len(result.history.events) == 4
