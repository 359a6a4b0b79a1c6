"""A Dapr control plane and sidecars as real processes on loopback.

In a test::

    with DaprCluster() as cluster:
        first = cluster.sidecar("first")
        second = cluster.sidecar("second")
        ...  # connect to first.grpc_port

From a shell, ``python tests/sidecar/cluster.py --app-id app -- CMD ARGS...`` runs a command beside a sidecar.
"""

from __future__ import annotations

import sys
from pathlib import Path

if __name__ == "__main__" and not __package__:
    # Run as a file it has no package, and the relative imports below need one.
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    __package__ = "tests.sidecar"

import atexit
import json
import os
import shutil
import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from .binaries import ensure_binaries
from .components import resource_folders
from .guardian import guardian
from .ports import HOST, free_port, http_get
from .processes import PortClashError, ServerProcess, ServerStartError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from types import TracebackType

    from typing_extensions import Self

__all__ = ["DaprCluster", "DaprSidecar", "ServerStartError", "free_port", "running_sidecar"]

_START_TIMEOUT = 60.0
_ATTEMPTS = 4


class DaprSidecar:
    """One daprd for one app. Made by :meth:`DaprCluster.sidecar`, which also stops it."""

    def __init__(
        self,
        app_id: str,
        process: ServerProcess,
        command: Callable[[DaprSidecar], Sequence[str]],
        *,
        state_dir: Path,
        api_token: str | None,
    ) -> None:
        """Describe a sidecar; nothing runs yet.

        Args:
            app_id: The id of the app it serves.
            process: Its process.
            command: Makes the command line for the sidecar's present ports.
            state_dir: The folder with its state.
            api_token: The token that its APIs ask for, if any.
        """
        self.app_id = app_id
        self.state_dir = state_dir
        self.api_token = api_token
        self.grpc_port = 0
        self.http_port = 0
        self.internal_port = 0
        self._process = process
        self._command = command

    @property
    def pid(self) -> int:
        """The process id of daprd; a restart changes it."""
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether daprd is alive."""
        return self._process.running

    @property
    def log_path(self) -> Path:
        """The file with the output of all its runs, there as long as the cluster is."""
        return self._process.log_path

    def log_tail(self, lines: int = 40) -> str:
        """Return the last lines that its present run has logged."""
        return self._process.log_tail(lines)

    def metadata(self) -> dict[str, Any]:
        """Return the answer of ``GET /v1.0/metadata``.

        Raises:
            OSError: The sidecar does not answer.
        """
        headers = {} if self.api_token is None else {"dapr-api-token": self.api_token}
        answer: dict[str, Any] = json.loads(http_get(self.http_port, "/v1.0/metadata", headers=headers, timeout=5.0))
        return answer

    def start(self) -> None:
        """Start on free ports and wait until healthy.

        Raises:
            ServerStartError: It ended or is not healthy in time. The message holds the end of its log.
        """
        _retry_on_clash(self._start_on_new_ports)

    def stop(self) -> None:
        """End it in order. Does nothing when it does not run."""
        self._process.stop()

    def kill(self) -> None:
        """End it as a crash would (SIGKILL)."""
        self._process.kill()

    def restart(self) -> None:
        """Start again on the same ports with the same state, after stopping it if it runs.

        Raises:
            ServerStartError: It ended or is not healthy in time.
        """
        self.stop()
        _retry_on_clash(self._start)

    def wait(self) -> int:
        """Wait for it to end by itself, however long that takes, and return its exit status."""
        return self._process.wait()

    def terminate(self) -> None:
        """Ask it to end, without waiting for it."""
        self._process.terminate()

    def _start_on_new_ports(self) -> None:
        self.grpc_port, self.http_port, self.internal_port = free_port(), free_port(), free_port()
        self._start()

    def _start(self) -> None:
        self._process.start(self._command(self), self._healthy, _START_TIMEOUT)

    def _healthy(self) -> bool:
        http_get(self.http_port, "/v1.0/healthz/outbound")
        return True


class DaprCluster:
    """Placement and scheduler, and the sidecars on them. A context manager; leaving it stops all of them."""

    def __init__(self, *, binaries: Path | None = None) -> None:
        """Describe a cluster; nothing runs yet.

        Args:
            binaries: The folder with the Dapr binaries; by default they are built when needed.
        """
        self._binaries = binaries
        self._folder: Path | None = None
        self._control_plane: list[ServerProcess] = []
        self._sidecars: list[DaprSidecar] = []
        self._owner = os.getpid()
        self.placement_port = 0
        self.scheduler_port = 0

    def __enter__(self) -> Self:
        """Start placement and scheduler."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        """Stop everything."""
        self.stop()

    @property
    def folder(self) -> Path:
        """The temporary folder with logs, components and state; gone when the cluster stops."""
        if self._folder is None:
            message = "the Dapr cluster is not started"
            raise RuntimeError(message)
        return self._folder

    def start(self) -> None:
        """Start placement and scheduler and wait until both are healthy.

        Raises:
            SidecarUnavailable: There are no binaries and they cannot be built.
            ServerStartError: A server ended or is not healthy in time. The message holds the end of its log.
        """
        if self._folder is not None:
            message = "the Dapr cluster is already started"
            raise RuntimeError(message)
        if self._binaries is None:
            self._binaries = ensure_binaries()
        self._owner = os.getpid()
        self._folder = Path(tempfile.mkdtemp(prefix="dapr-cluster-"))
        guardian.watch_folder(self._folder)
        atexit.register(self.stop)
        try:
            _retry_on_clash(self._start_control_plane)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Stop all sidecars, then placement and scheduler, and remove their files. May be called again."""
        if self._folder is None or os.getpid() != self._owner:
            return
        try:
            _stop_all(self._sidecars)
            _stop_all(self._control_plane)
        finally:
            self._sidecars.clear()
            self._control_plane.clear()
            shutil.rmtree(self._folder, ignore_errors=True)
            guardian.leave_folder(self._folder)
            self._folder = None
            atexit.unregister(self.stop)

    def sidecar(
        self,
        app_id: str,
        *,
        state_dir: str | os.PathLike[str] | None = None,
        resources: str | os.PathLike[str] | None = None,
        app_port: int | None = None,
        api_token: str | None = None,
        max_body_size: int | str | None = None,
        arguments: Sequence[str] = (),
    ) -> DaprSidecar:
        """Start a sidecar and wait until it is healthy.

        Args:
            app_id: The id of the app. Sidecars with the same id are replicas and share state unless told
                otherwise.
            state_dir: The folder for the SQLite state store, kept when the cluster stops. By default one per
                app id inside the cluster's folder. Timers and reminders live in the scheduler, hence no
                longer than the cluster, whatever is given here.
            resources: A folder of further component files. When one of them is an actor state store, it takes
                the place of the SQLite one, since daprd accepts just one.
            app_port: The port on which the app listens; daprd then calls it.
            api_token: The token that daprd's APIs shall ask for.
            max_body_size: The greatest request in bytes, or as a Kubernetes quantity such as ``"16Mi"``. The
                default of daprd is 4 MiB.
            arguments: Further command-line arguments for daprd.

        Returns:
            The healthy sidecar.

        Raises:
            ServerStartError: It ended or is not healthy in time. The message holds the end of its log.
        """
        folder = Path(tempfile.mkdtemp(prefix=f"{app_id}-", dir=self.folder))
        state = Path(state_dir).resolve() if state_dir is not None else self.folder / "state" / app_id
        state.mkdir(parents=True, exist_ok=True)
        folders = resource_folders(folder, state, None if resources is None else Path(resources).resolve())
        options: list[str] = [f"--resources-path={path}" for path in folders]
        if app_port is not None:
            options.append(f"--app-port={app_port}")
        if max_body_size is not None:
            options.append(f"--max-body-size={max_body_size}")

        def command(sidecar: DaprSidecar) -> list[str]:
            return [
                self._program("daprd"),
                f"--app-id={app_id}",
                f"--dapr-listen-addresses={HOST}",
                f"--dapr-grpc-port={sidecar.grpc_port}",
                f"--dapr-http-port={sidecar.http_port}",
                f"--dapr-internal-grpc-listen-address={HOST}",
                f"--dapr-internal-grpc-port={sidecar.internal_port}",
                "--enable-metrics=false",
                f"--placement-host-address={HOST}:{self.placement_port}",
                f"--scheduler-host-address={HOST}:{self.scheduler_port}",
                *options,
                *arguments,
            ]

        environment = _environment({} if api_token is None else {"DAPR_API_TOKEN": api_token})
        process = ServerProcess(f"daprd for app {app_id!r}", folder / "daprd.log", environment)
        sidecar = DaprSidecar(app_id, process, command, state_dir=state, api_token=api_token)
        self._sidecars.append(sidecar)
        sidecar.start()
        return sidecar

    def _start_control_plane(self) -> None:
        self.placement_port, self.scheduler_port = free_port(), free_port()
        placement_health, scheduler_health = free_port(), free_port()
        placement = ServerProcess("placement", self.folder / "placement.log", _environment({}))
        scheduler = ServerProcess("scheduler", self.folder / "scheduler.log", _environment({}))
        servers = [placement, scheduler]
        self._control_plane.extend(servers)
        try:
            placement.launch(self._placement_command(placement_health))
            scheduler.launch(self._scheduler_command(scheduler_health))
            placement.wait_healthy(lambda: _healthz(placement_health), _START_TIMEOUT)
            scheduler.wait_healthy(lambda: _healthz(scheduler_health), _START_TIMEOUT)
        except BaseException:
            for server in servers:
                server.kill()
                self._control_plane.remove(server)
            raise

    def _placement_command(self, health_port: int) -> list[str]:
        return [
            self._program("placement"),
            f"--port={self.placement_port}",
            f"--listen-address={HOST}",
            f"--healthz-port={health_port}",
            f"--healthz-listen-address={HOST}",
            "--enable-metrics=false",
            "--tls-enabled=false",
            # The first workflow after a worker connects waits for it. This is the least; the default is 2 s.
            "--disseminate-timeout=1s",
            # The default raft port is the same for every cluster on the machine.
            f"--initial-cluster=dapr-placement-0={HOST}:{free_port()}",
        ]

    def _scheduler_command(self, health_port: int) -> list[str]:
        return [
            self._program("scheduler"),
            f"--port={self.scheduler_port}",
            f"--listen-address={HOST}",
            f"--healthz-port={health_port}",
            f"--healthz-listen-address={HOST}",
            "--enable-metrics=false",
            f"--etcd-data-dir={tempfile.mkdtemp(prefix='etcd-', dir=self.folder)}",
            f"--etcd-client-port={free_port()}",
            f"--etcd-initial-cluster=dapr-scheduler-server-0=http://{HOST}:{free_port()}",
            f"--override-broadcast-host-port={HOST}:{self.scheduler_port}",
        ]

    def _program(self, name: str) -> str:
        if self._binaries is None:
            message = "the Dapr cluster is not started"
            raise RuntimeError(message)
        return str(self._binaries / name)


