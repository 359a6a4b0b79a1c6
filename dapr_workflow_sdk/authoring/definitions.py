"""Definitions of workflows and activities, the decorators that make them, and registries that find them."""

from __future__ import annotations

import functools
import inspect
import logging
import typing
from collections.abc import Callable, Coroutine, Generator
from dataclasses import dataclass, field
from types import CodeType
from typing import Any, Literal, TypeVar, cast, overload

from dapr_workflow_sdk.errors import RegistrationError

logger = logging.getLogger("dapr_workflow_sdk.authoring")

F = TypeVar("F", bound=Callable[..., Any])
Kind = Literal["workflow", "activity"]

# Marks a parameter or a result without an annotation: its payload arrives as plain decoded JSON.
UNTYPED: Any = object()
# Marks a parameter without a default.
NO_DEFAULT: Any = object()

_ATTRIBUTE = "__dapr_workflow_definition__"
# How functions of the official SDK carry their registered name; honoured so that they can be called from here.
_OFFICIAL_NAME = "_dapr_alternate_name"


@dataclass(frozen=True, eq=False)
class Definition:
    """A workflow or activity as a worker knows it.

    Attributes:
        kind: "workflow" or "activity".
        name: The name on the wire.
        function: What to call.
        takes_input: Whether the function has a parameter after its context.
        input_type: Annotation of that parameter, or `UNTYPED`.
        input_default: Its default, or `NO_DEFAULT`.
        result_type: Type of the result: the annotation, without the Generator or Coroutine around it; or `UNTYPED`.
        location: "file:line" of the function, for messages.
        code: Code object of the function if calling it starts a generator or coroutine of this very code.
        is_coroutine: Whether the function is an ``async def``.
    """

    kind: Kind
    name: str
    function: Callable[..., Any]
    takes_input: bool
    input_type: Any
    input_default: Any
    result_type: Any
    location: str
    code: CodeType | None = field(repr=False)
    is_coroutine: bool = field(init=False)

    def __post_init__(self) -> None:
        # Asked for every run of an activity, and slow to find out.
        object.__setattr__(self, "is_coroutine", inspect.iscoroutinefunction(self.function))


def name_of(function: Callable[..., Any]) -> str:
    """The name a function has where it was never registered under another.

    Raises:
        RegistrationError: It is a lambda or an object without a name.
    """
    recorded = getattr(function, _ATTRIBUTE, None)
    if isinstance(recorded, Definition):
        return recorded.name
    official = getattr(function, _OFFICIAL_NAME, None)
    if isinstance(official, str):
        return official
    if isinstance(function, functools.partial):
        return name_of(cast("Any", function).func)
    name = getattr(function, "__name__", None)
    if not isinstance(name, str) or name == "<lambda>":
        raise RegistrationError(f"{function!r} has no name of its own: give it one with name=...")
    return name


