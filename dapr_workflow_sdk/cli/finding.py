"""Finding instances: lists with filters, page by page, from every task hub that can list at all."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from functools import partial

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.cli.arguments import Status, parse_age, wire_statuses
from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.cli.rendering import end_of
from dapr_workflow_sdk.cli.session import Session
from dapr_workflow_sdk.taskhub.port import TaskHub
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import nanoseconds, timestamp_of

# How many instances are asked for at a time when all are wanted, and how many states a sidecar is asked for at once.
_PAGE = 200
_AT_ONCE = 16


@dataclass(frozen=True)
class Filter:
    """Which instances are meant; what is left out does not matter.

    Attributes:
        statuses: Any of these.
        name: Name of the workflow.
        prefix: How ids begin.
        since: Created then or later.
        until: Created before then.
        by_end: Whether the two are about the end of an instance instead; one that has not ended is not meant then.
    """

    statuses: tuple[Status, ...] = ()
    name: str = ""
    prefix: str = ""
    since: Timestamp | None = None
    until: Timestamp | None = None
    by_end: bool = False

    def accepts(self, state: pb.WorkflowState) -> bool:
        """Whether an instance is meant."""
        moment = end_of(state) if self.by_end else nanoseconds(state.createdTimestamp)
        return moment is not None and (
            (not self.statuses or state.workflowStatus in wire_statuses(self.statuses))
            and (not self.name or state.name == self.name)
            and state.instanceId.startswith(self.prefix)
            and (self.since is None or moment >= nanoseconds(self.since))
            and (self.until is None or moment < nanoseconds(self.until))
        )


def make_filter(
    status: list[Status] | None,
    name: str | None,
    prefix: str | None,
    older_than: str | None,
    younger_than: str | None,
    *,
    by_end: bool = False,
) -> Filter:
    """The filter that options ask for; ages are those of instances, or with `by_end` count from their end."""
    return Filter(
        tuple(status or ()),
        name or "",
        prefix or "",
        None if younger_than is None else _back(parse_age(younger_than)),
        None if older_than is None else _back(parse_age(older_than)),
        by_end,
    )


def _back(age: timedelta) -> Timestamp:
    try:
        return timestamp_of(datetime.now(timezone.utc) - age)
    except OverflowError:
        raise CommandError("Nothing is as old as that.") from None


@dataclass(frozen=True)
class Page:
    """A part of a list, and the token of the next one; empty if there is none."""

    states: list[pb.WorkflowState]
    token: str


async def read_page(hub: TaskHub, wanted: Filter, limit: int, token: str, *, payloads: bool) -> Page:
    """Reads a page; by the end of instances it may have fewer than there is room for.

    Raises:
        CommandError: The task hub cannot list instances.
    """
    capabilities = await hub.capabilities()
    if capabilities.extensions:
        request = pb.ListInstancesRequest(
            runtimeStatus=wire_statuses(wanted.statuses),
            name=wanted.name,
            idPrefix=wanted.prefix,
            # Whatever has ended before a moment was created before it; after one, it may have been created at any time.
            createdTimeFrom=None if wanted.by_end else wanted.since,
            createdTimeTo=wanted.until,
            pageSize=limit,
            continuationToken=token,
            getInputsAndOutputs=payloads,
        )
        response = await hub.instances(request)
        found = [state for state in response.workflowStates if not wanted.by_end or wanted.accepts(state)]
        return Page(found, response.continuationToken)
    if not capabilities.lists:
        raise CommandError(
            f"The sidecar at {hub.description} cannot list its instances; Dapr's can from version 1.17 on. Name the "
            "instances you mean, as in: dapr-workflow show ID."
        )
    return await _walk(hub, wanted, limit, token, payloads=payloads)


async def _walk(hub: TaskHub, wanted: Filter, limit: int, token: str, *, payloads: bool) -> Page:
    """A page of a sidecar, which tells ids only: states are asked for one by one, and filtered here.

    The token is that of the sidecar's page, after the number of its ids that were dealt with.
    """
    head, _, upstream = token.partition(".")
    skip = int(head) if head.isdecimal() else 0
    found: list[pb.WorkflowState] = []
    while True:
        request = pb.ListInstanceIDsRequest(pageSize=_PAGE)
        if upstream:
            request.continuationToken = upstream
        response = await hub.list_ids(request)
        ids = list(response.instanceIds)
        while skip < len(ids):
            part = ids[skip : skip + min(_AT_ONCE, limit - len(found))]
            skip += len(part)
            asked = [hub.state(one, payloads=payloads) for one in part if one.startswith(wanted.prefix)]
            # An instance may have been purged since its id was told.
            found += [state for state in await asyncio.gather(*asked) if state is not None and wanted.accepts(state)]
            if len(found) == limit:
                more = skip < len(ids) or response.continuationToken
                return Page(found, f"{skip}.{upstream}" if more else "")
        if not response.continuationToken:
            return Page(found, "")
        upstream, skip = response.continuationToken, 0


def find_all(session: Session, wanted: Filter, *, payloads: bool) -> Iterator[pb.WorkflowState]:
    """All instances that are meant."""
    token = ""
    while True:
        page = session.call(partial(read_page, session.hub, wanted, _PAGE, token, payloads=payloads))
        yield from page.states
        token = page.token
        if not token:
            return
