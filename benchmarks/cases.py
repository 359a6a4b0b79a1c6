"""What is measured: the cases, and who takes part in which of them."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, Literal

Section = Literal["replay", "turns", "end-to-end"]
Shape = Literal["chain", "fan-out"]

OURS = "ours"
DAPR = "dapr"
DURABLETASK = "durabletask"
# The releases that the figures are about.
PEERS = {DAPR: "1.19.0", DURABLETASK: "1.12.0"}

WHOLE = "whole"
UNPARKED = "unparked"
MEMORY = "memory"
SQLITE = "sqlite"


@dataclass(frozen=True)
class Contestant:
    """A flavour and how it is run.

    Attributes:
        flavour: Whose code runs; each flavour has a process of its own.
        mode: Which of our ways to run, or `WHOLE`.
        title: What it is called in tables.
    """

    flavour: str
    mode: str
    title: str

    @property
    def is_peer(self) -> bool:
        """Whether ours are compared with it."""
        return self.flavour in PEERS


_DAPR = Contestant(DAPR, WHOLE, f"dapr {PEERS[DAPR]}")
_DURABLETASK = Contestant(DURABLETASK, WHOLE, f"durabletask {PEERS[DURABLETASK]}")

CONTESTANTS: dict[Section, tuple[Contestant, ...]] = {
    "replay": (Contestant(OURS, UNPARKED, "ours"), _DAPR, _DURABLETASK),
    "turns": (
        Contestant(OURS, WHOLE, "ours"),
        Contestant(OURS, UNPARKED, "ours, unparked"),
        _DAPR,
        _DURABLETASK,
    ),
    "end-to-end": (
        Contestant(OURS, MEMORY, "ours, memory"),
        Contestant(OURS, SQLITE, "ours, SQLite"),
        _DURABLETASK,
    ),
}


@dataclass(frozen=True)
class Case:
    """One thing to measure.

    Attributes:
        section: Which kind of measurement it is.
        shape: A chain of activities, or one fan-out over them.
        activities: How many activities each workflow has.
        workflows: How many workflows run at a time; more than one only end to end.
        repeats: How often each contestant runs it.
    """

    section: Section
    shape: Shape
    activities: int
    workflows: int = 1
    repeats: int = 3

    @property
    def events(self) -> int:
        """How many history events it has when it ends."""
        return 3 * self.activities + 2 if self.shape == "chain" else 2 * self.activities + 3

    @property
    def title(self) -> str:
        """What it is called in tables."""
        if self.section == "replay":
            return f"{self.shape}, {self.events:,} events"
        if self.workflows > 1:
            return f"{self.workflows} workflows x {self.activities} activities"
        return f"{self.shape} of {self.activities:,} activities"

    def to_json(self) -> dict[str, Any]:
        """The case as plain values."""
        return asdict(self)


def of_events(shape: Shape, events: int, repeats: int) -> Case:
    """The replay of a history of at least so many events, by two at most."""
    activities = -((2 - events) // 3) if shape == "chain" else -((3 - events) // 2)
    return Case("replay", shape, activities, repeats=repeats)


def full() -> list[Case]:
    """The cases that figures are published of."""
    return [
        *(of_events(shape, events, 9) for events in (1_000, 10_000) for shape in _SHAPES),
        Case("turns", "chain", 1_000, repeats=3),
        Case("end-to-end", "chain", 100, repeats=5),
        Case("end-to-end", "chain", 1_000, repeats=3),
        Case("end-to-end", "chain", 5, workflows=200, repeats=3),
    ]


def quick() -> list[Case]:
    """Small cases of every kind, which show that the benchmark works and say nothing about speed."""
    return [
        *(of_events(shape, events, 2) for events in (30, 90) for shape in _SHAPES),
        Case("turns", "chain", 10, repeats=2),
        Case("end-to-end", "chain", 4, repeats=2),
        Case("end-to-end", "chain", 2, workflows=3, repeats=2),
    ]


_SHAPES: tuple[Shape, ...] = ("chain", "fan-out")
