"""What the program prints: counts as they change, and the table at the end."""

import json
import sys
import time
from collections import Counter
from collections.abc import Callable, Generator
from contextlib import contextmanager
from decimal import Decimal
from importlib.util import find_spec

from orders.model import OrderResult


@contextmanager
def progress(total: int) -> Generator[Callable[[Counter[str]], None], None, None]:
    """Shows counts as they change: in one place if there is a terminal and rich, else a line every second."""

    def text(counts: Counter[str]) -> str:
        return f"{total} orders: " + ", ".join(f"{count} {status}" for status, count in counts.items())

    if sys.stdout.isatty() and find_spec("rich"):
        from rich.live import Live

        with Live(refresh_per_second=10) as live:
            yield lambda counts: live.update(text(counts))
        return
    next_line = 0.0

    def print_line(counts: Counter[str]) -> None:
        nonlocal next_line
        if time.monotonic() >= next_line:
            print(text(counts), flush=True)
            next_line = time.monotonic() + 1

    yield print_line


def print_summary(
    results: list[OrderResult], malformed: int, finished_before: int, seconds: float, *, as_json: bool
) -> None:
    """Says how many orders ended how, what they were worth, and how long it took."""
    outcomes = {result.order_id: result.outcome for result in results}
    counts = Counter({"completed": 0, "compensated": 0, "rejected": 0, "timed_out": 0, "failed": 0})
    counts.update(outcomes.values())
    counts["malformed"] = malformed
    amounts: dict[str, Decimal] = {}
    for result in results:
        amounts[result.outcome] = amounts.get(result.outcome, Decimal(0)) + result.total
    print(f"\n{'outcome':<12} {'orders':>6} {'EUR':>12}")
    for outcome, count in counts.items():
        print(f"{outcome:<12} {count:>6} {amounts.get(outcome, Decimal(0)):>12,.2f}")
    print(f"{counts.total()} entries in {seconds:.1f} s")
    if finished_before:
        print(f"{finished_before} of them were finished by an earlier run; a new --db starts over.")
    if as_json:
        totals = {outcome: f"{amount:.2f}" for outcome, amount in amounts.items()}
        print(json.dumps({"counts": counts, "totals": totals, "outcomes": outcomes}))
