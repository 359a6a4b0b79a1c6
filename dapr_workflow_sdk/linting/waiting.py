"""Rules not-a-task, foreign-await, forgotten-yield and context-escape: what becomes of tasks and of the context."""

from __future__ import annotations

import ast

from dapr_workflow_sdk.linting.catalogue import rule_of_call, rule_of_method
from dapr_workflow_sdk.linting.evaluator import COMBINATORS, TASK_METHODS, ours
from dapr_workflow_sdk.linting.scopes import Binding, Scope, own_nodes
from dapr_workflow_sdk.linting.values import Function, Kind, Value
from dapr_workflow_sdk.linting.visit import Visit, shown

_NOT_TASKS = (
    ast.Constant,
    ast.JoinedStr,
    ast.Dict,
    ast.Set,
    ast.Tuple,
    ast.List,
    ast.ListComp,
    ast.SetComp,
    ast.DictComp,
    ast.GeneratorExp,
    ast.Compare,
    ast.BinOp,
    ast.Lambda,
)
# What a task has that says something before it was waited for.
_RESULTS = frozenset({"get_result", "get_exception"})
_TASK_ATTRIBUTES = _RESULTS | {"is_complete", "is_failed", "get_tasks", "pending_tasks", "get_completed_tasks"}
_PAYLOADS = frozenset({"input", "new_input", "custom_status"})


def check(visit: Visit, node: ast.AST, scope: Scope) -> None:
    """Looks at a wait, a statement, a return, or a use of a task."""
    if isinstance(node, ast.Yield):
        if visit.frame.driving:
            _check_yield(visit, node, scope)
    elif isinstance(node, ast.Await):
        _check_await(visit, node, scope)
    elif isinstance(node, ast.YieldFrom):
        if visit.frame.driving:
            _check_yield_from(visit, node, scope)
    elif isinstance(node, ast.Expr):
        _check_statement(visit, node, scope)
    elif isinstance(node, ast.AsyncFor | ast.AsyncWith):
        _check_async_block(visit, node, scope)
    elif isinstance(node, ast.Return):
        _check_return(visit, node, scope)
    elif isinstance(node, ast.Call):
        _check_arguments(visit, node, scope)
    if isinstance(node, ast.expr):
        _check_use(visit, node, scope)


# ---- waits -----------------------------------------------------------------------------------------------------


def _check_yield(visit: Visit, node: ast.Yield, scope: Scope) -> None:
    if node.value is None:
        if not _unreachable(visit, node):
            visit.find("not-a-task", node, "A bare yield", "gives None, which is not a task")
        return
    _check_waited(visit, node, node.value, scope, "yield")


def _check_waited(visit: Visit, node: ast.AST, waited: ast.expr, scope: Scope, word: str) -> None:
    value = visit.value(waited, scope)
    if value.kind is Kind.TASK:
        return
    if value.kind is Kind.TASKS:
        visit.find("not-a-task", node, f"{word} {shown(waited)}", "waits for a list of tasks; wrap it in when_all()")
    elif value.kind in (Kind.GENERATOR, Kind.COROUTINE) and isinstance(value.target, Function):
        wanted = "yield from" if value.kind is Kind.GENERATOR else "an async workflow and await"
        if (value.kind is Kind.GENERATOR or word == "yield") and not _is_activity(visit, value):
            kind = "generator" if value.kind is Kind.GENERATOR else "coroutine"
            visit.find("not-a-task", node, f"{word} {shown(waited)}", f"waits for a {kind}; use {wanted}")
    elif value.kind is Kind.RESULT:
        visit.find("not-a-task", node, f"{word} {shown(waited)}", "waits for a result, which is there already")
    elif isinstance(waited, _NOT_TASKS):
        visit.find("not-a-task", node, f"{word} {shown(waited)}")
    elif isinstance(waited, ast.Call) and _returns_nothing(visit, waited, scope):
        visit.find("not-a-task", node, f"{word} {shown(waited)}", "waits for None: the function returns nothing")


def _returns_nothing(visit: Visit, call: ast.Call, scope: Scope) -> bool:
    function = visit.value(call.func, scope)
    target = function.target
    if function.kind is not Kind.FUNCTION or not isinstance(target, Function) or isinstance(target.node, ast.Lambda):
        return False
    if visit.discovery.role(target) is not None or not visit.evaluator.is_transparent(target):
        return False
    raises = isinstance(target.node.body[-1], ast.Raise)
    # Methods of base classes are there to be replaced.
    stub = all(
        isinstance(part, ast.Pass) or (isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant))
        for part in target.node.body
    )
    plain = not target.is_generator and not target.is_async and not raises and not stub
    return plain and all(value is None for value in target.returned)


