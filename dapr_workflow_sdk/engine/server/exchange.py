"""One worker's exchange of items and answers with the engine, over one stream in both directions.

What is ready when the stream is free travels in one message, so a busy worker costs few messages and an idle one waits
for nothing. Only workers of this package know it; others have a stream of items and a call for each answer.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any

import grpc
import grpc.aio

from dapr_workflow_sdk.engine.hub import EngineHub
from dapr_workflow_sdk.engine.server.checks import inspect, parse
from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.engine.server.work_items import refuse_if_too_large, to_wire
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.errors import TaskHubError
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# A message is filled up to this many bytes and items; one item alone may be larger.
_MESSAGE_BYTES = 1024 * 1024
_MOST_ITEMS = 200


class Exchange:
    """Reads a worker's answers and writes what it is to do."""

    def __init__(
        self, hub: EngineHub, worker: Subscription, limits: Limits, write: Callable[[pb.EngineMessage], Awaitable[None]]
    ) -> None:
        """Does nothing until `read_answers` and `write_items` run.

        Args:
            hub: Where the answers go.
            worker: What the engine sends.
            limits: How much a message may have.
            write: Sends a message to the worker.
        """
        self._hub = hub
        self._worker = worker
        self._limits = limits
        self._write = write
        self._outcomes: deque[pb.CompletionOutcome] = deque()

    async def read_answers(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Takes answers until the worker ends its side.

        Raises:
            InvalidOperationError: What it sent is no message.
        """
        while True:
            data: Any = await context.read()
            if data is grpc.aio.EOF:
                return
            message = parse(pb.WorkerMessage, data)
            for turn in message.turns:
                self._take(turn, self._hub.complete_turn)
            for activity in message.activities:
                self._take(activity, self._hub.complete_activity)

    def _take(self, answer: Any, complete: Callable[[Any], asyncio.Future[None]]) -> None:
        token: str = answer.completionToken
        try:
            inspect(answer, answer.ByteSize(), self._limits)
            done = complete(answer)
        except TaskHubError as error:
            self._tell(token, error)
            return
        if done.done() and not done.cancelled():
            self._tell(token, done.exception())
        else:
            done.add_done_callback(lambda _: self._tell(token, None if done.cancelled() else done.exception()))

    def _tell(self, token: str, error: BaseException | None) -> None:
        outcome = pb.CompletionOutcome(completionToken=token)
        if error is not None:
            code = error.code() if isinstance(error, TaskHubError) else grpc.StatusCode.INTERNAL
            outcome.code = code.value[0]
            outcome.details = error.details() if isinstance(error, TaskHubError) else repr(error)
        self._outcomes.append(outcome)
        self._worker.wake()

    async def write_items(self) -> None:
        """Sends items and outcomes until the engine closes."""
        while True:
            message, over = await self._next_message()
            if message.items or message.outcomes:
                await self._write(message)
            elif over:
                return
            else:
                await self._worker.something()

    async def _next_message(self) -> tuple[pb.EngineMessage, bool]:
        message = pb.EngineMessage()
        size = 0
        while self._outcomes and size < _MESSAGE_BYTES:
            outcome = self._outcomes.popleft()
            size += outcome.ByteSize()
            message.outcomes.append(outcome)
        while len(message.items) < _MOST_ITEMS and size < _MESSAGE_BYTES and self._worker.unread:
            item = self._worker.take()
            if item is None:
                return message, True
            wire = to_wire(item)
            length = wire.ByteSize()
            if await refuse_if_too_large(self._hub, item, length, self._limits):
                continue
            size += length
            message.items.append(wire)
        return message, self._worker.ended
