"""Replays in other processes: another seed of Python's hashes, another environment, modules imported anew.

A process with a given hash seed is started once and kept; for each job it forks, so that every job finds a process in
which nothing of the application was imported. Where there is no fork, each job takes a process of its own.
"""

from __future__ import annotations

import atexit
import concurrent.futures
import importlib
import importlib.util
import inspect
import os
import pickle
import signal
import struct
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any, Literal

from dapr_workflow_sdk.converter import Converter, JsonConverter
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.testing.conditions import START, Conditions, Entropy
from dapr_workflow_sdk.testing.replays import Asked, replay_fresh
from dapr_workflow_sdk.testing.simulation import PlayedTurn

Pretence = Literal["", "machine"]
# Seconds to wait for an answer.
_PATIENCE = 30.0
# Set in processes that answer: modules that check their own workflows when they are imported must not check again.
ANSWERING: list[bool] = []
# Replays run on threads of the same name everywhere.
THREAD = "check"
_LENGTH = struct.Struct("!Q")


@dataclass(frozen=True, slots=True)
class Source:
    """Where another process finds a function.

    Attributes:
        module: Its module.
        path: The file of the module.
        qualname: Its name in the module.
    """

    module: str
    path: str
    qualname: str


class Unreachable(Exception):  # noqa: N818 - a reason more than an error
    """Another process cannot find a function, or cannot run it; says why."""


def source_of(function: Callable[..., Any]) -> Source:
    """Where another process finds a function.

    Raises:
        Unreachable: It does not.
    """
    inner: Any = inspect.unwrap(function)
    qualname = getattr(inner, "__qualname__", "")
    module = getattr(inner, "__module__", "")
    name = getattr(inner, "__name__", repr(function))
    if not qualname or "<" in qualname:
        raise Unreachable(f"{name!r} is defined inside of another function, where another process cannot reach it")
    path = getattr(getattr(inner, "__code__", None), "co_filename", "")
    if not Path(path).is_file():
        raise Unreachable(f"{name!r} was not read from a file that another process could read")
    return Source(module, str(Path(path).resolve()), qualname)


@dataclass(frozen=True)
class Job:
    """What another process is to replay.

    Attributes:
        workflows: The workflows, and where each is.
        turns: The turns.
        converter: How payloads are read and written; None for JSON.
        conditions: Under which conditions.
        imported_at: What the clock shows while modules are imported.
        pretence: Whether the process pretends to be on another machine.
    """

    workflows: Sequence[Source]
    turns: Sequence[tuple[str, str, list[bytes], list[bytes]]]
    converter: Converter | None
    conditions: Conditions
    imported_at: float = START
    pretence: Pretence = ""

    @staticmethod
    def packed(turns: Sequence[PlayedTurn]) -> list[tuple[str, str, list[bytes], list[bytes]]]:
        """Turns in a form that travels."""
        return [
            (
                turn.instance_id,
                turn.execution,
                [event.SerializeToString() for event in turn.past],
                [event.SerializeToString() for event in turn.new],
            )
            for turn in turns
        ]


# ---- the side that asks ----------------------------------------------------------------------------------------

_SERVERS: dict[int, subprocess.Popen[bytes]] = {}


def replay_elsewhere(job: Job, hash_seed: int) -> list[Asked]:
    """Has a job done by another process.

    Raises:
        Unreachable: It could not be done there; says why.
    """
    try:
        text = pickle.dumps((job, sys.path, dict(os.environ), str(Path.cwd())))
    except Exception as error:
        raise Unreachable(f"what is to be replayed cannot be sent to another process: {error}") from error
    server = _server(hash_seed)
    assert server.stdin is not None
    assert server.stdout is not None
    # A module that does not come back when it is imported, a server for one, must not keep the check.
    alarm = threading.Timer(_PATIENCE, _end, (server,))
    alarm.start()
    try:
        _write(server.stdin, text)
        answer = pickle.loads(_read(server.stdout))  # noqa: S301 - our own process wrote it
    except (EOFError, OSError) as error:
        _stop(hash_seed)
        raise Unreachable(f"the other process gave no answer, or none within {_PATIENCE:g} s") from error
    finally:
        alarm.cancel()
    if isinstance(answer, str):
        raise Unreachable(answer)
    return [
        Asked([pb.WorkflowAction.FromString(action) for action in actions], status, places, waits)
        for actions, status, places, waits in answer
    ]


def _end(server: subprocess.Popen[bytes]) -> None:
    """Ends a process and what it has forked."""
    if hasattr(os, "killpg"):
        os.killpg(server.pid, signal.SIGKILL)
    else:
        server.kill()


