"""The command that removes finished instances."""

from __future__ import annotations

import asyncio
from collections import Counter
from functools import partial
from typing import Annotated

import typer

from dapr_workflow_sdk.cli.arguments import FINISHED, EndedOlderThan, EndedYoungerThan, Name, Prefix, Status, Statuses
from dapr_workflow_sdk.cli.files import WRONG, CommandError
from dapr_workflow_sdk.cli.finding import find_all, make_filter
from dapr_workflow_sdk.cli.operations import on_each
from dapr_workflow_sdk.cli.progress import progress
from dapr_workflow_sdk.cli.rendering import clean, state_document, state_table, status_of
from dapr_workflow_sdk.cli.session import Session, hub_command
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_AT_ONCE = 8
_SHOWN = 20


@hub_command
def purge(
    session: Session,
    ids: Annotated[
        list[str] | None, typer.Argument(metavar="[ID...]", help="Ids of instances.", show_default=False)
    ] = None,
    finished: Annotated[
        bool, typer.Option("--all-finished", help="All that have completed, failed or been terminated.")
    ] = False,
    status: Statuses = None,
    name: Name = None,
    prefix: Prefix = None,
    older_than: EndedOlderThan = None,
    younger_than: EndedYoungerThan = None,
    recursive: Annotated[bool, typer.Option(help="Their child workflows as well.")] = True,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be removed.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
) -> None:
    """Remove finished instances and their histories, by id or by filter."""
    filtered = finished or any(option is not None for option in (status, name, prefix, older_than, younger_than))
    if ids and filtered:
        raise CommandError("Give ids or filters, not both.")
    if not ids and not filtered:
        raise CommandError("Say what to remove: ids, --all-finished, or filters such as --older-than 7d.")
    if ids:
        _purge_named(session, list(dict.fromkeys(ids)), recursive=recursive, dry_run=dry_run)
        return
    unfinished = [one.value for one in status or () if one not in FINISHED]
    if unfinished:
        raise CommandError(
            f"Only finished instances can be removed, not those that are {' or '.join(unfinished)}: terminate them "
            "first."
        )
    wanted = make_filter(status or list(FINISHED), name, prefix, older_than, younger_than, by_end=True)
    found = list(find_all(session, wanted, payloads=False))
    if dry_run:
        _show_doomed(session, found)
        return
    if not found:
        _tell(session, 0, [])
        return
    if not yes:
        _ask(session, found)
    removed, problems = _purge_found(session, [state.instanceId for state in found], recursive=recursive)
    _tell(session, removed, problems)


def _purge_named(session: Session, ids: list[str], *, recursive: bool, dry_run: bool) -> None:
    async def do(instance_id: str) -> str:
        if dry_run:
            from dapr_workflow_sdk.taskhub.failures import not_finished, not_found

            state = await session.hub.state(instance_id, payloads=False)
            if state is None:
                raise not_found(instance_id)
            if not status_of(state).is_final:
                raise not_finished(instance_id)
            return f"would be purged ({status_of(state).name})"
        request = pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive)
        count = await session.hub.purge(request)
        return "purged" if count <= 1 else f"purged, with {count - 1} child workflow{'s' if count > 2 else ''}"

    on_each(session, ids, do)


def _counted(states: list[pb.WorkflowState]) -> str:
    counts: Counter[Status] = Counter(Status(status_of(state).name) for state in states)
    return ", ".join(f"{count} {status.value}" for status, count in counts.most_common())


def _many(count: int) -> str:
    return f"{count} instance{'' if count == 1 else 's'}"


def _show_doomed(session: Session, found: list[pb.WorkflowState]) -> None:
    if session.json:
        shown = [state_document(state, payloads=False) for state in found]
        session.document({"would_purge": len(found), "instances": shown})
        return
    if found:
        session.show(state_table(found, session.out.width))
    session.note(f"Would purge {_many(len(found))}{f' ({_counted(found)})' if found else ''}. Nothing was removed.")


def _ask(session: Session, found: list[pb.WorkflowState]) -> None:
    import sys

    question = f"Purge {_many(len(found))} ({_counted(found)})?"
    if not sys.stdin.isatty():
        raise CommandError(f"{question} Nobody can be asked here: say --yes, or look first with --dry-run.")
    session.err.print(state_table(found[:_SHOWN], session.err.width))
    if len(found) > _SHOWN:
        session.note(f"and {len(found) - _SHOWN} more")
    try:
        answer = session.err.input(f"{question} [y/N] ", markup=False)
    except EOFError:
        answer = ""
    if answer.strip().lower() not in ("y", "yes"):
        raise CommandError("Nothing was removed.")


def _purge_found(session: Session, ids: list[str], *, recursive: bool) -> tuple[int, list[str]]:
    from dapr_workflow_sdk.errors import WorkflowNotFoundError

    problems: list[str] = []

    async def one(instance_id: str) -> int:
        try:
            return await session.hub.purge(pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive))
        except WorkflowNotFoundError:
            return 0  # It was removed with its parent.
        except WorkflowError as error:
            problems.append(f"{clean(instance_id)}: {clean(str(error))}")
            return 0

    async def some(part: list[str]) -> int:
        return sum(await asyncio.gather(*map(one, part)))

    removed = 0
    with progress(session, "Purging", len(ids)) as show:
        for begin in range(0, len(ids), _AT_ONCE):
            part = ids[begin : begin + _AT_ONCE]
            removed += session.call(partial(some, part))
            show(begin + len(part))
    return removed, problems


def _tell(session: Session, removed: int, problems: list[str]) -> None:
    if session.json:
        session.document({"purged": removed, "errors": problems})
    else:
        session.say(f"Purged {_many(removed)}.")
    for problem in problems:
        session.err.print(f"dapr-workflow: {problem}", style="red", soft_wrap=True)
    if problems:
        raise typer.Exit(WRONG)
