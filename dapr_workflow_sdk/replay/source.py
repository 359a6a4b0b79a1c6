"""The calls that stand in the source of a workflow, read without running it.

Only explanations use this: what is not found here is not claimed there.
"""

from __future__ import annotations

import ast
import inspect
import linecache
import textwrap
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from types import CodeType
from typing import Any, cast

from dapr_workflow_sdk.authoring.definitions import Kind, Registry
from dapr_workflow_sdk.replay.steps import StepKind

_METHODS: dict[str, StepKind] = {
    "call_activity": StepKind.ACTIVITY,
    "call_child_workflow": StepKind.CHILD,
    "create_timer": StepKind.TIMER,
    "wait_for_external_event": StepKind.WAIT,
}
_TARGETS: dict[StepKind, tuple[str, Kind]] = {
    StepKind.ACTIVITY: ("activity", "activity"),
    StepKind.CHILD: ("workflow", "workflow"),
}
_LONGEST_LINE = 200
# How deep helpers of helpers are followed.
_DEEPEST = 5


@dataclass(frozen=True)
class Arm:
    """One side of a branch.

    Attributes:
        branch: Which branch, by the file, the line and the column where it begins.
        side: Which of its sides.
        line: Line of the condition.
        condition: Its source.
    """

    branch: tuple[str, int, int]
    side: str
    line: int
    condition: str


@dataclass(frozen=True)
class SourceCall:
    """A call as it stands in the source.

    Attributes:
        kind: What is called.
        names: What it may be called by; empty if that is only known when it runs.
        file: File of the call.
        line: Line of the call.
        arms: The sides of branches it stands in, outermost first.
        looped: Whether it stands in a loop.
    """

    kind: StepKind
    names: frozenset[str]
    file: str
    line: int
    arms: tuple[Arm, ...] = ()
    looped: bool = False

    def may_be(self, kind: StepKind, name: str) -> bool:
        """Whether it may make this call."""
        return self.kind is kind and (name in self.names or kind is StepKind.TIMER)


@dataclass(frozen=True)
class Source:
    """What one function asks for, with the generators and coroutines that it waits for.

    Attributes:
        calls: The calls, in the order of the text.
        patches: Names of the patches that it asks about.
    """

    calls: tuple[SourceCall, ...] = ()
    patches: frozenset[str] = frozenset()

    def find(self, kind: StepKind, name: str) -> list[SourceCall]:
        """Where this call stands."""
        return [call for call in self.calls if call.may_be(kind, name)]


def line_of(file: str, line: int) -> str:
    """A line of source without its indentation; empty if it cannot be read."""
    text = linecache.getline(file, line).strip()
    return text if len(text) <= _LONGEST_LINE else f"{text[: _LONGEST_LINE - 3]}..."


def parting(one: SourceCall, other: SourceCall) -> Arm | None:
    """The condition that decides between two calls, if they stand on two sides of one branch."""
    for arm in one.arms:
        for another in other.arms:
            if arm.branch == another.branch and arm.side != another.side:
                return arm
    return None


def read_source(function: Callable[..., Any], registry: Registry) -> Source:
    """The calls that a workflow's function makes; none if its source cannot be read."""
    reader = _Reader(registry)
    calls = tuple(reader.function(function, (), looped=False))
    return Source(calls, frozenset(reader.patches))


def _names_of(function: Any) -> dict[str, Any]:
    """What the free names of a function stand for."""
    names: dict[str, Any] = dict(getattr(function, "__globals__", {}))
    closure = getattr(function, "__closure__", None) or ()
    for name, cell in zip(function.__code__.co_freevars, closure, strict=False):
        try:
            names[name] = cell.cell_contents
        except ValueError:
            continue
    return names


def _leaves(statements: list[ast.stmt]) -> bool:
    return bool(statements) and isinstance(statements[-1], ast.Return | ast.Raise)


