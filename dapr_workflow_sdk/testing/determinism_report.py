"""What `check_determinism` finds, and how it is told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

Perturbation = Literal[
    "",
    "fresh",
    "again",
    "clock",
    "time zone",
    "random numbers",
    "thread",
    "order",
    "restart",
    "process",
    "hash seed",
    "machine",
    "import",
]


@dataclass(frozen=True, slots=True)
class _Rule:
    why: str
    do: str


_LOCAL = "Keep state in local variables, in results of activities, and in the input of continue_as_new."
_ACTIVITY = "Do it in an activity, and use its result."

RULES: dict[str, _Rule] = {
    "replay": _Rule(
        "A run kept in memory and a replay of its history must ask for the same; the code may decide by "
        "ctx.is_replaying, or by what an earlier turn left behind.",
        "Use ctx.is_replaying for logging only.",
    ),
    "global-state": _Rule(
        "The code reads what earlier runs left behind: a global or class variable, a cache, a mutable default, an "
        "iterator, the identity of an object.",
        _LOCAL,
    ),
    "wall-clock": _Rule(
        "The code decides by the clock of the machine, which shows another time on each replay.",
        "Use ctx.current_utc_datetime, which is the time of the history.",
    ),
    "time-zone": _Rule(
        "The code decides by the time zone of the machine.",
        "Use aware datetimes with a zone that the code or the input names.",
    ),
    "random": _Rule(
        "The code decides by random numbers or random ids.",
        "Use ctx.random() or ctx.new_guid(), or an activity.",
    ),
    "thread": _Rule("The code depends on the thread that it runs on, or starts threads.", _ACTIVITY),
    "order": _Rule(
        "When its activities finish in another order, the history that arises does not replay.",
        _LOCAL,
    ),
    "restart": _Rule("When the worker restarts between its turns, the history does not replay.", _LOCAL),
    "elsewhere": _Rule(
        "Another process asks for something else, although clock, time zone, random numbers and environment are the "
        "same: the code reads what was made when its module was imported, or what belongs to this process.",
        "Pass it in with the input, or read it in an activity.",
    ),
    "import-time": _Rule(
        "The code reads what a module computed from the clock when it was imported, which is another time in each "
        "process.",
        "Use ctx.current_utc_datetime, or pass the moment in with the input.",
    ),
    "set-order": _Rule(
        "The code depends on the order of a set, or on hash(), which differ between processes (PYTHONHASHSEED).",
        "Iterate over sorted(...), or over a list; hash with hashlib.",
    ),
    "machine": _Rule(
        "The code decides by the environment, the folder, the arguments or the name of the machine it runs on.",
        "Pass it in with the input, or read it in an activity.",
    ),
    "environment": _Rule(
        "Environment variables differ between machines, and change with each deployment.",
        "Pass it in with the input, or read it in an activity.",
    ),
    "file": _Rule("It happens again on every replay, and what is read may have changed.", _ACTIVITY),
    "process": _Rule("It happens again on every replay.", _ACTIVITY),
    "network": _Rule("It happens again on every replay, and the answer differs.", _ACTIVITY),
    "database": _Rule("It happens again on every replay, and the answer differs.", _ACTIVITY),
    "console": _Rule("Nobody is there to answer on a replay.", "Wait for an external event."),
    "sleep": _Rule(
        "A turn that sleeps holds up every instance of the worker, on each replay again.", "Use ctx.create_timer()."
    ),
    "blocks": _Rule("A turn that takes long holds up every instance of the worker.", _ACTIVITY),
    "never-awaited": _Rule(
        "What was called is not waited for, so its result and its failure are lost; a yield or await is missing.",
        "Wait for it with yield or await; start work that nobody waits for as a detached workflow or child.",
    ),
    "swallows-exit": _Rule(
        "When a worker drops an instance from memory it closes its code with GeneratorExit; code that catches that and "
        "goes on does work that the history knows nothing of.",
        "Catch Exception, not BaseException, and do not call activities in finally.",
    ),
    "mistake": _Rule(
        "The code raises an error that nobody raises on purpose, or gives a value that no payload can hold.",
        "Mend the code; payloads are JSON, dataclasses, pydantic models and the like.",
    ),
    "waits-for-nothing": _Rule(
        "Nothing was called, no timer is set and no event is awaited, so the instance hangs for ever.",
        "Wait for tasks that the context gives, and make none yourself.",
    ),
    "not-a-task": _Rule(
        "Workflow code waits for tasks of its context only.", "Yield what ctx.call_activity() returns."
    ),
    "context-outside": _Rule(
        "The context belongs to the code of its workflow: what others ask of it cannot be replayed.",
        "Pass values to activities instead.",
    ),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """A way in which a workflow breaks on replay.

    Attributes:
        rule_id: The rule it breaks; a key of `RULES`.
        message: What happens, in a sentence.
        path: File of the code; empty if it is not known.
        line: Its line; 0 if it is not known.
        event: Number of the event in the history, from 1, where it shows; 0 if it is not about one.
        perturbation: What was changed to find it; empty if nothing was.
    """

    rule_id: str
    message: str
    path: str = ""
    line: int = 0
    event: int = 0
    perturbation: Perturbation = ""

    @property
    def headline(self) -> str:
        """``file:line: rule message``."""
        place = f"{self.path}:{self.line}: " if self.path else ""
        return f"{place}{self.rule_id} {self.message}"

    def __str__(self) -> str:
        rule = RULES[self.rule_id]
        shows = f"\n    Shows: at event {self.event} of the history." if self.event else ""
        return f"{self.headline}{shows}\n    Why: {rule.why}\n    Use: {rule.do}"


@dataclass(frozen=True, slots=True)
class DeterminismReport:
    """What a check of a workflow found. Prints as text; true if nothing was found.

    Attributes:
        workflow: Name of the workflow.
        findings: What breaks it.
        not_checked: What could not be checked, and why.
        turns: How many turns were replayed.
    """

    workflow: str
    findings: Sequence[Finding]
    not_checked: Sequence[str]
    turns: int

    @property
    def ok(self) -> bool:
        """Whether nothing was found."""
        return not self.findings

    def __bool__(self) -> bool:
        return self.ok

    def document(self) -> dict[str, Any]:
        """The report as JSON has it."""
        return {
            "workflow": self.workflow,
            "ok": self.ok,
            "turns": self.turns,
            "findings": [
                {
                    "rule": finding.rule_id,
                    "message": finding.message,
                    "path": finding.path,
                    "line": finding.line,
                    "event": finding.event,
                    "perturbation": finding.perturbation,
                }
                for finding in self.findings
            ],
            "not_checked": list(self.not_checked),
        }

    def __str__(self) -> str:
        lines = [str(finding) for finding in self.findings]
        count = len(self.findings)
        what = "nothing" if not count else f"{count} problem{'' if count == 1 else 's'}"
        lines.append(f"Workflow {self.workflow!r}: {what} found in {self.turns} turns.")
        lines += [f"Not checked: {reason}." for reason in self.not_checked]
        return "\n".join(lines)
