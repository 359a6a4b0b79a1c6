"""What an activity learns about its call, and that a test can make one by hand."""

from __future__ import annotations

import pytest

from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext


def test_a_test_makes_one_from_an_id_and_a_number() -> None:
    context = WorkflowActivityContext("order-7", 1)
    assert (context.workflow_id, context.task_id) == ("order-7", 1)
    assert context.task_execution_id == ""
    assert context.attempt is None


def test_code_for_the_official_sdk_finds_the_inner_context() -> None:
    context = WorkflowActivityContext("order-7", 1, task_execution_id="key")
    assert context.get_inner_context().task_execution_id == "key"


def test_it_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        WorkflowActivityContext("order-7", 1).task_id = 2  # type: ignore[misc]
