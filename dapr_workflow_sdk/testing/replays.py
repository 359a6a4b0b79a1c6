"""Turns run again under given conditions, and what is then asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.replay.calls import Place
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import TurnOutput, run_turn
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing.conditions import Conditions, Entropy
from dapr_workflow_sdk.testing.observed import Observer
from dapr_workflow_sdk.testing.simulation import PlayedTurn, TurnRunner, execution_of, told
from dapr_workflow_sdk.testing.watched import Watch

# A history of n turns takes n times n / 2 to replay from each of them; of long ones, so many are taken.
_MOST_TURNS = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """What a turn asked for.

    Attributes:
        actions: Its actions, without stack traces.
        custom_status: The custom status.
        places: Where the code made each call, by its number.
        waits: Where the code waits, or waited last.
    """

    actions: Sequence[pb.WorkflowAction]
    custom_status: str | None
    places: dict[int, Place]
    waits: Place | None

    def same(self, other: Asked) -> bool:
        """Whether a task hub would see no difference."""
        return self.actions == other.actions and self.custom_status == other.custom_status


class PinnedTurns:
    """Runs turns as a worker does, all under the same conditions.

    The random numbers of an instance go on from turn to turn, as they do where it is kept in memory.
    """

    def __init__(self, conditions: Conditions, observer: Observer | None = None) -> None:
        """Runs nothing yet."""
        self._conditions = conditions
        self._observer = observer
        self._entropies: dict[tuple[str, str], Entropy] = {}

    def __call__(
        self,
        instance_id: str,
        past: Sequence[pb.HistoryEvent],
        new: Sequence[pb.HistoryEvent],
        registry: Registry,
        converter: Converter,
        parked: ParkedInstances,
    ) -> TurnOutput:
        """Runs one turn."""
        key = instance_id, execution_of(past, new)
        if len(parked) == 0:
            # Nobody is kept, so the code begins anew and so do its random numbers.
            self._entropies.pop(key, None)
        entropy = self._entropies.setdefault(key, Entropy(self._conditions.seed))
        with self._conditions.applied(entropy), contextlib.ExitStack() as stack:
            if self._observer is not None:
                stack.enter_context(self._observer.watching())
            return run_turn(instance_id, past, new, registry, converter, parked)


def chosen(turns: Sequence[PlayedTurn]) -> list[PlayedTurn]:
    """The turns that are replayed: all of them, or of many the first, the last and some between."""
    if len(turns) <= _MOST_TURNS:
        return list(turns)
    step = (len(turns) - 1) / (_MOST_TURNS - 1)
    return [turns[round(number * step)] for number in range(_MOST_TURNS)]


def replay_fresh(
    turns: Iterable[PlayedTurn],
    registry: Registry,
    watch: Watch,
    converter: Converter,
    conditions: Conditions,
    observer: Observer | None = None,
) -> list[Asked]:
    """Replays each turn from the start of its history, as a worker does that does not have the instance in memory."""
    return [
        asked_by(watch, PinnedTurns(conditions, observer), turn, registry, converter, ParkedInstances(0))
        for turn in turns
    ]


def replay_parked(
    turns: Iterable[PlayedTurn], registry: Registry, watch: Watch, converter: Converter, conditions: Conditions
) -> list[Asked]:
    """Runs the turns one after the other as a worker does that keeps the instance; the clock shows history's time."""
    asked: list[Asked] = []
    parked = ParkedInstances(64)
    entropies: dict[tuple[str, str], Entropy] = {}
    for turn in turns:
        moment = turn.new[0].timestamp
        moved = replace(conditions, clock=moment.seconds + moment.nanos / 1e9)
        entropy = entropies.setdefault((turn.instance_id, turn.execution), Entropy(conditions.seed))
        with moved.applied(entropy):
            asked.append(asked_by(watch, run_turn, turn, registry, converter, parked))
    parked.clear()
    return asked


def asked_by(
    watch: Watch, run: TurnRunner, turn: PlayedTurn, registry: Registry, converter: Converter, parked: ParkedInstances
) -> Asked:
    """What a turn asks for when it is run, and where."""
    begun = len(watch.runs)
    output = run(turn.instance_id, turn.past, turn.new, registry, converter, parked)
    actions, status = told(output)
    places: dict[int, Place] = {}
    waits: Place | None = None
    if len(watch.runs) > begun:
        last = watch.runs[-1]
        places = {call.id: call.place for call in last.calls}
        waits = last.waits
    return Asked(actions, status, places, waits)
