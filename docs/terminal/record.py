"""Records the terminal session of docs/terminal.md anew.

    python docs/terminal/record.py
    python docs/terminal/record.py --page COPY.md --cast COPY.cast --fast

The page is the script: its program is written to a file and run beside an engine, and the commands of its console
blocks are typed into a shell in a terminal of 100 columns, one after the other. What the terminal showed replaces
what the page says, and the whole session becomes an asciicast (version 2, for asciinema and its players).
"""

from __future__ import annotations

import argparse
import codecs
import fcntl
import json
import os
import pty
import re
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import time
from pathlib import Path

HERE = Path(__file__).parent
COLUMNS, LINES = 100, 32
PROMPT = "\x1b[1;34m$\x1b[0m "
PROGRAM = re.compile(r'```python title="(?P<name>[\w.]+)"\n(?P<code>.*?)```', re.DOTALL)
BLOCK = re.compile(r"(```console\n)(.*?)(```)", re.DOTALL)
CONTROL = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])|\x1b[=>]|([\r\n\x07\x08])")
PATIENCE = 100.0


def rendered(text: str) -> list[str]:
    """The lines that a terminal shows after it was told all this; it knows as much as these commands use."""
    lines, row, column = [""], 0, 0

    def put(part: str) -> None:
        nonlocal column
        lines[row] = lines[row].ljust(column)[:column] + part + lines[row][column + len(part) :]
        column += len(part)

    place = 0
    for found in CONTROL.finditer(text):
        put(text[place : found.start()])
        place = found.end()
        arguments, letter, character = found.groups()
        if character == "\n":
            row += 1
            if row == len(lines):
                lines.append("")
        elif character == "\r":
            column = 0
        elif letter == "A":
            row = max(0, row - int(arguments or 1))
        elif letter == "K":
            lines[row] = "" if arguments == "2" else lines[row][:column]
    put(text[place:])
    return [line.rstrip() for line in lines]


class Recorder:
    """A shell in a terminal, and everything that the terminal was told, with the time of it."""

    def __init__(self, folder: Path, environment: dict[str, str], *, fast: bool) -> None:
        self._pause = 0.0 if fast else 0.035
        self._began = time.monotonic()
        self.events: list[tuple[float, str, str]] = []
        self.process, self._terminal = pty.fork()
        if self.process == 0:
            os.chdir(folder)
            os.execvpe("bash", ["bash", "--norc", "--noprofile", "--noediting"], environment)
        fcntl.ioctl(self._terminal, termios.TIOCSWINSZ, struct.pack("HHHH", LINES, COLUMNS, 0, 0))
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._until_prompt(0)

    def _read(self, timeout: float) -> None:
        if select.select([self._terminal], [], [], timeout)[0]:
            text = self._decoder.decode(os.read(self._terminal, 65536))
            self.events.append((time.monotonic() - self._began, "o", text))

    def said(self, since: int) -> str:
        """What the terminal was told after so many events."""
        return "".join(text for _, _, text in self.events[since:])

    def _until_prompt(self, since: int, *, interrupt: bool = False) -> None:
        began = time.monotonic()
        seen: float | None = None
        while not self.said(since).endswith(PROMPT):
            now = time.monotonic()
            if interrupt and seen is None and "COMPLETED" in self.said(since):
                seen = now
            if seen is not None and now - seen > 2.5:
                os.write(self._terminal, b"\x03")
                seen = now
            if now - began > PATIENCE:
                raise SystemExit(f"The shell does not come back: {self.said(since)[-2000:]}")
            self._read(0.05)

    def run(self, command: str) -> list[str]:
        """Types a command, and returns what it showed."""
        for character in command:
            os.write(self._terminal, character.encode())
            time.sleep(self._pause)
            self._read(0.01)
        since = len(self.events)
        os.write(self._terminal, b"\n")
        endless = command.startswith("dapr-workflow watch")
        self._until_prompt(since, interrupt=endless)
        # The first line is the rest of what was typed, the last one the next prompt.
        lines = rendered(self.said(since))[1:-1]
        time.sleep(self._pause * 20)
        return [line.replace("^C", "").rstrip() for line in lines]

    def close(self) -> None:
        # A terminal that closes ends what runs in it, whatever that is.
        os.close(self._terminal)
        os.waitpid(self.process, 0)

    def write(self, path: Path) -> None:
        """Writes the asciicast."""
        header = {
            "version": 2,
            "width": COLUMNS,
            "height": LINES,
            "title": "dapr-workflow in the terminal",
            "env": {"TERM": "xterm-256color", "SHELL": "/bin/bash"},
        }
        lines = [json.dumps(header), *(json.dumps([round(at, 3), kind, text]) for at, kind, text in self.events)]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def commands_of(block: str) -> list[str]:
    """The commands of a console block."""
    return [line.removeprefix("$ ") for line in block.splitlines() if line.startswith("$ ")]


def record(page: Path, cast: Path, *, fast: bool) -> None:
    """Runs the page and writes what came of it."""
    text = page.read_text(encoding="utf-8")
    program = PROGRAM.search(text)
    if program is None:
        raise SystemExit(f"{page} has no program.")
    command = shutil.which("dapr-workflow", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    if command is None:
        raise SystemExit("There is no dapr-workflow command beside this Python: pip install '.[cli]'.")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / program["name"]).write_text(program["code"], encoding="utf-8")
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        environment = {key: value for key, value in os.environ.items() if not key.startswith(("DAPR_", "NO_COLOR"))}
        environment |= {"DAPR_GRPC_PORT": port, "PS1": PROMPT, "TERM": "xterm-256color", "LC_ALL": "C.UTF-8"}
        environment["PATH"] = f"{Path(command).parent}{os.pathsep}{environment['PATH']}"
        engine = subprocess.Popen(
            [command, "run", program["name"], "--db", "shop.db", "--grpc-port", port],
            cwd=folder,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        try:
            assert engine.stdout is not None
            if engine.stdout.readline().strip() != "The shop is open.":
                raise SystemExit("The program of the page does not run.")
            recorder = Recorder(folder, environment, fast=fast)

            def shown(block: re.Match[str]) -> str:
                lines: list[str] = []
                for one in commands_of(block[2]):
                    output = recorder.run(one)
                    lines += [f"$ {one}", *(line.replace(port, "50001").replace(name, ".") for line in output)]
                return block[1] + "".join(f"{line}\n" for line in lines) + block[3]

            try:
                text = BLOCK.sub(shown, text)
            finally:
                recorder.close()
        finally:
            engine.send_signal(signal.SIGTERM)
            engine.wait(30)
    page.write_text(text, encoding="utf-8")
    recorder.write(cast)


def main() -> None:
    """The command."""
    parser = argparse.ArgumentParser(description="Records the terminal session of docs/terminal.md anew.")
    parser.add_argument("--page", type=Path, default=HERE.parent / "terminal.md")
    parser.add_argument("--cast", type=Path, default=HERE / "session.cast")
    parser.add_argument("--fast", action="store_true", help="type without pauses")
    options = parser.parse_args()
    record(options.page, options.cast, fast=options.fast)


if __name__ == "__main__":
    main()
