"""Orders are processed while the processes that do it are killed, again and again, at random moments.

Each run has a seed of its own, which it prints; ``CRASH_SEED=... pytest tests/crash`` repeats the moments of one, and
``CRASH_KILLS=...`` asks for another number of them.
"""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pytest

from dapr_workflow_sdk import TaskHubError, WorkflowClient, WorkflowStatus
from tests.crash.database import check_consistent, check_finished, check_grown, read_after_crash
from tests.crash.orders import EXAMPLE, Summary, check_orders, copy_example, write_orders
from tests.sidecar.ports import HOST, free_port
from tests.sidecar.processes import ServerProcess
from tests.stored import Stored

_REPOSITORY = EXAMPLE.parents[1]
_IN_PROCESS = """
import sys
from dapr_workflow_sdk import EmbeddedEngine
from order_processing import main
with EmbeddedEngine(sys.argv[1]) as engine:
    sys.exit(main(sys.argv[2:], engine=engine))
"""
_WORKER = """
import threading
import order_processing
from dapr_workflow_sdk import WorkflowRuntime
with WorkflowRuntime(worker_ready_timeout=60):
    threading.Event().wait()
"""
_BUSY = """
import threading
from dapr_workflow_sdk import WorkflowRuntime, activity, when_all, workflow

@activity
def work(ctx, value):
    return value

@workflow
def much_work(ctx, value):
    for _ in range(30):
        yield when_all([ctx.call_activity(work, input="x" * 1000) for _ in range(10)])

with WorkflowRuntime(worker_ready_timeout=60):
    print("busy", flush=True)
    threading.Event().wait()
"""
# Who dies; "worker" is a second one beside the one in the app, and nobody else's death ends it.
_VICTIMS = (("engine",), ("engine",), ("app",), ("worker",), ("engine", "app"), ("engine", "app", "worker"))
_PATIENCE = 60.0


@pytest.fixture(scope="module")
def uncrashed(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """What comes out when nothing is killed."""
    folder = tmp_path_factory.mktemp("uncrashed")
    orders = write_orders(folder, "u")
    copy_example(folder)
    command = [sys.executable, "-c", _IN_PROCESS, str(folder / "u.db"), "--json", "--orders", str(orders)]
    run = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=_PATIENCE, check=False)
    assert (run.returncode, run.stderr) == (0, ""), run.stdout
    summary = Summary.read(run.stdout, "u")
    assert summary.counts == {
        "completed": 155, "compensated": 38, "rejected": 6, "timed_out": 5, "failed": 0, "malformed": 16
    }  # fmt: skip
    return summary


def _kills(usual: int) -> int:
    return int(os.environ.get("CRASH_KILLS") or usual)


