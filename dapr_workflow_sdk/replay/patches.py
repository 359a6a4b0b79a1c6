"""Changes of workflow code that instances on their way must not meet in the middle.

A patch is decided once in the life of a run, and the history keeps what was decided: a run that met it when it was
not replaying has it from then on; a run whose history passed that place without it goes on without it.
"""

from __future__ import annotations

from collections.abc import Sequence


class Patches:
    """Which patches a run has."""

    __slots__ = ("_decided", "_met", "_recorded")

    def __init__(self) -> None:
        """None yet."""
        self._recorded: Sequence[str] = ()
        self._decided: dict[str, bool] = {}
        self._met: list[str] = []

    def record(self, patches: Sequence[str]) -> None:
        """Takes what the history says: all patches that the run had met by the end of a turn, in order."""
        self._recorded = patches

    def has(self, name: str, *, replaying: bool) -> bool:
        """Whether the run goes the way of the patch; the first answer stands."""
        decided = self._decided.get(name)
        if decided is None:
            decided = self._decided[name] = name in self._recorded or not replaying
            if decided:
                self._met.append(name)
        return decided

    def unasked(self) -> list[str]:
        """Patches that the history says were met, and the code has not asked about."""
        return [name for name in dict.fromkeys(self._recorded) if name not in self._decided]

    def told(self) -> list[str]:
        """What the task hub is told: it lets the instance stall if this does not begin with what it has recorded.

        The official SDK names a patch as often as the code asks for it. What it has recorded so stays as it is, so that
        an instance may go from one SDK to the other.
        """
        distinct = list(dict.fromkeys(self._recorded))
        if len(distinct) < len(self._recorded) and self._met[: len(distinct)] == distinct:
            return [*self._recorded, *self._met[len(distinct) :]]
        return list(self._met)
