"""The `dapr-workflow` command, run as users run it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import termios
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import grpc
import httpx
import pytest

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, __version__
from tests.worker.support import Child, child, environment, eventually, is_alive

COMMAND = [sys.executable, "-m", "dapr_workflow_sdk"]


def run(*arguments: str, cwd: Path | None = None, **more: str) -> subprocess.CompletedProcess[str]:
    """Runs the command until it ends."""
    return subprocess.run(
        [*COMMAND, *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        cwd=cwd,
        env=environment(NO_COLOR="1", **more),
        stdin=subprocess.DEVNULL,
        check=False,
    )


def write(folder: Path, code: str, name: str = "app.py") -> Path:
    """A program."""
    program = folder / name
    program.write_text(code)
    return program


_WAITS = """
import os, sys, time, signal
print("pid", os.getpid(), flush=True)
{handler}
try:
    print("up", flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("interrupted", flush=True)
    sys.exit(5)
"""


def waiting(folder: Path, handler: str = "") -> Path:
    """A program that waits until it is told to end."""
    return write(folder, _WAITS.format(handler=handler))


def test_version() -> None:
    for command in (COMMAND, [str(Path(sys.executable).parent / "dapr-workflow")]):
        done = subprocess.run([*command, "--version"], capture_output=True, text=True, env=environment(), check=False)
        assert (done.returncode, done.stdout, done.stderr) == (0, f"dapr-workflow-sdk {__version__}\n", "")


def test_help_names_the_subcommands() -> None:
    done = run("--help")
    assert done.returncode == 0
    assert "run" in done.stdout
    assert "engine" in done.stdout
    assert run("run", "--help").returncode == 0
    assert run("nonsense").returncode == 2


# ---- run -------------------------------------------------------------------------------------------------------


_SHOWS = """
import json, os, sys, httpx
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
names = ("DAPR_GRPC_ENDPOINT", "DAPR_RUNTIME_HOST", "DAPR_GRPC_PORT", "DAPR_HTTP_PORT", "KEPT")
runtime = WorkflowRuntime()
@runtime.workflow
def flow(ctx, value):
    return value
with runtime, WorkflowClient() as client:
    i = client.schedule_new_workflow(flow, input=7)
    output = client.wait_for_workflow_completion(i, timeout_in_seconds=5).serialized_output
health = httpx.get(f"http://127.0.0.1:{os.environ['DAPR_HTTP_PORT']}/v1.0/healthz", trust_env=False).status_code
print(json.dumps([{n: os.environ.get(n) for n in names}, sys.argv[1:], output, health, __name__, sys.argv[0]]))
sys.exit(7)
"""


def test_a_program_finds_its_engine_and_gets_its_arguments_and_gives_its_exit_code(tmp_path: Path) -> None:
    program = write(tmp_path, _SHOWS)
    done = run(
        "run", str(program), "--", "--flag", "-v", "a b", "", cwd=tmp_path, KEPT="yes", DAPR_GRPC_ENDPOINT="https://e:1"
    )
    assert done.returncode == 7, done.stderr
    variables, arguments, output, health, name, argv0 = json.loads(done.stdout)
    assert variables["DAPR_GRPC_ENDPOINT"] is None
    assert variables["DAPR_RUNTIME_HOST"] == "127.0.0.1"
    assert variables["KEPT"] == "yes"
    assert arguments == ["--flag", "-v", "a b", ""]
    assert (output, health, name, argv0) == ("7", 204, "__main__", str(program))
    assert f"gRPC 127.0.0.1:{variables['DAPR_GRPC_PORT']}" in done.stderr
    assert f"HTTP 127.0.0.1:{variables['DAPR_HTTP_PORT']}" in done.stderr
    assert (tmp_path / ".dapr-workflow" / "app.db").exists()


_SET_PORTS = "import os; print(os.environ['DAPR_GRPC_PORT'], os.environ['DAPR_HTTP_PORT'])"


def test_ports_and_the_file_can_be_chosen(tmp_path: Path) -> None:
    from tests.sidecar.ports import free_port

    grpc_port, http_port, db = free_port(), free_port(), tmp_path / "deep" / "er" / "my.db"
    program = write(tmp_path, _SET_PORTS)
    done = run(
        *("run", str(program), "--db", str(db), "--grpc-port", str(grpc_port), "--http-port", str(http_port)),
        cwd=tmp_path,
    )
    assert (done.returncode, done.stdout) == (0, f"{grpc_port} {http_port}\n"), done.stderr
    assert db.exists()
    assert not (tmp_path / ".dapr-workflow").exists()


_RESUMES = """
import os, sys
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
runtime = WorkflowRuntime()
@runtime.workflow
def flow(ctx):
    value = yield ctx.wait_for_external_event("go")
    return value
with runtime, WorkflowClient() as client:
    if sys.argv[1] == "begin":
        client.schedule_new_workflow(flow, instance_id="kept")
        client.wait_for_workflow_start("kept")
        os._exit(3)
    client.raise_workflow_event("kept", "go", data="on")
    print(client.wait_for_workflow_completion("kept", timeout_in_seconds=5).serialized_output)
"""


def test_run_again_and_unfinished_workflows_go_on(tmp_path: Path) -> None:
    program = write(tmp_path, _RESUMES)
    assert run("run", str(program), "begin", cwd=tmp_path).returncode == 3
    done = run("run", str(program), "go-on", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, '"on"\n'), done.stderr


@pytest.mark.parametrize(
    ("code", "status"),
    [
        ("raise SystemExit(0)", 0),
        ("raise SystemExit(255)", 255),
        ("raise ValueError", 1),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", 137),
        ("import os, signal; os.kill(os.getpid(), signal.SIGTERM)", 143),
        ("import os; os.abort()", 134),
    ],
)
def test_the_exit_code_is_that_of_the_program(tmp_path: Path, code: str, status: int) -> None:
    assert run("run", str(write(tmp_path, code)), cwd=tmp_path).returncode == status


def test_output_and_input_are_those_of_the_program(tmp_path: Path) -> None:
    program = write(tmp_path, "import sys; print(sys.stdin.read().upper()); print('err', file=sys.stderr)")
    done = subprocess.run(
        [*COMMAND, "run", str(program)],
        input="typed",
        capture_output=True,
        text=True,
        timeout=20,
        cwd=tmp_path,
        env=environment(),
        check=False,
    )
    assert done.stdout == "TYPED\n"
    assert "err" in done.stderr.splitlines()


def start(program: Path, *options: str, cwd: Path) -> Any:
    """Runs a program beside an engine until the test is over."""
    return child([*COMMAND, "run", *options, str(program)], cwd=cwd, NO_COLOR="1")


def pid_of(command: Child) -> int:
    """The process of the program, once it is up."""
    pid = int(command.says("pid "))
    command.says("up")
    return pid


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_command_alone_stops_both(tmp_path: Path, number: signal.Signals) -> None:
    with start(waiting(tmp_path), cwd=tmp_path) as command:
        pid = pid_of(command)
        os.kill(command.pid, number)
        status = command.ends(5)
        assert status == (5 if number == signal.SIGINT else 143)
        assert not is_alive(pid)
        assert [line for line in command.err if "Traceback" in line] == []
    with EmbeddedEngine(tmp_path / ".dapr-workflow" / "app.db"):
        pass


def test_a_program_that_takes_its_time_to_end_gets_it(tmp_path: Path) -> None:
    handler = """
def end(*_):
    time.sleep(0.5)
    print("cleaned up", flush=True)
    sys.exit(9)
signal.signal(signal.SIGTERM, end)
"""
    with start(waiting(tmp_path, handler), cwd=tmp_path) as command:
        pid_of(command)
        os.kill(command.pid, signal.SIGTERM)
        assert command.ends(5) == 9
        assert command.out[-1] == "cleaned up"


def test_a_program_that_does_not_end_is_killed_after_a_while(tmp_path: Path) -> None:
    handler = "signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.signal(signal.SIGINT, signal.SIG_IGN)"
    impatient = """
import sys
from dapr_workflow_sdk.cli import main, program
program._PATIENCE = 0.3
sys.argv = ["dapr-workflow", "run", *sys.argv[1:]]
main()
"""
    command = [sys.executable, "-c", impatient, str(waiting(tmp_path, handler))]
    with child(command, cwd=tmp_path, NO_COLOR="1") as running:
        pid = pid_of(running)
        os.kill(running.pid, signal.SIGTERM)
        assert running.ends(5) == 137
        assert not is_alive(pid)


def test_a_worker_stopped_by_the_command_finishes_its_activity(tmp_path: Path) -> None:
    code = """
import sys, time, threading, os, signal
from dapr_workflow_sdk import WorkflowClient, WorkflowRuntime
runtime = WorkflowRuntime()
@runtime.activity
def slow(ctx):
    print("up", flush=True)
    time.sleep(0.4)
    print("finished", flush=True)
@runtime.workflow
def flow(ctx):
    yield ctx.call_activity(slow)
print("pid", os.getpid(), flush=True)
try:
    with runtime, WorkflowClient() as client:
        i = client.schedule_new_workflow(flow)
        client.wait_for_workflow_completion(i)
except KeyboardInterrupt:
    sys.exit(4)
"""
    with start(write(tmp_path, code), cwd=tmp_path) as command:
        pid_of(command)
        os.kill(command.pid, signal.SIGINT)
        assert command.ends(8) == 4
        assert command.out[-1] == "finished"


class Terminal:
    """A terminal, in which a command runs in the foreground."""

    def __init__(self, command: Sequence[str], cwd: Path, *, own_input: bool = False) -> None:
        self.descriptor, inside = pty.openpty()
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL if own_input else inside,
            stdout=inside,
            stderr=inside,
            cwd=cwd,
            env=environment(NO_COLOR="1", TERM="dumb"),
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(1, termios.TIOCSCTTY, 0),
        )
        os.close(inside)
        self.text = ""

    def says(self, wanted: str, timeout: float = 15) -> None:
        deadline = time.monotonic() + timeout
        while wanted not in self.text:
            ready, _, _ = select.select([self.descriptor], [], [], max(0, deadline - time.monotonic()))
            assert ready, f"no {wanted!r} in {self.text!r}"
            try:
                self.text += os.read(self.descriptor, 10_000).decode()
            except OSError:
                raise AssertionError(f"ended without {wanted!r}: {self.text!r}") from None

    def ends(self, timeout: float = 8) -> int:
        try:
            return self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"goes on after {timeout} s: {self.text!r}") from None

    def close(self) -> None:
        os.close(self.descriptor)
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()


@pytest.mark.parametrize("own_input", [False, True], ids=["terminal", "input from a file"])
def test_control_c_in_a_terminal_is_known_to_reach_children_wherever_input_comes_from(
    tmp_path: Path, own_input: bool
) -> None:
    """The terminal that sends Ctrl-C is the one the process belongs to, not the one its input comes from."""
    code = (
        "import signal; from dapr_workflow_sdk.cli.signals import reached_children as r; print('it', r(signal.SIGINT))"
    )
    terminal = Terminal([sys.executable, "-c", code], tmp_path, own_input=own_input)
    try:
        terminal.says("it ")
        assert terminal.ends() == 0
        with contextlib.suppress(OSError):
            terminal.text += os.read(terminal.descriptor, 10_000).decode()
        assert "it True" in terminal.text
    finally:
        terminal.close()


def test_control_c_in_a_terminal_reaches_the_program_once(tmp_path: Path) -> None:
    """The terminal sends it to the whole group; passed on as well, it would interrupt the program's own clean-up."""
    code = """
import os, select, signal, sys
read, write = os.pipe()
os.set_blocking(write, False)
signal.set_wakeup_fd(write)  # A byte for every signal, where a handler may see two as one.
signal.signal(signal.SIGINT, lambda *_: None)
print("up", flush=True)
select.select([read], [], [])
count = 0
while select.select([read], [], [], 0.5)[0]:
    count += len(os.read(read, 100))
print("interrupted", count, flush=True)
sys.exit(6)
"""
    command = [*COMMAND, "run", str(write(tmp_path, code))]
    terminal = Terminal(command, tmp_path)
    try:
        terminal.says("up")
        os.write(terminal.descriptor, b"\x03")
        terminal.says("interrupted")
        assert terminal.ends() == 6
        with contextlib.suppress(OSError):
            terminal.text += os.read(terminal.descriptor, 10_000).decode()
        assert "interrupted 1" in terminal.text
    finally:
        terminal.close()


def test_what_is_wrong_is_said_in_one_line(tmp_path: Path) -> None:
    program = write(tmp_path, "print('ran')")
    missing = run("run", "nowhere.py", cwd=tmp_path)
    assert (missing.returncode, missing.stdout) == (2, "")
    assert missing.stderr == "dapr-workflow: there is no program nowhere.py\n"
    assert run("run", str(tmp_path), cwd=tmp_path).returncode == 2
    assert not (tmp_path / ".dapr-workflow").exists()

    with EmbeddedEngine(tmp_path / "busy.db"):
        busy = run("run", str(program), "--db", "busy.db", cwd=tmp_path)
    assert (busy.returncode, busy.stdout) == (2, "")
    assert len(busy.stderr.splitlines()) == 1
    assert f"busy.db is in use by another engine (process {os.getpid()})" in busy.stderr

    (tmp_path / "text.db").write_text("no database " * 100)
    wrong = run("run", str(program), "--db", "text.db", cwd=tmp_path)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "text.db" in wrong.stderr


@pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
@pytest.mark.parametrize("subcommand", ["run", "engine"])
def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path, subcommand: str, option: str) -> None:
    program = write(tmp_path, "print('ran')")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        others = ["--grpc-port", "0", "--http-port", "0"]
        more = [str(program)] if subcommand == "run" else []
        done = run(subcommand, *more, *others, option, port, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert [line for line in done.stderr.splitlines() if port in line] != []
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("port", ["70000", "-1", "x"])
@pytest.mark.parametrize("option", ["--grpc-port", "--http-port"])
def test_a_port_that_is_none_is_refused(tmp_path: Path, option: str, port: str) -> None:
    command = [*COMMAND, "engine", "--grpc-port=0", "--http-port=0", f"{option}={port}"]
    with child(command, cwd=tmp_path, NO_COLOR="1") as refusing:
        assert refusing.ends(6) == 2
        assert refusing.out == []
        text = " ".join(refusing.err)
        assert "Traceback" not in text
        assert option in text or port in text


# ---- engine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("file", [True, False], ids=["file", "memory"])
def test_the_engine_alone(tmp_path: Path, number: signal.Signals, file: bool) -> None:
    options = ["--db", "alone.db"] if file else []
    with child([*COMMAND, "engine", *options, "--grpc-port=0", "--http-port=0"], cwd=tmp_path) as command:
        line = command.says("Engine ready: ")
        found = re.fullmatch(r"gRPC 127\.0\.0\.1:(\d+), HTTP 127\.0\.0\.1:(\d+), (.*)", line)
        assert found is not None, line
        assert found[3] == ("alone.db" if file else "in memory")
        with WorkflowClient("127.0.0.1", found[1]) as client:
            client.schedule_new_workflow("nobody", instance_id="kept")
            url = f"http://127.0.0.1:{found[2]}/v1.0/workflows/dapr/kept"
            assert httpx.get(url, trust_env=False).json()["runtimeStatus"] == "PENDING"
        os.kill(command.pid, number)
        assert command.ends(5) == 0
        assert len(command.out) == 1
        assert command.err == []
    if file:
        with EmbeddedEngine(tmp_path / "alone.db") as engine, WorkflowClient(engine=engine) as client:
            assert client.get_workflow_state("kept") is not None


def test_the_engine_stops_while_clients_wait_and_workers_are_connected(tmp_path: Path) -> None:
    from dapr_workflow_sdk import WorkflowRuntime

    with child([*COMMAND, "engine", "--grpc-port=0", "--http-port=0"], cwd=tmp_path) as command:
        port = command.says("Engine ready: gRPC 127.0.0.1:").split(",")[0]
        with WorkflowClient("127.0.0.1", port) as client:
            runtime = WorkflowRuntime("127.0.0.1", port, shutdown_timeout=0.3)
            runtime.start()
            os.kill(command.pid, signal.SIGTERM)
            assert command.ends(5) == 0
            assert command.err == []
            eventually(lambda: not runtime.is_worker_ready(), "the end of the stream")
            with pytest.raises(grpc.RpcError):
                client.get_workflow_state("x")
            runtime.shutdown()


def test_the_engine_says_more_when_asked(tmp_path: Path) -> None:
    from dapr_workflow_sdk import WorkflowRuntime

    with child([*COMMAND, "engine", "-v", "--grpc-port=0", "--http-port=0"], cwd=tmp_path) as command:
        port = command.says("Engine ready: gRPC 127.0.0.1:").split(",")[0]
        with WorkflowRuntime("127.0.0.1", port):
            eventually(lambda: any("worker connected" in line for line in command.err), "a line about the worker")
        eventually(lambda: any("is gone" in line for line in command.err), "a line about its end")


def test_a_host_that_is_none_is_refused(tmp_path: Path) -> None:
    done = run("engine", "--grpc-port=0", "--http-port=0", "--host=256.1.1.1", cwd=tmp_path)
    assert done.returncode == 2
    assert "256.1.1.1" in done.stderr
    assert "Traceback" not in done.stderr


# ---- without the extra -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("package", ["typer", "rich"])
def test_without_its_packages_the_command_says_what_to_install(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
if {package!r} == "rich":
    sys.modules["rich.console"] = None
sys.argv = ["dapr-workflow", "--version"]
from dapr_workflow_sdk.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 1
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1, done.stderr
    assert package in done.stderr
    assert "pip install 'dapr-workflow-sdk[cli]'" in done.stderr


@pytest.mark.parametrize("package", ["uvicorn", "starlette"])
def test_without_a_web_server_the_engine_says_what_to_install(package: str) -> None:
    code = f"""
import sys
sys.modules[{package!r}] = None
for part in ("applications", "requests", "responses", "routing"):
    sys.modules[{package!r} + "." + part] = None
sys.argv = ["dapr-workflow", "engine", "--grpc-port=0", "--http-port=0"]
from dapr_workflow_sdk.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert package in done.stderr
    assert "pip install 'dapr-workflow-sdk[cli]'" in done.stderr


def test_the_library_works_without_the_extra() -> None:
    code = """
import sys
for name in ("typer", "rich", "uvicorn", "starlette"):
    sys.modules[name] = None
from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient
with EmbeddedEngine() as engine, engine.serve() as served, WorkflowClient("127.0.0.1", served.grpc_port) as client:
    assert client.get_workflow_state("x") is None
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False)
    assert (done.returncode, done.stderr) == (0, "")
