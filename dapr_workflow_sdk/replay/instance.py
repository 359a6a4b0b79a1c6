"""One live run of a workflow instance: how history events move its code, and what the code asks for."""

from __future__ import annotations

import sys
import uuid
from collections.abc import Callable
from datetime import datetime, timedelta
from types import CodeType
from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp

from dapr_workflow_sdk.authoring.context import DaprWorkflowContext
from dapr_workflow_sdk.authoring.definitions import (
    UNTYPED,
    Definition,
    Registry,
    result_type_of,
)
from dapr_workflow_sdk.authoring.retry import RetryPolicy
from dapr_workflow_sdk.authoring.tasks import Task
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.converter.arguments import read_arguments
from dapr_workflow_sdk.errors import (
    AuthoringError,
    FailureDetails,
    NotSupportedError,
    PayloadError,
    RegistrationError,
    TaskFailedError,
    WorkflowNotRegisteredError,
    describe_failure,
)
from dapr_workflow_sdk.replay.calls import (
    ActivityCall,
    Call,
    ChildCall,
    EventWait,
    GuidSource,
    Place,
    Retry,
    TimerCall,
    Unwritten,
    guid_text,
)
from dapr_workflow_sdk.replay.code import Code, End, NotATask, Returned
from dapr_workflow_sdk.replay.events import ExternalEvents
from dapr_workflow_sdk.replay.explanation import not_a_task
from dapr_workflow_sdk.replay.ledger import Ledger, Settle
from dapr_workflow_sdk.replay.outcome import Outcome, ending_of
from dapr_workflow_sdk.replay.parting import PartingError
from dapr_workflow_sdk.replay.patches import Patches
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import (
    EPOCH,
    NEVER,
    failure_from_wire,
    failure_to_wire,
    naive_utc,
    text_of,
    timestamp_of,
    to_naive_utc,
)

_BEFORE_TIME = datetime(1000, 1, 1)  # noqa: DTZ001 - naive as in the official SDK
_BEFORE_CLOCK = (int((_BEFORE_TIME - EPOCH).total_seconds()), 0)
_ZERO = timedelta(0)
_MOST_REFUSALS = 3
# A suspended instance still reacts to these; everything else waits for it to be resumed.
_NOT_HELD = frozenset({"executionResumed", "executionTerminated"})


