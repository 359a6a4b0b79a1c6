"""The stream of work items: opened, read, and opened again whenever it breaks, for ever."""

from __future__ import annotations

import asyncio
import logging
import random

from dapr_workflow_sdk.errors import TaskHubError
from dapr_workflow_sdk.taskhub.port import TaskHub, WorkerOffer
from dapr_workflow_sdk.worker.delivery import Session
from dapr_workflow_sdk.worker.dispatcher import Dispatcher

logger = logging.getLogger("dapr_workflow_sdk.worker")

_FIRST_PAUSE = 0.1
_LONGEST_PAUSE = 10.0
# Seconds after which a stream counts as healthy, so that its end is no sign of continuing trouble.
_HEALTHY = 5.0
_HELLO_TIMEOUT = 10.0


class Poller:
    """Reads work items and gives them to a dispatcher."""

    def __init__(self, hub: TaskHub, dispatcher: Dispatcher, offer: WorkerOffer) -> None:
        """Reads nothing until `run`."""
        self._hub = hub
        self._dispatcher = dispatcher
        self._offer = offer
        self.subscribed = asyncio.Event()

    async def run(self) -> None:
        """Reads until cancelled, or until the task hub is closed for good."""
        pause = _FIRST_PAUSE
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            try:
                await self._hub.connect(_HELLO_TIMEOUT)
                await self._read()
                reason = "it ended the stream"
            except TaskHubError as error:
                reason = str(error)
            except Exception as error:
                # A worker that gives up is worse than one that complains: the cause may pass.
                logger.exception("Reading work items from %s failed", self._hub.description)
                reason = repr(error)
            if self._hub.closed:
                logger.warning("No more work comes from %s: it is closed.", self._hub.description)
                return
            if loop.time() - began > _HEALTHY:
                pause = _FIRST_PAUSE
            logger.warning("Connecting again to %s: %s", self._hub.description, reason)
            await asyncio.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(pause * 2, _LONGEST_PAUSE)

    async def _read(self) -> None:
        session = Session()
        try:
            async with self._hub.work_items(self._offer) as items:
                self.subscribed.set()
                async for item in items:
                    await self._dispatcher.submit(item, session)
        finally:
            session.over = True
            self.subscribed.clear()
