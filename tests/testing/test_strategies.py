"""Drawn executions: everything may happen in any order, good workflows stand it and bad ones are found and told shortly."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, find, given, settings
from hypothesis import strategies as st
from hypothesis.errors import NoSuchExample

from dapr_workflow_sdk import RegistrationError, TaskFailedError, WorkflowStatus, when_all, when_any
from dapr_workflow_sdk.testing import Replayer, load_history
from dapr_workflow_sdk.testing.executions import Execution
from dapr_workflow_sdk.testing.properties import (
    at_most_in_flight,
    compensations_balance,
    completes,
    leaves_when_dropped,
    prefixes_equal,
    replays_equal,
)
from dapr_workflow_sdk.testing.strategies import executions, histories

QUICK = settings(max_examples=40, deadline=None, database=None, suppress_health_check=list(HealthCheck))
SEARCH = settings(max_examples=200, deadline=None, database=None, suppress_health_check=list(HealthCheck))


def reserve(ctx: Any, item: str) -> str:
    return f"reserved {item}"


def charge(ctx: Any, item: str) -> int:
    return len(item)


def release(ctx: Any, item: str) -> None: ...


def refund(ctx: Any, item: str) -> None: ...


ALL = (reserve, charge, release, refund)
# What undoes must not fail here, or nothing could balance.
MAY_FAIL: dict[Any, Any] = {reserve: [ValueError("none left")], charge: [ValueError("no money")]}


def saga(ctx: Any, item: str) -> Any:
    done = []
    try:
        for do, undo in ((reserve, release), (charge, refund)):
            yield ctx.call_activity(do, input=item)
            done.append(undo)
        if (yield ctx.wait_for_external_event("approval", timeout=timedelta(days=1))) is False:
            raise ValueError("not approved")
    except (TaskFailedError, TimeoutError, ValueError):
        for undo in reversed(done):
            yield ctx.call_activity(undo, input=item)
        return "rolled back"
    return "done"


def forgetful(ctx: Any, item: str) -> Any:
    yield ctx.call_activity(reserve, input=item)
    yield ctx.call_activity(charge, input=item)


def drawn(workflow: Callable[..., Any], **how: Any) -> st.SearchStrategy[Execution]:
    how.setdefault("failures", MAY_FAIL)
    return executions(workflow, st.text(max_size=3), activities=ALL, **how)


def shortest(strategy: st.SearchStrategy[Any], holds: Callable[[Execution], None]) -> Execution:
    """The counterexample that hypothesis ends with."""

    def fails(execution: Execution) -> bool:
        try:
            holds(execution)
        except AssertionError:
            return True
        return False

    return find(strategy, fails, settings=SEARCH)


@QUICK
@given(drawn(saga, events={"approval": st.booleans()}))
def test_a_good_saga_stands_everything(execution: Execution) -> None:
    completes(execution, [WorkflowStatus.COMPLETED])
    replays_equal(execution)
    prefixes_equal(execution)
    leaves_when_dropped(execution)
    compensations_balance(execution, {reserve: release, charge: refund}, rolled_back=lambda e: e.result != "done")
    compensations_balance(execution, [(reserve, release)])
    at_most_in_flight(execution, 1)


@pytest.mark.parametrize(
    "seen",
    [
        lambda e: e.result == "done",
        lambda e: e.result == "rolled back" and not e.calls_of(release),
        lambda e: any("lost" in line and "worker" in line for line in e.disturbances),
        lambda e: any("answer" in line for line in e.disturbances),
        lambda e: any("second time" in line for line in e.disturbances),
        lambda e: any("whether it was waited for" in line for line in e.disturbances),
        lambda e: any("suspended" in line for line in e.disturbances),
        lambda e: "no event came" in e.timeline(),
    ],
    ids=["done", "failed", "crash", "redelivered", "duplicate", "early", "suspended", "timed out"],
)
def test_all_that_may_happen_is_drawn(seen: Callable[[Execution], bool]) -> None:
    find(drawn(saga, events={"approval": st.booleans()}), seen, settings=SEARCH)


def test_activities_are_done_in_any_order() -> None:
    def race(ctx: Any, _: Any) -> Any:
        first = yield when_any([ctx.call_activity(charge, input="a"), ctx.call_activity(reserve, input="b")])
        return first.get_result()

    strategy = executions(race, activities={charge: st.just(1), reserve: st.just("b")}, failures=())
    for winner in (1, "b"):
        find(strategy, lambda execution: execution.result == winner, settings=SEARCH)


def test_timers_may_win_against_activities() -> None:
    def race(ctx: Any, _: Any) -> Any:
        timer = ctx.create_timer(timedelta(hours=1))
        winner = yield when_any([timer, ctx.call_activity(charge, input="a")])
        return "late" if winner is timer else "in time"

    strategy = executions(race, activities=ALL, failures=())
    for result in ("late", "in time"):
        execution = find(strategy, lambda e: e.result == result, settings=SEARCH)
        assert len(execution.disturbances) == (result == "late")


def test_the_shortest_counterexample_has_nothing_in_it_that_is_not_needed() -> None:
    execution = shortest(drawn(forgetful), lambda e: compensations_balance(e, {reserve: release}))
    assert execution.input == ""
    assert execution.disturbances == ()
    assert [(call.name, call.succeeded) for call in execution.calls] == [("reserve", True), ("charge", False)]
    assert len(execution.timeline().splitlines()) == 7


def test_a_counterexample_is_printed_as_a_timeline(tmp_path: Path) -> None:
    file = tmp_path / "found" / "forgetful.history.json"

    @SEARCH
    @given(drawn(forgetful, history_file=file))
    def always_balances(execution: Execution) -> None:
        compensations_balance(execution, {reserve: release})

    with pytest.raises(AssertionError, match="'reserve' was done once and 'release' never") as caught:
        always_balances()
    told = "\n".join([str(caught.value), *getattr(caught.value, "__notes__", [])])
    assert "failed charge #2: ValueError: no money" in told
    document = json.loads(file.read_text())
    assert document["format"] == "dapr-workflow-history"
    assert document["status"] == "FAILED"
    assert "taskFailed" in document["events"][-2]
    result = Replayer(workflows=[forgetful]).replay(load_history(file))
    assert result.ok, result
    assert result.mismatch is None


def test_a_workflow_that_counts_its_turns_does_not_replay() -> None:
    turns: list[int] = []

    def counts(ctx: Any, _: Any) -> Any:
        turns.append(1)
        yield ctx.call_activity(charge, input="x")
        yield ctx.call_activity(reserve, input=str(len(turns)))

    execution = shortest(executions(counts, activities=ALL, failures=()), replays_equal)
    assert len(execution.calls) <= 2
    with pytest.raises(AssertionError, match="replayed, asks for something else"):
        replays_equal(execution)


def test_a_workflow_that_branches_on_replay_breaks_its_prefixes() -> None:
    def only_live(ctx: Any, _: Any) -> Any:
        if not ctx.is_replaying:
            yield ctx.call_activity(charge, input="x")
        yield ctx.call_activity(reserve, input="y")

    strategy = executions(only_live, activities=ALL, failures=())
    for holds in (replays_equal, completes):
        shortest(strategy, holds)


def test_an_unordered_history_breaks_prefixes() -> None:
    coin: list[int] = []

    def shuffles(ctx: Any, _: Any) -> Any:
        coin.append(1)
        names = [charge, reserve] if len(coin) % 2 else [reserve, charge]
        yield when_all([ctx.call_activity(name, input="x") for name in names])

    shortest(executions(shuffles, activities=ALL, failures=(), faults=()), prefixes_equal)


def test_a_workflow_that_waits_for_ever_does_not_complete() -> None:
    def waits(ctx: Any, item: str) -> Any:
        yield ctx.call_activity(reserve, input=item)
        yield ctx.wait_for_external_event("nobody")

    execution = shortest(drawn(waits, events={"approval": st.none()}, failures=()), completes)
    assert execution.disturbances == ()
    with pytest.raises(AssertionError, match="waits for event 'nobody'"):
        completes(execution)


def test_code_that_goes_on_when_it_is_dropped_is_found() -> None:
    def cleans_up(ctx: Any, item: str) -> Any:
        try:
            yield ctx.call_activity(reserve, input=item)
        finally:
            yield ctx.call_activity(release, input=item)

    def catches_all(ctx: Any, item: str) -> Any:
        while True:
            try:
                return (yield ctx.call_activity(reserve, input=item))
            except BaseException:
                continue

    for workflow in (cleans_up, catches_all):
        execution = shortest(drawn(workflow, failures=()), leaves_when_dropped)
        assert execution.disturbances == ()
        with pytest.raises(AssertionError, match="goes on when it is dropped after turn 1"):
            leaves_when_dropped(execution)


@pytest.mark.parametrize(
    "mistake", [lambda task: task["key"], lambda task: task.amount, lambda task: task.get_result()]
)
def test_mistakes_are_no_way_to_end(mistake: Callable[[Any], Any]) -> None:
    def errs(ctx: Any, item: str) -> Any:
        task = ctx.call_activity(reserve, input=item)
        mistake(task)
        yield task

    execution = shortest(drawn(errs, failures=()), completes)
    with pytest.raises(AssertionError, match="fails by mistake"):
        completes(execution)


def test_too_many_in_flight_are_counted() -> None:
    def fan(ctx: Any, width: int) -> Any:
        yield when_all([ctx.call_activity(charge, input="x") for _ in range(width)])

    strategy = executions(fan, st.integers(0, 9), activities=ALL, failures=())
    execution = shortest(strategy, lambda e: at_most_in_flight(e, 4, charge))
    assert execution.input == 5
    with pytest.raises(AssertionError, match="has 5 activities in flight, where 4 are allowed"):
        at_most_in_flight(execution, 4)
    at_most_in_flight(execution, 0, reserve)


def test_undoing_what_was_never_done_does_not_balance() -> None:
    def undoes_all(ctx: Any, item: str) -> Any:
        try:
            yield ctx.call_activity(reserve, input=item)
            yield ctx.call_activity(charge, input=item)
        except TaskFailedError:
            yield ctx.call_activity(refund, input=item)
            yield ctx.call_activity(release, input=item)

    execution = shortest(drawn(undoes_all), lambda e: compensations_balance(e, {reserve: release, charge: refund}))
    with pytest.raises(AssertionError, match="was rolled back, but 'reserve' was done never and 'release' once"):
        compensations_balance(execution, {reserve: release, charge: refund})


def test_completing_may_be_asked_for() -> None:
    execution = shortest(drawn(forgetful), lambda e: completes(e, [WorkflowStatus.COMPLETED]))
    completes(execution)
    with pytest.raises(AssertionError, match="ends FAILED, not COMPLETED"):
        completes(execution, [WorkflowStatus.COMPLETED])


def test_without_failures_and_faults_nothing_goes_wrong() -> None:
    strategy = drawn(forgetful, failures=(), faults=())
    with pytest.raises(NoSuchExample):
        find(strategy, lambda e: bool(e.disturbances) or e.failure is not None, settings=QUICK)


def test_own_functions_of_activities_run_where_asked() -> None:
    def asks(ctx: Any, item: str) -> Any:
        return (yield ctx.call_activity(reserve, input=item))

    strategy = executions(asks, st.text(max_size=3), activities={reserve: None}, failures=())
    with pytest.raises(NoSuchExample):
        find(strategy, lambda e: e.result != f"reserved {e.input}", settings=QUICK)


def test_results_are_drawn_as_annotated() -> None:
    def asks(ctx: Any, item: str) -> Any:
        return (yield ctx.call_activity(charge, input=item))

    strategy = executions(asks, st.just("chair"), activities=[charge], failures=())
    execution = find(strategy, lambda e: (e.result or 0) > 1000, settings=SEARCH)
    assert execution.result == 1001


def test_an_unknown_fault_is_refused() -> None:
    with pytest.raises(RegistrationError, match="No fault is called 'earthquake'"):
        executions(saga, faults=["earthquake"])  # type: ignore[list-item]


@QUICK
@given(histories(saga, st.just("x"), activities=ALL, failures=MAY_FAIL, events={"approval": st.booleans()}))
def test_histories_are_documents(history: Any) -> None:
    assert history.document["name"] == "saga"
    assert history.document["events"]
    assert repr(history).startswith("<history\nsaga('x')")
