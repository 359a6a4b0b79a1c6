"""Runs the whole gallery in a process of its own.

usage: python -m tests.determinism.world record|deployed|elsewhere FILE

``record`` runs each case and writes its turns and what it shows to FILE. The others replay the turns in FILE and print
the names of the cases that then do something else: ``deployed`` after a change of code that should not matter,
``elsewhere`` as on another machine.
"""

from __future__ import annotations

import sys

if __name__ == "__main__" and sys.argv[1] == "elsewhere":
    from tests.determinism import elsewhere

    elsewhere.pretend()

import asyncio
import contextlib
import http.server
import itertools
import json
import os
import pickle
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.determinism.case import Case, Shows, World
from tests.determinism.gallery import cases, cases_after_a_deployment
from tests.determinism.stage import Play, Stage, Turn, registry_of, replayed

ROOT = Path(__file__).parents[2]
# What the two machines differ in. Hash seeds are fixed, so that each run of the tests sees the same orders.
HERE = {"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C.UTF-8", "PYTHONUTF8": "0", "HOME": "/home/here"}
ELSEWHERE = {
    "PYTHONHASHSEED": "7",
    "TZ": "JST-9",
    "LC_ALL": "C",
    "PYTHONUTF8": "0",
    "PYTHONCOERCECLOCALE": "0",
    "HOME": "/home/elsewhere",
    "SHOP_REGION": "us",
    "SHOP_NEW_CHECKOUT": "1",
    "SHOP_MAX_RETRIES": "9",
    "SHOP_REPORT_BUCKET": "reports-b",
}


@dataclass
class Verdict:
    """What running a case has shown."""

    case: Case
    play: Play
    shows: set[Shows]


# ---- in the processes ----------------------------------------------------------------------------------------


@contextlib.contextmanager
def service() -> Iterator[str]:
    """A service that answers each request with another number."""
    numbers = itertools.count(1)

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"rate": next(numbers)}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            """Tells nobody."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def play(case: Case, url: str, *, shadow: bool) -> Play:
    """Runs a case in a fresh folder."""
    with tempfile.TemporaryDirectory() as folder:
        return Stage(case, World(Path(folder), url), shadow=shadow).run()


async def _record(file: Path) -> None:
    # A worker runs turns on its event loop, so this does as well.
    with service() as url:
        clean = {case.name: play(case, url, shadow=False) for case in cases()}
        again = _different(cases(), clean)
        shadowed = {case.name: play(case, url, shadow=True) for case in cases()}
    plays, kinds = {}, {}
    for name, recorded in clean.items():
        shows = {kind.name for kind in recorded.shows() | shadowed[name].shows()}
        if name in again:
            shows.add(Shows.AGAIN.name)
        turns = [vars(turn) for turn in recorded.turns]
        plays[name] = {**vars(recorded), "case": name, "turns": turns}
        kinds[name] = shows
    file.write_bytes(pickle.dumps((plays, kinds)))


async def _replay(file: Path, *, edited: bool) -> None:
    text, _ = pickle.loads(file.read_bytes())
    plays = {name: Play(**{**play, "turns": [Turn(**turn) for turn in play["turns"]]}) for name, play in text.items()}
    sys.stdout.write(json.dumps(_different(cases_after_a_deployment() if edited else cases(), plays)))


def _different(all_cases: list[Case], plays: dict[str, Play]) -> list[str]:
    """Cases of which a replay of some turn is not what it was."""
    differ = []
    for case in all_cases:
        registry = registry_of(case)
        if any(replayed(turn, registry) != turn.said for turn in plays[case.name].turns):
            differ.append(case.name)
    return differ


# ---- in the process that asks --------------------------------------------------------------------------------


def _run(what: str, file: Path, environment: dict[str, str], folder: Path, *more: str) -> str:
    command = [sys.executable, "-m", "tests.determinism.world", what, str(file), *more]
    cleaned = {
        name: value for name, value in os.environ.items() if not name.startswith(("SHOP_", "LC_", "LANG", "PYTHON"))
    }
    run = subprocess.run(
        command,
        env={**cleaned, "PYTHONPATH": str(ROOT), **environment},
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    return run.stdout


def verdicts() -> dict[str, Verdict]:
    """Runs the whole gallery here, elsewhere and after a deployment."""
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        file = folder / "plays"
        (folder / "elsewhere").mkdir()
        _run("record", file, HERE, folder)
        plays, kinds = pickle.loads(file.read_bytes())
        differ = {
            Shows.ELSEWHERE: json.loads(_run("elsewhere", file, ELSEWHERE, folder / "elsewhere", "--dry-run")),
            Shows.DEPLOYED: json.loads(_run("deployed", file, HERE, folder)),
        }
    found = {}
    for case in cases():
        recorded = plays[case.name]
        shows = {Shows[name] for name in kinds[case.name]}
        shows |= {kind for kind, names in differ.items() if case.name in names}
        recorded.update(case=case, turns=[Turn(**turn) for turn in recorded["turns"]])
        found[case.name] = Verdict(case, Play(**recorded), shows)
    return found


def _main() -> None:
    what, file = sys.argv[1], Path(sys.argv[2])
    if what == "record":
        asyncio.run(_record(file))
    elif what == "deployed":
        asyncio.run(_replay(file, edited=True))
    else:
        # Also on another thread than the main one.
        thread = threading.Thread(target=lambda: asyncio.run(_replay(file, edited=False)), name="worker-7")
        thread.start()
        thread.join()


if __name__ == "__main__":
    _main()
