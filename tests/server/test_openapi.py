"""The HTTP API is what its OpenAPI document says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from openapi_spec_validator import OpenAPIV31SpecValidator

from dapr_workflow_sdk import EmbeddedEngine, WorkflowContext, WorkflowRuntime
from dapr_workflow_sdk.engine.server import Limits
from dapr_workflow_sdk.engine.server.access import Access
from dapr_workflow_sdk.engine.server.http_api import make_app
from dapr_workflow_sdk.engine.server.limits import Places
from dapr_workflow_sdk.engine.server.openapi import document


@pytest.fixture(scope="module")
def http() -> Iterator[httpx.Client]:
    with EmbeddedEngine() as engine, engine.serve(http_port=0) as served:
        runtime = WorkflowRuntime(engine=engine)

        @runtime.workflow
        def echo(ctx: WorkflowContext, value: Any = None) -> Any:
            return value

        with runtime, httpx.Client(base_url=f"http://127.0.0.1:{served.http_port}", trust_env=False) as http:
            yield http


def test_the_document_is_served_and_valid(http: httpx.Client) -> None:
    served = http.get("/v1.0/openapi.json")
    assert served.headers["content-type"] == "application/json"
    assert served.json() == json.loads(json.dumps(document(Limits())))
    assert list(OpenAPIV31SpecValidator(served.json()).iter_errors()) == []


def test_every_route_is_in_the_document_and_nothing_else() -> None:
    with EmbeddedEngine() as engine:
        app = make_app(engine.hub, Access(), Limits(), Places(1, "calls"))
    served = {
        (route.path.removeprefix("/v1.0"), method.lower())  # type: ignore[attr-defined]
        for route in app.routes
        for method in route.methods  # type: ignore[attr-defined]
        if method != "HEAD" and re.match(r"/v1\.0/", route.path)  # type: ignore[attr-defined]
    }
    described = {
        (path, method)
        for path, item in document(Limits())["paths"].items()
        for method in item
        if method in ("get", "post")
    }
    assert served == described


_CHECKS = (
    "status_code_conformance,content_type_conformance,response_schema_conformance,response_headers_conformance,"
    "unsupported_method"
)


def test_generated_requests_get_what_the_document_says(http: httpx.Client, tmp_path: Path) -> None:
    """Dapr answers some mistakes with 500, so a 500 is fine if the document has it; an ERR_INTERNAL never is."""
    command = [
        *(str(Path(sys.executable).parent / "schemathesis"), "run", f"{http.base_url}/v1.0/openapi.json"),
        *("--url", f"{http.base_url}/v1.0", "--max-examples", os.environ.get("SCHEMATHESIS_EXAMPLES", "12")),
        *("--checks", _CHECKS, "--mode", "all", "--seed", "1", "--phases", "examples,coverage,fuzzing,stateful"),
        *("--request-timeout", "10", "--no-color", "--generation-database", "none"),
    ]
    environment = {**os.environ, "NO_PROXY": "*", "no_proxy": "*"}
    run = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=240, cwd=tmp_path, env=environment
    )
    assert run.returncode == 0, run.stdout[-6000:] + run.stderr[-2000:]
    tested = re.search(r"(\d+) generated, (\d+) passed", run.stdout)
    assert tested is not None
    assert int(tested[1]) == int(tested[2]) > 100
    assert http.get("/v1.0/healthz").status_code == 204
