"""Finds out what expressions stand for, by following names, imports, annotations and calls."""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from dapr_workflow_sdk.linting.project import OURS, Module, Project
from dapr_workflow_sdk.linting.scopes import DEFINITIONS, Binding, Scope
from dapr_workflow_sdk.linting.values import UNKNOWN, Class, Frame, Function, Kind, Value

# What the context gives to wait for. Nothing else has methods of the first three names.
UNMISTAKABLE = frozenset({"call_activity", "call_child_workflow", "wait_for_external_event"})
TASK_METHODS = UNMISTAKABLE | {"create_timer"}
COMBINATORS = frozenset({"when_all", "when_any"})
_CONTEXTS = frozenset({"WorkflowContext", "DaprWorkflowContext", "OrchestrationContext"})
_SET_TYPES = frozenset(
    {
        "builtins.set",
        "builtins.frozenset",
        "typing.Set",
        "typing.FrozenSet",
        "typing.AbstractSet",
        "typing.MutableSet",
        "collections.abc.Set",
        "collections.abc.MutableSet",
    }
)
_CONTAINER_TYPES = frozenset(
    {
        "builtins.list",
        "builtins.dict",
        "builtins.tuple",
        "builtins.bytearray",
        "collections.defaultdict",
        "collections.deque",
        "collections.Counter",
        "collections.OrderedDict",
        "typing.List",
        "typing.Dict",
        "typing.Tuple",
        "typing.Sequence",
        "typing.Iterable",
        "typing.Mapping",
        "typing.MutableMapping",
        "collections.abc.Sequence",
        "collections.abc.MutableSequence",
        "collections.abc.Iterable",
        "collections.abc.Mapping",
        "collections.abc.MutableMapping",
    }
)
_SET_METHODS = frozenset({"union", "intersection", "difference", "symmetric_difference", "copy"})
_NUMBERS = frozenset({"builtins.int", "builtins.float", "builtins.bool"})
# Decorators that leave a function what it is.
_TRANSPARENT = frozenset({"builtins.staticmethod", "builtins.classmethod", "typing.no_type_check", "typing.override"})
CACHES = frozenset({"functools.cache", "functools.lru_cache"})
_FLUENT = frozenset({"pathlib.Path.joinpath", "pathlib.Path.with_suffix", "pathlib.Path.with_name"})


def ours(value: Value) -> str:
    """The last part of a name of this package or of the official SDK; "" for anything else."""
    if value.kind is Kind.OUTSIDE and value.name.split(".")[0] in OURS:
        return value.name.rpartition(".")[2]
    return ""


