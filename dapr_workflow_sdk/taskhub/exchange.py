"""A worker's side of the exchange with the engine: items in, answers out, over one stream.

What is ready when the stream is free travels in one message. The other end is `engine.server.exchange`; a Dapr sidecar
does not have it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import grpc.aio

from dapr_workflow_sdk.taskhub.failures import of_code, unavailable
from dapr_workflow_sdk.taskhub.port import WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

logger = logging.getLogger("dapr_workflow_sdk.taskhub")

# A message is filled up to this many bytes; a larger answer goes by a call of its own, whose limits are its own, too.
MESSAGE_BYTES = 1024 * 1024


class WorkerExchange:
    """One open stream."""

    def __init__(self, call: Any, where: str, read_item: Callable[[pb.WorkItem], WorkItem | None]) -> None:
        """Takes over a stream that was just opened.

        Args:
            call: The stream.
            where: The task hub, for messages.
            read_item: Reads an item.
        """
        self._call = call
        self._where = where
        self._read_item = read_item
        self._answers: deque[pb.WorkflowResponse | pb.ActivityResponse] = deque()
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self._ready = asyncio.Event()
        # Read whether anybody takes the items or not: answers are acknowledged on the same stream.
        self._arrived: asyncio.Queue[WorkItem | None] = asyncio.Queue()
        self._error: grpc.RpcError | None = None
        loop = asyncio.get_running_loop()
        self._tasks = [loop.create_task(self._write_answers()), loop.create_task(self._read())]

    def send(self, answer: pb.WorkflowResponse | pb.ActivityResponse) -> asyncio.Future[None]:
        """Sends an answer; the future is done when it is durable, and fails when the stream ends before."""
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[answer.completionToken] = done
        self._answers.append(answer)
        self._ready.set()
        return done

    async def _write_answers(self) -> None:
        try:
            while True:
                await self._ready.wait()
                self._ready.clear()
                while self._answers:
                    await self._call.write(self._next_message())
        except (grpc.RpcError, asyncio.InvalidStateError) as error:
            # Whoever reads the items learns of it, too, and opens another stream.
            logger.debug("The stream to %s is broken", self._where, exc_info=error)

    def _next_message(self) -> pb.WorkerMessage:
        message = pb.WorkerMessage()
        size = 0
        while self._answers and size < MESSAGE_BYTES:
            answer = self._answers.popleft()
            size += answer.ByteSize()
            if isinstance(answer, pb.WorkflowResponse):
                message.turns.append(answer)
            else:
                message.activities.append(answer)
        return message

    async def items(self) -> AsyncIterator[WorkItem]:
        """Items as they come.

        Raises:
            grpc.RpcError: The stream broke.
        """
        while (item := await self._arrived.get()) is not None:
            yield item
        if self._error is not None:
            raise self._error

    async def _read(self) -> None:
        try:
            while (message := await self._call.read()) is not grpc.aio.EOF:
                for outcome in message.outcomes:
                    self._settle(outcome)
                for wire in message.items:
                    item = self._read_item(wire)
                    if item is not None:
                        self._arrived.put_nowait(item)
        except grpc.RpcError as error:
            self._error = error
        finally:
            self._arrived.put_nowait(None)

    def _settle(self, outcome: pb.CompletionOutcome) -> None:
        done = self._waiting.pop(outcome.completionToken, None)
        if done is None or done.done():
            return
        if outcome.code:
            done.set_exception(of_code(outcome.code, outcome.details, "complete a work item", "", self._where))
        else:
            done.set_result(None)

    async def close(self) -> None:
        """Ends the stream; answers that nobody has acknowledged fail."""
        for task in self._tasks:
            task.cancel()
        self._call.cancel()
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            if not done.done():
                done.set_exception(unavailable(f"The stream to {self._where} ended before it acknowledged this."))
                done.exception()
        await asyncio.gather(*self._tasks, return_exceptions=True)
