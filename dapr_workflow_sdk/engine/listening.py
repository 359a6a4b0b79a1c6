"""Whether somebody in this process wants to be told of spans."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from dapr_workflow_sdk.engine.clock import Clock

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider

    from dapr_workflow_sdk.engine.spans import EngineSpans


def find_spans(provider: TracerProvider | None, clock: Clock) -> EngineSpans | None:
    """What tells of spans, if there is somebody to tell: the given provider, or the one of this process.

    OpenTelemetry is not imported for that: whoever has a provider has imported its SDK.
    """
    if "opentelemetry.sdk.trace" not in sys.modules:
        return None
    from dapr_workflow_sdk.engine.spans import spans_of

    return spans_of(provider, clock)
