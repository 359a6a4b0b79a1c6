"""What was measured, as rows, as JSON and as tables."""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import median
from typing import Any

from cases import CONTESTANTS, Case, Contestant, Section

_TITLES: dict[Section, str] = {
    "replay": "Replay: one turn over a whole history",
    "turns": "Turn by turn: every turn is given the whole history so far",
    "end-to-end": "End to end: task hub, worker and client in one process",
}


@dataclass
class Row:
    """One measurement of one case, for all contestants.

    Attributes:
        case: The case.
        what: Which of its measurements.
        samples: Seconds, by the title of the contestant.
    """

    case: Case
    what: str
    samples: dict[str, list[float]] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """What the row is called."""
        return self.case.title if self.what == "total" else f"{self.case.title}: {self.what}"

    def seconds(self, contestant: Contestant) -> float:
        """Median of a contestant."""
        return median(self.samples[contestant.title])

    def ratios(self) -> dict[str, float]:
        """How many times as long each peer takes as each of ours."""
        contestants = CONTESTANTS[self.case.section]
        return {
            f"{peer.title} / {ours.title}": self.seconds(peer) / self.seconds(ours)
            for ours in contestants
            if not ours.is_peer
            for peer in contestants
            if peer.is_peer
        }

    def per_activity(self) -> dict[str, float]:
        """Milliseconds of each contestant for one activity."""
        count = self.case.activities * self.case.workflows
        return {c.title: self.seconds(c) * 1000 / count for c in CONTESTANTS[self.case.section]}

    def to_json(self) -> dict[str, Any]:
        """The row as plain values."""
        return {
            **self.case.to_json(),
            "title": self.title,
            "what": self.what,
            "samples_s": self.samples,
            "median_ms": {name: median(values) * 1000 for name, values in self.samples.items()},
            "ms_per_activity": self.per_activity(),
            "activities_per_s": {name: 1000 / value for name, value in self.per_activity().items()},
            "ratios": self.ratios(),
        }


def tables(rows: list[Row]) -> str:
    """All rows as tables."""
    parts = []
    for section, title in _TITLES.items():
        chosen = [row for row in rows if row.case.section == section]
        if chosen:
            parts.append(f"{title}\n\n{_medians(chosen, section)}\n\n{_ratios(chosen)}")
    return "\n\n".join(parts)


def _medians(rows: list[Row], section: Section) -> str:
    contestants = CONTESTANTS[section]
    lines = [["median ms", *(c.title for c in contestants)]]
    for row in rows:
        lines.append([row.title, *(f"{row.seconds(c) * 1000:,.1f}" for c in contestants)])
        if section == "end-to-end":
            each = row.per_activity()
            lines.append(["  ms per activity", *(f"{each[c.title]:.3f}" for c in contestants)])
            lines.append(["  activities per second", *(f"{1000 / each[c.title]:,.0f}" for c in contestants)])
    return _aligned(lines)


def _ratios(rows: list[Row]) -> str:
    names = list(rows[0].ratios())
    lines = [["ratio, peer / ours", *names]]
    for row in rows:
        ratios = row.ratios()
        lines.append([row.title, *(f"{ratios[name]:,.1f}" for name in names)])
    return _aligned(lines)


def _aligned(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join([line[0].ljust(widths[0]), *(cell.rjust(w) for cell, w in zip(line[1:], widths[1:], strict=True))])
        for line in lines
    )
