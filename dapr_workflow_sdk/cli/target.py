"""Which task hub a command speaks to: an engine's file, or an address."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import re
import socket
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from dapr_workflow_sdk.cli.files import CommandError, open_file
from dapr_workflow_sdk.errors import RuntimeStateError, TaskHubUnavailableError
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.address import Address, AddressError, find_address
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.hub import EngineHub

# Seconds to wait for an answer: on this machine a port is open or not, elsewhere a connection takes its time.
_HERE = 1.0
_ELSEWHERE = 5.0
_PROBE = 0.5


@dataclass(frozen=True)
class Target:
    """A task hub as the options name it; without any of them, the one that the environment names.

    Attributes:
        db: File of an engine, to be opened in this process.
        grpc_port: Port on this machine, or on the host that ``DAPR_RUNTIME_HOST`` names.
        endpoint: A whole address.
        app_id: Which app is meant, if the task hub serves several.
    """

    db: Path | None = None
    grpc_port: int | None = None
    endpoint: str | None = None
    app_id: str | None = None

    @property
    def in_process(self) -> bool:
        """Whether the engine runs in this process, where no worker can reach it."""
        return self.db is not None

    @contextlib.contextmanager
    def opened(self) -> Generator[TaskHub, None, None]:
        """The task hub, connected, until the context ends.

        Raises:
            CommandError: Nothing is there, or it cannot be used.
        """
        if sum(option is not None for option in (self.db, self.grpc_port, self.endpoint)) > 1:
            raise CommandError("Name one task hub: --db, --grpc-port and --endpoint are three ways to do it.")
        if self.db is not None:
            with _file(self.db, self.app_id) as hub:
                yield hub
            return
        with _channel(self._address(), self.app_id) as hub:
            yield hub

    def _address(self) -> Address:
        if self.endpoint is None:
            address = find_address(None, self.grpc_port)
            return address if self.grpc_port is None else dataclasses.replace(address, source="--grpc-port")
        before = os.environ.get("DAPR_GRPC_ENDPOINT")
        os.environ["DAPR_GRPC_ENDPOINT"] = self.endpoint
        try:
            return dataclasses.replace(find_address(), source="--endpoint")
        except AddressError as error:
            raise CommandError(str(error).replace("DAPR_GRPC_ENDPOINT=", "--endpoint ")) from error
        finally:
            if before is None:
                del os.environ["DAPR_GRPC_ENDPOINT"]
            else:
                os.environ["DAPR_GRPC_ENDPOINT"] = before


@contextlib.contextmanager
def _file(path: Path, app_id: str | None) -> Generator[TaskHub, None, None]:
    from dapr_workflow_sdk.engine.embedded import EmbeddedEngine

    with open_file(path):
        pass  # An engine would leave a lock beside a file that is not its own.
    try:
        engine = EmbeddedEngine(path)
    except RuntimeStateError as error:
        raise CommandError(way_out(path, str(error))) from error
    with engine:
        yield engine.hub.for_app(_app_of(engine.hub, path) if app_id is None else app_id)


def _app_of(hub: EngineHub, path: Path) -> str:
    """The app of a file whose engine was started under another name than the usual one, if there is only one."""

    async def look() -> str:
        described = await hub.describe()
        used = [
            app
            for app in described.appIds
            if (await hub.for_app(app).list_ids(pb.ListInstanceIDsRequest(pageSize=1))).instanceIds
        ]
        if not used or described.appId in used:
            return described.appId
        if len(used) > 1:
            raise CommandError(f"{path} has instances of several apps: {', '.join(used)}. Name one with --app-id.")
        return used[0]

    return PORTAL.call(look)


@contextlib.contextmanager
def _channel(address: Address, app_id: str | None) -> Generator[TaskHub, None, None]:
    from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub

    hub = GrpcTaskHub(address)
    opened = [hub]
    try:
        _connect(hub, address)
        if app_id is not None:
            if not PORTAL.call(hub.capabilities).extensions:
                raise CommandError(
                    f"{hub.description} is a Dapr sidecar, which serves its own app only: leave out --app-id, and "
                    "connect to the sidecar of that app."
                )
            hub = GrpcTaskHub(address, app_id=app_id)
            opened.append(hub)
        yield hub
    finally:
        for each in opened:
            PORTAL.call(each.aclose)


def _connect(hub: TaskHub, address: Address) -> None:
    here = re.match(r"(127\.|localhost:|\[::1\]|unix)", address.target) is not None
    try:
        PORTAL.call(hub.connect, _HERE if here else _ELSEWHERE)
    except TaskHubUnavailableError as error:
        if "refuses to talk" in str(error):
            raise CommandError(f"{error} If it wants a token, set DAPR_API_TOKEN.") from error
        raise CommandError(
            f"Nothing answers at {hub.description}. Name a task hub with --grpc-port, --endpoint or --db, or start "
            "one: dapr-workflow run PROGRAM, or dapr-workflow engine --db FILE."
        ) from error


def way_out(path: Path, problem: str) -> str:
    """What to do about a file that cannot be opened: if another engine has it, that engine can be asked instead."""
    found = re.search(r"in use by another engine \(process (\d+)\)", problem)
    if found is None:
        return problem
    process = int(found[1])
    port = _port_of(process)
    if port is None:
        return (
            f"{path} is in use by the engine of process {process}, at which no gRPC port was found. Stop it, or "
            "have it serve one (engine.serve(grpc_port=N), or dapr-workflow engine) and use --grpc-port N, not --db."
        )
    return f"{path} is in use by the engine of process {process}. Ask that one: --grpc-port {port} instead of --db."


def _port_of(process: int) -> int | None:
    """The gRPC port that a process of this machine serves, as far as the system tells."""
    return next((port for port in _listening(process) if _speaks_first(port)), None)


def _speaks_first(port: int) -> bool:
    """Whether a server greets whoever connects, as gRPC ones do; a web server waits to be asked, and logs nonsense."""
    try:
        with socket.create_connection(("127.0.0.1", port), _PROBE) as connection:
            connection.settimeout(_PROBE)
            return bool(connection.recv(1))
    except OSError:
        return False


def _listening(process: int) -> list[int]:
    """Ports on which a process listens; Linux shows them to its owner, other systems not so easily."""
    folder = Path(f"/proc/{process}")
    sockets: set[str] = set()
    ports: list[int] = []
    with contextlib.suppress(OSError):
        for descriptor in (folder / "fd").iterdir():
            with contextlib.suppress(OSError):
                found = re.fullmatch(r"socket:\[(\d+)\]", str(descriptor.readlink()))
                if found is not None:
                    sockets.add(found[1])
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in (folder / "net" / table).read_text().splitlines()[1:]:
                fields = line.split()
                # 0A is the state of a socket that listens; the port is the hexadecimal end of its address.
                if fields[3] == "0A" and fields[9] in sockets:
                    ports.append(int(fields[1].rpartition(":")[2], 16))
    return ports
