"""Commands that look: list, show, history, workers."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from dapr_workflow_sdk.cli.arguments import InstanceId, Name, OlderThan, Prefix, Statuses, YoungerThan, check_page_size
from dapr_workflow_sdk.cli.files import NOT_FOUND, CommandError
from dapr_workflow_sdk.cli.finding import Filter, find_all, make_filter, read_page
from dapr_workflow_sdk.cli.rendering import (
    clean,
    duration_of,
    moment_of,
    plain_table,
    pretty,
    state_document,
    state_table,
    status_of,
    status_text,
    when,
)
from dapr_workflow_sdk.cli.session import Session, encoded, hub_command
from dapr_workflow_sdk.cli.storytelling import story_table, summary, wait_document, wait_text
from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.client.timeline import Story, read_story
from dapr_workflow_sdk.client.wording import iso, span
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds

# How many rows of a long list stand in one table, whose columns are as wide as these rows need.
_TABLE = 200
# How many child workflows `show` asks about.
_CHILDREN = 50


@hub_command
def list_instances(
    session: Session,
    status: Statuses = None,
    name: Name = None,
    prefix: Prefix = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
    limit: Annotated[int, typer.Option(metavar="N", help="How many at most.")] = 50,
    every: Annotated[bool, typer.Option("--all", help="All of them, however many.")] = False,
    page_token: Annotated[
        str, typer.Option(metavar="TOKEN", help="Go on where an earlier list ended.", show_default=False)
    ] = "",
    payloads: Annotated[
        bool | None,
        typer.Option(help="Read inputs, outputs and failures, too. (default: yes; no with --json)", show_default=False),
    ] = None,
) -> None:
    """List instances, newest first."""
    wanted = make_filter(status, name, prefix, older_than, younger_than)
    with_payloads = not session.json if payloads is None else payloads
    if every:
        _list_all(session, wanted, with_payloads=with_payloads)
        return
    size = check_page_size(limit)
    page = session.call(lambda: read_page(session.hub, wanted, size, page_token, payloads=with_payloads))
    if session.json:
        shown = [state_document(state, payloads=with_payloads) for state in page.states]
        session.document({"instances": shown, "next_page_token": page.token or None})
        return
    if not page.states:
        _say_none(session, wanted)
        return
    session.show(state_table(page.states, session.out.width))
    if page.token:
        session.note(f"There are more: --all, or the next {size} with --page-token {page.token}")


def _say_none(session: Session, wanted: Filter) -> None:
    session.note("No instances." if wanted == Filter() else "No such instances.")
    if session.target.app_id is None and session.call(session.hub.capabilities).extensions:
        described = session.call(session.hub.describe)
        others = sorted(set(described.appIds) - {described.appId})
        if others:
            session.note(f"This engine also serves {', '.join(map(clean, others))}: name one with --app-id.")


def _list_all(session: Session, wanted: Filter, *, with_payloads: bool) -> None:
    states = find_all(session, wanted, payloads=with_payloads)
    if not session.json:
        counts: Counter[str] = Counter()
        while part := list(itertools.islice(states, _TABLE)):
            session.show(state_table(part, session.out.width))
            counts.update(status_of(state).name for state in part)
        if counts:
            session.note(", ".join(f"{count} {name}" for name, count in counts.most_common()))
        else:
            _say_none(session, wanted)
        return
    # One document, written as it comes: it may be too large to be held. If there can be none, nothing is written.
    first = list(itertools.islice(states, 1))
    print('{"instances": [', end="")
    for number, state in enumerate(itertools.chain(first, states)):
        print(",\n " if number else "\n ", encoded(state_document(state, payloads=with_payloads)), sep="", end="")
    print('\n], "next_page_token": null}')


def read_state_of(session: Session, instance_id: str) -> pb.WorkflowState:
    """The state of an instance, payloads included.

    Raises:
        CommandError: There is no such instance.
    """
    state = session.call(lambda: session.hub.state(instance_id, payloads=True))
    if state is None:
        raise CommandError(
            f"There is no instance {instance_id} at {session.hub.description}. It was never started there, or has been "
            "purged.",
            NOT_FOUND,
        )
    return state


def read_events(session: Session, instance_id: str) -> list[pb.HistoryEvent]:
    """The history of an instance.

    Raises:
        CommandError: The task hub tells no histories.
    """
    if not session.call(session.hub.capabilities).lists:
        raise CommandError(
            f"The sidecar at {session.hub.description} does not tell histories; Dapr's do from version 1.17 on. The "
            f"state of an instance it does tell: dapr-workflow show {instance_id}."
        )
    return list(session.call(lambda: session.hub.history(instance_id)))


async def _children_of(session: Session, story: Story) -> list[dict[str, Any]]:
    calls = story.children[-_CHILDREN:]
    states = await asyncio.gather(*(session.hub.state(call.child, payloads=False) for call in calls))
    return [
        {
            "id": call.child,
            "name": call.name,
            "call": call.call,
            "status": None if state is None else status_of(state).name,
        }
        for call, state in zip(calls, states, strict=True)
    ]


@hub_command
def show(session: Session, instance_id: InstanceId) -> None:
    """Show one instance: where it stands, what it waits for, its input, output and failure."""
    state = read_state_of(session, instance_id)
    story: Story | None = None
    children: list[dict[str, Any]] = []
    if session.call(session.hub.capabilities).lists:
        found = read_story(session.call(lambda: session.hub.history(instance_id)))
        story = found
        children = session.call(lambda: _children_of(session, found))
    waits = [] if story is None or status_of(state).is_final else list(story.open.values())
    stalled = ""
    if story is not None and status_of(state) is WorkflowStatus.STALLED:
        stalled = next((entry.name for entry in reversed(story.entries) if entry.kind == "stalled"), "")
    if session.json:
        document = state_document(state)
        document["waiting_for"] = None if story is None else [wait_document(entry) for entry in waits]
        document["children"] = None if story is None else children
        if stalled:
            document["stalled_because"] = stalled
        session.document(document)
        return
    session.show(_summary_of(state, [wait_text(entry) for entry in waits], children))
    for title, text in (("Input", state.input), ("Output", state.output)):
        if text.value:
            session.say("")
            session.say(Text(title, style="bold"))
            session.say(pretty(text.value))
    if state.HasField("failureDetails"):
        _show_failure(session, state.failureDetails)
    if stalled:
        session.say("")
        session.say(Text("Stalled", style="bold"))
        session.say(Text(clean(stalled), style="red"))
    if story is None:
        session.note(
            "What it waits for and its children are not shown: this sidecar does not tell histories; Dapr's do from "
            "version 1.17 on."
        )


def _summary_of(state: pb.WorkflowState, waits: list[str], children: list[dict[str, Any]]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0), show_edge=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    table.add_row("Instance", Text(clean(state.instanceId)))
    table.add_row("Workflow", Text(clean(state.name) or "not known before its first turn"))
    table.add_row("Status", status_text(status_of(state).name))
    if state.customStatus.value:
        table.add_row("Custom status", Text(clean(state.customStatus.value)))
    now = time.time_ns()
    final = status_of(state).is_final
    ended = moment_of(state, "completedTimestamp")
    for title, moment in (
        ("Created", moment_of(state, "createdTimestamp")),
        ("To start", None if moment_of(state, "startedAt") else moment_of(state, "scheduledStartTimestamp")),
        ("Started", moment_of(state, "startedAt")),
        ("Ended" if ended else "Updated", ended or moment_of(state, "lastUpdatedTimestamp")),
    ):
        if moment is not None:
            table.add_row(title, when(moment, now))
    took = duration_of(state)
    if took is not None and final:
        table.add_row("Took", span(took))
    if state.parentInstanceId.value:
        table.add_row("Parent", Text(clean(state.parentInstanceId.value)))
    for name, value in sorted(state.tags.items()):
        table.add_row("Tag", Text(clean(f"{name}={value}")))
    for number, wait in enumerate(waits):
        table.add_row("Waits for" if not number else "", Text(wait))
    for number, child in enumerate(children):
        line = Text(f"{clean(child['id'])}  {clean(child['name'])}  ")
        line.append_text(status_text(child["status"]) if child["status"] else Text("purged", style="dim"))
        table.add_row("Children" if not number else "", line)
    return table


def _show_failure(session: Session, failure: pb.TaskFailureDetails) -> None:
    session.say("")
    session.say(Text("Failure", style="bold"))
    title = ""
    while True:
        session.say(Text(f"{title}{clean(failure.errorType)}: {clean(failure.errorMessage)}", style="red"))
        if failure.stackTrace.value:
            session.say(Text(clean(failure.stackTrace.value.rstrip()), style="dim"))
        if not failure.HasField("innerFailure"):
            return
        failure, title = failure.innerFailure, "Caused by "


@hub_command
def history(
    session: Session,
    instance_id: InstanceId,
    whole: Annotated[bool, typer.Option("--full", help="Show payloads and messages whole, however long.")] = False,
) -> None:
    """Tell the history of an instance: turn by turn, what it called and what came of it."""
    state = read_state_of(session, instance_id)
    story = read_story(read_events(session, instance_id))
    if session.json:
        session.document(
            {
                "id": instance_id,
                "name": story.name,
                "turns": story.turns,
                "entries": [entry.document(story.begun) for entry in story.entries],
                "waiting_for": [wait_document(entry) for entry in story.open.values()],
            }
        )
        return
    head = Text.assemble((clean(story.name or state.name), "bold"), f"  {clean(instance_id)}  ")
    head.append_text(status_text(status_of(state).name))
    if story.begun:
        head.append(f"  {when(story.begun)}", style="dim")
    session.say(head)
    session.say(Text(summary(story), style="dim"))
    session.say("")
    session.show(story_table(story, session.out.width, whole=whole))
    for number, entry in enumerate(story.open.values()):
        if not number:
            session.say("")
        session.say(Text.assemble(("Waits for " if not number else "      and ", "bold"), wait_text(entry)))


@hub_command
def workers(session: Session) -> None:
    """List the workers that are connected, and how busy they are."""
    if not session.call(session.hub.capabilities).extensions:
        raise CommandError(
            f"{session.hub.description} is a Dapr sidecar, and no version of those tells which workers are connected. "
            "How many there are is in the answer of its HTTP port to GET /v1.0/metadata."
        )
    if session.target.in_process:
        raise CommandError(
            f"No worker can be connected to {session.target.db} while this command has it open. Ask the engine that "
            "serves it: --grpc-port N."
        )
    found = list(session.call(session.hub.workers))
    if session.json:
        session.document({"workers": [_worker_document(worker) for worker in found]})
        return
    if not found:
        session.note("No worker is connected.")
        return
    rows = [
        [
            clean(worker.identity or worker.workerId or "unnamed"),
            clean(worker.appId),
            when(nanoseconds(worker.connectedAt)),
            _busy(worker.turns, worker.maxTurns),
            _busy(worker.activities, worker.maxActivities),
        ]
        for worker in found
    ]
    session.show(plain_table(("WORKER", "APP", "CONNECTED", "TURNS", "ACTIVITIES"), rows, session.out.width))


def _busy(now: int, most: int) -> str:
    return f"{now} of {most}" if most else str(now)


def _worker_document(worker: pb.WorkerInfo) -> dict[str, Any]:
    return {
        "id": worker.workerId or None,
        "identity": worker.identity or None,
        "app_id": worker.appId,
        "connected_at": iso(worker.connectedAt),
        "turns": worker.turns,
        "activities": worker.activities,
        "max_turns": worker.maxTurns or None,
        "max_activities": worker.maxActivities or None,
    }
