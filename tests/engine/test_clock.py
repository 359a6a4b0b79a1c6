"""Both clocks, without waiting for either."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from dapr_workflow_sdk.engine.clock import SECOND, Clock, SystemClock, VirtualClock

_START = 1_767_225_600 * SECOND


@pytest.mark.parametrize("make", [SystemClock, VirtualClock])
def test_every_answer_is_later_than_the_one_before(make: Callable[[], Clock]) -> None:
    clock = make()
    answers = [clock.now() for _ in range(1000)]
    assert answers == sorted(set(answers))


@dataclass
class FakeHandle:
    delay: float
    callback: Callable[[], None]
    cancelled: bool = False

    def cancel(self) -> None:
        self.cancelled = True


@dataclass
class FakeLoop:
    """An event loop whose calls in the future are a list."""

    handles: list[FakeHandle] = field(default_factory=list)

    def call_later(self, delay: float, callback: Callable[[], None]) -> FakeHandle:
        handle = FakeHandle(delay, callback)
        self.handles.append(handle)
        return handle


class TestSystemClock:
    @pytest.fixture
    def wall(self, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        moment = [_START]
        monkeypatch.setattr(time, "time_ns", lambda: moment[0])
        return moment

    @pytest.fixture
    def loop(self, monkeypatch: pytest.MonkeyPatch) -> FakeLoop:
        loop = FakeLoop()
        monkeypatch.setattr(asyncio, "get_running_loop", lambda: loop)
        return loop

    def test_does_not_jump(self) -> None:
        clock = SystemClock()
        assert not clock.jumps
        clock.idle()

    def test_is_the_time_of_the_machine(self, wall: list[int]) -> None:
        assert SystemClock().now() == _START

    def test_never_goes_back_when_the_machine_does(self, wall: list[int]) -> None:
        clock = SystemClock()
        before = clock.now()
        wall[0] -= 3600 * SECOND
        assert clock.now() == before + 1
        wall[0] += 7200 * SECOND
        assert clock.now() == wall[0]

    def test_calls_back_when_the_moment_has_come(self, wall: list[int], loop: FakeLoop) -> None:
        rung: list[int] = []
        SystemClock().call_at(_START + 5 * SECOND, lambda: rung.append(1))
        (handle,) = loop.handles
        assert handle.delay == 5
        wall[0] += 5 * SECOND
        handle.callback()
        assert rung == [1]
        assert len(loop.handles) == 1

    def test_never_calls_back_early_when_the_loop_does(self, wall: list[int], loop: FakeLoop) -> None:
        rung: list[int] = []
        SystemClock().call_at(_START + 5 * SECOND, lambda: rung.append(1))
        wall[0] += 5 * SECOND - 1
        loop.handles[0].callback()
        assert rung == []
        assert loop.handles[1].delay == pytest.approx(1e-9)
        wall[0] += 1
        loop.handles[1].callback()
        assert rung == [1]

    def test_takes_long_delays_in_steps_of_an_hour(self, wall: list[int], loop: FakeLoop) -> None:
        rung: list[int] = []
        SystemClock().call_at(_START + 9000 * SECOND, lambda: rung.append(1))
        delays = []
        while not rung:
            handle = loop.handles[-1]
            delays.append(handle.delay)
            wall[0] += int(handle.delay * SECOND)
            handle.callback()
        assert delays == [3600, 3600, 1800]

    @pytest.mark.parametrize("moment", [_START, _START - 1, 0, -(10**18)])
    def test_calls_back_at_once_for_a_moment_that_has_passed(
        self, wall: list[int], loop: FakeLoop, moment: int
    ) -> None:
        rung: list[int] = []
        SystemClock().call_at(moment, lambda: rung.append(1))
        assert loop.handles[0].delay == 0
        loop.handles[0].callback()
        assert rung == [1]

    def test_an_alarm_can_be_taken_back_between_its_steps(self, wall: list[int], loop: FakeLoop) -> None:
        alarm = SystemClock().call_at(_START + 9000 * SECOND, lambda: pytest.fail("it was taken back"))
        wall[0] += 3600 * SECOND
        loop.handles[0].callback()
        alarm.cancel()
        assert loop.handles[1].cancelled

    def test_the_farthest_moment_of_the_calendar_is_no_overflow(self, wall: list[int], loop: FakeLoop) -> None:
        SystemClock().call_at(253402300799 * SECOND, lambda: None)
        assert loop.handles[0].delay == 3600


async def _settle() -> None:
    """Lets the loop run what was called soon."""
    for _ in range(3):
        await asyncio.sleep(0)


class TestVirtualClock:
    def test_stands_where_it_is_put(self) -> None:
        assert VirtualClock().now() == _START + 1000
        assert VirtualClock(5).now() == 1005

    def test_rings_what_comes_due_on_the_way_in_order(self) -> None:
        clock, rung = VirtualClock(0), list[tuple[str, int]]()

        def ring(name: str) -> Callable[[], None]:
            return lambda: rung.append((name, clock.now()))

        async def scenario() -> None:
            for name, moment in (("late", 30), ("early", 10), ("same, first", 20), ("same, second", 20)):
                clock.call_at(moment * SECOND, ring(name))
            clock.advance(25 * SECOND)

        asyncio.run(scenario())
        assert [name for name, _ in rung] == ["early", "same, first", "same, second"]
        for (_, moment), due in zip(rung, (10, 20, 20)):
            assert due * SECOND <= moment < (due + 1) * SECOND
        assert clock.now() >= 25 * SECOND

    def test_rings_what_is_set_on_the_way(self) -> None:
        clock, rung = VirtualClock(0), list[str]()

        async def scenario() -> None:
            def first() -> None:
                rung.append("first")
                clock.call_at(20 * SECOND, lambda: rung.append("second"))
                clock.call_at(40 * SECOND, lambda: rung.append("third"))

            clock.call_at(10 * SECOND, first)
            clock.advance(30 * SECOND)

        asyncio.run(scenario())
        assert rung == ["first", "second"]

    @pytest.mark.parametrize("moment", [0, -5, 1000])
    def test_rings_soon_for_a_moment_that_has_passed(self, moment: int) -> None:
        clock, rung = VirtualClock(1000), list[int]()

        async def scenario() -> None:
            clock.call_at(moment, lambda: rung.append(1))
            assert rung == [], "never within the call itself"
            await _settle()

        asyncio.run(scenario())
        assert rung == [1]

    def test_jumps_to_the_next_alarm_when_idle_and_no_further(self) -> None:
        clock, rung = VirtualClock(0), list[int]()
        assert clock.jumps

        async def scenario() -> None:
            clock.call_at(365 * 86_400 * SECOND, lambda: rung.append(1))
            clock.call_at(366 * 86_400 * SECOND, lambda: rung.append(2))
            clock.idle()

        asyncio.run(scenario())
        assert rung == [1]
        assert 365 * 86_400 * SECOND <= clock.now() < 366 * 86_400 * SECOND

    def test_idle_passes_over_alarms_that_were_taken_back(self) -> None:
        clock, rung = VirtualClock(0), list[int]()

        async def scenario() -> None:
            clock.call_at(10 * SECOND, lambda: rung.append(1)).cancel()
            clock.call_at(20 * SECOND, lambda: rung.append(2))
            clock.idle()

        asyncio.run(scenario())
        assert rung == [2]

    def test_idle_without_alarms_changes_nothing(self) -> None:
        clock = VirtualClock(0)
        clock.idle()
        assert clock.now() == 1000

    def test_without_auto_advance_only_advance_moves_it(self) -> None:
        clock, rung = VirtualClock(0, auto_advance=False), list[int]()

        async def scenario() -> None:
            clock.call_at(10 * SECOND, lambda: rung.append(1))
            clock.idle()
            assert rung == []
            clock.advance(10 * SECOND)

        asyncio.run(scenario())
        assert rung == [1]

    def test_an_alarm_taken_back_does_not_ring(self) -> None:
        clock = VirtualClock(0)

        async def scenario() -> None:
            clock.call_at(10 * SECOND, lambda: pytest.fail("it was taken back")).cancel()
            clock.call_at(0, lambda: pytest.fail("it was taken back, too")).cancel()
            clock.advance(60 * SECOND)
            await _settle()

        asyncio.run(scenario())

    def test_an_alarm_may_take_back_another_that_is_due_at_the_same_time(self) -> None:
        clock, rung = VirtualClock(0), list[str]()

        async def scenario() -> None:
            def first() -> None:
                rung.append("first")
                second.cancel()

            clock.call_at(10 * SECOND, first)
            second = clock.call_at(10 * SECOND, lambda: rung.append("second"))
            clock.advance(60 * SECOND)

        asyncio.run(scenario())
        assert rung == ["first"]

    def test_an_alarm_rings_once(self) -> None:
        clock, rung = VirtualClock(0), list[int]()

        async def scenario() -> None:
            clock.call_at(10 * SECOND, lambda: rung.append(1))
            clock.advance(10 * SECOND)
            clock.advance(10 * SECOND)
            clock.idle()

        asyncio.run(scenario())
        assert rung == [1]

    def test_never_goes_back(self) -> None:
        clock = VirtualClock(0)
        clock.advance(60 * SECOND)
        before = clock.now()
        clock.advance(-30 * SECOND)
        assert clock.now() > before