class Evaluator:
    """Says what expressions of a project stand for. Whatever is not certain is unknown."""

    def __init__(self, project: Project, live: Callable[[Path, str], Any] | None = None) -> None:
        """Starts with nothing known.

        Args:
            project: The files.
            live: Finds the value of a name that a file does not bind, in the running program.
        """
        self.project = project
        self._live = live
        self._known: dict[tuple[ast.AST, Frame | None], Value] = {}
        self._members: dict[tuple[Path, str], Value] = {}
        self._modules: dict[Scope, Module] = {}
        self._functions: dict[ast.AST, Function] = {}
        self._classes: dict[ast.AST, Class] = {}

    # ---- things of the project -------------------------------------------------------------------------------

    def enter(self, module: Module) -> Module:
        """Makes a module known."""
        self._modules[module.names.top] = module
        return module

    def module_of(self, scope: Scope) -> Module:
        """The module that a scope is in."""
        return self._modules[scope.top]

    def function(self, node: ast.AST, module: Module) -> Function:
        """The function of a definition."""
        known = self._functions.get(node)
        if known is None:
            assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            scope = module.names.of[node]
            around = scope.parent
            owner = None
            if around is not None and around.kind == "class" and isinstance(around.node, ast.ClassDef):
                owner = self.class_of(around.node, module)
            known = self._functions[node] = Function(node, module, scope, owner)
        return known

    def class_of(self, node: ast.ClassDef, module: Module) -> Class:
        """The class of a definition."""
        known = self._classes.get(node)
        if known is None:
            known = self._classes[node] = Class(node, module, module.names.of[node])
        return known

    def member(self, place: Path, name: str) -> Value:
        """What a module of the project has under a name."""
        key = (place, name)
        if key not in self._members:
            self._members[key] = UNKNOWN  # Modules may import one another.
            self._members[key] = self._find_member(place, name)
        return self._members[key]

    def _find_member(self, place: Path, name: str) -> Value:
        if place.suffix == ".py":
            module = self.project.load(place)
            if module is None:
                return UNKNOWN
            self.enter(module)
            top = module.names.top
            if name in top.bindings or top.stars:
                found = self._lookup(name, top, None)
                if found is not UNKNOWN or name in top.bindings:
                    return found
            if place.name != "__init__.py":
                return UNKNOWN
        below = self.project.below(place, name)
        return UNKNOWN if below is None else Value(Kind.MODULE, target=below, shared=True)

    def attribute_of(self, owner: Class, name: str, seen: frozenset[Class] = frozenset()) -> tuple[Class, Value] | None:
        """What a class or the classes it is made from bind to a name, and which of them does."""
        if owner in seen:
            return None
        if name in owner.scope.bindings:
            return owner, self._lookup(name, owner.scope, None)
        for base in owner.node.bases:
            value = self.value(base, owner.scope.parent or owner.scope, None)
            if value.kind is Kind.CLASS and isinstance(value.target, Class):
                found = self.attribute_of(value.target, name, seen | {owner})
                if found is not None:
                    return found
        return None

    def is_transparent(self, function: Function) -> bool:
        """Whether calling a function is calling the code that stands there, in spite of its decorators."""
        around = function.scope.parent or function.scope
        for decorator in function.decorators:
            value = self.value(decorator, around, None)
            named = value.kind is Kind.OUTSIDE and (value.name in _TRANSPARENT or value.name in CACHES)
            last = decorator.attr if isinstance(decorator, ast.Attribute) else getattr(decorator, "id", "")
            if not named and not ours(value) and last not in ("workflow", "versioned_workflow", "activity"):
                return False
        return True

    def has_decorator(self, function: Function, names: frozenset[str]) -> bool:
        """Whether one of these decorators stands on a function."""
        around = function.scope.parent or function.scope
        return any(self.value(decorator, around, None).name in names for decorator in function.decorators)

    # ---- expressions -----------------------------------------------------------------------------------------

    def value(self, node: ast.AST, scope: Scope, frame: Frame | None) -> Value:
        """What an expression stands for in a scope."""
        key = (node, frame)
        known = self._known.get(key)
        if known is None:
            # Whatever refers to itself is unknown.
            self._known[key] = UNKNOWN
            known = self._known[key] = self._evaluate(node, scope, frame)
        return known

    def _evaluate(self, node: ast.AST, scope: Scope, frame: Frame | None) -> Value:
        if isinstance(node, ast.Name):
            return self._lookup(node.id, scope, frame)
        if isinstance(node, ast.Attribute):
            return self._attribute(self.value(node.value, scope, frame), node.attr, node)
        if isinstance(node, ast.Call):
            return self.result(node, scope, frame)
        if isinstance(node, ast.Lambda):
            return Value(Kind.FUNCTION, target=self.function(node, self.module_of(scope)))
        if isinstance(node, ast.NamedExpr):
            return self.value(node.value, scope, frame)
        if isinstance(node, ast.IfExp):
            first, second = self.value(node.body, scope, frame), self.value(node.orelse, scope, frame)
            return first if first.kind is second.kind else UNKNOWN
        if isinstance(node, ast.BinOp):
            return self._operation(node, scope, frame)
        if isinstance(node, ast.Subscript):
            return self._item(node, scope, frame)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            asked = self.value(node.operand, scope, frame)
            return asked if asked.kind is Kind.REPLAYING else UNKNOWN
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom):
            return self._waited_for(node.value, scope, frame)
        return self._display(node, scope, frame)

    def _waited_for(self, node: ast.expr | None, scope: Scope, frame: Frame | None) -> Value:
        if isinstance(node, ast.Call):
            function = self.value(node.func, scope, frame)
            if function.kind is Kind.CONTEXT_METHOD and function.name in TASK_METHODS:
                return Value(Kind.RESULT)
        return UNKNOWN

    def _display(self, node: ast.AST, scope: Scope, frame: Frame | None) -> Value:
        if isinstance(node, ast.Set):
            numbers = all(isinstance(part, ast.Constant) and isinstance(part.value, int | float) for part in node.elts)
            return UNKNOWN if numbers else Value(Kind.SET)
        if isinstance(node, ast.SetComp):
            return Value(Kind.SET)
        if isinstance(node, ast.List | ast.Tuple):
            kinds = {self.value(part, scope, frame).kind for part in node.elts}
            return Value(Kind.TASKS if kinds == {Kind.TASK} else Kind.CONTAINER)
        if isinstance(node, ast.ListComp | ast.GeneratorExp | ast.DictComp):
            inner = self.module_of(scope).names.of[node]
            if self.value(node.generators[0].iter, inner, frame).kind in (Kind.SET, Kind.UNORDERED):
                return Value(Kind.UNORDERED)
            if isinstance(node, ast.DictComp):
                return Value(Kind.CONTAINER)
            element = self.value(node.elt, inner, frame)
            if element.kind is Kind.TASK:
                return Value(Kind.TASKS)
            return Value(Kind.CONTAINER if isinstance(node, ast.ListComp) else Kind.ITERATOR)
        return Value(Kind.CONTAINER) if isinstance(node, ast.Dict) else UNKNOWN

    def _operation(self, node: ast.BinOp, scope: Scope, frame: Frame | None) -> Value:
        left, right = self.value(node.left, scope, frame), self.value(node.right, scope, frame)
        if isinstance(node.op, ast.BitOr | ast.BitAnd | ast.Sub | ast.BitXor):
            if left.kind is Kind.SET or (right.kind is Kind.SET and not isinstance(node.op, ast.Sub)):
                return Value(Kind.SET)
            if _is_keys(node.left) and (_is_keys(node.right) or right.kind is not Kind.UNKNOWN):
                return Value(Kind.SET)
        if left.kind is Kind.OBJECT and left.name == "pathlib.Path" and isinstance(node.op, ast.Div):
            return left
        if left.kind is Kind.NAIVE_UTC and isinstance(node.op, ast.Add | ast.Sub) and right.kind is not Kind.NAIVE_UTC:
            return left if isinstance(node.op, ast.Add) else UNKNOWN
        if isinstance(node.op, ast.Add) and Kind.TASKS in (left.kind, right.kind):
            return left if left.kind is Kind.TASKS else right
        return UNKNOWN

    def _item(self, node: ast.Subscript, scope: Scope, frame: Frame | None) -> Value:
        container = self.value(node.value, scope, frame)
        if container.kind is Kind.TASKS and not isinstance(node.slice, ast.Slice):
            return Value(Kind.TASK)
        if container.kind is Kind.CONTAINER and container.receiver is not None:
            return container.receiver.kept(container.shared)
        if container.kind is Kind.OUTSIDE:
            return UNKNOWN.kept(container.shared)
        return Value(Kind.CONTAINER, shared=True) if container.shared else UNKNOWN

    # ---- names -----------------------------------------------------------------------------------------------

    def _lookup(self, name: str, scope: Scope, frame: Frame | None) -> Value:
        owner, bindings = scope.lookup(name)
        if owner is None:
            return self._free(name, scope)
        shared = owner.kind in ("module", "class") or (frame is not None and frame.outlives(owner))
        # What a module binds is the same for every call.
        frame = None if owner.kind in ("module", "class") else frame
        imports = [binding for binding in bindings if binding.kind == "import"]
        values = [self._bound(binding, name, owner, frame) for binding in imports[:1] or bindings]
        known = [value for value, binding in zip(values, imports or bindings, strict=False) if not _is_none(binding)]
        if not known or any(value.kind is not known[0].kind for value in known):
            return UNKNOWN.kept(shared)
        return known[0].kept(shared)

    def _free(self, name: str, scope: Scope) -> Value:
        module = self.module_of(scope)
        for star in scope.top.stars:
            path = self.project.find(module, star, star.module)
            if path is not None:
                found = self.member(path, name)
                if found is not UNKNOWN:
                    return found
            elif not hasattr(builtins, name) and star.module:
                return Value(Kind.OUTSIDE, f"{star.module}.{name}", shared=True)
        if self._live is not None:
            found = self._value_of_live(self._live(module.path, name))
            if found is not UNKNOWN:
                return found
        return Value(Kind.OUTSIDE, f"builtins.{name}", shared=True) if hasattr(builtins, name) else UNKNOWN

    @staticmethod
    def _value_of_live(value: Any) -> Value:
        if isinstance(value, ModuleType):
            return Value(Kind.OUTSIDE, value.__name__, shared=True)
        module, name = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        if isinstance(module, str) and isinstance(name, str) and callable(value) and "<locals>" not in name:
            return Value(Kind.OUTSIDE, f"{module}.{name}", shared=True)
        return UNKNOWN

    def _bound(self, binding: Binding, name: str, owner: Scope, frame: Frame | None) -> Value:
        if binding.kind == "import":
            return self._imported(binding)
        if binding.kind == "function":
            function = self.function(binding.node, self.module_of(owner))
            return Value(Kind.FUNCTION, target=function)
        if binding.kind == "class":
            assert isinstance(binding.node, ast.ClassDef)
            return Value(Kind.CLASS, target=self.class_of(binding.node, self.module_of(owner)))
        if binding.kind == "parameter":
            return self._parameter(binding, name, owner, frame)
        found = UNKNOWN if binding.value is None else self.value(binding.value, binding.home, frame)
        if binding.kind == "item":
            if found.kind is Kind.TASKS:
                return Value(Kind.TASK)
            return found.receiver if found.kind is Kind.CONTAINER and found.receiver is not None else UNKNOWN
        if binding.kind == "entered":
            return found if found.kind is Kind.OBJECT else UNKNOWN
        if found.kind in (Kind.UNKNOWN, Kind.CONTAINER) and binding.annotation is not None:
            annotated = self.annotation(binding.annotation, binding.home)
            return annotated if annotated.kind is not Kind.UNKNOWN else found
        return found

    def _parameter(self, binding: Binding, name: str, owner: Scope, frame: Frame | None) -> Value:
        own = None if frame is None else next((f for f in frame.around() if f.function.scope is owner), None)
        if own is not None and name in own.arguments:
            return own.arguments[name]
        if binding.value is not None and own is not None:
            # A default that can change is made once, when the function is defined.
            default = self.value(binding.value, binding.home, None)
            if default.kind in (Kind.CONTAINER, Kind.SET) and not isinstance(binding.value, ast.Tuple):
                return default.kept(shared=True)
        if binding.annotation is not None:
            annotated = self.annotation(binding.annotation, binding.home)
            if annotated.kind is not Kind.UNKNOWN:
                return annotated
        method = self.function(owner.node, self.module_of(owner))
        if method.owner is not None and method.parameters[:1] == [name]:
            return self._self(method, method.owner)
        return UNKNOWN

    @staticmethod
    def _self(method: Function, owner: Class) -> Value:
        marks = {getattr(part, "id", "") for part in method.decorators}
        if "staticmethod" in marks:
            return UNKNOWN
        return (
            Value(Kind.CLASS, target=owner, shared=True)
            if "classmethod" in marks
            else Value(Kind.INSTANCE, target=owner)
        )

    def _imported(self, binding: Binding) -> Value:
        module = self.module_of(binding.home)
        path = self.project.find(module, binding, binding.module)
        if binding.attribute is not None:
            if path is not None:
                return self.member(path, binding.attribute)
            return UNKNOWN if binding.level else Value(Kind.OUTSIDE, f"{binding.module}.{binding.attribute}")
        name = binding.module if isinstance(binding.node, ast.alias) else binding.module.split(".")[0]
        if path is not None and name != binding.module:
            path = self.project.find(module, binding, name)
        return Value(Kind.OUTSIDE, name) if path is None else Value(Kind.MODULE, target=path)

    # ---- attributes ------------------------------------------------------------------------------------------

    def _attribute(self, owner: Value, name: str, node: ast.Attribute) -> Value:
        kind, target = owner.kind, owner.target
        if kind is Kind.OUTSIDE:
            return Value(Kind.OUTSIDE, f"{owner.name}.{name}", shared=owner.shared)
        if kind is Kind.OBJECT:
            if owner.name == "pathlib.Path" and name == "parent":
                return owner
            return Value(Kind.OUTSIDE, f"{owner.name}.{name}", receiver=owner, shared=owner.shared)
        if kind is Kind.MODULE and isinstance(target, Path):
            return self.member(target, name).kept(shared=True)
        if kind is Kind.CLASS and isinstance(target, Class):
            return self._class_attribute(target, name)
        if kind is Kind.INSTANCE and isinstance(target, Class):
            return self._instance_attribute(owner, target, name)
        if kind is Kind.CONTEXT:
            return _CONTEXT_ATTRIBUTES.get(name, Value(Kind.CONTEXT_METHOD, name))
        if name in UNMISTAKABLE:
            return Value(Kind.CONTEXT_METHOD, name)
        return UNKNOWN.kept(owner.shared)

    def _class_attribute(self, owner: Class, name: str) -> Value:
        found = self.attribute_of(owner, name)
        if found is None:
            return UNKNOWN.kept(shared=True)
        value = found[1]
        if value.kind is Kind.FUNCTION and isinstance(value.target, Function):
            if any(getattr(part, "id", "") == "classmethod" for part in value.target.decorators):
                return Value(Kind.FUNCTION, target=value.target, receiver=Value(Kind.CLASS, target=owner, shared=True))
            return value
        return value.kept(shared=True)

    def _instance_attribute(self, owner: Value, cls: Class, name: str) -> Value:
        found = self.attribute_of(cls, name)
        if found is not None and found[1].kind is Kind.FUNCTION and isinstance(found[1].target, Function):
            function = found[1].target
            marks = {getattr(part, "id", getattr(part, "attr", "")) for part in function.decorators}
            if marks & {"property", "cached_property"}:
                returns = None if isinstance(function.node, ast.Lambda) else function.node.returns
                return UNKNOWN if returns is None else self.annotation(returns, cls.scope)
            if "staticmethod" in marks:
                return Value(Kind.FUNCTION, target=function)
            receiver = Value(Kind.CLASS, target=cls, shared=True) if "classmethod" in marks else owner
            return Value(Kind.FUNCTION, target=function, receiver=receiver)
        assigned = self._assigned_to_self(cls, name)
        if assigned is not None:
            return assigned.kept(owner.shared)
        if found is None:
            return UNKNOWN.kept(owner.shared)
        definer, value = found
        binding = definer.scope.bindings[name][0]
        if binding.annotation is not None:
            annotated = self.annotation(binding.annotation, definer.scope)
            # A plain class keeps one object for all; dataclasses and the like make a field of it.
            plain = not definer.node.bases and not definer.node.decorator_list and binding.value is not None
            return annotated.kept(owner.shared or plain)
        return value.kept(shared=True)

    def _assigned_to_self(self, cls: Class, name: str) -> Value | None:
        """What the methods of a class assign to an attribute of ``self``."""
        for statement in cls.node.body:
            if not isinstance(statement, DEFINITIONS):
                continue
            for node in self.function(statement, cls.module).own_nodes:
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if not isinstance(node, ast.Assign | ast.AnnAssign):
                    continue
                if any(_is_self(target, name) for target in targets):
                    inner = cls.module.names.of[statement]
                    found = UNKNOWN if node.value is None else self.value(node.value, inner, None)
                    if found.kind is Kind.UNKNOWN and isinstance(node, ast.AnnAssign):
                        found = self.annotation(node.annotation, inner)
                    return found
        return None

    # ---- calls -----------------------------------------------------------------------------------------------

    def result(self, call: ast.Call, scope: Scope, frame: Frame | None) -> Value:
        """What a call gives."""
        function = self.value(call.func, scope, frame)
        if function.kind is Kind.CONTEXT_METHOD:
            return Value(Kind.TASK) if function.name in TASK_METHODS else UNKNOWN
        if function.kind is Kind.OUTSIDE:
            return self._outside_result(function, call, scope, frame)
        if function.kind is Kind.CLASS:
            return Value(Kind.INSTANCE, target=function.target)
        if function.kind is Kind.FUNCTION and isinstance(function.target, Function):
            return self._function_result(function.target)
        if isinstance(call.func, ast.Attribute):
            receiver = self.value(call.func.value, scope, frame)
            if receiver.kind is Kind.SET and call.func.attr in _SET_METHODS:
                return Value(Kind.SET)
            if receiver.kind is Kind.UNORDERED and call.func.attr in ("items", "keys", "values", "copy"):
                return receiver
        return UNKNOWN

    def _function_result(self, function: Function) -> Value:
        if not self.is_transparent(function):
            return UNKNOWN
        if function.is_generator:
            return UNKNOWN if function.is_async else Value(Kind.GENERATOR, target=function)
        if function.is_async:
            return Value(Kind.COROUTINE, target=function)
        if self.has_decorator(function, CACHES):
            # Whoever asks again gets the same object.
            only = function.returned[0] if len(function.returned) == 1 else None
            found = UNKNOWN if only is None else self.value(only, function.scope, None)
            return found.kept(shared=True)
        if not isinstance(function.node, ast.Lambda) and function.node.returns is not None:
            annotated = self.annotation(function.node.returns, function.scope.parent or function.scope)
            if annotated.kind not in (Kind.UNKNOWN, Kind.CONTAINER):
                return annotated
        returned = function.returned
        if len(returned) == 1 and returned[0] is not None:
            found = self.value(returned[0], self.module_of(function.scope).names.scope_at(returned[0]), None)
            if found.kind in (Kind.TASK, Kind.TASKS, Kind.SET, Kind.UNORDERED, Kind.REPLAYING):
                return found
        return UNKNOWN

    def _outside_result(self, function: Value, call: ast.Call, scope: Scope, frame: Frame | None) -> Value:
        name = function.name
        if ours(function) in COMBINATORS:
            return Value(Kind.TASK)
        first = self.value(call.args[0], scope, frame) if call.args else UNKNOWN
        unordered = first.kind in (Kind.SET, Kind.UNORDERED)
        if name in ("builtins.set", "builtins.frozenset"):
            return UNKNOWN if call.args and _is_range(call.args[0]) else Value(Kind.SET)
        if name in ("builtins.list", "builtins.tuple", "builtins.dict", "builtins.dict.fromkeys") and unordered:
            return Value(Kind.UNORDERED)
        if name == "builtins.list" and first.kind is Kind.TASKS:
            return first
        if name in ("builtins.iter", "builtins.enumerate", "builtins.zip", "builtins.map", "builtins.filter"):
            return Value(Kind.UNORDERED if unordered else Kind.ITERATOR)
        if name in _CONTAINER_TYPES or name == "builtins.sorted":
            return Value(Kind.CONTAINER)
        if name in ("itertools.count", "itertools.cycle", "itertools.chain"):
            return Value(Kind.ITERATOR)
        if name == "logging.getLogger":
            return Value(Kind.LOGGER)
        if name in _FLUENT:
            return Value(Kind.OBJECT, "pathlib.Path")
        if name in ("requests.session", "sqlite3.connect", "boto3.client", "sqlalchemy.create_engine") or (
            name.rpartition(".")[2][:1].isupper() and function.receiver is None
        ):
            return Value(Kind.OBJECT, name, fresh=frame is not None)
        return UNKNOWN

    # ---- annotations -----------------------------------------------------------------------------------------

    def annotation(self, node: ast.expr, scope: Scope) -> Value:
        """What a value of an annotated type is."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            try:
                return self.annotation(ast.parse(node.value.strip(), mode="eval").body, scope)
            except (SyntaxError, ValueError):
                return UNKNOWN
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
            parts = [part for part in (node.left, node.right) if not _is_constant_none(part)]
            return self.annotation(parts[0], scope) if len(parts) == 1 else UNKNOWN
        if isinstance(node, ast.Subscript):
            return self._generic(node, scope)
        if not isinstance(node, ast.Name | ast.Attribute):
            return UNKNOWN
        type_ = self.value(node, scope, None)
        if type_.kind is Kind.CLASS:
            return Value(Kind.INSTANCE, target=type_.target)
        if type_.kind is not Kind.OUTSIDE:
            return UNKNOWN
        own = ours(type_)
        if own in _CONTEXTS:
            return Value(Kind.CONTEXT)
        if own in ("Task", "WhenAllTask", "WhenAnyTask"):
            return Value(Kind.TASK)
        if type_.name in _SET_TYPES:
            return Value(Kind.SET)
        if type_.name in _CONTAINER_TYPES:
            return Value(Kind.CONTAINER)
        if type_.name.startswith(("builtins.", "typing.")) or own:
            return UNKNOWN
        return Value(Kind.OBJECT, type_.name)

    def _generic(self, node: ast.Subscript, scope: Scope) -> Value:
        base = self.value(node.value, scope, None)
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        if base.kind is not Kind.OUTSIDE or not inner:
            return UNKNOWN
        if base.name in _SET_TYPES:
            element = self.value(inner[0], scope, None)
            return UNKNOWN if element.name in _NUMBERS else Value(Kind.SET)
        if base.name in ("typing.Optional", "typing.Annotated", "typing.Final", "typing.ClassVar"):
            return self.annotation(inner[0], scope)
        if base.name in _CONTAINER_TYPES:
            mapping = "apping" in base.name or "dict" in base.name.lower()
            element = UNKNOWN if mapping else self.annotation(inner[0], scope)
            return Value(Kind.CONTAINER, receiver=None if element.kind is Kind.UNKNOWN else element)
        if ours(base) == "Task":
            return Value(Kind.TASK)
        return UNKNOWN


_CONTEXT_ATTRIBUTES = {
    "is_replaying": Value(Kind.REPLAYING),
    "current_utc_datetime": Value(Kind.NAIVE_UTC),
    "logger": Value(Kind.LOGGER),
    "instance_id": UNKNOWN,
}


def _is_none(binding: Binding) -> bool:
    return binding.kind == "value" and binding.value is not None and _is_constant_none(binding.value)


def _is_constant_none(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value is None


def _is_keys(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys"


def _is_range(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "range"


def _is_self(target: ast.AST | None, name: str) -> bool:
    return (
        isinstance(target, ast.Attribute)
        and target.attr == name
        and isinstance(target.value, ast.Name)
        and target.value.id == "self"
    )
