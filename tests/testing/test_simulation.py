"""The engine driven by hand: the same steps give the same history, and nothing happens by itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from dapr_workflow_sdk import TaskFailedError, WorkflowStatus, when_all
from dapr_workflow_sdk.authoring.definitions import Registry
from dapr_workflow_sdk.client.state import read_state
from dapr_workflow_sdk.testing.simulation import Simulation
from dapr_workflow_sdk.testing.world import Calm, Newest, Raises, Returns, World


def charge(ctx: Any, amount: int) -> int:
    return amount + 1


def order(ctx: Any, amount: int) -> Any:
    receipt = yield ctx.call_activity(charge, input=amount)
    yield ctx.create_timer(timedelta(days=365))
    approved = yield ctx.wait_for_external_event("approval")
    return [receipt, approved]


def fan(ctx: Any, width: int) -> Any:
    results = yield when_all([ctx.call_activity(charge, input=number) for number in range(width)])
    return results


def parent(ctx: Any, width: int) -> Any:
    return (yield ctx.call_child_workflow(fan, input=width))


def registry(*workflows: Any) -> Registry:
    found = Registry(module_level=False)
    for workflow in workflows:
        found.add("workflow", workflow)
    found.add("activity", charge)
    return found


def by_hand() -> Simulation:
    with Simulation(registry(order)) as simulation:
        simulation.start("order", 3)
        simulation.take_turn(simulation.turns[0])
        simulation.run(simulation.activities[0])
        simulation.take_turn(simulation.turns[0])
        assert simulation.turns == []
        assert simulation.skip()
        simulation.take_turn(simulation.turns[0])
        assert not simulation.skip()
        simulation.raise_event("approval", True)
        simulation.take_turn(simulation.turns[0])
        simulation.result = (simulation.state(), simulation.history())  # type: ignore[attr-defined]
    return simulation


def test_an_instance_moves_only_when_it_is_moved() -> None:
    state, _ = by_hand().result  # type: ignore[attr-defined]
    assert read_state(state).runtime_status is WorkflowStatus.COMPLETED
    assert state.output.value == "[4, true]"


def test_the_same_steps_give_the_same_history_to_the_byte() -> None:
    first, second = ([e.SerializeToString(deterministic=True) for e in by_hand().result[1]] for _ in range(2))  # type: ignore[attr-defined]
    assert first == second


def test_a_lost_worker_and_a_lost_answer_bring_the_turn_again() -> None:
    with Simulation(registry(order)) as simulation:
        simulation.start("order", 1)
        simulation.take_turn(simulation.turns[0], answer=False)
        assert [item.instance_id for item in simulation.turns] == ["simulated"]
        simulation.lose_worker()
        simulation.take_turn(simulation.turns[0])
        simulation.lose_worker()
        assert [item.request.name for item in simulation.activities] == ["charge"]
        assert [turn.answered for turn in simulation.played] == [False, True]


@pytest.mark.parametrize(("chooser", "inputs"), [(Calm(), [0, 1, 2]), (Newest(), [2, 1, 0])])
def test_the_chooser_decides_the_order_of_activities(chooser: Any, inputs: list[int]) -> None:
    with Simulation(registry(fan)) as simulation:
        execution = World(simulation, chooser, batches=True).play("fan", 3)
    assert [call.input for call in execution.calls] == inputs
    assert execution.result == [1, 2, 3]


def test_children_are_played_too() -> None:
    with Simulation(registry(parent, fan)) as simulation:
        execution = World(simulation, Calm()).play("parent", 2)
    assert execution.result == [1, 2]
    assert {turn.instance_id for turn in execution.turns} == {"simulated", "simulated:0001"}


def test_answers_stand_in_for_activities() -> None:
    def tries(ctx: Any, _: Any) -> Any:
        good = yield ctx.call_activity("good")
        try:
            yield ctx.call_activity("bad")
        except TaskFailedError as error:
            return [good, error.details.error_type]

    answers = {"good": Returns("fine"), "bad": Raises(OSError("no disk"))}
    with Simulation(registry(tries)) as simulation:
        world = World(simulation, Calm(), answer=lambda item: answers[item.request.name])
        execution = world.play("tries")
    assert execution.result == ["fine", "OSError"]
    assert [call.succeeded for call in execution.calls] == [True, False]


def test_an_execution_that_does_not_end_says_what_it_waits_for() -> None:
    with Simulation(registry(order)) as simulation:
        execution = World(simulation, Calm()).play("order", 1)
    assert not execution.ended
    assert execution.unfinished == "it waits for event 'approval', and nothing more happens"
    assert "not ended: it waits for event 'approval'" in repr(execution)
    assert "waits for event approval #3" in execution.timeline()


def test_a_loop_without_end_is_given_up() -> None:
    def forever(ctx: Any, _: Any) -> Any:
        yield ctx.create_timer(timedelta(hours=1))
        ctx.continue_as_new(None)

    with Simulation(registry(forever)) as simulation:
        execution = World(simulation, Calm(), most_steps=30).play("forever")
    assert execution.unfinished == "it still goes on after 30 steps"