class Instance:
    """A run of one instance. `feed` it history events in order, then ask for its `actions`."""

    def __init__(self, instance_id: str, registry: Registry, converter: Converter, *, versions: bool = True) -> None:
        """Starts with nothing known; the first events bring the definition and the input.

        Args:
            instance_id: Id of the instance.
            registry: Where the workflow's code is found.
            converter: How payloads are read and written.
            versions: Whether the task hub keeps the version of the code and its patches.
        """
        self.instance_id = instance_id
        self.workflow_name = ""
        self.definition: Definition | None = None
        self.execution_id = ""
        self.custom_status: str | None = None
        # The version of the code, if the workflow has several.
        self.version_name: str | None = None
        self.patches = Patches()
        # Numbers of the activities that the history records: their inputs go nowhere, so they need no text.
        self.recorded: frozenset[int] = frozenset()
        self.outcome: Outcome | None = None
        self.is_replaying = True
        self.suspended = False
        # What the worker should write to its log; this module writes nothing itself.
        self.notices: list[str] = []
        self._registry = registry
        self._converter = converter
        self._ids = GuidSource(instance_id)
        # The code could not be found or its input not be read: the rest of the history says nothing about it.
        self._stillborn = False
        self._guids = 0
        self._refusals = 0
        self._clock = _BEFORE_CLOCK
        self._now: datetime | None = _BEFORE_TIME
        self._code = Code()
        self._ledger = Ledger()
        self._events = ExternalEvents()
        self._held: list[tuple[str, pb.HistoryEvent]] = []
        self._renewal: tuple[str | None, bool] | None = None
        self._keeps_versions = versions
        self._recorded_version = ""
        self._version_missing = False

    # ---- what workflow code asks for (WorkflowCalls) -------------------------------------------------------

    @property
    def now(self) -> datetime:
        """Time of the current turn, naive UTC."""
        if self._now is None:
            self._now = naive_utc(*self._clock)
        return self._now

    def new_guid(self) -> uuid.UUID:
        """The next id of this run."""
        if self._dropped():
            return uuid.UUID(int=0)
        text = guid_text(self.instance_id, self.now, self._guids)
        self._guids += 1
        return uuid.UUID(text)

    def set_custom_status(self, status: Any) -> None:
        """Keeps the status; every answer to the task hub carries it, or the task hub would clear it."""
        if self._dropped():
            return
        if isinstance(status, str):
            try:
                status.encode()
            except UnicodeEncodeError as error:
                raise PayloadError(f"A custom status must be text that UTF-8 has: {error}") from error
        self.custom_status = status if status is None or isinstance(status, str) else self._converter.encode(status)

    def call_activity(
        self, activity: Callable[..., Any] | str, value: Any, retry_policy: RetryPolicy | None, app_id: str | None
    ) -> Task[Any]:
        """A new activity call."""
        if self._dropped():
            return Task()
        call_id = self._next_id()
        counter = self._guids
        self._guids += 1
        name, decode = self._target("activity", activity)
        retry = None if retry_policy is None else Retry(retry_policy, self.now)
        text: str | Unwritten | None
        if value is None:
            text = None
        elif retry is None and call_id in self.recorded:
            text = Unwritten(value, self._converter.encode)
        else:
            text = self._encode_input(value, f"activity {name!r}")
        task: Task[Any] = Task()
        call = ActivityCall(call_id, task, self._caller(), name, text, app_id, decode, retry, self._clock, counter)
        self._ledger.add(call)
        return task

    def call_child_workflow(
        self,
        workflow: Callable[..., Any] | str,
        value: Any,
        instance_id: str | None,
        retry_policy: RetryPolicy | None,
        app_id: str | None,
    ) -> Task[Any]:
        """A new child workflow."""
        if self._dropped():
            return Task()
        call_id = self._next_id()
        name, decode = self._target("workflow", workflow)
        text = None if value is None else self._encode_input(value, f"child workflow {name!r}")
        task: Task[Any] = Task()
        retry = None if retry_policy is None else Retry(retry_policy, self.now)
        child_id = instance_id or f"{self.instance_id}:{call_id:04x}"
        self._ledger.add(ChildCall(call_id, task, self._caller(), name, text, app_id, decode, retry, child_id))
        return task

    def create_timer(self, fire_at: datetime | timedelta) -> Task[None]:
        """A new timer."""
        if self._dropped():
            return Task()
        moment = self._moment(fire_at, "create_timer")
        call_id = self._next_id()
        task: Task[None] = Task()
        self._ledger.add(TimerCall(call_id, task, self._caller(), moment))
        return task

    def wait_for_external_event(self, name: str, timeout: datetime | timedelta | None) -> Task[Any]:
        """A waiter for the next event of this name; the ledger tells about its timer."""
        if self._dropped():
            return Task()
        task: Task[Any] = Task()
        event = self._events.take(name)
        if event is not None:
            self._settle_payload(task, event.eventRaised.input.value, self._converter.decode)
            return task
        if isinstance(timeout, timedelta) and timeout == _ZERO:
            task._fail(TimeoutError(f"No event {name!r} is there, and the wait for it has a timeout of zero."))
            return task
        forever = timeout is None or (isinstance(timeout, timedelta) and timeout < _ZERO)
        moment = NEVER if timeout is None or forever else self._moment(timeout, "wait_for_external_event")
        wait = EventWait(name, task, None if forever else timeout)
        call_id = self._next_id()
        self._events.wait(wait)
        self._ledger.add(TimerCall(call_id, Task(), self._caller(), moment, wait=wait, optional=forever))
        return task

    def continue_as_new(self, value: Any, save_events: bool) -> None:
        """Remembers the next input; the first call of a run counts."""
        if self._dropped():
            return
        if self._renewal is None:
            text = None if value is None else self._encode_input(value, "the next run (continue_as_new)")
            self._renewal = (text, save_events)
            self._code.leaving = True

    def is_patched(self, patch_name: str) -> bool:
        """Whether the run goes the way of a change to its code."""
        if self._dropped():
            return False
        if not self._keeps_versions:
            raise NotSupportedError(
                f"Workflow {self.workflow_name!r}, instance {self.instance_id!r}: ctx.is_patched({patch_name!r}) needs "
                "a Dapr sidecar of version 1.17 or newer, or the engine of this package: older sidecars do not keep "
                "what was answered. Until then, register the changed workflow under a new name."
            )
        return self.patches.has(patch_name, replaying=self.is_replaying)

    def _next_id(self) -> int:
        return self._ledger.next_id()

    def _dropped(self) -> bool:
        """Whether the run is being dropped, so that nothing its code still asks for while it unwinds may happen.

        Raises:
            GeneratorExit: It is: the code ends here. Code that catches even this, again and again, gets an answer at
                last, so that it comes to its next wait.
            AuthoringError: The run is alive, but it is not its code that asks.
        """
        if self._code.inside:
            return False
        if self._code.closed:
            self._refusals += 1
            if self._refusals <= _MOST_REFUSALS:
                raise GeneratorExit
            return True
        raise AuthoringError(
            f"The context of workflow {self.workflow_name!r}, instance {self.instance_id!r}, was used outside of "
            "the workflow's own code, for instance by an activity, a thread or an asyncio task. Pass values to "
            "activities instead."
        )

    def _caller(self) -> Place:
        # Two frames of this package lie between here and workflow code: the method of this class and the context's.
        frame = sys._getframe(3)
        return (frame.f_code.co_filename, frame.f_lineno)

    def _target(self, kind: Any, target: Callable[..., Any] | str) -> tuple[str, Callable[[str], Any]]:
        if isinstance(target, str):
            return target, self._converter.decode
        name = self._registry.name_for(kind, target)
        wanted = result_type_of(target)
        if wanted is UNTYPED:
            return name, self._converter.decode
        converter = self._converter
        return name, lambda text: converter.decode(text, wanted)

    def _encode_input(self, value: Any, of: str) -> str:
        try:
            return self._converter.encode(value)
        except PayloadError as error:
            raise PayloadError(
                f"Workflow {self.workflow_name!r}, instance {self.instance_id!r}: the input of {of} cannot be sent. "
                f"{error}"
            ) from error

    def _moment(self, fire_at: datetime | timedelta, what: str) -> Timestamp:
        try:
            if isinstance(fire_at, timedelta):
                return timestamp_of(self.now + fire_at)
            return timestamp_of(to_naive_utc(fire_at))
        except AttributeError:
            raise TypeError(f"{what}() takes a timedelta or a datetime, not {type(fire_at).__name__}.") from None

    # ---- history events ------------------------------------------------------------------------------------

    def feed(self, event: pb.HistoryEvent) -> None:
        """Applies the next history event, and runs the code as far as it gets with it.

        Raises:
            NonDeterminismError: The event records something else than the code asked for.
        """
        kind = event.WhichOneof("eventType") or ""
        if self.suspended and kind not in _NOT_HELD and self.outcome is None:
            # Suspended or not, there is no count: a second suspension adds nothing.
            if kind != "executionSuspended":
                self._held.append((kind, event))
            return
        handler = _HANDLERS.get(kind)
        if self._stillborn:
            return
        if handler is None:
            self.notices.append(f"Ignored a history event of a kind this version does not know: {kind or 'unset'}.")
            return
        handler(self, event)

    def _on_workflow_started(self, event: pb.HistoryEvent) -> None:
        timestamp = event.timestamp
        self._clock = (timestamp.seconds, timestamp.nanos)
        self._now = None
        if event.workflowStarted.HasField("version"):
            version = event.workflowStarted.version
            self._recorded_version = version.name or self._recorded_version
            if version.patches:
                self.patches.record(list(version.patches))

    def _on_execution_started(self, event: pb.HistoryEvent) -> None:
        if self.definition is not None or self.outcome is not None:
            return
        started = event.executionStarted
        self.workflow_name = started.name
        self.execution_id = started.workflowInstance.executionId.value
        self._ids.app_id = event.router.targetAppID or event.router.sourceAppID
        try:
            definition = self._registry.find("workflow", started.name) or self._find_version(started.name)
            if self._version_missing:
                self._stillborn = True
                return
            if definition is None:
                known = ", ".join(self._registry.names("workflow")) or "none"
                raise WorkflowNotRegisteredError(
                    f"Workflow {started.name!r} of instance {self.instance_id!r} is not registered on this worker. "
                    f"Registered: {known}. Register it with @workflow or runtime.register_workflow(), under that name."
                )
            self.definition = definition
            arguments = read_arguments(definition, started.input.value, self._converter, self.instance_id)
        except (WorkflowNotRegisteredError, PayloadError, RegistrationError) as error:
            self._stillborn = True
            self._end_failed(error)
            return
        self._end(self._code.start(definition.function, DaprWorkflowContext(self), *arguments))

    def _find_version(self, name: str) -> Definition | None:
        """The version that the instance has begun with, or the latest one if it begins now."""
        versions = self._registry.versions_of(name)
        if not versions:
            return None
        version = self._recorded_version or self._registry.latest_version_of(name)
        if version is None:
            raise WorkflowNotRegisteredError(
                f"None of the versions of workflow {name!r} ({', '.join(versions)}) is registered with is_latest=True, "
                f"so instance {self.instance_id!r} cannot begin."
            )
        definition = self._registry.find_version(name, version)
        self.version_name = version
        if definition is None:
            self._version_missing = True
            self.notices.append(
                f"Version {version!r} of the workflow, with which the instance has begun, is not registered on this "
                f"worker; it has {', '.join(versions)}. The instance stalls until a worker has that version."
            )
        return definition

    def _confirm(self, event: pb.HistoryEvent, confirmed_by: str, name: str) -> None:
        """History records a call: it must be the one the code made under this number."""
        if self._ledger.confirm(event.eventId, confirmed_by, name):
            return
        who = f"Workflow {self.workflow_name!r}, instance {self.instance_id!r}"
        raise PartingError(who, event, self._ledger.pending(), self._code.place, ending_of(self.outcome))

    def _on_task_scheduled(self, event: pb.HistoryEvent) -> None:
        self._confirm(event, "taskScheduled", event.taskScheduled.name)

    def _on_child_created(self, event: pb.HistoryEvent) -> None:
        self._confirm(event, "childWorkflowInstanceCreated", event.childWorkflowInstanceCreated.name)

    def _on_timer_created(self, event: pb.HistoryEvent) -> None:
        created = event.timerCreated
        if created.fireAt == NEVER and created.WhichOneof("origin") in (None, "externalEvent"):
            self._ledger.confirm_optional(event.eventId)
        else:
            self._confirm(event, "timerCreated", "")

    def _settle(self, call_id: int, kind: str, settle: Settle) -> None:
        if self.outcome is not None:
            return
        ignored = self._ledger.settle(call_id, kind, settle)
        if ignored is None:
            self._end(self._code.resume())
        elif not self.is_replaying:
            self.notices.append(ignored)

    def _on_task_completed(self, event: pb.HistoryEvent) -> None:
        completed = event.taskCompleted
        self._settle(completed.taskScheduledId, "activity", self._completed(completed.result.value))

    def _on_task_failed(self, event: pb.HistoryEvent) -> None:
        failed = event.taskFailed
        self._settle(failed.taskScheduledId, "activity", self._failed(failed.failureDetails))

    def _on_child_completed(self, event: pb.HistoryEvent) -> None:
        completed = event.childWorkflowInstanceCompleted
        self._settle(completed.taskScheduledId, "child workflow", self._completed(completed.result.value))

    def _on_child_failed(self, event: pb.HistoryEvent) -> None:
        failed = event.childWorkflowInstanceFailed
        details = failed.failureDetails if failed.HasField("failureDetails") else None
        self._settle(failed.taskScheduledId, "child workflow", self._failed(details))

    def _on_timer_fired(self, event: pb.HistoryEvent) -> None:
        self._settle(event.timerFired.timerId, "timer", self._fired)

    def _on_event_raised(self, event: pb.HistoryEvent) -> None:
        wait = None if self.outcome is not None else self._events.first_waiter(event.eventRaised.name)
        if wait is None:
            self._events.keep(event)
            return
        self._settle_payload(wait.task, event.eventRaised.input.value, self._converter.decode)
        self._end(self._code.resume())

    def _on_suspended(self, event: pb.HistoryEvent) -> None:
        self.suspended = True

    def _on_resumed(self, event: pb.HistoryEvent) -> None:
        self.suspended = False
        held, self._held = self._held, []
        for _, earlier in held:
            self.feed(earlier)

    def _on_terminated(self, event: pb.HistoryEvent) -> None:
        if self.outcome is not None and self.outcome.status != pb.WORKFLOW_STATUS_CONTINUED_AS_NEW:
            return
        self.suspended = False
        output = event.executionTerminated.input
        self.outcome = Outcome(
            pb.WORKFLOW_STATUS_TERMINATED,
            result=output.value if event.executionTerminated.HasField("input") else None,
        )

    def _on_ignored(self, event: pb.HistoryEvent) -> None:
        return

    # ---- results -------------------------------------------------------------------------------------------

    def _completed(self, text: str) -> Settle:
        def settle(call: Call) -> None:
            if isinstance(call, ActivityCall | ChildCall):
                self._settle_payload(call.task, text, call.decode)

        return settle

    def _failed(self, details: pb.TaskFailureDetails | None) -> Settle:
        def settle(call: Call) -> None:
            if isinstance(call, ActivityCall | ChildCall):
                self._fail_call(call, details)

        return settle

    def _settle_payload(self, task: Task[Any], text: str, decode: Callable[[str], Any]) -> None:
        try:
            value = decode(text) if text else None
        except PayloadError as error:
            task._fail(error)
        else:
            task._resolve(value)

    def _next_try(self, retry: Retry) -> Timestamp | None:
        delay = retry.policy.next_delay(retry.attempts, retry.first_try)
        try:
            return None if delay is None else timestamp_of(self.now + delay)
        except OverflowError:
            return None  # Beyond the calendar is never.

    def _fail_call(self, call: ActivityCall | ChildCall, failure: pb.TaskFailureDetails | None) -> None:
        details = (
            FailureDetails("The child workflow was terminated.", "WorkflowTerminated")
            if failure is None
            else failure_from_wire(failure)
        )
        retry = call.retry
        if retry is not None and not details.is_final and retry.policy.allows(details.error_type):
            next_try = self._next_try(retry)
            if next_try is not None:
                retry.attempts += 1
                self._ledger.add(TimerCall(self._ledger.next_id(), Task(), call.place, next_try, retries=call))
                return
        if isinstance(call, ActivityCall):
            message = f"{self.instance_id}: Activity task #{call.id} failed: {details.message}"
        else:
            message = f"Child workflow task #{call.id} failed: {details.message}"
        call.task._fail(TaskFailedError(message, details))

    def _fired(self, call: Call) -> None:
        if not isinstance(call, TimerCall):
            return
        if call.retries is not None:
            self._ledger.add(call.retries.again(self._ledger.next_id()))
        elif call.wait is None:
            call.task._resolve(None)
        elif not call.wait.task._done:
            wait = call.wait
            self._events.give_up(wait)
            after = "" if wait.timeout is None else f" after {wait.timeout!r}"
            wait.task._fail(TimeoutError(f"Timed out{after} waiting for external event {wait.name!r}"))

    # ---- the end -------------------------------------------------------------------------------------------

    def _end(self, end: End | None) -> None:
        """Notes how the code ended, if it has."""
        if end is None or self.outcome is not None:
            return
        if isinstance(end, Returned):
            self._end_returned(end.value)
        elif isinstance(end, NotATask):
            text = not_a_task(self.workflow_name, self.instance_id, end.value, end.place, awaited=end.awaited)
            self._end_failed(AuthoringError(text))
        elif self._renewal is not None:
            self.notices.append(f"Continued as new although the code then raised {describe_failure(end.error)}")
            self._end_returned(None)
        else:
            self._end_failed(end.error)

    def _end_returned(self, value: Any) -> None:
        if self._renewal is not None:
            next_input, save_events = self._renewal
            self.outcome = Outcome(pb.WORKFLOW_STATUS_CONTINUED_AS_NEW, result=next_input, save_events=save_events)
            return
        try:
            text = None if value is None else self._converter.encode(value)
        except PayloadError as error:
            location = "" if self.definition is None else f" ({self.definition.location})"
            self._end_failed(
                PayloadError(
                    f"Workflow {self.workflow_name!r}{location}, instance {self.instance_id!r}, returned a result that "
                    f"cannot be stored. {error}"
                )
            )
            return
        self.outcome = Outcome(pb.WORKFLOW_STATUS_COMPLETED, result=text)

    def _end_failed(self, error: BaseException) -> None:
        self.outcome = Outcome(pb.WORKFLOW_STATUS_FAILED, failure=describe_failure(error))

    def runs(self, code: CodeType) -> bool:
        """Whether the run is a suspended generator or coroutine of exactly this code."""
        return self._code.runs(code)

    def fail(self, error: Exception) -> None:
        """Ends the run because of what it asked for, so nothing of that may happen."""
        self._ledger.unconfirmed.clear()
        self._end_failed(error)

    # ---- the answer ----------------------------------------------------------------------------------------

    def actions(self) -> list[pb.WorkflowAction]:
        """What the task hub must do now: calls that history does not record, and the end of the run, by id.

        Activities and children that were called but not waited for still happen when the code completes or fails.
        A terminated or renewed run asks for nothing but its end, a suspended one for nothing at all.
        """
        outcome = self.outcome
        if self._version_missing:
            return [pb.WorkflowAction(id=1, workflowVersionNotAvailable=pb.WorkflowVersionNotAvailableAction())]
        if outcome is None:
            if self.suspended:
                return []
            return [call.action(self._ids) for call in self._ledger.pending()]
        actions: list[pb.WorkflowAction] = []
        if outcome.status in (pb.WORKFLOW_STATUS_COMPLETED, pb.WORKFLOW_STATUS_FAILED):
            actions = [call.action(self._ids) for call in self._ledger.pending() if not isinstance(call, TimerCall)]
        complete = pb.CompleteWorkflowAction(workflowStatus=outcome.status, result=text_of(outcome.result))
        if outcome.failure is not None:
            complete.failureDetails.CopyFrom(failure_to_wire(outcome.failure))
        if outcome.save_events:
            complete.carryoverEvents.extend(self._events.kept())
        actions.append(
            pb.WorkflowAction(id=self._ledger.sequence + 1, completeWorkflow=complete, router=self._ids.router(None))
        )
        return actions

    def close(self) -> None:
        """Drops the run: code that is suspended inside ``try`` unwinds, and whatever it asks for is refused."""
        self.is_replaying = True
        self._code.close()


_HANDLERS: dict[str, Callable[[Instance, pb.HistoryEvent], None]] = {
    "workflowStarted": Instance._on_workflow_started,
    "executionStarted": Instance._on_execution_started,
    "taskScheduled": Instance._on_task_scheduled,
    "taskCompleted": Instance._on_task_completed,
    "taskFailed": Instance._on_task_failed,
    "childWorkflowInstanceCreated": Instance._on_child_created,
    "childWorkflowInstanceCompleted": Instance._on_child_completed,
    "childWorkflowInstanceFailed": Instance._on_child_failed,
    "timerCreated": Instance._on_timer_created,
    "timerFired": Instance._on_timer_fired,
    "eventRaised": Instance._on_event_raised,
    "executionSuspended": Instance._on_suspended,
    "executionResumed": Instance._on_resumed,
    "executionTerminated": Instance._on_terminated,
    # These say what the task hub did; the code has nothing to learn from them.
    "executionCompleted": Instance._on_ignored,
    "executionStalled": Instance._on_ignored,
    "workflowCompleted": Instance._on_ignored,
    "eventSent": Instance._on_ignored,
    "detachedWorkflowInstanceCreated": Instance._on_ignored,
    "continueAsNew": Instance._on_ignored,
}
