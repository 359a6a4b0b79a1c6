"""Applies each mutation to a copy of the package, and runs the property tests against it: all must be killed.

usage: python -m tests.mutations [NUMBER ...]
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from tests.mutations.table import MUTATIONS, Mutation

ROOT = Path(__file__).parents[2]
TESTS = ("tests/testing/test_core_properties.py", "tests/replay/test_properties.py")
# Longer than this, and the mutation made something endless, which counts as found.
PATIENCE = 240


def copy(folder: Path) -> None:
    """The package and its tests."""
    for name in ("dapr_workflow_sdk", "tests"):
        ignored = shutil.ignore_patterns("__pycache__", "determinism", "chaos", "interop", "fuzz")
        shutil.copytree(ROOT / name, folder / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", folder)
    # A counterexample kills a mutation; nobody needs the shortest one.
    (folder / "conftest.py").write_text(
        "from hypothesis import Phase, settings\n"
        "settings.register_profile('mutations', phases=(Phase.explicit, Phase.generate))\n"
        "settings.load_profile('mutations')\n"
    )


def run(folder: Path) -> tuple[bool, str]:
    """Whether the tests fail, and how."""
    environment = {
        **os.environ,
        "PYTHONPATH": str(folder),
        "HYPOTHESIS_EXAMPLES": os.environ.get("HYPOTHESIS_EXAMPLES", "60"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    for test in TESTS:
        # In one process after the other, so that the fast ones need not load the rest.
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "-p", "no:cacheprovider", test]
        try:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return True, f"{test} did not end"
        if done.returncode == 1:
            failed = [line for line in done.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
            return True, (failed or ["failed"])[0].removeprefix("FAILED ").split(" - ")[0]
        if done.returncode:
            raise SystemExit(f"The tests could not be run:\n{done.stdout}{done.stderr}")
    return False, ""


def mutate(folder: Path, mutation: Mutation) -> str:
    """Applies a mutation; returns what the file was."""
    file = folder / "dapr_workflow_sdk" / mutation.file
    text = file.read_text()
    if text.count(mutation.old) != 1:
        raise SystemExit(f"{mutation.name}: {mutation.old!r} is {text.count(mutation.old)} times in the file.")
    file.write_text(text.replace(mutation.old, mutation.new))
    return text


def main(numbers: list[int]) -> int:
    survived = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        copy(folder)
        failed, how = run(folder)
        if failed:
            raise SystemExit(f"The tests fail without any mutation: {how}")
        for number, mutation in enumerate(MUTATIONS, 1):
            if numbers and number not in numbers:
                continue
            began = time.monotonic()
            text = mutate(folder, mutation)
            killed, how = run(folder)
            (folder / "dapr_workflow_sdk" / mutation.file).write_text(text)
            survived += not killed
            took = time.monotonic() - began
            print(
                f"{number:3} {'killed  ' if killed else 'SURVIVED'} {took:5.0f} s  {mutation.name}  {how}", flush=True
            )
    print(f"{survived} survived.")
    return survived


if __name__ == "__main__":
    raise SystemExit(1 if main([int(argument) for argument in sys.argv[1:]]) else 0)
