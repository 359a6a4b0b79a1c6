"""Finds the workflows and the activities of a module, without importing it."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Literal

from dapr_workflow_sdk.linting.evaluator import Evaluator, ours
from dapr_workflow_sdk.linting.project import Module
from dapr_workflow_sdk.linting.scopes import DEFINITIONS, Scope
from dapr_workflow_sdk.linting.values import Function, Kind

Role = Literal["workflow", "activity"]

_DECORATORS: dict[str, Role] = {"workflow": "workflow", "versioned_workflow": "workflow", "activity": "activity"}
# Calls that say what one of their arguments is.
_CALLS: dict[str, Role] = {
    "register_workflow": "workflow",
    "register_versioned_workflow": "workflow",
    "register_activity": "activity",
    "schedule_new_workflow": "workflow",
    "call_child_workflow": "workflow",
    "call_activity": "activity",
}
_ARGUMENTS = ("function", "fn", "workflow", "activity")
_CONTEXT_NAMES = ("ctx", "context", "wf_ctx")
# Frameworks with decorators of the same names.
_OTHERS = frozenset({"dbos", "temporalio", "prefect", "restate", "hatchet_sdk", "inngest", "conductor", "luigi"})


class Discovery:
    """Knows which functions of a project are workflows, and which are activities."""

    def __init__(self, evaluator: Evaluator) -> None:
        """Starts with nothing found."""
        self._evaluator = evaluator
        self._roles: dict[Function, tuple[Role, str]] = {}
        self._searched: set[Module] = set()
        # Module-level names that activities change, for each module that was asked about.
        self.changed: dict[Module, frozenset[str]] = {}

    def search(self, module: Module) -> None:
        """Finds what a module defines and registers."""
        if module in self._searched:
            return
        self._searched.add(module)
        self._evaluator.enter(module)
        for node, scope in list(module.names.of.items()):
            if isinstance(node, DEFINITIONS):
                self._decorated(self._evaluator.function(node, module), scope.parent or scope)
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CALLS:
                self._registered(node, node.func.attr, module)

    def role(self, function: Function) -> Role | None:
        """What a function is, if it is one of the two."""
        self.search(function.module)
        found = self._roles.get(function)
        return None if found is None else found[0]

    def name(self, function: Function) -> str:
        """The name under which a workflow runs, as far as the source says it."""
        found = self._roles.get(function)
        return function.name if found is None else found[1]

    def workflows(self, modules: list[Module]) -> list[Function]:
        """The workflows of these modules, in the order of their files and lines."""
        wanted = set(modules)
        found = [function for function, (role, _) in self._roles.items() if role == "workflow"]
        chosen = [function for function in found if function.module in wanted]
        return sorted(chosen, key=lambda function: (str(function.module.path), function.node.lineno))

    def activities(self, module: Module) -> list[Function]:
        """The activities of a module."""
        self.search(module)
        return [f for f, (role, _) in self._roles.items() if role == "activity" and f.module is module]

    def _decorated(self, function: Function, scope: Scope) -> None:
        node = function.node
        if isinstance(node, ast.Lambda):
            return
        for decorator in node.decorator_list:
            role = self._role_of(decorator, function, scope)
            if role is not None:
                self._roles[function] = role, _given_name(decorator) or function.name
                return

    def _role_of(self, decorator: ast.expr, function: Function, scope: Scope) -> Role | None:
        target = decorator.func if isinstance(decorator, ast.Call) else decorator
        value = self._evaluator.value(target, scope, None)
        own = ours(value)
        if own:
            return _DECORATORS.get(own)
        last = target.attr if isinstance(target, ast.Attribute) else getattr(target, "id", "")
        role = _DECORATORS.get(last)
        if role is None or value.name.split(".")[0] in _OTHERS:
            return None
        if value.kind is Kind.FUNCTION and isinstance(value.target, Function):
            # A decorator of the project itself, around one of ours.
            return role if value.target.module.uses_workflows else None
        takes_context = function.parameters[:1] and function.parameters[0] in _CONTEXT_NAMES
        return role if function.module.uses_workflows or takes_context else None

    def _registered(self, call: ast.Call, method: str, module: Module) -> None:
        given = call.args[:1] or [part.value for part in call.keywords if part.arg in _ARGUMENTS]
        scope = module.names.scope_at(call)
        name = next((part.value for part in call.keywords if part.arg in ("name", "workflow_name")), None)
        for candidate in (one for argument in given for one in self._each(argument, scope)):
            value = self._evaluator.value(candidate, scope, None)
            function = value.target
            if value.kind is Kind.FUNCTION and isinstance(function, Function):
                self.search(function.module)
                shown = name.value if isinstance(name, ast.Constant) and isinstance(name.value, str) else function.name
                self._roles.setdefault(function, (_CALLS[method], shown))

    def _each(self, argument: ast.expr, scope: Scope) -> Iterator[ast.expr]:
        """The argument; if a loop gives it, each element that the loop goes through."""
        yield argument
        if isinstance(argument, ast.Name):
            for binding in scope.lookup(argument.id)[1]:
                through = binding.value
                if isinstance(through, ast.Name):
                    bound = scope.lookup(through.id)[1]
                    through = bound[0].value if len(bound) == 1 else None
                if binding.kind == "item" and isinstance(through, ast.List | ast.Tuple):
                    yield from through.elts


def _given_name(decorator: ast.expr) -> str | None:
    if isinstance(decorator, ast.Call):
        for keyword in decorator.keywords:
            if keyword.arg == "name" and isinstance(keyword.value, ast.Constant):
                return str(keyword.value.value)
    return None