def define(kind: Kind, function: Callable[..., Any], name: str | None = None) -> Definition:
    """Reads a function's signature once and for all.

    Raises:
        RegistrationError: It cannot serve as a workflow or activity; the message says why and what to write instead.
    """
    if not callable(function):
        raise RegistrationError(f"A {kind} is a function, but {function!r} is not callable.")
    chosen = name if name is not None else name_of(function)
    if not chosen:
        raise RegistrationError(f"A {kind} needs a name that is not empty.")
    inner = _innermost(function)
    location = _location(inner)
    if inspect.isasyncgenfunction(inner):
        raise RegistrationError(
            f"{kind} {chosen!r} ({location}) is an async generator: it both awaits and yields. "
            "Write either `def` with `yield`, or `async def` with `await`."
        )
    if kind == "activity" and inspect.isgeneratorfunction(inner):
        raise RegistrationError(
            f"activity {chosen!r} ({location}) is a generator. Only workflows yield; an activity works and returns."
        )
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError) as error:
        raise RegistrationError(f"{kind} {chosen!r} ({location}) has no readable signature: {error}") from error
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD, p.VAR_POSITIONAL)]
    needed = [p for p in positional[2:] if p.default is p.empty and p.kind is not p.VAR_POSITIONAL]
    needed += [p for p in parameters if p.kind is p.KEYWORD_ONLY and p.default is p.empty]
    if not positional or needed:
        raise RegistrationError(
            f"{kind} {chosen!r} ({location}) must be callable as f(ctx) or f(ctx, input): a context and at most one "
            "input. Put several values into one dataclass."
        )
    takes_input = len(positional) > 1 or positional[0].kind is inspect.Parameter.VAR_POSITIONAL
    input_type: Any = UNTYPED
    default: Any = NO_DEFAULT
    hints = _Annotations(inner, f"{kind} {chosen!r} ({location})")
    if len(positional) > 1:
        if positional[1].default is not inspect.Parameter.empty:
            default = positional[1].default
        input_type = hints.of(positional[1].name)
    drives_itself = inspect.isgeneratorfunction(inner) or inspect.iscoroutinefunction(inner)
    return Definition(
        kind=kind,
        name=chosen,
        function=function,
        takes_input=takes_input,
        input_type=input_type,
        input_default=default,
        result_type=_result_type(hints.of("return")),
        location=location,
        code=inner.__code__ if drives_itself and inner is function else None,
    )


def _innermost(function: Callable[..., Any]) -> Any:
    """The function that an author wrote, under partials and wrappers."""
    if isinstance(function, functools.partial):
        return _innermost(cast("Any", function).func)
    inner = inspect.unwrap(function)
    if not (inspect.isroutine(inner) or isinstance(inner, type)):
        # An object that can be called: what counts is its method.
        return inspect.unwrap(inner.__call__)
    return inner


def _location(function: Any) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', type(function).__name__)}"
    return f"{code.co_filename}:{code.co_firstlineno}"


class _Annotations:
    """Annotations of one function, resolved one by one so that a bad one does not spoil the others."""

    def __init__(self, function: Any, owner: str) -> None:
        self._owner = owner
        self._raw: dict[str, Any] = dict(getattr(function, "__annotations__", None) or {})
        self._globals: dict[str, Any] = getattr(function, "__globals__", {})
        closure = getattr(function, "__closure__", None) or ()
        names = getattr(getattr(function, "__code__", None), "co_freevars", ())
        self._locals: dict[str, Any] = {}
        for name, cell in zip(names, closure, strict=False):
            try:
                self._locals[name] = cell.cell_contents
            except ValueError:
                continue

    def of(self, name: str) -> Any:
        if name not in self._raw:
            return UNTYPED
        raw = self._raw[name]
        try:
            # A throw-away holder lets typing resolve strings, nested forward references and Annotated alike.
            holder = type("holder", (), {"__annotations__": {name: raw}})
            return typing.get_type_hints(holder, self._globals, self._locals)[name]
        except Exception as error:  # noqa: BLE001 - any failure of user annotations means the same here
            what = "result" if name == "return" else f"parameter {name!r}"
            logger.warning(
                "%s: the annotation of its %s, %r, cannot be resolved (%s); the value arrives as plain JSON. "
                "Define the type at module level.",
                self._owner,
                what,
                raw,
                error,
            )
            return UNTYPED


def _result_type(annotation: Any) -> Any:
    origin = typing.get_origin(annotation)
    arguments = typing.get_args(annotation)
    if isinstance(origin, type):
        if issubclass(origin, Generator) and len(arguments) == 3:
            return arguments[2]
        if issubclass(origin, Coroutine) and len(arguments) == 3:
            return arguments[2]
        if origin in (typing.get_origin(typing.Iterator[int]), typing.get_origin(typing.Iterable[int])):
            return UNTYPED
    if annotation in (Generator, Coroutine, typing.Generator, typing.Coroutine):
        return UNTYPED
    return annotation


