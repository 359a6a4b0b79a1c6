"""Who may talk to an engine that is served: addresses, the token, TLS, and what browsers may do."""

from __future__ import annotations

import hmac
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from dapr_workflow_sdk.errors import RuntimeStateError

TOKEN_HEADER = "dapr-api-token"  # noqa: S105 - the name of the header
# Which of several apps on one port a call is for.
APP_HEADER = "dapr-app-id"
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Access:
    """Where an engine listens, and what it asks of those who connect.

    Attributes:
        host: The address to listen on.
        api_token: What callers must send as ``dapr-api-token``; None asks for nothing, which is for loopback only.
        tls_cert: File with the server's certificate and those it is signed by (PEM); None is without encryption.
        tls_key: File with its key (PEM).
        tls_client_ca: File with the authorities (PEM) that clients need a certificate of; None asks for none.
        allowed_hosts: Names in the ``Host`` header of HTTP requests to answer besides loopback and the address itself.
    """

    host: str = "127.0.0.1"
    api_token: str | None = None
    tls_cert: Path | None = None
    tls_key: Path | None = None
    tls_client_ca: Path | None = None
    allowed_hosts: Sequence[str] = ()

    def __post_init__(self) -> None:
        """Refuses what would let everybody in, and what cannot work.

        Raises:
            RuntimeStateError: The address can be reached by others and there is no token, or the TLS files are of no
                use.
            ValueError: The token cannot be sent, or only some of the TLS files are given.
        """
        if self.api_token is not None and not (self.api_token.isascii() and self.api_token.isprintable()):
            raise ValueError("The API token has characters that cannot be sent in a header: use printable ASCII.")
        if self.api_token is not None and self.api_token != self.api_token.strip():
            raise ValueError("The API token begins or ends with a space, which does not survive in a header.")
        if not self.api_token and not is_loopback(self.host):
            raise RuntimeStateError(
                f"Refusing to listen on {self.host!r} without an API token: everybody who reaches that address could "
                "start, read and end every workflow. Set a token (DAPR_API_TOKEN or --api-token for the command, "
                "api_token= in Python), or listen on 127.0.0.1."
            )
        if (self.tls_cert is None) != (self.tls_key is None):
            raise ValueError("TLS needs both a certificate and its key.")
        if self.tls_client_ca is not None and self.tls_cert is None:
            raise ValueError("To ask clients for certificates the server needs a certificate and a key of its own.")
        if self.tls_cert is not None:
            self._try_tls()

    def _try_tls(self) -> None:
        # The gRPC library says nothing of use about files that it cannot use.
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        what = f"the certificate {self.tls_cert} with the key {self.tls_key}"
        try:
            assert self.tls_cert is not None
            # An encrypted key would otherwise ask for its password at the terminal.
            context.load_cert_chain(self.tls_cert, self.tls_key, password=lambda: b"")
            if self.tls_client_ca is not None:
                what = f"the client authorities {self.tls_client_ca}"
                context.load_verify_locations(self.tls_client_ca)
        except (OSError, ValueError) as error:  # An SSLError is an OSError.
            raise RuntimeStateError(f"Cannot use {what} for TLS: {error}.") from error

    @property
    def tls(self) -> bool:
        """Whether connections are encrypted."""
        return self.tls_cert is not None

    def accepts_token(self, token: str | bytes | None) -> bool:
        """Whether a caller's token is the right one, found out in the same time for every wrong one."""
        if not self.api_token:
            return True
        if token is None:
            return False
        sent = token if isinstance(token, bytes) else token.encode()
        return hmac.compare_digest(sent, self.api_token.encode())

    def accepts_host(self, header: str | None, local: str | None) -> bool:
        """Whether a Host header names this engine.

        A page of another site can have its name resolve to this machine (DNS rebinding); the browser then takes the
        engine for that site, but still sends the site's name.

        Args:
            header: The Host header.
            local: The address at which the connection came in.
        """
        name = _host_of(header or "")
        if not name:
            return False
        ours = {*_LOOPBACK_NAMES, _plain(self.host), *(_plain(allowed) for allowed in self.allowed_hosts)}
        if local is not None:
            ours.add(_plain(local))
        return name in ours

    def accepts_origin(self, origin: str | None, fetch_site: str | None, host: str | None) -> bool:
        """Whether a request does not come from a page of another site.

        Browsers send ``Origin`` and ``Sec-Fetch-Site``, and pages cannot change them; other programs send neither.

        Args:
            origin: The Origin header.
            fetch_site: The Sec-Fetch-Site header.
            host: The Host header, already found to be ours.
        """
        if fetch_site is not None and fetch_site.strip().lower() not in ("same-origin", "none"):
            return False
        if origin is None:
            return True
        try:
            parts = urlsplit(origin.strip())
            default = _DEFAULT_PORTS.get(parts.scheme)
            theirs = (_plain(parts.hostname or ""), parts.port or default)
            asked = urlsplit(f"//{host or ''}")
            return default is not None and theirs == (_plain(asked.hostname or ""), asked.port or default)
        except ValueError:
            return False


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches an address."""
    if host.lower() == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return (mapped or address).is_loopback


def bracketed(host: str) -> str:
    """A host as it stands before a port."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def _host_of(authority: str) -> str:
    try:
        parts = urlsplit(f"//{authority}")
        _ = parts.port
        if parts.username is not None or parts.path or parts.query or parts.fragment:
            return ""
        return _plain(parts.hostname or "")
    except ValueError:
        return ""


def _plain(host: str) -> str:
    return host.strip("[]").rstrip(".").lower()
