"""What every command shares: its options for the task hub and for JSON, its two outputs, and how it ends."""

from __future__ import annotations

import contextlib
import inspect
import json
import os
import sqlite3
import sys
from collections.abc import Callable, Coroutine, Generator
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Concatenate, TypeVar

import typer
from rich.console import Console, RenderableType
from rich.text import Text
from typing_extensions import ParamSpec

from dapr_workflow_sdk.cli.files import NOT_FOUND, WRONG, CommandError
from dapr_workflow_sdk.cli.target import Target
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.port import TaskHub

P = ParamSpec("P")
T = TypeVar("T")

INTERRUPTED = 130
_BROKEN_PIPE = 141
# What is piped must not be cut to the width of a terminal that is not there.
_UNLIMITED = 1_000_000


class _Output(Console):
    """A console that leaves the end of its reader to the command."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


class Session:
    """One run of a command.

    Attributes:
        target: The task hub it speaks to.
        json: Whether it writes for programs.
        out: Where results go.
        err: Where everything else goes.
    """

    def __init__(self, target: Target, *, json: bool) -> None:
        """Connects to nothing yet."""
        self.target = target
        self.json = json
        self.out = _Output(highlight=False, markup=False, emoji=False)
        self.err = _Output(highlight=False, markup=False, emoji=False, stderr=True)
        if not self.out.is_terminal:
            self.out.width = _UNLIMITED
        self._stack = contextlib.ExitStack()

    @cached_property
    def hub(self) -> TaskHub:
        """The task hub, connected when it is first used."""
        return self._stack.enter_context(self.target.opened())

    def close(self) -> None:
        """Lets go of the task hub."""
        self._stack.close()

    def call(self, function: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Runs an operation of the task hub and waits for it."""
        self._connect()
        return PORTAL.call(function)

    def _connect(self) -> TaskHub:
        # Opening a task hub waits for the SDK's loop, and so cannot be left to what runs on it.
        return self.hub

    @property
    def terminal(self) -> bool:
        """Whether a person looks at the results."""
        return self.out.is_terminal

    def show(self, renderable: RenderableType) -> None:
        """Prints a result; without a terminal, in lines as long as they need to be."""
        if self.terminal:
            self.out.print(renderable)
            return
        with self.out.capture() as captured:
            self.out.print(renderable)
        for line in captured.get().splitlines():
            print(line.rstrip())

    def say(self, text: str | Text) -> None:
        """Prints a line."""
        self.out.print(text, soft_wrap=True)

    def note(self, text: str) -> None:
        """Prints a line that is not part of the result."""
        self.err.print(text, style="dim", soft_wrap=True)

    def document(self, content: Any) -> None:
        """Prints one JSON document."""
        print(encoded(content, indent=2))

    def line(self, content: Any) -> None:
        """Prints one line of JSON lines."""
        print(encoded(content), flush=True)


def encoded(content: Any, indent: int | None = None) -> str:
    """JSON text that any terminal and file takes."""
    text = json.dumps(content, ensure_ascii=False, indent=indent)
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # A payload may have halves of characters, which JSON can write and no encoding can.
        return json.dumps(content, indent=indent)
    return text


_HUB = "Task hub"
_OPTIONS: dict[str, tuple[Any, Any]] = {
    "db": (
        Annotated[
            Path | None,
            typer.Option(
                "--db", metavar="FILE", help="Open this file of an engine that does not run.", rich_help_panel=_HUB
            ),
        ],
        None,
    ),
    "grpc_port": (
        Annotated[
            int | None,
            typer.Option(
                "--grpc-port",
                min=1,
                max=65535,
                metavar="N",
                help="gRPC port of an engine or sidecar. (default: DAPR_GRPC_PORT, else 50001)",
                rich_help_panel=_HUB,
            ),
        ],
        None,
    ),
    "endpoint": (
        Annotated[
            str | None,
            typer.Option(
                "--endpoint",
                metavar="ADDRESS",
                help="host:port or https://host:port of one. (default: DAPR_GRPC_ENDPOINT)",
                rich_help_panel=_HUB,
            ),
        ],
        None,
    ),
    "app_id": (
        Annotated[
            str | None,
            typer.Option(
                "--app-id", metavar="ID", help="Which app, if an engine serves several.", rich_help_panel=_HUB
            ),
        ],
        None,
    ),
}
_JSON = (Annotated[bool, typer.Option("--json", help="Write JSON, for programs.")], False)


def hub_command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """Makes a command of a function: adds the options that name the task hub, and ``--json``."""
    return _command(function, {**_OPTIONS, "json": _JSON})


def file_command(function: Callable[Concatenate[Session, P], None]) -> Callable[..., None]:
    """The same for a command that works on an engine's file, and not through a task hub."""
    return _command(function, {"json": _JSON})


def _command(function: Callable[..., None], options: dict[str, tuple[Any, Any]]) -> Callable[..., None]:
    own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
    more = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)
        for name, (annotation, default) in options.items()
    ]

    def run(**values: Any) -> None:
        named = {name: values.pop(name) for name in options if name != "json"}
        session = Session(Target(**named), json=values.pop("json"))
        with _ending(session):
            try:
                function(session, **values)
            finally:
                session.close()
            sys.stdout.flush()

    run.__name__ = function.__name__
    run.__doc__ = function.__doc__
    run.__module__ = function.__module__
    run.__annotations__ = {parameter.name: parameter.annotation for parameter in (*own, *more)}
    signature = inspect.Signature([p.replace(kind=inspect.Parameter.KEYWORD_ONLY) for p in (*own, *more)])
    run.__dict__["__signature__"] = signature
    return run


@contextlib.contextmanager
def _ending(session: Session) -> Generator[None, None, None]:
    """Turns errors into sentences and exit codes."""
    from dapr_workflow_sdk.errors import WorkflowNotFoundError

    try:
        yield
    except CommandError as error:
        raise _failed(session, str(error), error.code) from error
    except WorkflowNotFoundError as error:
        raise _failed(session, str(error), NOT_FOUND) from error
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None
    except BrokenPipeError:
        # Whoever read the output has enough. What is still buffered goes nowhere, also at the interpreter's end.
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise typer.Exit(_BROKEN_PIPE) from None
    except (WorkflowError, OSError, sqlite3.Error) as error:
        raise _failed(session, str(error), WRONG) from error


def _failed(session: Session, message: str, code: int) -> typer.Exit:
    # Text, because messages may have square brackets.
    with contextlib.suppress(BrokenPipeError):
        session.err.print(Text(f"dapr-workflow: {message}", style="red"), soft_wrap=True)
    return typer.Exit(code)