@functools.lru_cache(maxsize=4096)
def result_type_of(function: Callable[..., Any]) -> Any:
    """Type of what calling this function through a task gives, or `UNTYPED`; never raises for odd functions."""
    recorded = getattr(function, _ATTRIBUTE, None)
    if isinstance(recorded, Definition):
        return recorded.result_type
    inner = _innermost(function)
    return _result_type(_Annotations(inner, _location(inner)).of("return"))


class Registry:
    """The workflows and activities of one worker, by name.

    A name registered here wins over a module-level definition of the same name. Module-level definitions are
    looked up at the time of use, so the order of imports does not matter.
    """

    def __init__(self, *, module_level: bool = True) -> None:
        """An empty registry.

        Args:
            module_level: Also find functions decorated with the module-level `workflow` and `activity`.
        """
        self._module_level = module_level
        self._named: dict[tuple[Kind, str], Definition] = {}
        self._of_function: dict[tuple[Kind, Callable[..., Any]], Definition] = {}
        self._versions: dict[str, dict[str, Definition]] = {}
        self._latest: dict[str, str] = {}

    def add_version(self, function: Callable[..., Any], name: str, version: str | None, *, is_latest: bool) -> None:
        """Registers one of several versions of a workflow.

        Args:
            function: The function.
            name: Name of the workflow.
            version: Name of the version; the function's own name by default.
            is_latest: Whether new instances begin with it; the last version that says so is the one.

        Raises:
            RegistrationError: The function does not fit, or another one is this version.
        """
        definition = define("workflow", function, name)
        chosen = getattr(function, "__name__", "") if version is None else version
        if not chosen or chosen == "<lambda>":
            raise RegistrationError(f"A version of workflow {name!r} needs a name: give it one with version_name=...")
        versions = self._versions.setdefault(name, {})
        known = versions.get(chosen)
        if known is not None and known.function != function:
            raise RegistrationError(
                f"Two functions are registered as version {chosen!r} of workflow {name!r}: {known.location} and "
                f"{definition.location}. Give one of them another name with version_name=..."
            )
        versions[chosen] = definition
        self._of_function["workflow", function] = definition
        remember(function, definition)
        if is_latest:
            self._latest[name] = chosen

    def versions_of(self, name: str) -> list[str]:
        """Names of the versions of a workflow, in the order of registration; empty if it has none."""
        return list(self._versions.get(name, ()))

    def latest_version_of(self, name: str) -> str | None:
        """The version that new instances begin with, or None if no version was registered as the latest."""
        return self._latest.get(name)

    def find_version(self, name: str, version: str) -> Definition | None:
        """A version of a workflow, or None."""
        return self._versions.get(name, {}).get(version)

    def has_versions(self) -> bool:
        """Whether any workflow has versions."""
        return bool(self._versions)

    def add(self, kind: Kind, function: Callable[..., Any], name: str | None = None) -> Definition:
        """Registers a function; registering the same function under the same name again changes nothing.

        Raises:
            RegistrationError: The function does not fit, or another one has the name.
        """
        recorded = getattr(function, _ATTRIBUTE, None)
        if isinstance(recorded, Definition) and recorded.kind == kind and name in (None, recorded.name):
            definition = recorded
        else:
            definition = define(kind, function, name)
        known = self._named.get((kind, definition.name))
        if known is not None and known.function != function:  # Bound methods are equal, never identical.
            raise RegistrationError(
                f"Two functions are registered as {kind} {definition.name!r}: {known.location} and "
                f"{definition.location}. Give one of them another name with name=..."
            )
        self._named[kind, definition.name] = definition
        self._of_function[kind, function] = definition
        remember(function, definition)
        return definition

    def find(self, kind: Kind, name: str) -> Definition | None:
        """The definition of this name, or None.

        Raises:
            RegistrationError: Several modules define the name, and none was registered explicitly.
        """
        definition = self._named.get((kind, name))
        if definition is None and self._module_level:
            return MODULE_LEVEL.find(kind, name)
        return definition

    def names(self, kind: Kind) -> list[str]:
        """All names of one kind, sorted."""
        found = {name for known_kind, name in self._named if known_kind == kind}
        if kind == "workflow":
            found.update(self._versions)
        if self._module_level:
            found.update(MODULE_LEVEL.names(kind))
        return sorted(found)

    def name_for(self, kind: Kind, function: Callable[..., Any]) -> str:
        """The name under which a call of this function travels."""
        definition = self._of_function.get((kind, function))
        return definition.name if definition is not None else name_of(function)


