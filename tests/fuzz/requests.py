"""Makes requests from a seed: bytes that are nothing, and messages that are well formed and make no sense."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

_INTEGERS = (0, 1, 2, 3, -1, 7, 100, 2**31 - 1, -(2**31), 2**32 - 1, 2**53, 2**62, 2**63 - 1, -(2**63), 253402300799)
_TEXTS = (
    *("", "one", "two", "three", "flow", "work", "go", "a:b", "one:0001", "::", "../../etc/passwd", "' OR 1=1 --"),
    *("\x00", "\x00one", "ä", "\U0001f600", "\u202e", "x" * 64, "x" * 65, "x" * 1025, "x" * 5000, "%s%n", "null", "0"),
    *("{}", '"text"', "{" * 2000, "[" * 2000, "1e999", "NaN", "Infinity", '{"$type": "x"}', "\n\r\n\r\n", "unknown"),
)
METHODS = tuple(
    method
    for name in dir(methods)
    if isinstance(method := getattr(methods, name), methods.Method) and method.name not in ("GetWorkItems", "Notices")
)
STREAMS = (methods.GET_WORK_ITEMS, methods.NOTICES)


class Maker:
    """Makes requests; the same seed makes the same."""

    def __init__(self, seed: int, ids: tuple[str, ...]) -> None:
        """Prefers these ids of instances, so that requests meet something."""
        self.random = random.Random(seed)
        self._ids = ids
        self.tokens: list[str] = []

    def text(self) -> str:
        chance = self.random.random()
        if chance < 0.35:
            return self.random.choice(self._ids)
        if chance < 0.45 and self.tokens:
            return self.random.choice(self.tokens)
        if chance < 0.9:
            return self.random.choice(_TEXTS)
        return "".join(chr(self._character()) for _ in range(self.random.randrange(20)))

    def _character(self) -> int:
        while 0xD800 <= (code := self.random.randrange(0x110000)) < 0xE000:
            pass
        return code

    def bytes(self) -> bytes:
        return self.random.randbytes(self.random.choice((0, 1, 2, 5, 20, 200, 3000)))

    def message(self, kind: type[Message]) -> Message:
        """A message with any values in any of its fields."""
        message = kind()
        self._fill(message, 0)
        return message

    def _fill(self, message: Message, depth: int) -> None:
        fields = message.DESCRIPTOR.fields
        chance = 0.7 if depth == 0 else 0.45
        for field in fields:
            if self.random.random() > chance:
                continue
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                for _ in range(self.random.randrange(3)):
                    getattr(message, field.name)[self.text()] = self.text()
            elif field.is_repeated:
                for _ in range(self.random.choice((0, 1, 1, 2, 5))):
                    self._add(getattr(message, field.name), field, depth)
            elif field.message_type is not None:
                if depth < 6:
                    getattr(message, field.name).SetInParent()
                    self._fill(getattr(message, field.name), depth + 1)
                    if field.message_type is message.DESCRIPTOR and self.random.random() < 0.1:
                        self._nest(message, field.name)
            else:
                setattr(message, field.name, self._scalar(field))

    def _add(self, values: Any, field: FieldDescriptor, depth: int) -> None:
        if field.message_type is None:
            values.append(self._scalar(field))
        elif depth < 5:
            self._fill(values.add(), depth + 1)

    def _nest(self, message: Any, name: str) -> None:
        for _ in range(self.random.randrange(85)):
            message = getattr(message, name)
            message.SetInParent()

    def _scalar(self, field: FieldDescriptor) -> Any:
        kind = field.cpp_type
        if kind == FieldDescriptor.CPPTYPE_STRING:
            return self.bytes() if field.type == FieldDescriptor.TYPE_BYTES else self.text()
        if kind == FieldDescriptor.CPPTYPE_BOOL:
            return self.random.random() < 0.5
        if kind in (FieldDescriptor.CPPTYPE_DOUBLE, FieldDescriptor.CPPTYPE_FLOAT):
            return self.random.choice((0.0, -1.0, 0.01, 1e300, float("inf"), float("nan")))
        if kind == FieldDescriptor.CPPTYPE_ENUM:
            return self.random.choice((0, 1, 2, 3, 6, 7, 8, 99, -1))
        value = self.random.choice(_INTEGERS)
        bits, signed = {
            FieldDescriptor.CPPTYPE_INT32: (32, True),
            FieldDescriptor.CPPTYPE_UINT32: (32, False),
            FieldDescriptor.CPPTYPE_INT64: (64, True),
            FieldDescriptor.CPPTYPE_UINT64: (64, False),
        }[kind]
        value %= 2**bits
        return value - 2**bits if signed and value >= 2 ** (bits - 1) else value

    def rpc(self, kind: type[Message]) -> bytes:
        """A request, and sometimes a damaged one, or none at all."""
        chance = self.random.random()
        if chance < 0.1:
            return self.bytes()
        data = bytearray(self.message(kind).SerializeToString())
        if chance < 0.3 and data:
            for _ in range(self.random.randrange(1, 4)):
                data[self.random.randrange(len(data))] = self.random.randrange(256)
        if chance > 0.95:
            del data[self.random.randrange(len(data) + 1) :]
        if chance > 0.97:
            data += self.bytes()
        return bytes(data)

    def metadata(self) -> tuple[tuple[str, str], ...]:
        """Metadata of a call."""
        if self.random.random() < 0.9:
            return ()
        value = self.random.choice(("", "app", "other", "x" * 300, "a b", "../x", "0"))
        return ((self.random.choice(("dapr-app-id", "dapr-api-token", "grpc-timeout-x", "traceparent")), value),)

    def http(self) -> HttpRequest:
        """A request to a route, or near one."""
        one = self.random.choice
        operation = one(
            ("start", "terminate", "pause", "resume", "purge", "rerun", "history", "raiseEvent/go", "", "x")
        )
        name = quote(self.text()[:2000], safe=one(("", "/")))
        prefix = one(("/v1.0", "/v1.0-beta1", "/v1.0-alpha1", "/v1.0", "/v2.0"))
        path = one(
            (
                f"{prefix}/workflows/dapr/{name}/{operation}",
                f"{prefix}/workflows/dapr/{name}",
                f"{prefix}/workflows/{name}",
                f"{prefix}/{one(('healthz', 'metadata', 'openapi.json', 'healthz/outbound'))}",
                f"{prefix}/workflows/dapr/one/raiseEvent/{name}",
            )
        )
        parameters = (
            *("instanceID", "newInstanceID", "eventID", "pageSize", "continuationToken", "status", "name"),
            "x",
        )
        query = "&".join(f"{one(parameters)}={quote(self.text()[:2000])}" for _ in range(self.random.randrange(4)))
        headers = {}
        if self.random.random() < 0.1:
            header = one(("host", "origin", "sec-fetch-site", "content-type", "dapr-api-token"))
            headers[header] = one(("", "evil.example", "null", "cross-site", "[", "localhost:x", "0", "-1"))
        method = one(("GET", "POST", "POST", "PUT", "DELETE", "HEAD", "OPTIONS", "PATCH", "X"))
        body = one((b"", self.bytes(), self.text().encode()))
        return HttpRequest(method, f"{path}?{query}" if query else path, headers, body)

    def raw_http(self) -> bytes:
        """Bytes for an HTTP port that are a request nearly or not at all."""
        request = self.http()
        lines = [f"{request.method} {request.path} HTTP/1.1", "host: localhost", f"content-length: {len(request.body)}"]
        data = bytearray("\r\n".join([*lines, "", ""]).encode("latin-1", "replace") + request.body)
        for _ in range(self.random.randrange(1, 6)):
            data[self.random.randrange(len(data))] = self.random.randrange(256)
        return bytes(data) if self.random.random() < 0.8 else self.bytes()


@dataclass(frozen=True)
class HttpRequest:
    """What is sent."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


__all__ = ["METHODS", "STREAMS", "HttpRequest", "Maker", "pb"]
