"""A worker process: ``python -m tests.chaos.worker PORT``."""

from __future__ import annotations

import sys
import threading

from dapr_workflow_sdk import WorkflowRuntime
from tests.chaos import app as app  # Its decorators register what is run.

if __name__ == "__main__":
    with WorkflowRuntime(port=int(sys.argv[1]), worker_ready_timeout=60):
        print("working", flush=True)
        threading.Event().wait()
