"""Where the sidecar is looked for."""

from __future__ import annotations

import pytest

from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.errors import WorkflowError
from dapr_workflow_sdk.taskhub.address import AddressError, find_address


@pytest.mark.parametrize(
    ("endpoint", "target", "tls"),
    [
        ("localhost:50001", "localhost:50001", False),
        ("127.0.0.1", "127.0.0.1:443", False),
        ("myhost", "myhost:443", False),
        ("myhost:443?tls=true", "myhost:443", True),
        ("myhost:5000?tls=false", "myhost:5000", False),
        ("https://h.example", "h.example:443", True),
        ("https://h.example:5000", "h.example:5000", True),
        ("https://h.example:5000/", "h.example:5000", True),
        ("http://h:5000", "h:5000", False),
        ("http://h", "h:443", False),
        ("dns://h:5000", "h:5000", False),
        ("dns://h:5000?tls=true", "h:5000", True),
        ("[::1]:5000", "[::1]:5000", False),
        ("http://[::1]:5000", "[::1]:5000", False),
        ("unix:my.sock", "unix:my.sock", False),
        ("unix:/tmp/my.sock", "unix:/tmp/my.sock", False),
        ("unix:///tmp/my.sock", "unix:///tmp/my.sock", False),
    ],
)
def test_endpoints(monkeypatch: pytest.MonkeyPatch, endpoint: str, target: str, tls: bool) -> None:
    monkeypatch.setenv("DAPR_GRPC_ENDPOINT", endpoint)
    # The port of the environment is that of another sidecar.
    monkeypatch.setenv("DAPR_GRPC_PORT", "7")
    address = find_address()
    assert (address.target, address.tls, address.source) == (target, tls, "DAPR_GRPC_ENDPOINT")


@pytest.mark.parametrize(
    ("endpoint", "target"),
    [
        ("dns:h:5000", "h:5000"),
        ("dns:h", "h:443"),
        ("dns://8.8.8.8/h:5000", "dns://8.8.8.8/h:5000"),
        ("unix-abstract:my", "unix-abstract:my"),
        ("vsock:1:5000", "vsock:1:5000"),
    ],
)
def test_endpoints_that_dapr_takes_too(monkeypatch: pytest.MonkeyPatch, endpoint: str, target: str) -> None:
    """Dapr's own parser for Python (`GrpcEndpoint` of dapr 1.19) takes these."""
    monkeypatch.setenv("DAPR_GRPC_ENDPOINT", endpoint)
    assert find_address().target.removeprefix("dns:///").removeprefix("dns:") == target.removeprefix("dns:")


@pytest.mark.parametrize(
    "endpoint",
    ["host:port", "h:70000", "http://h:5000/path", "h:5000?x=1", "ftp://h", "https://", "://h:1", "h:0", "?tls=true"],
)
def test_endpoints_that_make_no_sense_are_refused_as_they_were_written(
    monkeypatch: pytest.MonkeyPatch, endpoint: str
) -> None:
    monkeypatch.setenv("DAPR_GRPC_ENDPOINT", endpoint)
    with pytest.raises(AddressError) as refused:
        find_address()
    assert f"DAPR_GRPC_ENDPOINT={endpoint!r}" in str(refused.value)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, WorkflowError)
    with pytest.raises(AddressError):
        WorkflowClient()


@pytest.mark.parametrize(
    ("environment", "arguments", "target", "source"),
    [
        ({}, (), "127.0.0.1:50001", "Dapr's default port"),
        ({"DAPR_GRPC_PORT": "6"}, (), "127.0.0.1:6", "DAPR_GRPC_PORT"),
        ({"DAPR_GRPC_PORT": ""}, (), "127.0.0.1:50001", "Dapr's default port"),
        ({"DAPR_RUNTIME_HOST": "h"}, (), "h:50001", "Dapr's default port"),
        ({"DAPR_RUNTIME_HOST": "h", "DAPR_GRPC_PORT": "6"}, (), "h:6", "DAPR_GRPC_PORT"),
        ({"DAPR_RUNTIME_HOST": "", "DAPR_GRPC_PORT": "6"}, (), "127.0.0.1:6", "DAPR_GRPC_PORT"),
        ({"DAPR_GRPC_ENDPOINT": "", "DAPR_GRPC_PORT": "6"}, (), "127.0.0.1:6", "DAPR_GRPC_PORT"),
        ({"DAPR_RUNTIME_HOST": "h", "DAPR_GRPC_PORT": "6"}, ("g",), "g:6", "DAPR_GRPC_PORT"),
        ({"DAPR_RUNTIME_HOST": "h", "DAPR_GRPC_PORT": "6"}, (None, 7), "h:7", "the port= argument"),
        ({"DAPR_RUNTIME_HOST": "h", "DAPR_GRPC_PORT": "6"}, ("g", "7"), "g:7", "the port= argument"),
        ({"DAPR_GRPC_ENDPOINT": "https://e:1"}, ("g", 7), "g:7", "the port= argument"),
        ({"DAPR_GRPC_ENDPOINT": "https://e:1"}, (None, 7), "127.0.0.1:7", "the port= argument"),
        ({}, ("::1", 7), "[::1]:7", "the port= argument"),
        ({"DAPR_RUNTIME_HOST": "::1"}, (), "[::1]:50001", "Dapr's default port"),
    ],
)
def test_hosts_and_ports(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    arguments: tuple[str | None, int | str | None] | tuple[()],
    target: str,
    source: str,
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    address = find_address(*arguments)
    assert (address.target, address.tls, address.source) == (target, False, source)


@pytest.mark.parametrize("port", ["none", "-1", "0", "65536", 0, -1, 65536, "²", " "])
def test_ports_that_make_no_sense_are_refused(monkeypatch: pytest.MonkeyPatch, port: int | str) -> None:
    with pytest.raises(AddressError, match="port"):
        find_address("h", port)
    if isinstance(port, str):
        monkeypatch.setenv("DAPR_GRPC_PORT", port)
        with pytest.raises(AddressError, match="DAPR_GRPC_PORT"):
            find_address()


def test_settings_of_the_environment_are_read_when_a_client_is_made_and_a_worker_started(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    runtime = WorkflowRuntime(worker_ready_timeout=0.1)
    monkeypatch.setenv("DAPR_GRPC_PORT", "9")
    client = WorkflowClient()
    monkeypatch.setenv("DAPR_GRPC_PORT", "10")
    with pytest.raises(WorkflowError, match=r"127\.0\.0\.1:10 \(DAPR_GRPC_PORT\)"):
        runtime.start()
    with pytest.raises(WorkflowError, match=r"127\.0\.0\.1:9 \(DAPR_GRPC_PORT\)"):
        client.get_workflow_state("x")
