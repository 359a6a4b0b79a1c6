"""The checks of the file find what they are there to find: each is shown a file that an engine must never leave."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.chaos.invariants import check_finished, check_grown, check_instance, check_promises
from tests.chaos.journal import Known
from tests.stored import StoredInstance, read_file
from tests.worker.support import Hand, activity_call, complete, on_loop

Stored = dict[str, StoredInstance]


@pytest.fixture
def stored(tmp_path: Path) -> Stored:
    """A file with an instance that has ended and one that waits for an activity and has mail."""

    @on_loop
    async def make() -> None:
        hub = EngineHub(SqliteStore(tmp_path / "made.db"), name="made.db")
        await hub.open()
        async with Hand(hub) as hand:
            for name in ("ended", "waiting"):
                given = text_of(f'{{"run": "{name}#1", "seen": []}}')
                await hub.start(pb.CreateInstanceRequest(instanceId=name, name="work", input=given))
                await hand.play(*([complete(1, '["1.1"]')] if name == "ended" else [activity_call(1)]))
        await hub.raise_event(pb.RaiseEventRequest(instanceId="waiting", name="mail", input=text_of('{"key": "1.1"}')))
        await hub.aclose()

    make()
    return read_file(tmp_path / "made.db")


@pytest.fixture
def known(stored: Stored) -> dict[str, Known]:
    """What clients were promised of it."""
    row = stored["ended"].row
    final = {"execution": row["execution_id"], "status": "COMPLETED", "output": row["output"]}
    return {
        "ended": Known("ended#1", certain=True, events=["1.1"], final=final),
        "waiting": Known("waiting#1", certain=True, events=["1.1"]),
    }


def test_a_sound_file_passes(stored: Stored, known: dict[str, Known]) -> None:
    """There is nothing to find in a file as it should be."""
    for name, instance in stored.items():
        check_instance(name, instance, stored)
    check_promises(stored, known)
    check_grown(stored, stored, known)
    check_finished({"ended": stored["ended"]}, known)


_DAMAGE: dict[str, tuple[str, Callable[[Stored], object], str]] = {
    "a hole in the history": ("ended", lambda stored: stored["ended"].positions.pop(1), "gaps"),
    "a second end": ("ended", lambda stored: stored["ended"].events, "ended 2 times"),
    "an end without a status": ("ended", lambda stored: stored["ended"].row.update(ended=None), "ended 1 times"),
    "mail after the end": ("ended", lambda stored: stored["ended"].inbox.extend(stored["waiting"].inbox), "waiting"),
    "a timer after the end": ("ended", lambda stored: stored["ended"].timers.append(3), "with timers"),
    "an activity that is forgotten": ("waiting", lambda stored: stored["waiting"].tasks.clear(), "are to run"),
    "a timer nobody set": ("waiting", lambda stored: stored["waiting"].timers.append(3), "timers"),
    "a second start": (
        "waiting",
        lambda stored: stored["waiting"].inbox.append(stored["waiting"].history[1]),
        "started",
    ),
}


@pytest.mark.parametrize("damage", _DAMAGE)
def test_damage_is_found(stored: Stored, damage: str) -> None:
    """Each kind of damage to one instance is named."""
    name, do, words = _DAMAGE[damage]
    do(stored)
    if damage == "a second end":
        stored["ended"].history.append(stored["ended"].history[-1])
        stored["ended"].positions.append(len(stored["ended"].positions))
    with pytest.raises(AssertionError, match=words):
        check_instance(name, stored[name], stored)


def _forget_mail(stored: Stored, known: dict[str, Known]) -> None:
    stored["waiting"].inbox.clear()


def _double_mail(stored: Stored, known: dict[str, Known]) -> None:
    stored["waiting"].inbox *= 2


def _forget_instance(stored: Stored, known: dict[str, Known]) -> None:
    del stored["waiting"]


def _forget_suspension(stored: Stored, known: dict[str, Known]) -> None:
    known["waiting"].suspended = True


def _forget_termination(stored: Stored, known: dict[str, Known]) -> None:
    known["waiting"].terminated = True


def _forget_end(stored: Stored, known: dict[str, Known]) -> None:
    stored["ended"].row["output"] = '["1.1", "2.1"]'


def _forget_purge(stored: Stored, known: dict[str, Known]) -> None:
    known["ended"].gone = True


@pytest.mark.parametrize(
    "do",
    [_forget_mail, _double_mail, _forget_instance, _forget_suspension, _forget_termination, _forget_end, _forget_purge],
)
def test_broken_promises_are_found(stored: Stored, known: dict[str, Known], do: Callable[..., None]) -> None:
    """Each promise that is not kept is named."""
    do(stored, known)
    with pytest.raises(AssertionError, match="lost|double"):
        check_promises(stored, known)


def test_changes_of_what_had_ended_are_found(stored: Stored, known: dict[str, Known], tmp_path: Path) -> None:
    """What had ended at one kill is the same at the next, unless somebody asked for something else."""
    ended = stored["ended"]
    others = {
        "is gone": {},
        "was changed": {"ended": StoredInstance({**ended.row, "updated": 0}, ended.positions, ended.history)},
        "ran once more": {"ended": StoredInstance({**ended.row, "execution_id": "x"}, ended.positions, ended.history)},
    }
    for words, after in others.items():
        with pytest.raises(AssertionError, match=words):
            check_grown({"ended": ended}, after, known)
