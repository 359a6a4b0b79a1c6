"""Random numbers, ids and moments that are the same on every replay."""

from __future__ import annotations

import hashlib
import random
import string
import uuid
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, TypeVar

T = TypeVar("T")

_EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive times are UTC here
_MILLISECOND = timedelta(milliseconds=1)
_LETTERS_AND_DIGITS = string.ascii_letters + string.digits


class RunSource(Protocol):
    """What is the same on every replay, and all of this is made of."""

    @property
    def instance_id(self) -> str: ...  # noqa: D102 - the names speak
    @property
    def now(self) -> datetime: ...  # noqa: D102
    def new_guid(self) -> uuid.UUID: ...  # noqa: D102


class Deterministic:
    """The helpers of one run, made when the first is asked for."""

    __slots__ = ("_generator", "_moments", "_source")

    def __init__(self, source: RunSource) -> None:
        """Nothing drawn yet."""
        self._source = source
        self._generator: random.Random | None = None
        self._moments = 0

    @property
    def generator(self) -> random.Random:
        """The one generator of the run; where a run first asks for it decides what it gives."""
        if self._generator is None:
            # Nothing of the machine goes into it: neither its time zone nor its hash seed.
            seed = f"{self._source.instance_id}\n{self._source.now.isoformat()}"
            self._generator = random.Random(hashlib.sha256(seed.encode()).digest())
        return self._generator

    def text(self, length: int, alphabet: str | None) -> str:
        """A string of characters of an alphabet."""
        if length < 0:
            raise ValueError(f"A string has no negative length: {length}.")
        characters = _LETTERS_AND_DIGITS if alphabet is None else alphabet
        if not characters:
            raise ValueError("The alphabet is empty, so there is no character to choose.")
        return "".join(self.generator.choice(characters) for _ in range(length))

    def number(self, least: int, most: int) -> int:
        """A whole number, both ends included."""
        if least > most:
            raise ValueError(f"min_value is {least} and max_value {most}; it must not be less.")
        return self.generator.randint(least, most)

    def choice(self, sequence: Sequence[T]) -> T:
        """One of the elements of a sequence."""
        if not sequence:
            raise IndexError("There is nothing to choose from: the sequence is empty.")
        return self.generator.choice(sequence)

    def moment(self) -> datetime:
        """The time of the turn, a microsecond later each time it is asked for in this run."""
        offset = timedelta(microseconds=self._moments)
        self._moments += 1
        return self._source.now + offset

    def uuid7(self) -> uuid.UUID:
        """A UUID of version 7: the milliseconds of the turn, and the digits of the next id of the run."""
        since = max(0, (self._source.now - _EPOCH) // _MILLISECOND)
        number = since << 80 | self._source.new_guid().int & (1 << 80) - 1
        number = number & ~(0xF << 76) | 7 << 76
        return uuid.UUID(int=number & ~(0b11 << 62) | 0b10 << 62)
