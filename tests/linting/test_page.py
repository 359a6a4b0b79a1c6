"""The page about the linter says what the linter does."""

from __future__ import annotations

from tests.linting.rules_table import PAGE, table, with_table


def test_the_table_of_rules_is_current() -> None:
    text = PAGE.read_text()
    assert table() in text
    assert with_table(text) == text, "python -m tests.linting.rules_table"