class _Reader:
    """Reads one function after the other; what it knows about names is that of the function it is in."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self.patches: set[str] = set()
        self._inside: list[CodeType] = []
        self._file = ""
        self._before = 0
        self._names_here: dict[str, Any] = {}

    def function(self, function: Any, arms: tuple[Arm, ...], *, looped: bool) -> Iterator[SourceCall]:
        inner = inspect.unwrap(getattr(function, "func", function))
        inner = getattr(inner, "__func__", inner)
        code = getattr(inner, "__code__", None)
        if not isinstance(code, CodeType) or code in self._inside or len(self._inside) >= _DEEPEST:
            return
        try:
            lines, first = inspect.getsourcelines(inner)
            tree = ast.parse(textwrap.dedent("".join(lines)))
        except (OSError, TypeError, SyntaxError, ValueError):
            return
        outside = self._file, self._before, self._names_here
        self._inside.append(code)
        self._file, self._before, self._names_here = code.co_filename, first - 1, _names_of(inner)
        yield from self.block(tree.body, arms, looped=looped)
        self._inside.pop()
        self._file, self._before, self._names_here = outside

    def calls(self, node: ast.AST, arms: tuple[Arm, ...], *, looped: bool) -> Iterator[SourceCall]:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _METHODS:
            yield from self._call(node, _METHODS[node.func.attr], arms, looped=looped)
        if isinstance(node, ast.YieldFrom | ast.Await) and isinstance(node.value, ast.Call):
            # A helper: its calls stand here.
            helper = self._value(node.value.func)
            if inspect.isgeneratorfunction(helper) or inspect.iscoroutinefunction(helper):
                yield from self.function(helper, arms, looped=looped)
        self._note_patch(node)
        looped = looped or isinstance(node, ast.For | ast.AsyncFor | ast.While | ast.comprehension | ast.ListComp)
        for name, value in ast.iter_fields(node):
            children: list[Any] = cast("Any", value) if isinstance(value, list) else [value]
            if children and isinstance(children[0], ast.stmt):
                yield from self.block(children, self._arms_in(node, name, 0, arms), looped=looped)
                continue
            for number, child in enumerate(children):
                if isinstance(child, ast.AST):
                    yield from self.calls(child, self._arms_in(node, name, number, arms), looped=looped)

    def _note_patch(self, node: ast.AST) -> None:
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "is_patched":
            name = self._value(node.args[0]) if node.args else None
            if isinstance(name, str):
                self.patches.add(name)

    def block(self, statements: list[ast.stmt], arms: tuple[Arm, ...], *, looped: bool) -> Iterator[SourceCall]:
        for statement in statements:
            yield from self.calls(statement, arms, looped=looped)
            if isinstance(statement, ast.If):
                # What follows a side that leaves the function stands on the other side.
                if _leaves(statement.body):
                    arms = self._arms_in(statement, "orelse", 0, arms)
                elif _leaves(statement.orelse):
                    arms = self._arms_in(statement, "body", 0, arms)

    def _arms_in(self, node: ast.AST, name: str, number: int, arms: tuple[Arm, ...]) -> tuple[Arm, ...]:
        if isinstance(node, ast.Match) and name == "cases":
            side, decides = f"case {number}", node.subject
        elif isinstance(node, ast.If | ast.IfExp) and name in ("body", "orelse"):
            side, decides = name, node.test
        else:
            return arms
        arm = Arm((self._file, node.lineno, node.col_offset), side, node.lineno + self._before, ast.unparse(decides))
        return (*arms, arm)

    def _call(self, node: ast.Call, kind: StepKind, arms: tuple[Arm, ...], *, looped: bool) -> Iterator[SourceCall]:
        line = node.lineno + self._before
        if kind is StepKind.TIMER:
            yield SourceCall(kind, frozenset(), self._file, line, arms, looped)
            return
        keyword = _TARGETS[kind][0] if kind in _TARGETS else "name"
        target = next((given.value for given in node.keywords if given.arg == keyword), None)
        if node.args:
            target = node.args[0]
        if isinstance(target, ast.IfExp):
            # The choice is made in the argument: each outcome is a call of its own.
            for name in ("body", "orelse"):
                names = self._names(getattr(target, name), kind)
                yield SourceCall(kind, names, self._file, line, self._arms_in(target, name, 0, arms), looped)
            return
        names = frozenset[str]() if target is None else self._names(target, kind)
        yield SourceCall(kind, names, self._file, line, arms, looped)

    def _names(self, node: ast.expr, kind: StepKind) -> frozenset[str]:
        value = self._value(node)
        if isinstance(value, str):
            return frozenset({value})
        if value is None or kind not in _TARGETS or not callable(value):
            return frozenset()
        try:
            return frozenset({self._registry.name_for(_TARGETS[kind][1], value)})
        except Exception:  # noqa: BLE001 - an odd callable has no name to compare
            return frozenset()

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._names_here.get(node.id)
        if isinstance(node, ast.Attribute):
            owner = self._value(node.value)
            # Modules and classes are looked into; an object of the application might run code of its own.
            return vars(owner).get(node.attr) if inspect.ismodule(owner) or inspect.isclass(owner) else None
        return None
