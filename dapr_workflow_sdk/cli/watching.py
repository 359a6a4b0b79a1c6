"""The command that watches: a live table of instances, or one instance as it goes on."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Generator
from datetime import datetime, timezone
from functools import partial
from typing import Annotated

import typer
from rich.console import Group, RenderableType
from rich.text import Text

from dapr_workflow_sdk.cli.arguments import Name, OlderThan, Prefix, Statuses, YoungerThan, check_page_size, parse_age
from dapr_workflow_sdk.cli.files import NOT_WELL, CommandError
from dapr_workflow_sdk.cli.finding import Filter, make_filter, read_page
from dapr_workflow_sdk.cli.instances import read_state_of
from dapr_workflow_sdk.cli.rendering import (
    STYLES,
    clean,
    detail_of,
    state_document,
    state_table,
    status_of,
    status_text,
    when,
)
from dapr_workflow_sdk.cli.session import Session, hub_command
from dapr_workflow_sdk.cli.storytelling import story_table, summary, wait_text
from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.client.timeline import read_story
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# Lines of a screen that are not rows of the table, and how many rows are followed where there is no screen.
_FRAME = 6
_FOLLOWED = 200
_Show = Callable[[RenderableType], None]


@hub_command
def watch(
    session: Session,
    instance_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="Watch only this one, until it ends.", show_default=False)
    ] = None,
    interval: Annotated[str, typer.Option(metavar="TIME", help="How often to look: 500ms, 2s.")] = "1s",
    status: Statuses = None,
    name: Name = None,
    prefix: Prefix = None,
    older_than: OlderThan = None,
    younger_than: YoungerThan = None,
    limit: Annotated[
        int | None, typer.Option(metavar="N", help="How many instances. (default: what fits)", show_default=False)
    ] = None,
) -> None:
    """Watch instances as they go on, newest first; Ctrl-C ends it.

    In a pipe, or with --json, it writes a line for every change instead.
    """
    pause = max(0.05, parse_age(interval).total_seconds())

    def wanted() -> Filter:
        # Ages are counted from now, and now moves on.
        return make_filter(status, name, prefix, older_than, younger_than)

    if instance_id is not None and wanted() != Filter():
        raise CommandError("Give an id or filters, not both.")
    if limit is not None:
        check_page_size(limit)
    try:
        if instance_id is not None:
            _watch_one(session, instance_id, pause)
        else:
            _watch_all(session, wanted, pause, limit)
    except KeyboardInterrupt:
        return  # That is how one stops watching.


def _drawing(session: Session) -> bool:
    return session.terminal and not session.json


@contextlib.contextmanager
def _screen(session: Session) -> Generator[_Show, None, None]:
    """A part of the terminal that is drawn again and again."""
    from rich.live import Live

    with Live(console=session.out, auto_refresh=False, vertical_overflow="crop") as live:
        yield lambda drawing: live.update(drawing, refresh=True)


def _clock() -> str:
    return datetime.now(timezone.utc).astimezone().strftime("%H:%M:%S")


class _Changes:
    """Writes a line whenever an instance is not what it was."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._known: dict[str, tuple[str, str, str]] = {}

    def take(self, states: list[pb.WorkflowState]) -> None:
        """Compares the states with those before; oldest first, as things happen."""
        now = {
            state.instanceId: (state.executionId.value, status_of(state).name, detail_of(state))
            for state in reversed(states)
        }
        by_id = {state.instanceId: state for state in states}
        for instance_id, seen in now.items():
            if self._known.get(instance_id) != seen:
                self._tell(by_id[instance_id])
        self._known = now

    def _tell(self, state: pb.WorkflowState) -> None:
        if self._session.json:
            self._session.line(state_document(state))
            return
        line = Text(f"{_clock()}  {clean(state.instanceId)}  {clean(state.name)}  ")
        line.append_text(status_text(status_of(state).name))
        if detail := detail_of(state):
            line.append(f"  {detail}")
        self._session.say(line)
        self._session.out.file.flush()


