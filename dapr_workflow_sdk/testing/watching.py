"""Who wants to know of test environments as they are made; here alone, so that the pytest plugin loads nothing else."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.stage import Stage

# Called with the engine of each new environment.
WATCHERS: list[Callable[[Stage], None]] = []


@dataclass
class Settings:
    """What a run of tests was told for all its environments.

    Attributes:
        shadow: Whether to replay the whole history beside each turn.
    """

    shadow: bool = False


SETTINGS = Settings()
