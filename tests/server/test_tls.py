"""Encrypted connections, and clients that have to show certificates."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from dapr_workflow_sdk import EmbeddedEngine, RuntimeStateError
from tests.server.support import Certificates, call, refused
from tests.worker.support import python_child, run_python


def channel_of(port: int, certs: Certificates, *, client: bool = False) -> grpc.Channel:
    more = (certs.client_key.read_bytes(), certs.client_cert.read_bytes()) if client else (None, None)
    credentials = grpc.ssl_channel_credentials(certs.ca.read_bytes(), *more)
    options = [("grpc.use_local_subchannel_pool", 1)]
    return grpc.secure_channel(f"localhost:{port}", credentials, options=options)


def context_of(certs: Certificates, *, client: bool = False) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=certs.ca)
    if client:
        context.load_cert_chain(certs.client_cert, certs.client_key)
    return context


def status(port: int, context: ssl.SSLContext) -> int:
    with httpx.Client(verify=context, trust_env=False) as http:
        return http.get(f"https://127.0.0.1:{port}/v1.0/metadata").status_code


def test_both_servers_are_encrypted(engine: EmbeddedEngine, certs: Certificates) -> None:
    with engine.serve(http_port=0, tls_cert=certs.cert, tls_key=str(certs.key)) as served:
        assert served.http_port is not None
        with channel_of(served.grpc_port, certs) as channel:
            call(channel, "Hello")
        assert status(served.http_port, context_of(certs)) == 200
        # Without TLS nothing is answered.
        with grpc.insecure_channel(f"127.0.0.1:{served.grpc_port}") as channel:
            assert refused(channel, "Hello")[0] is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(httpx.HTTPError):
            httpx.get(f"http://127.0.0.1:{served.http_port}/v1.0/metadata", trust_env=False)


def test_somebody_else_in_place_of_the_server_is_noticed(engine: EmbeddedEngine, certs: Certificates) -> None:
    with engine.serve(http_port=0, tls_cert=certs.client_cert, tls_key=certs.client_key) as served:
        assert served.http_port is not None
        with channel_of(served.grpc_port, certs) as channel:
            assert refused(channel, "Hello")[0] is grpc.StatusCode.UNAVAILABLE
        with pytest.raises(httpx.HTTPError):
            status(served.http_port, context_of(certs))


def test_clients_without_a_certificate_are_refused_where_one_is_asked_for(
    engine: EmbeddedEngine, certs: Certificates
) -> None:
    with engine.serve(http_port=0, tls_cert=certs.cert, tls_key=certs.key, tls_client_ca=certs.client_ca) as served:
        assert served.http_port is not None
        with channel_of(served.grpc_port, certs, client=True) as channel:
            call(channel, "Hello")
        with channel_of(served.grpc_port, certs) as channel:
            assert refused(channel, "Hello")[0] is grpc.StatusCode.UNAVAILABLE
        assert status(served.http_port, context_of(certs, client=True)) == 200
        with pytest.raises((httpx.HTTPError, ssl.SSLError)):
            status(served.http_port, context_of(certs))


def test_the_token_is_asked_for_over_tls_too(engine: EmbeddedEngine, certs: Certificates) -> None:
    with engine.serve(tls_cert=certs.cert, tls_key=certs.key, api_token="secret") as served:
        with channel_of(served.grpc_port, certs) as channel:
            assert refused(channel, "Hello")[0] is grpc.StatusCode.UNAUTHENTICATED
            call(channel, "Hello", metadata=(("dapr-api-token", "secret"),))


_CLIENT = """
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
runtime = WorkflowRuntime()
runtime.register_workflow(lambda ctx: 7, name="flow")
with runtime, WorkflowClient() as client:
    print(client.wait_for_workflow_completion(client.schedule_new_workflow("flow"), timeout_in_seconds=5).serialized_output)