def _server(hash_seed: int) -> subprocess.Popen[bytes]:
    server = _SERVERS.get(hash_seed)
    if server is None or server.poll() is not None:
        if not _SERVERS:
            atexit.register(stop_servers)
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        server = subprocess.Popen(
            [sys.executable, "-c", code],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONHASHSEED": str(hash_seed)},
            start_new_session=True,
        )
        _SERVERS[hash_seed] = server
    return server


def _stop(hash_seed: int) -> None:
    server = _SERVERS.pop(hash_seed, None)
    if server is not None:
        with server:
            if server.poll() is None:
                _end(server)


def stop_servers() -> None:
    """Ends the processes that are kept."""
    for hash_seed in list(_SERVERS):
        _stop(hash_seed)


def _write(pipe: IO[bytes], text: bytes) -> None:
    pipe.write(_LENGTH.pack(len(text)) + text)
    pipe.flush()


def _read(pipe: IO[bytes]) -> bytes:
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    text = pipe.read(_LENGTH.unpack(head)[0])
    if len(text) < _LENGTH.unpack(head)[0]:
        raise EOFError
    return text


# ---- the side that answers -------------------------------------------------------------------------------------


def serve() -> None:
    """Does jobs until nobody sends any."""
    jobs = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    # What the application prints goes nowhere, and it reads nothing.
    nothing = os.open(os.devnull, os.O_RDWR)
    os.dup2(nothing, 0)
    os.dup2(nothing, 1)
    while True:
        try:
            text = _read(jobs)
        except EOFError:
            return
        if not hasattr(os, "fork"):
            _write(answers, _done(text))
            return
        child = os.fork()
        if child == 0:
            code = 1
            try:
                _write(answers, _done(text))
                code = 0
            finally:
                os._exit(code)
        _, status = os.waitpid(child, 0)
        if status:
            return


def _done(text: bytes) -> bytes:
    try:
        answer: Any = _answer(text)
    except Unreachable as error:
        answer = str(error)
    except BaseException as error:  # noqa: BLE001 - the other side reports it
        answer = f"the other process raised {type(error).__name__}: {error}"
    return pickle.dumps(answer)


def _answer(text: bytes) -> list[Any]:
    from dapr_workflow_sdk.testing.watched import Watch

    ANSWERING.append(True)
    job, path, environment, folder = pickle.loads(text)  # noqa: S301 - our own process wrote it
    assert isinstance(job, Job)
    sys.path[:] = path
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    if job.pretence == "machine":
        _pretend()
    with Conditions(clock=job.imported_at, seed=job.conditions.seed).applied(Entropy(job.conditions.seed)):
        functions = [_find(source) for source in job.workflows]
    watch = Watch()
    registry = watch.registry(functions, ())
    turns = [
        PlayedTurn(
            instance_id,
            execution,
            [pb.HistoryEvent.FromString(event) for event in past],
            [pb.HistoryEvent.FromString(event) for event in new],
            None,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType] - what was asked is compared elsewhere
            answered=True,
        )
        for instance_id, execution, past, new in job.turns
    ]
    converter = job.converter or JsonConverter()
    with concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix=THREAD) as pool:
        found = pool.submit(replay_fresh, turns, registry, watch, converter, job.conditions).result()
    return [
        ([action.SerializeToString() for action in asked.actions], asked.custom_status, asked.places, asked.waits)
        for asked in found
    ]


def _find(source: Source) -> Callable[..., Any]:
    module: Any = None
    if source.module != "__main__":
        try:
            module = importlib.import_module(source.module)
        except ImportError:
            module = None
        if module is not None and Path(str(getattr(module, "__file__", ""))).resolve() != Path(source.path):
            module = None
    if module is None:
        name = "__mp_main__" if source.module == "__main__" else source.module
        spec = importlib.util.spec_from_file_location(name, source.path)
        if spec is None or spec.loader is None:
            raise Unreachable(f"{source.path} cannot be imported")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    found: Any = module
    for part in source.qualname.split("."):
        found = getattr(found, part, None)
    if not callable(found):
        raise Unreachable(f"{source.path} has no {source.qualname!r} when it is imported anew")
    function: Callable[..., Any] = found
    return function


def _pretend() -> None:
    """Makes this process look as if it ran elsewhere: what code can learn of its machine is something else."""
    import platform
    import socket

    kept = {"PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "SYSTEMROOT", "TZ"}
    for name in list(os.environ):
        if name not in kept and not name.startswith("PYTHON"):
            os.environ[name] = f"other-{os.environ[name]}"
    os.chdir(tempfile.gettempdir())
    sys.argv[:] = ["elsewhere", "--other", "arguments"]
    count, pid = (os.cpu_count() or 1) + 3, os.getpid() + 4321
    os.cpu_count = lambda: count
    os.getpid = lambda: pid
    os.getppid = lambda: pid - 1
    socket.gethostname = lambda: "elsewhere"
    platform.node = lambda: "elsewhere"
    platform.machine = lambda: "other"
    os.getlogin = lambda: "somebody"
