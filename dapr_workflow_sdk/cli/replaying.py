"""The commands that replay histories on code, before it is deployed."""

from __future__ import annotations

import difflib
from collections import defaultdict
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.cli.files import NOT_WELL, CommandError
from dapr_workflow_sdk.cli.rendering import clean
from dapr_workflow_sdk.cli.session import Session, file_command
from dapr_workflow_sdk.errors import WorkflowNotRegisteredError
from dapr_workflow_sdk.testing.history_files import WorkflowHistory, load_histories
from dapr_workflow_sdk.testing.loading import load_registry
from dapr_workflow_sdk.testing.replayer import Replayer, ReplayResult
from dapr_workflow_sdk.testing.storylines import storyline

_MOST_IDS = 5

_App = Annotated[
    str,
    typer.Option(
        "--app",
        metavar="MODULE[:NAME]",
        help="The code: a module or a file, and what in it: a list of workflows, a workflow or a WorkflowRuntime. "
        "Without NAME, all that is decorated with @workflow.",
        show_default=False,
    ),
]
_CheckInputs = Annotated[
    bool, typer.Option("--check-inputs", help="Also compare inputs of calls and results, which replay does not.")
]
_Prefixes = Annotated[
    bool,
    typer.Option(
        "--prefixes/--no-prefixes", help="Also replay each history up to every turn; slow for very long histories."
    ),
]


@file_command
def replay(
    session: Session,
    histories: Annotated[
        list[Path],
        typer.Argument(metavar="HISTORY...", help="Files or folders of exported histories.", show_default=False),
    ],
    app: _App,
    check_inputs: _CheckInputs = False,
    prefixes: _Prefixes = True,
) -> None:
    """Replay histories on code: does it still make the calls that they record?

    Nothing is called or sent, and no engine is needed. Exits with 1 if some history does not replay.
    """
    results = _replay_all(_read(histories), load_registry(app), check_inputs=check_inputs, prefixes=prefixes)
    failures = [result for result in results if not _is_ok(result)]
    if session.json:
        session.document({"ok": not failures, "results": [_document(*result) for result in results]})
    else:
        for history, result in results:
            ok = not isinstance(result, str) and result.ok
            line = Text("ok    " if ok else "FAIL  ", style="green" if ok else "red")
            line.append(f"{clean(history.name)}  {clean(history.instance_id)}  ", style="default")
            line.append(clean(history.origin), style="dim")
            session.say(line)
        for _, result in failures:
            session.say("")
            session.say(Text(clean(str(result))))
        session.say("")
        session.say(f"{len(results) - len(failures)} of {_count(len(results))} replay.")
    if failures:
        raise typer.Exit(NOT_WELL)


@file_command
def diff(
    session: Session,
    old: Annotated[
        Path, typer.Argument(metavar="OLD", help="A file or a folder of exported histories.", show_default=False)
    ],
    new: Annotated[
        str,
        typer.Argument(
            metavar="NEW",
            help="Code, as --app of `replay` takes it; or other histories, to compare call by call.",
            show_default=False,
        ),
    ],
    check_inputs: _CheckInputs = False,
    prefixes: _Prefixes = True,
) -> None:
    """Tell what a change of code does to stored histories, each difference once.

    OLD are histories of the code that runs, NEW is the code that is to run. Exits with 1 if there is a difference.
    """
    histories = _read([old])
    path = Path(new)
    if path.suffix != ".py" and path.exists():
        differs = _compare(session, histories, _read([path]))
    else:
        results = _replay_all(histories, load_registry(new), check_inputs=check_inputs, prefixes=prefixes)
        differs = _tell_groups(session, results)
    if differs:
        raise typer.Exit(NOT_WELL)


_Result = tuple[WorkflowHistory, "ReplayResult | str"]


def _read(paths: list[Path]) -> list[WorkflowHistory]:
    for path in paths:
        if not path.exists():
            raise CommandError(f"There is no file or folder {path}. Write histories with `dapr-workflow export`.")
    return [history for path in paths for history in load_histories(path)]


