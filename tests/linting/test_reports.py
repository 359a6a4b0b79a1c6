"""What other programs get: JSON, SARIF 2.1.0, commands of GitHub Actions."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk.linting import RULES, Survey, lint_paths
from dapr_workflow_sdk.linting.reports import to_github, to_json, to_sarif
from tests.linting.support import write

CODE = """
import time
def helper():
    return time.time()
@workflow
def flow(ctx):
    text = "é" + str(time.time())
    helper()
    yield ctx.call_activity(step, input=text)
"""


@pytest.fixture
def survey(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Survey:
    write(tmp_path, {"src/a flow, of 50%.py": CODE, "broken.py": "def"})
    monkeypatch.chdir(tmp_path)
    return lint_paths([Path()])


def test_json_is_a_list_of_findings(survey: Survey) -> None:
    first, second = json.loads(to_json(survey))
    assert first == {
        "rule": "wall-clock",
        "message": "time.time() reads the machine's clock.",
        "reason": RULES["wall-clock"].reason,
        "replacement": RULES["wall-clock"].replacement,
        "path": "src/a flow, of 50%.py",
        "line": 9,
        "column": 12,
        "end_line": 9,
        "end_column": 23,
        "workflow": {"name": "flow", "path": "src/a flow, of 50%.py", "line": 11},
        "steps": [{"path": "src/a flow, of 50%.py", "line": 13, "function": "helper"}],
    }
    # Columns count characters, not bytes.
    assert (second["line"], second["column"]) == (12, 22)
    assert json.loads(to_json(Survey())) == []


def test_sarif_has_what_the_schema_requires(survey: Survey) -> None:
    log = json.loads(to_sarif(survey))
    assert log["version"] == "2.1.0"
    assert log["$schema"].startswith("https://")
    (run,) = log["runs"]
    driver = run["tool"]["driver"]
    assert driver["name"]
    assert re.fullmatch(r"\d+\.\d+\.\d+\S*", driver["semanticVersion"])
    ids = [rule["id"] for rule in driver["rules"]]
    assert ids == list(RULES)
    assert len(set(ids)) == len(ids)
    for rule in driver["rules"]:
        assert rule["shortDescription"]["text"]
        assert rule["help"]["text"]
        assert re.fullmatch(r"[A-Za-z]+", rule["name"])
        assert rule["defaultConfiguration"]["level"] in {"none", "note", "warning", "error"}
    assert len(run["results"]) == 2
    for result in run["results"]:
        assert ids[result["ruleIndex"]] == result["ruleId"]
        assert result["level"] == "error"
        assert result["message"]["text"]
        for location in result["locations"]:
            _check_location(location)
    (flow,) = run["results"][0]["codeFlows"]
    (thread,) = flow["threadFlows"]
    assert [part["location"]["physicalLocation"]["region"]["startLine"] for part in thread["locations"]] == [13, 9]
    (invocation,) = run["invocations"]
    assert invocation["executionSuccessful"] is False
    (notification,) = invocation["toolExecutionNotifications"]
    assert notification["message"]["text"].startswith("It is not Python")


def _check_location(location: dict[str, Any]) -> None:
    physical = location["physicalLocation"]
    assert physical["artifactLocation"]["uri"] == "src/a%20flow%2C%20of%2050%25.py"
    region = physical["region"]
    assert 1 <= region["startLine"] <= region["endLine"]
    assert 1 <= region["startColumn"] < region["endColumn"]


def test_sarif_of_nothing(tmp_path: Path) -> None:
    (run,) = json.loads(to_sarif(lint_paths([tmp_path])))["runs"]
    assert run["results"] == []
    assert run["invocations"][0]["executionSuccessful"] is True


def test_github_commands_escape_what_would_end_them(survey: Survey) -> None:
    lines = to_github(survey).splitlines()
    assert len(lines) == 3
    assert lines[0].startswith(
        "::error file=src/a flow%2C of 50%25.py,line=9,endLine=9,col=12,endColumn=23,title=wall-clock::time.time() reads"
    )
    assert lines[2].startswith("::error file=broken.py,line=1::It is not Python")
    assert to_github(Survey()) == ""