@contextmanager
def running_sidecar(app_id: str = "app") -> Iterator[DaprSidecar]:
    """Run a cluster with one sidecar for as long as the context lasts."""
    with DaprCluster() as cluster:
        yield cluster.sidecar(app_id)


def _environment(extra: Mapping[str, str]) -> dict[str, str]:
    # What the developer's shell sets for another Dapr must not reach this one.
    foreign = {"APP_API_TOKEN", "APP_ID", "NAMESPACE"}
    environment = {
        key: value for key, value in os.environ.items() if not key.startswith("DAPR_") and key not in foreign
    }
    # Without it a daprd tells the others to reach it on an address of the machine, where it does not listen.
    environment["DAPR_HOST_IP"] = HOST
    environment.update(extra)
    return environment


def _healthz(port: int) -> bool:
    http_get(port, "/healthz")
    return True


def _retry_on_clash(start: Callable[[], None]) -> None:
    for _ in range(_ATTEMPTS - 1):
        try:
            start()
        except PortClashError:
            continue
        return
    start()


def _stop_all(servers: Sequence[DaprSidecar] | Sequence[ServerProcess]) -> None:
    for server in servers:
        server.terminate()
    errors: list[Exception] = []
    for server in servers:
        try:
            server.stop()
        except RuntimeError as error:
            errors.append(error)
    if errors:
        raise errors[0]


if __name__ == "__main__":
    from .__main__ import main

    sys.exit(main())
