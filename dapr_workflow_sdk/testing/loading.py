"""Finding the workflows of an application by name, for replays outside of its process."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.errors import RegistrationError


class AppNotFoundError(RegistrationError):
    """A name leads to no workflows; the message says how far it led."""


def load_registry(reference: str) -> Registry:
    """The workflows that a name like ``app.orders:workflows`` stands for.

    Args:
        reference: A module, or the path of a Python file; after a colon, the name of something in it: a list of
            workflows, one workflow, or a `WorkflowRuntime`. Without a colon, all that is decorated at module level. The
            module is imported, with the current folder (or that of the file) first on the path.

    Raises:
        AppNotFoundError: There is no such module, or no such name in it, or it is something else.
    """
    # A drive letter of Windows has a colon, too.
    module_name, colon, attribute = reference.rpartition(":")
    if not colon or "/" in attribute or "\\" in attribute:
        module_name, attribute = reference, ""
    module = _module(module_name)
    if not attribute:
        registry = Registry()
        if not registry.names("workflow"):
            raise AppNotFoundError(
                f"{module_name} defines no workflows with @workflow at module level. Name a list of them after a "
                f"colon: {module_name}:workflows."
            )
        return registry
    value: Any = module
    for name in attribute.split("."):
        if not hasattr(value, name):
            raise AppNotFoundError(f"{module_name} has no {attribute!r}, named by {reference!r}.")
        value = getattr(value, name)
    return _registry_of(value, reference)


def _registry_of(value: Any, reference: str) -> Registry:
    from dapr_workflow_sdk.worker.runtime import WorkflowRuntime

    if isinstance(value, WorkflowRuntime):
        return value._registry
    if isinstance(value, Registry):
        return value
    registry = Registry(module_level=False)
    kind = type(value).__name__
    functions: list[Any] = [value] if callable(value) else list(value) if hasattr(value, "__iter__") else []
    if not functions or not all(map(callable, functions)):
        raise AppNotFoundError(
            f"{reference} is a {kind}; expected is a list of workflows, a workflow or a WorkflowRuntime."
        )
    for function in functions:
        registry.add("workflow", function)
    return registry


def _module(name: str) -> ModuleType:
    path = Path(name)
    is_file = path.suffix == ".py"
    if is_file and not path.is_file():
        raise AppNotFoundError(f"There is no file {name}.")
    _look_in(path.resolve().parent if is_file else Path.cwd())
    try:
        return _module_of_file(path) if is_file else importlib.import_module(name)
    except Exception as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise AppNotFoundError(f"There is no module {name!r} in {Path.cwd()} or on the path.") from error
        raise AppNotFoundError(f"{name} cannot be imported: {type(error).__name__}: {error}") from error


def _module_of_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no module")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _look_in(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))
