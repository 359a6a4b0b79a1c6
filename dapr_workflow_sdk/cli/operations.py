"""Commands that act on instances: start, raise, pause, resume, terminate, rerun, wait."""

from __future__ import annotations

import asyncio
import concurrent.futures
import time
from collections.abc import Callable, Coroutine
from functools import partial
from typing import Annotated, Any

import typer
from rich.text import Text

from dapr_workflow_sdk.cli.arguments import InstanceId, InstanceIds, parse_age, parse_moment, read_payload
from dapr_workflow_sdk.cli.files import NOT_FOUND, NOT_WELL, TIMED_OUT, WRONG, CommandError
from dapr_workflow_sdk.cli.instances import read_events, read_state_of
from dapr_workflow_sdk.cli.rendering import clean, detail_of, duration_of, state_document, status_of, status_text
from dapr_workflow_sdk.cli.session import Session, hub_command
from dapr_workflow_sdk.client.requests import check_instance_id
from dapr_workflow_sdk.client.state import WorkflowStatus
from dapr_workflow_sdk.client.timeline import read_story
from dapr_workflow_sdk.client.wording import span
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.identifiers import new_instance_id
from dapr_workflow_sdk.taskhub.port import Milestone
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of, timestamp_of

_Input = Annotated[
    str | None,
    typer.Option(
        "--input", "-i", metavar="JSON", help="Its input: JSON, @FILE, or - for standard input.", show_default=False
    ),
]
_Timeout = Annotated[
    str | None,
    typer.Option(
        "--timeout", metavar="TIME", help="How long at most: 30s, 5m. (default: for ever)", show_default=False
    ),
]


@hub_command
def start(
    session: Session,
    name: Annotated[str, typer.Argument(metavar="WORKFLOW", help="Name of the workflow.", show_default=False)],
    payload: _Input = None,
    instance_id: Annotated[
        str | None, typer.Option("--id", metavar="ID", help="Its id. (default: a new one)", show_default=False)
    ] = None,
    at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When: 2026-11-21T18:00 (local time), or +10m.", show_default=False),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait until it has ended, as `wait` does.")] = False,
    timeout: _Timeout = None,
) -> None:
    """Start an instance of a workflow, and print its id."""
    if instance_id is not None:
        check_instance_id(instance_id)
    request = pb.CreateInstanceRequest(
        instanceId=instance_id or new_instance_id(),
        name=name,
        input=text_of(read_payload(payload, "--input")),
        scheduledStartTimestamp=None if at is None else timestamp_of(parse_moment(at)),
    )
    limit = None if timeout is None else parse_age(timeout).total_seconds()
    if wait:
        _check_runnable(session, f"{name} cannot be waited for")
    started = session.call(lambda: session.hub.start(request))
    if wait:
        _wait_for(session, [started], limit)
        return
    if session.json:
        session.document({"id": started})
    else:
        session.say(clean(started))
        _say_if_nobody_works(session)


def _check_runnable(session: Session, problem: str) -> None:
    if session.target.in_process:
        raise CommandError(
            f"{problem}: nothing runs workflows while this command has {session.target.db} open. Start its program or "
            f"`dapr-workflow engine --db {session.target.db}` and a worker, and name that with --grpc-port."
        )


def _say_if_nobody_works(session: Session) -> None:
    if session.target.in_process:
        session.note(f"It runs when an engine with a worker opens {session.target.db}.")
    elif session.call(session.hub.capabilities).extensions and not session.call(session.hub.workers):
        session.note("No worker is connected; it runs as soon as one is.")


@hub_command
def raise_event(
    session: Session,
    instance_id: InstanceId,
    event: Annotated[str, typer.Argument(metavar="EVENT", help="Name of the event.", show_default=False)],
    data: Annotated[
        str | None,
        typer.Option(
            "--data", "-d", metavar="JSON", help="Its data: JSON, @FILE, or - for standard input.", show_default=False
        ),
    ] = None,
) -> None:
    """Raise an event for an instance."""
    if not event:
        raise CommandError("An event needs a name that is not empty.")
    request = pb.RaiseEventRequest(instanceId=instance_id, name=event, input=text_of(read_payload(data, "--data")))
    state = read_state_of(session, instance_id)
    if status_of(state).is_final:
        raise CommandError(f"{instance_id} has ended ({status_of(state).name}); it takes no events any more.")
    session.call(lambda: session.hub.raise_event(request))
    if session.json:
        session.document({"id": instance_id, "event": event, "result": "raised"})
    else:
        session.say(f"{clean(instance_id)}: {clean(event)} raised")


