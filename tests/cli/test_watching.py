"""Watching instances, on a terminal and in a pipe."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
from tests.cli.places import COMMAND, Place, quick
from tests.sidecar.ports import free_port
from tests.worker.support import child, environment, eventually


class Screen:
    """A terminal of 100 columns and 30 lines, in which a command runs in the foreground."""

    def __init__(self, command: Sequence[str], cwd: Path, *, colour: bool = True) -> None:
        self.descriptor, inside = pty.openpty()
        fcntl.ioctl(inside, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        variables = {"TERM": "xterm-256color"} if colour else {"TERM": "xterm-256color", "NO_COLOR": "1"}
        self.process = subprocess.Popen(
            command,
            stdin=inside,
            stdout=inside,
            stderr=inside,
            cwd=cwd,
            env=environment(**variables),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        self.text = ""

    def _read(self, timeout: float) -> bool:
        if not select.select([self.descriptor], [], [], timeout)[0]:
            return True
        try:
            part = os.read(self.descriptor, 65536)
        except OSError:
            return False
        self.text += part.decode(errors="replace")
        return bool(part)

    @property
    def plain(self) -> str:
        """What it said, without colours and moves."""
        return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", self.text)

    def says(self, wanted: str, timeout: float = 40) -> None:
        """Waits until the screen was told something from now on."""
        self.text = ""
        deadline = time.monotonic() + timeout
        while wanted not in self.plain:
            assert time.monotonic() < deadline, f"no {wanted!r} in {self.plain[-1000:]}"
            assert self._read(0.1), f"ended without {wanted!r}: {self.plain[-1000:]}"

    def everything(self) -> str:
        while self._read(0.2):
            pass
        return self.text

    def ends(self, timeout: float = 40) -> int:
        deadline = time.monotonic() + timeout
        while self.process.poll() is None:
            assert time.monotonic() < deadline, f"goes on: {self.text!r}"
            self._read(0.05)
        return self.process.returncode

    def press(self, key: bytes) -> None:
        os.write(self.descriptor, key)

    def close(self) -> None:
        os.close(self.descriptor)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


def watch(*arguments: str) -> list[str]:
    return [*COMMAND, "watch", "--interval", "50ms", *arguments]


def test_a_terminal_shows_how_things_go_on(place: Place, tmp_path: Path) -> None:
    place.start("approval", instance_id="a")
    screen = Screen(watch(*place.options), tmp_path, colour=False)
    try:
        screen.says("1 RUNNING")
        screen.says("awaiting approval")
        place.client.raise_workflow_event("a", "approval", data="yes")
        screen.says("1 COMPLETED")
        place.start("approval", instance_id="b")
        screen.says("1 RUNNING 1 COMPLETED")
        screen.press(b"\x03")
        assert screen.ends() == 0
        assert "Traceback" not in screen.text
    finally:
        screen.close()


def test_one_instance_is_watched_to_its_end(place: Place, tmp_path: Path) -> None:
    place.start("approval", 3600, instance_id="a")
    screen = Screen(watch("a", *place.options), tmp_path, colour=False)
    try:
        screen.says("Waits for event approval #1")
        place.client.raise_workflow_event("a", "approval", data="yes")
        screen.says("event came: approval")
        assert screen.ends() == 0
        assert "completed" in screen.everything()
    finally:
        screen.close()


def test_in_a_pipe_every_change_is_a_line(place: Place) -> None:
    place.start("approval", instance_id="a")
    with child(watch("a", *place.options), NO_COLOR="1") as watching:
        eventually(lambda: watching.out, "a line", 40)
        assert watching.out[0].split(None, 1)[1] == "a  approval  RUNNING  awaiting approval"
        place.client.pause_workflow("a")
        eventually(lambda: len(watching.out) > 1, "a line about the pause", 40)
        assert "SUSPENDED" in watching.out[1]
        place.client.terminate_workflow("a", output=1)
        assert watching.ends(30) == 1
        assert watching.out[-1].endswith("TERMINATED  1")
        assert watching.err == []


def test_programs_get_a_document_for_every_change(place: Place) -> None:
    with child(watch("--json", *place.options)) as watching:
        place.start("approval", instance_id="a")
        eventually(lambda: watching.out, "a line", 40)
        first = json.loads(watching.out[0])
        assert (first["id"], first["status"]) in {("a", "RUNNING"), ("a", "PENDING")}
        place.client.raise_workflow_event("a", "approval", data="yes")
        eventually(lambda: json.loads(watching.out[-1])["status"] == "COMPLETED", "the end", 40)
        os.kill(watching.pid, signal.SIGINT)
        assert watching.ends(30) == 0
        assert watching.err == []


def test_watching_outlives_a_restart_of_the_engine(tmp_path: Path) -> None:
    path, port = tmp_path / "x.db", free_port()
    with ExitStack() as stack:
        with EmbeddedEngine(path) as engine, engine.serve(grpc_port=port), WorkflowClient(engine=engine) as client:
            client.schedule_new_workflow("nobody", instance_id="one")
            watching = stack.enter_context(child(watch("--grpc-port", str(port)), NO_COLOR="1"))
            eventually(lambda: watching.out, "a line", 40)
        eventually(lambda: watching.err, "a line about the outage", 40)
        assert "Trying again" in watching.err[0]
        with EmbeddedEngine(path) as engine, engine.serve(grpc_port=port), WorkflowClient(engine=engine) as client:
            client.schedule_new_workflow("nobody", instance_id="two")
            eventually(lambda: any(" two " in line for line in watching.out), "the new instance", 40)
            assert watching.process.poll() is None


def test_what_cannot_be_watched(place: Place) -> None:
    assert place.run("watch", "nobody").code == 3
    assert place.run("watch", "a", "--status", "failed").code == 2
    assert place.run("watch", "--limit", "0").code == 2
    place.finish("failing", 1, instance_id="f")
    answer = place.run("watch", "f", "--json")
    assert answer.code == 1
    assert answer.lines[0]["failure"]["cause"]["message"] == "no 1"
    assert quick("watch", "--interval", "soon", *place.options).code == 2
