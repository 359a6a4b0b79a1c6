"""The order example as the crash tests run it: unchanged but for patience, as often as there is time."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.stored import Stored

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "order_processing.py"
_DATA = EXAMPLE.parent / "data" / "orders.json"


def copy_example(folder: Path) -> Path:
    """Copies the example, with an approval timeout that a few crashes in a row do not use up.

    The driver sends an approval right after it has started an order. Killed in between, it sends it when it is back,
    and if that took the example's three seconds the order would rightly time out.
    """
    text = EXAMPLE.read_text()
    patient = text.replace("APPROVAL_TIMEOUT = timedelta(seconds=3)", "APPROVAL_TIMEOUT = timedelta(seconds=6)")
    assert patient != text
    copy = folder / EXAMPLE.name
    copy.write_text(patient)
    shutil.copytree(EXAMPLE.parent / "orders", folder / "orders")
    return copy


def write_orders(folder: Path, batch: str) -> Path:
    """Writes the example's orders under ids of their own."""
    entries: list[Any] = json.loads(_DATA.read_text())
    for entry in entries:
        if isinstance(entry, dict) and isinstance(entry.get("id"), str):
            entry["id"] = f"{batch}-{entry['id']}"
    path = folder / f"{batch}.json"
    path.write_text(json.dumps(entries))
    return path


@dataclass(frozen=True)
class Summary:
    """The last line of a run with ``--json``; orders go by the ids of the example's file."""

    counts: dict[str, int]
    totals: dict[str, str]
    outcomes: dict[str, str]

    @classmethod
    def read(cls, output: str, batch: str) -> Summary:
        """Finds it in the output of a run."""
        (line,) = [line for line in output.splitlines() if line.startswith('{"counts"')]
        said = json.loads(line)
        outcomes = {name.removeprefix(f"{batch}-"): outcome for name, outcome in said["outcomes"].items()}
        assert len(outcomes) == len(said["outcomes"])
        return cls(said["counts"], said["totals"], outcomes)


def check_orders(stored: Stored, batch: str, expected: Summary) -> set[str]:
    """Checks what the file says of a batch of orders; returns the ids of all instances that belong to it."""
    known: set[str] = set()
    for order, outcome in expected.outcomes.items():
        name = f"order-{batch}-{order}"
        result = json.loads(stored[name].row["output"])
        assert (result["order_id"], result["outcome"]) == (f"{batch}-{order}", outcome)
        known.add(name)
        children = {other for other in stored if other.startswith(f"{name}-")}
        assert children == ({f"{name}-shipment"} if outcome == "completed" else set())
        known |= children
    return known
