"""`python -m dapr_workflow_sdk` is the `dapr-workflow` command."""

from __future__ import annotations

from dapr_workflow_sdk.cli import main

if __name__ == "__main__":
    main()
