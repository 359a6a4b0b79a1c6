"""Mutations of the replay and engine cores: small changes, each of which breaks something that must hold."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Mutation:
    """One change: in this file of the package, `old` becomes `new`, and this breaks."""

    file: str
    old: str
    new: str
    breaks: str

    @property
    def name(self) -> str:
        return f"{self.file}: {self.breaks}"


MUTATIONS = [
    Mutation("replay/ledger.py", "self.sequence += 1", "self.sequence += 2", "calls skip numbers"),
    Mutation("replay/ledger.py", "moved.id = later - 1", "moved.id = later", "calls keep numbers that have moved"),
    Mutation("replay/ledger.py", "self._early[call_id] = (kind, settle)", "pass", "results that come early are lost"),
    Mutation(
        "replay/ledger.py",
        "for call_id in sorted(self.unconfirmed)",
        "for call_id in sorted(self.unconfirmed, reverse=True)",
        "actions are in the wrong order",
    ),
    Mutation("replay/events.py", "_, event = arrived.popleft()", "_, event = arrived.pop()", "the last event is first"),
    Mutation("replay/events.py", "wait = waits.popleft()", "wait = waits.pop()", "the last waiter is first"),
    Mutation(
        "replay/events.py", "return [event for _, event in arrived]", "return []", "carry-over events are dropped"
    ),
    Mutation(
        "replay/instance.py", "            retry.attempts += 1", "            retry.attempts += 2", "tries are left out"
    ),
    Mutation("replay/instance.py", "for _, earlier in held:", "for _, earlier in held[1:]:", "a held event is lost"),
    Mutation(
        "replay/instance.py", "            self._events.give_up(wait)", "            pass", "who gave up still waits"
    ),
    Mutation(
        "replay/instance.py", "{self.instance_id}:{call_id:04x}", "{self.instance_id}:0001", "children share one id"
    ),
    Mutation(
        "replay/instance.py", "            if self.suspended:", "            if False:", "a suspended instance acts"
    ),
    Mutation(
        "replay/instance.py",
        "            return uuid.UUID(int=0)\n        text = guid_text(self.instance_id, self.now, self._guids)",
        "            return uuid.UUID(int=0)\n        text = guid_text(self.instance_id, self.now, 0)",
        "ids repeat",
    ),
    Mutation("replay/instance.py", "if not isinstance(call, TimerCall)]", "]", "timers are set at the end"),
    Mutation(
        "replay/parked.py",
        "parked.committed - cached + len(parked.consumed) :]",
        "parked.committed - cached + len(parked.consumed) - 1 :]",
        "a kept run sees an event twice",
    ),
    Mutation(
        "replay/parked.py",
        "return all(_same(a, b) for a, b in zip(self.consumed, committed, strict=True))",
        "return True",
        "a kept run goes on with another history",
    ),
    Mutation("replay/code.py", "running.throw(settled._error)", "running.send(None)", "failures are not raised"),
    Mutation(
        "authoring/tasks.py",
        "[part._result for part in self._parts]",
        "[part._result for part in reversed(self._parts)]",
        "results of when_all are in the wrong order",
    ),
    Mutation(
        "engine/conclusion.py",
        "events = [started, *carried, *left]",
        "events = [started, *left]",
        "carried events are lost",
    ),
    Mutation(
        "engine/conclusion.py", "del state.inbox[: len(taken)]", "state.inbox.clear()", "events during a turn are lost"
    ),
    Mutation(
        "engine/conclusion.py",
        "generation=row.generation + 1",
        "generation=row.generation",
        "results of an earlier generation are taken",
    ),
    Mutation(
        "engine/actions.py",
        "state.timers[action.id] = fire_at",
        "state.timers[action.id + 1] = fire_at",
        "the wrong timer fires",
    ),
    Mutation(
        "engine/transitions.py",
        "return timer in state.timers and not any(item.timer == timer for item in state.inbox)",
        "return False",
        "timers do not fire",
    ),
    Mutation(
        "engine/transitions.py",
        "key[0] == state.row.generation",
        "key[0] != state.row.generation",
        "results are not taken",
    ),
    Mutation(
        "engine/transitions.py",
        'suspended = kind == "executionSuspended"',
        'suspended = kind != "executionSuspended"',
        "suspending resumes",
    ),
    Mutation(
        "engine/transitions.py",
        "state.inbox.append(InboxEvent(event, state.inbox_next, False, task, timer))",
        "state.inbox.insert(0, InboxEvent(event, state.inbox_next, False, task, timer))",
        "results overtake what came before",
    ),
]