def _is_activity(visit: Visit, value: Value) -> bool:
    return isinstance(value.target, Function) and visit.discovery.role(value.target) == "activity"


def _unreachable(visit: Visit, node: ast.Yield) -> bool:
    """Whether a bare yield only makes a generator of the function: after a return, or under a false condition."""
    statement: ast.AST | None = visit.parent(node)
    if not isinstance(statement, ast.Expr):
        return False
    around = visit.parent(statement)
    if isinstance(around, ast.If | ast.While) and isinstance(around.test, ast.Constant) and not around.test.value:
        return True
    body: list[ast.stmt] = getattr(around, "body", [])
    if statement not in body:
        return False
    return any(isinstance(part, ast.Return | ast.Raise) for part in body[: body.index(statement)])


def _check_await(visit: Visit, node: ast.Await, scope: Scope) -> None:
    waited = node.value
    if isinstance(waited, ast.Call) and _is_foreign_call(visit, waited, scope):
        visit.find("foreign-await", node, f"await {shown(waited)}")
        return
    _check_waited(visit, node, waited, scope, "await")


def _is_foreign_call(visit: Visit, call: ast.Call, scope: Scope) -> bool:
    """Whether a call of another library is waited for; one that is given the context may well be of use."""
    function = visit.value(call.func, scope)
    if function.kind is not Kind.OUTSIDE or ours(function):
        return False
    if rule_of_call(function.name, call) is not None:
        return False  # Found as such.
    if function.receiver is not None and rule_of_method(function.name) is not None:
        return False
    given = [*call.args, *(keyword.value for keyword in call.keywords)]
    return not any(visit.value(argument, scope).kind in (Kind.CONTEXT, Kind.TASK, Kind.TASKS) for argument in given)


def _check_async_block(visit: Visit, node: ast.AsyncFor | ast.AsyncWith, scope: Scope) -> None:
    entered = [node.iter] if isinstance(node, ast.AsyncFor) else [item.context_expr for item in node.items]
    word = "async for over" if isinstance(node, ast.AsyncFor) else "async with"
    for expression in entered:
        value = visit.value(expression, scope)
        if value.kind is Kind.OBJECT and value.shared:
            visit.find("foreign-await", expression, f"{word} {shown(expression)}")
        if isinstance(expression, ast.Call) and _is_foreign_call(visit, expression, scope):
            visit.find("foreign-await", expression, f"{word} {shown(expression)}")


def _check_yield_from(visit: Visit, node: ast.YieldFrom, scope: Scope) -> None:
    waited = node.value
    function = visit.value(waited.func, scope) if isinstance(waited, ast.Call) else None
    if isinstance(waited, ast.Constant | ast.JoinedStr | ast.Dict) or (
        function is not None and function.name == "builtins.range"
    ):
        visit.find("not-a-task", node, f"yield from {shown(waited)}")
    elif isinstance(waited, ast.Call) and _returns_nothing(visit, waited, scope):
        visit.find("not-a-task", node, f"yield from {shown(waited)}", "waits for None: the function returns nothing")


# ---- tasks nobody waits for ------------------------------------------------------------------------------------


def _check_statement(visit: Visit, node: ast.Expr, scope: Scope) -> None:
    value = visit.value(node.value, scope)
    if value.kind is Kind.TASK and isinstance(node.value, ast.Call):
        visit.find("forgotten-yield", node.value)
    elif value.kind is Kind.TASKS and isinstance(node.value, ast.List | ast.ListComp):
        visit.find("forgotten-yield", node.value, "A list of tasks")
    elif value.kind in (Kind.GENERATOR, Kind.COROUTINE) and isinstance(node.value, ast.Call):
        _forgotten_helper(visit, node.value, value)
    elif _is_lazy(visit, node.value, scope):
        visit.find("forgotten-yield", node.value, says="makes no call: nobody goes through it")


def _is_lazy(visit: Visit, node: ast.expr, scope: Scope) -> bool:
    """Whether an expression only would make calls if somebody went through it."""
    if isinstance(node, ast.Call) and visit.value(node.func, scope).name in ("builtins.map", "builtins.filter"):
        return any(isinstance(part, ast.Lambda) and visit.waits_or_calls(part.body) for part in node.args)
    return isinstance(node, ast.GeneratorExp) and visit.value(node, scope).kind is Kind.TASKS


def _forgotten_helper(visit: Visit, node: ast.AST, value: Value) -> None:
    if isinstance(value.target, Function) and not _is_activity(visit, value):
        word = "yield from" if value.kind is Kind.GENERATOR else "await"
        visit.find("forgotten-yield", node, says=f"never runs: without {word} the call only prepares it")


