"""Removing finished instances."""

from __future__ import annotations

import os
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.places import COMMAND, Place, quick
from tests.cli.test_command import Terminal

UNFINISHED = {"approval-1", "approval-2"}
FINISHED = {"chain-1", "failing-1", "parent-1", "parent-1-child", "approval-3"}


def left(file: Path) -> set[str]:
    return {state["id"] for state in quick("list", "--all", "--json", "--db", str(file)).json["instances"]}


def purge(file: Path, *arguments: str, input: str | None = None):
    return quick("purge", *arguments, "--db", str(file), input=input)


def test_by_id(file: Path) -> None:
    answer = purge(file, "chain-1", "parent-1")
    assert (answer.code, answer.out) == (0, "chain-1: purged\nparent-1: purged, with 1 child workflow\n")
    assert left(file) == UNFINISHED | {"failing-1", "approval-3"}
    answer = purge(file, "chain-1", "approval-1", "failing-1")
    assert (answer.code, answer.out) == (3, "failing-1: purged\n")
    assert "chain-1" in answer.err
    assert "Terminate it first" in answer.err


def test_by_id_without_children(file: Path) -> None:
    assert purge(file, "parent-1", "--no-recursive").out == "parent-1: purged\n"
    assert "parent-1-child" in left(file)


def test_by_id_dry(file: Path) -> None:
    answer = purge(file, "chain-1", "approval-1", "nobody", "--dry-run")
    assert (answer.code, answer.out) == (3, "chain-1: would be purged (COMPLETED)\n")
    assert len(answer.err.splitlines()) == 2
    assert left(file) == FINISHED | UNFINISHED


@pytest.mark.parametrize(
    ("filters", "removed"),
    [
        (["--all-finished"], FINISHED),
        (["--status", "failed"], {"failing-1"}),
        (["--status", "failed", "--status", "terminated"], {"failing-1", "approval-3"}),
        (["--name", "chain"], {"chain-1", "parent-1-child"}),
        (["--prefix", "parent-1"], {"parent-1", "parent-1-child"}),
        (["--older-than", "1h"], set()),
        (["--older-than", "0s"], FINISHED),
        (["--all-finished", "--younger-than", "0s"], set()),
    ],
)
def test_by_filter(file: Path, filters: list[str], removed: set[str]) -> None:
    would = purge(file, *filters, "--dry-run", "--json").json
    assert {state["id"] for state in would["instances"]} == removed
    assert would["would_purge"] == len(removed)
    assert left(file) == FINISHED | UNFINISHED
    answer = purge(file, *filters, "--yes", "--json")
    assert answer.json == {"purged": len(removed), "errors": []}
    assert left(file) == (FINISHED | UNFINISHED) - removed


@pytest.mark.parametrize(
    ("filters", "removed"),
    [
        (["--older-than", "7d"], {"failing-1", "approval-3"}),
        (["--older-than", "7d", "--status", "terminated"], {"approval-3"}),
        (["--younger-than", "7d"], FINISHED - {"failing-1", "approval-3"}),
        (["--older-than", "12d"], set()),
        (["--older-than", "7d", "--younger-than", "9d"], {"failing-1"}),
    ],
)
def test_ages_count_from_the_end(file: Path, filters: list[str], removed: set[str]) -> None:
    now, day = time.time_ns(), 86_400 * 1_000_000_000
    with closing(sqlite3.connect(file)) as store, store:
        for instance_id, created, ended in (("chain-1", 30, 6), ("failing-1", 30, 8), ("approval-3", 11, 10)):
            moments = (now - created * day, now - ended * day, now - ended * day)
            changed = store.execute(
                "UPDATE instances SET created = ?, completed = ?, updated = ? WHERE instance_id = ?",
                (*moments, instance_id),
            )
            assert changed.rowcount == 1
        store.execute("UPDATE instances SET created = ? WHERE ended IS NULL", (now - 100 * day,))
    would = purge(file, *filters, "--dry-run", "--json").json
    assert {state["id"] for state in would["instances"]} == removed
    assert purge(file, *filters, "--yes", "--json").json == {"purged": len(removed), "errors": []}
    assert left(file) == (FINISHED | UNFINISHED) - removed


def test_a_dry_run_shows_what_it_would_remove(file: Path) -> None:
    answer = purge(file, "--status", "failed", "--dry-run")
    assert answer.out.splitlines()[1].startswith("failing-1 ")
    assert answer.err == "Would purge 1 instances (1 FAILED). Nothing was removed.\n".replace("instances", "instance")


def test_what_runs_is_not_purged(file: Path) -> None:
    answer = purge(file, "--status", "running", "--status", "failed", "--yes")
    assert answer.code == 2
    assert "not those that are RUNNING" in answer.err
    assert left(file) == FINISHED | UNFINISHED


@pytest.mark.parametrize("arguments", [[], ["chain-1", "--all-finished"]])
def test_what_to_remove_must_be_clear(file: Path, arguments: list[str]) -> None:
    assert purge(file, *arguments, "--yes").code == 2
    assert left(file) == FINISHED | UNFINISHED


def test_without_a_terminal_nobody_can_be_asked(file: Path) -> None:
    answer = purge(file, "--all-finished", input="y\n")
    assert (answer.code, answer.out) == (2, "")
    assert "--yes" in answer.err
    assert left(file) == FINISHED | UNFINISHED


@pytest.mark.parametrize(("typed", "code"), [("y", 0), ("n", 2), ("", 2)])
def test_a_terminal_is_asked(file: Path, tmp_path: Path, typed: str, code: int) -> None:
    terminal = Terminal([*COMMAND, "purge", "--status", "failed", "--db", str(file)], tmp_path)
    try:
        terminal.says("failing-1")
        terminal.says("Purge 1 instance (1 FAILED)? [y/N]")
        os.write(terminal.descriptor, f"{typed}\n".encode())
        terminal.says("Purged 1 instance." if code == 0 else "Nothing was removed.")
        assert terminal.ends() == code
    finally:
        terminal.close()
    assert ("failing-1" in left(file)) is (code != 0)


def test_many(place: Place) -> None:
    for _ in range(25):
        place.finish("chain", 0)
    keep = place.start("approval")
    assert place.run("purge", "--all-finished", "--yes").out == "Purged 25 instances.\n"
    assert [state["id"] for state in place.run("list", "--json").json["instances"]] == [keep]
