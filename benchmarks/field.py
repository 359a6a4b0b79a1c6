"""Who takes part in the races of `engine.py`, each started when a race first needs it and kept for the next one."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from children import Child
from peers import DAPR, DBOS, DURABLETASK, TITLES, daprd, dbos_python
from typing_extensions import Self

if TYPE_CHECKING:
    from types import TracebackType

MEMORY, MEMORY_ASYNC = "ours, memory", "ours, memory, async def"
SQLITE, SQLITE_ASYNC = "ours, SQLite", "ours, SQLite, async def"
GRPC, GRPC_ASYNC = "ours, gRPC, SQLite", "ours, gRPC, SQLite, async def"


class Field:
    """Contestants by title, in a folder of their own that vanishes with them."""

    def __init__(self, parent: Path | None, without: set[str]) -> None:
        """Starts nothing yet; contestants whose peer is in `without` never take part."""
        self._stack = ExitStack()
        self._children: dict[str, Child] = {}
        self._without = without
        self._served = 0
        self._daprd = 0
        self.folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(dir=parent)))

    def takes_part(self, title: str) -> bool:
        """Whether a contestant is wanted."""
        return not any(TITLES[name] == title for name in self._without)

    def child(self, title: str) -> Child:
        """The process of a contestant."""
        if title not in self._children:
            self._children[title] = self._stack.enter_context(self._start(title))
        return self._children[title]

    def _start(self, title: str) -> Child:
        if title == TITLES[DURABLETASK]:
            return Child({"flavour": "durabletask"})
        if title == TITLES[DBOS]:
            return Child({"flavour": "dbos", "database": str(self.folder / "dbos.db")}, dbos_python())
        if title == TITLES[DAPR]:
            if not self._daprd:
                self._daprd = self._stack.enter_context(daprd())
            return Child({"flavour": "dapr", "port": self._daprd})
        ours: dict[str, Any] = {"flavour": "ours", "asynchronous": title.endswith("async def")}
        if title in (SQLITE, SQLITE_ASYNC):
            ours["database"] = str(self.folder / f"ours-{len(self._children)}.db")
        elif title in (GRPC, GRPC_ASYNC):
            ours["port"] = self.server(f"served-{len(self._children)}.db")
        return Child(ours)

    def server(self, name: str) -> int:
        """An engine on a file in a process of its own; its port."""
        server = Child({"flavour": "server", "database": str(self.folder / name)})
        self._stack.enter_context(server)
        port: int = server.ready["port"]
        return port

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)
