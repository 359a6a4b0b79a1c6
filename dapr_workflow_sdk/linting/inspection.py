"""Looks at a workflow and at everything of the project that it calls."""

from __future__ import annotations

import ast

from dapr_workflow_sdk.linting import exits, ordering, state, waiting
from dapr_workflow_sdk.linting.catalogue import CALLERS, CALLS, VALUES, rule_of_call, rule_of_method
from dapr_workflow_sdk.linting.discovery import Discovery
from dapr_workflow_sdk.linting.evaluator import CACHES, Evaluator
from dapr_workflow_sdk.linting.findings import Finding, Step
from dapr_workflow_sdk.linting.rules import RULES
from dapr_workflow_sdk.linting.scopes import DEFINITIONS, Scope, all_arguments, defaults_of
from dapr_workflow_sdk.linting.values import Class, Frame, Function, Kind, Value
from dapr_workflow_sdk.linting.visit import Report, Visit, shown

_DEEPEST = 25
# How many functions are looked at for one workflow, and with how many different arguments each of them. Code that is
# written for a workflow stays far below; what lies beyond is the inside of libraries.
_MOST_FUNCTIONS = 500
_MOST_VARIANTS = 6
# Arguments that other code calls, or that make the default of a field.
_CALLBACKS = frozenset({"key", "default_factory", "factory"})


def inspect_workflow(evaluator: Evaluator, discovery: Discovery, workflow: Function) -> list[Finding]:
    """The findings of one workflow, in the order of files and lines."""
    report = Report(workflow, discovery.name(workflow))
    frame = Frame(workflow, _root_arguments(workflow), driving=True)
    _Walk(Visit(evaluator, discovery, report, frame)).run()
    return sorted(report.found.values(), key=lambda finding: (finding.path, finding.line, finding.column))


def _root_arguments(workflow: Function) -> dict[str, Value]:
    names = workflow.parameters
    arguments: dict[str, Value] = {}
    static = any(getattr(part, "id", "") == "staticmethod" for part in workflow.decorators)
    if workflow.owner is not None and names and not static:
        # The object whose method the workflow is was there before the run.
        arguments[names[0]] = Value(Kind.INSTANCE, target=workflow.owner, shared=True)
        names = names[1:]
    if names:
        arguments[names[0]] = Value(Kind.CONTEXT)
    return arguments


