"""Turns between the events that make them due and the answers of workers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from dapr_workflow_sdk.engine.clock import Clock
from dapr_workflow_sdk.engine.floor import Floor
from dapr_workflow_sdk.engine.live import Live, Turn
from dapr_workflow_sdk.engine.subscription import Subscription
from dapr_workflow_sdk.engine.transitions import event_at
from dapr_workflow_sdk.taskhub.port import TurnItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb


class TurnDesk:
    """Hands turns to workers, and takes them back from those that are lost or do not want them."""

    def __init__(self, floor: Floor, clock: Clock, tokens: Iterator[str]) -> None:
        """Has none yet.

        Args:
            floor: Whose instances take the turns.
            clock: Where the time comes from.
            tokens: Tokens for answers.
        """
        self._floor = floor
        self._clock = clock
        self._tokens = tokens
        # How many turns are at workers, or have an answer that is not durable yet.
        self.out = 0

    def send(self, live: Live, worker: Subscription) -> None:
        """Gives an instance's turn to a worker; one that keeps histories gets what it has not seen."""
        turn = self.begin(live, worker)
        worker.turns.add(live.key)
        if live.losses.suspicious:
            worker.suspect = live
        history, cached = live.state.history, 0
        if worker.offer.stateful:
            generation = live.state.row.generation
            if live.worker is worker and live.sent[0] == generation:
                cached = live.sent[1]
            live.sent = (generation, len(history))
            history = history[cached:]
        live.worker = worker
        worker.send(TurnItem(live.id, history, turn.new, turn.token, cached, live.state.row.propagated))

    def begin(self, live: Live, worker: Subscription | None) -> Turn:
        """Lets a turn begin with what is in the inbox; without a worker, the engine takes it itself."""
        marker = event_at(self._clock.now())
        marker.workflowStarted.SetInParent()
        taken = list(live.state.inbox)
        turn = Turn(next(self._tokens), taken, [marker, *(item.event for item in taken)], worker)
        live.turn = turn
        live.retry = False
        self.out += 1
        return turn

    def end(self, live: Live) -> None:
        """Notes that an instance has no turn any more."""
        live.turn = None
        self.out -= 1

    @staticmethod
    def leave_worker(live: Live, turn: Turn) -> None:
        """Notes that a worker is done with a turn."""
        worker = turn.worker
        if worker is not None:
            worker.turns.discard(live.key)
            if worker.suspect is live:
                worker.suspect = None

    def take_away(self, live: Live) -> None:
        """Takes an instance's turn from its worker, if it has one; its answer will be ignored."""
        if live.turn is not None:
            self.leave_worker(live, live.turn)
            self.end(live)

    def leave(self, worker: Subscription) -> None:
        """Takes back what a worker had that is gone."""
        for key in list(worker.turns):
            live = self._floor.live(key)
            if live is not None and live.turn is not None and live.turn.worker is worker:
                self.take_away(live)
                self._lost(live)

    def _lost(self, live: Live) -> None:
        live.losses.count += 1
        if live.losses.too_many:
            text = (
                f"A worker was lost {live.losses.count} times in a row while it had a turn of this instance. Look "
                "into its log, repair the cause, and resume the instance."
            )
            self._floor.stall(live, pb.STALLED_REASON_WORKER_LOST, text)
        elif live.losses.pause:
            at = self._clock.now() + live.losses.pause
            live.pause = self._clock.call_at(at, lambda: self._end_pause(live))
        else:
            self._floor.make_ready(live)

    def _end_pause(self, live: Live) -> None:
        live.pause = None
        if self._floor.live(live.key) is live:
            self._floor.make_ready(live)
            self._floor.look_for_idleness()

    async def refuse(self, live: Live, token: str, reason: pb.StalledReason, text: str) -> None:
        """Takes back a turn that cannot be sent to its worker, and lets the instance stand still."""
        if self._is_at_worker(live, token):
            self.take_away(live)
            live.sent = (0, 0)
            await self._floor.stall(live, reason, text)
            self._floor.pump()

    def abandon(self, lives: Iterable[Live], token: str) -> None:
        """Takes a turn back from a worker that does not want it, for another one."""
        live = next((live for live in lives if self._is_at_worker(live, token)), None)
        if live is None or live.turn is None:
            return
        worker = live.turn.worker
        self.take_away(live)
        live.worker = None
        if worker is not None:
            self._floor.app(worker.app_id).put_last(worker)
        self._floor.make_ready(live)

    @staticmethod
    def _is_at_worker(live: Live, token: str) -> bool:
        return live.turn is not None and live.turn.token == token and not live.turn.answered

    def clear(self) -> None:
        """Forgets what workers have."""
        self.out = 0
