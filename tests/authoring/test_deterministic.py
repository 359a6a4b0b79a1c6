"""Random numbers, ids and moments of a run: the same on every replay, on every machine."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
import uuid
from collections.abc import Generator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk import WorkflowContext
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.authoring.deterministic import Deterministic
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from tests.builders import INSTANCE, activity_done, activity_scheduled, started, turn_marker
from tests.strategies import QUICK


class Source:
    """A run that stands still."""

    def __init__(self, instance_id: str = "order-7", now: datetime = datetime(2026, 1, 1)) -> None:
        self.instance_id = instance_id
        self.now = now
        self._ids = 0

    def new_guid(self) -> uuid.UUID:
        self._ids += 1
        return uuid.uuid5(uuid.NAMESPACE_DNS, f"{self.instance_id}{self._ids}")


def draws(helpers: Deterministic) -> list[Any]:
    return [
        helpers.generator.random(),
        helpers.number(1, 6),
        helpers.text(12, None),
        helpers.choice(["a", "b", "c"]),
        helpers.uuid7().hex,
    ]


# The same in every release: histories of instances on their way depend on it.
PINNED = [0.6828144348676691, 5, "aCiRQ2wtZJuv", "a"]


def test_what_a_run_draws_is_pinned() -> None:
    assert draws(Deterministic(Source()))[:4] == PINNED


def test_neither_the_hash_seed_nor_the_time_zone_nor_the_clock_matters() -> None:
    program = (
        "import time, json; time.tzset()\n"
        "from tests.authoring.test_deterministic import Source, draws\n"
        "from dapr_workflow_sdk.authoring.deterministic import Deterministic\n"
        "print(json.dumps(draws(Deterministic(Source()))))"
    )
    printed = set()
    for seed, zone in (("0", "UTC"), ("1", "Pacific/Auckland"), ("2", "America/St_Johns")):
        environment = {**os.environ, "PYTHONHASHSEED": seed, "TZ": zone, "PYTHONPATH": str(Path(__file__).parents[2])}
        run = subprocess.run(
            [sys.executable, "-c", program], check=True, capture_output=True, text=True, env=environment
        )
        printed.add(run.stdout)
    assert len(printed) == 1


def test_two_draws_of_one_turn_differ() -> None:
    helpers = Deterministic(Source())
    assert helpers.text(8, None) != helpers.text(8, None)
    assert len({helpers.generator.random() for _ in range(100)}) == 100


@QUICK
@given(st.text(min_size=1, max_size=20), st.datetimes())
def test_instances_and_runs_draw_their_own(instance_id: str, now: datetime) -> None:
    drawn = Deterministic(Source(instance_id, now)).generator.random()
    assert drawn == Deterministic(Source(instance_id, now)).generator.random()
    assert drawn != Deterministic(Source(instance_id + "x", now)).generator.random()
    later = now + timedelta(microseconds=1) if now.year < 9999 else now - timedelta(microseconds=1)
    assert drawn != Deterministic(Source(instance_id, later)).generator.random()


@QUICK
@given(st.integers(-100, 100), st.integers(0, 100), st.integers(0, 30), st.text(min_size=1, max_size=5))
def test_draws_stay_within_what_was_asked_for(least: int, span: int, length: int, alphabet: str) -> None:
    helpers = Deterministic(Source())
    assert least <= helpers.number(least, least + span) <= least + span
    text = helpers.text(length, alphabet)
    assert len(text) == length
    assert set(text) <= set(alphabet)
    assert helpers.choice(alphabet) in alphabet


def test_what_cannot_be_drawn_is_refused() -> None:
    helpers = Deterministic(Source())
    for ask, error in (
        (lambda: helpers.text(-1, None), ValueError),
        (lambda: helpers.text(1, ""), ValueError),
        (lambda: helpers.number(2, 1), ValueError),
        (lambda: helpers.choice([]), IndexError),
    ):
        with pytest.raises(error):
            ask()


def test_moments_have_an_order() -> None:
    source = Source()
    helpers = Deterministic(source)
    moments = [helpers.moment() for _ in range(3)]
    assert moments == [source.now + timedelta(microseconds=number) for number in range(3)]


@QUICK
@given(st.datetimes(min_value=datetime(1970, 1, 1)))
def test_a_uuid_of_version_7_begins_with_the_time(now: datetime) -> None:
    helpers = Deterministic(Source(now=now))
    one, two = helpers.uuid7(), helpers.uuid7()
    assert (one.version, one.variant) == (7, uuid.RFC_4122)
    assert one != two
    assert one.int >> 80 == two.int >> 80 == (now - datetime(1970, 1, 1)) // timedelta(milliseconds=1)


def lottery(ctx: WorkflowContext) -> Generator[Any, Any, Any]:
    first = [ctx.random_int(1, 100), ctx.random_string(4, alphabet="xyz"), str(ctx.uuid4()), str(ctx.uuid7())]
    yield ctx.call_activity("draw")
    moments = [ctx.now(), ctx.now_with_sequence(), ctx.current_utc_datetime_with_sequence()]
    return [*first, ctx.random_choice("abc"), ctx.random().random(), *(moment.isoformat() for moment in moments)]


def test_a_workflow_draws_the_same_parked_and_replayed() -> None:
    registry = Registry(module_level=False)
    registry.add("workflow", lottery, "flow")
    events = [turn_marker(), started()]
    past = [*events, activity_scheduled(1, "draw")]
    new = [turn_marker(60), activity_done(1)]
    parked = ParkedInstances(10)
    run_turn(INSTANCE, [], events, registry, JsonConverter(), parked)
    results = []
    for instances in (parked, ParkedInstances(0)):
        random.seed(time.time())
        outcome = run_turn(INSTANCE, past, new, registry, JsonConverter(), instances).outcome
        assert outcome is not None
        assert outcome.failure is None
        results.append(outcome.result)
    assert results[0] == results[1]
    assert '"2026-01-01T00:01:00", "2026-01-01T00:01:00", "2026-01-01T00:01:00.000001"' in (results[0] or "")
