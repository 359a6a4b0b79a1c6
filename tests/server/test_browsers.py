"""Pages of other sites, in a browser on this machine, get nothing from the engine and do nothing to it."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk import EmbeddedEngine
from dapr_workflow_sdk.engine.server.access import Access
from tests.server.support import wire


@pytest.fixture
def http() -> Iterator[httpx.Client]:
    with (
        EmbeddedEngine() as engine,
        engine.serve(http_port=0, allowed_hosts=["engine.internal", "Other.Example."]) as served,
        httpx.Client(base_url=f"http://127.0.0.1:{served.http_port}", trust_env=False) as http,
    ):
        yield http


OURS = ["127.0.0.1", "localhost", "LOCALHOST:1", "localhost.", "[::1]:3500", "engine.internal:80", "other.example"]
NOT_OURS = [
    "evil.example",
    "evil.example:3500",
    "localhost.evil.example",
    "127.0.0.1.nip.io",
    "127.0.0.2",
    "10.0.0.1",
    "",
]


@pytest.mark.parametrize("host", OURS)
def test_requests_for_this_machine_are_answered(http: httpx.Client, host: str) -> None:
    assert http.get("/v1.0/metadata", headers={"host": host}).status_code == 200


@pytest.mark.parametrize("host", NOT_OURS)
def test_requests_for_other_names_are_refused(http: httpx.Client, host: str) -> None:
    """A page whose name resolves to this machine (DNS rebinding) is of the same origin for the browser."""
    for method, path in (
        ("GET", "/v1.0/metadata"),
        ("GET", "/v1.0/workflows/dapr/x"),
        ("POST", "/v1.0/workflows/dapr/flow/start"),
    ):
        response = http.request(method, path, headers={"host": host})
        assert response.status_code == 403
        assert response.json()["errorCode"] == "ERR_HOST_NOT_ALLOWED"
        assert "--allowed-host" in response.json()["message"]
    # Probes do not know the machine's name.
    assert http.get("/v1.0/healthz", headers={"host": host}).status_code == 204


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "https://evil.example:3500"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://localhost:1"},
        {"origin": "http://127.0.0.1"},
        {"origin": "file://"},
        {"origin": "http://["},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"sec-fetch-site": "Cross-Site"},
    ],
)
def test_requests_of_pages_of_other_sites_are_refused(http: httpx.Client, headers: dict[str, str]) -> None:
    path = "/v1.0/workflows/dapr/flow/start?instanceID=one"
    for method in ("POST", "OPTIONS"):
        response = http.request(method, path, headers=headers, content=b"1")
        assert response.status_code == 403
        assert response.json()["errorCode"] == "ERR_ORIGIN_NOT_ALLOWED"
        assert not [name for name in response.headers if name.startswith("access-control")]
    assert http.get("/v1.0/workflows/dapr/one").status_code == 404


def test_requests_of_its_own_pages_and_of_programs_are_answered(http: httpx.Client) -> None:
    origin = str(http.base_url).rstrip("/")
    for headers in (
        {},
        {"sec-fetch-site": "none"},
        {"origin": origin},
        {"origin": origin, "sec-fetch-site": "same-origin"},
        {"origin": "http://engine.internal", "host": "engine.internal"},
        {"origin": "http://engine.internal:80", "host": "engine.internal"},
        {"origin": "https://engine.internal", "host": "engine.internal:443"},
    ):
        assert http.post("/v1.0/workflows/dapr/flow/start", headers=headers).status_code == 202, headers


def test_a_request_without_a_host_is_refused(http: httpx.Client) -> None:
    with wire(http.base_url.port or 0) as connection:
        connection.send(b"GET /v1.0/metadata HTTP/1.0\r\n\r\n")
        assert connection.answer().startswith(b"HTTP/1.1 403")


def test_two_hosts_in_one_request_are_refused(http: httpx.Client) -> None:
    with wire(http.base_url.port or 0) as connection:
        connection.send(b"GET /v1.0/metadata HTTP/1.1\r\nhost: localhost\r\nhost: evil.example\r\n\r\n")
        assert connection.answer().startswith(b"HTTP/1.1 400")


def test_a_name_is_found_where_the_engine_listens_everywhere() -> None:
    access = Access(host="0.0.0.0", api_token="secret", allowed_hosts=["name"])
    assert access.accepts_host("192.0.2.7:3500", "192.0.2.7")
    assert access.accepts_host("name", "192.0.2.7")
    assert not access.accepts_host("192.0.2.8:3500", "192.0.2.7")


@given(st.text(), st.one_of(st.none(), st.text()), st.one_of(st.none(), st.text()))
def test_whatever_headers_say_there_is_an_answer(host: str, origin: str | None, site: str | None) -> None:
    access = Access()
    if access.accepts_host(host, "127.0.0.1"):
        assert any(name in host.lower() for name in ("localhost", "127.0.0.1", "::1"))
    if access.accepts_origin(origin, site, "127.0.0.1:3500"):
        assert origin is None or "127.0.0.1" in origin
        assert site is None or site.strip().lower() in ("same-origin", "none")
