"""Group commit."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from typing import Any

import pytest

from dapr_workflow_sdk.engine.committer import Committer
from dapr_workflow_sdk.engine.state import Change
from tests.worker.support import FlakyStore, SlowStore, on_loop, soon


def change(name: str) -> Change:
    """A change that can be told from others."""
    return Change(("app", name), 1, removed=True)


def names(groups: Sequence[Sequence[Change]]) -> list[list[str]]:
    """What was committed together."""
    return [[each.key[1] for each in group] for group in groups]


def no_failure(error: BaseException) -> None:
    raise AssertionError(f"no commit fails here: {error!r}")


@on_loop
async def test_what_comes_during_a_commit_is_committed_together_and_in_order() -> None:
    store = SlowStore()
    committer = Committer(store, no_failure)
    store.gate.clear()
    first = committer.submit([change("a")])
    await soon(store.entered.is_set, "the commit")
    later = [committer.submit([change(f"b{n}"), change(f"c{n}")]) for n in range(3)]
    assert committer.busy
    await asyncio.sleep(0.01)
    assert not first.done()
    store.gate.set()
    await asyncio.gather(first, *later)
    assert names(store.committed) == [["a"], ["b0", "c0", "b1", "c1", "b2", "c2"]]
    assert not committer.busy
    await committer.drain()


@on_loop
async def test_submissions_of_one_moment_share_a_transaction() -> None:
    store = SlowStore()
    committer = Committer(store, no_failure)
    await asyncio.gather(*(committer.submit([change(str(n))]) for n in range(10)))
    assert names(store.committed) == [[str(n) for n in range(10)]]
    await committer.drain()


@on_loop
async def test_large_groups_are_split_and_stay_in_order() -> None:
    store = SlowStore()
    committer = Committer(store, no_failure)
    order: list[int] = []
    futures = [committer.submit([change(str(n))]) for n in range(2000)]
    for number, future in enumerate(futures):
        future.add_done_callback(lambda _, n=number: order.append(n))  # type: ignore[misc]
    await asyncio.gather(*futures)
    await asyncio.sleep(0)
    assert len(store.committed) > 1
    assert [name for group in names(store.committed) for name in group] == [str(n) for n in range(2000)]
    assert order == sorted(order)
    await committer.drain()


@pytest.mark.parametrize("fails_at", ["write", "sync"])
@on_loop
async def test_a_failure_refuses_its_group_and_everything_after_it_and_nothing_before(fails_at: str) -> None:
    store = SlowStore()
    store.fails_at = fails_at
    failures: list[BaseException] = []
    committer = Committer(store, failures.append)
    await committer.submit([change("before")])
    store.failures = 1
    doomed = [committer.submit([change(f"d{n}")]) for n in range(600)]
    outcomes = await asyncio.gather(*doomed, return_exceptions=True)
    # The first 512 share the transaction that fails; the rest builds on them.
    assert [str(outcome) for outcome in outcomes] == ["[Errno 28] No space left on device"] * 600
    assert len(failures) == 1
    assert not committer.busy
    await committer.submit([change("after")])
    assert names(store.committed) == [["before"], ["after"]]
    await committer.drain()


@on_loop
async def test_a_store_that_does_not_wait_is_written_to_at_once() -> None:
    store = FlakyStore()
    failures: list[BaseException] = []
    heard: list[Exception | None] = []
    committer = Committer(store, failures.append)
    committer.commit([change("a"), change("b")], heard.append)
    assert names(store.committed) == [["a", "b"]]
    assert heard == [None]
    assert not committer.busy
    store.failures = 1
    committer.commit([change("c")], heard.append)
    assert heard == [None, *failures]
    # Nothing was on its way, so nothing else is refused.
    committer.commit([change("d")], heard.append)
    assert heard == [None, *failures, None]
    assert names(store.committed) == [["a", "b"], ["d"]]
    assert not [t for t in threading.enumerate() if t.name.startswith("dapr-workflow-commit")]
    await committer.drain()


@pytest.mark.parametrize("kind", [FlakyStore, SlowStore])
@on_loop
async def test_what_fails_after_a_commit_does_not_keep_it_from_the_others(kind: Any) -> None:
    def fail(error: Exception | None) -> None:
        raise ValueError("what follows")

    store = kind()
    committer = Committer(store, lambda error: None)
    heard: list[Exception | None] = []
    for failures in (0, 1):
        store.failures = failures
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("dapr_workflow_sdk.engine.committer.logger.disabled", True)
            try:
                committer.commit([change("a")], fail)
            except ValueError:
                assert not store.waits
            committer.commit([change("b")], heard.append)
            await soon(lambda: not committer.busy, "the commits")
    assert heard[0] is None
    assert len(heard) == 2
    await committer.drain()


@pytest.mark.parametrize("kind", [FlakyStore, SlowStore])
@on_loop
async def test_the_failure_is_told_before_the_submitters_hear_of_it(kind: Any) -> None:
    store = kind()
    heard: list[str] = []
    committer = Committer(store, lambda error: heard.append("hub"))
    store.failures = 1
    future = committer.submit([change("a")])
    future.add_done_callback(lambda _: heard.append("submitter"))
    with pytest.raises(OSError, match="No space"):
        await future
    await asyncio.sleep(0)
    assert heard == ["hub", "submitter"]
    await committer.drain()


@on_loop
async def test_what_the_failure_handler_submits_is_committed() -> None:
    store = FlakyStore()
    futures: list[asyncio.Future[None]] = []
    committer = Committer(store, lambda error: futures.append(committer.submit([change("cleanup")])))
    store.failures = 1
    with pytest.raises(OSError, match="No space"):
        await committer.submit([change("a")])
    await asyncio.wait_for(futures[0], 2)
    assert names(store.committed) == [["cleanup"]]
    await committer.drain()


@on_loop
async def test_a_failure_handler_that_fails_itself_leaves_nobody_waiting() -> None:
    def fail(error: BaseException) -> None:
        raise ValueError("the handler")

    store = FlakyStore()
    committer = Committer(store, fail)
    store.failures = 1
    asyncio.get_running_loop().set_exception_handler(lambda *_: None)
    with pytest.raises(Exception, match="No space|the handler"):
        await asyncio.wait_for(committer.submit([change("a")]), 2)


@on_loop
async def test_a_submitter_that_goes_away_does_not_take_its_changes_back() -> None:
    store = SlowStore()
    committer = Committer(store, no_failure)
    store.gate.clear()
    first, second = committer.submit([change("a")]), committer.submit([change("b")])
    second.cancel()
    first.cancel()
    store.gate.set()
    await committer.drain()
    assert names(store.committed) == [["a", "b"]]


@on_loop
async def test_draining_waits_for_everything_and_ends_the_thread() -> None:
    store = SlowStore()
    committer = Committer(store, no_failure)
    store.gate.clear()
    first = committer.submit([change("a")])
    await soon(store.entered.is_set, "the commit")
    second = committer.submit([change("b")])
    draining = asyncio.ensure_future(committer.drain())
    await asyncio.sleep(0.01)
    assert not draining.done()
    store.gate.set()
    await draining
    assert first.done()
    assert second.done()
    await committer.drain()
    assert not [t for t in threading.enumerate() if t.name.startswith("dapr-workflow-commit")]
