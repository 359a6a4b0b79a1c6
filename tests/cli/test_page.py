"""The page about the terminal, and the session recorded for it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

from dapr_workflow_sdk.cli.command import app

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "terminal.md"
CAST = ROOT / "docs" / "terminal" / "session.cast"
COMMAND = re.compile(r"^\$ (.+)$", re.MULTILINE)


def typed(cast: Path) -> str:
    """Everything that the terminal of a recording was told, without colours and moves."""
    header, *events = [json.loads(line) for line in cast.read_text().splitlines()]
    assert header["version"] == 2
    times = [at for at, _, _ in events]
    assert times == sorted(times)
    assert {kind for _, kind, _ in events} == {"o"}
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", "".join(text for _, _, text in events))


def test_the_page_has_every_command() -> None:
    names = {command.name for command in app.registered_commands if command.name}
    assert {"list", "history", "backup"} <= names
    page = PAGE.read_text()
    for name in names:
        assert re.search(rf"`{name}\b|dapr-workflow {name}\b", page), name


def test_the_recording_is_the_session_of_the_page() -> None:
    said = typed(CAST).replace("\r", "")
    for command in COMMAND.findall(PAGE.read_text()):
        # The terminal breaks long lines.
        assert command[:60] in said


def test_one_command_records_both_anew(tmp_path: Path) -> None:
    page, cast = tmp_path / "page.md", tmp_path / "session.cast"
    shutil.copy(PAGE, page)
    script = ROOT / "docs" / "terminal" / "record.py"
    options = ["--page", str(page), "--cast", str(cast), "--fast"]
    done = subprocess.run(
        [sys.executable, str(script), *options], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = PAGE.read_text(), page.read_text()
    assert COMMAND.findall(before) == COMMAND.findall(after)
    assert "Traceback" not in after
    typed(cast)

    def shape(text: str) -> list[str]:
        """The first words of all lines, which stay the same from one session to the next."""
        lines = [line.split() for line in text.splitlines() if line.strip()]
        return [words[0] for words in lines if re.fullmatch(r"[A-Za-z#`|$:-]+", words[0])]

    assert shape(before) == shape(after)
