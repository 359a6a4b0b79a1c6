"""Calls that workflow code made: what each is waiting for, and the action it becomes if history lacks it."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, ClassVar

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import Task
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import naive_utc, text_of

Place = tuple[str, int]

# The namespace and the name that the .NET and Python SDKs of Dapr make their ids from.
_GUID_NAMESPACE = uuid.UUID("9e952958-5e33-4daf-827f-2fa12937b875").bytes


# Continued for every id, so that the hash is set up once.
_GUID_HASH = hashlib.sha1(_GUID_NAMESPACE, usedforsecurity=False)
_VARIANTS = "89ab"


def guid_text(instance_id: str, now: datetime, counter: int) -> str:
    """The `counter`-th id of a turn, as text: ``uuid5`` of the instance, the time of the turn and the counter."""
    hashed = _GUID_HASH.copy()
    hashed.update(f"{instance_id}_{now.isoformat()}_{counter}".encode())
    text = hashed.hexdigest()
    variant = _VARIANTS[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-5{text[13:16]}-{variant}{text[17:20]}-{text[20:32]}"


class Unwritten:
    """The input of a call that history records, so that nobody will read its text."""

    __slots__ = ("value", "write")

    def __init__(self, value: Any, write: Callable[[Any], str]) -> None:
        self.value = value
        self.write = write


class Retry:
    """The retry state of one logical call, shared by all its tries."""

    __slots__ = ("attempts", "first_try", "policy")

    def __init__(self, policy: RetryPolicy, first_try: datetime) -> None:
        self.policy = policy
        self.first_try = first_try
        self.attempts = 1


class Call:
    """One call under its id: `task` is what the workflow waits for."""

    __slots__ = ("id", "name", "place", "task")
    kind: ClassVar[str]
    confirmed_by: ClassVar[str]

    def __init__(self, call_id: int, task: Task[Any], place: Place, name: str = "") -> None:
        self.id = call_id
        self.task = task
        self.place = place
        self.name = name

    @property
    def label(self) -> str:
        raise NotImplementedError

    def action(self, run: GuidSource) -> pb.WorkflowAction:
        raise NotImplementedError


class GuidSource:
    """What building an action may ask of the run: its ids."""

    __slots__ = ("app_id", "instance_id")

    def __init__(self, instance_id: str) -> None:
        self.instance_id = instance_id
        self.app_id: str | None = None

    def router(self, target: str | None) -> pb.TaskRouter | None:
        """Where a call goes. Old sidecars lose the result of a call that names a target but no source."""
        if self.app_id is None and target is None:
            return None
        return pb.TaskRouter(sourceAppID=self.app_id or "", targetAppID=target)


class ActivityCall(Call):
    """A call of an activity."""

    __slots__ = ("_input", "app_id", "decode", "guid_counter", "guid_time", "retry")
    kind = "activity"
    confirmed_by = "taskScheduled"

    def __init__(
        self,
        call_id: int,
        task: Task[Any],
        place: Place,
        name: str,
        text: str | Unwritten | None,
        app_id: str | None,
        decode: Callable[[str], Any],
        retry: Retry | None,
        guid_time: tuple[int, int],
        guid_counter: int,
    ) -> None:
        self.id = call_id
        self.task = task
        self.place = place
        self.name = name
        self._input = text
        self.app_id = app_id
        self.decode = decode
        self.retry = retry
        self.guid_time = guid_time
        self.guid_counter = guid_counter

    @property
    def input(self) -> str | None:
        """Payload text of the input."""
        text = self._input
        if isinstance(text, Unwritten):
            text = self._input = text.write(text.value)
        return text

    @property
    def label(self) -> str:
        return f"a call of activity {self.name!r}"

    def task_execution_id(self, run: GuidSource) -> str:
        """Computed only when needed: most replayed calls never do."""
        return guid_text(run.instance_id, naive_utc(*self.guid_time), self.guid_counter)

    def again(self, call_id: int) -> ActivityCall:
        """The same call under a new id, for the next try."""
        return ActivityCall(
            call_id,
            self.task,
            self.place,
            self.name,
            self.input,
            self.app_id,
            self.decode,
            self.retry,
            self.guid_time,
            self.guid_counter,
        )

    def retry_timer(self, run: GuidSource) -> pb.CreateTimerAction:
        return pb.CreateTimerAction(
            activityRetry=pb.TimerOriginActivityRetry(taskExecutionId=self.task_execution_id(run))
        )

    def action(self, run: GuidSource) -> pb.WorkflowAction:
        # Set where they are: to make the parts first and copy them in takes three times as long.
        action = pb.WorkflowAction(id=self.id)
        asked = action.scheduleTask
        asked.name = self.name
        asked.taskExecutionId = self.task_execution_id(run)
        if self.input is not None:
            asked.input.value = self.input
        if run.app_id is not None or self.app_id is not None:
            for router in (asked.router, action.router):
                router.sourceAppID = run.app_id or ""
                if self.app_id is not None:
                    router.targetAppID = self.app_id
        return action


class ChildCall(Call):
    """The start of a child workflow."""

    __slots__ = ("app_id", "child_id", "decode", "input", "retry")
    kind = "child workflow"
    confirmed_by = "childWorkflowInstanceCreated"

    def __init__(
        self,
        call_id: int,
        task: Task[Any],
        place: Place,
        name: str,
        text: str | None,
        app_id: str | None,
        decode: Callable[[str], Any],
        retry: Retry | None,
        child_id: str,
    ) -> None:
        super().__init__(call_id, task, place, name)
        self.input = text
        self.app_id = app_id
        self.decode = decode
        self.retry = retry
        self.child_id = child_id

    @property
    def label(self) -> str:
        return f"a call of child workflow {self.name!r}"

    def again(self, call_id: int) -> ChildCall:
        """The same call under a new id; a retried child keeps its instance id."""
        return ChildCall(
            call_id, self.task, self.place, self.name, self.input, self.app_id, self.decode, self.retry, self.child_id
        )

    def retry_timer(self, run: GuidSource) -> pb.CreateTimerAction:
        return pb.CreateTimerAction(childWorkflowRetry=pb.TimerOriginChildWorkflowRetry(instanceId=self.child_id))

    def action(self, run: GuidSource) -> pb.WorkflowAction:
        return pb.WorkflowAction(
            id=self.id,
            createChildWorkflow=pb.CreateChildWorkflowAction(
                instanceId=self.child_id,
                name=self.name,
                input=text_of(self.input),
                router=run.router(self.app_id),
            ),
            router=run.router(self.app_id),
        )


class TimerCall(Call):
    """A timer: one that the workflow asked for, the timeout of a wait, or the delay before a retry."""

    __slots__ = ("event_name", "fire_at", "optional", "retries", "wait")
    kind = "timer"
    confirmed_by = "timerCreated"

    def __init__(
        self,
        call_id: int,
        task: Task[Any],
        place: Place,
        fire_at: Timestamp,
        *,
        wait: EventWait | None = None,
        retries: ActivityCall | ChildCall | None = None,
        optional: bool = False,
    ) -> None:
        super().__init__(call_id, task, place)
        self.fire_at = fire_at
        self.wait = wait
        self.retries = retries
        self.optional = optional

    @property
    def label(self) -> str:
        if self.retries is not None:
            return f"the timer before the next try of {self.retries.label}"
        if self.wait is not None:
            return f"the timer of a wait for event {self.wait.name!r}"
        return "a timer"

    def action(self, run: GuidSource) -> pb.WorkflowAction:
        if self.retries is not None:
            timer = self.retries.retry_timer(run)
        elif self.wait is not None:
            timer = pb.CreateTimerAction(externalEvent=pb.TimerOriginExternalEvent(name=self.wait.name))
        else:
            timer = pb.CreateTimerAction(createTimer=pb.TimerOriginCreateTimer())
        timer.fireAt.CopyFrom(self.fire_at)
        return pb.WorkflowAction(id=self.id, createTimer=timer)


class EventWait:
    """One waiter for an external event."""

    __slots__ = ("name", "task", "timeout")

    def __init__(self, name: str, task: Task[Any], timeout: object) -> None:
        self.name = name
        self.task = task
        self.timeout = timeout
