"""The `curl` lines of the page on the HTTP API answer what the page says."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx

from tests.worker.support import environment, eventually, python_child

PAGE = Path(__file__).parents[2] / "docs" / "http-api.md"
BLOCK = re.compile(r"```(?:sh|python|json)(?P<title>[^\n]*)\n(?P<body>.*?)\n```", re.DOTALL)
_ENGINE = """
import sys
from dapr_workflow_sdk.cli import main
sys.argv[1:] = ["engine", "--grpc-port", "0", "--http-port", "0"]
main()
"""


def same(value: Any) -> Any:
    text = re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "<time>", json.dumps(value))
    return json.loads(text)


def test_the_lines_of_the_page(tmp_path: Path) -> None:
    blocks = list(BLOCK.finditer(PAGE.read_text()))
    worker_code = next(block["body"] for block in blocks if "worker.py" in block["title"])
    worker_path = tmp_path / "worker.py"
    worker_path.write_text(worker_code)
    with python_child(_ENGINE) as engine:
        ports = re.search(r"gRPC 127\.0\.0\.1:(\d+), HTTP 127\.0\.0\.1:(\d+)", engine.says("Engine ready"))
        assert ports is not None
        worker = subprocess.Popen([sys.executable, str(worker_path)], env=environment(DAPR_GRPC_PORT=ports[1]))
        try:
            base = f"http://127.0.0.1:{ports[2]}/v1.0"
            eventually(lambda: httpx.get(f"{base}/metadata", trust_env=False).json()["workflows"], "the worker")
            printed, compared = "", 0
            for block in blocks:
                if block["body"].startswith("curl"):
                    lines = block["body"].replace("127.0.0.1:3500", f"127.0.0.1:{ports[2]}")
                    if "order-1\n" in f"{lines}\n" or "?status" in lines:
                        eventually(lambda: not unfinished(base), "the end of order-1")
                    run = subprocess.run(
                        ["bash", "-ec", lines.replace("curl -s", "curl -s --noproxy '*'")],
                        capture_output=True,
                        text=True,
                        timeout=30,
                        check=True,
                    )
                    printed = run.stdout
                elif 'title="Answer"' in block["title"]:
                    # Of several lines the last one's answer is shown.
                    last = printed[printed.rindex("}{") + 1 :] if "}{" in printed else printed
                    assert same(json.loads(last)) == same(json.loads(block["body"]))
                    compared += 1
            assert compared == 6
        finally:
            worker.kill()
            worker.wait()


def unfinished(base: str) -> bool:
    """Whether the instance is there and has not ended; the page shows it afterwards."""
    answer = httpx.get(f"{base}/workflows/dapr/order-1", trust_env=False)
    return answer.status_code == 200 and answer.json()["runtimeStatus"] != "COMPLETED"