class _Site:
    """The processes, what they write, and a count of what happened to them."""

    def __init__(self, folder: Path, expected: Summary | None) -> None:
        self.folder = folder
        self.expected = expected
        self.database = folder / "crash.db"
        self.happened: Counter[str] = Counter()
        self.batches = [self._next_batch(0)]
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self._example = copy_example(folder)
        self._processes: dict[str, ServerProcess] = {}
        self._excused: set[str] = set()
        self._seen: Stored = {}
        self._environment = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
        self._environment["PYTHONPATH"] = str(_REPOSITORY)
        self._environment["PYTHONFAULTHANDLER"] = "1"
        self.commands: dict[str, list[str]] = {}

    def _next_batch(self, number: int) -> str:
        write_orders(self.folder, f"b{number}")
        return f"b{number}"

    def over_grpc(self, port: int) -> None:
        """Sets the site up as an engine, an app and one more worker."""
        self._environment.update(DAPR_RUNTIME_HOST=HOST, DAPR_GRPC_PORT=str(port))
        ports = ["--grpc-port", str(port), "--http-port", str(free_port())]
        command = [sys.executable, "-m", "dapr_workflow_sdk", "engine", "--db", str(self.database), *ports]
        self.commands = {
            "engine": command,
            "worker": [sys.executable, "-c", _WORKER],
            "app": [sys.executable, str(self._example)],
        }

    def in_process(self) -> None:
        """Sets the site up as one process."""
        self.commands = {"app": [sys.executable, "-c", _IN_PROCESS, str(self.database)]}

    def start(self, name: str) -> None:
        """Starts a process and waits for nothing."""
        number = self.happened[f"{name} starts"]
        command = list(self.commands[name])
        if name == "app":
            command += ["--json", "--orders", str(self.folder / f"{self.batches[-1]}.json")]
        process = ServerProcess(name, self.folder / f"{name}-{number}.log", self._environment)
        process.launch(command)
        self._processes[name] = process
        self._excused.discard(name)
        self.happened[f"{name} starts"] += 1

    def kill(self, names: tuple[str, ...]) -> None:
        """Kills processes and, if the engine is among them, looks at what is left."""
        for name in names:
            if self._processes[name].running:
                self.happened[f"{name} kills"] += 1
            self._processes[name].kill()
            self._excused.add(name)
        if "engine" in names:
            self._excused.add("app")  # Its client reports that the engine is gone.
        if "engine" in names or "engine" not in self.commands:
            self.look()

    def look(self) -> Stored:
        """Checks the file; no engine may run."""
        stored = read_after_crash(self.database, self._scratch)
        check_consistent(stored, self._seen)
        check_grown(self._seen, stored)
        self._seen = stored
        self.happened["looks at the file"] += 1
        return stored

    def tend(self, *, go_on: bool = True) -> bool:
        """Starts again what has ended; returns whether the last orders have come to their end.

        Args:
            go_on: Begin with other orders when all are processed.
        """
        for name in self.commands:
            process = self._processes[name]
            if process.running:
                continue
            status = process.wait()
            if name == "app" and status == 0:
                summary = Summary.read(process.log_path.read_text(), self.batches[-1])
                assert summary == self.expected
                self.happened["batches"] += 1
                if not go_on:
                    return True
                self.batches.append(self._next_batch(len(self.batches)))
            else:
                log = process.log_tail()
                assert name in self._excused, f"{name} ended by itself with status {status}:\n{log}"
            self.start(name)
        return False

    def check_running(self, name: str) -> None:
        """Checks that a process runs."""
        process = self._processes[name]
        assert process.running, f"{name} ended by itself with status {process.wait()}:\n{process.log_tail()}"

    def wait_until_said(self, name: str, words: str) -> None:
        """Waits until a process has printed something."""
        deadline = time.monotonic() + _PATIENCE
        while words not in self._processes[name].log_path.read_text():
            self.check_running(name)
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def run_for(self, seconds: float) -> None:
        """Lets the processes work for a while."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            self.tend()
            time.sleep(min(left, 0.02))

    def run_to_the_end(self) -> None:
        """Lets the processes finish the orders they have."""
        deadline = time.monotonic() + _PATIENCE
        while not self.tend(go_on=False):
            if time.monotonic() >= deadline:
                pytest.fail(f"The orders do not come to an end.\n{self._report()}")
            time.sleep(0.02)

    def _report(self) -> str:
        """What the processes said last, and what is not finished."""
        self.kill_all()
        said = [f"{name}:\n{process.log_tail(15)}" for name, process in self._processes.items()]
        stored = read_after_crash(self.database, self._scratch)
        return "\n\n".join([*said, *(f"{name}: {one}" for name, one in stored.items() if not one.ended)])

    def stop(self) -> None:
        """Ends the engine in order, if there is one, and kills the rest."""
        for process in self._processes.values():
            process.stop()

    def kill_all(self) -> None:
        """Kills what runs."""
        for process in self._processes.values():
            process.kill()


@contextmanager
def _site(folder: Path, expected: Summary | None = None) -> Iterator[_Site]:
    site = _Site(folder, expected)
    try:
        yield site
    finally:
        site.kill_all()
        print(", ".join(f"{count} {what}" for what, count in sorted(site.happened.items())))


class _Witness(threading.Thread):
    """Starts instances one after the other, and remembers which the engine said it had taken."""

    def __init__(self, port: int) -> None:
        super().__init__(daemon=True)
        self.taken: set[str] = set()
        self.in_doubt: set[str] = set()
        self._port = port
        self._over = threading.Event()
        self._error: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._over.wait(0.05):
                # A client that was refused stays away for a while; a new one does not.
                with WorkflowClient(HOST, self._port) as client, suppress(TaskHubError):
                    self._start_some(client)
        except BaseException as error:
            self._error = error

    def _start_some(self, client: WorkflowClient) -> None:
        line = {"sku": "mouse-wireless", "quantity": 1, "unit_price": 32.49}
        while not self._over.wait(0.005):
            name = f"witness-{len(self.taken) + len(self.in_doubt)}"
            self.in_doubt.add(name)  # Taken or not: that the answer did not come does not say which.
            order = {"id": name, "customer": "the witness", "lines": [line]}
            client.schedule_new_workflow("shipment", input=order, instance_id=name)
            self.in_doubt.remove(name)
            self.taken.add(name)

    def stop(self) -> None:
        """Starts no more."""
        self._over.set()
        self.join(_PATIENCE)
        assert not self.is_alive()
        if self._error is not None:
            raise self._error

    def wait_for_all(self) -> None:
        """Waits until the instances have ended that were started."""
        with WorkflowClient(HOST, self._port) as client:
            for name in self.taken | self.in_doubt:
                state = client.wait_for_workflow_completion(name, timeout_in_seconds=_PATIENCE)
                assert state is not None or name in self.in_doubt, f"{name} was taken, and is gone"


def _a_while(dice: random.Random) -> float:
    # Short ones hit processes that are just starting.
    return dice.uniform(0.0, 0.4) if dice.random() < 0.3 else dice.uniform(0.4, 1.7)


def test_over_grpc(tmp_path: Path, uncrashed: Summary, dice: random.Random) -> None:
    """Engine, app and another worker are killed in turn; what comes out is what comes out without that."""
    port = free_port()
    with _site(tmp_path, uncrashed) as site:
        site.over_grpc(port)
        for name in site.commands:
            site.start(name)
        witness = _Witness(port)
        witness.start()
        for _ in range(_kills(30)):
            site.run_for(_a_while(dice))
            victims = dice.choice(_VICTIMS)
            site.kill(victims)
        site.run_to_the_end()
        witness.stop()
        witness.wait_for_all()
        site.stop()

        stored = site.look()
        check_finished(stored)
        known = {name for name in stored if name in witness.taken | witness.in_doubt}
        assert witness.taken <= known
        for batch in site.batches:
            known |= check_orders(stored, batch, uncrashed)
        assert set(stored) == known
        site.happened.update({"starts witnessed": len(witness.taken), "starts in doubt": len(witness.in_doubt)})


def test_in_process(tmp_path: Path, uncrashed: Summary, dice: random.Random) -> None:
    """The one process that is engine, worker and client is killed, and started again."""
    with _site(tmp_path, uncrashed) as site:
        site.in_process()
        site.start("app")
        for _ in range(_kills(10)):
            site.run_for(_a_while(dice))
            site.kill(("app",))
        site.run_to_the_end()
        stored = site.look()
        check_finished(stored)
        known: set[str] = set()
        for batch in site.batches:
            known |= check_orders(stored, batch, uncrashed)
        assert set(stored) == known


def test_worker_is_killed_while_it_is_sent_work(tmp_path: Path, dice: random.Random) -> None:
    """The engine goes on, whatever it was in the middle of, and so does the work."""
    port = free_port()
    with _site(tmp_path) as site:
        site.over_grpc(port)
        site.commands = {"engine": site.commands["engine"], "worker": [sys.executable, "-c", _BUSY]}
        site.start("engine")
        site.wait_until_said("engine", "ready")
        with WorkflowClient(HOST, port) as client:
            due = datetime.now(timezone.utc)  # With a time given, a start waits for no worker.
            names = [client.schedule_new_workflow("much_work", start_at=due) for _ in range(20)]
            for _ in range(8):
                site.start("worker")
                site.wait_until_said("worker", "busy")
                time.sleep(dice.uniform(0, 0.25))
                site.kill(("worker",))
                site.check_running("engine")
            site.start("worker")
            for name in names:
                state = client.wait_for_workflow_completion(name, timeout_in_seconds=_PATIENCE)
                assert state is not None
                assert state.runtime_status is WorkflowStatus.COMPLETED
        site.stop()
        check_finished(site.look())


def test_start_at_a_time(tmp_path: Path) -> None:
    """An instance that is to start later starts then, although the engine was killed in between."""
    port = free_port()
    with _site(tmp_path) as site:
        site.over_grpc(port)
        del site.commands["app"]
        for name in site.commands:
            site.start(name)
        order = {"id": "later", "customer": "c", "lines": [{"sku": "water-filter", "quantity": 1, "unit_price": 1}]}
        site.wait_until_said("engine", "ready")
        with WorkflowClient(HOST, port) as client:
            due = datetime.now(timezone.utc) + timedelta(seconds=4)
            client.schedule_new_workflow("shipment", input=order, instance_id="later", start_at=due)
        site.kill(("engine",))
        site.start("engine")
        site.wait_until_said("engine", "ready")
        with WorkflowClient(HOST, port) as client:
            state = client.get_workflow_state("later")
            assert state is not None
            assert state.runtime_status is WorkflowStatus.PENDING
            state = client.wait_for_workflow_completion("later", timeout_in_seconds=10)
        assert state is not None
        assert state.last_updated_at >= due.replace(tzinfo=None)
