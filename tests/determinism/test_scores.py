"""What the tools of the kit find in the gallery: together every bad case, and no good one; as the page says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.determinism.gallery import cases
from tests.determinism.scores import PAGE, TOOLS, measured, page_with, scores
from tests.determinism.world import ROOT

BAD = {case.name for case in cases() if case.is_bad}
GOOD = {case.name for case in cases() if not case.is_bad}


@pytest.fixture(scope="module")
def running() -> Iterator[dict[str, Future[dict[str, list[str]]]]]:
    """All tools at work, two at a time, each in a process of its own; the longest first."""
    with ThreadPoolExecutor(2) as pool:
        yield {tool: pool.submit(measured, tool) for tool in sorted(TOOLS, key=_LONGEST.index, reverse=True)}


_LONGEST = "linter replay environment strategies check"


@pytest.mark.parametrize("tool", TOOLS)
def test_a_tool_finds_what_the_scores_say_and_accuses_no_good_case(
    running: dict[str, Future[dict[str, list[str]]]], tool: str
) -> None:
    found = running[tool].result()
    accused = {name: found[name] for name in sorted(GOOD & set(found))}
    assert not accused
    expected = {name for name, finders in scores().items() if tool in finders}
    missed = expected - set(found)
    assert not missed, f"{tool} does not find {sorted(missed)} any more"
    # Where chance and threads play a part a tool may find one more now and then.
    if tool == "linter":
        new = set(found) - expected
        assert not new, f"Run `python -m tests.determinism.scores --write`: {tool} now finds {sorted(new)}"


def test_together_they_find_every_bad_case_and_accuse_no_good_one() -> None:
    found = scores()
    assert BAD - set(found) == set()
    assert GOOD & set(found) == set()


def test_no_tool_is_there_in_vain() -> None:
    # Each of those that run code finds something that the one that reads it cannot.
    assert any("linter" not in finders for finders in scores().values())
    for tool in TOOLS:
        assert sum(tool in finders for finders in scores().values()) > len(BAD) / 4, tool


def test_the_page_has_the_table_of_the_scores() -> None:
    assert PAGE.read_text() == page_with(scores()), "Run `python -m tests.determinism.scores --write`."


def test_the_workflows_of_the_examples_pass_the_kit() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "tests.determinism.kit_on_examples"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert run.stdout == "10 examples\n"
