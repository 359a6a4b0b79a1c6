"""The environments of the other SDKs: made once from pinned packages, and kept in a cache folder."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).resolve().parent
_REPOSITORY = HERE.parents[1]
_REQUIREMENTS = HERE / "python" / "requirements.txt"
_PACKAGES = (HERE / "js" / "package.json", HERE / "js" / "package-lock.json")
_TIMEOUT = 600.0


class EnvironmentUnavailableError(RuntimeError):
    """An environment is not in the cache and cannot be made."""


def python_environment() -> Path:
    """The Python of a virtual environment with the official SDK.

    Raises:
        EnvironmentUnavailableError: It cannot be made.
    """
    key = _digest(_REQUIREMENTS.read_bytes(), sys.version.encode(), sys.base_prefix.encode())
    return _cached(f"python-{key}", _make_python) / "bin" / "python"


def javascript_environment() -> Path:
    """The folder of node's modules with the JavaScript SDKs; ``NODE_PATH`` has to name it.

    Raises:
        EnvironmentUnavailableError: It cannot be made, or there is no node to use it.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            raise EnvironmentUnavailableError(
                f"The tests of the JavaScript SDK need `{program}`, which is not on PATH."
            )
    key = _digest(*(path.read_bytes() for path in _PACKAGES))
    return _cached(f"js-{key}", _make_javascript) / "node_modules"


def _make_python(folder: Path) -> None:
    _run([sys.executable, "-m", "venv", str(folder)])
    pip = [str(folder / "bin" / "python"), "-m", "pip", "--disable-pip-version-check", "install", "--quiet"]
    _run([*pip, "--only-binary", ":all:", "--requirement", str(_REQUIREMENTS)])


def _make_javascript(folder: Path) -> None:
    for path in _PACKAGES:
        shutil.copy(path, folder)
    _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)])


def _run(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            timeout=_TIMEOUT,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EnvironmentUnavailableError(f"{' '.join(command)}: {error}") from error
    if result.returncode:
        raise EnvironmentUnavailableError(f"{' '.join(command)} ended with {result.returncode}:\n{result.stdout}")


def _cached(name: str, make: Callable[[Path], None]) -> Path:
    root = _cache_root()
    folder = root / name
    if folder.is_dir():
        return folder
    root.mkdir(parents=True, exist_ok=True)
    with _locked(root / f"{name}.lock"):
        if not folder.is_dir():
            # The folder gets its name only when it is complete, so its presence says that it can be used.
            making = Path(tempfile.mkdtemp(prefix=f"{name}.", dir=root))
            try:
                make(making)
                making.rename(folder)
            finally:
                shutil.rmtree(making, ignore_errors=True)
    return folder


def _cache_root() -> Path:
    override = os.environ.get("DAPR_WORKFLOW_TEST_CACHE")
    base = Path(override).expanduser().resolve() if override else _REPOSITORY / ".cache"
    return base / "interop"


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _digest(*parts: bytes) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]
