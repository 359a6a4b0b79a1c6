"""Rules swallowed-exit and replay-branch, and locks that are held over a wait."""

from __future__ import annotations

import ast

from dapr_workflow_sdk.linting.scopes import Scope, own_nodes
from dapr_workflow_sdk.linting.values import Class, Function, Kind
from dapr_workflow_sdk.linting.visit import Visit, shown

_BROAD = frozenset({"builtins.BaseException", "builtins.GeneratorExit"})
_MANAGERS = frozenset({"contextlib.contextmanager"})
_LOCKS = frozenset({"threading.Lock", "threading.RLock", "multiprocessing.Lock", "multiprocessing.RLock"})


def check(visit: Visit, node: ast.AST, scope: Scope) -> None:
    """Looks at ``try``, ``with`` and conditions."""
    if type(node).__name__ in ("Try", "TryStar"):
        assert isinstance(node, ast.Try) or hasattr(node, "handlers")
        if _is_suspended(visit):
            _check_try(visit, node, scope)
    elif isinstance(node, ast.With):
        _check_with(visit, node, scope)
    elif isinstance(node, ast.If | ast.While):
        parts = [*node.body, *node.orelse]
        leaves = any(isinstance(part, ast.Return | ast.Break | ast.Continue) for part in own_nodes(parts))
        if _asks_replaying(visit, node.test, scope) and (leaves or visit.waits_or_calls(parts)):
            visit.find("replay-branch", node.test, f"The condition {shown(node.test)}")
    elif isinstance(node, ast.IfExp):
        calls = visit.waits_or_calls(node.body) or visit.waits_or_calls(node.orelse)
        if calls and _asks_replaying(visit, node.test, scope):
            visit.find("replay-branch", node.test, f"The condition {shown(node.test)}")


def is_log_only(visit: Visit, body: list[ast.stmt]) -> bool:
    """Whether statements only call something, as those that write logs and count do, and wait for nothing."""
    simple = all(
        isinstance(part, ast.Expr | ast.Pass)
        or (isinstance(part, ast.If) and is_log_only(visit, [*part.body, *part.orelse]))
        for part in body
    )
    return simple and not visit.waits_or_calls(body)


def guards(visit: Visit, test: ast.expr, scope: Scope) -> tuple[bool, bool]:
    """Whether the body, and the other branch, of a condition run only while the code is not replaying."""
    if isinstance(test, ast.UnaryOp) and isinstance(test.op, ast.Not):
        return visit.value(test.operand, scope).kind is Kind.REPLAYING, False
    return False, visit.value(test, scope).kind is Kind.REPLAYING


def _asks_replaying(visit: Visit, test: ast.expr, scope: Scope) -> bool:
    return any(
        isinstance(node, ast.Name | ast.Attribute) and visit.value(node, scope).kind is Kind.REPLAYING
        for node in own_nodes(test)
    )


def _is_suspended(visit: Visit) -> bool:
    """Whether the function can be closed while it waits."""
    return visit.function.is_async or (visit.function.is_generator and visit.frame.driving)


def _waits(body: list[ast.stmt]) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom | ast.Await | ast.AsyncFor) for node in own_nodes(body))


def _check_try(visit: Visit, node: ast.AST, scope: Scope) -> None:
    body: list[ast.stmt] = getattr(node, "body", [])
    handlers: list[ast.ExceptHandler] = getattr(node, "handlers", [])
    final: list[ast.stmt] = getattr(node, "finalbody", [])
    if _waits(body):
        for handler in handlers:
            if not _is_broad(visit, handler.type, scope):
                continue
            if not any(isinstance(part, ast.Raise) for part in own_nodes(handler.body)):
                caught = "except" if handler.type is None else f"except {shown(handler.type)}"
                visit.find("swallowed-exit", _heading(handler), f"`{caught}:` around a wait")
            break
    for left in own_nodes(final):
        # A call on the context ends a run that is dropped; a task that was made before would be waited for.
        waits = isinstance(left, ast.Yield | ast.Await) and isinstance(left.value, ast.Name) and _waits(body)
        if waits and isinstance(left, ast.Yield | ast.Await) and _is_task(visit, left.value, scope):
            says = "goes on waiting when the run is dropped"
            visit.find("swallowed-exit", left, f"`{shown(left)}` in `finally`", says)
    if _waits([*body, *(part for handler in handlers for part in handler.body)]):
        for left in _leaves(final):
            word = type(left).__name__.lower()
            visit.find("swallowed-exit", left, f"`{word}` in `finally` around a wait")


