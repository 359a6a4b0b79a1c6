"""The three Dapr server binaries, built once from the Go module in ``build/`` and kept in a cache folder.

Run this file (or ``python -m tests.sidecar.binaries``) to build ahead of a test run; it prints the folder.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DAPR_VERSION = "1.16.0"
NAMES = ("daprd", "placement", "scheduler")
CACHE_VARIABLE = "DAPR_WORKFLOW_TEST_CACHE"

_MODULE = Path(__file__).resolve().parent / "build"
_REPOSITORY = Path(__file__).resolve().parents[2]
_STAMP = f"-X github.com/dapr/dapr/pkg/buildinfo.version={DAPR_VERSION}"
# daprd panics at start without a component set. Only daprd has files with the tag, so one build serves all.
# The link flags are those of a Dapr release: without the stamp the sidecar reports its version as "edge".
_BUILD = (
    "build",
    "-v",
    "-trimpath",
    "-mod=readonly",
    "-buildvcs=false",
    "-tags=stablecomponents",
    f"-ldflags=-s -w {_STAMP} -X github.com/dapr/kit/logger.DaprVersion={DAPR_VERSION}",
)
_PACKAGES = tuple(f"github.com/dapr/dapr/cmd/{name}" for name in NAMES)
_PACKAGE_LINE = re.compile(r"[\w.~/+-]+")

_BUILD_TIMEOUT = 45 * 60.0
_QUERY_TIMEOUT = 60.0
_PROGRESS_INTERVAL = 10.0
_POLL = 0.02
_TAIL_LINES = 40


class SidecarUnavailable(RuntimeError):  # noqa: N818 - tests skip on it: it is a state, not a mistake
    """The Dapr binaries are neither in the cache nor can they be built here."""


def ensure_binaries() -> Path:
    """Return the folder that holds ``daprd``, ``placement`` and ``scheduler``, building them when needed.

    The folder is ``<repository>/.cache/dapr/<key>``, or ``<key>`` below ``DAPR_WORKFLOW_TEST_CACHE``. The key
    covers ``go.mod``, ``go.sum``, the build flags and the Go version, so a change of any of them builds anew.
    Processes that call this at the same time build once and share the result.

    Returns:
        The absolute path of the folder.

    Raises:
        SidecarUnavailable: Go is missing, or the build failed or took too long.
    """
    root = _cache_root()
    recipe = _recipe_digest()
    go = shutil.which("go")
    if go is None:
        return _built_earlier(root, recipe)
    folder = root / f"{recipe}-{_platform(go)}"
    if folder.is_dir():
        return folder
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        message = f"Dapr sidecar: no cache folder {root} ({error}); {CACHE_VARIABLE} can name another."
        raise SidecarUnavailable(message) from error
    with _locked(root / f"{folder.name}.lock"):
        if not folder.is_dir():
            _build_into(folder, go)
    return folder


def _cache_root() -> Path:
    override = os.environ.get(CACHE_VARIABLE)
    return Path(override).expanduser().resolve() if override else _REPOSITORY / ".cache" / "dapr"


def _recipe_digest() -> str:
    digest = hashlib.sha256()
    for part in (
        (_MODULE / "go.mod").read_bytes(),
        (_MODULE / "go.sum").read_bytes(),
        "\0".join(_BUILD).encode(),
    ):
        digest.update(hashlib.sha256(part).digest())
    return digest.hexdigest()[:16]


def _built_earlier(root: Path, recipe: str) -> Path:
    """Find binaries of the same recipe by any Go version, for a machine that has the cache but no Go."""
    system, machine = os.uname().sysname.lower(), os.uname().machine
    architecture = {"x86_64": "amd64", "aarch64": "arm64"}.get(machine, machine)
    found = sorted(root.glob(f"{recipe}-*-{system}-{architecture}"))
    if found:
        return found[-1]
    message = (
        f"Dapr sidecar: no binaries for this build in {root}, and no `go` command on PATH to build them. "
        f"Install Go 1.26 or later, or point {CACHE_VARIABLE} at a folder built elsewhere."
    )
    raise SidecarUnavailable(message)


def _go_environment() -> dict[str, str]:
    # Flags, workspaces and cross-compiling settings of the developer must not leak into the binaries. GOFLAGS
    # is set, not emptied: Go takes an empty one for unset and falls back to the user's `go env -w` file.
    environment = {key: value for key, value in os.environ.items() if key not in {"GOOS", "GOARCH", "GOEXPERIMENT"}}
    environment.update(GOFLAGS="-mod=readonly", GOTOOLCHAIN="local", GOWORK="off", CGO_ENABLED="0")
    return environment


def _platform(go: str) -> str:
    command = [go, "env", "GOVERSION", "GOOS", "GOARCH"]
    try:
        result = subprocess.run(
            command,
            cwd=_MODULE,
            env=_go_environment(),
            check=True,
            capture_output=True,
            text=True,
            timeout=_QUERY_TIMEOUT,
        )
    except subprocess.CalledProcessError as error:
        raise _failure(command, f"exit status {error.returncode}", str(error.stderr)) from error
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failure(command, str(error), "") from error
    return "-".join(result.stdout.split())


def _build_into(folder: Path, go: str) -> None:
    # Under the lock nobody else builds this key, so whatever lies there is left from a build that was killed.
    for leftover in folder.parent.glob(f"{folder.name}.building-*"):
        shutil.rmtree(leftover, ignore_errors=True)
    building = Path(tempfile.mkdtemp(prefix=f"{folder.name}.building-", dir=folder.parent))
    try:
        _run_build([go, *_BUILD, "-o", f"{building}{os.sep}", *_PACKAGES])
        missing = [name for name in NAMES if not os.access(building / name, os.X_OK)]
        if missing:
            message = f"Dapr sidecar: the Go build ended well but made no {', '.join(missing)} in {building}."
            raise SidecarUnavailable(message)
        building.chmod(0o755)
        # The folder appears under its name only when complete, so its presence says that it can be used.
        building.rename(folder)
    finally:
        shutil.rmtree(building, ignore_errors=True)


def _run_build(command: list[str]) -> None:
    started = time.monotonic()
    _say(f"building {', '.join(NAMES)} {DAPR_VERSION} (minutes the first time, seconds from Go's own cache)")
    try:
        process = subprocess.Popen(
            command,
            cwd=_MODULE,
            env=_go_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
    except OSError as error:
        raise _failure(command, str(error), "") from error
    watchdog = threading.Timer(_BUILD_TIMEOUT, process.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        tail = _follow(process.stdout or (), started)
        status = process.wait()
    finally:
        watchdog.cancel()
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    if status != 0:
        elapsed = time.monotonic() - started
        raise _failure(command, f"exit status {status} after {elapsed:.0f} s", "\n".join(tail))
    _say(f"built in {time.monotonic() - started:.0f} s")


def _follow(output: Iterable[str], started: float) -> deque[str]:
    """Report progress from the output of ``go build -v`` and keep the end of what is not mere progress."""
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    packages = 0
    reported = started
    for raw in output:
        line = raw.rstrip()
        if _PACKAGE_LINE.fullmatch(line):
            packages += 1
        else:
            tail.append(line)
        now = time.monotonic()
        if now - reported >= _PROGRESS_INTERVAL:
            reported = now
            _say(f"{packages} packages compiled, {now - started:.0f} s")
    return tail


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    deadline = time.monotonic() + _BUILD_TIMEOUT
    with path.open("a", encoding="utf-8") as file:
        waiting = False
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() >= deadline:
                    message = f"Dapr sidecar: another process kept {path} locked for {_BUILD_TIMEOUT:.0f} s."
                    raise SidecarUnavailable(message) from None
            if not waiting:
                waiting = True
                _say("another process is building; waiting for it")
            time.sleep(_POLL)
        # Closing the file releases the lock, and so does the end of this process, however it comes.
        yield


def _failure(command: list[str], reason: str, output: str) -> SidecarUnavailable:
    shown = " ".join(f'"{word}"' if " " in word else word for word in command)
    lines = [
        f"Dapr sidecar: the Go command failed: {reason}.",
        f"  command: {shown}",
        f"  in:      {_MODULE}",
        f"  output:  {output.strip() or '(none)'}",
    ]
    return SidecarUnavailable("\n".join(lines))


def _say(message: str) -> None:
    sys.stderr.write(f"[dapr sidecar] {message}\n")
    sys.stderr.flush()


if __name__ == "__main__":
    try:
        sys.stdout.write(f"{ensure_binaries()}\n")
    except SidecarUnavailable as unavailable:
        sys.exit(str(unavailable))
