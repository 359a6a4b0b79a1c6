"""Values to payload text and back; the only place that does it."""

from __future__ import annotations

from dapr_workflow_sdk.converter.json_converter import Converter, JsonConverter

__all__ = ["Converter", "JsonConverter"]
