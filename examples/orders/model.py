"""Orders and how they end: checked where they are made, be it from the file or from a payload."""

from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

APPROVAL_LIMIT = Decimal("1000.00")


@dataclass(frozen=True)
class OrderLine:
    """So many pieces of one kind of goods."""

    sku: str
    quantity: int
    unit_price: Decimal

    def __post_init__(self) -> None:
        """Refuses what no shop can sell."""
        if self.quantity < 1:
            raise ValueError(f"quantity must be at least 1, not {self.quantity}")
        if not self.unit_price.is_finite() or not 0 <= self.unit_price < 1_000_000:
            raise ValueError(f"unit_price must be between 0 and a million, not {self.unit_price}")


@dataclass(frozen=True)
class Order:
    """What a customer wants."""

    id: Annotated[str, Meta(pattern="^[A-Za-z0-9_-]{1,40}$")]
    customer: str
    lines: Annotated[list[OrderLine], Meta(min_length=1)]
    currency: Literal["EUR"] = "EUR"
    notes: str = ""

    @property
    def total(self) -> Decimal:
        """The price of all lines."""
        return sum((line.quantity * line.unit_price for line in self.lines), Decimal(0))


@dataclass(frozen=True)
class OrderResult:
    """How an order ended: completed, compensated, rejected or timed_out; failed if its workflow broke."""

    order_id: str
    outcome: str
    detail: str
    total: Decimal


class OutOfStockError(Exception):
    """The warehouse has less than was ordered."""


class CardDeclinedError(Exception):
    """The bank refuses the payment, and will refuse it again."""


class RejectedError(Exception):
    """The order cannot or must not be carried out."""


def read_orders(path: Path) -> tuple[list[Order], list[str]]:
    """The orders of a file, and a complaint for each entry that is not a proper order."""
    text = path.read_bytes()
    position = 0
    orders: dict[str, Order] = {}
    malformed: list[str] = []
    for entry in map(bytes, msgspec.json.decode(text, type=list[msgspec.Raw])):
        position = text.index(entry, position)
        try:
            order = msgspec.json.decode(entry, type=Order)
            if order.id in orders:
                raise ValueError(f"there is an order {order.id} before it")
            orders[order.id] = order
        except ValueError as error:
            line = 1 + text.count(b"\n", 0, position)
            malformed.append(f"{path.name}:{line}: malformed order: {error}")
        position += len(entry)
    return list(orders.values()), malformed
