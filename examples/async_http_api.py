"""Asynchronous HTTP API: a workflow started and watched by plain HTTP, as a web page or curl would do it.

The sidecar answers the start at once with the id of the instance; whoever started it asks for its status
until it is done. No client of this package takes part.

    dapr-workflow run examples/async_http_api.py
"""

import json
import os
import time
import urllib.request
import uuid
from collections.abc import Generator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk import (
    EmbeddedEngine,
    Task,
    WorkflowActivityContext,
    WorkflowContext,
    WorkflowRuntime,
    activity,
    workflow,
)


@dataclass
class ReportRequest:
    """Which report to make; comes as plain JSON from outside."""

    title: str
    pages: int


@workflow
def make_report(ctx: WorkflowContext, request: ReportRequest) -> Generator[Task, Any, str]:
    """Writes a report page by page, and says how far it is."""
    words = 0
    for page in range(1, request.pages + 1):
        ctx.set_custom_status(f"writing page {page} of {request.pages}")
        words += yield from ctx.call_activity(write_page, input=page)
        yield ctx.create_timer(timedelta(milliseconds=200))
    return f"{request.title}: {request.pages} pages, {words} words"


@activity
def write_page(ctx: WorkflowActivityContext, page: int) -> int:
    """Writes a page, and counts its words."""
    return 250 + 10 * page


def call(method: str, url: str, body: Any = None) -> dict[str, Any]:
    """Sends a request and returns the JSON of the answer."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    with urllib.request.urlopen(request, timeout=30) as answer:
        print(f"{method} {request.selector} -> {answer.status}")
        text = answer.read()
    return json.loads(text) if text else {}


def main(engine: EmbeddedEngine | None = None) -> None:
    """Starts a report, polls its status, prints its output."""
    with ExitStack() as stack:
        port: int | str | None = os.environ.get("DAPR_HTTP_PORT", "3500")
        if engine is not None:  # An engine in this process has no HTTP until it is asked to serve it.
            port = stack.enter_context(engine.serve(grpc_port=0, http_port=0)).http_port
        stack.enter_context(WorkflowRuntime(engine=engine))

        workflows = f"http://127.0.0.1:{port}/v1.0/workflows/dapr"
        instance_id = f"report-{uuid.uuid4().hex}"
        request = {"title": "Annual report", "pages": 3}
        started = call("POST", f"{workflows}/make_report/start?instanceID={instance_id}", request)
        print(f"  started {started['instanceID']}")

        status = call("GET", f"{workflows}/{instance_id}")
        while status["runtimeStatus"] in ("PENDING", "RUNNING"):
            show(status, "dapr.workflow.custom_status")
            time.sleep(0.25)
            status = call("GET", f"{workflows}/{instance_id}")
        show(status, "dapr.workflow.output")


def show(status: dict[str, Any], name: str) -> None:
    """Prints a status and one of its properties, which are only there when they have a value."""
    print(f"  {status['runtimeStatus']}: {status.get('properties', {}).get(name, '')}")


if __name__ == "__main__":
    main()
