"""The rules: what each finds, why it matters, and what to write instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule of the linter.

    Attributes:
        id: Its name in findings and in ``# workflow: allow[...]`` comments.
        title: What it finds, as a heading.
        says: What the found code does; follows the code in the message of a finding.
        reason: Why that does not belong into a workflow.
        replacement: What to write instead.
    """

    id: str
    title: str
    says: str
    reason: str
    replacement: str


_ALL = (
    Rule(
        "wall-clock",
        "The machine's clock",
        "reads the machine's clock",
        "A replay runs later and sees another time.",
        "ctx.current_utc_datetime; to measure how long something takes, an activity.",
    ),
    Rule(
        "time-zone",
        "The machine's time zone",
        "depends on the machine's time zone",
        "Another worker may have another time zone, and ctx.current_utc_datetime is naive UTC.",
        "a zone of your own: ctx.current_utc_datetime.replace(tzinfo=timezone.utc), fromtimestamp(t, timezone.utc).",
    ),
    Rule(
        "random",
        "Random numbers",
        "draws random numbers",
        "A replay draws others.",
        "ctx.random(), which draws the same on every replay; or an activity that draws and returns them.",
    ),
    Rule(
        "uuid",
        "Random ids",
        "makes a new id",
        "A replay makes another.",
        "ctx.new_guid(), which gives the same ids on every replay.",
    ),
    Rule(
        "environment",
        "The environment of the process",
        "reads the environment of the process",
        "Variables, arguments, folders and locale differ between workers and between deployments.",
        "the workflow's input, or an activity that reads it and returns the value.",
    ),
    Rule(
        "machine",
        "What the machine and the process are",
        "asks which machine, process or version this is",
        "A replay may run on another machine, in another process, on another version.",
        "an activity that returns the value.",
    ),
    Rule(
        "hash",
        "Hashes of Python",
        "depends on Python's hash seed",
        "Hashes of strings differ from process to process.",
        "hashlib, for instance hashlib.sha256(text.encode()).hexdigest().",
    ),
    Rule(
        "memory",
        "Identities and memory",
        "depends on where objects are in memory, or which are there",
        "A replay has other objects at other addresses.",
        "a key that the data has, such as an order's number.",
    ),
    Rule(
        "introspection",
        "The code itself",
        "looks at the code itself",
        "Lines, names and classes change with every edit, and with what was imported before.",
        "names and lists that stand in the code.",
    ),
    Rule(
        "file",
        "Files",
        "uses the file system",
        "Files change between replays, differ between machines, and reading them holds up every other instance.",
        "an activity.",
    ),
    Rule(
        "database",
        "Databases",
        "uses a database",
        "Its content changes between replays, and each replay would do the work again.",
        "an activity.",
    ),
    Rule(
        "network",
        "The network",
        "uses the network",
        "Answers change between replays, each replay would ask again, and waiting holds up every other instance.",
        "an activity.",
    ),
    Rule(
        "client",
        "A client inside of a workflow",
        "uses a client",
        "Each replay would send the request again, and a synchronous call from a workflow would wait for itself.",
        "ctx.call_child_workflow() to start workflows; an activity for everything else.",
    ),
    Rule(
        "process",
        "Other programs",
        "starts or ends a process",
        "Each replay would do it again.",
        "an activity.",
    ),
    Rule(
        "console",
        "The keyboard",
        "waits for the keyboard",
        "Each replay would ask again, and waiting holds up every other instance.",
        "ctx.wait_for_external_event().",
    ),
    Rule(
        "thread",
        "Threads",
        "uses threads",
        "Their order differs on each replay, and the context may only be used by the workflow's own code.",
        "several calls of activities and when_all().",
    ),
    Rule(
        "sleep",
        "Sleeping",
        "sleeps",
        "It blocks or breaks the worker, and the time is lost when the worker ends.",
        "ctx.create_timer(timedelta(...)), which survives restarts.",
    ),
    Rule(
        "foreign-await",
        "Waiting for what is no task",
        "waits for something that is not a task of the workflow",
        "Only what the context's tasks give is recorded in the history; asyncio has no part in a workflow.",
        "tasks of the context: when_all() for gather(), when_any() for wait(), activities for asynchronous work.",
    ),
    Rule(
        "set-order",
        "The order of a set",
        "depends on the order of a set",
        "Sets of strings have another order in each process, so a replay makes its calls in another order.",
        "sorted(...) around the set, or a list.",
    ),
    Rule(
        "global-state",
        "State outside of the run",
        "uses state that outlives the run",
        "Each replay changes it once more, and all instances of the process share it.",
        "local variables, results of activities, or the input of ctx.continue_as_new().",
    ),
    Rule(
        "not-a-task",
        "Yielding what is no task",
        "is not a task",
        "A workflow can only wait for tasks; anything else ends the instance with an error.",
        "a task of the context; when_all([...]) for several; `yield from` (or `await`) for a helper that itself waits.",
    ),
    Rule(
        "forgotten-yield",
        "A task that nobody waits for",
        "is never waited for",
        "The workflow goes on without the result, and an error is lost.",
        "`yield`, `yield from` or `await` before it; `_ = ...` for a call that nobody is meant to wait for.",
    ),
    Rule(
        "swallowed-exit",
        "Swallowing the end of a run",
        "swallows GeneratorExit",
        "A waiting run that leaves memory is closed with GeneratorExit; code that catches it goes on when it must not.",
        "`except Exception`, or `raise` at the end of the handler.",
    ),
    Rule(
        "wrong-delay",
        "A delay that is a number",
        "is a number",
        "Timers and timeouts take a timedelta or a datetime; a number ends the instance with an error.",
        "timedelta(seconds=...).",
    ),
    Rule(
        "after-renewal",
        "Calls after continue_as_new",
        "is asked for after ctx.continue_as_new()",
        "Whatever the code asks for after it is dropped, and the run is over at its next wait.",
        "ctx.continue_as_new() as the last thing before the return.",
    ),
    Rule(
        "direct-call",
        "An activity called as a function",
        "calls an activity as an ordinary function",
        "It runs inside of the workflow, again on every replay, and its result is not recorded.",
        "ctx.call_activity(the_activity, input=...).",
    ),
    Rule(
        "replay-branch",
        "Deciding by is_replaying",
        "makes calls depend on ctx.is_replaying",
        "A replay takes the other branch, so its calls do not match the history.",
        "the same calls in both cases; ctx.is_replaying is for output and metrics only.",
    ),
    Rule(
        "context-escape",
        "The context given away",
        "gives the context away",
        "It may only be used by the workflow's own code, while that runs.",
        "values that the context gives, such as ctx.instance_id.",
    ),
)

RULES: dict[str, Rule] = {rule.id: rule for rule in _ALL}
