"""The `dapr-workflow` command."""

from __future__ import annotations

import sys


def main() -> None:
    """Runs the command; without the packages it needs, says which."""
    try:
        from dapr_workflow_sdk.cli.command import app
    except ImportError as error:
        if error.name is None or error.name.startswith("dapr_workflow_sdk"):
            raise
        sys.exit(f"The dapr-workflow command needs the package {error.name}: pip install 'dapr-workflow-sdk[cli]'.")
    app()
