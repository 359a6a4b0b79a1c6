"""The load process: many clients at once, each of which knows what it was promised.

``python -m tests.chaos.load FOLDER PORT SEED INSTANCES`` works until SIGTERM, finishes what it has begun, looks at all
that is left once more and ends. Everything it asks for and is answered goes to the journal; so does what is wrong.
"""

from __future__ import annotations

import json
import random
import signal
import sys
import threading
import time
from collections.abc import Callable
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TypeVar

import grpc

from dapr_workflow_sdk import (
    TaskHubError,
    TaskHubUnavailableError,
    WorkflowAlreadyExistsError,
    WorkflowClient,
    WorkflowNotFinishedError,
    WorkflowNotFoundError,
    WorkflowState,
    WorkflowStatus,
)
from tests.chaos import plans
from tests.chaos.journal import JournalWriter
from tests.chaos.plans import Plan, check_mail

R = TypeVar("R")
JOURNAL = "journal.jsonl"
# Longer than any recovery should take; an instance that has not ended by then hangs.
PATIENCE = 150.0
_KINDS = (plans.chain, plans.fan, plans.nested, plans.timed, plans.counter, plans.retried, plans.failing)


class _Wrong(Exception):
    """The engine broke a promise."""


class _Client:
    """The calls of one actor, each repeated until it is answered."""

    def __init__(self, client: WorkflowClient, journal: JournalWriter, dice: random.Random) -> None:
        self._client = client
        self.note = journal.note
        self.dice = dice
        self._acknowledged: list[str] = []
        self._sent: set[str] = set()

    def _insist(self, call: Callable[[], R], doubt: Callable[[], None] | None = None) -> R:
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                return call()
            except TaskHubUnavailableError as error:
                if time.monotonic() > deadline:
                    raise _Wrong(f"no answer for {PATIENCE:g} s: {error}") from error
                if doubt is not None:
                    doubt()
            except TaskHubError as error:
                self._complain(error)
                if doubt is not None:
                    doubt()
            time.sleep(self.dice.uniform(0.02, 0.3))

    def _complain(self, error: TaskHubError) -> None:
        """An engine whose disk is ill says UNAVAILABLE; any other code is wrong, but no reason to give up."""
        if error.code() not in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL):
            raise error
        self.note("violation", text=f"wrong code: {error.code().name} {error.details()}")

    def state(self, name: str) -> WorkflowState | None:
        return self._insist(lambda: self._client.get_workflow_state(name))

    def _is_there(self, plan: Plan) -> bool:
        state = self.state(plan.instance_id)
        return state is not None and json.loads(state.serialized_input or "{}").get("run") == plan.run

    def start(self, plan: Plan, delay: float = 0.0) -> None:
        name, run, tries = plan.instance_id, plan.run, 0
        self._acknowledged, self._sent = [], set()
        deadline = time.monotonic() + PATIENCE
        while True:
            tries += 1
            self.note("start try", name, run)
            due = datetime.now(timezone.utc) + timedelta(seconds=delay) if delay else None
            try:
                self._client.schedule_new_workflow(plan.workflow, input=plan.given, instance_id=name, start_at=due)
                break
            except TaskHubUnavailableError:
                self.note("start doubt", name, run)
            except WorkflowAlreadyExistsError as error:
                if "child workflow" in error.details() and time.monotonic() < deadline:
                    # Children of the terminated run before this one end after it.
                    self.note("start doubt", name, run)
                elif tries == 1 or not self._is_there(plan):
                    raise _Wrong(f"{run} was refused: {error}") from error
                else:
                    break
            except TaskHubError as error:
                self._complain(error)
                self.note("start doubt", name, run)
            time.sleep(self.dice.uniform(0.02, 0.3))
            if self._is_there(plan):
                break
        self.note("start ok", name, run)

    def raise_event(self, plan: Plan, letter: str) -> None:
        """Raises one event; each try has a key of its own, so that the workflow can tell doubles."""
        tries = 0

        def once() -> None:
            nonlocal tries
            tries += 1
            key = f"{letter}.{tries}"
            self._sent.add(key)
            self.note("raise try", plan.instance_id, plan.run, key=key)
            data = {"key": key, "close": letter == "close"}
            self._client.raise_workflow_event(plan.instance_id, "mail", data=data)
            if letter != "close":  # An earlier try may have closed it already, and then this one is ignored.
                self._acknowledged.append(key)
            self.note("raise ok", plan.instance_id, plan.run, key=key)

        self._insist(once, lambda: self.note("raise doubt"))

    def _manage(self, what: str, plan: Plan, call: Callable[[], object]) -> None:
        def once() -> None:
            self.note(f"{what} try", plan.instance_id, plan.run)
            call()

        self._insist(once, lambda: self.note(f"{what} doubt"))
        self.note(f"{what} ok", plan.instance_id, plan.run)

    def suspend(self, plan: Plan) -> None:
        self._manage("suspend", plan, lambda: self._client.pause_workflow(plan.instance_id))

    def resume(self, plan: Plan) -> None:
        self._manage("resume", plan, lambda: self._client.resume_workflow(plan.instance_id))

    def terminate(self, plan: Plan) -> None:
        call = self._client.terminate_workflow
        self._manage("terminate", plan, lambda: call(plan.instance_id, output=plan.output))

    def purge(self, plan: Plan) -> None:
        tries, deadline = 0, time.monotonic() + PATIENCE

        def once() -> None:
            nonlocal tries
            tries += 1
            while True:
                try:
                    self._client.purge_workflow(plan.instance_id)
                except WorkflowNotFoundError:
                    if tries == 1:
                        raise
                except WorkflowNotFinishedError:
                    # The children of a terminated parent end after it.
                    if plan.workflow != "endless" or time.monotonic() > deadline:
                        raise
                    time.sleep(0.05)
                    continue
                return

        self._manage("purge", plan, once)
        if self.state(plan.instance_id) is not None:
            raise _Wrong(f"lost: {plan.run} is there although its purge was acknowledged")

    def end(self, plan: Plan) -> WorkflowState:
        """Waits for the end, by a waiting call or by asking again and again."""
        name = plan.instance_id
        deadline = time.monotonic() + PATIENCE
        asks = self.dice.random() < 0.3
        while True:
            try:
                if asks:
                    time.sleep(self.dice.uniform(0.02, 0.3))
                    state = self.state(name)
                else:
                    state = self._insist(lambda: self._client.wait_for_workflow_completion(name, timeout_in_seconds=20))
            except TimeoutError:
                state = self.state(name)
            if state is None:
                raise _Wrong(f"lost: {plan.run} is gone")
            if state.runtime_status.is_final:
                break
            if time.monotonic() > deadline:
                raise _Wrong(f"hangs: {plan.run} ({plan.workflow}) is {state.runtime_status.name} after {PATIENCE:g} s")
        self.note("final ok", name, plan.run, final=_final(state))
        wrong = plan.check(state.runtime_status.name, state.serialized_output)
        if wrong is not None:
            raise _Wrong(f"{wrong}; {state.failure_details}")
        if plan.workflow == "mailbox":
            mail = check_mail(plan, state.serialized_output, self._acknowledged, self._sent)
            if mail:
                raise _Wrong("; ".join(mail))
        return state


