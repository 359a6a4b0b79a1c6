"""The ledger of a run: which calls the code made, which of them history records, which still wait for a result.

Ids. Every call takes the next number, from 1, in the order of the calls; a task hub stores it with the call and
sends it back with the result. A run that repeats the calls in the same order therefore finds each result under
the number its call has now. Four rules make the numbers equal to those of the official SDK, so that an instance
started there finishes here:

1.  A wait for an event takes a number of its own for its timer, also when it has no timeout (the timer then fires
    in the year 9999). It takes none if the event is there already or the timeout is zero.
2.  Histories of older SDKs lack the timers of waits without a timeout. When history confirms something else under
    the number of such a timer, the timer never existed: it is dropped and every later call moves down by one
    (`_drop_optional`). The reverse also happens: history has such a timer and the code has none; then the event
    is skipped.
3.  A retry takes two numbers: one for its delay when the failure arrives, one for the new try when the delay ends.
    Neither moves the code.
4.  Every call of an activity counts as one use of the id counter that `new_guid` uses, a retry does not.

Results may come before their call was made, when a task hub lost a turn after it had sent the calls on its way:
they are kept under their number and given to the call that takes it. Results for calls that are already settled
are late or doubled, and ignored.
"""

from __future__ import annotations

from collections.abc import Callable

from dapr_workflow_sdk.replay.calls import Call, TimerCall

# Brings a result to the call it is for.
Settle = Callable[[Call], None]


class Ledger:
    """The open calls of one run, by number."""

    __slots__ = ("_early", "open", "sequence", "unconfirmed")

    def __init__(self) -> None:
        """Starts without calls."""
        self.sequence = 0
        self.unconfirmed: dict[int, Call] = {}
        self.open: dict[int, Call] = {}
        self._early: dict[int, tuple[str, Settle]] = {}

    def next_id(self) -> int:
        """Takes the next number."""
        self.sequence += 1
        return self.sequence

    def add(self, call: Call) -> None:
        """Enters a call under its number; a result that came before it settles it at once."""
        self.unconfirmed[call.id] = call
        self.open[call.id] = call
        if self._early:
            kind, settle = self._early.pop(call.id, ("", None))
            if settle is not None and kind == call.kind:
                del self.open[call.id]
                settle(call)

    def confirm(self, call_id: int, confirmed_by: str, name: str) -> bool:
        """Notes that history records a call; returns whether the code made that call under that number."""
        while True:
            call = self.unconfirmed.get(call_id)
            optional = isinstance(call, TimerCall) and call.optional
            if call is not None and not optional and call.confirmed_by == confirmed_by and call.name == name:
                del self.unconfirmed[call_id]
                return True
            # Rule 2: several waits may stand in a row, so this repeats.
            if not self._drop_optional(call_id):
                return False

    def confirm_optional(self, call_id: int) -> None:
        """Notes that history records the timer of a wait without a timeout, whether or not the code has it."""
        call = self.unconfirmed.get(call_id)
        if isinstance(call, TimerCall) and call.optional:
            del self.unconfirmed[call_id]

    def _drop_optional(self, call_id: int) -> bool:
        call = self.unconfirmed.get(call_id)
        if not isinstance(call, TimerCall) or not call.optional:
            return False
        del self.unconfirmed[call_id]
        self.open.pop(call_id, None)
        for calls in (self.unconfirmed, self.open):
            for later in sorted(number for number in calls if number > call_id):
                moved = calls.pop(later)
                moved.id = later - 1
                calls[later - 1] = moved
        self.sequence -= 1
        return True

    def settle(self, call_id: int, kind: str, settle: Settle) -> str | None:
        """Gives a result to its call, or keeps it for the call to come; else says why it is ignored."""
        call = self.open.get(call_id)
        if call is None:
            if call_id <= self.sequence:
                return f"Ignored a late or doubled result of {kind} call {call_id}."
            self._early[call_id] = (kind, settle)
            return None
        if call.kind != kind:
            return f"Ignored the result of a {kind} for call {call_id}, which is {call.label}."
        del self.open[call_id]
        settle(call)
        return None

    def pending(self) -> list[Call]:
        """Calls that history does not record, in the order of their numbers."""
        return [self.unconfirmed[call_id] for call_id in sorted(self.unconfirmed)]
