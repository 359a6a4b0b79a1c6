"""Replaying histories from the command line, and what a change of code is told to do to them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from dapr_workflow_sdk import (
    EmbeddedEngine,
    WorkflowClient,
    WorkflowHistoryEventType,
    WorkflowRuntime,
    WorkflowStatus,
)
from tests.cli.places import quick, real
from tests.worker.support import eventually

RECORDED = Path(__file__).parents[1] / "histories"

_OLD = """
from dapr_workflow_sdk import WorkflowRuntime, workflow


@workflow
def order(ctx, number):
    yield ctx.call_activity("reserve", input=number)
    yield ctx.call_activity("charge", input=number)


workflows = [order]
runtime = WorkflowRuntime()
runtime.register_workflow(order)
nothing = 3
"""
_NEW = _OLD.replace('"charge"', '"charge_card"')


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """Histories of two orders, one finished and one on its way, as the old code made them."""
    scope: dict[str, Any] = {}
    exec(_OLD, scope)  # noqa: S102
    folder = tmp_path / "histories"
    with EmbeddedEngine(tmp_path / "orders.db") as engine, WorkflowClient(engine=engine) as client:
        runtime = WorkflowRuntime(engine=engine)
        runtime.register_workflow(scope["order"])
        runtime.register_activity(lambda ctx, number: None, name="reserve")
        runtime.register_activity(lambda ctx, number: None, name="charge")
        with runtime:
            client.schedule_new_workflow("order", input=1, instance_id="one")
            client.schedule_new_workflow("order", input=2, instance_id="two")
            for instance_id in ("one", "two"):
                client.wait_for_workflow_completion(instance_id, timeout_in_seconds=20)
    assert quick("export", "--db", str(tmp_path / "orders.db"), "--out", str(folder)).code == 0
    return folder


@pytest.fixture
def code(tmp_path: Path) -> Path:
    """The code, as a file; the tests write what they need."""
    path = tmp_path / "shop_of_tests.py"
    path.write_text(_OLD)
    return path


@pytest.mark.parametrize("name", [":workflows", ":order", ":runtime"])
def test_histories_replay_on_the_code_that_made_them(stored: Path, code: Path, name: str) -> None:
    answer = quick("replay", str(stored), "--app", f"{code}{name}")
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines() == [
        f"ok    order  one  {stored / 'one.history.json'}",
        f"ok    order  two  {stored / 'two.history.json'}",
        "",
        "2 of 2 histories replay.",
    ]


def test_a_module_is_found_from_the_current_folder(stored: Path, code: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(code.parent)
    (code.parent / "module_of_tests.py").write_text(_OLD)
    assert quick("replay", str(stored), "--app", "module_of_tests:workflows").code == 0


def test_a_change_is_explained_for_each_history(stored: Path, code: Path) -> None:
    code.write_text(_NEW)
    answer = quick("replay", str(stored / "one.history.json"), str(stored), "--app", f"{code}:workflows")
    assert answer.code == 1
    assert answer.out.count("FAIL  order  one") == 2
    assert answer.out.count("Likely cause:      a call was renamed.") == 3
    assert f"--> {code}:8" in answer.out
    assert answer.out.endswith("0 of 3 histories replay.\n")


def test_programs_are_told_the_same(stored: Path, code: Path) -> None:
    assert quick("replay", str(stored), "--app", f"{code}:workflows", "--json").json["ok"] is True
    code.write_text(_NEW)
    answer = quick("replay", str(stored), "--app", f"{code}:workflows", "--json")
    assert answer.code == 1
    first, second = answer.json["results"]
    assert (first["id"], second["id"], first["workflow"], first["ok"]) == ("one", "two", "order", False)
    mismatch = first["mismatch"]
    assert (mismatch["event"], mismatch["call"], mismatch["cause"]) == (6, 2, "renamed")
    assert (mismatch["file"], mismatch["line"]) == (str(code), 8)


def test_each_difference_is_told_once(stored: Path, code: Path) -> None:
    same = quick("diff", str(stored), f"{code}:workflows")
    assert (same.code, same.out) == (0, "2 of 2 histories replay.\n")
    code.write_text(_NEW)
    answer = quick("diff", str(stored), f"{code}:workflows")
    assert answer.code == 1
    assert answer.out.startswith("order: 2 histories: one, two\n")
    assert answer.out.count("Likely cause:") == 1
    assert answer.out.endswith("2 of 2 histories no longer replay, for 1 reason.\n")
    (difference,) = quick("diff", str(stored), f"{code}:workflows", "--json").json["differences"]
    assert difference["instances"] == ["one", "two"]
    assert difference["example"]["mismatch"]["cause"] == "renamed"


def test_a_workflow_that_is_gone_is_a_difference(stored: Path, code: Path) -> None:
    code.write_text(_OLD.replace("@workflow", "@workflow(name='another')"))
    answer = quick("diff", str(stored), f"{code}:workflows")
    assert answer.code == 1
    assert "one of workflow 'order', which is not among those that are replayed: another" in answer.out


def test_other_inputs_are_told_if_asked_for(stored: Path, code: Path) -> None:
    code.write_text(_OLD.replace('"charge", input=number', '"charge", input=number * 2'))
    assert quick("diff", str(stored), f"{code}:workflows").code == 0
    answer = quick("diff", str(stored), f"{code}:workflows", "--check-inputs")
    assert answer.code == 1
    assert f"event 6: a call of activity 'charge' has 2 now and had 1, at {code}:8" in answer.out


def test_histories_are_compared_call_by_call() -> None:
    chain = RECORDED / "daprd-1.18.1" / "chain-5.history.json"
    assert quick("diff", str(chain), str(chain)).out == ("1 of 1 history compared have the same calls and results.\n")
    answer = quick("diff", str(chain), str(chain.with_name("chain-40.history.json")))
    assert answer.code == 1
    assert "-end: COMPLETED with 5\n+call 6: a call of activity 'add_one' with 5\n" in answer.out
    assert quick("diff", str(RECORDED), str(RECORDED), "--json").json["compared"] == 13


@pytest.mark.parametrize(
    ("app", "words"),
    [
        ("no_such_module:workflows", "There is no module 'no_such_module'"),
        ("FOLDER/none.py", "There is no file"),
        ("FOLDER/shop_of_tests.py:missing", "has no 'missing'"),
        ("FOLDER/shop_of_tests.py:nothing", "is a int; expected is a list of workflows"),
        ("FOLDER/broken.py:workflows", "broken.py cannot be imported: ZeroDivisionError: division by zero"),
    ],
)
def test_code_that_cannot_be_found(stored: Path, code: Path, app: str, words: str) -> None:
    (code.parent / "broken.py").write_text("1 / 0\n")
    answer = quick("replay", str(stored), "--app", app.replace("FOLDER", str(code.parent)))
    assert (answer.code, answer.out) == (2, "")
    assert words in answer.err


def test_histories_that_cannot_be_found(code: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for path, words in ((tmp_path / "gone", "There is no file or folder"), (tmp_path / "empty", "No file below")):
        answer = quick("replay", str(path), "--app", f"{code}:workflows")
        assert (answer.code, answer.out) == (2, "")
        assert words in answer.err


def test_all_that_a_module_decorates_is_found_in_a_process_of_its_own(stored: Path, code: Path) -> None:
    assert real("replay", str(stored), "--app", str(code)).code == 0
    code.write_text(_NEW)
    answer = real("replay", str(stored), "--app", str(code))
    assert answer.code == 1
    assert "What to do:        Keep the name that histories have" in answer.out
    code.write_text("")
    assert "defines no workflows with @workflow at module level" in real("replay", str(stored), "--app", str(code)).err


# ---- the whole story -------------------------------------------------------------------------------------------


def _status(client: WorkflowClient) -> WorkflowStatus:
    state = client.get_workflow_state("one")
    assert state is not None
    return state.runtime_status


def _last(client: WorkflowClient) -> WorkflowHistoryEventType:
    return client.get_workflow_history("one")[-1].event_type


def test_a_wrong_deploy_stalls_what_runs_and_the_rollback_heals_it(tmp_path: Path) -> None:
    old: dict[str, Any] = {}
    new: dict[str, Any] = {}
    waiting = '    yield ctx.wait_for_external_event("paid")\n'
    exec(_OLD.replace('    yield ctx.call_activity("charge"', f'{waiting}    yield ctx.call_activity("charge"'), old)
    exec(_NEW.replace('"reserve"', '"reserve_stock"'), new)
    file = tmp_path / "orders.db"

    def worker(engine: EmbeddedEngine, scope: dict[str, Any]) -> WorkflowRuntime:
        runtime = WorkflowRuntime(engine=engine)
        runtime.register_workflow(scope["order"], name="order")
        for name in ("reserve", "charge", "reserve_stock", "charge_card"):
            runtime.register_activity(lambda ctx, number: None, name=name)
        return runtime

    with EmbeddedEngine(file) as engine, WorkflowClient(engine=engine) as client:
        with worker(engine, old):
            client.schedule_new_workflow("order", input=1, instance_id="one")
            eventually(lambda: _last(client) is WorkflowHistoryEventType.TIMER_CREATED, "it waits to be paid")
        with worker(engine, new):
            client.raise_workflow_event("one", "paid")
            eventually(lambda: _status(client) is WorkflowStatus.STALLED, "it stalls")
    shown = quick("show", "one", "--db", str(file))
    assert "STALLED" in shown.out
    assert "\nStalled\nWorkflow 'order', instance 'one', no longer matches its history: call 1" in shown.out
    assert (
        "Likely cause:      a call was renamed. Activity 'reserve' seems to be called 'reserve_stock' now" in shown.out
    )
    assert "a call was renamed" in json.loads(quick("show", "one", "--db", str(file), "--json").out)["stalled_because"]
    assert "a call was renamed" in quick("history", "one", "--db", str(file), "--full").out.replace("\n", " ")
    with EmbeddedEngine(file) as engine, WorkflowClient(engine=engine) as client, worker(engine, old):
        state = client.wait_for_workflow_completion("one", timeout_in_seconds=20)
        assert state is not None
        assert state.runtime_status is WorkflowStatus.COMPLETED
