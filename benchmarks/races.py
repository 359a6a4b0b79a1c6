"""Rows of `engine.py` that compare with peers: the same question to every contestant, in turns."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from field import GRPC, GRPC_ASYNC, MEMORY, MEMORY_ASYNC, SQLITE, SQLITE_ASYNC, Field
from peers import DAPR, DBOS, DURABLETASK, TITLES
from table import aligned

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True)
class Race:
    """One row.

    Attributes:
        name: What `--only` calls it.
        title: What is measured.
        ours: Ways of ours that take part.
        peers: Peers that take part.
        what: The measurement.
        question: Its details.
        must: How many times as fast as the better peer ours has to be.
        aim: What it should reach, in words.
        repeats: How often each contestant runs.
        activities: How many activities a measurement has, for a rate; 0 gives milliseconds.
    """

    name: str
    title: str
    ours: tuple[str, ...]
    peers: tuple[str, ...]
    what: str
    question: dict[str, Any]
    must: float
    aim: str
    repeats: int
    activities: int = 0


@dataclass
class Result:
    """What was measured of a row: seconds by contestant."""

    race: Race
    samples: dict[str, list[float]] = field(default_factory=dict)

    def better_peer(self) -> float | None:
        """Median seconds of the best peer that took part."""
        times = [median(self.samples[TITLES[peer]]) for peer in self.race.peers if TITLES[peer] in self.samples]
        return min(times, default=None)

    def ratios(self) -> dict[str, float]:
        """How many times as long the best peer takes as each of ours."""
        better = self.better_peer()
        ours = [] if better is None else self.race.ours
        return {title: better / median(self.samples[title]) for title in ours if better is not None}

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            "row": self.race.name,
            "title": self.race.title,
            "samples_s": self.samples,
            "ratios": self.ratios(),
            "must": self.race.must,
            "reached": {title: ratio >= self.race.must for title, ratio in self.ratios().items()},
        }

    def table(self) -> str:
        """The row as a table."""
        race = self.race
        unit = "activities/s" if race.activities else "ms"
        lines = [[f"{race.name}", f"median {unit}", "best", "worst", "x better peer", f"must be {race.must:g}"]]
        ratios = self.ratios()
        for title, samples in self.samples.items():
            ratio = ratios.get(title)
            lines.append(
                [
                    title,
                    *(self._figure(value) for value in (median(samples), min(samples), max(samples))),
                    "" if ratio is None else f"{ratio:,.1f}",
                    "" if ratio is None else ("yes" if ratio >= race.must else "no"),
                ]
            )
        return f"{race.title} (aim: {race.aim}; {race.repeats} runs each, in turns)\n\n{aligned(lines)}"

    def _figure(self, seconds: float) -> str:
        if self.race.activities:
            return f"{self.race.activities / seconds:,.0f}"
        return f"{seconds * 1000:,.3f}"


def run(race: Race, contestants: Field) -> Result:
    """Measures a row."""
    result = Result(race)
    titles = [*race.ours, *(TITLES[peer] for peer in race.peers)]
    titles = [title for title in titles if contestants.takes_part(title)]
    for title in titles:
        contestants.child(title)  # All are up before the first is measured.
    for turn in range(race.repeats):
        for title in titles:
            print(f"{race.name} {turn + 1}/{race.repeats}: {title}", file=sys.stderr, flush=True)
            seconds = contestants.child(title).ask(race.what, **race.question)["seconds"]
            result.samples.setdefault(title, []).append(seconds)
    return result


def races(*, quick: bool) -> Sequence[Race]:
    """All races; the quick ones only show that they work."""
    workflows, fan, repeats = (4, 10, 2) if quick else (200, 1000, 5)
    steps = {"activities": 3, "times": 2} if quick else {"activities": 20, "times": 5}
    many = {"shape": "chain", "activities": 5, "workflows": workflows}
    wide = {"shape": "fan_out", "activities": fan, "workflows": 1}
    count = 5 * workflows
    each = f"{workflows} workflows of 5 activities"
    crowd = {**many, "callers": 16}
    crowded = f"{each}, started by 16 threads"
    return (
        Race(
            "sqlite",
            f"Durable activities, in process, SQLite with synchronous=FULL: {crowded}",
            (SQLITE, SQLITE_ASYNC),
            (DBOS, DURABLETASK),
            "throughput",
            crowd,
            10,
            "25 times",
            repeats,
            count,
        ),
        Race(
            "sqlite-one",
            f"The same, started one after the other by one thread: {each}",
            (SQLITE, SQLITE_ASYNC),
            (DBOS, DURABLETASK),
            "throughput",
            many,
            10,
            "25 times",
            repeats,
            count,
        ),
        Race(
            "grpc",
            f"The same over gRPC, the worker in another process: {crowded}",
            (GRPC, GRPC_ASYNC),
            (DAPR,),
            "throughput",
            crowd,
            4,
            "8 times",
            repeats,
            count,
        ),
        Race(
            "memory",
            f"In memory, in process: {crowded}",
            (MEMORY, MEMORY_ASYNC),
            (DURABLETASK,),
            "throughput",
            crowd,
            30,
            "20,000 activities/s",
            repeats,
            count,
        ),
        Race(
            "latency",
            "Each durable activity of a chain of 20, start and end included, idle machine",
            (SQLITE, SQLITE_ASYNC, GRPC),
            (DBOS, DAPR),
            "latency",
            steps,
            3,
            "two fsyncs and 1 ms",
            repeats,
        ),
        Race(
            "fan-out",
            f"One workflow that calls {fan:,} activities at once",
            (SQLITE, SQLITE_ASYNC, GRPC, GRPC_ASYNC),
            (DAPR, DURABLETASK),
            "throughput",
            wide,
            5,
            "10 times",
            2 if quick else 3,
            fan,
        ),
    )