def _final(state: WorkflowState) -> dict[str, object]:
    return {
        "execution": state.execution_id,
        "status": state.runtime_status.name,
        "output": state.serialized_output,
        "completed": str(state.completed_at),
    }


class Load:
    """All actors, and what they leave behind."""

    def __init__(self, folder: Path, port: int, seed: int, instances: int) -> None:
        """Starts nothing yet."""
        self._journal = JournalWriter(folder / JOURNAL)
        self._clients = [WorkflowClient(port=port) for _ in range(4)]
        self._seed = seed
        self._over = threading.Event()
        self._threads = [threading.Thread(target=self._act, args=(n,), daemon=True) for n in range(instances)]
        self._left: list[tuple[Plan, dict[str, object]]] = []

    def run(self) -> None:
        """Works until it is told to end."""
        for thread in self._threads:
            thread.start()
        self._over.wait()
        for thread in self._threads:
            thread.join()
        client = _Client(self._clients[0], self._journal, random.Random(self._seed))
        for plan, final in self._left:
            state = client.state(plan.instance_id)
            if state is None or _final(state) != final:
                now = None if state is None else _final(state)
                self._journal.note("violation", text=f"{plan.run} ended as {final}, and is {now} later")
        self._journal.note("audited", more=len(self._left))

    def stop(self) -> None:
        """Has everybody finish and begin nothing new."""
        self._over.set()

    def _act(self, number: int) -> None:
        dice = random.Random(f"{self._seed}-{number}")
        client = _Client(self._clients[number % len(self._clients)], self._journal, dice)
        turn = 0
        while not self._over.wait(dice.uniform(0, 1.0)):
            name = f"i{number}-{turn}"
            turn += 1
            try:
                self._play(client, name, dice)
            except _Wrong as wrong:
                self._journal.note("violation", name, text=str(wrong))
            except Exception as error:
                self._journal.note("violation", name, text=f"{name}: {type(error).__name__}: {error}")

    def _play(self, client: _Client, name: str, dice: random.Random) -> None:
        script = dice.choice((self._plain, self._plain, self._mail, self._pause, self._stop, self._again))
        for plan, state in script(client, name, dice):
            self._journal.note("done", name, plan.run, kind=plan.workflow, tags=plan.tags)
            last = (plan, _final(state))
        if dice.random() < 0.8:
            client.purge(last[0])
        else:
            self._left.append(last)

    @staticmethod
    def _plain(client: _Client, name: str, dice: random.Random):
        plan = dice.choice(_KINDS)(name, f"{name}#1", dice)
        client.start(plan, dice.choice((0.0, 0.0, 0.0, 0.5)))
        yield plan, client.end(plan)

    @staticmethod
    def _mail(client: _Client, name: str, dice: random.Random):
        plan = plans.mailbox(name, f"{name}#1", dice)
        client.start(plan)
        hurry = dice.choice((0.0, 0.0, 0.3))
        for number in range(dice.randint(1, 10)):
            client.raise_event(plan, str(number))
            time.sleep(dice.uniform(0, hurry))
        client.raise_event(plan, "close")
        yield plan, client.end(plan)

    @staticmethod
    def _pause(client: _Client, name: str, dice: random.Random):
        plan = plans.mailbox(name, f"{name}#1", dice)
        client.start(plan)
        client.raise_event(plan, "0")
        client.suspend(plan)
        for letter in ("1", "2", "close"):
            client.raise_event(plan, letter)
            time.sleep(dice.uniform(0, 0.3))
            state = client.state(name)
            if state is None or state.runtime_status is not WorkflowStatus.SUSPENDED:
                raise _Wrong(f"lost: {plan.run} was suspended, and is {state and state.runtime_status}")
        client.resume(plan)
        yield plan, client.end(plan)

    @staticmethod
    def _stop(client: _Client, name: str, dice: random.Random):
        plan = plans.endless(name, f"{name}#1", dice)
        client.start(plan)
        time.sleep(dice.choice((0.0, 0.05, 0.5)))
        client.terminate(plan)
        yield plan, client.end(plan)

    @staticmethod
    def _again(client: _Client, name: str, dice: random.Random):
        """One id, several runs: what is left of one must not get into the next."""
        for number in range(1, dice.randint(2, 4)):
            plan = plans.endless(name, f"{name}#{number}", dice)
            if dice.random() < 0.4:
                plan = dice.choice(_KINDS)(name, f"{name}#{number}", dice)
            client.start(plan)
            if plan.workflow == "endless":
                time.sleep(dice.choice((0.0, 0.05, 0.2)))
                client.terminate(plan)
            yield plan, client.end(plan)
            if dice.random() < 0.5:
                client.purge(plan)
        plan = plans.chain(name, f"{name}#last", dice, pause=dice.choice((0.0, 0.5)))
        client.start(plan)
        yield plan, client.end(plan)


def main() -> None:
    """Runs the load of the command line."""
    folder, port, seed, instances = sys.argv[1:]
    load = Load(Path(folder), int(port), int(seed), int(instances))
    signal.signal(signal.SIGTERM, lambda *_: load.stop())
    load.run()


if __name__ == "__main__":
    main()
