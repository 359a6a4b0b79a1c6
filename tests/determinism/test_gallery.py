"""Each bad case is really bad, and each good one is really good: both are run, here and elsewhere."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.determinism.case import Case, Shows
from tests.determinism.gallery import cases
from tests.determinism.world import Verdict, verdicts

BAD = [case for case in cases() if case.is_bad]
GOOD = [case for case in cases() if not case.is_bad]


@pytest.fixture(scope="module")
def found() -> dict[str, Verdict]:
    return verdicts()


@pytest.mark.parametrize("case", BAD, ids=lambda case: case.name)
def test_a_bad_case_shows_itself_as_it_says(case: Case, found: dict[str, Verdict]) -> None:
    verdict = found[case.name]
    assert case.shows in verdict.shows, f"{case.why} {verdict.shows} {verdict.play.status} {verdict.play.failure}"
    assert case.says in verdict.play.failure


@pytest.mark.parametrize("case", GOOD, ids=lambda case: case.name)
def test_a_good_case_ends_well_and_replays_everywhere(case: Case, found: dict[str, Verdict]) -> None:
    verdict = found[case.name]
    assert verdict.play.status == "completed", verdict.play.failure
    assert not verdict.play.left_out()
    assert not verdict.play.unheard
    # A wait that lost a race against a timer is not a loss.
    assert not verdict.shows - {Shows.LOSES}


def test_the_gallery_is_large_enough_and_names_are_unique() -> None:
    names = Counter(case.name for case in cases())
    assert not [name for name, count in names.items() if count > 1]
    assert len(BAD) >= 60
    assert len(GOOD) >= 60
    assert {case.shows for case in BAD} == set(Shows)
    for some in (BAD, GOOD):
        coroutines = [case for case in some if case.workflow.__code__.co_flags & 0x80]
        assert len(some) / 4 < len(coroutines) < len(some) / 2