def _check_return(visit: Visit, node: ast.Return, scope: Scope) -> None:
    if node.value is None or not visit.is_root:
        return
    value = visit.value(node.value, scope)
    # A plain function that returns a generator or a coroutine is run as one.
    waits = visit.function.is_generator or visit.function.is_async
    if value.kind in (Kind.TASK, Kind.TASKS) and not _is_ambiguous(node.value, scope):
        if value.kind is Kind.TASK and isinstance(node.value, ast.Call) and not visit.is_task(node.value, scope):
            return
        visit.find("forgotten-yield", node.value, says="is returned without having been waited for")
    elif waits and value.kind in (Kind.GENERATOR, Kind.COROUTINE) and isinstance(node.value, ast.Call):
        _forgotten_helper(visit, node.value, value)


def _is_ambiguous(node: ast.expr, scope: Scope) -> bool:
    """Whether a name may also be something else."""
    return isinstance(node, ast.Name) and len(scope.lookup(node.id)[1]) != 1


def _check_arguments(visit: Visit, call: ast.Call, scope: Scope) -> None:
    function = visit.value(call.func, scope)
    if function.kind is Kind.CONTEXT_METHOD:
        payloads = [part.value for part in call.keywords if part.arg in _PAYLOADS]
        if function.name in ("continue_as_new", "set_custom_status"):
            payloads += call.args[:1]
        if function.name in TASK_METHODS:
            _check_call_arguments(visit, call)
        for payload in payloads:
            for part in payload.elts if isinstance(payload, ast.List | ast.Tuple) else [payload]:
                value = visit.value(part, scope)
                if _is_certain(visit, part, value, scope):
                    visit.find("forgotten-yield", part, says="is passed on without having been waited for")
                elif value.kind is Kind.CONTEXT:
                    visit.find("context-escape", part, "The context", "is passed on as a payload")
        if function.name == "continue_as_new":
            _check_after_renewal(visit, call)
    elif ours(function) in COMBINATORS and call.args:
        _check_combinator(visit, call, scope)
    elif ours(function) == "Task":
        visit.find("not-a-task", call, says="makes a task that nobody finishes")


def _check_call_arguments(visit: Visit, call: ast.Call) -> None:
    for argument in (*call.args, *(keyword.value for keyword in call.keywords)):
        for node in own_nodes(argument):
            asked = isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load)
            if asked and visit.value(node, visit.scope_at(node)).kind is Kind.REPLAYING:
                visit.find("replay-branch", node, says="makes a call depend on ctx.is_replaying")
    delays = [part.value for part in call.keywords if part.arg in ("timeout", "fire_at")]
    if isinstance(call.func, ast.Attribute) and call.func.attr == "create_timer":
        delays += call.args[:1]
    for delay in delays:
        number = delay.operand if isinstance(delay, ast.UnaryOp) else delay
        if isinstance(number, ast.Constant) and isinstance(number.value, int | float):
            visit.find("wrong-delay", delay, f"The delay {shown(delay)}")


def _check_after_renewal(visit: Visit, call: ast.Call) -> None:
    statement = visit.parent(call)
    around = None if statement is None else visit.parent(statement)
    for name in ("body", "orelse", "finalbody"):
        statements: list[ast.stmt] = getattr(around, name, None) or []
        position = next((index for index, part in enumerate(statements) if part is statement), len(statements))
        for node in own_nodes(statements[position + 1 :]):
            if visit.is_task_call(node, visit.scope_at(node)):
                visit.find("after-renewal", node)
                return


def _check_combinator(visit: Visit, call: ast.Call, scope: Scope) -> None:
    given = call.args[0]
    if visit.value(given, scope).kind is Kind.TASK:
        visit.find("not-a-task", given, says="is one task, and the combinator takes a list")
        return
    parts = given.elts if isinstance(given, ast.List | ast.Tuple) else []
    if isinstance(given, ast.ListComp | ast.GeneratorExp):
        parts = [given.elt]
        scope = visit.module.names.of[given]
    for part in parts:
        value = visit.value(part, scope)
        if value.kind in (Kind.GENERATOR, Kind.COROUTINE) and not _is_activity(visit, value):
            visit.find("not-a-task", part, says="is a helper that itself waits; make it a child workflow")
        elif isinstance(part, ast.Constant):
            visit.find("not-a-task", part)


# ---- tasks used as if they were their results ------------------------------------------------------------------


def _is_certain(visit: Visit, node: ast.expr, value: Value, scope: Scope) -> bool:
    """Whether an expression is a task for sure: a call, or a name that is nothing else."""
    if value.kind is not Kind.TASK:
        return False
    if isinstance(node, ast.Call):
        return visit.is_task(node, scope)
    if isinstance(node, ast.Name):
        owner, bindings = scope.lookup(node.id)
        return owner is not None and len(bindings) == 1 and bindings[0].kind == "value"
    return False


