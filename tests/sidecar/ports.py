"""Free TCP ports on loopback, and small HTTP questions to the servers that then listen on them."""

from __future__ import annotations

import random
import socket
import threading
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

HOST = "127.0.0.1"

# Below the ranges that Linux (32768 on) and macOS (49152 on) take outgoing ports from: a client connection
# can then never sit on the port of a server that is being started, or restarted on the port it had.
_RANGE = range(18000, 32000)

_given: set[int] = set()
_lock = threading.Lock()
_random = random.SystemRandom()
# A proxy named in the environment has no business with loopback.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on and that this process has not handed out before.

    Another process may still take the port before it is bound, so starting a server takes a retry.

    Raises:
        OSError: No port could be bound.
    """
    with _lock:
        candidates = [port for port in _RANGE if port not in _given]
        _random.shuffle(candidates)
        for port in candidates:
            if _can_bind(port):
                _given.add(port)
                return port
    message = f"no free TCP port between {_RANGE.start} and {_RANGE.stop} on {HOST}"
    raise OSError(message)


def http_get(port: int, path: str, *, headers: Mapping[str, str] | None = None, timeout: float = 1.0) -> bytes:
    """Return the body of ``GET http://127.0.0.1:<port><path>``.

    Raises:
        OSError: Nobody answers, or the answer is not a success (``urllib.error.HTTPError``).
    """
    request = urllib.request.Request(f"http://{HOST}:{port}{path}", headers=dict(headers or {}))
    with _opener.open(request, timeout=timeout) as response:
        body: bytes = response.read()
    return body


def _can_bind(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
