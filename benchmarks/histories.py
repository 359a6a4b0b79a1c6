"""Histories as bytes that every flavour reads as its own messages.

A serialized message that follows another one adds to its repeated fields, so a request is put together from
pieces: the head, the committed past turn by turn, and the arrivals of the turn to run.
"""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

INSTANCE_ID = "benchmark-1"
# Input and output of everything.
PAYLOAD = {"customer": "C-2040", "total": 129.9, "lines": [7, 11, 13], "paid": True}


@dataclass(frozen=True)
class Turn:
    """The pieces of one turn.

    Attributes:
        arrivals: The new events, as they are in the turn's own request.
        committed: The same events and the calls that the turn made, as they are in every later request.
    """

    arrivals: bytes
    committed: bytes


@dataclass(frozen=True)
class History:
    """A history, turn by turn.

    Attributes:
        head: What every request begins with.
        turns: All turns; in the last one the workflow ends.
    """

    head: bytes
    turns: list[Turn]

    def whole(self) -> bytes:
        """The request of the last turn."""
        return b"".join([self.head, *(turn.committed for turn in self.turns[:-1]), self.turns[-1].arrivals])

    def requests(self) -> Iterator[bytes]:
        """The requests of all turns, one after the other."""
        past = bytearray(self.head)
        for turn in self.turns:
            yield bytes(past) + turn.arrivals
            past += turn.committed


def save(history: History, path: Path) -> None:
    """Writes a history for another process to read."""
    pieces = [(turn.arrivals, turn.committed) for turn in history.turns]
    path.write_bytes(pickle.dumps((history.head, pieces)))


def load(path: Path) -> History:
    """Reads what `save` wrote."""
    head, pieces = pickle.loads(path.read_bytes())
    return History(head, [Turn(arrivals, committed) for arrivals, committed in pieces])
