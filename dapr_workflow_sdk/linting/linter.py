"""The linter: of functions that are loaded, and of files that are not."""

from __future__ import annotations

import ast
import functools
import linecache
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import CodeType
from typing import Any, TypeVar

from dapr_workflow_sdk.authoring.definitions import _innermost, name_of
from dapr_workflow_sdk.errors import RegistrationError
from dapr_workflow_sdk.linting.discovery import Discovery
from dapr_workflow_sdk.linting.evaluator import Evaluator
from dapr_workflow_sdk.linting.findings import Finding
from dapr_workflow_sdk.linting.inspection import inspect_workflow
from dapr_workflow_sdk.linting.project import Module, Project, python_files
from dapr_workflow_sdk.linting.scopes import DEFINITIONS

T = TypeVar("T")

# How many functions the linter remembers the findings of.
_REMEMBERED = 4096
_KNOWN: dict[int, tuple[CodeType, tuple[Finding, ...]]] = {}


def lint(workflow: Callable[..., Any]) -> list[Finding]:
    """Looks at one workflow, and at the functions of its package that it calls.

    The source is read and not run. A function whose source is not there has no findings.

    Args:
        workflow: The function, decorated or not.

    Returns:
        What was found, in the order of files and lines; an empty list is good news.
    """
    return Session().lint(workflow)


class Session:
    """Looks at functions that are loaded, and reads each of their files once."""

    def __init__(self) -> None:
        """Starts with nothing read."""
        self._names: dict[Path, dict[str, Any]] = {}
        self._texts: dict[str, Module | None] = {}
        self._project = Project()
        self._evaluator = Evaluator(self._project, self._value_of)
        self._discovery = Discovery(self._evaluator)

    def lint(self, workflow: Callable[..., Any]) -> list[Finding]:
        """What `lint` says of a function; findings of one that was looked at before are remembered."""
        inner = _innermost(workflow) if callable(workflow) else None
        code = getattr(inner, "__code__", None)
        if not isinstance(code, CodeType):
            return []
        known = _KNOWN.get(id(code))
        if known is None:
            try:
                found = self._lint(code, getattr(inner, "__globals__", {}))
            except (SyntaxError, ValueError, RecursionError):
                found = ()  # The file is not the one that was loaded, or no one can read it.
            if len(_KNOWN) >= _REMEMBERED:
                _KNOWN.clear()
            # Equal code may come from different files, so it is known by its identity; kept, that stays unique.
            known = _KNOWN[id(code)] = code, found
        try:
            name = name_of(workflow)
        except RegistrationError:
            name = code.co_name
        return [replace(finding, workflow=name) for finding in known[1]]

    def _lint(self, code: CodeType, names: dict[str, Any]) -> tuple[Finding, ...]:
        module = self._module(code.co_filename, names)
        node = None if module is None else _node_of(code, module)
        if module is None or node is None:
            return ()
        function = self._evaluator.function(node, module)
        return tuple(inspect_workflow(self._evaluator, self._discovery, function))

    def _module(self, file: str, names: dict[str, Any]) -> Module | None:
        if file not in self._texts:
            self._texts[file] = None
            linecache.checkcache(file)
            text = "".join(linecache.getlines(file, names))
            if text:
                path = Path(file)
                self._names[path] = names
                module = self._texts[file] = self._project.add(path, text)
                self._discovery.search(module)
        return self._texts[file]

    def _value_of(self, path: Path, name: str) -> Any:
        """A name that a file does not bind: notebooks have their imports in another cell."""
        return self._names.get(path, {}).get(name)


def _node_of(code: CodeType, module: Module) -> ast.AST | None:
    wanted = (*DEFINITIONS, ast.Lambda)
    found = [
        node
        for node in module.names.of
        if isinstance(node, wanted)
        and getattr(node, "name", "<lambda>") == code.co_name
        and min([node.lineno, *(part.lineno for part in getattr(node, "decorator_list", []))]) == code.co_firstlineno
    ]
    return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Problem:
    """A file that could not be looked at.

    Attributes:
        path: The file.
        line: Where Python stumbled, or 0.
        message: Why, as a sentence.
    """

    path: str
    line: int
    message: str


@dataclass(slots=True)
class Survey:
    """What the linter found in files.

    Attributes:
        findings: In the order of files and lines; one for each place and rule, whichever workflows get there.
        problems: Files that could not be looked at.
        files: How many files were looked at.
        workflows: How many workflows were found in them.
    """

    findings: list[Finding] = field(default_factory=list[Finding])
    problems: list[Problem] = field(default_factory=list[Problem])
    files: int = 0
    workflows: int = 0


def lint_paths(paths: Iterable[Path]) -> Survey:
    """Looks at the workflows of files and folders, without importing anything.

    Args:
        paths: Python files, and folders to search for them.

    Raises:
        FileNotFoundError: A path does not exist.
    """
    given = [path.absolute() for path in paths]
    folders = tuple(path for path in given if path.is_dir())
    project = Project((*folders, Path.cwd()))
    survey = Survey()
    modules: dict[Path, Module] = {}
    for path in given:
        if not path.exists():
            raise FileNotFoundError(f"{path} does not exist.")
        for file in python_files(path):
            module = _read(project, file, survey)
            if module is not None:
                modules[file] = module
    evaluator = Evaluator(project)
    discovery = Discovery(evaluator)
    for module in modules.values():
        _guarded(survey, module, functools.partial(discovery.search, module))
    workflows = discovery.workflows(list(modules.values()))
    found: dict[tuple[str, int, int, str], Finding] = {}
    for workflow in workflows:
        inspect = functools.partial(inspect_workflow, evaluator, discovery, workflow)
        for finding in _guarded(survey, workflow.module, inspect) or ():
            found.setdefault((finding.path, finding.line, finding.column, finding.rule_id), finding)
    survey.files, survey.workflows = len(modules), len(workflows)
    survey.findings = [_shown(found[key]) for key in sorted(found)]
    return survey


def _guarded(survey: Survey, module: Module, work: Callable[[], T]) -> T | None:
    try:
        return work()
    except RecursionError:
        problem = Problem(_relative(str(module.path)), 0, "It is nested too deeply to be looked at.")
        if problem not in survey.problems:
            survey.problems.append(problem)
        return None


def _read(project: Project, file: Path, survey: Survey) -> Module | None:
    line = 0
    try:
        return project.read(file)
    except SyntaxError as error:
        line, message = error.lineno or 0, f"It is not Python that this version knows: {error.msg}."
    except (OSError, ValueError) as error:
        message = f"It cannot be read: {error}."
    except (RecursionError, MemoryError):
        message = "It is nested too deeply to be looked at."
    survey.problems.append(Problem(_relative(str(file)), line, message))
    return None


def _relative(path: str) -> str:
    """A path as people write it here."""
    try:
        return str(Path(path).relative_to(Path.cwd()))
    except ValueError:
        return path


def _shown(finding: Finding) -> Finding:
    return replace(
        finding,
        path=_relative(finding.path),
        workflow_path=_relative(finding.workflow_path),
        steps=tuple(replace(step, path=_relative(step.path)) for step in finding.steps),
    )
