"""Group commit: while one transaction is on its way to the disk, the next one collects."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from dapr_workflow_sdk.engine.state import Change
from dapr_workflow_sdk.engine.stores.base import Store

logger = logging.getLogger("dapr_workflow_sdk.engine")

# One transaction is kept short, so that nobody waits long for somebody else's work.
_LARGEST_GROUP = 512


class Committer:
    """Commits changes in the order in which they were submitted.

    Each submission is atomic; several may share a transaction. If a transaction fails, everything that was submitted
    after its changes is refused too, because it builds on them.
    """

    def __init__(
        self,
        store: Store,
        on_failure: Callable[[BaseException], None],
        on_idle: Callable[[], None] = lambda: None,
    ) -> None:
        """Starts idle.

        Args:
            store: Where changes go.
            on_failure: Called before the submitters learn of a failed transaction.
            on_idle: Called when everything submitted is durable.
        """
        self._store = store
        self._on_failure = on_failure
        self._on_idle = on_idle
        self._waiting: list[tuple[Sequence[Change], asyncio.Future[None]]] = []
        self._running: asyncio.Task[None] | None = None
        self._thread = ThreadPoolExecutor(1, "dapr-workflow-commit") if store.waits else None

    @property
    def busy(self) -> bool:
        """Whether something is not durable yet."""
        return self._running is not None

    def submit(self, changes: Sequence[Change]) -> asyncio.Future[None]:
        """Has the changes committed together; the future is done when they are durable."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        self._waiting.append((changes, future))
        if self._running is None:
            self._running = loop.create_task(self._run())
        return future

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                group, self._waiting = self._waiting[:_LARGEST_GROUP], self._waiting[_LARGEST_GROUP:]
                changes = [change for submitted, _ in group for change in submitted]
                try:
                    if self._thread is None:
                        self._store.commit(changes)
                    else:
                        await loop.run_in_executor(self._thread, self._store.commit, changes)
                except Exception as error:  # noqa: BLE001 - whatever the store says, the submitters must be told
                    group += self._waiting
                    self._waiting = []
                    try:
                        self._on_failure(error)
                    except Exception:
                        logger.exception("The engine could not take its unfinished steps back")
                    for _, future in group:
                        if not future.done():
                            future.set_exception(error)
                            # Nobody may be waiting for it any more, and the failure is already in the log.
                            future.exception()
                else:
                    for _, future in group:
                        if not future.done():
                            future.set_result(None)
        finally:
            self._running = None
            self._on_idle()

    async def drain(self) -> None:
        """Waits until everything submitted is durable, and ends the thread."""
        while self._running is not None:
            await asyncio.wait([self._running])
        if self._thread is not None:
            self._thread.shutdown(wait=True)
