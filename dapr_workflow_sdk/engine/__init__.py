"""The engine: a task hub in this process, durable in one SQLite file.

`EmbeddedEngine` is its public face. Inside, `transitions` says what happens to an instance (pure functions), stores
keep it, and `hub` ties instances, store, clock and workers together.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dapr_workflow_sdk.engine.clock import Clock as Clock
    from dapr_workflow_sdk.engine.clock import SystemClock as SystemClock
    from dapr_workflow_sdk.engine.clock import VirtualClock as VirtualClock
    from dapr_workflow_sdk.engine.embedded import EmbeddedEngine as EmbeddedEngine

_HOMES = {
    "Clock": "clock",
    "EmbeddedEngine": "embedded",
    "SystemClock": "clock",
    "VirtualClock": "clock",
}
__all__ = ["Clock", "EmbeddedEngine", "SystemClock", "VirtualClock"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import importlib

        return getattr(importlib.import_module(f"dapr_workflow_sdk.engine.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
