"""`dapr-workflow check`."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from dapr_workflow_sdk.cli.command import app
from dapr_workflow_sdk.linting import RULES
from tests.linting.support import write

BAD = "import time\n@workflow\ndef flow(ctx):\n    yield ctx.create_timer(  time.time())\n"
GOOD = "@workflow\ndef flow(ctx):\n    yield ctx.call_activity(step)\n"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["check", *arguments])


def test_people_see_the_line_the_reason_and_what_to_write(folder: Path) -> None:
    write(folder, {"app.py": BAD})
    answer = run("app.py")
    assert answer.exit_code == 1
    assert answer.stdout.splitlines() == [
        "app.py:10: wall-clock time.time() reads the machine's clock.",
        "    yield ctx.create_timer(  time.time())",
        "                             ^^^^^^^^^^^",
        "    in: workflow 'flow'.",
        f"    why: {RULES['wall-clock'].reason}",
        f"    use: {RULES['wall-clock'].replacement}",
        "",
        "1 finding in 1 workflow in 1 file.",
    ]


def test_good_code_and_no_code(folder: Path) -> None:
    write(folder, {"app.py": GOOD, "more.py": "x = 1"})
    answer = run()
    assert (answer.exit_code, answer.stdout) == (0, "Nothing found in 1 workflow in 2 files.\n")
    answer = run("more.py")
    assert (answer.exit_code, answer.stdout) == (0, "No workflow in 1 file.\n")


@pytest.mark.parametrize("arguments", [("--json",), ("--format", "json")])
def test_json(folder: Path, arguments: tuple[str, ...]) -> None:
    write(folder, {"app.py": BAD})
    answer = run(*arguments)
    assert answer.exit_code == 1
    assert [finding["rule"] for finding in json.loads(answer.stdout)] == ["wall-clock"]
    write(folder, {"app.py": GOOD})
    answer = run(*arguments)
    assert (answer.exit_code, json.loads(answer.stdout)) == (0, [])


def test_sarif_and_github(folder: Path) -> None:
    write(folder, {"app.py": BAD})
    answer = run("--format", "sarif")
    assert answer.exit_code == 1
    assert json.loads(answer.stdout)["runs"][0]["results"][0]["ruleId"] == "wall-clock"
    answer = run("--format", "github", ".")
    assert answer.exit_code == 1
    assert answer.stdout.startswith("::error file=app.py,line=10,")


def test_files_that_cannot_be_read_are_named_and_the_others_checked(folder: Path) -> None:
    write(folder, {"app.py": BAD, "broken.py": "x = (\n"})
    answer = run("--json")
    assert answer.exit_code == 2
    assert len(json.loads(answer.stdout)) == 1
    assert answer.stderr.startswith("broken.py:1: It is not Python that this version knows")


def test_what_is_not_there_is_said(folder: Path) -> None:
    answer = run("nowhere")
    assert answer.exit_code == 2
    assert answer.stderr.endswith("nowhere does not exist.\n")
    assert run("--format", "xml").exit_code == 2


def test_the_rules_can_be_listed(folder: Path) -> None:
    answer = run("--rules")
    assert answer.exit_code == 0
    for rule in RULES.values():
        assert f"{rule.id}  {rule.title}." in answer.stdout


def test_nothing_of_the_program_is_run(folder: Path) -> None:
    write(folder, {"app.py": f"{BAD}\nraise SystemExit('run')\n"})
    command = [sys.executable, "-m", "dapr_workflow_sdk", "check", "app.py"]
    answer = subprocess.run(command, capture_output=True, text=True, check=False)
    assert answer.returncode == 1
    assert "1 finding" in answer.stdout
    assert answer.stderr == ""
