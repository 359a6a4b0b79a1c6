"""The state machine: invariants hold for good workflows, and are broken in few steps by bad ones."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import invariant, run_state_machine_as_test

from dapr_workflow_sdk import RegistrationError, TaskFailedError, WorkflowStatus
from dapr_workflow_sdk.testing.machine import WorkflowMachine

QUICK = settings(
    max_examples=30,
    stateful_step_count=20,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
SEARCH = settings(QUICK, max_examples=100, phases=[Phase.generate, Phase.shrink])


def charge(ctx: Any, amount: int) -> int:
    return amount


def refund(ctx: Any, amount: int) -> None: ...


def order(ctx: Any, amount: int) -> Any:
    yield ctx.call_activity(charge, input=amount)
    approved = yield ctx.wait_for_external_event("approval")
    if not approved:
        yield ctx.call_activity(refund, input=amount)


def hasty(ctx: Any, amount: int) -> Any:
    try:
        yield ctx.call_activity(charge, input=amount)
    except TaskFailedError:
        yield ctx.call_activity(refund, input=amount)


class Orders(WorkflowMachine):
    workflow = staticmethod(order)
    inputs = st.integers(1, 9)
    activities = (charge, refund)
    events = {"approval": st.booleans()}

    @invariant()
    def refunds_only_what_was_charged(self) -> None:
        assert len(self.returned(refund)) <= len(self.returned(charge))

    @invariant()
    def has_at_most_one_activity_at_a_time(self) -> None:
        assert len(self.waiting) <= 1


class Hasty(Orders):
    workflow = staticmethod(hasty)
    events: Any = {}


def test_invariants_hold_for_a_good_workflow() -> None:
    run_state_machine_as_test(Orders, settings=QUICK)


def test_a_broken_invariant_is_shown_in_the_fewest_steps() -> None:
    with pytest.raises(AssertionError) as caught:
        run_state_machine_as_test(Hasty, settings=SEARCH)
    told = "\n".join(getattr(caught.value, "__notes__", []))
    rules = ("start", "take_turn", "answer_activity", "lose_", "suspend_", "let_time_", "rest")
    steps = [line for line in told.splitlines() if line.startswith(tuple(f"state.{rule}" for rule in rules))]
    # It is started, takes a turn, its activity fails, it takes another turn, the refund returns; little more.
    assert 5 <= len(steps) <= 8, told
    assert "state.answer_activity" in told


def test_every_turn_replays_at_the_end() -> None:
    turns: list[int] = []

    def counts(ctx: Any, amount: int) -> Any:
        turns.append(1)
        yield ctx.call_activity(charge, input=len(turns))

    class Counts(Orders):
        workflow = staticmethod(counts)

    with pytest.raises(AssertionError, match="replayed, asks for something else"):
        run_state_machine_as_test(Counts, settings=QUICK)


def test_invariants_see_the_state() -> None:
    seen: set[WorkflowStatus] = set()

    class Watched(Orders):
        @invariant()
        def look(self) -> None:
            if self._simulation.instance_ids:
                seen.add(self.status)
                assert self.custom_status is None
                assert self.execution.workflow == "order"
                assert [call.name for call in self.calls] == [call.name for call in self.execution.calls]

    run_state_machine_as_test(Watched, settings=QUICK)
    assert {WorkflowStatus.RUNNING, WorkflowStatus.SUSPENDED} <= seen


def test_a_machine_needs_a_workflow() -> None:
    class Empty(WorkflowMachine):
        pass

    with pytest.raises(RegistrationError, match="Empty needs a workflow"):
        Empty()
