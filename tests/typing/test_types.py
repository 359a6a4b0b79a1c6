"""Types that users rely on, checked by both type checkers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
BAD = HERE / "bad.py"


def expected_errors() -> set[int]:
    return {number for number, line in enumerate(BAD.read_text().splitlines(), 1) if line.endswith("# error")}


def mypy(file: Path, cache: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file=", f"--cache-dir={cache}", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    return {int(n) for n in re.findall(rf"{file.name}:(\d+): error", run.stdout)}


def pyright(file: Path, _: Path) -> set[int]:
    command = [sys.executable, "-m", "pyright", "--pythonpath", sys.executable, "--outputjson", str(file)]
    run = subprocess.run(command, capture_output=True, text=True, check=False, cwd=HERE.parents[1])
    found = json.loads(run.stdout)
    assert found["summary"]["filesAnalyzed"] == 1
    return {d["range"]["start"]["line"] + 1 for d in found["generalDiagnostics"] if d["severity"] == "error"}


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_good_code_is_accepted_with_the_types_it_asserts(checker: object, tmp_path: Path) -> None:
    assert callable(checker)
    assert checker(HERE / "good.py", tmp_path) == set()


@pytest.mark.parametrize("checker", [mypy, pyright])
def test_mistakes_are_found_on_their_lines(checker: object, tmp_path: Path) -> None:
    assert callable(checker)
    assert checker(BAD, tmp_path) == expected_errors()
