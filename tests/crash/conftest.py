"""What the crash tests share."""

from __future__ import annotations

import os
import random

import pytest


@pytest.fixture
def dice() -> random.Random:
    """Chance, from a seed that the output names; ``CRASH_SEED`` sets it."""
    seed = int(os.environ.get("CRASH_SEED") or random.SystemRandom().randrange(1 << 32))
    print(f"CRASH_SEED={seed}")
    return random.Random(seed)
