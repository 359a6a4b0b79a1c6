"""Warnings about workflows that a worker is about to run."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Callable, Iterable
from typing import Any

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.errors import RegistrationError
from dapr_workflow_sdk.linting.findings import Finding, WorkflowLintWarning
from dapr_workflow_sdk.linting.linter import Session

logger = logging.getLogger("dapr_workflow_sdk.linting")

VARIABLE = "DAPR_WORKFLOW_LINT"
_OFF = frozenset({"off", "0", "false", "no"})
# What Python keeps in each module to give a warning once: findings may be in modules that are not loaded.
_SHOWN: dict[str, dict[str | tuple[str, type[Warning], int], int]] = {}


def is_on() -> bool:
    """Whether the environment leaves the linter on."""
    return os.environ.get(VARIABLE, "").strip().lower() not in _OFF


def find_in(functions: Iterable[Callable[..., Any]]) -> list[Finding]:
    """What the linter finds in workflows; an error of its own is logged and stops nothing."""
    session = Session()
    found: dict[tuple[str, int, int, str], Finding] = {}
    for function in functions:
        try:
            for finding in session.lint(function):
                found.setdefault((finding.path, finding.line, finding.column, finding.rule_id), finding)
        except Exception:
            logger.debug("The linter failed for workflow %r.", function, exc_info=True)
    return list(found.values())


def workflows_of(registry: Registry) -> list[Callable[..., Any]]:
    """The workflows that a worker can run."""
    functions: list[Callable[..., Any]] = []
    for name in registry.names("workflow"):
        try:
            definition = registry.find("workflow", name)
        except RegistrationError:
            continue  # Whoever uses the name is told.
        if definition is not None:
            functions.append(definition.function)
        versions = (registry.find_version(name, version) for version in registry.versions_of(name))
        functions += [version.function for version in versions if version is not None]
    return functions


def warn_about(findings: Iterable[Finding]) -> None:
    """Gives each finding as a `WorkflowLintWarning` at its file and line.

    Raises:
        WorkflowLintWarning: The program turns warnings into errors.
    """
    for finding in findings:
        warnings.warn_explicit(
            f"{finding.rule_id} {finding.message} (In {finding.where}.) {finding.advice} "
            f"To accept it: # workflow: allow[{finding.rule_id}]",
            WorkflowLintWarning,
            finding.path,
            finding.line,
            registry=_SHOWN.setdefault(finding.path, {}),
        )
