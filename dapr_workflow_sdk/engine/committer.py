"""Group commit: while one transaction is on its way to the disk, the next one collects."""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
from collections.abc import Callable, Sequence

from dapr_workflow_sdk.engine.state import Change
from dapr_workflow_sdk.engine.stores.base import Store

logger = logging.getLogger("dapr_workflow_sdk.engine")

# One transaction is kept short, so that nobody waits long for somebody else's work.
_LARGEST_GROUP = 512

# Called when changes are durable, with None, or when they cannot be, with the error.
Committed = Callable[["Exception | None"], None]


class Committer:
    """Commits changes in the order in which they were submitted.

    Each submission is atomic; several may share a transaction. If a transaction fails, everything that was submitted
    after its changes is refused too, because it builds on them. A store that does not wait is written to at once.
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
        self._waiting: list[tuple[Sequence[Change], Committed]] = []
        self._busy = False
        self._idle: asyncio.Event | None = None
        self._writer = _Writer(store) if store.waits else None

    @property
    def busy(self) -> bool:
        """Whether something is not durable yet."""
        return self._busy

    def submit(self, changes: Sequence[Change]) -> asyncio.Future[None]:
        """Has the changes committed together; the future is done when they are durable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def committed(error: Exception | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(None)
            else:
                future.set_exception(error)
                # Nobody may be waiting for it any more, and the failure is already in the log.
                future.exception()

        self.commit(changes, committed)
        return future

    def commit(self, changes: Sequence[Change], committed: Committed) -> None:
        """Has the changes committed together; `committed` is called on the loop when they are, or cannot be.

        It is called before this method returns if the store does not wait.
        """
        if self._writer is None:
            self._commit_now(changes, committed)
            return
        self._waiting.append((changes, committed))
        if not self._busy:
            self._busy = True
            # What else is submitted in this pass of the loop shares the transaction.
            asyncio.get_running_loop().call_soon(self._write_next)

    def _commit_now(self, changes: Sequence[Change], committed: Committed) -> None:
        try:
            self._store.write(changes)
            self._store.sync()
        except Exception as error:  # noqa: BLE001 - whatever the store says, the submitter must be told
            self._fail(error)
            _tell(committed, error)
        else:
            committed(None)
        self._on_idle()

    def _write_next(self) -> None:
        assert self._writer is not None
        group = self._waiting[:_LARGEST_GROUP]
        del self._waiting[: len(group)]
        loop = asyncio.get_running_loop()
        changes = [change for submitted, _ in group for change in submitted]
        try:
            # The statements run here: beside the loop they would only fight over the interpreter's lock.
            self._store.write(changes)
        except Exception as error:  # noqa: BLE001 - whatever the store says, the submitters must be told
            loop.call_soon(self._written, group, error)
            return

        def written(error: Exception | None) -> None:
            loop.call_soon_threadsafe(self._written, group, error)

        self._writer.sync(written)

    def _written(self, group: list[tuple[Sequence[Change], Committed]], error: Exception | None) -> None:
        if error is not None:
            group += self._waiting
            self._waiting = []
            self._fail(error)
        for _, committed in group:
            _tell(committed, error)
        if self._waiting:
            self._write_next()
            return
        self._busy = False
        if self._idle is not None:
            self._idle.set()
        self._on_idle()

    def _fail(self, error: Exception) -> None:
        try:
            self._on_failure(error)
        except Exception:
            logger.exception("The engine could not take its unfinished steps back")

    async def drain(self) -> None:
        """Waits until everything submitted is durable, and ends the thread."""
        while self._busy:
            self._idle = asyncio.Event()
            await self._idle.wait()
        if self._writer is not None:
            self._writer.stop()


def _tell(committed: Committed, error: Exception | None) -> None:
    try:
        committed(error)
    except Exception:
        logger.exception("What follows from a commit failed")


class _Writer:
    """The thread that waits for the disk."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._work: queue.SimpleQueue[Committed | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def sync(self, done: Committed) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="dapr-workflow-commit", daemon=True)
            self._thread.start()
        self._work.put(done)

    def _run(self) -> None:
        while (done := self._work.get()) is not None:
            try:
                self._store.sync()
            except Exception as error:  # noqa: BLE001 - as above
                done(error)
            else:
                done(None)

    def stop(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None:
            self._work.put(None)
            thread.join()
