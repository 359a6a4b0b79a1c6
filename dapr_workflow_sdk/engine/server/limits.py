"""How much one request, one caller and one connection may ask of an engine that is served."""

from __future__ import annotations

from collections.abc import Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields
from typing import Any

import grpc
from google.protobuf.message import Message

from dapr_workflow_sdk.errors import TaskHubError

_MIB = 1024 * 1024


@dataclass(frozen=True)
class Limits:
    """Limits of an engine's servers. All are generous: they stop mistakes and attacks, not work.

    Whatever is beyond a limit is refused as a whole, with an answer that names the limit, and changes nothing.

    Attributes:
        message_bytes: The largest gRPC message that is read. Dapr reads 4 MiB; histories of long workflows are larger.
        payload_bytes: The largest single text in a message: an input, a result, the data of an event. A worker whose
            result is larger reports a failed activity. Half a message, so that what comes with it has room.
        body_bytes: The largest body of an HTTP request. It is a payload, so it is not larger than one.
        header_bytes: The largest head of an HTTP request, and the most metadata of a gRPC call.
        id_characters: The longest id that an instance may be started with. Ids of children grow from it.
        name_characters: The longest name of a workflow or an event.
        history_events: The longest history of an instance between two `continue_as_new`.
        page_size: The most instances that one page of a list has; asking for more gets this many.
        worker_streams: How many workers may be subscribed at a time, with those that wait for notices.
        waiting_calls: How many calls may wait for instances at a time, over both servers.
        http_connections: How many HTTP connections may be open at a time.
        head_seconds: How long the head of an HTTP request may take to arrive.
        body_seconds: How long its body may take after that.
        idle_seconds: How long an HTTP connection is kept for another request.
        send_seconds: How long a worker or an HTTP client may take to read what it is sent. A worker that takes longer
            is unsubscribed, and others get its items; Dapr waits as long.
    """

    message_bytes: int = 64 * _MIB
    payload_bytes: int = 32 * _MIB
    body_bytes: int = 32 * _MIB
    header_bytes: int = 16 * 1024
    id_characters: int = 1024
    name_characters: int = 1024
    history_events: int = 100_000
    page_size: int = 1024
    worker_streams: int = 1000
    waiting_calls: int = 10_000
    http_connections: int = 1000
    head_seconds: float = 10.0
    body_seconds: float = 60.0
    idle_seconds: float = 15.0
    send_seconds: float = 10.0

    def __post_init__(self) -> None:
        """Checks them.

        Raises:
            ValueError: One is not above 0.
        """
        for field in fields(self):
            value = getattr(self, field.name)
            if not value > 0:
                raise ValueError(f"The limit {field.name} is {value!r}: limits are above 0.")


def exhausted(message: str) -> TaskHubError:
    """More is asked than a limit allows."""
    return TaskHubError(message, code=grpc.StatusCode.RESOURCE_EXHAUSTED, details=message)


class Places:
    """A number of places that callers take and give back; one object for both servers of an engine."""

    def __init__(self, size: int, what: str) -> None:
        """All are free.

        Args:
            size: How many there are.
            what: What they are, for the message when there is none left.
        """
        self.taken = 0
        self._size = size
        self._what = what

    @contextmanager
    def one(self) -> Generator[None, None, None]:
        """Takes a place for as long as the context lasts.

        Raises:
            TaskHubError: There is none left.
        """
        if self.taken >= self._size:
            raise exhausted(f"This engine has {self._size} {self._what}, as many as its limits allow. Try again later.")
        self.taken += 1
        try:
            yield
        finally:
            self.taken -= 1


def longest_text(message: Message) -> int:
    """Bytes of the longest text anywhere in a message."""
    return max((_longest(value) for _, value in message.ListFields()), default=0)


def _longest(value: Any) -> int:
    if isinstance(value, str):
        return len(value.encode())
    if isinstance(value, bytes):
        return len(value)
    if isinstance(value, Message):
        return longest_text(value)
    if isinstance(value, Mapping):
        return max((_longest(part) for pair in value.items() for part in pair), default=0)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    if isinstance(value, Sequence):
        return max((_longest(part) for part in value), default=0)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    return 0
