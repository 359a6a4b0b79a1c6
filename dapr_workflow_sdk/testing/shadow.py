"""A whole replay beside each turn, which must ask for the same."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

from dapr_workflow_sdk.errors import NonDeterminismError
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.taskhub.port import TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.worker.dispatcher import Dispatcher


class ShadowDispatcher(Dispatcher):
    """A dispatcher that runs each turn twice: with the run that waits in memory, and from the start of the history."""

    on_difference: Callable[[BaseException], None]

    def _answer(self, item: TurnItem) -> pb.WorkflowResponse:
        # In process the histories are lists that go on growing.
        item = dataclasses.replace(item, past=list(item.past), new=list(item.new))
        answer = super()._answer(item)
        parked, self._parked = self._parked, ParkedInstances(0)
        try:
            replayed = super()._answer(item)
        finally:
            self._parked = parked
        if answer != replayed:
            self.on_difference(NonDeterminismError(_difference(item, answer, replayed)))
        return answer


def _difference(item: TurnItem, answer: pb.WorkflowResponse, replayed: pb.WorkflowResponse) -> str:
    number = next(
        (n for n, (a, b) in enumerate(zip(answer.actions, replayed.actions, strict=False)) if a != b),
        min(len(answer.actions), len(replayed.actions)),
    )
    name = next((e.executionStarted.name for e in (*item.past, *item.new) if e.HasField("executionStarted")), "")
    if list(answer.actions) == list(replayed.actions):
        asked, asks = f"the custom status {answer.customStatus.value!r}", f"{replayed.customStatus.value!r}"
    else:
        asked, asks = _action(answer, number), _action(replayed, number)
    return (
        f"Workflow {name!r}, instance {item.instance_id!r}, does not replay: after {len(item.past) + len(item.new)} "
        f"events of its history it asked for {asked}, and run again from the start it asks for {asks}. The code "
        "decides by something that differs from run to run: a variable outside of the function, the clock, random "
        "numbers, the order of a set. Ask the context for time and ids, and let activities do the rest."
    )


def _action(response: pb.WorkflowResponse, number: int) -> str:
    if number >= len(response.actions):
        return "nothing more"
    action = response.actions[number]
    kind = action.WhichOneof("workflowActionType") or "nothing"
    named = {"scheduleTask": "activity", "createChildWorkflow": "child workflow"}.get(kind)
    if named is not None:
        call = getattr(action, kind)
        return f"{named} {call.name!r} with the input {call.input.value!r}"
    if kind == "completeWorkflow":
        return f"its end with the result {action.completeWorkflow.result.value!r}"
    if kind == "createTimer":
        return f"a timer until {action.createTimer.fireAt.ToJsonString()}"
    return kind
