"""The pytest plugin. Every pytest run of whoever has the package installed loads it, so it loads nothing but pytest.

Fixtures: `workflow_env`, `async_workflow_env`, `activity_env`, `sidecar`. Options: ``--workflow-record``,
``--workflow-shadow``, ``--workflow-app``, ``--workflow-sidecar``. A failed test is reported with the timelines of the
instances of its environments.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Generator, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dapr_workflow_sdk.testing.watching import SETTINGS, WATCHERS

if TYPE_CHECKING:
    from dapr_workflow_sdk.testing.activity_environment import ActivityEnvironment
    from dapr_workflow_sdk.testing.async_environment import AsyncWorkflowEnvironment
    from dapr_workflow_sdk.testing.environment import WorkflowEnvironment
    from dapr_workflow_sdk.testing.replayer import Replayer
    from dapr_workflow_sdk.testing.sidecar import Sidecar
    from dapr_workflow_sdk.testing.stage import Stage

_HISTORY = ".history.json"
# So many instances are told of in the report of a failed test.
_MOST_TOLD = 20


def pytest_addoption(parser: pytest.Parser) -> None:
    """Adds the options and settings."""
    group = parser.getgroup("workflows", "durable workflows (dapr-workflow-sdk)")
    group.addoption(
        "--workflow-record",
        metavar="DIR",
        help="Record the histories of all test environments in this folder, one folder for each test.",
    )
    group.addoption(
        "--workflow-shadow",
        action="store_true",
        help="Replay the whole history beside each turn in test environments; code that then asks for something "
        "else fails its test.",
    )
    group.addoption(
        "--workflow-app",
        metavar="MODULE[:NAME]",
        action="append",
        help="Workflows on which files *.history.json are replayed as tests: those of a module, or those that a "
        "name in it lists. May be given several times; the setting workflow_app by default.",
    )
    group.addoption(
        "--workflow-sidecar",
        metavar="[HOST:]PORT",
        help="gRPC address of a running sidecar for the fixture sidecar, instead of an engine that it starts; the "
        "setting workflow_sidecar by default.",
    )
    parser.addini("workflow_app", "Workflows on which files *.history.json are replayed as tests.", type="args")
    parser.addini("workflow_sidecar", "gRPC address of a running sidecar for the fixture sidecar.", default="")


def pytest_configure(config: pytest.Config) -> None:
    """Begins to watch environments."""
    watch = _Watch(config)
    config.pluginmanager.register(watch, "dapr-workflow-watch")
    WATCHERS.append(watch.opened)
    config.add_cleanup(lambda: WATCHERS.remove(watch.opened))
    before = SETTINGS.shadow
    SETTINGS.shadow = before or bool(config.getoption("workflow_shadow"))

    def restore() -> None:
        SETTINGS.shadow = before

    config.add_cleanup(restore)


# ---- fixtures ------------------------------------------------------------------------------------------------------


@pytest.fixture
def workflow_env() -> Iterator[WorkflowEnvironment]:
    """A `WorkflowEnvironment`: workflows in memory and in virtual time."""
    from dapr_workflow_sdk.testing.environment import WorkflowEnvironment

    with WorkflowEnvironment() as env:
        yield env


@pytest.fixture
def async_workflow_env() -> Iterator[AsyncWorkflowEnvironment]:
    """The same for async tests: an `AsyncWorkflowEnvironment`, which opens on the loop of the test when it is used."""
    from dapr_workflow_sdk.testing.environment import WorkflowEnvironment

    env = WorkflowEnvironment().on_this_loop()
    yield env
    env.leave()


@pytest.fixture
def activity_env() -> ActivityEnvironment:
    """An `ActivityEnvironment`: one activity at a time."""
    from dapr_workflow_sdk.testing.activity_environment import ActivityEnvironment

    return ActivityEnvironment()


@pytest.fixture(scope="session")
def sidecar(request: pytest.FixtureRequest) -> Iterator[Sidecar]:
    """A `Sidecar` for the whole session: the one of ``--workflow-sidecar``, else an engine that is started for it."""
    from dapr_workflow_sdk.testing.sidecar import read_address, running_engine

    address = request.config.getoption("workflow_sidecar") or request.config.getini("workflow_sidecar")
    if address:
        try:
            yield read_address(str(address))
        except ValueError as error:
            raise pytest.UsageError(str(error)) from error
        return
    with running_engine() as found:
        yield found


# ---- environments of a test ----------------------------------------------------------------------------------------


class _Watch:
    """Knows the environments of the test that runs, tells of them when it fails, and records them."""

    def __init__(self, config: pytest.Config) -> None:
        given: str | None = config.getoption("workflow_record")
        self._folder = None if given is None else config.invocation_params.dir / given
        self._stages: list[Stage] = []
        self._recorded = 0

    def opened(self, stage: Stage) -> None:
        """A test makes an environment."""
        self._stages.append(stage)

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        self._stages.clear()
        try:
            return (yield)
        finally:
            if self._folder is not None:
                self._record(self._folder / _folder_name(item.nodeid))
            self._stages.clear()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(self) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        if report.failed and self._stages:
            text = self._told()
            if text:
                report.sections.append(("Workflow instances", text))
        return report

    def _told(self) -> str:
        from dapr_workflow_sdk.testing.timelines import timeline

        found = [timeline(row, stage.history(row.key)) for stage in self._stages for row in stage.rows()]
        if len(found) > _MOST_TOLD:
            found = [*found[:_MOST_TOLD], f"... and {len(found) - _MOST_TOLD} more instances"]
        return "\n".join(found)

    def _record(self, folder: Path) -> None:
        if not any(stage.rows() for stage in self._stages):
            return
        from dapr_workflow_sdk.client.recording import recording_of, write_recording
        from dapr_workflow_sdk.engine.state import describe

        for number, stage in enumerate(self._stages, 1):
            for row in stage.rows():
                parts = [f"environment-{number}"] if len(self._stages) > 1 else []
                parts += [row.app_id] if len(stage.apps) > 1 else []
                document = recording_of(describe(row, payloads=True), stage.history(row.key))
                write_recording(folder.joinpath(*parts), document)
                self._recorded += 1

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self._folder is not None and self._recorded:
            terminalreporter.write_line(f"{self._recorded} workflow histories recorded in {self._folder}")


def _folder_name(nodeid: str) -> str:
    """A folder for one test: its id, as far as every file system takes it."""
    return re.sub(r"[^\w.\-=,]+", "-", nodeid.replace("::", ".")).strip("-.")[:180]


# ---- histories as tests --------------------------------------------------------------------------------------------


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Takes files with histories for tests, if it is known on which workflows to replay them."""
    if not file_path.name.endswith(_HISTORY) or not _apps(parent.config):
        return None
    collected: pytest.Collector = HistoryFile.from_parent(parent, path=file_path)  # pyright: ignore[reportUnknownMemberType]
    return collected


