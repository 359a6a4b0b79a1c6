"""Notices workflow code that does not come back."""

from __future__ import annotations

import logging
import sys
import threading
import time
import traceback

logger = logging.getLogger("dapr_workflow_sdk.worker")


class TurnWatchdog:
    """Reports a turn that runs too long, with the stack it is stuck in.

    Workflow code runs on the worker's loop, so code that blocks stops everything else: it must not go unnoticed. The
    thread sleeps without a timeout while no turns run, so an idle worker costs nothing.
    """

    def __init__(self, limit: float) -> None:
        """Reports turns of more than `limit` seconds."""
        self._limit = limit
        self._current: tuple[str, float, int] | None = None
        self._active = threading.Event()
        self._thread: threading.Thread | None = None
        self._stopped = threading.Event()

    def enter(self, instance_id: str) -> None:
        """A turn begins on the calling thread."""
        self._current = (instance_id, time.monotonic(), threading.get_ident())
        if not self._active.is_set():
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="dapr-workflow-watchdog", daemon=True)
                self._thread.start()
            self._active.set()

    def leave(self) -> None:
        """The turn is over."""
        self._current = None

    def stop(self) -> None:
        """Ends the thread."""
        self._stopped.set()
        self._current = None
        self._active.set()

    def _watch(self) -> None:
        reported: tuple[str, float, int] | None = None
        while not self._stopped.is_set():
            self._active.wait()
            self._stopped.wait(self._limit / 2)
            current = self._current
            if current is None:
                # Nothing ran when this thread looked: sleep until the next turn.
                self._active.clear()
                if self._current is not None:
                    # One began at that very moment, and saw no need to wake this thread.
                    self._active.set()
                continue
            instance_id, began, thread = current
            if current is not reported and time.monotonic() - began > self._limit:
                reported = current
                frame = sys._current_frames().get(thread)
                stack = "".join(traceback.format_stack(frame)) if frame is not None else "(the thread is gone)"
                logger.warning(
                    "A turn of workflow instance %s has been running for more than %.1f s and holds up the worker. "
                    "Workflow code must not block: move slow work into an activity. It is here:\n%s",
                    instance_id,
                    self._limit,
                    stack,
                )
