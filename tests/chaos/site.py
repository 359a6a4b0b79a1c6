"""The processes, what is done to them, and what was seen."""

from __future__ import annotations

import errno
import os
import random
import shutil
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tests.chaos.disk import Disk
from tests.chaos.invariants import check_finished, check_grown, check_instance, check_promises
from tests.chaos.journal import Journal
from tests.chaos.load import JOURNAL
from tests.chaos.plans import LOG_VARIABLE
from tests.sidecar.ports import free_port
from tests.sidecar.processes import ServerProcess
from tests.stored import StoredInstance, left_to_do, read_file, take_copy

_REPOSITORY = Path(__file__).resolve().parents[2]
_FINISHING = 300.0
# A disk that is well again must be noticed within this time, in seconds, and an engine that is started again as well.
_RECOVERY = 60.0


@dataclass
class Report:
    """What happened and what was seen."""

    seed: int
    kills: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def losses(self) -> int:
        """How much that was acknowledged is gone or hangs."""
        return sum(text.startswith(("lost", "hangs")) or " lost: " in text for text in self.violations)

    @property
    def doubles(self) -> int:
        """How much happened twice."""
        return sum(text.startswith("double") or " double: " in text for text in self.violations)

    @property
    def wrong_results(self) -> int:
        """How many runs ended otherwise than their model."""
        return sum(" ended " in text and ", not " in text for text in self.violations)

    def __str__(self) -> str:
        def of(counts: Counter[str]) -> str:
            return ", ".join(f"{number} {what}" for what, number in sorted(counts.items())) or "none"

        recoveries = [
            f"after {what}: {len(times)}, median {sorted(times)[len(times) // 2]:.2f} s, longest {max(times):.2f} s"
            for what, times in sorted(self.recoveries.items())
        ]
        lines = [
            f"seed                 {self.seed} ({self.seconds:.0f} s)",
            f"kills                {of(self.kills)}",
            f"faults               {of(self.faults)}",
            *(f"{what:20} {number}" for what, number in self.counts.items()),
            *(f"recovery {line}" for line in recoveries),
            f"losses               {self.losses}",
            f"doubles              {self.doubles}",
            f"wrong results        {self.wrong_results}",
            f"other violations     {len(self.violations) - self.losses - self.doubles - self.wrong_results}",
            *(f"  {text} ({number} times)" for text, number in Counter(self.violations).most_common(50)),
        ]
        return "\n".join(lines)


