"""Where the sidecar is: arguments first, then Dapr's environment variables, then Dapr's defaults."""

from __future__ import annotations

import os
from dataclasses import dataclass
from urllib.parse import parse_qs, urlsplit

from dapr_workflow_sdk.errors import WorkflowError


class AddressError(WorkflowError, ValueError):
    """An address of a sidecar cannot be understood."""


@dataclass(frozen=True)
class Address:
    """Where to connect.

    Attributes:
        target: What gRPC connects to, such as "127.0.0.1:50001".
        tls: Whether the connection is encrypted.
        source: Where the address came from, for messages.
    """

    target: str
    tls: bool
    source: str


def find_address(host: str | None = None, port: int | str | None = None) -> Address:
    """The address to connect to.

    Args:
        host: Host, if it is not to come from the environment.
        port: Port, if it is not to come from the environment.

    Raises:
        AddressError: ``DAPR_GRPC_ENDPOINT`` or the port makes no address.
    """
    endpoint = os.environ.get("DAPR_GRPC_ENDPOINT")
    if host is None and port is None and endpoint:
        return _parse_endpoint(endpoint)
    chosen_host = host or os.environ.get("DAPR_RUNTIME_HOST") or "127.0.0.1"
    from_environment = os.environ.get("DAPR_GRPC_PORT")
    if port is not None:
        chosen_port, source = str(port), "the port= argument"
    elif from_environment:
        chosen_port, source = from_environment, "DAPR_GRPC_PORT"
    else:
        chosen_port, source = "50001", "Dapr's default port"
    if not (chosen_port.isascii() and chosen_port.isdecimal() and 0 < int(chosen_port) < 65536):
        raise AddressError(f"{chosen_port!r} is no port. Set DAPR_GRPC_PORT, or port=, to a number from 1 to 65535.")
    return Address(f"{_bracketed(chosen_host)}:{chosen_port}", tls=False, source=source)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


# gRPC understands these as they are written.
_AS_WRITTEN = ("unix:", "unix-abstract:", "vsock:")
_SCHEMES = ("dns", "http", "https", "grpc", "grpcs")


def _parse_endpoint(endpoint: str) -> Address:
    source = "DAPR_GRPC_ENDPOINT"
    address, _, query = endpoint.partition("?")
    if address.startswith(_AS_WRITTEN):
        return Address(address, tls=False, source=source)
    options = parse_qs(query)
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "dns", address.removeprefix("dns:")
    if scheme not in _SCHEMES or set(options) - {"tls"}:
        raise AddressError(
            f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address. Write host:port, dns://host:port?tls=true, "
            "https://host:port or unix:/path."
        )
    tls = scheme in ("https", "grpcs") or options.get("tls") == ["true"]
    authority, slash, host_port = rest.partition("/")
    if scheme == "dns" and slash and host_port:
        # dns://server/host:port asks a name server of its own; gRPC takes that as it is.
        return Address(address, tls=tls, source=source)
    try:
        parts = urlsplit(f"//{authority}")
        port = 443 if parts.port is None else parts.port
    except ValueError as error:
        raise AddressError(f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address: {error}.") from error
    if not parts.hostname or host_port or not port:
        raise AddressError(f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address: it needs a host, a port and no path.")
    return Address(f"{_bracketed(parts.hostname)}:{port}", tls=tls, source=source)
