"""The pytest plugin, in runs of pytest of its own that have it from the installed package."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

WORKFLOWS = """
from datetime import timedelta
from dapr_workflow_sdk import activity, workflow

@activity
def charge(ctx, amount: float) -> str:
    return f"receipt over {amount}"

@workflow
def order(ctx, amount: float):
    yield ctx.create_timer(timedelta(days=1))
    return (yield ctx.call_activity(charge, input=amount))
"""
STRICT = (
    "[pytest]\nfilterwarnings = error\npythonpath = .\naddopts = --strict-markers --strict-config {more}\n{settings}\n"
)
# Plugins that are installed here and have nothing to do with these tests; they take most of the time of a run.
OTHERS = "-p no:schemathesis -p no:hypothesispytest -p no:anyio"
Run = Callable[..., pytest.RunResult]


@pytest.fixture
def run(pytester: pytest.Pytester) -> Run:
    """Runs tests in a process of their own, with every warning an error."""

    def run(tests: str, *arguments: str, settings: str = "", asynchronous: bool = False) -> pytest.RunResult:
        more = OTHERS if asynchronous else f"{OTHERS} -p no:asyncio"
        pytester.makefile(".ini", pytest=STRICT.format(more=more, settings=settings))
        pytester.makepyfile(flows=WORKFLOWS, test_flows=tests)
        return pytester.runpytest_subprocess(*arguments)

    return run


def test_it_is_registered_under_an_entry_point() -> None:
    from importlib.metadata import entry_points

    found = [point for point in entry_points(group="pytest11") if point.name == "dapr_workflow"]
    assert [point.value for point in found] == ["dapr_workflow_sdk.testing.pytest_plugin"]


def test_loading_it_loads_nothing_of_the_package_but_itself() -> None:
    program = (
        "import sys, pytest\nbefore = set(sys.modules)\n"
        "import dapr_workflow_sdk.testing.pytest_plugin\n"
        "new = sorted(set(sys.modules) - before)\n"
        "assert not [m for m in new if m.split('.')[0] in ('grpc', 'google', 'sqlite3', 'asyncio', 'msgspec')], new\n"
        "ours = [m for m in new if m.startswith('dapr_workflow_sdk.')]\n"
        "assert ours == ['dapr_workflow_sdk.testing', 'dapr_workflow_sdk.testing.pytest_plugin',"
        " 'dapr_workflow_sdk.testing.watching', 'dapr_workflow_sdk.version'], ours\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_fixtures_give_environments(run: Run) -> None:
    result = run(
        """
        from flows import charge, order

        def test_workflow(workflow_env):
            workflow_env.activity(charge).returns("paid")
            assert workflow_env.run(order, 5.0).result == "paid"

        def test_each_test_has_its_own(workflow_env):
            assert workflow_env.runs == []

        def test_activity(activity_env):
            assert activity_env.run(charge, 5.0) == "receipt over 5.0"
        """
    )
    result.assert_outcomes(passed=3)


def test_async_tests_have_an_environment_on_their_loop(run: Run) -> None:
    result = run(
        """
        import asyncio
        import pytest
        from dapr_workflow_sdk import RuntimeStateError
        from flows import charge, order

        @pytest.mark.asyncio
        async def test_workflow(async_workflow_env):
            async_workflow_env.activity(charge).returns("paid")
            assert (await async_workflow_env.run(order, 5.0)).result == "paid"

        @pytest.mark.asyncio
        async def test_unused(async_workflow_env):
            pass

        @pytest.mark.asyncio
        async def test_still_running(async_workflow_env):
            begun = asyncio.Event()
            async def slow(ctx, amount):
                begun.set()
                await asyncio.Event().wait()
            async_workflow_env.activity(charge).side_effect(slow)
            waiting = asyncio.ensure_future(async_workflow_env.run(order, 5.0))
            await begun.wait()
            waiting.cancel()

        @pytest.mark.asyncio
        async def test_the_other_face_says_what_to_use(workflow_env):
            with pytest.raises(RuntimeStateError, match="async_workflow_env"):
                workflow_env.run(order, 5.0)
        """,
        settings="asyncio_default_fixture_loop_scope = function",
        asynchronous=True,
    )
    result.assert_outcomes(passed=4)


FAILING = """
    from dapr_workflow_sdk.testing import WorkflowEnvironment
    from flows import charge, order

    def test_fixture(workflow_env):
        workflow_env.activity(charge).raises(LookupError("no such card"))
        assert workflow_env.run(order, 5.0).status.name == "COMPLETED"

    def test_closed():
        with WorkflowEnvironment() as env:
            assert env.run(order, 7.0).result == "nothing"

    def test_fine(workflow_env):
        assert workflow_env.run(order, 9.0).result == "receipt over 9.0"

    def test_without():
        assert False
