"""The public names, pinned."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import dapr_workflow_sdk

PUBLIC = """
ActivityNotRegisteredError AuthoringError Converter DaprWorkflowClient DaprWorkflowContext EmbeddedEngine
FailureDetails InvalidOperationError JsonConverter NonDeterminismError NonRetryableError NotRegisteredError NotSupportedError PayloadError
RegistrationError RetentionPolicy RetryPolicy RuntimeStateError Task TaskFailedError TaskHubError TaskHubUnavailableError UNSET VirtualClock
WhenAllTask WhenAnyTask WorkflowActivityContext WorkflowAlreadyExistsError WorkflowClient WorkflowContext WorkflowError
WorkflowFailedError WorkflowHistoryEvent WorkflowHistoryEventType WorkflowInstanceIdPage WorkflowLintWarning WorkflowNotFinishedError WorkflowNotFoundError WorkflowNotRegisteredError WorkflowRuntime
WorkflowStalledError WorkflowState WorkflowStatus activity when_all when_any workflow
""".split()


def test_the_public_names_are_these() -> None:
    assert sorted(dapr_workflow_sdk.__all__) == sorted(PUBLIC)


def test_every_public_name_can_be_imported() -> None:
    for name in PUBLIC:
        assert getattr(dapr_workflow_sdk, name) is not None


def test_type_checkers_see_the_same_names() -> None:
    tree = ast.parse(Path(dapr_workflow_sdk.__file__).read_text())
    block = next(n for n in tree.body if isinstance(n, ast.If) and "TYPE_CHECKING" in ast.unparse(n.test))
    seen = {a.asname or a.name for n in block.body if isinstance(n, ast.ImportFrom) for a in n.names}
    assert seen == set(PUBLIC)


def test_aliases_are_the_same_thing() -> None:
    assert dapr_workflow_sdk.WorkflowContext is dapr_workflow_sdk.DaprWorkflowContext
    assert dapr_workflow_sdk.WorkflowClient is dapr_workflow_sdk.DaprWorkflowClient


def test_unknown_names_are_refused() -> None:
    with pytest.raises(AttributeError, match="no attribute 'orchestrator'"):
        _ = dapr_workflow_sdk.orchestrator


def test_importing_the_package_and_writing_workflows_loads_neither_grpc_nor_sqlite_nor_the_engine() -> None:
    program = (
        "import sys, dapr_workflow_sdk\n"
        "from dapr_workflow_sdk import workflow, activity, WorkflowContext, RetryPolicy, when_all, when_any, Task\n"
        "heavy = [m for m in sys.modules if m.split('.')[0] in ('grpc', 'google', 'sqlite3', 'asyncio')"
        " or m.startswith('dapr_workflow_sdk.engine')]\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_engine_in_the_process_opens_without_loading_the_cli_packages() -> None:
    program = (
        "import sys\nfrom dapr_workflow_sdk import EmbeddedEngine, WorkflowRuntime, WorkflowClient\n"
        "with EmbeddedEngine() as engine, WorkflowRuntime(engine=engine), WorkflowClient(engine=engine): pass\n"
        "assert not {'typer', 'rich', 'starlette', 'uvicorn'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_the_version_is_that_of_the_distribution() -> None:
    from importlib.metadata import version

    assert version("dapr-workflow-sdk") == dapr_workflow_sdk.__version__
