"""The command that looks for code in workflows that breaks on replay."""

from __future__ import annotations

import linecache
from enum import Enum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.text import Text

from dapr_workflow_sdk.cli.files import NOT_WELL, WRONG
from dapr_workflow_sdk.cli.rendering import clean
from dapr_workflow_sdk.linting.findings import Finding
from dapr_workflow_sdk.linting.linter import Survey, lint_paths
from dapr_workflow_sdk.linting.reports import to_github, to_json, to_sarif
from dapr_workflow_sdk.linting.rules import RULES


class Format(str, Enum):
    """How findings are written."""

    TEXT = "text"
    JSON = "json"
    SARIF = "sarif"
    GITHUB = "github"


def check(
    paths: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[PATH...]", help="Files and folders; this folder by default.", show_default=False),
    ] = None,
    format_: Annotated[
        Format, typer.Option("--format", help="text for people, json and sarif for programs, github for its Actions.")
    ] = Format.TEXT,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format json.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="Show the rules instead.")] = False,
) -> None:
    """Look for code in workflows that breaks on replay, without running it.

    Exits with 1 if something was found, and with 2 if a file could not be read.
    """
    output, errors = Console(highlight=False), Console(stderr=True, highlight=False)
    if rules:
        _print_rules(output)
        return
    try:
        survey = lint_paths(paths or [Path()])
    except FileNotFoundError as error:
        errors.print(f"dapr-workflow: {clean(str(error))}", style="red", markup=False, soft_wrap=True)
        raise typer.Exit(WRONG) from error
    wanted = Format.JSON if as_json else format_
    if wanted is Format.TEXT:
        for finding in survey.findings:
            _print_finding(output, finding)
        output.print(_summary(survey), soft_wrap=True)
    else:
        text = {Format.JSON: to_json, Format.SARIF: to_sarif, Format.GITHUB: to_github}[wanted](survey)
        if text:
            print(text)
    for problem in survey.problems:
        place = f"{problem.path}:{problem.line}" if problem.line else problem.path
        errors.print(f"{clean(place)}: {clean(problem.message)}", style="red", markup=False, soft_wrap=True)
    if survey.problems:
        raise typer.Exit(WRONG)
    if survey.findings:
        raise typer.Exit(NOT_WELL)


def _print_finding(output: Console, finding: Finding) -> None:
    headline = Text(f"{clean(finding.path)}:{finding.line}: ", style="bold")
    headline.append(finding.rule_id, style="bold red")
    headline.append(f" {clean(finding.message)}", style="not bold")
    output.print(headline, soft_wrap=True)
    source = linecache.getline(finding.path, finding.line).rstrip().expandtabs(1)
    if source.strip():
        width = len(source.strip()) if finding.end_line != finding.line else finding.end_column - finding.column
        indent = len(source) - len(source.lstrip())
        shift = " " * max(finding.column - 1 - indent, 0)
        output.print(Text(f"    {clean(source.strip())}"), soft_wrap=True)
        output.print(Text(f"    {shift}{'^' * max(width, 1)}", style="red"), soft_wrap=True)
    for label, text in (("in", f"{finding.where}."), ("why", finding.rule.reason), ("use", finding.rule.replacement)):
        output.print(Text(f"    {label}: ", style="dim").append(clean(text), style="not dim"), soft_wrap=True)
    output.print()


def _summary(survey: Survey) -> Text:
    if not survey.workflows:
        return Text(f"No workflow in {_count(survey.files, 'file')}.", style="yellow")
    looked = f"{_count(survey.workflows, 'workflow')} in {_count(survey.files, 'file')}"
    if not survey.findings:
        return Text(f"Nothing found in {looked}.", style="green")
    return Text(f"{_count(len(survey.findings), 'finding')} in {looked}.", style="red")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _print_rules(output: Console) -> None:
    for rule in RULES.values():
        output.print(Text(rule.id, style="bold").append(f"  {rule.title}.", style="not bold"), soft_wrap=True)
        output.print(Text(f"    why: {rule.reason}"), soft_wrap=True)
        output.print(Text(f"    use: {rule.replacement}"), soft_wrap=True)