class _Walk:
    """Goes through one function."""

    def __init__(self, visit: Visit) -> None:
        self._visit = visit

    def run(self) -> None:
        """Looks at the body."""
        function = self._visit.function
        body = function.node.body
        for statement in body if isinstance(body, list) else [body]:
            self._walk(statement, function.scope)
        waiting.check_names(self._visit)
        self._check_defaults()

    def _check_defaults(self) -> None:
        visit = self._visit
        around = visit.function.scope.parent or visit.function.scope
        for name, default in defaults_of(visit.function.node.args).items():
            if name not in visit.frame.arguments:
                state.check_default(visit, name, default, around)

    def _walk(self, node: ast.AST, scope: Scope) -> None:
        if isinstance(node, DEFINITIONS):
            # It runs when it is called.
            for part in (*node.decorator_list, *node.args.defaults):
                self._walk(part, scope)
            return
        if isinstance(node, ast.ClassDef):
            return
        if isinstance(node, ast.If) and self._is_skipped(node, scope):
            return
        visit = self._visit
        inner = visit.module.names.of.get(node, scope)
        self._check(node, scope if isinstance(node, ast.Lambda) else inner)
        if isinstance(node, ast.AnnAssign):
            children: list[ast.AST] = [node.target, *([] if node.value is None else [node.value])]
        elif isinstance(node, ast.Lambda):
            children = [node.body]
        else:
            children = list(ast.iter_child_nodes(node))
        quiet = visit.quiet
        if isinstance(node, ast.Call) and self._is_log(node, scope):
            visit.quiet = True
        for child in children:
            self._walk(child, inner)
        visit.quiet = quiet

    def _is_log(self, call: ast.Call, scope: Scope) -> bool:
        """Whether a call writes to the logger of the context."""
        if not isinstance(call.func, ast.Attribute) or not isinstance(call.func.value, ast.Attribute):
            return False
        return self._visit.value(call.func.value, scope).kind is Kind.LOGGER

    def _is_skipped(self, node: ast.If, scope: Scope) -> bool:
        """Walks conditions whose branches count differently; others are left to the caller."""
        visit, test = self._visit, node.test
        if isinstance(test, ast.Constant) or shown(test).rpartition(".")[2] == "TYPE_CHECKING":
            taken = node.body if isinstance(test, ast.Constant) and test.value else node.orelse
            for part in taken:
                self._walk(part, scope)
            return True
        only_first, only_else = exits.guards(visit, test, scope)
        if not (only_first or only_else):
            return False
        self._check(node, scope)
        self._walk(test, scope)
        for body, live in ((node.body, only_first), (node.orelse, only_else)):
            quiet = visit.quiet
            visit.quiet = quiet or (live and exits.is_log_only(visit, body))
            for part in body:
                self._walk(part, scope)
            visit.quiet = quiet
        return True

    def _check(self, node: ast.AST, scope: Scope) -> None:
        visit = self._visit
        if isinstance(node, ast.Call):
            self._on_call(node, scope)
            state.check_call(visit, node, scope)
        elif isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Load):
            self._on_mention(node, scope)
            state.check_read(visit, node, scope)
        else:
            state.check_assignment(visit, node, scope)
        ordering.check(visit, node, scope)
        waiting.check(visit, node, scope)
        exits.check(visit, node, scope)
        if isinstance(node, ast.For | ast.comprehension):
            self._on_namespace(node.iter, scope)
        elif isinstance(node, ast.FormattedValue):
            self._on_text(node.value, scope)

    def _on_mention(self, node: ast.Name | ast.Attribute, scope: Scope) -> None:
        visit = self._visit
        value = visit.value(node, scope)
        if value.kind is Kind.OUTSIDE and value.name in VALUES:
            visit.find(VALUES[value.name], node)
        elif isinstance(node, ast.Attribute):
            owner = visit.value(node.value, scope)
            if owner.kind is Kind.INSTANCE and isinstance(owner.target, Class):
                self._follow_property(owner, owner.target, node)

    def _on_text(self, node: ast.expr, scope: Scope) -> None:
        """The text of an object that has none of its own is its class and its address."""
        value = self._visit.value(node, scope)
        cls = value.target
        if value.kind is not Kind.INSTANCE or not isinstance(cls, Class) or cls.node.bases or cls.node.decorator_list:
            return
        if not {"__str__", "__repr__", "__format__"} & cls.scope.bindings.keys():
            self._visit.find("memory", node, f"The text of {shown(node)}", "holds the object's address")

    def _on_namespace(self, node: ast.expr, scope: Scope) -> None:
        """Going through the names of a module: what is there depends on what was imported."""
        inner = node
        while isinstance(inner, ast.Call) and inner.args and isinstance(inner.func, ast.Name):
            if inner.func.id not in ("list", "tuple", "iter", "dict"):
                break
            inner = inner.args[0]
        if isinstance(inner, ast.Call) and isinstance(inner.func, ast.Attribute) and not inner.args:
            if inner.func.attr == "__subclasses__":
                self._visit.find("introspection", inner)
                return
            inner = inner.func.value
        function = self._visit.value(inner.func, scope).name if isinstance(inner, ast.Call) else ""
        arguments = inner.args if isinstance(inner, ast.Call) else []
        if function in ("builtins.globals", "builtins.dir") or (function == "builtins.vars" and not arguments):
            says = "goes through names, which change with every edit and import"
            self._visit.find("introspection", inner, says=says)

    # ---- calls -----------------------------------------------------------------------------------------------

    def _on_call(self, call: ast.Call, scope: Scope) -> None:
        visit = self._visit
        function = visit.value(call.func, scope)
        if function.kind is Kind.OUTSIDE:
            self._on_outside(call, function)
            if function.name in CALLERS:
                self._callbacks(call.args, call, scope)
            if function.name in ("builtins.str", "builtins.repr") and call.args:
                self._on_text(call.args[0], scope)
        elif function.kind is Kind.FUNCTION and isinstance(function.target, Function):
            self._follow(function.target, function.receiver, call, scope)
        elif function.kind is Kind.CLASS and isinstance(function.target, Class):
            self._construct(function.target, call, scope)
        elif function.kind is Kind.INSTANCE and isinstance(function.target, Class):
            called = visit.evaluator.attribute_of(function.target, "__call__")
            if called is not None and isinstance(called[1].target, Function):
                self._follow(called[1].target, function, call, scope)
        elif isinstance(call.func, ast.Attribute):
            self._on_method(call, call.func, scope)
        given = [part.value for part in call.keywords if part.arg in _CALLBACKS]
        self._callbacks(given, call, scope)

    def _on_outside(self, call: ast.Call, function: Value) -> None:
        rule_id = rule_of_call(function.name, call)
        receiver = function.receiver
        if rule_id is None and (receiver is None or not receiver.fresh):
            rule_id = rule_of_method(function.name, shared=receiver is not None and receiver.shared)
        if rule_id is not None:
            self._visit.find(rule_id, call, _called(call, function))

    def _on_method(self, call: ast.Call, func: ast.Attribute, scope: Scope) -> None:
        """Methods of values whose class is not known, by names that no other class has."""
        visit = self._visit
        receiver = visit.value(func.value, scope)
        without = not call.args and not call.keywords
        if func.attr == "astimezone" and without:
            visit.find("time-zone", call)
        elif receiver.kind is Kind.NAIVE_UTC and func.attr in ("timestamp", "astimezone"):
            says = "takes the naive UTC time for the machine's local time"
            visit.find("time-zone", call, says=says)

    def _callbacks(self, given: list[ast.expr], call: ast.Call, scope: Scope) -> None:
        visit = self._visit
        for argument in given:
            value = visit.value(argument, scope)
            if value.kind is Kind.OUTSIDE and value.name in CALLS:
                visit.find(CALLS[value.name], argument)
            elif isinstance(value.target, Function) and value.kind is Kind.FUNCTION:
                # Lambdas are looked at where they stand.
                called = not isinstance(value.target.node, ast.Lambda)
                if called and visit.discovery.role(value.target) is None:
                    self._enter(value.target, {}, call, driving=False)

    def _construct(self, cls: Class, call: ast.Call, scope: Scope) -> None:
        visit = self._visit
        for name in ("__new__", "__init__", "__post_init__"):
            found = visit.evaluator.attribute_of(cls, name)
            if found is not None and isinstance(found[1].target, Function):
                self._follow(found[1].target, Value(Kind.INSTANCE, target=cls), call, scope)
        fields = [part for part in cls.node.body if isinstance(part, ast.AnnAssign)]
        given = {part.arg for part in call.keywords}
        for position, statement in enumerate(fields):
            default = statement.value
            name = getattr(statement.target, "id", "")
            if not isinstance(default, ast.Call) or name in given or None in given or position < len(call.args):
                continue
            for part in default.keywords:
                value = visit.evaluator.value(part.value, cls.scope, None)
                if part.arg in _CALLBACKS and value.kind is Kind.FUNCTION and isinstance(value.target, Function):
                    self._enter(value.target, {}, call, driving=False)
                if part.arg in _CALLBACKS and value.kind is Kind.OUTSIDE and value.name in CALLS:
                    rule_id = CALLS[value.name]
                    says = f"{RULES[rule_id].says}: its field {name!r} is set by {shown(part.value)}()"
                    visit.find(rule_id, call, says=says)

    def _follow_property(self, owner: Value, cls: Class, node: ast.Attribute) -> None:
        found = self._visit.evaluator.attribute_of(cls, node.attr)
        if found is None or not isinstance(found[1].target, Function):
            return
        function = found[1].target
        marks = {getattr(part, "id", getattr(part, "attr", "")) for part in function.decorators}
        if marks & {"property", "cached_property"} and function.parameters:
            self._enter(function, {function.parameters[0]: owner}, node, driving=False)

    def _follow(self, function: Function, receiver: Value | None, call: ast.Call, scope: Scope) -> None:
        visit = self._visit
        if visit.discovery.role(function) == "activity":
            visit.find("direct-call", call)
            return
        parameters = all_arguments(function.node.args)
        arguments: dict[str, Value] = {}
        if receiver is not None and parameters:
            arguments[parameters[0].arg] = receiver
            parameters = parameters[1:]
        for parameter, given in zip(parameters, call.args, strict=False):
            if isinstance(given, ast.Starred):
                break
            arguments[parameter.arg] = visit.value(given, scope)
        for keyword in call.keywords:
            if keyword.arg is not None:
                arguments[keyword.arg] = visit.value(keyword.value, scope)
        given_context = any(value.kind is Kind.CONTEXT for value in arguments.values())
        if given_context and visit.evaluator.has_decorator(function, CACHES):
            visit.find("global-state", call, says="is cached, so other instances get the context of this one")
        # What is not known here may be told by an annotation there.
        known = dict(arguments)
        home = function.scope.parent or function.scope
        for parameter in parameters:
            passed = arguments.get(parameter.arg)
            if (
                passed is not None
                and passed.kind in (Kind.UNKNOWN, Kind.CONTAINER)
                and parameter.annotation is not None
            ):
                annotated = visit.evaluator.annotation(parameter.annotation, home)
                if annotated.kind is not Kind.UNKNOWN:
                    known[parameter.arg] = annotated.kept(passed.shared)
        self._enter(function, known, call, driving=visit.frame.driving and _drives(visit, call))

    def _enter(self, function: Function, arguments: dict[str, Value], site: ast.AST, *, driving: bool) -> None:
        visit = self._visit
        home = function.scope.parent
        enclosing = (
            None
            if home is None
            else next((frame for frame in visit.frame.around() if home.within(frame.function.scope)), None)
        )
        key = (function, driving, frozenset(arguments.items()))
        report = visit.report
        variants = report.variants.get(function, 0)
        if key in report.visited or len(visit.steps) >= _DEEPEST or variants >= _MOST_VARIANTS:
            return
        if len(report.visited) >= _MOST_FUNCTIONS:
            return
        report.visited.add(key)
        report.variants[function] = variants + 1
        visit.evaluator.enter(function.module)
        step = Step(str(visit.module.path), getattr(site, "lineno", 1), function.name)
        frame = Frame(function, arguments, enclosing, driving=driving and visit.evaluator.is_transparent(function))
        inner = Visit(
            visit.evaluator,
            visit.discovery,
            visit.report,
            frame,
            (*visit.steps, step),
            (*visit.sites, (visit, site)),
            visit.quiet,
        )
        _Walk(inner).run()


def _drives(visit: Visit, call: ast.Call) -> bool:
    """Whether what the called function yields goes on to the worker, and not to a loop or a list."""
    around = visit.parent(call)
    if isinstance(around, ast.YieldFrom | ast.Await | ast.Return):
        return True
    if not isinstance(around, ast.Assign) or not isinstance(around.targets[0], ast.Name):
        return False
    name = around.targets[0].id
    return any(
        isinstance(node, ast.Name) and node.id == name and isinstance(visit.parent(node), ast.YieldFrom | ast.Await)
        for node in visit.function.own_nodes
    )


def _called(call: ast.Call, function: Value) -> str:
    """The call, and what it really is if its name hides that."""
    text = shown(call)
    name = function.name.removeprefix("builtins.")
    written = text.removesuffix("()")
    hidden = written.rpartition(".")[2] != name.rpartition(".")[2]
    return f"{text} ({name})" if hidden else text