def on_each(
    session: Session,
    ids: list[str],
    operation: Callable[[str], Coroutine[Any, Any, str]],
) -> None:
    """Does something to each of several instances, and says what came of it.

    Args:
        session: The session.
        ids: The instances.
        operation: What to do; it returns a word for what it has done.

    Raises:
        typer.Exit: Something went wrong for one of them, of which was told.
    """
    from dapr_workflow_sdk.errors import WorkflowNotFoundError

    code = 0
    for instance_id in dict.fromkeys(ids):
        try:
            result = session.call(partial(operation, instance_id))
        except WorkflowError as error:
            missing = isinstance(error, WorkflowNotFoundError)
            code = max(code, NOT_FOUND if missing else WRONG)
            if session.json:
                session.line({"id": instance_id, "result": "not_found" if missing else "error", "error": str(error)})
            session.err.print(Text(f"dapr-workflow: {clean(str(error))}", style="red"), soft_wrap=True)
            continue
        if session.json:
            session.line({"id": instance_id, "result": result})
        else:
            session.say(f"{clean(instance_id)}: {result}")
    if code:
        raise typer.Exit(code)


@hub_command
def pause(session: Session, ids: InstanceIds) -> None:
    """Pause instances: events and results are kept for them until they are resumed."""

    async def do(instance_id: str) -> str:
        await session.hub.suspend(pb.SuspendRequest(instanceId=instance_id))
        state = await session.hub.state(instance_id, payloads=False)
        if state is not None and status_of(state).is_final:
            return f"has ended already ({status_of(state).name})"
        return "paused"

    on_each(session, ids, do)


@hub_command
def resume(session: Session, ids: InstanceIds) -> None:
    """Let paused instances go on, and those that stalled because workers were lost with them.

    Repair what ended the workers first. Other stalled instances go on by themselves when a worker with the code that
    they need connects.
    """

    async def do(instance_id: str) -> str:
        before = await session.hub.state(instance_id, payloads=False)
        await session.hub.resume(pb.ResumeRequest(instanceId=instance_id))
        status = WorkflowStatus.SUSPENDED if before is None else status_of(before)
        if status is WorkflowStatus.STALLED and (await session.hub.capabilities()).extensions:
            return "taken up again"
        if status is not WorkflowStatus.SUSPENDED:
            return f"was not paused ({status.name})"
        return "resumed"

    on_each(session, ids, do)


@hub_command
def terminate(
    session: Session,
    ids: InstanceIds,
    output: Annotated[
        str | None,
        typer.Option(
            metavar="JSON", help="The output they end with: JSON, @FILE, or - for standard input.", show_default=False
        ),
    ] = None,
    recursive: Annotated[bool, typer.Option(help="Their child workflows as well.")] = True,
) -> None:
    """End instances where they stand. Activities that run are not stopped; their results are dropped."""
    text = read_payload(output, "--output")

    async def do(instance_id: str) -> str:
        before = await session.hub.state(instance_id, payloads=False)
        request = pb.TerminateRequest(instanceId=instance_id, output=text_of(text), recursive=recursive)
        await session.hub.terminate(request)
        if before is not None and status_of(before).is_final:
            return f"has ended already ({status_of(before).name})"
        return "terminated"

    on_each(session, ids, do)


