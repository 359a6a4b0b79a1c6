"""What an expression stands for, as far as the source says it."""

from __future__ import annotations

import ast
import enum
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

from dapr_workflow_sdk.linting.project import Module
from dapr_workflow_sdk.linting.scopes import DEFINITIONS, FunctionNode, Scope, all_arguments, own_nodes


class Kind(enum.Enum):
    """The kinds of values that the rules tell apart."""

    UNKNOWN = enum.auto()
    OUTSIDE = enum.auto()  # Something of another library or of Python: `name` is its dotted name.
    OBJECT = enum.auto()  # An object of a class of another library: `name` is that of the class.
    MODULE = enum.auto()  # A module of the project: `target` is its path.
    FUNCTION = enum.auto()  # A function of the project: `target`, and its `receiver` if it is a method.
    CLASS = enum.auto()
    INSTANCE = enum.auto()  # An object of a class of the project: `target`.
    CONTEXT = enum.auto()
    CONTEXT_METHOD = enum.auto()  # `name` is the name of the method.
    LOGGER = enum.auto()
    REPLAYING = enum.auto()  # ctx.is_replaying.
    NAIVE_UTC = enum.auto()  # ctx.current_utc_datetime.
    TASK = enum.auto()
    TASKS = enum.auto()  # A list of tasks.
    RESULT = enum.auto()  # What a task of the context gave.
    GENERATOR = enum.auto()  # What a generator function of the project gives when it is called: `target`.
    COROUTINE = enum.auto()
    SET = enum.auto()
    UNORDERED = enum.auto()  # A list or dictionary in the order of a set.
    CONTAINER = enum.auto()  # A list, dictionary or the like; `receiver` is what is in it, if that is known.
    ITERATOR = enum.auto()


@dataclass(eq=False, slots=True)
class Class:
    """A class of the project."""

    node: ast.ClassDef
    module: Module
    scope: Scope

    @property
    def is_dataclass(self) -> bool:
        """Whether Python writes its ``__init__``."""
        return any("dataclass" in ast.unparse(decorator) for decorator in self.node.decorator_list)


@dataclass(eq=False)
class Function:
    """A function of the project."""

    node: FunctionNode
    module: Module
    scope: Scope
    owner: Class | None = None

    @property
    def name(self) -> str:
        """Its name, or what stands for one."""
        return "lambda" if isinstance(self.node, ast.Lambda) else self.node.name

    @cached_property
    def own_nodes(self) -> list[ast.AST]:
        """What runs when it runs."""
        return list(own_nodes(self.node.body))

    @cached_property
    def is_generator(self) -> bool:
        """Whether calling it gives a generator."""
        return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in self.own_nodes)

    @property
    def is_async(self) -> bool:
        """Whether it is an ``async def``."""
        return isinstance(self.node, ast.AsyncFunctionDef)

    @cached_property
    def returned(self) -> list[ast.expr | None]:
        """What its return statements return."""
        if isinstance(self.node, ast.Lambda):
            return [self.node.body]
        return [node.value for node in self.own_nodes if isinstance(node, ast.Return)]

    @cached_property
    def decorators(self) -> list[ast.expr]:
        """Its decorators, without their arguments."""
        if not isinstance(self.node, DEFINITIONS):
            return []
        return [part.func if isinstance(part, ast.Call) else part for part in self.node.decorator_list]

    @cached_property
    def parameters(self) -> list[str]:
        """Names of its parameters."""
        return [argument.arg for argument in all_arguments(self.node.args)]


@dataclass(frozen=True, slots=True)
class Value:
    """What an expression stands for.

    Attributes:
        kind: What kind of thing it is.
        name: See the kinds.
        target: See the kinds.
        receiver: See the kinds.
        shared: Whether it outlives a run of the workflow.
        fresh: Whether it was made in the code that is looked at, by a call that was looked at.
    """

    kind: Kind
    name: str = ""
    target: Function | Class | Path | None = None
    receiver: Value | None = None
    shared: bool = False
    fresh: bool = False

    def kept(self, shared: bool) -> Value:
        """The value, as something that outlives a run if `shared` says so."""
        return replace(self, shared=True) if shared and not self.shared else self


UNKNOWN = Value(Kind.UNKNOWN)


@dataclass(eq=False)
class Frame:
    """A function that is looked at, with what it is called with.

    Attributes:
        function: The function.
        arguments: What is known of its arguments.
        enclosing: The frame in which the function was defined, if it was defined inside of another.
        driving: Whether what it yields goes to the worker.
    """

    function: Function
    arguments: dict[str, Value] = field(default_factory=dict[str, Value])
    enclosing: Frame | None = None
    driving: bool = False

    def around(self) -> Iterator[Frame]:
        """This frame and those around it."""
        frame: Frame | None = self
        while frame is not None:
            yield frame
            frame = frame.enclosing

    def outlives(self, owner: Scope) -> bool:
        """Whether names of a scope live longer than the run."""
        return not any(owner.within(frame.function.scope) for frame in self.around())
