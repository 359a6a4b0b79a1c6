"""The table of mutations fits the code as it is; `python -m tests.mutations` runs them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutations.table import MUTATIONS, Mutation

PACKAGE = Path(__file__).parents[2] / "dapr_workflow_sdk"


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_changes_is_there_exactly_once(mutation: Mutation) -> None:
    text = (PACKAGE / mutation.file).read_text()
    assert text.count(mutation.old) == 1
    compile(text.replace(mutation.old, mutation.new), mutation.file, "exec")


def test_there_are_enough_of_them() -> None:
    assert len(MUTATIONS) >= 20
    assert len({(mutation.file, mutation.old, mutation.new) for mutation in MUTATIONS}) == len(MUTATIONS)
