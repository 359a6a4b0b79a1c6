"""Items that workers are lost with: tried again after growing pauses, one at a time, and in the end not at all.

A workflow or an activity that ends its worker's process each time it runs would otherwise end worker after worker. An
item is under suspicion when workers were lost with it several times in a row. That may be chance, as when machines
restart, or the doing of another item at the same worker; so suspects are sent out singly: a worker has at most one of
them, and the innocent ones get through.
"""

from __future__ import annotations

from dataclasses import dataclass

# So many losses are no sign of anything.
_USUAL = 2
# After so many the item is not sent out again by itself.
_MOST = 10
_FIRST_PAUSE = 100_000_000
_LONGEST_PAUSE = 30_000_000_000


@dataclass(slots=True)
class Losses:
    """How often in a row workers were lost with one item.

    Attributes:
        count: That number.
    """

    count: int = 0

    @property
    def suspicious(self) -> bool:
        """Whether the item is to be sent out singly."""
        return self.count > _USUAL

    @property
    def too_many(self) -> bool:
        """Whether the item is not to be sent out again."""
        return self.count >= _MOST

    @property
    def pause(self) -> int:
        """How long to wait before the item is sent out again, in nanoseconds."""
        if self.count <= _USUAL:
            return 0
        return min(_FIRST_PAUSE << (self.count - _USUAL - 1), _LONGEST_PAUSE)