class _ModuleLevel:
    """What module-level decorators collected in this process."""

    def __init__(self) -> None:
        self._found: dict[tuple[Kind, str], dict[str, Definition]] = {}

    def add(self, definition: Definition) -> None:
        # A module that is loaded again replaces what it defined before; other modules' definitions stay.
        function = definition.function
        place = f"{getattr(function, '__module__', '')}.{getattr(function, '__qualname__', '')}"
        self._found.setdefault((definition.kind, definition.name), {})[place] = definition

    def find(self, kind: Kind, name: str) -> Definition | None:
        found = self._found.get((kind, name))
        if not found:
            return None
        if len(found) > 1:
            places = " and ".join(definition.location for definition in found.values())
            raise RegistrationError(
                f"Several modules define {kind} {name!r}: {places}. Rename one with name=..., or choose by "
                f"runtime.register_{kind}(...)."
            )
        return next(iter(found.values()))

    def names(self, kind: Kind) -> list[str]:
        return [name for known_kind, name in self._found if known_kind == kind]


MODULE_LEVEL = _ModuleLevel()


def remember(function: Callable[..., Any], definition: Definition) -> None:
    """Lets clients and other workers find a function's name; the first registration of a function counts."""
    if getattr(function, _ATTRIBUTE, None) is None:
        try:
            setattr(function, _ATTRIBUTE, definition)
        except (AttributeError, TypeError):
            return  # A bound method or a partial of a slotted class: only its own registry knows its name.


def _decorate(kind: Kind, function: F, name: str | None) -> F:
    definition = define(kind, function, name)
    remember(function, definition)
    if "<locals>" not in getattr(function, "__qualname__", "<locals>"):
        MODULE_LEVEL.add(definition)
    return function


@overload
def workflow(function: F) -> F: ...
@overload
def workflow(*, name: str | None = None) -> Callable[[F], F]: ...
def workflow(function: F | None = None, *, name: str | None = None) -> F | Callable[[F], F]:
    """Makes a function a workflow, under its own name or another.

    The function stays as it is: a generator, an ``async def`` or a plain function that takes a
    `DaprWorkflowContext` and at most one input. At module level it is found by every `WorkflowRuntime` of the
    process; a function defined inside another is only found where it is registered.

    Args:
        function: The function, when used without parentheses.
        name: The name on the wire; the function's own name by default.

    Raises:
        RegistrationError: The function cannot be a workflow.
    """
    if function is not None:
        return _decorate("workflow", function, name)
    return lambda decorated: _decorate("workflow", decorated, name)


@overload
def activity(function: F) -> F: ...
@overload
def activity(*, name: str | None = None) -> Callable[[F], F]: ...
def activity(function: F | None = None, *, name: str | None = None) -> F | Callable[[F], F]:
    """Makes a function an activity, under its own name or another.

    The function stays as it is, ``def`` or ``async def``, and takes a `WorkflowActivityContext` and at most one
    input, so a test calls it like any other function.

    Args:
        function: The function, when used without parentheses.
        name: The name on the wire; the function's own name by default.

    Raises:
        RegistrationError: The function cannot be an activity.
    """
    if function is not None:
        return _decorate("activity", function, name)
    return lambda decorated: _decorate("activity", decorated, name)
