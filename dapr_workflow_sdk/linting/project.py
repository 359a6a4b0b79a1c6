"""Source files and the imports between them; nothing is executed."""

from __future__ import annotations

import ast
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

from dapr_workflow_sdk.linting.comments import Allowances
from dapr_workflow_sdk.linting.scopes import Binding, ScopeTree

# Packages whose names mean something to the rules; their own code is not looked into.
OURS = ("dapr_workflow_sdk", "dapr", "durabletask")
_SKIPPED = frozenset({"__pycache__", "node_modules", "site-packages", "build", "dist"})


class Module:
    """One parsed file."""

    def __init__(self, path: Path, text: str, tree: ast.Module) -> None:
        """Keeps the text and reads the names."""
        self.path = path
        self.text = text
        self.tree = tree
        self.names = ScopeTree(tree, declares="global " in text or "nonlocal " in text)

    @cached_property
    def lines(self) -> list[str]:
        """The lines of the text."""
        return self.text.splitlines()

    def column(self, line: int, offset: int) -> int:
        """The column, from 1, of what Python's parser counts in bytes."""
        text = self.lines[line - 1] if 0 < line <= len(self.lines) else ""
        if text.isascii():
            return offset + 1
        return len(text.encode()[:offset].decode(errors="ignore")) + 1

    @cached_property
    def allowances(self) -> Allowances:
        """What its comments accept."""
        return Allowances(self.text)

    @cached_property
    def roots(self) -> tuple[Path, ...]:
        """Where its absolute imports may lead: the folder above its package, and its own."""
        folder = self.path.parent
        while (folder / "__init__.py").is_file() and folder.parent != folder:
            folder = folder.parent
        return (folder,) if folder == self.path.parent else (folder, self.path.parent)

    @cached_property
    def uses_workflows(self) -> bool:
        """Whether it imports this package or the official SDK."""
        return any(
            binding.module.split(".")[0] in OURS
            for scope in self.names.of.values()
            for binding in (*(b for found in scope.bindings.values() for b in found), *scope.stars)
            if binding.kind == "import"
        )


class Project:
    """The files that one run of the linter has read."""

    def __init__(self, roots: tuple[Path, ...] = ()) -> None:
        """Starts with nothing read.

        Args:
            roots: Further folders where absolute imports may lead.
        """
        self._extra_roots = roots
        self._modules: dict[Path, Module | None] = {}
        self._places: dict[tuple[Path, str], Path | None] = {}

    def add(self, path: Path, text: str) -> Module:
        """Parses a text as the content of a file.

        Raises:
            SyntaxError: It is not Python.
        """
        # Parsing repeats the warnings that Python gave when the file was imported.
        import warnings

        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text, filename=str(path))
        module = self._modules[path] = Module(path, text, tree)
        return module

    def read(self, path: Path) -> Module:
        """The module of a file.

        Raises:
            OSError: It cannot be read.
            SyntaxError: It is not Python.
            ValueError: It is not text.
        """
        known = self._modules.get(path)
        if known is not None:
            return known
        with tokenize.open(path) as file:
            text = file.read()
        return self.add(path, text)

    def load(self, path: Path) -> Module | None:
        """The module of a file, or None if it cannot be read; that is then somebody else's business."""
        if path not in self._modules:
            try:
                self.read(path)
            except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
                self._modules[path] = None
        return self._modules[path]

    def find(self, importer: Module, binding: Binding, name: str) -> Path | None:
        """The file or folder of a module that an import names, if it belongs to the project of the importer."""
        if binding.level:
            folder = importer.path.parent
            for _ in range(binding.level - 1):
                folder = folder.parent
            return self._find_under(folder, name)
        if not name or name.split(".", maxsplit=1)[0] in OURS:
            return None
        for root in (*importer.roots, *self._extra_roots):
            found = self._find_under(root, name)
            if found is not None and found != importer.path:
                return found
        return None

    def _find_under(self, root: Path, name: str) -> Path | None:
        key = (root, name)
        if key not in self._places:
            self._places[key] = self._look(root, name)
        return self._places[key]

    @staticmethod
    def _look(root: Path, name: str) -> Path | None:
        place = root.joinpath(*name.split(".")) if name else root
        for file in (place.with_name(f"{place.name}.py"), place / "__init__.py"):
            if name and file.is_file():
                return file
        if not name and (place / "__init__.py").is_file():
            return place / "__init__.py"
        # A folder without __init__.py is a package only for what is in it.
        return place if place.is_dir() and any(place.glob("*.py")) else None

    def below(self, place: Path, name: str) -> Path | None:
        """The file or folder of a module inside of a package."""
        folder = place.parent if place.name == "__init__.py" else place
        return self._find_under(folder, name) if folder.is_dir() else None


def python_files(path: Path) -> Iterator[Path]:
    """The Python files of a folder, in order, without those of environments and caches; or the file itself."""
    if not path.is_dir():
        yield path
        return
    for entry in sorted(path.iterdir()):
        if entry.is_dir():
            skipped = entry.name.startswith(".") or entry.name in _SKIPPED or (entry / "pyvenv.cfg").is_file()
            if not skipped and not entry.is_symlink():
                yield from python_files(entry)
        elif entry.suffix == ".py":
            yield entry
