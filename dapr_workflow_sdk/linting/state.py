"""Rule global-state, and values that a module made when it was imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from dapr_workflow_sdk.linting.catalogue import AT_IMPORT, VALUES, rule_of_call
from dapr_workflow_sdk.linting.project import Module
from dapr_workflow_sdk.linting.rules import RULES
from dapr_workflow_sdk.linting.scopes import Binding, Scope
from dapr_workflow_sdk.linting.values import Class, Function, Kind
from dapr_workflow_sdk.linting.visit import Visit, shown

RULE = "global-state"
_CHANGING = frozenset(
    {
        "append",
        "appendleft",
        "extend",
        "extendleft",
        "insert",
        "remove",
        "pop",
        "popleft",
        "popitem",
        "clear",
        "update",
        "add",
        "discard",
        "setdefault",
        "sort",
        "reverse",
        "subtract",
        "difference_update",
        "intersection_update",
    }
)
_CONTAINERS = (Kind.CONTAINER, Kind.SET, Kind.UNORDERED, Kind.TASKS)
# Calls that pass on what they are given.
_PURE = ("builtins.", "datetime.", "decimal.", "pathlib.", "uuid.UUID", "json.", "fractions.", "zoneinfo.")
_DEEPEST = 3
_PURE_NAMES = frozenset({"RetryPolicy"})


def check_assignment(visit: Visit, node: ast.AST, scope: Scope) -> None:
    """Looks at an assignment, a deletion, or a loop that assigns."""
    for target in _targets(node):
        if isinstance(target, ast.Name):
            owner, _ = scope.lookup(target.id)
            if target.id in scope.outer and owner is not None and visit.frame.outlives(owner):
                visit.find(RULE, target, f"The assignment to {target.id}", "changes a name outside of the run")
        elif isinstance(target, ast.Attribute | ast.Subscript):
            base = visit.value(target.value, scope)
            lasting = base.kind in (Kind.MODULE, Kind.CLASS, Kind.FUNCTION) and base.shared
            if (lasting or base.shared) and base.name not in VALUES:
                visit.find(RULE, target, f"The assignment to {shown(target)}", "changes state that outlives the run")


def _targets(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.Assign | ast.Delete):
        todo = list(node.targets)
    elif isinstance(node, ast.AugAssign | ast.For | ast.AsyncFor) or (
        isinstance(node, ast.AnnAssign) and node.value is not None
    ):
        todo = [node.target]
    else:
        return
    while todo:
        target = todo.pop()
        if isinstance(target, ast.Tuple | ast.List):
            todo.extend(target.elts)
        elif isinstance(target, ast.Starred):
            todo.append(target.value)
        else:
            yield target


def check_call(visit: Visit, call: ast.Call, scope: Scope) -> None:
    """Looks at calls that change what they are called on, or what they are given."""
    function = visit.value(call.func, scope)
    if function.name in ("builtins.setattr", "builtins.delattr") and call.args:
        if visit.value(call.args[0], scope).shared:
            visit.find(RULE, call, says="changes state that outlives the run")
    elif function.name == "builtins.next" and call.args:
        iterator = visit.value(call.args[0], scope)
        if iterator.kind is Kind.ITERATOR and iterator.shared:
            visit.find(RULE, call, f"next({shown(call.args[0])})", "counts on from run to run")
    elif isinstance(call.func, ast.Attribute) and call.func.attr in _CHANGING:
        receiver = visit.value(call.func.value, scope)
        if receiver.kind in _CONTAINERS and receiver.shared:
            visit.find(RULE, call, says="changes state that outlives the run")


def check_read(visit: Visit, node: ast.Name | ast.Attribute, scope: Scope) -> None:
    """Looks at a name of a module: what it holds may differ from process to process, or from moment to moment."""
    found = _global(visit, node, scope)
    if found is None:
        return
    module, name, binding = found
    made = _made_by(visit, binding, module)
    if made is not None:
        rule_id, text = made
        says = f"was set by {text} when its module was imported, which {RULES[rule_id].says}"
        visit.find(rule_id, node, shown(node), says)
    elif name in changed_by_activities(visit, module):
        visit.find(RULE, node, shown(node), "is changed by an activity, so its value depends on what ran before")


def _global(visit: Visit, node: ast.Name | ast.Attribute, scope: Scope) -> tuple[Module, str, Binding] | None:
    """The module-level binding behind a name, in this module or in another one of the project."""
    if isinstance(node, ast.Attribute):
        owner = visit.value(node.value, scope)
        return _in_module(visit, owner.target, node.attr) if owner.kind is Kind.MODULE else None
    scope_of_name, bindings = scope.lookup(node.id)
    if scope_of_name is None or scope_of_name.kind != "module":
        return None
    binding = bindings[0]
    module = visit.evaluator.module_of(scope_of_name)
    if binding.kind == "import":
        if binding.attribute is None:
            return None
        place = visit.evaluator.project.find(module, binding, binding.module)
        return _in_module(visit, place, binding.attribute)
    return (module, node.id, binding) if binding.kind == "value" else None


def _in_module(visit: Visit, place: object, name: str) -> tuple[Module, str, Binding] | None:
    if not isinstance(place, Path) or place.suffix != ".py":
        return None
    module = visit.evaluator.project.load(place)
    if module is None:
        return None
    visit.evaluator.enter(module)
    bindings = module.names.top.bindings.get(name, [])
    return (module, name, bindings[0]) if bindings and bindings[0].kind == "value" else None


def _made_by(visit: Visit, binding: Binding, module: Module) -> tuple[str, str] | None:
    """The rule that the value of a module-level name breaks, and the code that makes it."""
    return None if binding.value is None else _impure(visit, binding.value, module.names.top)


def check_default(visit: Visit, name: str, default: ast.expr, scope: Scope) -> None:
    """Looks at a default that is used: Python computes it once, when it defines the function."""
    made = _impure(visit, default, scope)
    if made is not None:
        says = f"was set by {made[1]} when its module was imported, which {RULES[made[0]].says}"
        visit.find(made[0], default, f"The default of {name!r}", says)


def _impure(visit: Visit, node: ast.AST, scope: Scope, depth: int = 0) -> tuple[str, str] | None:
    if isinstance(node, ast.Lambda | ast.ListComp | ast.SetComp | ast.DictComp | ast.GeneratorExp):
        return None
    if isinstance(node, ast.Call):
        function = visit.evaluator.value(node.func, scope, None)
        rule_id = rule_of_call(function.name, node) if function.kind is Kind.OUTSIDE else None
        if rule_id is not None:
            return (rule_id, shown(node)) if rule_id in AT_IMPORT else None
        if isinstance(function.target, Function) and function.kind is Kind.FUNCTION:
            return _impure_result(visit, function.target, depth)
        if isinstance(function.target, Class) and _reads_environment(visit, function.target):
            return "environment", shown(node)
        passes_on = (
            function.kind is Kind.UNKNOWN
            or (isinstance(function.target, Class) and function.target.is_dataclass)
            or (
                function.kind is Kind.OUTSIDE
                and (
                    function.name.startswith((*_PURE, *VALUES))
                    or function.receiver is not None
                    or function.name.rpartition(".")[2] in _PURE_NAMES
                )
            )
        )
        if not passes_on:
            return None
    if isinstance(node, ast.Name | ast.Attribute):
        value = visit.evaluator.value(node, scope, None)
        rule_id = VALUES.get(value.name) if value.kind is Kind.OUTSIDE else None
        if rule_id in AT_IMPORT and value.name != "sys.path":
            return rule_id, shown(node)
    for child in ast.iter_child_nodes(node):
        found = _impure(visit, child, scope, depth)
        if found is not None:
            return found
    return None


def _impure_result(visit: Visit, function: Function, depth: int) -> tuple[str, str] | None:
    """What a function of the project returns, if the return statement itself says so."""
    if depth >= _DEEPEST or function.is_generator or function.is_async:
        return None
    visit.evaluator.enter(function.module)
    for returned in function.returned:
        found = None if returned is None else _impure(visit, returned, function.scope, depth + 1)
        if found is not None:
            return found
    return None


def _reads_environment(visit: Visit, cls: Class) -> bool:
    """Whether objects of a class fill themselves from environment variables, as those of pydantic-settings do."""
    around = cls.scope.parent or cls.scope
    return any(visit.evaluator.value(base, around, None).name.endswith(".BaseSettings") for base in cls.node.bases)


def changed_by_activities(visit: Visit, module: Module) -> frozenset[str]:
    """Module-level names that activities of the module assign or change."""
    known = visit.discovery.changed.get(module)
    if known is None:
        activities = visit.discovery.activities(module)
        known = frozenset(name for activity in activities for name in _changed_names(activity))
        visit.discovery.changed[module] = known
    return known


def _changed_names(function: Function) -> Iterator[str]:
    scope = function.scope
    for node in function.own_nodes:
        for target in _targets(node):
            base = target
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name) and (base is not target or scope.outer.get(base.id) == "global"):
                yield from _if_global(base.id, scope)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _CHANGING:
            base = node.func.value
            while isinstance(base, ast.Attribute | ast.Subscript):
                base = base.value
            if isinstance(base, ast.Name):
                yield from _if_global(base.id, scope)


def _if_global(name: str, scope: Scope) -> Iterator[str]:
    owner, bindings = scope.lookup(name)
    if owner is not None and owner.kind == "module" and bindings[0].kind == "value":
        yield name