def _check_use(visit: Visit, node: ast.expr, scope: Scope) -> None:
    """Looks at an expression that takes something to pieces, compares it or prints it."""
    used: list[ast.expr] = []
    if isinstance(node, ast.BinOp):
        used = [node.left, node.right]
    elif isinstance(node, ast.Compare):
        ordered = (ast.Lt, ast.LtE, ast.Gt, ast.GtE)
        compared = [node.left, *node.comparators]
        constant = any(isinstance(part, ast.Constant) and part.value is not None for part in compared)
        used = compared if constant or any(isinstance(operator, ordered) for operator in node.ops) else []
    elif isinstance(node, ast.Subscript | ast.FormattedValue):
        used = [node.value]
    elif isinstance(node, ast.UnaryOp):
        used = [node.operand]
    elif isinstance(node, ast.Attribute) and node.attr not in _TASK_ATTRIBUTES:
        used = [node.value]
    elif isinstance(node, ast.IfExp):
        used = [node.test]
    around = visit.parent(node)
    if isinstance(around, ast.If | ast.While) and around.test is node:
        used.append(node)
    for part in used:
        if _is_certain(visit, part, visit.value(part, scope), scope):
            visit.find("forgotten-yield", part, says="is used as if it were its result")


def check_names(visit: Visit) -> None:
    """Looks at names of a function that hold tasks, or lists of them, and how they are used."""
    scope = visit.function.scope
    loads: dict[str, list[ast.Name]] = {}
    for node in ast.walk(visit.function.node):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load):
            loads.setdefault(node.id, []).append(node)
    for name, bindings in list(scope.bindings.items()):
        if len(bindings) != 1 or bindings[0].kind != "value" or scope.outer.get(name) or name == "_":
            continue
        _check_name(visit, name, bindings[0], loads.get(name, []))


def _check_name(visit: Visit, name: str, binding: Binding, loads: list[ast.Name]) -> None:
    node, made = binding.node, binding.value
    if made is None or not isinstance(node, ast.Assign | ast.AnnAssign | ast.NamedExpr):
        return
    target = node.targets[0] if isinstance(node, ast.Assign) else node.target
    if isinstance(node, ast.NamedExpr) or not isinstance(target, ast.Name):
        return
    value = visit.value(made, binding.home)
    if value.kind in (Kind.TASK, Kind.TASKS) and isinstance(made, ast.Call | ast.List | ast.ListComp):
        if value.kind is Kind.TASK and not visit.is_task(made, binding.home):
            return
        if not loads:
            visit.find("forgotten-yield", made, f"The task {name!r}" if value.kind is Kind.TASK else f"{name!r}")
        elif all(_reads_result(visit, load) for load in loads):
            visit.find("forgotten-yield", loads[0], f"{name!r}", "is read without having been waited for")
        elif value.kind is Kind.TASKS and all(_only_grows(visit, load) for load in loads):
            visit.find("forgotten-yield", made, f"{name!r}")
    elif value.kind is Kind.TASKS and isinstance(made, ast.GeneratorExp):
        if all(_only_grows(visit, load) for load in loads):
            visit.find("forgotten-yield", made, f"{name!r}", "makes no call: nobody goes through it")
    elif (
        value.kind in (Kind.GENERATOR, Kind.COROUTINE)
        and isinstance(made, ast.Call)
        and all(_only_closes(visit, load) for load in loads)
    ):
        _forgotten_helper(visit, made, value)
    elif isinstance(made, ast.List) and not made.elts and loads and all(_only_grows(visit, load) for load in loads):
        grown = [_appended(visit, load) for load in loads]
        for part in grown:
            if part is not None and visit.value(part, visit.scope_at(part)).kind is Kind.TASK:
                visit.find("forgotten-yield", part, f"The task in {name!r}")
                return


def _reads_result(visit: Visit, load: ast.Name) -> bool:
    around = visit.parent(load)
    return isinstance(around, ast.Attribute) and around.attr in _RESULTS


def _appended(visit: Visit, load: ast.Name) -> ast.expr | None:
    attribute = visit.parent(load)
    call = None if attribute is None else visit.parent(attribute)
    if isinstance(attribute, ast.Attribute) and attribute.attr == "append" and isinstance(call, ast.Call):
        return call.args[0] if call.args else None
    return None


def _only_closes(visit: Visit, load: ast.Name) -> bool:
    around = visit.parent(load)
    return isinstance(around, ast.Attribute) and around.attr == "close"


def _only_grows(visit: Visit, load: ast.Name) -> bool:
    if _appended(visit, load) is not None:
        return True
    around = visit.parent(load)
    if isinstance(around, ast.Compare):
        return all(isinstance(part, ast.Constant) and part.value is None for part in around.comparators)
    return isinstance(around, ast.Call) and isinstance(around.func, ast.Name) and around.func.id == "len"
