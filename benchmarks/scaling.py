"""Rows of `engine.py` that compare this package with itself: whether what there is much of slows down the rest."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from statistics import median
from typing import TYPE_CHECKING, Any

from children import Child
from table import aligned

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from field import Field


@dataclass
class Scaling:
    """What was measured of a row: lines of what, figure, limit and aim; a limit that is not kept is told."""

    name: str
    title: str
    lines: list[tuple[str, float, str, float | None, str]] = field(default_factory=list)

    def add(self, what: str, value: float, unit: str, limit: float | None = None, aim: str = "") -> None:
        """Adds a figure; `limit` is the most it may be."""
        self.lines.append((what, value, unit, limit, aim))

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        figures = [
            {"what": what, "value": value, "unit": unit, "limit": limit, "reached": limit is None or value <= limit}
            for what, value, unit, limit, _ in self.lines
        ]
        return {"row": self.name, "title": self.title, "figures": figures}

    def table(self) -> str:
        """The row as a table."""
        lines = [[self.name, "measured", "at most", "", "aim"]]
        for what, value, unit, limit, aim in self.lines:
            kept = "" if limit is None else ("yes" if value <= limit else "no")
            lines.append([what, f"{value:,.3f} {unit}", "" if limit is None else f"{limit:g} {unit}", kept, aim])
        return f"{self.title}\n\n{aligned(lines)}"


def growth(contestants: Field, *, quick: bool) -> Scaling:
    """Time per instance while the file fills with finished ones."""
    block, few, many = (20, 20, 100) if quick else (1_000, 1_000, 100_000)
    row = Scaling(
        "growth", f"Time per instance (one activity) with {few:,} and {many:,} finished instances in the file"
    )
    with _ours(contestants.folder / "growth.db") as child:
        child.ask("growth", workflows=few)
        early = [child.ask("growth", workflows=block)["seconds"] for _ in range(3)]
        left = many - few - 3 * block
        if left > 0:
            child.ask("growth", workflows=left)
        late = [child.ask("growth", workflows=block)["seconds"] for _ in range(3)]
    row.add(f"after {few:,}", median(early) * 1000, "ms")
    row.add(f"after {many:,}", median(late) * 1000, "ms")
    row.add("ratio", median(late) / median(early), "x", 1.15, "flat")
    return row


def waiting(contestants: Field, *, quick: bool) -> Scaling:
    """Very many instances that wait for an event."""
    few, many = (10, 200) if quick else (100, 100_000)
    database = contestants.folder / "waiting.db"
    row = Scaling("waiting", f"{many:,} instances that wait for an event, on a SQLite file")
    with _ours(database) as child:
        alone = child.ready["memory"]
        child.ask("wait_for_events", **{"from": 0, "to": few})
        early = child.ask("event", instances=list(range(few // 2)))["seconds"]
        started = child.ask("wait_for_events", **{"from": few, "to": many + few // 2})
        late = child.ask("event", instances=_spread(few, many, few // 2))["seconds"]
    with _ours(database, warm=False) as child:
        restarted = child.ready
        again = child.ask("event", instances=_spread(few + 1, many, few // 2))
    row.add("memory, with nothing in it", alone / 1e6, "MB")
    row.add("memory, once they all wait", started["memory"] / 1e6, "MB", 1000, "300 MB")
    row.add("memory, after a restart", again["memory"] / 1e6, "MB", 1000, "300 MB")
    row.add("engine and worker up again", restarted["seconds"], "s", 5, "1 s")
    row.add(f"one event, {few:,} waiting", early * 1000, "ms")
    row.add(f"one event, {many:,} waiting", late * 1000, "ms")
    row.add("one event, after a restart", again["seconds"] * 1000, "ms")
    row.add("ratio of one event", late / early, "x", 1.5, "unchanged")
    row.add("starting one of them", started["seconds"] / (many - few // 2) * 1000, "ms")
    return row


def _spread(begin: int, end: int, count: int) -> list[int]:
    """Numbers from all over a range, each once."""
    step = max(2, (end - begin) // count)
    return list(range(begin, end, step))[:count]


def history(contestants: Field, *, quick: bool) -> Scaling:
    """A step of an instance with a long history."""
    short, long = (3, 60) if quick else (3, 3_334)
    question = {"short": short, "long": long, "window": 5 if quick else 30, "times": 5 if quick else 30}
    row = Scaling("history", f"One step with {3 * short + 1:,} and with {3 * long:,} events in the history")
    for where in ("in process, memory", "in process, SQLite", "gRPC, SQLite"):
        print(f"history: {where}", file=sys.stderr, flush=True)
        if where.startswith("gRPC"):
            child = Child({"flavour": "ours", "port": contestants.server("history-grpc.db")})
        elif where.endswith("SQLite"):
            child = _ours(contestants.folder / "history.db")
        else:
            child = Child({"flavour": "ours"})
        with child:
            seconds = child.ask("long_history", **question)
        row.add(f"{where}: short", seconds["short"] * 1000, "ms")
        row.add(f"{where}: long", seconds["long"] * 1000, "ms")
        row.add(f"{where}: ratio", seconds["long"] / seconds["short"], "x", 2, "flat")
    return row


def _ours(database: Path, *, warm: bool = True) -> Child:
    return Child({"flavour": "ours", "database": str(database), "asynchronous": True, "warm": warm})


ROWS: dict[str, Callable[..., Scaling]] = {"growth": growth, "waiting": waiting, "history": history}
