"""Helpers with names that sound like files and chance."""

from __future__ import annotations

from typing import Any

CASES: list[Any] = []


def open_orders(orders: list) -> list:
    """Orders that are not closed."""
    return [order for order in orders if order["open"]]


def random_access(orders: list, now: int) -> str:
    """The id of the order at a place."""
    return str(orders[now]["id"])
