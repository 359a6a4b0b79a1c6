"""What the load asked for and what it was answered, line by line, in a file that survives everybody."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


class JournalWriter:
    """Appends; each line is there before the call that follows it is sent."""

    def __init__(self, path: Path) -> None:
        """Opens the file."""
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)

    def note(self, what: str, name: str = "", run: str = "", **more: Any) -> None:
        """Adds a line."""
        line = {"t": time.monotonic(), "what": what, "id": name, "run": run, **more}
        os.write(self._descriptor, f"{json.dumps(line)}\n".encode())


@dataclass
class Known:
    """What is certain about one instance id.

    Attributes:
        run: The run that the engine has acknowledged last.
        certain: Whether that run must be there; no longer once its purge or another run has been asked for.
        gone: Whether its purge was acknowledged and nothing started since.
        tries: How often each run was asked for.
        purges: How often a purge was asked for.
        events: Keys of acknowledged events of the run.
        doubtful: Keys of events of the run of which only the request is certain.
        suspended: Whether a suspension was acknowledged and no resumption asked for.
        final: What a client was told of its end.
        terminated: Whether a termination was acknowledged.
    """

    run: str = ""
    certain: bool = False
    gone: bool = False
    tries: Counter[str] = field(default_factory=Counter)
    purges: int = 0
    events: list[str] = field(default_factory=list)
    doubtful: set[str] = field(default_factory=set)
    suspended: bool = False
    final: dict[str, Any] | None = None
    terminated: bool = False


class Journal:
    """Reads what was written so far, and keeps what follows from it."""

    def __init__(self, path: Path) -> None:
        """Reads nothing yet."""
        self._path = path
        self._at = 0
        self._rest = b""
        self.known: dict[str, Known] = {}
        self.violations: list[str] = []
        self.counts: Counter[str] = Counter()
        self.answers: list[float] = []
        self.last_answer = 0.0
        self.tags: set[str] = set()

    def read(self) -> None:
        """Takes in what is new."""
        if not self._path.exists():
            return
        with self._path.open("rb") as journal:
            journal.seek(self._at)
            new = journal.read()
        self._at += len(new)
        *lines, self._rest = (self._rest + new).split(b"\n")
        for line in lines:
            self._take(json.loads(line))

    def _take(self, line: dict[str, Any]) -> None:
        what = line["what"]
        self.counts[what] += 1
        if what == "violation":
            self.violations.append(line["text"])
            return
        if what == "done":
            if line["kind"] != "endless":  # What is ended from outside need not have come to its activities.
                self.tags.update(line["tags"])
            return
        if what.endswith(" ok"):
            self.answers.append(line["t"])
            self.last_answer = line["t"]
        known = self.known.setdefault(line["id"], Known())
        if what == "start try":
            known.tries[line["run"]] += 1
            known.certain = known.gone = False
        elif what == "start ok":
            self.known[line["id"]] = Known(line["run"], certain=True, tries=known.tries, purges=known.purges)
        elif what == "raise try":
            known.doubtful.add(line["key"])
        elif what == "raise ok":
            if not line["key"].startswith("close"):  # The instance may have ended by an earlier try of closing it.
                known.events.append(line["key"])
        elif what == "suspend ok":
            known.suspended = True
        elif what == "resume try":
            known.suspended = False
        elif what == "terminate ok":
            known.terminated = True
        elif what == "final ok":
            known.final = line["final"]
        elif what == "purge try":
            known.purges += 1
            known.certain = False
        elif what == "purge ok":
            known.gone = True
