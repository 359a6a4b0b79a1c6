"""An engine killed while it makes its file leaves one that the next engine can use."""

from __future__ import annotations

import os
import random
import subprocess
import sys
from pathlib import Path

from dapr_workflow_sdk import EmbeddedEngine
from tests.crash.orders import EXAMPLE

_MOMENTS = 100
# Imports once and forks before there are threads, so that a kill costs milliseconds.
_MAKE_AND_KILL = """
import os, signal, sys, time
from dapr_workflow_sdk.engine.stores.sqlite import SqliteStore
for number, moment in enumerate(sys.argv[1:]):
    child = os.fork()
    if not child:
        SqliteStore(f"{number}.db")
        signal.pause()
    time.sleep(float(moment))
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def test_killed_while_it_makes_its_file(tmp_path: Path, dice: random.Random) -> None:
    """Whatever is there, tables or none of them, the next engine finishes it."""
    moments = [f"{dice.uniform(0, 0.012):.6f}" for _ in range(_MOMENTS)]
    environment = {**os.environ, "PYTHONPATH": str(EXAMPLE.parents[1])}
    command = [sys.executable, "-c", _MAKE_AND_KILL, *moments]
    subprocess.run(command, cwd=tmp_path, env=environment, check=True, timeout=60)
    assert list(tmp_path.glob("*.db"))
    for number in range(_MOMENTS):
        EmbeddedEngine(tmp_path / f"{number}.db").close()
