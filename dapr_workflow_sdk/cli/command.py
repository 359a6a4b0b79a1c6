"""The subcommands and their options."""

from __future__ import annotations

import logging
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from dapr_workflow_sdk import EmbeddedEngine, RetentionPolicy, __version__
from dapr_workflow_sdk.cli.arguments import parse_age
from dapr_workflow_sdk.cli.catalogue import add_commands
from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.cli.program import run_program
from dapr_workflow_sdk.cli.signals import StopSignals
from dapr_workflow_sdk.cli.tracing import exported_spans
from dapr_workflow_sdk.engine.embedded import ServedEngine
from dapr_workflow_sdk.errors import WorkflowError

app = typer.Typer(
    name="dapr-workflow",
    help="Durable workflows on this machine: an engine in one SQLite file, for workers and clients of Dapr workflows.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
_errors = Console(stderr=True, highlight=False)

# Ports of a Dapr sidecar, so that a program without any setting finds the engine.
_DAPR_GRPC_PORT = 50001
_DAPR_HTTP_PORT = 3500

_ApiToken = Annotated[
    str | None,
    typer.Option(
        envvar="DAPR_API_TOKEN",
        help="Token that workers and clients must send. Other users see the option in the list of processes: prefer "
        "the variable.",
        show_default=False,
        show_envvar=True,
    ),
]
_AppId = Annotated[str, typer.Option(help="Id of the app that is served.")]
_Apps = Annotated[
    list[str] | None,
    typer.Option(help="NAME=PORT: another app and a gRPC port for it, 0 for a free one; may be given several times."),
]
_Verbose = Annotated[bool, typer.Option("--verbose", "-v", help="Also write informational log lines.")]


def _configure_logging(verbose: bool) -> None:
    logging.basicConfig(
        level=logging.INFO if verbose else logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )


def _fail(message: str) -> typer.Exit:
    _errors.print(f"dapr-workflow: {message}", style="red", markup=False, soft_wrap=True)
    return typer.Exit(2)


def _warn(message: str) -> None:
    _errors.print(f"dapr-workflow: {message}", style="yellow", markup=False, soft_wrap=True)


def _ready_line(served: ServedEngine, database: Path | None, host: str = "127.0.0.1") -> str:
    where = "in memory" if database is None else str(database)
    host = f"[{host}]" if ":" in host else host
    http = "" if served.http_port is None else f", HTTP {host}:{served.http_port}"
    apps = "".join(f", app {app_id} {host}:{port}" for app_id, port in served.app_ports.items())
    return f"Engine ready: gRPC {host}:{served.grpc_port}{http}{apps}, {where}"


def _read_apps(given: list[str] | None) -> dict[str, int]:
    apps: dict[str, int] = {}
    for text in given or ():
        name, separator, port = text.rpartition("=")
        if not (separator and name and port.isascii() and port.isdecimal()):
            raise ValueError(f"--app {text} names no app and port: write it as --app billing=50002.")
        apps[name] = int(port)
    return apps


@app.command()
def run(
    program: Annotated[Path, typer.Argument(help="The Python program to run.", show_default=False)],
    arguments: Annotated[
        list[str] | None, typer.Argument(help="What the program gets, after --.", show_default=False)
    ] = None,
    db: Annotated[
        Path | None,
        typer.Option(help="The engine's SQLite file; .dapr-workflow/PROGRAM.db by default.", show_default=False),
    ] = None,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port of the engine; 0 takes a free one.")] = 0,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port of the engine; 0 takes a free one.")] = 0,
    app_id: _AppId = "app",
    app: _Apps = None,
    api_token: _ApiToken = None,
    verbose: _Verbose = False,
) -> None:
    """Run a program beside an engine, as `dapr run` runs one beside a Dapr sidecar.

    The engine's ports are in DAPR_GRPC_PORT and DAPR_HTTP_PORT of the program, where WorkflowRuntime and
    WorkflowClient look for them. When the program ends the engine stops, and its exit code becomes that of this
    command. Run it again and unfinished workflows go on.
    """
    _configure_logging(verbose)
    if not program.is_file():
        raise _fail(f"there is no program {program}")
    database = db or Path(".dapr-workflow") / f"{program.stem}.db"
    try:
        with (
            exported_spans(_warn) as provider,
            EmbeddedEngine(database, app_id=app_id, tracer_provider=provider) as engine,
            engine.serve(grpc_port=grpc_port, http_port=http_port, apps=_read_apps(app), api_token=api_token) as served,
        ):
            if api_token:
                # The program is a client, too.
                os.environ["DAPR_API_TOKEN"] = api_token
            _errors.print(_ready_line(served, database), style="dim", markup=False, soft_wrap=True)
            code = run_program(program, arguments or [], served)
    except (WorkflowError, CommandError, ValueError) as error:
        raise _fail(str(error)) from error
    raise typer.Exit(code)


@app.command()
def engine(
    db: Annotated[
        Path | None, typer.Option(help="The engine's SQLite file; without it everything is lost when the engine stops.")
    ] = None,
    grpc_port: Annotated[int, typer.Option(min=0, max=65535, help="gRPC port; 0 takes a free one.")] = _DAPR_GRPC_PORT,
    http_port: Annotated[int, typer.Option(min=0, max=65535, help="HTTP port; 0 takes a free one.")] = _DAPR_HTTP_PORT,
    host: Annotated[
        str, typer.Option(help="Address to listen on; one that other machines reach needs a token.")
    ] = "127.0.0.1",
    app_id: _AppId = "app",
    app: _Apps = None,
    keep: Annotated[
        str | None,
        typer.Option(help="How long finished instances are kept, such as 30d, 12h or 90m; for ever by default."),
    ] = None,
    activity_lease: Annotated[
        str | None,
        typer.Option(
            help="How long a worker may run an activity without a heartbeat before another gets it, such as 10m."
        ),
    ] = None,
    api_token: _ApiToken = None,
    tls_cert: Annotated[
        Path | None, typer.Option(help="Certificate of both servers (PEM); connections are encrypted then.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option(help="Key of the certificate (PEM).")] = None,
    tls_client_ca: Annotated[
        Path | None, typer.Option(help="Authorities (PEM) that must have signed the certificates of clients.")
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(help="A name of this machine that HTTP requests may ask for; may be given several times."),
    ] = None,
    verbose: _Verbose = False,
) -> None:
    """Run only the engine, in the foreground, for workers and clients of other processes.

    Stop it with Ctrl-C or SIGTERM. With OTEL_EXPORTER_OTLP_ENDPOINT in the environment, spans of workflows and
    activities go there.
    """
    _configure_logging(verbose)
    try:
        with (
            StopSignals() as signals,
            exported_spans(_warn) as provider,
            EmbeddedEngine(
                db,
                app_id=app_id,
                retention=None if keep is None else RetentionPolicy(any_terminal=parse_age(keep)),
                activity_lease=None if activity_lease is None else parse_age(activity_lease),
                tracer_provider=provider,
            ) as embedded,
            embedded.serve(
                grpc_port=grpc_port,
                http_port=http_port,
                apps=_read_apps(app),
                host=host,
                api_token=api_token,
                tls_cert=tls_cert,
                tls_key=tls_key,
                tls_client_ca=tls_client_ca,
                allowed_hosts=allowed_host or (),
            ) as served,
        ):
            print(_ready_line(served, db, host), flush=True)
            signals.wait()
    except (WorkflowError, CommandError, ValueError) as error:
        raise _fail(str(error)) from error


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"dapr-workflow-sdk {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Options of the command itself."""


add_commands(app)
