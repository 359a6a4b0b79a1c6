"""The names of a module: which scope binds each, and to what."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Literal

BindingKind = Literal["import", "function", "class", "parameter", "value", "item", "entered", "other"]
ScopeKind = Literal["module", "function", "class", "comprehension"]
FunctionNode = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda
DEFINITIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)


@dataclass(eq=False, slots=True)
class Binding:
    """One place that gives a name a value.

    Attributes:
        kind: How: an import, a definition, a parameter, an assignment, a target of a loop, of ``with``, or another way.
        node: The node that does it.
        home: The scope in which `value` is to be read.
        value: The assigned expression; for a loop what it goes through, for ``with`` its manager; None if unknown.
        annotation: The annotation beside it.
        module: For imports, the module as written; "" after a bare ``from . import``.
        attribute: For ``from`` imports, the name that is taken out of the module.
        level: For relative imports, the number of dots.
    """

    kind: BindingKind
    node: ast.AST
    home: Scope
    value: ast.expr | None = None
    annotation: ast.expr | None = None
    module: str = ""
    attribute: str | None = None
    level: int = 0


@dataclass(eq=False, slots=True)
class Scope:
    """A module, function, class or comprehension, with the names that it binds."""

    kind: ScopeKind
    node: ast.AST
    parent: Scope | None
    bindings: dict[str, list[Binding]] = field(default_factory=dict[str, "list[Binding]"])
    outer: dict[str, Literal["global", "nonlocal"]] = field(default_factory=dict[str, Literal["global", "nonlocal"]])
    stars: list[Binding] = field(default_factory=list[Binding])

    @property
    def top(self) -> Scope:
        """The scope of the module."""
        scope = self
        while scope.parent is not None:
            scope = scope.parent
        return scope

    def bind(self, name: str, binding: Binding) -> None:
        """Adds a binding where Python would: a comprehension binds only its own targets."""
        declared = self.outer.get(name)
        if declared == "global":
            self.top.bindings.setdefault(name, []).append(binding)
            return
        if declared == "nonlocal" and self.parent is not None:
            owner, _ = self.parent.lookup(name)
            if owner is not None:
                owner.bindings.setdefault(name, []).append(binding)
                return
        self.bindings.setdefault(name, []).append(binding)

    def lookup(self, name: str) -> tuple[Scope | None, list[Binding]]:
        """The scope that binds a name as seen from here, and its bindings there; None for builtins."""
        scope: Scope | None = self
        if self.outer.get(name) == "global":
            scope = self.top
        elif self.outer.get(name) == "nonlocal":
            scope = self.parent
        first = True
        while scope is not None:
            if (first or scope.kind != "class") and name in scope.bindings:
                return scope, scope.bindings[name]
            first = first and scope.kind == "comprehension"
            scope = scope.parent
        return None, []

    def function(self) -> Scope | None:
        """The function around this place, or itself."""
        scope: Scope | None = self
        while scope is not None and scope.kind != "function":
            if scope.kind == "class":
                return None
            scope = scope.parent
        return scope

    def within(self, other: Scope) -> bool:
        """Whether this scope is the other one, or inside of it."""
        scope: Scope | None = self
        while scope is not None:
            if scope is other:
                return True
            scope = scope.parent
        return False


class ScopeTree:
    """The scopes of a parsed module, and the parent of each of its nodes."""

    def __init__(self, tree: ast.Module, *, declares: bool = True) -> None:
        """Reads the module once.

        Args:
            tree: The module.
            declares: Whether ``global`` or ``nonlocal`` may be in it.
        """
        self._declares = declares
        self.top = Scope("module", tree, None)
        self.of: dict[ast.AST, Scope] = {tree: self.top}
        self.parents: dict[ast.AST, ast.AST] = {}
        self._visit_children(tree, self.top)

    def scope_at(self, node: ast.AST) -> Scope:
        """The scope in which a node stands."""
        current = self.parents.get(node)
        while current is not None:
            scope = self.of.get(current)
            if scope is not None:
                return scope
            current = self.parents.get(current)
        return self.top

    def _visit(self, node: ast.AST, scope: Scope) -> None:
        handler = _HANDLERS.get(type(node))
        if handler is not None:
            handler(self, node, scope)
        else:
            self._visit_children(node, scope)

    def _visit_children(self, node: ast.AST, scope: Scope) -> None:
        for child in ast.iter_child_nodes(node):
            self.parents[child] = node
            self._visit(child, scope)

    def _visit_part(self, child: ast.AST, parent: ast.AST, scope: Scope) -> None:
        self.parents[child] = parent
        self._visit(child, scope)

    # ---- scopes --------------------------------------------------------------------------------------------

    def _on_function(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, FunctionNode)
        inner = Scope("function", node, scope)
        self.of[node] = inner
        if not isinstance(node, ast.Lambda):
            scope.bind(node.name, Binding("function", node, scope))
            for decorator in node.decorator_list:
                self._visit_part(decorator, node, scope)
            if node.returns is not None:
                self._visit_part(node.returns, node, scope)
            if self._declares:
                _declare(node.body, inner)
        arguments = node.args
        self.parents[arguments] = node
        for default in (*arguments.defaults, *arguments.kw_defaults):
            if default is not None:
                self._visit_part(default, arguments, scope)
        defaults = defaults_of(arguments)
        for argument in all_arguments(arguments):
            self.parents[argument] = arguments
            if argument.annotation is not None:
                self._visit_part(argument.annotation, argument, scope)
            inner.bind(
                argument.arg,
                Binding("parameter", argument, scope, value=defaults.get(argument.arg), annotation=argument.annotation),
            )
        for star in (arguments.vararg, arguments.kwarg):
            if star is not None:
                self.parents[star] = arguments
                inner.bind(star.arg, Binding("other", star, scope))
        for child in node.body if isinstance(node.body, list) else [node.body]:
            self._visit_part(child, node, inner)

    def _on_class(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.ClassDef)
        scope.bind(node.name, Binding("class", node, scope))
        inner = Scope("class", node, scope)
        self.of[node] = inner
        for part in (*node.decorator_list, *node.bases, *node.keywords):
            self._visit_part(part, node, scope)
        if self._declares:
            _declare(node.body, inner)
        for child in node.body:
            self._visit_part(child, node, inner)

    def _on_comprehension(self, node: ast.AST, scope: Scope) -> None:
        inner = Scope("comprehension", node, scope)
        self.of[node] = inner
        for generator in getattr(node, "generators", ()):
            self.parents[generator] = node
            self._bind_target(generator.target, inner, Binding("item", generator, inner, value=generator.iter))
            for part in (generator.target, generator.iter, *generator.ifs):
                self._visit_part(part, generator, inner)
        for name in ("elt", "key", "value"):
            part = getattr(node, name, None)
            if part is not None:
                self._visit_part(part, node, inner)

    # ---- bindings ------------------------------------------------------------------------------------------

    def _bind_target(self, target: ast.AST, scope: Scope, binding: Binding) -> None:
        """Binds a target; parts of an unpacking get values that are not known."""
        if isinstance(target, ast.Name):
            scope.bind(target.id, binding)
        elif isinstance(target, ast.Tuple | ast.List):
            for part in target.elts:
                self._bind_target(part, scope, Binding("other", binding.node, binding.home))
        elif isinstance(target, ast.Starred):
            self._bind_target(target.value, scope, Binding("other", binding.node, binding.home))

    def _on_import(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.Import)
        for alias in node.names:
            name = alias.asname or alias.name.split(".")[0]
            # With `as` the name is the module itself, without it the outermost package.
            scope.bind(name, Binding("import", alias if alias.asname else node, scope, module=alias.name))

    def _on_import_from(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.ImportFrom)
        for alias in node.names:
            binding = Binding("import", alias, scope, module=node.module or "", attribute=alias.name, level=node.level)
            if alias.name == "*":
                scope.stars.append(binding)
            else:
                scope.bind(alias.asname or alias.name, binding)

    def _on_assign(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.Assign)
        for target in node.targets:
            self._bind_target(target, scope, Binding("value", node, scope, value=node.value))
        self._visit_children(node, scope)

    def _on_annotated(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.AnnAssign)
        binding = Binding("value", node, scope, value=node.value, annotation=node.annotation)
        self._bind_target(node.target, scope, binding)
        self._visit_children(node, scope)

    def _on_augmented(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.AugAssign)
        # It keeps the kind of value that is there; it is noted only where nothing else binds the name here.
        if isinstance(node.target, ast.Name) and node.target.id not in scope.bindings:
            self._bind_target(node.target, scope, Binding("other", node, scope))
        self._visit_children(node, scope)

    def _on_walrus(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.NamedExpr)
        owner = scope
        while owner.kind == "comprehension" and owner.parent is not None:
            owner = owner.parent
        self._bind_target(node.target, owner, Binding("value", node, scope, value=node.value))
        self._visit_children(node, scope)

    def _on_for(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.For | ast.AsyncFor)
        self._bind_target(node.target, scope, Binding("item", node, scope, value=node.iter))
        self._visit_children(node, scope)

    def _on_with(self, node: ast.AST, scope: Scope) -> None:
        assert isinstance(node, ast.With | ast.AsyncWith)
        for item in node.items:
            if item.optional_vars is not None:
                binding = Binding("entered", node, scope, value=item.context_expr)
                self._bind_target(item.optional_vars, scope, binding)
        self._visit_children(node, scope)

    def _on_named(self, node: ast.AST, scope: Scope) -> None:
        """Handlers, and captures of patterns."""
        name = getattr(node, "name", None) or getattr(node, "rest", None)
        if isinstance(name, str):
            scope.bind(name, Binding("other", node, scope))
        self._visit_children(node, scope)


def _declare(body: list[ast.stmt], scope: Scope) -> None:
    """Notes ``global`` and ``nonlocal`` first: they hold for the whole body."""
    for node in own_nodes(body):
        if isinstance(node, ast.Global):
            scope.outer.update(dict.fromkeys(node.names, "global"))
        elif isinstance(node, ast.Nonlocal):
            scope.outer.update(dict.fromkeys(node.names, "nonlocal"))


def own_nodes(body: ast.AST | list[ast.stmt] | list[ast.expr]) -> Iterator[ast.AST]:
    """All nodes of a body that run when it runs: not what is inside of functions and classes defined there."""
    todo: list[ast.AST] = list(reversed(body)) if isinstance(body, list) else [body]
    while todo:
        node = todo.pop()
        yield node
        if isinstance(node, (*DEFINITIONS, ast.Lambda, ast.ClassDef)) and node is not body:
            continue
        todo.extend(reversed(list(ast.iter_child_nodes(node))))


def all_arguments(arguments: ast.arguments) -> list[ast.arg]:
    """The parameters of a function in order, without ``*args`` and ``**kwargs``."""
    return [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]


def defaults_of(arguments: ast.arguments) -> dict[str, ast.expr]:
    """Default expressions by parameter."""
    positional = [*arguments.posonlyargs, *arguments.args]
    found = {
        argument.arg: default
        for argument, default in zip(reversed(positional), reversed(arguments.defaults), strict=False)
    }
    found.update(
        {
            argument.arg: default
            for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True)
            if default is not None
        }
    )
    return found


_HANDLERS: dict[type[ast.AST], Callable[[ScopeTree, ast.AST, Scope], None]] = {
    ast.FunctionDef: ScopeTree._on_function,
    ast.AsyncFunctionDef: ScopeTree._on_function,
    ast.Lambda: ScopeTree._on_function,
    ast.ClassDef: ScopeTree._on_class,
    ast.ListComp: ScopeTree._on_comprehension,
    ast.SetComp: ScopeTree._on_comprehension,
    ast.DictComp: ScopeTree._on_comprehension,
    ast.GeneratorExp: ScopeTree._on_comprehension,
    ast.Import: ScopeTree._on_import,
    ast.ImportFrom: ScopeTree._on_import_from,
    ast.Assign: ScopeTree._on_assign,
    ast.AnnAssign: ScopeTree._on_annotated,
    ast.AugAssign: ScopeTree._on_augmented,
    ast.NamedExpr: ScopeTree._on_walrus,
    ast.For: ScopeTree._on_for,
    ast.AsyncFor: ScopeTree._on_for,
    ast.With: ScopeTree._on_with,
    ast.AsyncWith: ScopeTree._on_with,
    ast.ExceptHandler: ScopeTree._on_named,
    ast.MatchAs: ScopeTree._on_named,
    ast.MatchStar: ScopeTree._on_named,
    ast.MatchMapping: ScopeTree._on_named,
}
