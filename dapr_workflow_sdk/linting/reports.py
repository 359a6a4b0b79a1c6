"""Findings for other programs: JSON, SARIF 2.1.0, and commands of GitHub Actions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dapr_workflow_sdk.linting.findings import Finding, Step
from dapr_workflow_sdk.linting.linter import Survey
from dapr_workflow_sdk.linting.rules import RULES, Rule
from dapr_workflow_sdk.version import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def to_json(survey: Survey) -> str:
    """A list of findings."""
    return json.dumps([finding.document() for finding in survey.findings], indent=2, ensure_ascii=False)


# ---- SARIF -----------------------------------------------------------------------------------------------------


def to_sarif(survey: Survey) -> str:
    """A log that code scanning services read."""
    ids = list(RULES)
    run: dict[str, Any] = {
        "tool": {
            "driver": {
                "name": "dapr-workflow check",
                "semanticVersion": __version__,
                "rules": [_sarif_rule(rule) for rule in RULES.values()],
            }
        },
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding, ids.index(finding.rule_id)) for finding in survey.findings],
        "invocations": [
            {
                "executionSuccessful": not survey.problems,
                "toolExecutionNotifications": [
                    {
                        "level": "error",
                        "message": {"text": problem.message},
                        "locations": [_location(problem.path, max(problem.line, 1))],
                    }
                    for problem in survey.problems
                ],
            }
        ],
    }
    return json.dumps({"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}, indent=2, ensure_ascii=False)


def _sarif_rule(rule: Rule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "name": "".join(part.capitalize() for part in rule.id.split("-")),
        "shortDescription": {"text": f"{rule.title}."},
        "fullDescription": {"text": rule.reason},
        "help": {"text": f"{rule.reason} Use {rule.replacement}"},
        "defaultConfiguration": {"level": "error"},
    }


def _sarif_result(finding: Finding, index: int) -> dict[str, Any]:
    result: dict[str, Any] = {
        "ruleId": finding.rule_id,
        "ruleIndex": index,
        "level": "error",
        "message": {"text": f"{finding.message} In {finding.where}. {finding.advice}"},
        "locations": [
            _location(finding.path, finding.line, finding.column, finding.end_line, finding.end_column),
        ],
    }
    if finding.steps:
        steps = [_flow(step) for step in finding.steps]
        steps.append({"location": result["locations"][0]})
        result["codeFlows"] = [{"threadFlows": [{"locations": steps}]}]
    return result


def _flow(step: Step) -> dict[str, Any]:
    location = _location(step.path, step.line)
    return {"location": {**location, "message": {"text": f"calls {step.function}()"}}}


def _location(path: str, line: int, column: int = 1, end_line: int = 0, end_column: int = 0) -> dict[str, Any]:
    region = {"startLine": line, "startColumn": column}
    if end_line:
        region.update(endLine=end_line, endColumn=end_column)
    return {"physicalLocation": {"artifactLocation": {"uri": _uri(path)}, "region": region}}


def _uri(path: str) -> str:
    return Path(path).as_uri() if Path(path).is_absolute() else quote(Path(path).as_posix())


# ---- GitHub ----------------------------------------------------------------------------------------------------


def to_github(survey: Survey) -> str:
    """Commands by which GitHub Actions puts findings beside the lines of a pull request."""
    lines = [
        f"::error file={_property(finding.path)},line={finding.line},endLine={finding.end_line},"
        f"col={finding.column},endColumn={finding.end_column},title={_property(finding.rule_id)}"
        f"::{_data(f'{finding.message} In {finding.where}. {finding.advice}')}"
        for finding in survey.findings
    ]
    lines += [
        f"::error file={_property(problem.path)},line={max(problem.line, 1)}::{_data(problem.message)}"
        for problem in survey.problems
    ]
    return "\n".join(lines)


def _data(text: str) -> str:
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
