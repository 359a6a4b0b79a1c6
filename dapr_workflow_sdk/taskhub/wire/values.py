"""Small conversions between wire values and Python values."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from google.protobuf.wrappers_pb2 import StringValue

from dapr_workflow_sdk.errors import FailureDetails
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

EPOCH = datetime(1970, 1, 1)  # noqa: DTZ001 - naive times are UTC here
# When the timer of a wait without a timeout fires: never, as far as any task hub is concerned.
NEVER = Timestamp(seconds=253402300799, nanos=999999999)
NEVER_NS = NEVER.seconds * 1_000_000_000 + NEVER.nanos
# An instance with one of these has ended.
FINAL_STATUSES = frozenset(
    {
        pb.WORKFLOW_STATUS_COMPLETED,
        pb.WORKFLOW_STATUS_FAILED,
        pb.WORKFLOW_STATUS_CANCELED,
        pb.WORKFLOW_STATUS_TERMINATED,
    }
)

# The statuses by their names without the prefix that all of them have on the wire.
STATUSES: Mapping[str, Any] = {
    name.removeprefix("WORKFLOW_STATUS_"): status for name, status in pb.WorkflowStatus.items()
}
_STATUS_NAMES: Mapping[int, str] = {status: name for name, status in STATUSES.items()}


def status_name(status: int) -> str:
    """The name of a status without its prefix; the number, if it is none that is known."""
    return _STATUS_NAMES.get(status, str(status))


def text_of(value: str | None) -> StringValue | None:
    """A wire string that can be absent."""
    return None if value is None else StringValue(value=value)


def naive_utc(seconds: int, nanos: int) -> datetime:
    """A moment as naive UTC, cut to microseconds."""
    return EPOCH + timedelta(seconds=seconds, microseconds=nanos // 1000)


def to_naive_utc(moment: datetime) -> datetime:
    """A moment as naive UTC; a naive one is taken to be UTC already."""
    if moment.utcoffset() is None:
        return moment.replace(tzinfo=None)
    return moment.astimezone(timezone.utc).replace(tzinfo=None)


def timestamp_of(moment: datetime) -> Timestamp:
    """The wire form of a moment; a naive one is taken to be UTC."""
    since = to_naive_utc(moment) - EPOCH
    return Timestamp(seconds=since.days * 86400 + since.seconds, nanos=since.microseconds * 1000)


def nanoseconds(moment: Timestamp) -> int:
    """Nanoseconds since 1970."""
    return moment.seconds * 1_000_000_000 + moment.nanos


def timestamp_from_ns(moment: int) -> Timestamp:
    """The wire form of nanoseconds since 1970."""
    return Timestamp(seconds=moment // 1_000_000_000, nanos=moment % 1_000_000_000)


def failure_to_wire(details: FailureDetails) -> pb.TaskFailureDetails:
    """Failure details in their wire form."""
    return pb.TaskFailureDetails(
        errorType=details.error_type,
        errorMessage=details.message,
        stackTrace=text_of(details.stack_trace),
        innerFailure=None if details.cause is None else failure_to_wire(details.cause),
        isNonRetriable=details.is_final,
    )


def failure_from_wire(details: pb.TaskFailureDetails) -> FailureDetails:
    """Failure details as the public API shows them."""
    return FailureDetails(
        message=details.errorMessage,
        error_type=details.errorType,
        stack_trace=details.stackTrace.value if details.HasField("stackTrace") else None,
        cause=failure_from_wire(details.innerFailure) if details.HasField("innerFailure") else None,
        is_final=details.isNonRetriable,
    )