@hub_command
def rerun(
    session: Session,
    instance_id: InstanceId,
    event: Annotated[
        str,
        typer.Option(
            "--from",
            metavar="CALL",
            show_default=False,
            help="The call to begin with: its number in the history, or its name for the last one.",
        ),
    ],
    payload: Annotated[
        str | None,
        typer.Option(
            "--input",
            "-i",
            metavar="JSON",
            show_default=False,
            help="Another input for that call: JSON, @FILE, or - for standard input.",
        ),
    ] = None,
    new_id: Annotated[
        str | None,
        typer.Option("--id", metavar="ID", help="Id of the new instance. (default: a new one)", show_default=False),
    ] = None,
) -> None:
    """Run a finished instance again from one of its calls, as a new instance; what came before is kept."""
    if new_id is not None:
        check_instance_id(new_id)
    number = int(event.removeprefix("#")) if event.removeprefix("#").isdecimal() else None
    if number is None:
        call = read_story(read_events(session, instance_id)).last_call(event)
        if call is None or call.call is None:
            raise CommandError(
                f"{instance_id} never called {event}. What it called: dapr-workflow history {instance_id}.", NOT_FOUND
            )
        number = call.call
    if number > 2**31 - 1:
        raise CommandError(f"{instance_id} has no call #{number}.", NOT_FOUND)
    text = read_payload(payload, "--input")
    request = pb.RerunWorkflowFromEventRequest(
        sourceInstanceID=instance_id,
        eventID=number,
        newInstanceID=new_id,
        input=text_of(text),
        overwriteInput=text is not None,
    )
    started = session.call(lambda: session.hub.rerun(request))
    if session.json:
        session.document({"id": started, "source_id": instance_id, "from": number})
    else:
        session.say(clean(started))
        _say_if_nobody_works(session)


@hub_command
def wait(session: Session, ids: InstanceIds, timeout: _Timeout = None) -> None:
    """Wait until instances have ended, and tell how. The exit code is 0 if all of them completed."""
    limit = None if timeout is None else parse_age(timeout).total_seconds()
    if session.target.in_process:
        for instance_id in ids:
            if not status_of(read_state_of(session, instance_id)).is_final:
                _check_runnable(session, f"{instance_id} cannot be waited for")
    _wait_for(session, list(dict.fromkeys(ids)), limit)


def _wait_for(session: Session, ids: list[str], limit: float | None) -> None:
    hub = session.hub
    deadline = None if limit is None else time.monotonic() + limit
    waiting = {
        asyncio.run_coroutine_threadsafe(hub.wait(one, Milestone.COMPLETED, payloads=True), PORTAL.loop): one
        for one in ids
    }
    codes = {0}
    try:
        while waiting:
            left = None if deadline is None else max(0.0, deadline - time.monotonic())
            done, _ = concurrent.futures.wait(waiting, left, concurrent.futures.FIRST_COMPLETED)
            if not done:
                codes.add(TIMED_OUT)
                for instance_id in waiting.values():
                    _tell_late(session, instance_id, limit or 0)
                break
            for future in done:
                codes.add(_tell_end(session, waiting.pop(future), future.result()))
    finally:
        for future in waiting:
            future.cancel()
    for code in (NOT_FOUND, TIMED_OUT, NOT_WELL):
        if code in codes:
            raise typer.Exit(code)


def _tell_end(session: Session, instance_id: str, state: pb.WorkflowState | None) -> int:
    if state is None:
        message = f"There is no instance {clean(instance_id)} at {session.hub.description}."
        if session.json:
            session.line({"id": instance_id, "status": None, "error": message})
        session.err.print(Text(f"dapr-workflow: {message}", style="red"), soft_wrap=True)
        return NOT_FOUND
    status = status_of(state)
    if session.json:
        session.line(state_document(state))
    else:
        line = Text(f"{clean(instance_id)}  ").append_text(status_text(status.name))
        took = duration_of(state)
        if took is not None:
            line.append(f"  {span(took)}", style="dim")
        if detail := detail_of(state):
            line.append(f"  {detail}")
        session.say(line)
    return 0 if status is WorkflowStatus.COMPLETED else NOT_WELL


def _tell_late(session: Session, instance_id: str, limit: float) -> None:
    message = f"{clean(instance_id)} has not ended within {span(int(limit * 1_000_000_000))}. It goes on."
    if session.json:
        session.line({"id": instance_id, "status": None, "error": message})
    session.err.print(Text(f"dapr-workflow: {message}", style="red"), soft_wrap=True)
