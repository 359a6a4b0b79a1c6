"""All cases of the gallery."""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from tests.determinism import bad, good
from tests.determinism.case import Case


def cases() -> list[Case]:
    """All cases, those of one module in its order."""
    return [case for module in _modules(edited=False) for case in module.CASES]


def cases_after_a_deployment() -> list[Case]:
    """All cases, from modules in which something else has changed meanwhile; only for a process of their own."""
    return [case for module in _modules(edited=True) for case in module.CASES]


def _modules(*, edited: bool) -> Iterator[ModuleType]:
    for package in (bad, good):
        for found in pkgutil.iter_modules(package.__path__):
            name = f"{package.__name__}.{found.name}"
            yield _edited(name) if edited else importlib.import_module(name)


def _edited(name: str) -> ModuleType:
    """Imports a module after the edits that it names itself: pairs of old and new text."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.origin is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    source = Path(spec.origin).read_text(encoding="utf-8")
    body, mark, edits = source.partition("\nEDITS = ")
    if mark:
        for old, new in eval(edits):
            assert body.count(old) == 1, old
            body = body.replace(old, new)
    exec(compile(body, spec.origin, "exec"), module.__dict__)
    return module
