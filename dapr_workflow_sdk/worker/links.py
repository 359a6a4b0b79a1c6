"""Ties between running activities and the task hub: heartbeats up, cancellation down."""

from __future__ import annotations

import asyncio
import logging
import threading
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import TaskHubError
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

logger = logging.getLogger("dapr_workflow_sdk.worker")

_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0


class ActivityLinks:
    """The links of the activities of one worker."""

    def __init__(self, hub: TaskHub, converter: Converter, worker_id: str) -> None:
        """Links nothing yet; to be made on the worker's loop.

        Args:
            hub: The task hub.
            converter: How details are written and read.
            worker_id: What the worker calls itself.
        """
        self.hub = hub
        self.converter = converter
        self.loop = asyncio.get_running_loop()
        self._worker_id = worker_id
        self._links: dict[str, Link] = {}
        self._sending: set[asyncio.Task[None]] = set()

    def open(self, request: pb.ActivityRequest, token: str) -> Link:
        """Links an activity that begins."""
        link = self._links[token] = Link(self, request, token)
        return link

    def close(self, link: Link) -> None:
        """Forgets an activity that is over."""
        if self._links.get(link.token) is link:
            del self._links[link.token]

    def send(self, link: Link) -> None:
        """Begins to send an activity's heartbeats, unless it is being done; to be called on the worker's loop."""
        if link.sending or self._links.get(link.token) is not link:
            return
        link.sending = True
        task = self.loop.create_task(link.send_all())
        self._sending.add(task)
        task.add_done_callback(self._sending.discard)

    async def listen(self) -> None:
        """Takes notices of what is in vain until cancelled; ends where the task hub has none."""
        pause = _FIRST_PAUSE
        while not self.hub.closed:
            try:
                if not (await self.hub.capabilities()).extensions:
                    return
                async with self.hub.notices(self._worker_id) as notices:
                    async for notice in notices:
                        pause = _FIRST_PAUSE
                        link = self._links.get(notice.completionToken)
                        if link is not None:
                            logger.info("%s: activity %s is in vain: %s", link.instance_id, link.name, notice.reason)
                            link.cancel()
            except TaskHubError as error:
                logger.debug("No notices from %s: %s", self.hub.description, error)
            await asyncio.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)


class Link:
    """One running activity's tie to the task hub; safe to use from the activity's thread."""

    __slots__ = ("_cancelled", "_details", "_links", "_request", "_timeout", "_waiting", "sending", "token")

    def __init__(self, links: ActivityLinks, request: pb.ActivityRequest, token: str) -> None:
        self._links = links
        self._request = request
        self.token = token
        self._cancelled = False
        self._waiting: threading.Event | None = None
        self._details: tuple[str | None] | None = None
        self._timeout = 0.0
        self.sending = False

    @property
    def instance_id(self) -> str:
        """The caller."""
        return self._request.workflowInstance.instanceId

    @property
    def name(self) -> str:
        """Name of the activity."""
        return self._request.name

    @property
    def cancelled(self) -> bool:
        """Whether nobody waits for the activity any more."""
        return self._cancelled

    def cancel(self) -> None:
        """Notes that nobody does."""
        self._cancelled = True
        if self._waiting is not None:
            self._waiting.set()

    def wait_cancelled(self, timeout: float | None) -> bool:
        """Waits for that, in a thread."""
        if self._waiting is None:
            self._waiting = threading.Event()
        return self._cancelled or self._waiting.wait(timeout)

    def heartbeat(self, details: Any, timeout: timedelta | None) -> None:
        """Gives a sign of life."""
        self._details = (None if details is None else self._links.converter.encode(details),)
        if timeout is not None:
            self._timeout = timeout.total_seconds()
        self._links.loop.call_soon_threadsafe(self._links.send, self)

    def last_details(self) -> Any:
        """What the last try said in its last heartbeat."""
        if not self._request.HasField("heartbeatDetails"):
            return None
        return self._links.converter.decode(self._request.heartbeatDetails.value)

    async def send_all(self) -> None:
        """Sends what there is to say until nothing is left."""
        try:
            hub = self._links.hub
            if not (await hub.capabilities()).extensions:
                return
            while (said := self._details) is not None:
                self._details = None
                request = pb.HeartbeatRequest(
                    instanceId=self.instance_id,
                    taskId=self._request.taskId,
                    completionToken=self.token,
                    timeoutSeconds=self._timeout,
                )
                if said[0] is not None:
                    request.details.value = said[0]
                answer = await hub.heartbeat(request)
                if answer.cancelled or answer.lost:
                    self.cancel()
        except TaskHubError as error:
            logger.debug("%s: a heartbeat of %s did not arrive: %s", self.instance_id, self.name, error)
        finally:
            self.sending = False
