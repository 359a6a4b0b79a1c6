"""Raw connections to a served engine, and certificates for it."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import trustme
from google.protobuf.empty_pb2 import Empty


@dataclass(frozen=True)
class Certificates:
    """Files with the certificates of a server and of a client, and the authorities that signed them."""

    ca: Path
    cert: Path
    key: Path
    client_ca: Path
    client_cert: Path
    client_key: Path


def certificates(folder: Path) -> Certificates:
    """Makes certificates for loopback."""
    made = Certificates(*(folder / f"{name}.pem" for name in ("ca", "cert", "key", "cca", "ccert", "ckey")))
    for ca, ca_path, cert_path, key_path, names in (
        (trustme.CA(), made.ca, made.cert, made.key, ("127.0.0.1", "localhost", "::1")),
        (trustme.CA(), made.client_ca, made.client_cert, made.client_key, ("worker",)),
    ):
        issued = ca.issue_cert(*names)
        ca.cert_pem.write_to_path(str(ca_path))
        cert_path.write_bytes(b"".join(blob.bytes() for blob in issued.cert_chain_pems))
        issued.private_key_pem.write_to_path(str(key_path))
    return made


def call(channel: Any, method: str, request: Any = None, response: Any = Empty, **more: Any) -> Any:
    """Calls a method by its path; a request of bytes is sent as it is."""
    stub = channel.unary_unary(
        f"/TaskHubSidecarService/{method}",
        request_serializer=lambda sent: sent if isinstance(sent, bytes) else sent.SerializeToString(),
        response_deserializer=response.FromString,
    )
    return stub(Empty() if request is None else request, timeout=5, **more)


def refused(channel: Any, method: str, request: Any = None, **more: Any) -> tuple[grpc.StatusCode, str]:
    """What a call is refused with."""
    try:
        call(channel, method, request, **more)
    except grpc.RpcError as error:
        failed: Any = error
        return failed.code(), failed.details()
    raise AssertionError(f"{method} was not refused")


class Wire:
    """A connection on which a test writes what it likes."""

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), 5)
        self.socket.settimeout(10)

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def rest(self) -> bytes:
        """What comes until the other side ends the connection."""
        received = b""
        try:
            while data := self.socket.recv(65536):
                received += data
        except ConnectionResetError:
            pass
        return received

    def answer(self) -> bytes:
        """One answer with a body, or without one."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(65536)
            if not data:
                return received
            received += data
        head, _, body = received.partition(b"\r\n\r\n")
        length = next(
            (int(line.split(b":")[1]) for line in head.lower().split(b"\r\n") if b"content-length" in line), 0
        )
        while len(body) < length:
            body += self.socket.recv(65536)
        return head + b"\r\n\r\n" + body


@contextmanager
def wire(port: int) -> Iterator[Wire]:
    """A connection, closed with the context."""
    connection = Wire(port)
    try:
        yield connection
    finally:
        connection.socket.close()
