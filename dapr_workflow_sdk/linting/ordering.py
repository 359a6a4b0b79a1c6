"""Rule set-order: where the order of a set shows itself."""

from __future__ import annotations

import ast

from dapr_workflow_sdk.linting.evaluator import COMBINATORS, ours
from dapr_workflow_sdk.linting.scopes import COMPREHENSIONS, Scope
from dapr_workflow_sdk.linting.values import Kind
from dapr_workflow_sdk.linting.visit import Visit, shown, written

RULE = "set-order"
# These give the same for every order.
_ANY_ORDER = frozenset({"sorted", "set", "frozenset", "len", "min", "max", "sum", "any", "all", "Counter", "fsum"})
_ANY_ORDER_METHODS = frozenset(
    {
        "add",
        "discard",
        "update",
        "union",
        "intersection",
        "difference",
        "issubset",
        "issuperset",
        "isdisjoint",
        "difference_update",
        "intersection_update",
        "symmetric_difference",
    }
)
_ORDERING = frozenset({"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "reversed"})
_MODULES = ("itertools.", "functools.reduce", "collections.deque")
_COMMUTATIVE = (ast.Add, ast.BitOr, ast.BitAnd, ast.BitXor, ast.Mult, ast.Sub)


def check(visit: Visit, node: ast.AST, scope: Scope) -> None:
    """Looks at a loop, a comprehension, a call or an unpacking."""
    if isinstance(node, ast.For):
        if _goes_through_set(visit, node.iter, scope) and not _any_order(visit, node.body, scope):
            if _is_consumed_in_any_order(visit):
                return
            _find(visit, node.iter, f"The loop over {written(node.iter)}")
    elif isinstance(node, ast.ListComp | ast.GeneratorExp):
        first = node.generators[0].iter
        if visit.value(first, scope).kind is Kind.SET and not _harmless(visit, node):
            _find(visit, first, f"The comprehension over {written(first)}")
    elif isinstance(node, ast.Call):
        _check_call(visit, node, scope)
    elif isinstance(node, ast.YieldFrom):
        if visit.value(node.value, scope).kind is Kind.SET and not _is_consumed_in_any_order(visit):
            _find(visit, node, f"yield from {written(node.value)}")
    elif isinstance(node, ast.Starred):
        around = visit.parent(node)
        if visit.value(node.value, scope).kind is Kind.SET and not isinstance(around, ast.Set):
            if isinstance(around, ast.Call) and _name(around) in _ANY_ORDER:
                return
            _find(visit, node, f"*{written(node.value)}")
    elif isinstance(node, ast.Assign):
        unpacks = any(isinstance(target, ast.Tuple | ast.List) for target in node.targets)
        if unpacks and visit.value(node.value, scope).kind is Kind.SET:
            _find(visit, node.value, f"Unpacking {written(node.value)}")


def _check_call(visit: Visit, call: ast.Call, scope: Scope) -> None:
    function = visit.value(call.func, scope)
    sets = [argument for argument in call.args if visit.value(argument, scope).kind is Kind.SET]
    if function.kind is Kind.OUTSIDE and sets:
        builtin = function.name.startswith("builtins.") and function.name.rpartition(".")[2] in _ORDERING
        ties = function.name in ("builtins.sorted", "builtins.min", "builtins.max") and _keeps_ties(call)
        if (
            ties
            or ours(function) in COMBINATORS
            or ((builtin or function.name.startswith(_MODULES)) and not _harmless(visit, call))
        ):
            _find(visit, call, f"{shown(call.func)}({written(sets[0])})")
    elif isinstance(call.func, ast.Attribute):
        receiver = visit.value(call.func.value, scope)
        if receiver.kind is Kind.SET and call.func.attr == "pop":
            _find(visit, call)
        elif call.func.attr == "join" and sets and isinstance(call.func.value, ast.Constant):
            _find(visit, call, f"{shown(call.func)}({written(sets[0])})")


def _is_consumed_in_any_order(visit: Visit) -> bool:
    """Whether this is a generator of values, and whoever goes through it does not care for their order."""
    if visit.frame.driving or not visit.sites:
        return False
    outer, site = visit.sites[-1]
    return _harmless(outer, site)


def _find(visit: Visit, node: ast.AST, text: str | None = None) -> None:
    visit.find(RULE, node, text)


def _goes_through_set(visit: Visit, node: ast.expr, scope: Scope) -> bool:
    value = visit.value(node, scope)
    if value.kind is Kind.SET:
        return True
    if value.kind is not Kind.UNORDERED:
        return False
    # Lists made from sets are found where they are made; dictionaries only matter when they are gone through.
    inner = node
    while isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and not inner.args:
        inner = inner.func.value
    if isinstance(inner, ast.Name):
        bindings = scope.lookup(inner.id)[1]
        inner = bindings[0].value or inner if len(bindings) == 1 else inner
    return isinstance(inner, ast.DictComp) or (isinstance(inner, ast.Call) and _name(inner) in ("dict", "fromkeys"))


def _keeps_ties(call: ast.Call) -> bool:
    """Whether a call orders by length: equally long elements keep the order they come in."""
    key = next((part.value for part in call.keywords if part.arg == "key"), None)
    if isinstance(key, ast.Lambda) and isinstance(key.body, ast.Call):
        key = key.body.func
    return isinstance(key, ast.Name) and key.id == "len"


def _name(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def _harmless(visit: Visit, node: ast.AST) -> bool:
    """Whether what is made from a set is used in a way that no order changes."""
    around = visit.parent(node)
    if isinstance(around, ast.Call) and node in around.args:
        method = isinstance(around.func, ast.Attribute) and around.func.attr in _ANY_ORDER_METHODS
        if method or (_name(around) in _ANY_ORDER and not _keeps_ties(around)):
            return True
        made = _name(around) in _ORDERING or (isinstance(around.func, ast.Name) and around.func.id == "tuple")
        return made and _harmless(visit, around)
    if isinstance(around, ast.For) and node is around.iter:
        return _any_order(visit, around.body, visit.scope_at(around))
    if isinstance(around, ast.comprehension):
        comprehension = visit.parent(around)
        return isinstance(comprehension, ast.SetComp | ast.DictComp) or (
            isinstance(comprehension, COMPREHENSIONS) and _harmless(visit, comprehension)
        )
    if isinstance(around, ast.Compare):
        return any(isinstance(operator, ast.In | ast.NotIn) for operator in around.ops)
    if isinstance(around, ast.Assign | ast.AnnAssign):
        targets = around.targets if isinstance(around, ast.Assign) else [around.target]
        return len(targets) == 1 and isinstance(targets[0], ast.Name) and _sorted_later(visit, targets[0].id)
    return False


def _sorted_later(visit: Visit, name: str) -> bool:
    """Whether a list is sorted in place, or only used in ways that no order changes."""
    loads = [
        node
        for node in ast.walk(visit.function.node)
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Load)
    ]
    methods = {load: around.attr for load in loads if isinstance(around := visit.parent(load), ast.Attribute)}
    if "sort" in methods.values():
        return True
    read = [load for load in loads if methods.get(load) != "append"]
    return bool(read) and all(_harmless(visit, load) for load in read)


def _any_order(visit: Visit, body: list[ast.stmt], scope: Scope) -> bool:
    """Whether the body of a loop does the same whatever the order."""
    return all(_any_order_statement(visit, statement, scope) for statement in body)


def _any_order_statement(visit: Visit, node: ast.stmt, scope: Scope) -> bool:
    if visit.waits_or_calls([node]):
        return False
    if isinstance(node, ast.Pass | ast.Continue | ast.Assert | ast.Raise):
        return True
    if isinstance(node, ast.Return):
        return node.value is None or isinstance(node.value, ast.Constant)
    if isinstance(node, ast.If):
        return _any_order(visit, node.body, scope) and _any_order(visit, node.orelse, scope)
    if isinstance(node, ast.AugAssign):
        # Text grows in the order of the loop, numbers do not care.
        return isinstance(node.op, _COMMUTATIVE) and _is_number(visit, node.target, scope)
    if isinstance(node, ast.Assign):
        if all(isinstance(target, ast.Subscript) for target in node.targets):
            return True  # A dictionary for looking things up.
        # Flags, and local names of the body.
        return all(isinstance(target, ast.Name) for target in node.targets) and isinstance(node.value, ast.Constant)
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        call = node.value
        if isinstance(call.func, ast.Attribute):
            receiver = visit.value(call.func.value, scope)
            if call.func.attr == "append" and isinstance(call.func.value, ast.Name):
                return _sorted_later(visit, call.func.value.id)
            return receiver.kind is Kind.LOGGER or (receiver.kind is Kind.SET and call.func.attr in _ANY_ORDER_METHODS)
    return False


def _is_number(visit: Visit, target: ast.expr, scope: Scope) -> bool:
    if isinstance(target, ast.Name):
        for binding in scope.lookup(target.id)[1]:
            value = binding.value
            if isinstance(value, ast.Constant) and isinstance(value.value, int | float):
                return True
            if isinstance(value, ast.Call) and _name(value) in ("Decimal", "int", "float", "timedelta", "Fraction"):
                return True
        return visit.value(target, scope).kind is Kind.SET
    return False
