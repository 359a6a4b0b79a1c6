"""Which functions are workflows, however a program says it."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_workflow_sdk.linting import lint_paths
from tests.linting.support import check

BODY = "def flow(ctx, order=None):\n    yield ctx.create_timer(datetime.now())  #! wall-clock\n"


@pytest.mark.parametrize(
    "head",
    [
        "from dapr_workflow_sdk import workflow\n@workflow\n",
        "from dapr_workflow_sdk import workflow\n@workflow(name='other')\n",
        "from dapr_workflow_sdk import workflow as durable\n@durable\n",
        "import dapr_workflow_sdk as wf\n@wf.workflow\n",
        "import dapr_workflow_sdk\n@dapr_workflow_sdk.workflow(name='x')\n",
        "from dapr_workflow_sdk import WorkflowRuntime\nruntime = WorkflowRuntime()\n@runtime.workflow\n",
        "import dapr.ext.workflow as wf\nwfr = wf.WorkflowRuntime()\n@wfr.workflow(name='x')\n",
        "import dapr.ext.workflow as wf\nwfr = wf.WorkflowRuntime()\n@wfr.versioned_workflow(name='x', is_latest=True)\n",
        "from app.runtime import runtime\nfrom dapr.ext.workflow import DaprWorkflowContext\n@runtime.workflow\n",
        "from elsewhere import runtime\n@runtime.workflow\n",
        "from functools import wraps\nfrom dapr_workflow_sdk import workflow\ndef traced(f):\n    return f\n@traced\n@workflow\n",
    ],
)
def test_decorated(head: str, tmp_path: Path) -> None:
    assert check(tmp_path, f"from datetime import datetime\n{head}{BODY}")


@pytest.mark.parametrize(
    "tail",
    [
        "runtime.register_workflow(flow)\n",
        "runtime.register_workflow(flow, name='x')\n",
        "runtime.register_workflow(function=flow)\n",
        "wfr.register_versioned_workflow(fn=flow, name='x', version_name='1', is_latest=True)\n",
        "for each in (flow,):\n    runtime.register_workflow(each)\n",
        "ALL = [flow]\nfor each in ALL:\n    runtime.register_workflow(each)\n",
        "def main(client):\n    client.schedule_new_workflow(workflow=flow)\n",
    ],
)
def test_registered(tail: str, tmp_path: Path) -> None:
    assert check(tmp_path, f"from datetime import datetime\n{BODY}{tail}")


def test_registered_in_another_module(tmp_path: Path) -> None:
    files = {
        "flows.py": f"from datetime import datetime\n{BODY}",
        "main.py": "import flows\nfrom dapr_workflow_sdk import WorkflowRuntime\nWorkflowRuntime().register_workflow(flows.flow)\n",
    }
    assert check(tmp_path, files)


def test_the_name_in_findings_is_that_of_the_registration(tmp_path: Path) -> None:
    code = f"from datetime import datetime\nfrom dapr_workflow_sdk import workflow\n@workflow(name='billing')\n{BODY}"
    (finding,) = check(tmp_path, code)
    assert finding.workflow == "billing"
    assert finding.workflow_line == 4
    assert finding.where == "workflow 'billing'"


def test_folders_are_searched_without_environments_and_caches(tmp_path: Path) -> None:
    bad = f"from datetime import datetime\nfrom dapr_workflow_sdk import workflow\n@workflow\n{BODY}"
    for folder in (".venv/lib", "env/lib", "node_modules", "__pycache__", ".git", "src/deep"):
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "flows.py").write_text(bad)
    (tmp_path / "env" / "pyvenv.cfg").touch()
    survey = lint_paths([tmp_path])
    assert [Path(finding.path).relative_to(tmp_path).as_posix() for finding in survey.findings] == ["src/deep/flows.py"]
    assert (survey.files, survey.workflows) == (1, 1)


def test_what_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text("def flow(:\n")
    (tmp_path / "binary.py").write_bytes(b"\xff\xfe\x00")
    (tmp_path / "deep.py").write_text("x = " + "-" * 5000 + "1\n")
    (tmp_path / "good.py").write_text("# coding: latin-1\nx = 1\n")
    survey = lint_paths([tmp_path])
    problems = {Path(problem.path).name: problem for problem in survey.problems}
    assert set(problems) == {"broken.py", "binary.py", "deep.py"}
    assert problems["broken.py"].line == 1
    assert survey.files == 1
    with pytest.raises(FileNotFoundError, match="nowhere does not exist"):
        lint_paths([tmp_path / "nowhere"])
