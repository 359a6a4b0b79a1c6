"""Files, databases, services and other programs."""

from __future__ import annotations

import json
import os
import socket
import sqlite3
import subprocess
import tempfile
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

from dapr_workflow_sdk import WorkflowActivityContext, WorkflowContext, activity, workflow
from tests.determinism.case import Case, Shows, World
from tests.determinism.shop import charge, check, notify, ship


@activity
def take_file(ctx: WorkflowActivityContext, path: str) -> str:
    os.remove(path)
    return os.path.basename(path)


@activity
def raise_prices(ctx: WorkflowActivityContext, path: str) -> None:
    prices = json.loads(Path(path).read_text())
    Path(path).write_text(json.dumps({sku: price + 1 for sku, price in prices.items()}))


@activity
def mark_done(ctx: WorkflowActivityContext, path: str) -> None:
    Path(path).write_text("done")


@activity
def book(ctx: WorkflowActivityContext, path: str) -> None:
    with sqlite3.connect(path) as database:
        database.execute("INSERT INTO bookings VALUES (1)")
    database.close()


@activity
def write_line(ctx: WorkflowActivityContext, path: str) -> None:
    with open(path, "a") as file:
        file.write("booked\n")


@workflow
def empties_the_inbox(ctx: WorkflowContext, folder: str):
    done = []
    for name in sorted(os.listdir(folder)):
        done.append((yield ctx.call_activity(take_file, input=os.path.join(folder, name))))
    yield ctx.call_activity(notify, input={"files": done})
    return len(done)


@workflow
async def all_csv_files(ctx: WorkflowContext, folder: str):
    files = sorted(Path(folder).glob("*.csv"))
    for number, file in enumerate(files, 1):
        await ctx.call_activity(take_file, input=str(file))
        await ctx.call_activity(notify, input=f"{number} of {len(files)}")
    return len(files)


@workflow
async def prices_from_a_file(ctx: WorkflowContext, path: str):
    with open(path) as file:
        prices = json.load(file)
    await ctx.call_activity(raise_prices, input=path)
    return await ctx.call_activity(charge, input=prices["lamp"])


@workflow
async def guarded_by_a_marker(ctx: WorkflowContext, marker: str):
    if not Path(marker).exists():
        await ctx.call_activity(mark_done, input=marker)
    await ctx.call_activity(notify, input="done")
    await ctx.call_activity(check, input=marker)


@workflow
def audit_file(ctx: WorkflowContext, order: dict):
    with open(order["log"], "a") as log:
        log.write(f"start {order['id']}\n")
    receipt = yield ctx.call_activity(charge, input=order["id"])
    yield ctx.call_activity(notify, input=receipt)
    return receipt


@workflow
def counts_bookings(ctx: WorkflowContext, path: str):
    database = sqlite3.connect(path)
    (booked,) = database.execute("SELECT count(*) FROM bookings").fetchone()
    database.close()
    if booked >= 1:
        return "full"
    yield ctx.call_activity(book, input=path)
    yield ctx.call_activity(notify, input="booked")
    return "booked"


@workflow
def asks_a_service(ctx: WorkflowContext, order: dict):
    with urllib.request.urlopen(f"{order['url']}/rates/eur", timeout=5) as answer:
        rate = json.load(answer)["rate"]
    receipt = yield ctx.call_activity(charge, input=order["amount"] * rate)
    return receipt


@workflow
def if_the_service_is_up(ctx: WorkflowContext, order: dict):
    host, port = order["url"].removeprefix("http://").split(":")
    try:
        socket.create_connection((host, int(port)), timeout=1).close()
    except OSError:
        yield ctx.call_activity(notify, input="The service is down; trying in an hour.")
        yield ctx.create_timer(timedelta(hours=1))
    return (yield ctx.call_activity(charge, input=order["amount"]))


@workflow
def counts_lines_with_wc(ctx: WorkflowContext, ledger: str):
    text = subprocess.run(["wc", "-l", ledger], capture_output=True, text=True, check=True).stdout
    lines = int(text.split()[0])
    yield ctx.call_activity(write_line, input=ledger)
    yield ctx.call_activity(notify, input={"lines before": lines})


@workflow
def works_in_a_temporary_folder(ctx: WorkflowContext, export: str):
    with tempfile.TemporaryDirectory() as folder:
        yield ctx.call_activity(check, input=f"{folder}/{export}.csv")
        yield ctx.call_activity(ship, input=f"{folder}/{export}.zip")


@contextmanager
def lock_file(path: str) -> Iterator[None]:
    with open(path, "a") as file:
        file.write("locked\n")
    try:
        yield
    finally:
        with open(path, "a") as file:
            file.write("released\n")


@workflow
def holds_a_lock_file(ctx: WorkflowContext, path: str):
    with lock_file(path):
        yield ctx.call_activity(check, input="inventory")
        yield ctx.call_activity(notify, input="counted")


def _folder(world: World) -> str:
    for name in ("a.csv", "b.csv", "c.csv"):
        (world.folder / name).write_text("1;2")
    return str(world.folder)


def _prices(world: World) -> str:
    (world.folder / "prices.json").write_text('{"lamp": 30}')
    return str(world.folder / "prices.json")


def _database(world: World) -> str:
    path = str(world.folder / "bookings.db")
    with sqlite3.connect(path) as database:
        database.execute("CREATE TABLE bookings (seat INTEGER)")
    database.close()
    return path


def _ledger(world: World) -> str:
    (world.folder / "ledger").write_text("opened\n")
    return str(world.folder / "ledger")


def _lines(world: World) -> int:
    return sum(len(path.read_text().splitlines()) for path in world.folder.glob("*.log"))


CASES = [
    Case(
        empties_the_inbox,
        "It lists a folder that its activities empty.",
        _folder,
        (take_file, notify),
        shows=Shows.AGAIN,
    ),
    Case(
        all_csv_files,
        "It looks for files that its activities take away.",
        _folder,
        (take_file, notify),
        shows=Shows.AGAIN,
    ),
    Case(prices_from_a_file, "It reads a file that changes.", _prices, (raise_prices, charge), shows=Shows.AGAIN),
    Case(
        guarded_by_a_marker,
        "It asks whether a file exists that its activity makes.",
        lambda world: str(world.folder / "marker"),
        (mark_done, notify, check),
        shows=Shows.AGAIN,
    ),
    Case(
        audit_file,
        "It writes to a file, again with each replay.",
        lambda world: {"id": "A-1", "log": str(world.folder / "audit.log")},
        (charge, notify),
        shows=Shows.REPEATS,
        witness=_lines,
    ),
    Case(counts_bookings, "It queries a database.", _database, (book, notify), shows=Shows.AGAIN),
    Case(
        asks_a_service,
        "It asks a service, which gives another answer next time.",
        lambda world: {"amount": 30, "url": world.url},
        (charge,),
        shows=Shows.AGAIN,
    ),
    Case(
        if_the_service_is_up,
        "It asks whether somebody listens on a port.",
        lambda world: {"amount": 30, "url": world.url},
        (charge,),
        shows=Shows.ELSEWHERE,
    ),
    Case(counts_lines_with_wc, "It runs another program.", _ledger, (write_line, notify), shows=Shows.AGAIN),
    Case(works_in_a_temporary_folder, "It makes a temporary folder.", "orders", (check, ship), shows=Shows.AGAIN),
    Case(
        holds_a_lock_file,
        "A lock is held over a wait: it is released whenever the run leaves memory.",
        lambda world: str(world.folder / "lock.log"),
        (check, notify),
        shows=Shows.REPEATS,
        witness=_lines,
    ),
]
