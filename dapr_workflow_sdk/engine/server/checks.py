"""What is looked at in a message before the engine sees it.

The engine stores what it is given and sends it on inside other messages. So what could be stored and not be read
again, or be sent and not be read by a worker, has to be stopped here.
"""

from __future__ import annotations

from typing import TypeVar

from google.protobuf.message import DecodeError, Message
from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.engine.server.limits import Limits, exhausted, longest_text
from dapr_workflow_sdk.taskhub.failures import invalid
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import NEVER

M = TypeVar("M", bound=Message)

# Protobuf reads messages that are nested 100 deep, and a failure is stored and sent a few levels deeper than it came.
_DEEPEST_FAILURE = 50
# The years 1 to 9999, which is what a Timestamp can hold.
_EARLIEST, _LATEST = -62_135_596_800, 253_402_300_799
# Stores keep nanoseconds in 64 bits, which end in the year 2262, and a rerun moves timers. So a time after the year
# 2200 is never, and one as long before 1970 was always.
_FURTHEST = 7_258_118_400
_STATUSES = frozenset(pb.WorkflowStatus.values())


def read(kind: type[M], data: bytes, limits: Limits) -> M:
    """A message as it came, checked.

    Raises:
        InvalidOperationError: It is not such a message, or says what cannot be.
        TaskHubError: It is beyond a limit.
    """
    message = parse(kind, data)
    inspect(message, len(data), limits)
    return message


def parse(kind: type[M], data: bytes) -> M:
    """A message as it came.

    Raises:
        InvalidOperationError: It is not such a message.
    """
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise invalid(f"This is no {kind.__name__}: {error}.") from error


def inspect(message: Message, size: int, limits: Limits) -> None:
    """Refuses what a message says that cannot be, or is beyond a limit; `size` is how many bytes it came in.

    Raises:
        InvalidOperationError: It says what cannot be.
        TaskHubError: It is beyond a limit.
    """
    if size > limits.payload_bytes and (longest := longest_text(message)) > limits.payload_bytes:
        taken = f"{limits.payload_bytes:,} bytes"
        raise exhausted(f"A payload of {longest:,} bytes is too large: this engine takes {taken}.")
    # What is not known is not stored: nobody could read it, and it may be nested as deep as a message can be.
    message.DiscardUnknownFields()
    check(message, limits)


def check(message: Message, limits: Limits) -> None:
    """Refuses what a request says that cannot be, and cuts failures that are nested too deep to be sent on.

    Raises:
        InvalidOperationError: It says what cannot be.
    """
    if isinstance(message, pb.CreateInstanceRequest):
        check_id(message.instanceId, limits)
        check_name("workflow", message.name, limits)
        if message.HasField("scheduledStartTimestamp"):
            _check_time("start time", message.scheduledStartTimestamp)
    elif isinstance(message, pb.RerunWorkflowFromEventRequest):
        check_id(message.newInstanceID, limits)
    elif isinstance(message, pb.RaiseEventRequest):
        check_name("event", message.name, limits)
    elif isinstance(message, pb.ActivityResponse):
        if message.HasField("failureDetails"):
            _cut(message.failureDetails)
    elif isinstance(message, pb.WorkflowResponse):
        for action in message.actions:
            _check_action(action)
    elif isinstance(message, pb.ListInstanceIDsRequest | pb.ListInstancesRequest):
        message.pageSize = min(message.pageSize, limits.page_size)
        if isinstance(message, pb.ListInstancesRequest):
            _check_filter(message)
    elif isinstance(message, pb.PurgeInstancesRequest):
        _check_filter(message.purgeInstanceFilter)


def _check_action(action: pb.WorkflowAction) -> None:
    kind = action.WhichOneof("workflowActionType")
    if kind == "createTimer":
        _check_time("time of a timer", action.createTimer.fireAt)
    elif kind == "createDetachedWorkflow" and action.createDetachedWorkflow.HasField("scheduledStartTimestamp"):
        _check_time("start time", action.createDetachedWorkflow.scheduledStartTimestamp)
    elif kind == "completeWorkflow":
        complete = action.completeWorkflow
        if complete.HasField("failureDetails"):
            _cut(complete.failureDetails)
        for event in complete.carryoverEvents:
            _check_time("time of an event", event.timestamp)


def check_id(instance_id: str, limits: Limits) -> None:
    """Refuses an id that is too long.

    Raises:
        InvalidOperationError: It is.
    """
    if len(instance_id) > limits.id_characters:
        raise invalid(
            f"An instance id of {len(instance_id):,} characters is too long: this engine takes "
            f"{limits.id_characters:,} characters."
        )


def check_name(what: str, name: str, limits: Limits) -> None:
    """Refuses a name that is too long.

    Raises:
        InvalidOperationError: It is.
    """
    if len(name) > limits.name_characters:
        raise invalid(
            f"The name of a {what} of {len(name):,} characters is too long: this engine takes "
            f"{limits.name_characters:,} characters."
        )


def _check_filter(wanted: pb.ListInstancesRequest | pb.PurgeInstanceFilter) -> None:
    for status in wanted.runtimeStatus:
        if status not in _STATUSES:
            raise invalid(f"{status} is the number of no status")
    if wanted.HasField("createdTimeFrom"):
        _check_time("time that instances are created from", wanted.createdTimeFrom)
    if wanted.HasField("createdTimeTo"):
        _check_time("time that instances are created to", wanted.createdTimeTo)


def _check_time(what: str, moment: Timestamp) -> None:
    if not (_EARLIEST <= moment.seconds <= _LATEST and 0 <= moment.nanos < 1_000_000_000):
        raise invalid(
            f"The {what} is no time: {moment.seconds} seconds and {moment.nanos} nanoseconds are outside of the "
            "years 1 to 9999."
        )
    if moment != NEVER and not -_FURTHEST <= moment.seconds <= _FURTHEST:
        moment.seconds = _FURTHEST if moment.seconds > 0 else -_FURTHEST


def _cut(failure: pb.TaskFailureDetails) -> None:
    for _ in range(_DEEPEST_FAILURE):
        if not failure.HasField("innerFailure"):
            return
        failure = failure.innerFailure
    failure.ClearField("innerFailure")