def _watch_all(session: Session, wanted: Callable[[], Filter], pause: float, limit: int | None) -> None:
    where = session.hub.description
    if not _drawing(session):
        changes = _Changes(session)
        while True:
            with _outages(session):
                page = session.call(lambda: read_page(session.hub, wanted(), limit or _FOLLOWED, "", payloads=True))
                changes.take(page.states)
            time.sleep(pause)
    with _screen(session) as show:
        last: RenderableType = Text("")
        while True:
            rows = limit or max(3, session.out.height - _FRAME)
            try:
                page = session.call(partial(read_page, session.hub, wanted(), rows, "", payloads=True))
            except WorkflowError as error:
                show(Group(last, _trouble(error)))
            else:
                last = _all_of(where, page.states, session.out.width, more=bool(page.token))
                show(last)
            time.sleep(pause)


def _all_of(where: str, states: list[pb.WorkflowState], width: int, *, more: bool) -> RenderableType:
    counts = Counter(status_of(state).name for state in states)
    head = Text.assemble((f"{_clock()}  {where}  ", "dim"))
    for status in STYLES:
        if counts[status]:
            head.append(f" {counts[status]} {status}", style=STYLES[status])
    if more:
        head.append("  (the newest; there are more)", style="dim")
    body: RenderableType = state_table(states, width) if states else Text("No instances yet.", style="dim")
    return Group(head, Text(""), body)


def _watch_one(session: Session, instance_id: str, pause: float) -> None:
    state = read_state_of(session, instance_id)
    tells = session.call(session.hub.capabilities).lists
    if not _drawing(session):
        changes = _Changes(session)
        while True:
            changes.take([state])
            if status_of(state).is_final:
                break
            time.sleep(pause)
            with _outages(session):
                state = read_state_of(session, instance_id)
    else:
        with _screen(session) as show:
            last: RenderableType = Text("")
            while True:
                try:
                    state = read_state_of(session, instance_id)
                    last = _one_of(session, state, tells=tells)
                    show(last)
                except WorkflowError as error:
                    show(Group(last, _trouble(error)))
                if status_of(state).is_final:
                    break
                time.sleep(pause)
    if status_of(state) is not WorkflowStatus.COMPLETED:
        raise typer.Exit(NOT_WELL)


def _one_of(session: Session, state: pb.WorkflowState, *, tells: bool) -> RenderableType:
    head = Text.assemble((clean(state.name), "bold"), f"  {clean(state.instanceId)}  ")
    head.append_text(status_text(status_of(state).name)).append(f"  {detail_of(state)}")
    if not tells:
        updated = state.lastUpdatedTimestamp
        return Group(head, Text(f"updated {when(updated.seconds * 1_000_000_000)}", style="dim"))
    story = read_story(session.call(lambda: session.hub.history(state.instanceId)))
    waits = [] if status_of(state).is_final else [wait_text(entry) for entry in story.open.values()]
    rows = max(3, session.out.height - _FRAME - min(4, len(waits)))
    parts: list[RenderableType] = [
        head,
        Text(summary(story), style="dim"),
        Text(""),
        story_table(story, session.out.width, last=rows),
    ]
    if waits:
        parts.append(Text(""))
        parts += [Text.assemble(("Waits for ", "bold"), wait) for wait in waits[:4]]
    return Group(*parts)


def _trouble(error: WorkflowError) -> Text:
    return Text(f"\n{clean(str(error))} Trying again.", style="red")


@contextlib.contextmanager
def _outages(session: Session) -> Generator[None, None, None]:
    """A task hub that does not answer for a while is no reason to stop watching."""
    from dapr_workflow_sdk.errors import TaskHubUnavailableError

    try:
        yield
    except TaskHubUnavailableError as error:
        session.note(f"{clean(str(error))} Trying again.")