"""


def test_a_failed_test_is_reported_with_the_timelines_of_its_instances(run: Run) -> None:
    result = run(FAILING)
    result.assert_outcomes(failed=3, passed=1)
    result.stdout.fnmatch_lines(
        [
            "*- Workflow instances -*",
            "order order-1: FAILED after 3 turns",
            "*calls charge #2  5.0",
            "*failed charge #2  LookupError: no such card",
            "*- Workflow instances -*",
            "order order-1: COMPLETED after 3 turns",
            '*returned charge #2  "receipt over 7.0"',
        ]
    )
    assert result.stdout.str().count("- Workflow instances -") == 2
    assert "9.0" not in result.stdout.str().replace("receipt over 9.0", "")


def test_it_works_with_xdist(run: Run, pytester: pytest.Pytester) -> None:
    result = run(FAILING, "-n", "2", "--workflow-record", "recorded")
    result.assert_outcomes(failed=3, passed=1)
    assert result.stdout.str().count("- Workflow instances -") == 2
    assert len(list((pytester.path / "recorded").rglob("*.history.json"))) == 3


def test_histories_are_recorded_and_replay_as_tests(run: Run, pytester: pytest.Pytester) -> None:
    tests = """
        from dapr_workflow_sdk.testing import WorkflowEnvironment
        from flows import order

        def test_one(workflow_env):
            workflow_env.run(order, 5.0)

        def test_two():
            with WorkflowEnvironment() as first, WorkflowEnvironment() as second:
                first.app("billing")
                first.run(order, 5.0)
                second.run(order, 6.0)

        def test_none(workflow_env):
            pass
        """
    result = run(tests, "--workflow-record", "recorded")
    result.assert_outcomes(passed=3)
    result.stdout.fnmatch_lines(["3 workflow histories recorded in *recorded"])
    folder = pytester.path / "recorded"
    files = sorted(str(file.relative_to(folder)) for file in folder.rglob("*.json"))
    assert files == [
        str(Path("test_flows.py.test_one", "order-1.history.json")),
        str(Path("test_flows.py.test_two", "environment-1", "app", "order-1.history.json")),
        str(Path("test_flows.py.test_two", "environment-2", "order-1.history.json")),
    ]
    document = json.loads((folder / files[0]).read_text())
    assert (document["format"], document["instance_id"]) == ("dapr-workflow-history", "order-1")

    pytester.path.joinpath("test_flows.py").unlink()
    assert pytester.runpytest_subprocess("recorded").ret == pytest.ExitCode.NO_TESTS_COLLECTED
    pytester.runpytest_subprocess("recorded", "--workflow-app", "flows").assert_outcomes(passed=3)
    pytester.runpytest_subprocess("recorded", "-o", "workflow_app=flows:order").assert_outcomes(passed=3)

    flows = pytester.path / "flows.py"
    flows.write_text(flows.read_text().replace("    yield ctx.create_timer(timedelta(days=1))\n", ""))
    broken = pytester.runpytest_subprocess("recorded", "--workflow-app", "flows")
    broken.assert_outcomes(failed=3)
    broken.stdout.fnmatch_lines(["*order-1.history.json", "*Workflow 'order', instance 'order-1'*"])
    assert "Traceback" not in broken.stdout.str()


@pytest.mark.parametrize(
    ("app", "says"), [("nowhere", "module 'nowhere' cannot be"), ("flows:nothing", "has no 'nothing'")]
)
def test_an_app_that_is_not_there_is_named(app: str, says: str, run: Run, pytester: pytest.Pytester) -> None:
    pytester.path.joinpath("one.history.json").write_text("{}")
    result = run("", "--workflow-app", app)
    assert result.ret != 0
    result.stdout.fnmatch_lines([f"*{says}*"])


def test_shadow_replays_are_an_option(run: Run) -> None:
    tests = """
        from datetime import timedelta
        from flows import charge

        seen = []

        def forgetful(ctx):
            yield ctx.create_timer(timedelta(days=1))
            seen.append(1)
            return (yield ctx.call_activity(charge, input=float(len(seen))))

        def test_forgetful(workflow_env):
            workflow_env.run(forgetful)
        """
    run(tests).assert_outcomes(passed=1)
    result = run(tests, "--workflow-shadow")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(
        ["*NonDeterminismError: Workflow 'forgetful', instance 'forgetful-1', does not replay*"]
    )


def test_a_sidecar_is_an_engine_in_a_process_of_its_own(run: Run) -> None:
    result = run(
        """
        import flows

        def test_sidecar(sidecar):
            assert sidecar.environment["DAPR_GRPC_PORT"] == str(sidecar.grpc_port)
            def hello(ctx, name: str) -> str:
                return f"Hello, {name}!"
            def greet(ctx, name: str):
                return (yield ctx.call_activity(hello, input=name))
            runtime = sidecar.runtime()
            runtime.register_workflow(greet)
            runtime.register_activity(hello)
            with runtime, sidecar.client() as client:
                instance_id = client.schedule_new_workflow(greet, input="world")
                state = client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30)
            assert state.serialized_output == '"Hello, world!"'
            print("at", sidecar.grpc_port)

        def test_it_is_the_same_for_the_session(sidecar):
            print("at", sidecar.grpc_port)
        """,
        "-s",
    )
    result.assert_outcomes(passed=2)
    ports = re.findall(r"at (\d+)", result.stdout.str())
    assert len(ports) == 2
    assert len(set(ports)) == 1


def test_a_sidecar_that_runs_already_is_taken(run: Run) -> None:
    tests = """
        def test_sidecar(sidecar):
            assert (sidecar.host, sidecar.grpc_port, sidecar.http_port) == ("127.0.0.1", 50007, None)
        """
    run(tests, "--workflow-sidecar", "50007").assert_outcomes(passed=1)
    run(tests, settings="workflow_sidecar = 127.0.0.1:50007").assert_outcomes(passed=1)
    result = run(tests, "--workflow-sidecar", "nowhere")
    result.assert_outcomes(errors=1)
    result.stdout.fnmatch_lines(["*'nowhere' is no address of a sidecar: give its gRPC port, or host:port.*"])


def test_an_engine_that_does_not_start_says_why(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from dapr_workflow_sdk import RuntimeStateError
    from dapr_workflow_sdk.testing.sidecar import running_engine

    (tmp_path / "typer.py").write_text("raise ImportError('there is none', name='typer')")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with pytest.raises(RuntimeStateError, match=r"did not start: .*needs the package typer"), running_engine():
        pass


def test_help_names_the_options(pytester: pytest.Pytester) -> None:
    result = pytester.runpytest_subprocess("--help", *OTHERS.split())
    result.stdout.fnmatch_lines(["*--workflow-record=DIR*", "*--workflow-shadow*", "*workflow_app (args):*"])


def test_the_tests_of_the_documentation_pass(pytester: pytest.Pytester) -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    files = dict(re.findall(r'```python title="((?:test_)?orders\.py)"\n(.*?)```', page, re.DOTALL))
    assert set(files) == {"orders.py", "test_orders.py"}
    for name, text in files.items():
        (pytester.path / name).write_text(text)
    pytester.makepyprojecttoml('[tool.pytest.ini_options]\npythonpath = ["."]')
    recorded = pytester.runpytest_subprocess(*OTHERS.split(), "--workflow-record", "histories")
    recorded.assert_outcomes(passed=1)
    replayed = pytester.runpytest_subprocess(*OTHERS.split(), "histories", "--workflow-app", "orders")
    replayed.assert_outcomes(passed=1)
