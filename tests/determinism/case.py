"""A case of the gallery: a workflow, what it needs to run, and what is the matter with it."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Function = Callable[..., Any]


class Shows(enum.Enum):
    """How a bad workflow shows itself when it is run."""

    AGAIN = "a replay in the same process does something else"
    ELSEWHERE = "a replay in another process, on another machine, does something else"
    DEPLOYED = "a replay after an unrelated change of its module does something else"
    REFUSED = "the instance fails with a mistake"
    HANGS = "the instance waits for what never comes"
    SWALLOWS = "the run goes on when it is dropped from memory"
    LOSES = "the instance ends although a step has not happened, or was not waited for"
    BLOCKS = "a turn holds up the worker"
    REPEATS = "each replay does something to the world once more"


@dataclass(frozen=True)
class World:
    """What is around one run of a case.

    Attributes:
        folder: A folder of its own.
        url: A service on this machine that gives another number with each request.
    """

    folder: Path
    url: str = "http://127.0.0.1:9"


@dataclass(frozen=True)
class Case:
    """A workflow of the gallery.

    Attributes:
        workflow: The function.
        why: What is wrong with it, or why it looks wrong and is not.
        input: Its input, or a function that prepares the world and gives the input.
        activities: The activities it calls.
        children: The workflows it calls.
        events: Names and payloads of events; each is raised when the instance has nothing else to do.
        shows: How a bad one shows itself; None for a good one.
        says: A part of the message of the failure, for those that fail.
        witness: Counts what the workflow did to the world, for those that do it again.
    """

    workflow: Function
    why: str
    input: Any = None
    activities: tuple[Function, ...] = ()
    children: tuple[Function, ...] = ()
    events: tuple[tuple[str, Any], ...] = ()
    shows: Shows | None = None
    says: str = ""
    witness: Callable[[World], int] | None = None

    @property
    def name(self) -> str:
        """The name of the workflow."""
        return str(self.workflow.__name__)

    @property
    def topic(self) -> str:
        """The module that it is in."""
        return str(self.workflow.__module__).rpartition(".")[2]

    @property
    def is_bad(self) -> bool:
        """Whether there is something to find."""
        return self.shows is not None

    def given(self, world: World) -> Any:
        """The input of a run in this world."""
        return self.input(world) if callable(self.input) else self.input
