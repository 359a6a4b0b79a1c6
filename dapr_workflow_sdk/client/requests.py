"""Requests to a task hub: the one place where arguments of clients become wire messages."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.client.history import UNSET
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import PayloadError
from dapr_workflow_sdk.taskhub.failures import invalid
from dapr_workflow_sdk.taskhub.identifiers import new_instance_id
from dapr_workflow_sdk.taskhub.trace_context import active_context
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import timestamp_of

# Numbers that 32 bits hold.
_HIGHEST = 2**32 - 1


class Requests:
    """Builds requests with one converter."""

    def __init__(self, converter: Converter) -> None:
        """Uses `converter` for every payload."""
        self._converter = converter

    def _payload(self, value: Any, what: str) -> StringValue | None:
        if value is None:
            return None
        try:
            return StringValue(value=self._converter.encode(value))
        except PayloadError as error:
            raise PayloadError(f"{what} cannot be sent. {error}") from error

    def start(
        self, workflow: Callable[..., Any] | str, value: Any, instance_id: str | None, start_at: datetime | None
    ) -> pb.CreateInstanceRequest:
        """A request to start an instance; ids made here are 32 hexadecimal digits."""
        name = workflow if isinstance(workflow, str) else name_of(workflow)
        if instance_id is not None:
            check_instance_id(instance_id)
        return pb.CreateInstanceRequest(
            instanceId=new_instance_id() if instance_id is None else instance_id,
            name=name,
            input=self._payload(value, f"The input of workflow {name!r}"),
            scheduledStartTimestamp=None if start_at is None else timestamp_of(start_at),
            parentTraceContext=active_context(),
        )

    def raise_event(self, instance_id: str, event_name: str, data: Any) -> pb.RaiseEventRequest:
        """A request to raise an event."""
        if not event_name:
            raise invalid("An event needs a name that is not empty.")
        return pb.RaiseEventRequest(
            instanceId=instance_id, name=event_name, input=self._payload(data, f"The data of event {event_name!r}")
        )

    def terminate(self, instance_id: str, output: Any, recursive: bool) -> pb.TerminateRequest:
        """A request to end an instance."""
        return pb.TerminateRequest(
            instanceId=instance_id,
            output=self._payload(output, "The output of a terminated workflow"),
            recursive=recursive,
        )

    def list_ids(self, page_size: int | None, continuation_token: str | None) -> pb.ListInstanceIDsRequest:
        """A request for a page of ids."""
        if page_size is not None and not 0 < page_size <= _HIGHEST:
            raise ValueError(f"A page has from 1 to {_HIGHEST} ids, not {page_size}.")
        return pb.ListInstanceIDsRequest(pageSize=page_size, continuationToken=continuation_token)

    def rerun(
        self, instance_id: str, event_id: int, new_instance_id: str | None, value: Any, new_child_id: str | None
    ) -> pb.RerunWorkflowFromEventRequest:
        """A request to run a finished instance again from an event."""
        if not 0 <= event_id <= _HIGHEST:
            raise ValueError(
                f"An instance can run again from the event of a call, whose number is from 0 to {_HIGHEST}; {event_id} "
                "is none."
            )
        if new_instance_id is not None:
            check_instance_id(new_instance_id)
        if new_child_id is not None:
            check_instance_id(new_child_id)
        request = pb.RerunWorkflowFromEventRequest(
            sourceInstanceID=instance_id,
            eventID=event_id,
            newInstanceID=new_instance_id,
            newChildWorkflowInstanceID=new_child_id,
        )
        if value is not UNSET:
            request.overwriteInput = True
            payload = self._payload(value, f"The new input of event {event_id}")
            if payload is not None:
                request.input.CopyFrom(payload)
        return request

    def purge(self, instance_id: str, recursive: bool) -> pb.PurgeInstancesRequest:
        """A request to remove an instance."""
        return pb.PurgeInstancesRequest(instanceId=instance_id, recursive=recursive)


def check_instance_id(instance_id: str) -> None:
    """Refuses ids that some task hub accepts and then cannot work with.

    A Dapr sidecar stores an instance with such an id and can never run it: its scheduler takes only certain
    characters, and ``::`` separates an instance from its activities there.

    Raises:
        InvalidOperationError: The id is one of those.
    """
    problem = ""
    if not instance_id:
        problem = "it is empty"
    elif len(instance_id) > 200:
        problem = f"it has {len(instance_id)} characters, and 200 are the most"
    elif "::" in instance_id:
        problem = "it contains '::'"
    elif not instance_id[0].isalnum():
        problem = f"it begins with {instance_id[0]!r}"
    else:
        odd = sorted({c for c in instance_id if not (c.isascii() and (c.isalnum() or c in "_-.: "))} - {"|"})
        if odd:
            problem = f"it contains {', '.join(map(repr, odd))}"
        elif "|" in instance_id.replace("||", ""):
            problem = "it contains a single '|'"
    if problem:
        raise invalid(
            f"{instance_id!r} cannot be the id of a workflow instance: {problem}. Use letters, digits, '_', '-', '.', "
            "and ':' between other characters."
        )
