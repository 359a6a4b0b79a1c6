"""What the linter found, and the warning that tells about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from dapr_workflow_sdk.linting.rules import RULES, Rule


class WorkflowLintWarning(UserWarning):
    """A workflow that a worker runs does something that breaks on replay."""


@dataclass(frozen=True, slots=True)
class Step:
    """A call on the way from a workflow to the code that was found.

    Attributes:
        path: File of the call.
        line: Its line.
        function: What is called.
    """

    path: str
    line: int
    function: str


@dataclass(frozen=True, slots=True)
class Finding:
    """Code in a workflow, or in a function it calls, that breaks a rule.

    Attributes:
        rule_id: Id of the rule; see `RULES`.
        message: One sentence: which code does what.
        path: File of the code.
        line: Line of the code, from 1.
        column: Column of its first character, from 1.
        end_line: Last line of the code.
        end_column: Column after its last character, from 1.
        workflow: Name of the workflow that runs it.
        workflow_path: File of that workflow.
        workflow_line: Line of its ``def``.
        steps: Calls from the workflow to the function that holds the code; empty if that is the workflow itself.
    """

    rule_id: str
    message: str
    path: str
    line: int
    column: int
    end_line: int
    end_column: int
    workflow: str
    workflow_path: str
    workflow_line: int
    steps: tuple[Step, ...] = ()

    @property
    def rule(self) -> Rule:
        """The rule that it breaks."""
        return RULES[self.rule_id]

    @property
    def where(self) -> str:
        """Which workflow runs the code, and by which calls."""
        if not self.steps:
            return f"workflow {self.workflow!r}"
        calls = " -> ".join(f"{step.function}() at {step.path}:{step.line}" for step in self.steps)
        return f"workflow {self.workflow!r} calls {calls}"

    @property
    def headline(self) -> str:
        """``file:line: rule message``."""
        return f"{self.path}:{self.line}: {self.rule_id} {self.message}"

    @property
    def advice(self) -> str:
        """Why it matters and what to write instead, in sentences."""
        return f"{self.rule.reason} Use {self.rule.replacement}"

    def __str__(self) -> str:
        return f"{self.headline}\n    In: {self.where}.\n    Why: {self.rule.reason}\n    Use: {self.rule.replacement}"

    def document(self) -> dict[str, Any]:
        """The finding as JSON has it."""
        return {
            "rule": self.rule_id,
            "message": self.message,
            "reason": self.rule.reason,
            "replacement": self.rule.replacement,
            "path": self.path,
            "line": self.line,
            "column": self.column,
            "end_line": self.end_line,
            "end_column": self.end_column,
            "workflow": {"name": self.workflow, "path": self.workflow_path, "line": self.workflow_line},
            "steps": [{"path": step.path, "line": step.line, "function": step.function} for step in self.steps],
        }