def _replay_all(
    histories: list[WorkflowHistory], registry: Registry, *, check_inputs: bool, prefixes: bool
) -> list[_Result]:
    replayer = Replayer(registry=registry, check_inputs=check_inputs, prefixes=prefixes)

    def result_of(history: WorkflowHistory) -> ReplayResult | str:
        try:
            return replayer.replay(history)
        except WorkflowNotRegisteredError as error:
            # A workflow that is gone is a difference like any other.
            return str(error)

    return [(history, result_of(history)) for history in histories]


def _is_ok(result: _Result) -> bool:
    return not isinstance(result[1], str) and result[1].ok


def _count(number: int) -> str:
    return f"{number} histor{'y' if number == 1 else 'ies'}"


def _document(history: WorkflowHistory, result: ReplayResult | str) -> dict[str, Any]:
    document: dict[str, Any] = {
        "file": history.origin,
        "id": history.instance_id,
        "workflow": history.name,
        "events": len(history),
        "ok": not isinstance(result, str) and result.ok,
    }
    if isinstance(result, str):
        return {**document, "missing": result}
    mismatch = result.mismatch
    return {
        **document,
        "status": result.status.name,
        "turns": result.turns,
        "mismatch": None if mismatch is None else {**asdict(mismatch), "cause": mismatch.cause.name.lower()},
        "drifts": [asdict(drift) for drift in result.drifts],
    }


def _tell_groups(session: Session, results: list[_Result]) -> bool:
    """Tells each difference once, with the instances that have it; returns whether there is one."""
    groups: dict[tuple[str, ...], list[_Result]] = defaultdict(list)
    for history, result in results:
        if isinstance(result, str):
            groups[history.name, "missing"].append((history, result))
        elif result.mismatch is not None:
            mismatch = result.mismatch
            groups[history.name, mismatch.cause.name, f"{mismatch.file}:{mismatch.line}", mismatch.reason].append(
                (history, result)
            )
        elif result.drifts:
            whats = ", ".join(sorted({drift.what for drift in result.drifts}))
            groups[history.name, "drift", whats].append((history, result))
    broken = sum(map(len, groups.values()))
    if session.json:
        told = [
            {
                "workflow": members[0][0].name,
                "instances": [history.instance_id for history, _ in members],
                "example": _document(*members[0]),
            }
            for members in groups.values()
        ]
        session.document({"ok": not groups, "histories": len(results), "broken": broken, "differences": told})
        return bool(groups)
    for members in groups.values():
        ids = [clean(history.instance_id) for history, _ in members]
        more = f" and {len(ids) - _MOST_IDS} more" if len(ids) > _MOST_IDS else ""
        head = f"{clean(members[0][0].name)}: {_count(len(members))}: {', '.join(ids[:_MOST_IDS])}{more}"
        session.say(Text(head, style="bold red"))
        session.say(Text(clean(str(members[0][1]))))
        session.say("")
    if groups:
        reasons = f"{len(groups)} reason{'' if len(groups) == 1 else 's'}"
        session.say(f"{broken} of {_count(len(results))} no longer replay, for {reasons}.")
    else:
        session.say(f"{len(results)} of {_count(len(results))} replay.")
    return bool(groups)


def _compare(session: Session, old: list[WorkflowHistory], new: list[WorkflowHistory]) -> bool:
    """Tells how calls of histories differ from those of others with the same ids; returns whether they do."""
    if len(old) == len(new) == 1:
        pairs = [(old[0], new[0])]
    else:
        others = {history.instance_id: history for history in new}
        pairs = [(history, others[history.instance_id]) for history in old if history.instance_id in others]
    if not pairs:
        raise CommandError("No instance is in both: histories are compared by the ids of their instances.")
    told: list[dict[str, Any]] = []
    for one, other in pairs:
        lines = list(difflib.unified_diff(storyline(one), storyline(other), one.origin, other.origin, lineterm="", n=2))
        if lines:
            told.append({"id": one.instance_id, "workflow": one.name, "diff": lines})
    if session.json:
        session.document({"ok": not told, "compared": len(pairs), "differences": told})
    else:
        for document in told:
            for line in document["diff"]:
                style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "default")
                session.say(Text(clean(line), style=style))
            session.say("")
        session.say(f"{len(pairs) - len(told)} of {_count(len(pairs))} compared have the same calls and results.")
    return bool(told)
