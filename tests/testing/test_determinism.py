"""Each thing that a check changes finds the workflow that breaks by it; good workflows are accused of nothing."""

from __future__ import annotations

import asyncio
import os
import random
import time
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk import WorkflowError
from dapr_workflow_sdk.testing.determinism import DeterminismError, assert_deterministic, check_determinism
from dapr_workflow_sdk.testing.elsewhere import stop_servers
from tests.testing import breaking

FILE = str(Path(breaking.__file__))


@pytest.fixture(scope="module", autouse=True)
def no_processes_left() -> Any:
    yield
    stop_servers()


def line_of(text: str) -> int:
    lines = Path(FILE).read_text().splitlines()
    found = [number for number, line in enumerate(lines, 1) if text in line]
    assert len(found) == 1, text
    return found[0]


CHANGED = [
    (breaking.by_the_hour, "wall-clock", "clock", "dt.datetime.now().hour"),
    (breaking.by_elapsed_time, "wall-clock", "clock", "time.time() - began"),
    (breaking.by_monotonic, "wall-clock", "clock", "time.monotonic() - began"),
    (breaking.by_zone, "time-zone", "time zone", 'midnight.strftime("%H:%M")'),
    (breaking.by_chance, "random", "random numbers", "random.random() < 0.5"),
    (breaking.by_secret, "random", "random numbers", "secrets.randbelow(2)"),
    (breaking.by_uuid, "random", "random numbers", "uuid.uuid4()"),
    (breaking.by_thread, "thread", "thread", "threading.current_thread().name"),
    (breaking.by_counter, "global-state", "again", "input=len(SEEN)"),
    (breaking.by_replaying, "replay", "fresh", None),
    (breaking.by_set, "set-order", "hash seed", "input=name)  # of a set"),
    (breaking.by_import_time, "import-time", "import", "IMPORTED.year % 2"),
    (breaking.by_pid, "elsewhere", "process", "input=LOADED_BY"),
    (breaking.by_arguments, "machine", "machine", "input=str(Path.cwd())"),
    (breaking.by_order, "order", "order", "input=len(WON)"),
]


@pytest.mark.parametrize(("workflow", "rule", "perturbation", "text"), CHANGED, ids=lambda value: str(value)[:30])
def test_what_is_changed_finds_the_workflow_that_breaks_by_it_and_nothing_else_does(
    workflow: Any, rule: str, perturbation: str, text: str | None
) -> None:
    report = check_determinism(workflow, activities=[breaking.step, breaking.other])
    assert [(finding.rule_id, finding.perturbation) for finding in report.findings] == [(rule, perturbation)], report
    (finding,) = report.findings
    assert finding.path == FILE
    assert finding.event > 0
    if text is not None:
        wanted = line_of(text)
        # The call that differs is made in a helper, or in the line itself.
        assert finding.line in (wanted, line_of("step if condition else other"))
    assert str(finding).startswith(f"{FILE}:{finding.line}: {rule} workflow ")


RULES = [
    (breaking.reads_environment, "environment", 'os.environ.get("PRICING"', "'PRICING'"),
    (breaking.reads_a_file, "file", "Path(__file__).read_text()", "opens a file"),
    (breaking.lists_a_folder, "file", "os.listdir(tempfile", "lists a folder"),
    (breaking.asks_who_it_is, "machine", "socket.gethostname()", "name of the machine"),
    (breaking.starts_a_thread, "thread", "thread.start()", "starts a thread"),
    (breaking.sleeps, "sleep", "time.sleep(0.001)", "sleeps"),
    (breaking.forgets_a_yield, "never-awaited", 'input="lost"', "nobody waits for a call of activity 'step'"),
    (breaking.uses_a_task_too_early, "never-awaited", "task = ctx.call_activity(step)", "nobody waits"),
    (breaking.forgets_an_await, "never-awaited", None, "coroutine '_helper' was never awaited"),
    (breaking.catches_everything, "swallows-exit", 'wait_for_external_event("go")', "goes on when it is dropped"),
    (breaking.cleans_up_when_dropped, "swallows-exit", None, "goes on when it is dropped"),
    (breaking.takes_the_end_for_an_answer, "swallows-exit", None, "goes on when it is dropped"),
    (breaking.adds_a_task, "mistake", None, "fails with TypeError"),
    (breaking.waits_for_its_own_task, "waits-for-nothing", "yield Task()", "waits here for what can never come"),
    (breaking.yields_a_value, "not-a-task", 'yield "Hello"', "'Hello' of type str, which is not a task"),
    (breaking.leaks_its_context, "context-outside", None, "was used outside of the workflow's own code"),
]


