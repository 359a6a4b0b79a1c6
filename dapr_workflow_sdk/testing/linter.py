"""The linter, where tests look for it."""

from __future__ import annotations

from dapr_workflow_sdk.linting.linter import lint

__all__ = ["lint"]
