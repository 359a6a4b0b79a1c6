"""What is to be run, and the model that says what must come out."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from typing import Any

# Names the file in which activities note their runs.
LOG_VARIABLE = "CHAOS_ACTIVITY_LOG"
COMPLETED, FAILED, TERMINATED = "COMPLETED", "FAILED", "TERMINATED"


def mix(value: int) -> int:
    """What the activity makes of a number: one that is easily told from others."""
    return (value * 1103515245 + 12345) % (1 << 31)


@dataclass(frozen=True)
class Plan:
    """One run of one workflow: what it is given, and what must become of it.

    Attributes:
        instance_id: Id of the instance.
        workflow: Name of the workflow.
        given: Its input.
        status: The status it must end with.
        output: The output it must end with; None if it depends on what was acknowledged.
        tags: Activities that must have been run.
    """

    instance_id: str
    workflow: str
    given: dict[str, Any]
    status: str = COMPLETED
    output: Any = None
    tags: tuple[str, ...] = ()

    @property
    def run(self) -> str:
        """Name of this run, which no other run of the id has."""
        return self.given["run"]

    def check(self, status: str, output: str | None) -> str | None:
        """What is wrong with an end, or None."""
        expected = None if self.output is None else json.dumps(self.output)
        if status == self.status and (self.workflow == "mailbox" or _same(output, expected)):
            return None
        return f"{self.run} ({self.workflow}) ended {status} with {output}, not {self.status} with {expected}"


def _same(text: str | None, other: str | None) -> bool:
    return text == other or (text is not None and other is not None and json.loads(text) == json.loads(other))


def chain(name: str, run: str, dice: random.Random, pause: float = 0.0) -> Plan:
    """Activities one after the other."""
    value, length = dice.randrange(1 << 30), dice.randint(1, 6)
    given = {"run": run, "length": length, "value": value, "pause": pause}
    for _ in range(length):
        value = mix(value)
    return Plan(name, "chain", given, output=value, tags=tuple(f"{run}/{i}" for i in range(length)))


def fan(name: str, run: str, dice: random.Random) -> Plan:
    """Activities side by side."""
    value, width = dice.randrange(1 << 30), dice.randint(2, 12)
    output = sum(mix(value + i) for i in range(width))
    tags = tuple(f"{run}/{i}" for i in range(width))
    return Plan(name, "fan", {"run": run, "width": width, "value": value}, output=output, tags=tags)


def nested(name: str, run: str, dice: random.Random) -> Plan:
    """Children of children."""
    value, depth, width = dice.randrange(1 << 30), dice.randint(1, 2), dice.randint(1, 3)
    leaves = [(run, value)]
    for _ in range(depth):
        leaves = [(f"{path}/{i}", number + i) for path, number in leaves for i in range(width)]
    given = {"run": run, "path": run, "depth": depth, "width": width, "value": value}
    output = sum(mix(number) for _, number in leaves)
    return Plan(name, "nested", given, output=output, tags=tuple(path for path, _ in leaves))


def timed(name: str, run: str, dice: random.Random) -> Plan:
    """Timers that fire, timers that nobody waits for, and a wait that ends."""
    value, pauses = dice.randrange(1 << 30), [dice.choice((0, 10, 100, 700)) for _ in range(dice.randint(1, 4))]
    output = value
    for _ in pauses:
        output = mix(output)
    tags = tuple(f"{run}/{i}" for i in range(len(pauses)))
    return Plan(name, "timed", {"run": run, "pauses": pauses, "value": value}, output=output, tags=tags)


def counter(name: str, run: str, dice: random.Random) -> Plan:
    """One generation after the other."""
    value, limit = dice.randrange(1 << 30), dice.randint(2, 8)
    given = {"run": run, "count": 0, "limit": limit, "value": value}
    for _ in range(limit):
        value = mix(value)
    return Plan(name, "counter", given, output=value, tags=tuple(f"{run}/{i}" for i in range(limit)))


def retried(name: str, run: str, dice: random.Random) -> Plan:
    """Activities that fail at first, and some that fail for good."""
    fails = [dice.choice((0, 1, 2, 3, 4)) for _ in range(dice.randint(1, 3))]
    output = [count + 1 if count < 4 else -1 for count in fails]
    tags = tuple(f"{run}/{i}/{n + 1}" for i, count in enumerate(fails) for n in range(min(count + 1, 4)))
    return Plan(name, "retried", {"run": run, "fails": fails}, output=output, tags=tags)


def failing(name: str, run: str, dice: random.Random) -> Plan:
    """A workflow that fails."""
    given = {"run": run, "value": dice.randrange(1 << 30)}
    return Plan(name, "failing", given, status=FAILED, tags=(f"{run}/0",))


def mailbox(name: str, run: str, dice: random.Random) -> Plan:
    """Events, in one run or over many generations."""
    given = {"run": run, "seen": [], "batch": dice.choice((0, 1, 2, 5)), "works": dice.random() < 0.4}
    return Plan(name, "mailbox", given)


def endless(name: str, run: str, dice: random.Random) -> Plan:
    """What somebody has to end."""
    given = {
        "run": run,
        "value": dice.randrange(1 << 30),
        "pause": dice.choice((0, 0.1, 0.4)),
        "child": dice.random() < 0.5,
    }
    return Plan(name, "endless", given, status=TERMINATED, output=f"stopped {run}")


def check_mail(plan: Plan, output: str | None, acknowledged: list[str], in_doubt: set[str]) -> list[str]:
    """What is wrong with the mail that a mailbox says it got."""
    seen: list[str] = json.loads(output or "[]")
    wrong = []
    for key in set(seen):
        if seen.count(key) != 1:
            wrong.append(f"double: {plan.run} got event {key} {seen.count(key)} times")
        if key not in in_doubt and key not in acknowledged:
            wrong.append(f"{plan.run} got event {key}, which nobody sent")
    lost = [key for key in acknowledged if key not in seen]
    if lost:
        wrong.append(f"lost: {plan.run} never got {lost}, which were acknowledged")
    elif [key for key in seen if key in acknowledged] != acknowledged:
        wrong.append(f"{plan.run} got its events in the order {seen}, sent were {acknowledged}")
    return wrong