def _apps(config: pytest.Config) -> list[str]:
    return list(config.getoption("workflow_app") or config.getini("workflow_app"))


class HistoryFile(pytest.File):
    """A file with a recorded history."""

    def collect(self) -> Iterable[pytest.Item]:
        """One test: that it replays."""
        yield HistoryItem.from_parent(self, name="replays")  # pyright: ignore[reportUnknownMemberType]


class HistoryItem(pytest.Item):
    """The test that a recorded history replays on the workflows as they are now."""

    def runtest(self) -> None:
        """Replays it, up to each turn."""
        _replayer(self.config).replay(self.path).raise_if_mismatched()

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> Any:
        """The explanation alone, if the history does not replay."""
        from dapr_workflow_sdk.errors import WorkflowError

        if isinstance(excinfo.value, WorkflowError):
            return f"{self.path}\n{excinfo.value}"
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[Path, int | None, str]:
        """Where it is."""
        return self.path, None, f"{self.path.name} replays"


_REPLAYER: pytest.StashKey[Replayer] = pytest.StashKey()


def _replayer(config: pytest.Config) -> Replayer:
    found = config.stash.get(_REPLAYER, None)
    if found is None:
        found = config.stash[_REPLAYER] = _make_replayer(_apps(config))
    return found


def _make_replayer(apps: Iterable[str]) -> Replayer:
    from dapr_workflow_sdk.testing.replayer import Replayer

    named: list[Any] = []
    whole_modules = False
    for app in apps:
        module_name, _, name = app.partition(":")
        try:
            module = importlib.import_module(module_name)
        except ImportError as error:
            raise pytest.UsageError(
                f"workflow_app {app!r}: module {module_name!r} cannot be imported: {error}"
            ) from error
        if not name:
            whole_modules = True
            continue
        if not hasattr(module, name):
            raise pytest.UsageError(f"workflow_app {app!r}: {module_name!r} has no {name!r}.")
        value = getattr(module, name)
        named.extend([value] if callable(value) else value)
    if not whole_modules:
        return Replayer(named)
    from dapr_workflow_sdk.authoring.definitions import Registry

    registry = Registry()
    for workflow in named:
        registry.add("workflow", workflow)
    return Replayer(registry=registry)
