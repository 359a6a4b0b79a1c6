"""The peers of `engine.py`: their releases, where they come from, and what is missing here."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

DAPR, DURABLETASK, DBOS = "dapr", "durabletask", "dbos"
RELEASES = {DAPR: "1.19.0", DURABLETASK: "1.12.0", DBOS: "3.4.0"}
TITLES = {
    DAPR: f"daprd 1.16, dapr {RELEASES[DAPR]}",
    DURABLETASK: f"durabletask {RELEASES[DURABLETASK]}, memory",
    DBOS: f"DBOS {RELEASES[DBOS]}, SQLite",
}
_REPOSITORY = Path(__file__).resolve().parents[1]
_INSTALL_TIMEOUT = 600


def missing(wanted: set[str]) -> list[str]:
    """Requirements of wanted peers that share our environment and are not in it; DBOS gets one of its own."""
    absent = []
    for name in sorted(wanted - {DBOS}):
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            installed = None
        if installed != RELEASES[name]:
            absent.append(f"{name}=={RELEASES[name]}")
    return absent


def dbos_python() -> str:
    """The interpreter of an environment with DBOS, which is made in ``.cache/bench`` if it is not there."""
    folder = _REPOSITORY / ".cache" / "bench" / f"dbos-{RELEASES[DBOS]}"
    python = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    done = folder / "complete"
    if not done.exists():
        print(f"installing dbos=={RELEASES[DBOS]} into {folder}", file=sys.stderr, flush=True)
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, timeout=_INSTALL_TIMEOUT)
        install = [str(python), "-m", "pip", "install", "--quiet", f"dbos=={RELEASES[DBOS]}"]
        subprocess.run(install, check=True, timeout=_INSTALL_TIMEOUT)
        done.touch()
    return str(python)


@contextmanager
def daprd() -> Iterator[int]:
    """A real sidecar with its state in SQLite, built if need be; its gRPC port."""
    sys.path.insert(0, str(_REPOSITORY))
    from tests.sidecar.cluster import DaprCluster

    with DaprCluster() as cluster:
        yield cluster.sidecar("benchmark").grpc_port
