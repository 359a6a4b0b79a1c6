"""Why code and history have parted: the rules that name the likely cause, and what to do about it.

Pure functions of the steps on both sides and of the calls that stand in the source. The rules are tried from the most
certain to the least; `diagnose` has their order.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import Enum

from dapr_workflow_sdk.replay.source import Arm, Source, SourceCall, parting
from dapr_workflow_sdk.replay.steps import Step, StepKind


class Cause(str, Enum):
    """The likely cause of a mismatch."""

    UNSTEADY = "it differs between runs"
    RENAMED = "a call was renamed"
    ADDED = "a step was added"
    REMOVED = "a step was removed"
    REORDERED = "the order of steps was changed"
    BRANCH = "another branch was taken"
    KIND = "a call became one of another kind"
    RETRIES = "a retry policy was added or removed"
    WAITS = "the code waits earlier"
    FAILS = "the code fails earlier"
    SHORTENED = "the code was shortened"
    LENGTHENED = "the code was lengthened"
    REPLACED = "a step was replaced"
    PATCH = "a patch is missing"
    VERSION = "a version is missing"
    HISTORY = "the history is not one that this workflow made"


@dataclass(frozen=True)
class Situation:
    """Where code and history have parted.

    Attributes:
        workflow: Name of the workflow.
        recorded: What the history records from there on; empty if it records nothing more.
        asked: What the code asks for from there on, as far as it got.
        agreed: What both had before.
        ending: How the code ended before it made the recorded call, as in "the code now ends"; None if it waits.
        source: The calls that stand in the workflow's function.
        patches: Patches that the history was made with and the code does not ask about.
        unsteady: Whether the same code, run again over the same history, did something else.
    """

    workflow: str
    recorded: tuple[Step, ...]
    asked: tuple[Step, ...]
    agreed: tuple[Step, ...] = ()
    ending: str | None = None
    source: Source = field(default_factory=Source)
    patches: tuple[str, ...] = ()
    unsteady: bool = False


@dataclass(frozen=True)
class Diagnosis:
    """What is likely the matter.

    Attributes:
        cause: The likely cause.
        reason: The same as a sentence about this code.
        fix: What to do.
    """

    cause: Cause
    reason: str
    fix: str


# Explanations travel in places that have little room, such as the headers of gRPC.
_LONGEST = 120
# What conditions read that is not the same in the next run.
_FICKLE = re.compile(
    r"\b(now|utcnow|today|time|monotonic|perf_counter|random|randint|randrange|choice|uuid[0-9]?|environ|getenv"
    r"|is_replaying)\b"
)
_STEADY = (
    "Decide by the input, by results of activities, by ctx.current_utc_datetime or ctx.new_guid(); what else decides "
    "belongs into an activity."
)


def diagnose(situation: Situation) -> Diagnosis:
    """The likely cause of a mismatch."""
    if situation.unsteady:
        reason = (
            "The same code, run again over the same history, asked for something else: it decides by something that "
            "differs between runs (the clock, random numbers, the environment, a global variable)."
        )
        return Diagnosis(Cause.UNSTEADY, reason, _STEADY)
    if situation.patches:
        return missing_patch(situation.patches[0])
    if not situation.recorded:
        return _lengthened(situation)
    if any(step.number == situation.recorded[0].number for step in situation.agreed):
        reason = f"Call {situation.recorded[0].number} is recorded twice, which no task hub does."
        return Diagnosis(Cause.HISTORY, reason, "Look into where the history comes from.")
    if not situation.asked:
        return _asks_for_nothing(situation)
    return _asks_for_another(situation, situation.recorded[0], situation.asked[0])


def missing_patch(name: str) -> Diagnosis:
    """The code does not ask any more about a patch that a history was made with."""
    return Diagnosis(
        Cause.PATCH,
        f"The history was made with patch {name!r}, which the code does not ask about there.",
        f"Keep ctx.is_patched({name!r}) in its place until no instance is left that has it.",
    )


def _keep(situation: Situation) -> str:
    return keep_old_code(situation.workflow)


def keep_old_code(workflow: str) -> str:
    """What can be done where instances run that other code has begun."""
    return (
        "Keep what the history has for instances that have begun: put the change behind `if ctx.is_patched('a-name'):`"
        ", or register the changed function as a new version (runtime.versioned_workflow) or under another name, as in "
        f"@workflow(name={workflow + '_v2'!r})."
    )


# ---- the code has no call where the history has one ------------------------------------------------------------


def _asks_for_nothing(situation: Situation) -> Diagnosis:
    missing = situation.recorded[0]
    if situation.ending is not None and situation.ending.startswith("fails"):
        reason = f"The code now {situation.ending} before it makes this call."
        return Diagnosis(Cause.FAILS, reason, "Mend the error; if it is meant, it is a change. " + _keep(situation))
    if missing.kind is StepKind.RETRY:
        return _retries(situation, "The call that failed had a retry policy, and has none now, or another one.")
    found = situation.source.find(missing.kind, missing.name) if situation.source.calls else []
    arm = _condition_of(found)
    if situation.ending is not None:
        if arm is not None:
            return _branch(situation, arm, f"the code skips {missing} and ends")
        if any(call.looped for call in found):
            reason = f"{_Start(missing)} stands in a loop, which now has fewer rounds than the history."
            return Diagnosis(Cause.SHORTENED, reason, _steady_or_keep(situation))
        gone = " It does not stand in the code any more." if situation.source.calls and not found else ""
        return Diagnosis(Cause.SHORTENED, f"The code now ends where {missing} came.{gone}", _keep(situation))
    if found:
        reason = (
            f"{_Start(missing)} still stands in the code, but the code now waits for something else first: a wait was "
            "added, or calls that were made together are made one after the other."
        )
        return Diagnosis(Cause.WAITS, reason, _keep(situation))
    reason = f"The code does not make {missing} any more, and waits for something else."
    return Diagnosis(Cause.REMOVED, reason, _keep(situation))


def _lengthened(situation: Situation) -> Diagnosis:
    if not situation.asked:
        reason = "The code now ends in another way than it did."
        return Diagnosis(Cause.REPLACED, reason, _steady_or_keep(situation))
    step = situation.asked[0]
    reason = f"The code now makes {step} after the last call that the history has."
    return Diagnosis(Cause.LENGTHENED, reason, _keep(situation))


# ---- the code has another call where the history has one -------------------------------------------------------


def _asks_for_another(situation: Situation, old: Step, new: Step) -> Diagnosis:
    if StepKind.RETRY in (old.kind, new.kind) and old.kind is not new.kind:
        had = "had" if old.kind is StepKind.RETRY else "did not have"
        return _retries(situation, f"The call that failed {had} a retry policy that tried again then; now it differs.")
    arm = _parting(situation, old, new)
    if arm is not None:
        return _branch(situation, arm, f"the code makes {new} where it made {old}")
    new_comes = any(step.is_like(new) for step in situation.recorded[1:])
    old_comes = any(step.is_like(old) for step in situation.asked[1:]) or _stands_after(situation, old, new)
    if new_comes and old_comes:
        reason = f"The history has {old} before {new}; the code now has them the other way round."
        return Diagnosis(Cause.REORDERED, reason, _keep(situation))
    if old_comes:
        reason = f"{_Start(new)} is new; {old} comes after it now."
        return Diagnosis(Cause.ADDED, reason, _keep(situation))
    if new_comes:
        skipped = _condition_of(situation.source.find(old.kind, old.name))
        if skipped is not None:
            return _branch(situation, skipped, f"the code skips {old} and goes on with {new}")
        reason = f"The code goes on with {new}, which follows in the history: {old} before it is gone."
        return Diagnosis(Cause.REMOVED, reason, _keep(situation))
    if old.kind is not new.kind:
        if old.name == new.name and old.name:
            reason = f"{old.name!r} was called as {_a(old.kind)} and is called as {_a(new.kind)} now."
            return Diagnosis(Cause.KIND, reason, _keep(situation))
        reason = f"The code now makes {new} in the place of {old}."
        return Diagnosis(Cause.REPLACED, reason, _keep(situation))
    still_there = bool(situation.source.find(old.kind, old.name))
    if old.is_named and not still_there and (old.input == new.input or _same_after(situation)):
        return _renamed(old, new)
    reason = f"The code now makes {new} in the place of {old}."
    return Diagnosis(Cause.REPLACED, reason, _steady_or_keep(situation) if still_there else _keep(situation))


def _renamed(old: Step, new: Step) -> Diagnosis:
    what = old.kind.value
    word = "activity" if old.kind is StepKind.ACTIVITY else "workflow"
    reason = f"{what.capitalize()} {old.name!r} seems to be called {new.name!r} now: the call stands in the same place"
    reason += " with the same input." if old.input == new.input else "."
    fix = f"Keep the name that histories have, whatever the function is called: @{word}(name={old.name!r})."
    return Diagnosis(Cause.RENAMED, reason, fix)


def _retries(situation: Situation, reason: str) -> Diagnosis:
    fix = "A retry policy is part of what a history was made with. " + _keep(situation)
    return Diagnosis(Cause.RETRIES, reason, fix)


def _branch(situation: Situation, arm: Arm, what: str) -> Diagnosis:
    fickle = _FICKLE.search(arm.condition)
    condition = arm.condition if len(arm.condition) <= _LONGEST else f"{arm.condition[: _LONGEST - 3]}..."
    reason = f"`{condition}` at line {arm.line} decides otherwise than it did: {what}."
    if fickle is not None:
        reason += f" It reads {fickle[0]!r}, which differs between runs."
        return Diagnosis(Cause.BRANCH, reason, _STEADY)
    return Diagnosis(Cause.BRANCH, reason, _steady_or_keep(situation))


def _steady_or_keep(situation: Situation) -> str:
    return f"If it was not changed, it differs between runs. {_STEADY} If it was: {_lower(_keep(situation))}"


# ---- where calls stand -----------------------------------------------------------------------------------------


def _called_here(situation: Situation, step: Step) -> list[SourceCall]:
    found = situation.source.find(step.kind, step.name)
    # The line of a call that spans several is that of its end or its beginning, depending on the interpreter.
    here = [call for call in found if (call.file, call.line) == step.place]
    return here or found


def _parting(situation: Situation, old: Step, new: Step) -> Arm | None:
    """The condition that chooses between the two calls."""
    for made in _called_here(situation, new):
        for other in situation.source.find(old.kind, old.name):
            arm = parting(other, made)
            if arm is not None:
                return arm
    return None


def _condition_of(found: list[SourceCall]) -> Arm | None:
    """The innermost condition of a call, if all places where it stands have one."""
    return found[-1].arms[-1] if found and all(call.arms for call in found) else None


def _stands_after(situation: Situation, old: Step, new: Step) -> bool:
    here = next((n for n, call in enumerate(situation.source.calls) if (call.file, call.line) == new.place), None)
    return here is not None and any(call.may_be(old.kind, old.name) for call in situation.source.calls[here + 1 :])


def _same_after(situation: Situation) -> bool:
    """Whether the next steps of both sides are alike."""
    return (
        len(situation.recorded) > 1 and len(situation.asked) > 1 and (situation.recorded[1].is_like(situation.asked[1]))
    )


def _Start(step: Step) -> str:  # noqa: N802 - the step as the beginning of a sentence
    text = str(step)
    return text[0].upper() + text[1:]


def _lower(text: str) -> str:
    return text[0].lower() + text[1:]


def _a(kind: StepKind) -> str:
    return f"an {kind.value}" if kind.value[0] in "aeiou" else f"a {kind.value}"
