"""Run a command beside a Dapr sidecar, or a sidecar alone until Ctrl-C."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, NoReturn

from .binaries import SidecarUnavailable
from .cluster import DaprCluster, DaprSidecar
from .processes import ServerStartError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

_COMMAND_GRACE = 10.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code, which is the command's own when one is given."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    split = words.index("--") if "--" in words else len(words)
    options, command = _parser().parse_args(words[:split]), words[split + 1 :]
    signal.signal(signal.SIGTERM, _terminate)
    try:
        with DaprCluster() as cluster:
            sidecar = cluster.sidecar(
                options.app_id,
                state_dir=options.state_dir,
                resources=options.resources,
                app_port=options.app_port,
            )
            return _run(command, sidecar) if command else _serve(sidecar)
    except KeyboardInterrupt:
        return 128 + signal.SIGINT
    except (SidecarUnavailable, ServerStartError) as error:
        sys.stderr.write(f"{error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        usage="%(prog)s [options] [-- CMD ARGS...]",
        description="Start placement, scheduler and a Dapr sidecar on free ports of 127.0.0.1. CMD runs "
        "beside them with DAPR_GRPC_PORT, DAPR_HTTP_PORT and APP_ID set; without CMD they run until Ctrl-C.",
    )
    parser.add_argument("--app-id", default="app", help="id of the app (default: app)")
    parser.add_argument("--app-port", type=int, help="port on which the app listens")
    parser.add_argument("--state-dir", help="folder for the SQLite state store (default: a temporary one)")
    parser.add_argument("--resources", help="folder of further component files")
    return parser


def _run(command: Sequence[str], sidecar: DaprSidecar) -> int:
    environment = {
        **os.environ,
        "DAPR_GRPC_PORT": str(sidecar.grpc_port),
        "DAPR_HTTP_PORT": str(sidecar.http_port),
        "APP_ID": sidecar.app_id,
    }
    try:
        process = subprocess.Popen(command, env=environment)
    except OSError as error:
        sys.stderr.write(f"cannot run {command[0]}: {error}\n")
        return 127
    try:
        status = process.wait()
    except KeyboardInterrupt:
        # The terminal has sent its Ctrl-C to the command too; it decides when it is done.
        status = process.wait()
    finally:
        _end(process)
    return status if status >= 0 else 128 - status


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        return
    process.terminate()
    try:
        process.wait(_COMMAND_GRACE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def _serve(sidecar: DaprSidecar) -> int:
    sys.stdout.write(
        f"APP_ID={sidecar.app_id}\nDAPR_GRPC_PORT={sidecar.grpc_port}\nDAPR_HTTP_PORT={sidecar.http_port}\n"
        f"log: {sidecar.log_path}\nCtrl-C stops it\n"
    )
    sys.stdout.flush()
    status = sidecar.wait()
    sys.stderr.write(f"daprd ended by itself with status {status}; its log ends with:\n{sidecar.log_tail()}\n")
    return 1


def _terminate(_number: int, _frame: FrameType | None) -> NoReturn:
    # An exception unwinds through the context managers; the default action would leave all to the guardian.
    sys.exit(128 + signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
