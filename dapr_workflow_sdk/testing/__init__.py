"""Tools for tests of workflows and activities.

The environment runs whole workflows in memory and in virtual time, in milliseconds and without threads or ports. Each
name brings its own part when it is first used, so neither pytest nor hypothesis is needed unless it is asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.stand_ins import ActivityCall as ActivityCall
    from dapr_workflow_sdk.testing.stand_ins import ActivityStandIn as ActivityStandIn

# The module each name lives in.
_HOMES = {
    "ActivityCall": "stand_ins",
    "ActivityStandIn": "stand_ins",
}
__all__ = [
    "ActivityCall",
    "ActivityStandIn",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
