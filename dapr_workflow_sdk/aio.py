"""Clients for ``async`` code: the names of the package's root, with methods to be awaited.

Example::

    from dapr_workflow_sdk.aio import WorkflowClient

    async with WorkflowClient() as client:
        instance_id = await client.schedule_new_workflow(process_order, input=order)
        state = await client.wait_for_workflow_completion(instance_id)

`WorkflowRuntime` of the package's root is an ``async with`` context manager already.
"""

from __future__ import annotations

from dapr_workflow_sdk.client.async_client import AsyncWorkflowClient as DaprWorkflowClient
from dapr_workflow_sdk.client.async_client import AsyncWorkflowClient as WorkflowClient

__all__ = ["DaprWorkflowClient", "WorkflowClient"]