"""


def test_workers_and_clients_of_this_package_connect(engine: EmbeddedEngine, certs: Certificates) -> None:
    with engine.serve(tls_cert=certs.cert, tls_key=certs.key) as served:
        done = run_python(
            _CLIENT,
            DAPR_GRPC_ENDPOINT=f"https://localhost:{served.grpc_port}",
            GRPC_DEFAULT_SSL_ROOTS_FILE_PATH=str(certs.ca),
        )
        assert done.stdout == "7\n", done.stderr


def test_workers_and_clients_of_this_package_show_their_certificate(
    engine: EmbeddedEngine, certs: Certificates
) -> None:
    with engine.serve(tls_cert=certs.cert, tls_key=certs.key, tls_client_ca=certs.client_ca) as served:
        done = run_python(
            _CLIENT,
            DAPR_GRPC_ENDPOINT=f"https://localhost:{served.grpc_port}",
            DAPR_GRPC_TLS_CA=str(certs.ca),
            DAPR_GRPC_TLS_CERT=str(certs.client_cert),
            DAPR_GRPC_TLS_KEY=str(certs.client_key),
        )
        assert done.stdout == "7\n", done.stderr


_HALF = """
from dapr_workflow_sdk import WorkflowClient
try:
    WorkflowClient().get_workflow_state("one")
except ValueError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("files", "complaint"),
    [
        ({"DAPR_GRPC_TLS_CERT": "some.pem"}, "DAPR_GRPC_TLS_KEY"),
        ({"DAPR_GRPC_TLS_CA": "missing.pem"}, "missing.pem"),
    ],
    ids=["half", "missing"],
)
def test_files_of_a_client_that_are_of_no_use_are_named(files: dict[str, str], complaint: str) -> None:
    done = run_python(_HALF, DAPR_GRPC_ENDPOINT="https://localhost:1", **files)
    assert complaint in done.stdout, done.stderr


def test_a_handshake_that_never_comes_keeps_nobody_out(engine: EmbeddedEngine, certs: Certificates) -> None:
    with engine.serve(http_port=0, tls_cert=certs.cert, tls_key=certs.key) as served:
        assert served.http_port is not None
        silent = [socket.create_connection(("127.0.0.1", served.http_port), 5) for _ in range(20)]
        silent += [socket.create_connection(("127.0.0.1", served.grpc_port), 5) for _ in range(20)]
        try:
            assert status(served.http_port, context_of(certs)) == 200
            with channel_of(served.grpc_port, certs) as channel:
                call(channel, "Hello")
        finally:
            for connection in silent:
                connection.close()


def test_files_that_are_of_no_use_are_refused_with_their_names(
    engine: EmbeddedEngine, certs: Certificates, tmp_path: Path
) -> None:
    garbage = tmp_path / "garbage.pem"
    garbage.write_text("no certificate")
    bad: list[dict[str, Any]] = [
        {"tls_cert": tmp_path / "missing.pem", "tls_key": certs.key},
        {"tls_cert": garbage, "tls_key": certs.key},
        {"tls_cert": certs.cert, "tls_key": certs.client_key},
        {"tls_cert": certs.cert, "tls_key": certs.key, "tls_client_ca": garbage},
    ]
    for options in bad:
        with pytest.raises(RuntimeStateError, match=r"Cannot use the .*\.pem"), engine.serve(**options):
            pass
    for halves in ({"tls_cert": certs.cert}, {"tls_key": certs.key}, {"tls_client_ca": certs.ca}):
        with pytest.raises(ValueError, match="TLS|certificate"), engine.serve(**halves):
            pass


_ENGINE = """
import sys
from dapr_workflow_sdk.cli import main
sys.argv[1:] = ["engine", "--grpc-port", "0", "--http-port", "0", *sys.argv[1:]]
main()
"""


def test_the_command_serves_tls(certs: Certificates) -> None:
    options = ("--tls-cert", str(certs.cert), "--tls-key", str(certs.key), "--tls-client-ca", str(certs.client_ca))
    with python_child(_ENGINE, *options) as engine:
        ready = engine.says("Engine ready")
        port = int(ready.split("HTTP 127.0.0.1:")[1].split(",")[0])
        assert status(port, context_of(certs, client=True)) == 200