@pytest.mark.parametrize(("workflow", "rule", "text", "says"), RULES, ids=lambda value: str(value)[:30])
def test_rules_that_are_broken_by_running_are_found(workflow: Any, rule: str, text: str | None, says: str) -> None:
    report = check_determinism(
        workflow, activities=[breaking.step, breaking.other, breaking.uses_the_context], events={"go": None}
    )
    assert [finding.rule_id for finding in report.findings] == [rule], report
    (finding,) = report.findings
    assert says in finding.message
    if text is not None:
        assert (finding.path, finding.line) == (FILE, line_of(text))


@pytest.mark.parametrize("events", [{"approval": True}, [("approval", True)], ()])
def test_a_good_workflow_is_accused_of_nothing(events: Any) -> None:
    report = assert_deterministic(breaking.good, input=4, activities=[breaking.step, breaking.other], events=events)
    assert report.ok
    assert report
    assert report.findings == ()
    assert report.not_checked == ()
    assert report.turns >= 5
    assert "nothing found" in str(report)


def test_a_good_coroutine_is_accused_of_nothing() -> None:
    assert_deterministic(breaking.good_async, input=2, activities=[breaking.step])


def test_the_check_raises_its_report() -> None:
    with pytest.raises(DeterminismError, match="random workflow 'by_chance' asks for") as caught:
        assert_deterministic(breaking.by_chance, activities=[breaking.step, breaking.other])
    assert isinstance(caught.value, WorkflowError)
    assert isinstance(caught.value, AssertionError)
    assert not caught.value.report.ok
    document = caught.value.report.document()
    assert document["findings"][0]["rule"] == "random"
    assert "1 problem found" in str(caught.value)


def test_what_cannot_be_imported_elsewhere_is_said() -> None:
    def inside(ctx: Any) -> Any:
        yield ctx.call_activity(breaking.step)

    report = check_determinism(inside, activities=[breaking.step])
    assert report.ok
    assert [reason for reason in report.not_checked if "'inside' is defined inside of another function" in reason]
    report = check_determinism(breaking.good_async, activities=[breaking.step], other_processes=False)
    assert any("not asked for" in reason for reason in report.not_checked)


def test_a_workflow_whose_event_nobody_raises_is_not_checked_further() -> None:
    report = check_determinism(breaking.catches_everything, activities=[breaking.step])
    assert any("it waits for event 'go'" in reason for reason in report.not_checked)


def test_answers_stand_in_for_activities() -> None:
    def reacts(ctx: Any) -> Any:
        try:
            amount = yield ctx.call_activity("price")
            yield ctx.call_activity("charge", input=amount)
        except Exception:
            yield choose_by_chance(ctx)

    def choose_by_chance(ctx: Any) -> Any:
        return ctx.call_activity(random.choice(["refund", "apologise"]))

    fine: dict[Any, Any] = {"price": 4, "charge": "receipt"}
    assert check_determinism(reacts, activities=fine).ok
    # Only what runs is checked: the failure leads to the code that breaks.
    fails: dict[Any, Any] = {**fine, "charge": OSError("no network")}
    assert [f.rule_id for f in check_determinism(reacts, activities=fails).findings] == ["random"]


def test_a_check_leaves_the_process_as_it_was() -> None:
    random.seed(7)
    before = random.getstate(), dict(os.environ), time.tzname, os.urandom, time.monotonic, dict(os.environ)
    check_determinism(breaking.good, activities=[breaking.step, breaking.other], events={"approval": 1})
    assert (random.getstate(), dict(os.environ), time.tzname, os.urandom, time.monotonic, dict(os.environ)) == before
    assert abs(time.time() - Path("/proc/self").stat().st_mtime) < 1e9


def test_a_turn_without_end_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dapr_workflow_sdk.testing.observed._LONGEST", 0.6)
    report = check_determinism(breaking.waits_busily, activities=[breaking.step])
    assert [finding.rule_id for finding in report.findings] == ["blocks"], report
    assert any("had to be ended" in reason for reason in report.not_checked)


def test_a_check_runs_on_an_event_loop_too() -> None:
    async def inside() -> bool:
        return check_determinism(breaking.good_async, activities=[breaking.step], other_processes=False).ok

    assert asyncio.run(inside())


def test_children_are_checked_with_their_parents() -> None:
    def kid(ctx: Any) -> Any:
        yield ctx.call_activity(breaking.step, input=random.random())

    def parent(ctx: Any) -> Any:
        yield ctx.call_child_workflow(kid)

    report = check_determinism(parent, workflows=[kid], activities=[breaking.step])
    assert [finding.rule_id for finding in report.findings] == ["random"]
