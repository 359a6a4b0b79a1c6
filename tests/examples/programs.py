"""Programs run as children, and what they say."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.sidecar.guardian import guardian

REPOSITORY = Path(__file__).resolve().parents[2]
EXAMPLES = REPOSITORY / "examples"
COMMAND = Path(sys.executable).with_name("dapr-workflow")


@dataclass(frozen=True)
class Output:
    """What a program said, and how it ended."""

    status: int
    stdout: str
    stderr: str


def run(command: Sequence[str], folder: Path, extra: Mapping[str, str], timeout: float) -> Output:
    """Runs a program to its end in a folder of its own; it and its children are killed when it takes too long.

    Args:
        command: The program and its arguments.
        folder: An empty folder to run it in.
        extra: Variables of its environment beside those of this process; nothing about Dapr is inherited.
        timeout: Seconds that it may take.
    """
    environment = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
    # All warnings are shown, even those that users do not see by default.
    environment.update(PYTHONPATH=str(REPOSITORY), PYTHONWARNINGS="default", **extra)
    process = subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    guardian.watch_group(process.pid)
    try:
        stdout, stderr = process.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        stdout, stderr = process.communicate()
        stderr += f"\n(killed after {timeout:g} s)"
    finally:
        guardian.leave_group(process.pid)
    return Output(process.returncode, stdout, stderr)


def check_lines(text: str, strands: Sequence[Sequence[str]], others: str | None = None) -> None:
    """Checks that a program said this and nothing else.

    Args:
        text: What it said.
        strands: Patterns of lines. The lines of one strand come in their order; strands may be interleaved, as
            activities print while the program does. Even within a line: `print` writes the end of the line by itself.
        others: Pattern of lines that may come as often as they like.
    """
    left = text
    for strand in strands:
        position = 0
        for pattern in strand:
            found = re.compile(pattern).search(left, position)
            assert found, f"no {pattern!r} after {text[:position]!r} in:\n{text}"
            # Taken from the text, with all other places as they were.
            left = left[: found.start()] + "\n" * len(found.group()) + left[found.end() :]
            position = found.end()
    unexpected = [line for line in left.splitlines() if line and not (others and re.fullmatch(others, line))]
    assert not unexpected, f"unexpected {unexpected} in:\n{text}"
