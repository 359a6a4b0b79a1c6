"""Ids of instances that nobody has named."""

from __future__ import annotations

import time
import uuid

from dapr_workflow_sdk.taskhub.identifiers import new_instance_id, with_dashes


def test_they_are_uuids_of_version_7() -> None:
    for _ in range(100):
        digits = new_instance_id()
        read = uuid.UUID(digits)
        assert (read.version, read.variant) == (7, uuid.RFC_4122)
        assert read.hex == digits
        assert str(read) == with_dashes(digits)


def test_they_differ_and_follow_the_clock() -> None:
    before = time.time_ns() // 1_000_000
    ids = [new_instance_id() for _ in range(10_000)]
    after = time.time_ns() // 1_000_000
    assert len(set(ids)) == len(ids)
    times = [int(digits[:12], 16) for digits in ids]
    assert times == sorted(times)
    assert before <= times[0] <= times[-1] <= after