class Site:
    """An engine on a disk that may break, workers, and a load; and somebody who breaks them."""

    def __init__(self, folder: Path, *, seed: int, workers: int, instances: int) -> None:
        """Starts nothing yet."""
        self.report = Report(seed)
        self._dice = random.Random(seed)
        self._folder = folder
        self._database = folder / "chaos.db"
        self._activity_log = folder / "activities.log"
        self._scratch = folder / "scratch"
        self._scratch.mkdir()
        self._disk = Disk(folder, self._database)
        self._journal = Journal(folder / JOURNAL)
        self._left = self._scratch / "left.db"
        self._before: dict[str, StoredInstance] = {}
        self._down: list[tuple[str, float]] = []
        self._before_unsynced = False
        self._before_syncs = 0
        port = str(free_port())
        here = [sys.executable, "-m"]
        serve = ["--grpc-port", port, "--http-port", str(free_port()), "--db", str(self._database)]
        self._commands = {"engine": [*here, "dapr_workflow_sdk", "engine", *serve]}
        for number in range(workers):
            self._commands[f"worker-{number}"] = [*here, "tests.chaos.worker", port]
        self._commands["load"] = [*here, "tests.chaos.load", str(folder), port, str(seed), str(instances)]
        environment = {key: value for key, value in os.environ.items() if not key.startswith("DAPR_")}
        environment.update({"PYTHONPATH": str(_REPOSITORY), "PYTHONFAULTHANDLER": "1"})
        environment[LOG_VARIABLE] = str(self._activity_log)
        self._processes = {
            name: ServerProcess(
                name, folder / f"{name}.log", {**environment, **(self._disk.environment if name == "engine" else {})}
            )
            for name in self._commands
        }
        self._began = time.monotonic()

    # ---- processes -----------------------------------------------------------------------------------------

    def start(self) -> None:
        """Starts all, and returns when work is done."""
        for name in self._commands:
            self._launch(name)
        self._wait_for_answer(time.monotonic(), "the start")

    def _launch(self, name: str) -> None:
        self._processes[name].launch(self._commands[name])

    @property
    def _workers(self) -> list[str]:
        return [name for name in self._commands if name.startswith("worker")]

    def _wrong(self, text: str) -> None:
        if text not in self.report.violations:
            print(f"VIOLATION {text}", flush=True)
        self.report.violations.append(text)
        if sum("by itself" in text for text in self.report.violations) > 10:
            raise RuntimeError("Processes end by themselves; see above.")

    def _tend(self, *, excused: bool = False) -> None:
        """Starts again what ended by itself, which nothing should do while its disk is well."""
        for name, process in self._processes.items():
            if not process.running:
                if not excused:
                    self._wrong(f"{name} ended by itself with status {process.wait()}:\n{process.log_tail(30)}")
                self._launch(name)

    def _let_work(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            time.sleep(min(left, 0.05))
            self._tend()

    def _wait_for_answer(self, since: float, after: str) -> None:
        """Waits until the engine has answered something again."""
        while True:
            self._read_journal()
            if self._journal.last_answer > since:
                return
            if time.monotonic() > since + _RECOVERY:
                self._wrong(
                    f"hangs: no answer for {_RECOVERY:g} s after {after}: {self._processes['engine'].log_tail()}"
                )
                return
            time.sleep(0.02)
            self._tend()

    def _read_journal(self) -> None:
        seen = len(self._journal.violations)
        self._journal.read()
        for text in self._journal.violations[seen:]:
            self._wrong(text)
        for what, since in list(self._down):
            first = next((t for t in self._journal.answers if t > since), None)
            if first is not None:
                self.report.recoveries.setdefault(what, []).append(first - since)
                self._down.remove((what, since))
        self._journal.answers.clear()

    # ---- kills ---------------------------------------------------------------------------------------------

    def kill(self, *victims: str, power: bool = False) -> None:
        """Kills processes, looks at the file if the engine is among them, and starts them again.

        Args:
            victims: Names of processes.
            power: The kill is a power cut: what no sync had covered may be lost, torn or garbage.
        """
        for name in victims:
            self._processes[name].kill()
            self.report.kills[name.split("-")[0]] += 1
        since = time.monotonic()
        if len(victims) > 1:
            self.report.kills["both at once"] += 1
        copied = "engine" in victims
        if copied:
            self._down.append(("a power cut" if power else "a kill", since))
            if power:
                self.report.faults["power cuts"] += 1
                if self._before_unsynced and self._disk.syncs == self._before_syncs:
                    # What the last look found was not all on the disk, and has not got there since.
                    self._before = {}
                at_risk = self._disk.cut_power(self._dice)
                self.report.faults["power cuts with unsynced bytes"] += at_risk > 0
                self.report.counts["unsynced bytes at power cuts"] += at_risk
            self._disk.heal()
            take_copy(self._database, self._left)
            self._before_unsynced, self._before_syncs = self._disk.unsynced > 0, self._disk.syncs
            self._read_journal()
        for name in victims:
            self._launch(name)
        if copied:
            self._look()

    def _look(self, *, finished: bool = False) -> None:
        try:
            stored = read_file(self._left)
        except Exception as error:
            self._wrong(f"lost: the file cannot be read: {type(error).__name__}: {error}")
            shutil.copytree(self._scratch, self._folder / f"bad-{len(self.report.violations)}")
            return
        known = self._journal.known
        checks: list[Callable[[], None]] = [
            lambda: check_grown(self._before, stored, known),
            lambda: check_promises(stored, known),
        ]
        for name, instance in stored.items():
            if self._before.get(name) != instance or not instance.ended:
                checks.append(lambda name=name, instance=instance: check_instance(name, instance, stored))
        if finished:
            checks.append(lambda: check_finished(stored, known))
        for check in checks:
            try:
                check()
            except AssertionError as error:
                self._wrong(str(error))
                keep = self._folder / f"bad-{len(self.report.violations)}"
                if len(self.report.violations) < 5 and not keep.exists():
                    shutil.copytree(self._scratch, keep)
        self._before = stored
        self.report.counts["looks at the file"] += 1
        self.report.counts["most instances in it"] = max(len(stored), self.report.counts["most instances in it"])

    def kill_somebody(self) -> bool:
        """Waits for a moment and kills; returns whether the engine was among the victims."""
        dice = self._dice
        if dice.random() < 0.75:
            self._wait_for_answer(max([since for _, since in self._down], default=0.0), "the last kill")
            self._let_work(dice.uniform(0.0, 1.5))
        else:
            self._let_work(dice.uniform(0.0, 0.7))
        worker = dice.choice(self._workers)
        victims = dice.choices(
            [("engine",), (worker,), ("engine", worker), ("engine", *self._workers)], (50, 12, 20, 18)
        )[0]
        engine = "engine" in victims
        if engine and dice.random() < 0.2:
            # With slow syncs, a kill finds commits on their way.
            self.report.faults["slow syncs before a kill"] += 1
            self._disk.slow_syncs(dice.uniform(0.02, 0.2))
            self._let_work(dice.uniform(0.1, 0.5))
        self.kill(*victims, power=engine and dice.random() < 0.3)
        return engine

    # ---- faults --------------------------------------------------------------------------------------------

    FAULTS = (
        "sync errors", "write errors", "full disk", "unsteady disk", "read errors", "full disk and a kill",
        "sync errors and a kill", "sync errors and a power cut",
    )  # fmt: skip

    def break_disk(self, fault: str) -> None:
        """Breaks the disk for a while; the engine must say so, go on by itself afterwards, and lose nothing."""
        dice, disk = self._dice, self._disk
        self._wait_for_answer(max([since for _, since in self._down], default=0.0), "the last kill")
        self._let_work(0.3)
        self.report.faults[fault] += 1
        failures, engine = disk.failures, self._processes["engine"].pid
        if fault.startswith("sync"):
            disk.fail_syncs(errno.EIO, calls=dice.choice((1, 2, 5, -1)))
        elif fault == "write errors":
            disk.fail_writes(errno.EIO, calls=dice.choice((1, 2, 5, -1)))
        elif fault.startswith("full disk"):
            disk.fail_writes(errno.ENOSPC)
        elif fault == "read errors":
            disk.fail_reads(errno.EIO, calls=dice.choice((1, 3, 10)))
        else:
            disk.fail_writes(errno.EIO, chance=0.02)
            disk.fail_syncs(errno.EIO, chance=0.1)
        deadline = time.monotonic() + 10
        while disk.failures == failures and time.monotonic() < deadline and self._processes["engine"].running:
            if fault == "read errors" and time.monotonic() > deadline - 8:
                break  # All it wants may be in its cache.
            time.sleep(0.005)
        # A disk stays full for long enough that somebody wants to write.
        lasting = dice.uniform(0.5 if fault == "full disk" else 0.0, 1.2)
        if fault.endswith(("kill", "cut")):
            time.sleep(dice.uniform(0.0, 0.7))
            self.kill("engine", power=fault.endswith("cut"))
        else:
            time.sleep(lasting)
            disk.heal()
            self._down.append((fault, time.monotonic()))
            process = self._processes["engine"]
            if fault == "full disk" and "could not commit" not in process.log_tail(10_000):
                self._wrong("the engine met a full disk and did not say so in its log")
            if not process.running or process.pid != engine:
                self._wrong(
                    f"the engine ended with status {process.wait()} when it met {fault}:\n{process.log_tail(30)}"
                )
                self._tend(excused=True)
        self.report.counts["failed disk calls"] += disk.failures - failures
        self._wait_for_answer(time.monotonic(), fault)

    # ---- the end -------------------------------------------------------------------------------------------

    def finish(self) -> None:
        """Lets the load come to its end, stops the engine in order, and looks at what is there."""
        self._disk.heal()
        load = self._processes["load"]
        self._read_journal()
        load.terminate()
        deadline = time.monotonic() + _FINISHING
        while load.running and time.monotonic() < deadline:
            time.sleep(0.05)
            for name in ("engine", *self._workers):
                if not self._processes[name].running:
                    self._wrong(f"{name} ended by itself:\n{self._processes[name].log_tail(30)}")
                    self._launch(name)
        if load.running:
            self._wrong(f"hangs: the load did not come to its end in {_FINISHING:g} s")
        elif load.wait():
            self._wrong(f"the load ended with status {load.wait()}:\n{load.log_tail(30)}")
        # Nobody waits for the activities of a terminated workflow, nor for its children; they end all the same.
        deadline = time.monotonic() + _RECOVERY
        while left_to_do(self._database) and time.monotonic() < deadline:
            time.sleep(0.05)
        self._processes["engine"].terminate()
        deadline = time.monotonic() + 20
        while self._processes["engine"].running and time.monotonic() < deadline:
            time.sleep(0.05)
        if self._processes["engine"].running:
            self._wrong("hangs: the engine does not stop when it is asked to")
        self.close()
        take_copy(self._database, self._left)
        self._read_journal()
        self._look(finished=True)
        self._count()

    def _count(self) -> None:
        counts, done = self._journal.counts, self.report.counts
        done["runs started"] = counts["start ok"]
        done["runs ended as predicted"] = counts["done"]
        done["purges"] = counts["purge ok"]
        done["events acknowledged"] = counts["raise ok"]
        done["events in doubt"] = counts["raise doubt"]
        done["suspensions"] = counts["suspend ok"]
        done["terminations"] = counts["terminate ok"]
        done["starts in doubt"] = counts["start doubt"]
        done["syncs"] = self._disk.syncs
        run = Counter(self._activity_log.read_text().split())
        done["activities run"] = len(run)
        done["activities run again"] = sum(run.values()) - len(run)
        done["most runs of one"] = max(run.values(), default=0)
        for tag in self._journal.tags:
            if not run[tag]:
                self._wrong(f"lost: activity {tag} was never run")
        if done["runs started"] < counts["done"] or not counts["audited"]:
            self._wrong(f"the load's books do not balance: {counts}")
        self.report.seconds = time.monotonic() - self._began

    def close(self) -> None:
        """Kills what runs."""
        for process in self._processes.values():
            if process.running:
                os.killpg(process.pid, signal.SIGCONT)
            process.kill()
