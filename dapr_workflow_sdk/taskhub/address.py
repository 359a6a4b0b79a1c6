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
    chosen_port = str(port or os.environ.get("DAPR_GRPC_PORT") or 50001)
    if not chosen_port.isdigit() or not 0 < int(chosen_port) < 65536:
        raise AddressError(f"{chosen_port!r} is no port. Set DAPR_GRPC_PORT, or port=, to a number from 1 to 65535.")
    if port is not None:
        source = "the port= argument"
    elif "DAPR_GRPC_PORT" in os.environ:
        source = "DAPR_GRPC_PORT"
    else:
        source = "Dapr's default port"
    return Address(f"{chosen_host}:{chosen_port}", tls=False, source=source)


def _parse_endpoint(endpoint: str) -> Address:
    if "://" not in endpoint and not endpoint.startswith(("unix:", "dns:")):
        endpoint = f"dns://{endpoint}" if not endpoint.startswith("//") else f"dns:{endpoint}"
    parts = urlsplit(endpoint)
    options = parse_qs(parts.query)
    unknown = set(options) - {"tls"}
    if unknown or parts.scheme not in ("dns", "http", "https", "unix", "unix-abstract", "grpc", "grpcs"):
        raise AddressError(
            f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address. Write host:port, dns://host:port?tls=true, "
            "https://host:port or unix:/path."
        )
    if parts.scheme.startswith("unix"):
        return Address(endpoint.split("?")[0], tls=False, source="DAPR_GRPC_ENDPOINT")
    tls = parts.scheme in ("https", "grpcs") or options.get("tls") == ["true"]
    try:
        port = parts.port or 443
    except ValueError as error:
        raise AddressError(f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address: {error}.") from error
    if not parts.hostname or parts.path not in ("", "/"):
        raise AddressError(f"DAPR_GRPC_ENDPOINT={endpoint!r} makes no address: it needs a host and no path.")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return Address(f"{host}:{port}", tls=tls, source="DAPR_GRPC_ENDPOINT")