def _is_task(visit: Visit, node: ast.expr | None, scope: Scope) -> bool:
    return node is not None and visit.value(node, scope).kind is Kind.TASK


def _heading(handler: ast.ExceptHandler) -> ast.AST:
    """The first line of a handler: its body may be long."""
    place = ast.Pass()
    place.lineno = place.end_lineno = handler.lineno
    place.col_offset = handler.col_offset
    last = handler.type
    place.end_col_offset = handler.col_offset + len("except")
    if last is not None and last.end_lineno == handler.lineno and last.end_col_offset is not None:
        place.end_col_offset = last.end_col_offset
    return place


def _is_broad(visit: Visit, caught: ast.expr | None, scope: Scope) -> bool:
    if caught is None:
        return True
    parts = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(visit.value(part, scope).name in _BROAD for part in parts)


def _leaves(body: list[ast.stmt]) -> list[ast.stmt]:
    """Statements that leave a ``finally`` block, and by that forget what was raised."""
    found: list[ast.stmt] = []
    todo: list[tuple[ast.AST, bool]] = [(statement, False) for statement in body]
    while todo:
        node, in_loop = todo.pop(0)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            continue
        if isinstance(node, ast.Return) or (isinstance(node, ast.Break | ast.Continue) and not in_loop):
            found.append(node)
        inside = in_loop or isinstance(node, ast.For | ast.While | ast.AsyncFor)
        todo.extend((child, inside) for child in ast.iter_child_nodes(node))
    return found


def _check_with(visit: Visit, node: ast.With, scope: Scope) -> None:
    if not _waits(node.body):
        return
    for item in node.items:
        entered = item.context_expr
        suppresses = isinstance(entered, ast.Call) and visit.value(entered.func, scope).name == "contextlib.suppress"
        given = entered.args if isinstance(entered, ast.Call) else []
        broad = any(visit.value(part, scope).name in _BROAD for part in given)
        if suppresses and broad and _is_suspended(visit):
            visit.find("swallowed-exit", entered, f"`with {shown(entered)}` around a wait")
        if _is_suspended(visit) and _forgives(visit, entered, scope):
            visit.find("swallowed-exit", entered, f"`with {shown(entered)}` around a wait")
        value = visit.value(entered, scope)
        if value.kind is Kind.OBJECT and value.name in _LOCKS:
            visit.find("thread", entered, shown(entered), "is a lock that is held over a wait")


def _forgives(visit: Visit, entered: ast.expr, scope: Scope) -> bool:
    """Whether a context manager of the project swallows whatever is raised in its block."""
    value = visit.value(entered, scope)
    if value.kind is Kind.INSTANCE and isinstance(value.target, Class):
        found = visit.evaluator.attribute_of(value.target, "__exit__")
        leaving = None if found is None else found[1].target
        return isinstance(leaving, Function) and any(_is_always_true(part) for part in leaving.returned)
    manager = visit.value(entered.func, scope).target if isinstance(entered, ast.Call) else None
    if not isinstance(manager, Function) or not visit.evaluator.has_decorator(manager, _MANAGERS):
        return False
    return any(
        isinstance(node, ast.Try)
        and _waits(node.body)
        and any(
            _is_broad(visit, handler.type, manager.scope)
            and not any(isinstance(part, ast.Raise) for part in own_nodes(handler.body))
            for handler in node.handlers
        )
        for node in manager.own_nodes
    )


def _is_always_true(returned: ast.expr | None) -> bool:
    """Whether ``__exit__`` says that it has dealt with any error: True, or whether there is one."""
    if isinstance(returned, ast.Constant):
        return returned.value is True
    if isinstance(returned, ast.Compare) and isinstance(returned.left, ast.Name):
        other = returned.comparators[0]
        return isinstance(returned.ops[0], ast.IsNot) and isinstance(other, ast.Constant) and other.value is None
    return False
