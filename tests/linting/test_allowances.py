"""Comments that accept a finding."""

from __future__ import annotations

from pathlib import Path

from tests.linting.support import check


def test_on_the_line_before_it_and_on_the_function(tmp_path: Path) -> None:
    code = """
        import time, random
        def helper():
            return time.time()
        def accepted(
            order,
        ):  # workflow: allow[wall-clock, random] - the result goes to a log only
            return time.time(), random.random()
        def text():
            return "# workflow: allow[wall-clock]", time.time()  #! wall-clock
        @workflow
        def flow(ctx):
            a = time.time()  # workflow: allow[wall-clock]
            # workflow: allow[wall-clock]
            b = time.time()
            c = time.time()  #! wall-clock
            d = max(  # This one is measured only: workflow: allow[wall-clock] needs a comment of its own.
                time.time(),  #! wall-clock
                time.time(),  # workflow:allow[wall-clock]
            )
            e = time.time()  # workflow: allow[random] #! wall-clock
            f = helper()  # workflow: allow[wall-clock]
            g = accepted(1), text()
            yield ctx.call_activity(step, input=[a, b, c, d, e, f, g])
    """
    assert len(check(tmp_path, code)) == 4


def test_accepting_one_of_two_calls_of_a_helper_leaves_the_other(tmp_path: Path) -> None:
    code = """
        import time
        def helper():
            return time.time()  #! wall-clock
        @workflow
        def flow(ctx):
            helper()  # workflow: allow[wall-clock]
            yield ctx.call_activity(step)
        @workflow
        def other(ctx):
            helper()
            yield ctx.call_activity(step)
    """
    (finding,) = check(tmp_path, code)
    assert finding.workflow == "other"
