"""One function that a workflow runs, and what the rules ask about it."""

from __future__ import annotations

import ast
from dataclasses import dataclass, field

from dapr_workflow_sdk.linting.discovery import Discovery
from dapr_workflow_sdk.linting.evaluator import COMBINATORS, TASK_METHODS, Evaluator, ours
from dapr_workflow_sdk.linting.findings import Finding, Step
from dapr_workflow_sdk.linting.project import Module
from dapr_workflow_sdk.linting.rules import RULES
from dapr_workflow_sdk.linting.scopes import Scope, own_nodes
from dapr_workflow_sdk.linting.values import Frame, Function, Kind, Value

_LONGEST = 60
# What is only written to a log, or counted, does not change which calls a replay makes.
_HARMLESS_IN_LOGS = frozenset(
    {
        "wall-clock",
        "time-zone",
        "random",
        "uuid",
        "environment",
        "machine",
        "hash",
        "memory",
        "introspection",
        "global-state",
    }
)


@dataclass(eq=False)
class Report:
    """The findings of one workflow."""

    workflow: Function
    name: str
    found: dict[tuple[str, int, int, str], Finding] = field(default_factory=dict[tuple[str, int, int, str], Finding])
    visited: set[object] = field(default_factory=set[object])
    variants: dict[Function, int] = field(default_factory=dict[Function, int])


@dataclass(eq=False)
class Visit:
    """A function that is looked at on behalf of a workflow.

    Attributes:
        evaluator: Says what expressions stand for.
        discovery: Says which functions are activities.
        report: Where findings go.
        frame: The function, and what is known about its arguments.
        steps: Calls from the workflow to the function.
        sites: The nodes of these calls, with the visits that they stand in.
        quiet: Whether the code at hand only writes to a log.
    """

    evaluator: Evaluator
    discovery: Discovery
    report: Report
    frame: Frame
    steps: tuple[Step, ...] = ()
    sites: tuple[tuple[Visit, ast.AST], ...] = ()
    quiet: bool = False

    @property
    def function(self) -> Function:
        """The function that is looked at."""
        return self.frame.function

    @property
    def module(self) -> Module:
        """The module of the function."""
        return self.frame.function.module

    @property
    def is_root(self) -> bool:
        """Whether the function is the workflow itself."""
        return not self.steps

    def value(self, node: ast.AST, scope: Scope) -> Value:
        """What an expression stands for here."""
        return self.evaluator.value(node, scope, self.frame)

    def scope_at(self, node: ast.AST) -> Scope:
        """The scope in which a node stands."""
        return self.module.names.scope_at(node)

    def parent(self, node: ast.AST) -> ast.AST | None:
        """The node around a node."""
        return self.module.names.parents.get(node)

    def accepts(self, rule_id: str, node: ast.AST) -> bool:
        """Whether a comment here accepts a finding."""
        return self.module.allowances.accept(rule_id, node, self.function.node)

    def find(self, rule_id: str, node: ast.AST, text: str | None = None, says: str | None = None) -> None:
        """Adds a finding, unless a comment accepts it.

        Args:
            rule_id: The rule.
            node: The code.
            text: How the message calls the code; its source by default.
            says: What the code does; what the rule says by default.
        """
        if self.quiet and rule_id in _HARMLESS_IN_LOGS:
            return
        line, column = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        path = str(self.module.path)
        key = (path, line, column, rule_id)
        if key in self.report.found or self.accepts(rule_id, node):
            return
        if any(visit.accepts(rule_id, site) for visit, site in self.sites):
            return
        workflow = self.report.workflow
        end_line = getattr(node, "end_lineno", None) or line
        self.report.found[key] = Finding(
            rule_id=rule_id,
            message=f"{text or shown(node)} {says or RULES[rule_id].says}.",
            path=path,
            line=line,
            column=self.module.column(line, column),
            end_line=end_line,
            end_column=self.module.column(end_line, getattr(node, "end_col_offset", None) or column),
            workflow=self.report.name,
            workflow_path=str(workflow.module.path),
            workflow_line=workflow.node.lineno,
            steps=self.steps,
        )

    def is_task_call(self, node: ast.AST, scope: Scope) -> bool:
        """Whether an expression asks the context for a task."""
        if not isinstance(node, ast.Call):
            return False
        function = self.value(node.func, scope)
        return function.kind is Kind.CONTEXT_METHOD and function.name in TASK_METHODS

    def is_task(self, node: ast.AST, scope: Scope) -> bool:
        """Whether an expression makes a task, itself or by a combinator."""
        if self.is_task_call(node, scope):
            return True
        return isinstance(node, ast.Call) and ours(self.value(node.func, scope)) in COMBINATORS

    def waits_or_calls(self, body: list[ast.stmt] | ast.expr) -> bool:
        """Whether a body waits for something, or asks the context for a task."""
        return any(
            isinstance(node, ast.Yield | ast.YieldFrom | ast.Await) or self.is_task_call(node, self.scope_at(node))
            for node in own_nodes(body)
        )


def shown(node: ast.AST) -> str:
    """Code as a message shows it: a call without its arguments, in one line."""
    return f"{shown(node.func)}()" if isinstance(node, ast.Call) else written(node)


def written(node: ast.AST) -> str:
    """Code as it is written, in one line that is not too long."""
    text = " ".join(ast.unparse(node).split())
    if isinstance(node, ast.Yield | ast.YieldFrom | ast.Await):
        text = text.removeprefix("(").removesuffix(")")
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"
