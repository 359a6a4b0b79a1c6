"""What code does to the machine while a turn runs: files, network, threads, programs, sleeping, the environment.

Seen by way of the interpreter's audit events, which no import style escapes.
"""

from __future__ import annotations

import _thread
import contextlib
import ctypes
import os
import sys
import sysconfig
import threading
import time
import warnings
from collections.abc import Generator
from dataclasses import dataclass, field
from pathlib import Path
from types import FrameType
from typing import Any

from dapr_workflow_sdk.replay.calls import Place

# The interpreter's own, and this package's: what code of its authors called is looked for above them.
_LIBRARY = tuple({sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), str(Path(__file__).parents[1])})
# Parts of the standard library that read files for reasons of their own.
_OWN_REASONS = frozenset(
    {
        "encodings",
        "gettext",
        "importlib",
        "importlib._bootstrap",
        "importlib._bootstrap_external",
        "inspect",
        "linecache",
        "locale",
        "logging",
        "tokenize",
        "traceback",
        "warnings",
        "zipimport",
        "zoneinfo",
        "zoneinfo._common",
        "zoneinfo._tzpath",
    }
)
_EVENTS = {
    "open": ("file", "opens a file"),
    "os.listdir": ("file", "lists a folder"),
    "os.scandir": ("file", "lists a folder"),
    "os.mkdir": ("file", "makes a folder"),
    "os.remove": ("file", "removes a file"),
    "os.rename": ("file", "renames a file"),
    "os.system": ("process", "runs a program"),
    "os.posix_spawn": ("process", "runs a program"),
    "os.fork": ("process", "starts a process"),
    "subprocess.Popen": ("process", "runs a program"),
    "socket.connect": ("network", "opens a connection"),
    "socket.getaddrinfo": ("network", "asks for an address"),
    "socket.gethostbyname": ("network", "asks for an address"),
    "socket.gethostname": ("machine", "asks for the name of the machine"),
    "socket.bind": ("network", "opens a port"),
    "sqlite3.connect": ("database", "opens a database"),
    "builtins.input": ("console", "asks at the keyboard"),
    "os.putenv": ("environment", "changes the environment"),
}
# Functions that some interpreters have no audit event for; seen as a profiler sees them.
_FUNCTIONS: dict[Any, tuple[str, str]] = {
    time.sleep: ("sleep", "sleeps"),
    _thread.start_new_thread: ("thread", "starts a thread"),
    getattr(_thread, "start_joinable_thread", _thread.start_new_thread): ("thread", "starts a thread"),
}


@dataclass(frozen=True, slots=True)
class Deed:
    """Something that code did to the machine.

    Attributes:
        rule: The rule it breaks, by the names of the linter.
        what: What it did, in words.
        place: Where.
    """

    rule: str
    what: str
    place: Place | None


class EndlessTurn(BaseException):
    """Raised in code that does not come back by itself."""


@dataclass
class Observer:
    """Watches one thread while turns run on it.

    Attributes:
        deeds: What was done, each thing at each place once.
        slowest: The longest turn, in seconds.
    """

    deeds: dict[Deed, None] = field(default_factory=dict[Deed, None])
    slowest: float = 0.0
    _thread: int = 0

    @contextlib.contextmanager
    def watching(self) -> Generator[None, None, None]:
        """Watches until left."""
        _install()
        self._thread = threading.get_ident()
        environ: Any = os._Environ
        real = environ.__getitem__
        # The first time that a name is asked for, of whatever is there.
        observer = self

        def asked(self: Any, key: Any) -> Any:
            observer._note_environment(key)
            return real(self, key)

        began = _clock()
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always", RuntimeWarning)
            environ.__getitem__ = asked
            _WATCHING.append(self)
            before = sys.getprofile()
            sys.setprofile(self._profile)
            alarm = threading.Timer(_LONGEST, _interrupt, (self._thread,))
            alarm.daemon = True
            alarm.start()
            try:
                yield
            finally:
                alarm.cancel()
                sys.setprofile(before)
                _WATCHING.remove(self)
                environ.__getitem__ = real
                self.slowest = max(self.slowest, _clock() - began)
        for warning in caught:
            text = str(warning.message)
            if "was never awaited" in text:
                self.deeds[Deed("never-awaited", f"{text}", None)] = None

    def _note_environment(self, key: Any) -> None:
        if self._thread == threading.get_ident():
            place = _author(sys._getframe(2), through=("os", "_collections_abc", "collections.abc"))
            if place is not None:
                self.deeds[Deed("environment", f"reads the environment variable {key!r}", place)] = None

    def _profile(self, frame: FrameType, event: str, function: Any) -> None:
        if event == "c_call" and function in _FUNCTIONS:
            rule, what = _FUNCTIONS[function]
            place = _author(frame)
            if place is not None:
                self.deeds[Deed(rule, what, place)] = None

    def note(self, event: str, arguments: tuple[Any, ...], frame: FrameType) -> None:
        """Takes an audit event."""
        if self._thread != threading.get_ident():
            return
        rule, what = _EVENTS[event]
        place = _author(frame)
        if place is not None:
            if event in ("open", "os.listdir", "os.scandir", "sqlite3.connect") and arguments:
                what = f"{what} ({str(arguments[0])[:80]!r})"
            self.deeds[Deed(rule, what, place)] = None


def _interrupt(thread: int) -> None:
    """Ends what a thread does: code that waits for the clock never ends while the clock stands still."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(EndlessTurn))


_clock = time.perf_counter
# Seconds after which a turn is ended.
_LONGEST = 5.0
_WATCHING: list[Observer] = []
_INSTALLED: list[bool] = []


def _install() -> None:
    """Adds the hook, which cannot be taken away again and therefore does nothing while nobody watches."""
    if not _INSTALLED:
        _INSTALLED.append(True)
        sys.addaudithook(_hook)


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if _WATCHING and event in _EVENTS:
        for observer in _WATCHING:
            observer.note(event, arguments, sys._getframe(1))


def _author(frame: FrameType | None, through: tuple[str, ...] | None = None) -> Place | None:
    """Where the code of an author caused something; None if a library did for reasons of its own.

    Args:
        frame: Where it happened.
        through: The only modules that may stand between; any of the standard library by default.
    """
    while frame is not None:
        module = str(frame.f_globals.get("__name__", ""))
        file = frame.f_code.co_filename
        if module in _OWN_REASONS or module.startswith(("dapr_workflow_sdk.", "importlib.", "encodings.")):
            return None
        # What was installed lies inside of the standard library's folder, or in one like it.
        if not file.startswith((*_LIBRARY, "<frozen")) and "site-packages" not in file:
            return file, frame.f_lineno
        if through is not None and module not in through:
            return None
        frame = frame.f_back
    return None
