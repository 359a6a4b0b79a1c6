"""The activities of one app in an environment: all of them found by name, recorded, and run where the test runs."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from dapr_workflow_sdk.authoring.activity_context import ActivityLink, WorkflowActivityContext
from dapr_workflow_sdk.authoring.definitions import NO_DEFAULT, UNTYPED, Definition, Kind, Registry
from dapr_workflow_sdk.converter import Converter
from dapr_workflow_sdk.errors import ActivityNotRegisteredError, RuntimeStateError
from dapr_workflow_sdk.testing.stand_ins import NEVER, ActivityCall, ActivityStandIn
from dapr_workflow_sdk.testing.virtual_time import SteppedClock, aware


class RecordingRegistry(Registry):
    """A registry whose activities are recorded, and replaced where a stand-in says so."""

    def __init__(self, clock: SteppedClock, converter: Converter, *, module_level: bool) -> None:
        """An empty registry.

        Args:
            clock: Tells when a call was made.
            converter: How inputs are compared.
            module_level: Whether functions decorated at module level are found.
        """
        super().__init__(module_level=module_level)
        self._clock = clock
        self._converter = converter
        self._stand_ins: dict[str, ActivityStandIn[Any]] = {}
        self._recorded: dict[str, tuple[Definition | None, Definition]] = {}
        # What happens to a call that never ends, and to an error that is no activity's.
        self.suspend: Callable[[WorkflowActivityContext], Any]
        self.interrupted: Callable[[BaseException], None]

    def stand_in(self, name: str) -> ActivityStandIn[Any]:
        """What an activity does, and its calls."""
        found = self._stand_ins.get(name)
        if found is None:
            found = self._stand_ins[name] = ActivityStandIn(name, self._converter)
        return found

    def stand_in_for(self, activity: Callable[..., Any] | str, *, foreign: bool) -> ActivityStandIn[Any]:
        """The same for a function, which is registered if it is not, or a name.

        Raises:
            ActivityNotRegisteredError: The name is unknown, which is most likely a mistake in writing.
        """
        if not isinstance(activity, str):
            name = self.name_for("activity", activity)
            if super().find("activity", name) is None:
                self.add("activity", activity)
            return self.stand_in(name)
        if not foreign and super().find("activity", activity) is None and activity not in self._stand_ins:
            known = ", ".join(self.names("activity")) or "none"
            raise ActivityNotRegisteredError(
                f"No activity is called {activity!r} here. Known: {known}. Decorate it with @activity or give it to "
                "the environment with activities=[...]; if it is served by a program that is not part of the test, ask "
                f"for it with env.activity({activity!r}, foreign=True)."
            )
        return self.stand_in(activity)

    def find(self, kind: Kind, name: str) -> Definition | None:
        """The definition of this name; that of an activity leads to what records and replaces it."""
        original = super().find(kind, name)
        if kind != "activity":
            return original
        stand_in = self._stand_ins.get(name)
        if original is None and (stand_in is None or not (stand_in.replaced or stand_in.calls)):
            return None
        recorded = self._recorded.get(name)
        if recorded is None or recorded[0] is not original:
            recorded = self._recorded[name] = (original, self._record(name, original))
        return recorded[1]

    def names(self, kind: Kind) -> list[str]:
        """All names of one kind, those of stand-ins included."""
        names = super().names(kind)
        if kind == "activity":
            names = sorted({*names, *(name for name, found in self._stand_ins.items() if found.replaced)})
        return names

    def _record(self, name: str, original: Definition | None) -> Definition:
        stand_in = self.stand_in(name)

        async def run(ctx: WorkflowActivityContext, value: Any) -> Any:
            at = aware(self._clock.moment)
            stand_in.calls.append(ActivityCall(name, value, ctx.workflow_id, ctx.task_id, ctx.attempt or 1, at))
            effect = stand_in.take()
            if effect is NEVER:
                return await self.suspend(ctx)
            try:
                if effect is not None:
                    result = effect(ctx, value)
                elif original is None:
                    raise ActivityNotRegisteredError(f"Activity {name!r} is foreign, and its stand-in does nothing.")
                elif original.is_coroutine:
                    result = original.function(ctx, value) if original.takes_input else original.function(ctx)
                else:
                    ctx = _without_waiting(ctx)
                    result = original.function(ctx, value) if original.takes_input else original.function(ctx)
                return await result if inspect.isawaitable(result) else result
            except Exception:
                raise
            except BaseException as error:
                # Ctrl-C, pytest.fail() and the like are about the test and not about the activity.
                if not isinstance(error, SystemExit | GeneratorExit) and type(error).__name__ != "CancelledError":
                    self.interrupted(error)
                raise

        return Definition(
            kind="activity",
            name=name,
            function=run,
            takes_input=True,
            input_type=original.input_type if original is not None and original.takes_input else UNTYPED,
            input_default=original.input_default if original is not None and original.takes_input else NO_DEFAULT,
            result_type=UNTYPED if original is None else original.result_type,
            location="a stand-in" if original is None else original.location,
            code=None,
        )


class _InlineLink:
    """The link of an activity that runs on the test's own thread, on which nobody could end its waiting."""

    def __init__(self, link: ActivityLink, name: str) -> None:
        self._link = link
        self._name = name

    @property
    def cancelled(self) -> bool:
        return self._link.cancelled

    def heartbeat(self, details: Any, timeout: timedelta | None) -> None:
        self._link.heartbeat(details, timeout)

    def last_details(self) -> Any:
        return self._link.last_details()

    def wait_cancelled(self, timeout: float | None) -> bool:
        if timeout is None and not self._link.cancelled:
            raise RuntimeStateError(
                f"Activity {self._name!r} waits for ever to be cancelled. In a test environment plain functions run on "
                "the test's own thread, so nothing can cancel it meanwhile: give wait_cancelled a timeout, make the "
                "activity async, or replace it with a stand-in."
            )
        return self._link.wait_cancelled(timeout)


def _without_waiting(ctx: WorkflowActivityContext) -> WorkflowActivityContext:
    if ctx.link is None:
        return ctx
    return dataclasses.replace(ctx, link=_InlineLink(ctx.link, ctx.name))
