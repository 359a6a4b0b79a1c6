"""Tasks and the two combinators, without a workflow around them."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk.authoring.tasks import Task, WhenAllTask, WhenAnyTask, when_all, when_any
from tests.strategies import QUICK


def _done(result: Any = None) -> Task[Any]:
    task: Task[Any] = Task()
    task._resolve(result)
    return task


def _failed(message: str = "boom") -> Task[Any]:
    task: Task[Any] = Task()
    task._fail(ValueError(message))
    return task


def _open(count: int) -> list[Task[Any]]:
    return [Task() for _ in range(count)]


class TestOneTask:
    def test_an_unfinished_task_has_no_result(self) -> None:
        task: Task[int] = Task()
        assert not task.is_complete
        assert not task.is_failed
        with pytest.raises(ValueError, match="not completed"):
            task.get_result()
        with pytest.raises(ValueError, match="not failed"):
            task.get_exception()

    @pytest.mark.parametrize("result", [None, 0, False, "", [], {}, "text"])
    def test_a_finished_task_keeps_its_result(self, result: Any) -> None:
        task = _done(result)
        assert task.is_complete
        assert not task.is_failed
        assert task.get_result() is result
        with pytest.raises(ValueError, match="not failed"):
            task.get_exception()

    def test_a_failed_task_raises_its_error_every_time(self) -> None:
        task = _failed()
        assert task.is_complete
        assert task.is_failed
        for _ in range(2):
            with pytest.raises(ValueError, match="boom") as caught:
                task.get_result()
            assert caught.value is task.get_exception()

    def test_yield_from_and_await_hand_the_task_itself_to_the_worker(self) -> None:
        for waiting in (iter, Task.__await__):
            task: Task[Any] = Task()
            steps = cast("Any", waiting)(task)
            assert next(steps) is task
            task._resolve(7)
            with pytest.raises(StopIteration) as stop:
                next(steps)
            assert stop.value.value == 7

    def test_unknown_attributes_are_attribute_errors(self) -> None:
        with pytest.raises(AttributeError):
            _ = cast("Any", Task()).cancel


class TestWhenAll:
    def test_of_nothing_is_done_at_once_with_an_empty_list(self) -> None:
        task = when_all([])
        assert task.is_complete
        assert task.get_result() == []

    def test_takes_any_iterable_once(self) -> None:
        parts = _open(2)
        task = when_all(part for part in parts)
        for part in parts:
            part._resolve(1)
        assert task.get_result() == [1, 1]

    def test_has_the_results_in_the_order_of_its_tasks(self) -> None:
        parts = _open(3)
        task = when_all(parts)
        for index in (2, 0, 1):
            assert not task.is_complete
            parts[index]._resolve(index)
        assert task.get_result() == [0, 1, 2]

    def test_waits_for_all_although_one_failed(self) -> None:
        parts = _open(3)
        task = when_all(parts)
        parts[1]._fail(ValueError("second"))
        parts[2]._resolve(None)
        assert not task.is_complete
        assert not task.is_failed
        parts[0]._resolve(None)
        assert task.is_failed

    def test_fails_with_the_error_that_came_first(self) -> None:
        parts = _open(3)
        task = when_all(parts)
        parts[2]._fail(ValueError("came first"))
        parts[0]._fail(ValueError("came second"))
        parts[1]._resolve(None)
        with pytest.raises(ValueError, match="came first"):
            task.get_result()

    def test_over_finished_tasks_is_done_at_once(self) -> None:
        assert when_all([_done(1), _done(2)]).get_result() == [1, 2]
        assert when_all([_done(1), _failed()]).is_failed

    def test_over_some_finished_tasks_waits_for_the_others(self) -> None:
        (late,) = _open(1)
        task = when_all([_done(1), late, _done(3)])
        assert (task.pending_tasks, task.get_completed_tasks()) == (1, 2)
        late._resolve(2)
        assert (task.pending_tasks, task.get_completed_tasks()) == (0, 3)
        assert task.get_result() == [1, 2, 3]

    def test_an_earlier_failure_wins_over_a_later_one_when_it_was_there_before(self) -> None:
        (late,) = _open(1)
        task = when_all([late, _failed("was there before")])
        late._fail(ValueError("came later"))
        assert str(task.get_exception()) == "was there before"

    def test_the_same_task_twice_counts_twice(self) -> None:
        (part,) = _open(1)
        task = when_all([part, part])
        assert task.pending_tasks == 2
        part._resolve(1)
        assert task.get_result() == [1, 1]

    def test_gives_its_tasks_in_a_list_of_their_own(self) -> None:
        parts = _open(2)
        task = when_all(parts)
        task.get_tasks().clear()
        assert task.get_tasks() == parts


class TestWhenAny:
    def test_of_nothing_is_done_at_once_with_an_empty_list(self) -> None:
        task = when_any([])
        assert task.is_complete
        assert cast("Any", task.get_result()) == []

    def test_gives_the_winning_task_itself(self) -> None:
        first, second = _open(2)
        task = when_any([first, second])
        second._resolve("late bird")
        assert task.get_result() is second
        first._resolve("too late")
        assert task.get_result() is second

    def test_a_failed_task_wins_without_raising(self) -> None:
        first, second = _open(2)
        task = when_any([first, second])
        first._fail(ValueError("boom"))
        assert not task.is_failed
        winner = task.get_result()
        assert winner is first
        with pytest.raises(ValueError, match="boom"):
            winner.get_result()

    def test_over_finished_tasks_takes_the_first_in_the_list(self) -> None:
        (never,) = _open(1)
        parts = [never, _done("b"), _done("c")]
        assert when_any(parts).get_result() is parts[1]

    def test_the_same_task_twice_is_no_mistake(self) -> None:
        (part,) = _open(1)
        task = when_any([part, part])
        part._resolve(1)
        assert task.get_result() is part


class TestNesting:
    def test_any_of_all_and_a_timeout(self) -> None:
        parts = _open(2)
        (timeout,) = _open(1)
        everything = when_all(parts)
        task: WhenAnyTask[Any] = when_any([everything, timeout])
        parts[0]._resolve(1)
        assert not task.is_complete
        parts[1]._resolve(2)
        assert task.get_result() is everything
        assert everything.get_result() == [1, 2]
        timeout._resolve(None)
        assert task.get_result() is everything

    def test_all_of_any_gives_the_winners(self) -> None:
        left, right = _open(2), _open(2)
        task: WhenAllTask[Any] = when_all([when_any(left), when_any(right)])
        right[1]._resolve(None)
        left[0]._resolve(None)
        assert task.get_result() == [left[0], right[1]]

    def test_a_failure_climbs_through_all_of_all(self) -> None:
        inner = _open(2)
        outer = when_all([when_all(inner), _done(1)])
        inner[1]._fail(ValueError("deep"))
        inner[0]._resolve(None)
        assert str(outer.get_exception()) == "deep"

    def test_a_task_may_be_part_of_overlapping_combinations(self) -> None:
        a, b, c = _open(3)
        ab, bc, everything = when_any([a, b]), when_any([b, c]), when_all([a, b, c])
        b._resolve("b")
        assert ab.get_result() is b
        assert bc.get_result() is b
        c._resolve("c")
        a._resolve("a")
        assert everything.get_result() == ["a", "b", "c"]

    def test_combinations_of_empty_combinations_are_done(self) -> None:
        assert when_all([when_all([]), when_all([])]).get_result() == [[], []]
        empty = when_any([])
        assert when_any([empty, *_open(1)]).get_result() is empty

    def test_a_combination_finished_before_is_a_task_like_any_other(self) -> None:
        finished = when_all([_done(1)])
        assert when_all([finished, finished]).get_result() == [[1], [1]]


class TestMistakes:
    @pytest.mark.parametrize("combine", [when_all, when_any])
    def test_one_task_in_place_of_a_list_is_refused(self, combine: Any) -> None:
        with pytest.raises(TypeError, match=r"takes a list of tasks, not one task: write when_\w+\(\[task\]\)"):
            combine(_done(1))

    @pytest.mark.parametrize("combine", [when_all, when_any])
    @pytest.mark.parametrize("wrong", [None, 1, "text", [], lambda: None])
    def test_what_is_no_task_is_refused_with_its_place_and_type(self, combine: Any, wrong: Any) -> None:
        with pytest.raises(TypeError, match=f"item 1 is .* of type {type(wrong).__name__}"):
            combine([_done(1), wrong])


@QUICK
@given(st.data())
def test_all_and_any_agree_with_their_definitions_for_every_order(data: st.DataObject) -> None:
    """The first of the order wins; all is done with the last of it; the first failure of the order is the failure."""
    count = data.draw(st.integers(1, 6))
    order = data.draw(st.permutations(range(count)))
    fails = data.draw(st.lists(st.booleans(), min_size=count, max_size=count))
    before = data.draw(st.integers(0, count))
    parts = _open(count)

    def finish(index: int) -> None:
        if fails[index]:
            parts[index]._fail(ValueError(str(index)))
        else:
            parts[index]._resolve(index)

    for index in order[:before]:
        finish(index)
    everything, first = when_all(parts), when_any(parts)
    for index in order[before:]:
        assert not everything.is_complete
        finish(index)

    # Among tasks that had finished before, their place in the list decides, as in the official SDK.
    there = sorted(order[:before])
    assert first.get_result() is parts[there[0] if there else order[0]]
    failures = [i for i in (*there, *order[before:]) if fails[i]]
    if failures:
        assert str(everything.get_exception()) == str(failures[0])
    else:
        assert everything.get_result() == list(range(count))
