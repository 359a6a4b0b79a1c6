"""Finds code in workflows that breaks on replay, by reading its source."""

from __future__ import annotations

from dapr_workflow_sdk.linting.findings import Finding, Step, WorkflowLintWarning
from dapr_workflow_sdk.linting.linter import Problem, Survey, lint, lint_paths
from dapr_workflow_sdk.linting.rules import RULES, Rule

__all__ = ["RULES", "Finding", "Problem", "Rule", "Step", "Survey", "WorkflowLintWarning", "lint", "lint_paths"]
