"""The engine as a sidecar: the worker protocol over gRPC and Dapr's workflow API over HTTP."""

from __future__ import annotations

from dapr_workflow_sdk.engine.server.limits import Limits
from dapr_workflow_sdk.engine.server.server import EngineServer

__all__ = ["EngineServer", "Limits"]
