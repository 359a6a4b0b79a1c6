"""What both faces of a test environment share: everything that does not wait."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterable
from datetime import datetime
from typing import Any, TypeVar, overload

from dapr_workflow_sdk.authoring.definitions import name_of
from dapr_workflow_sdk.testing.runs import WorkflowRun
from dapr_workflow_sdk.testing.stage import AppWorker, Stage
from dapr_workflow_sdk.testing.stand_ins import ActivityStandIn
from dapr_workflow_sdk.testing.virtual_time import aware

R = TypeVar("R")


class BaseEnvironment:
    """One app of an environment."""

    def __init__(self, stage: Stage, worker: AppWorker) -> None:
        """Made by the faces."""
        self._stage = stage
        self._worker = worker

    @property
    def app_id(self) -> str:
        """Id of the app."""
        return self._worker.app_id

    @property
    def now(self) -> datetime:
        """Where the clock stands, in UTC."""
        return aware(self._stage.clock.moment)

    @property
    def runs(self) -> list[WorkflowRun[Any]]:
        """All instances of the environment that were not purged, children and other apps included, oldest first."""
        return [
            WorkflowRun(self._stage, self._stage.apps[row.app_id], row.instance_id)
            for row in self._stage.rows()
            if row.app_id in self._stage.apps
        ]

    def instance(self, instance_id: str) -> WorkflowRun[Any]:
        """An instance of this app by its id, one that somebody else started for example.

        Raises:
            WorkflowNotFoundError: There is none.
        """
        found: WorkflowRun[Any] = WorkflowRun(self._stage, self._worker, instance_id)
        found._row()
        return found

    @overload
    def activity(
        self, activity: Callable[..., Coroutine[Any, Any, R]], *, foreign: bool = False
    ) -> ActivityStandIn[R]: ...
    @overload
    def activity(self, activity: Callable[..., R], *, foreign: bool = False) -> ActivityStandIn[R]: ...
    @overload
    def activity(self, activity: str, *, foreign: bool = False) -> ActivityStandIn[Any]: ...
    def activity(self, activity: Callable[..., Any] | str, *, foreign: bool = False) -> ActivityStandIn[Any]:
        """An activity of this app: what it does when it is called, and its calls.

        Args:
            activity: The function, which is registered if it is not, or a name.
            foreign: The name is of an activity that no function here has, because another program serves it.

        Raises:
            ActivityNotRegisteredError: No activity has the name; the message has those that there are.
        """
        foreign = foreign or self._worker is not self._stage.main
        return self._worker.registry.stand_in_for(activity, foreign=foreign)

    def register(
        self, *, workflows: Iterable[Callable[..., Any]] = (), activities: Iterable[Callable[..., Any]] = ()
    ) -> None:
        """Registers functions that are not found by themselves, as those defined inside of a test are not.

        Raises:
            RegistrationError: One cannot be a workflow or an activity, or its name is taken.
        """
        for workflow in workflows:
            self._worker.registry.add("workflow", workflow)
        for activity in activities:
            self._worker.registry.add("activity", activity)

    def register_workflow(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        """Registers a workflow, under its own name or another.

        Raises:
            RegistrationError: It cannot be a workflow, or another function has the name.
        """
        self._worker.registry.add("workflow", function, name)

    def register_activity(self, function: Callable[..., Any], *, name: str | None = None) -> None:
        """Registers an activity, under its own name or another.

        Raises:
            RegistrationError: It cannot be an activity, or another function has the name.
        """
        self._worker.registry.add("activity", function, name)

    def register_versioned_workflow(
        self, function: Callable[..., Any], *, name: str, version_name: str | None = None, is_latest: bool
    ) -> None:
        """Registers one of several versions of a workflow, as `WorkflowRuntime.register_versioned_workflow` does.

        Raises:
            RegistrationError: It cannot be a workflow, or the version has another function.
        """
        self._worker.registry.add_version(function, name, version_name, is_latest=is_latest)

    def _new(self, workflow: Callable[..., Any] | str, instance_id: str | None) -> tuple[str, str]:
        """The name of a workflow, which is registered if it is not, and the id of a new instance."""
        if isinstance(workflow, str):
            name = workflow
        else:
            registry = self._worker.registry
            name = registry.name_for("workflow", workflow)
            if registry.find("workflow", name) is None:
                registry.add("workflow", workflow, name_of(workflow))
        return name, self._stage.new_id(name) if instance_id is None else instance_id

    @staticmethod
    def _id(run: WorkflowRun[Any] | str) -> str:
        return run if isinstance(run, str) else run.instance_id

    def _run(self, instance_id: str) -> WorkflowRun[Any]:
        return WorkflowRun(self._stage, self._worker, instance_id)
