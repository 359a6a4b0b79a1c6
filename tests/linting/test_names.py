"""Names lead to what they stand for: through aliases, imports, helpers, classes and other modules."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_workflow_sdk.linting import lint_paths
from tests.linting.support import check, write


@pytest.mark.parametrize(
    ("imports", "call"),
    [
        ("import datetime", "datetime.datetime.now()"),
        ("import datetime as dt", "dt.datetime.now()"),
        ("from datetime import datetime", "datetime.now()"),
        ("from datetime import datetime as D", "D.now()"),
        ("from datetime import *", "datetime.now()"),
        ("import datetime\nnow = datetime.datetime.now", "now()"),
        ("import datetime\nD = datetime.datetime", "D.now()"),
        ("try:\n    import datetime\nexcept ImportError:\n    datetime = None", "datetime.datetime.now()"),
        ("import os.path", "os.path.exists('a')"),
        ("from os import path as p", "p.exists('a')"),
        ("import time", "(lambda: time.time())()"),
        ("import time", "[time.time() for _ in 'ab']"),
        ("import time", "max([1], key=lambda _: time.time())"),
        ("import time\ndef pick(f): return f()  #! wall-clock", "pick(time.time) or time.time()"),
    ],
)
def test_however_a_name_is_spelled(imports: str, call: str, tmp_path: Path) -> None:
    rule = "file" if "exists" in call else "wall-clock"
    found = check(
        tmp_path, f"{imports}\n@workflow\ndef flow(ctx):\n    {call}  #! {rule}\n    yield ctx.call_activity(step)\n"
    )
    assert found


@pytest.mark.parametrize(
    "code",
    [
        "time = Clock()\n    time.time()",
        "for time in []:\n        time.time()",
        "with Clock() as time:\n        time.time()",
        "def time(): ...\n    time()",
        "time = time or Clock()\n    time.time()",
        "import clocks as time\n    time.time()",
        "(lambda time: time.time())(1)",
        "[time.time() for time in [Clock()]]",
        "try:\n        pass\n    except Exception as time:\n        time.time()",
        "match ctx:\n        case time:\n            time.time()",
    ],
)
def test_a_name_of_the_function_is_not_the_module(code: str, tmp_path: Path) -> None:
    text = f"import time\nclass Clock: ...\n@workflow\ndef flow(ctx):\n    {code}\n    yield ctx.call_activity(step)\n"
    assert check(tmp_path, text) == []


def test_a_module_of_the_project_hides_one_of_python(tmp_path: Path) -> None:
    files = {
        "random.py": "def choice(names): return names[0]",
        "app.py": "import random\n@workflow\ndef flow(ctx, names):\n    yield ctx.call_activity(random.choice(names))\n",
    }
    assert check(tmp_path, files) == []


def test_helpers_in_other_modules_of_a_package(tmp_path: Path) -> None:
    files = {
        "shop/__init__.py": "from .prices import price",
        "shop/flows.py": """
            from dapr_workflow_sdk import workflow
            from . import clock, price
            from .tools.names import Names
            from shop.tools import names
            import shop.late as late
            @workflow
            def flow(ctx, order):
                clock.now()
                price(order)
                Names().fresh()
                names.plain(order)
                yield ctx.create_timer(late.due())
        """,
        "shop/clock.py": "import time\ndef now():\n    return time.time()  #! wall-clock\n",
        "shop/prices.py": "import random\ndef price(order):\n    return inner()\ndef inner():\n    return random.random()  #! random\n",
        "shop/late.py": "from datetime import datetime\nfrom shop import clock\ndef due():\n    return datetime.now(), clock.now()  #! wall-clock\n",
        "shop/unused.py": "import time\ndef unused():\n    return time.time()\n",
        "shop/tools/names.py": """
            import uuid
            def plain(order): return order
            class Base:
                def fresh(self):
                    return self._make()
            class Names(Base):
                @property
                def last(self):
                    return uuid.uuid4()  #! uuid
                def _make(self):
                    return self.last
        """,
    }
    findings = check(tmp_path, files)
    random = next(finding for finding in findings if finding.rule_id == "random")
    assert [(Path(step.path).name, step.line, step.function) for step in random.steps] == [
        ("flows.py", 9, "price"),
        ("prices.py", 3, "inner"),
    ]
    assert random.workflow == "flow"
    assert "calls price() at" in str(random)


def test_scripts_find_the_folders_beside_them(tmp_path: Path) -> None:
    files = {
        "main.py": "from orders.clock import now\n@workflow\ndef flow(ctx):\n    yield ctx.create_timer(now())\n",
        "orders/clock.py": "from datetime import datetime\ndef now():\n    return datetime.now()  #! wall-clock\n",
        "redis/redis.conf": "",
    }
    assert check(tmp_path, files)


def test_a_file_is_enough_to_follow_its_imports(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "pkg/__init__.py": "",
            "pkg/app.py": "from pkg.help import now\n@workflow\ndef flow(ctx):\n    yield ctx.create_timer(now())\n",
            "pkg/help.py": "import time\ndef now():\n    return time.time()\n",
        },
    )
    (finding,) = lint_paths([tmp_path / "pkg" / "app.py"]).findings
    assert Path(finding.path) == tmp_path / "pkg" / "help.py"


def test_modules_may_import_one_another_and_functions_call_themselves(tmp_path: Path) -> None:
    files = {
        "a.py": "from b import *\nfrom b import two\ndef one(n): return two(n) if n else now()\n",
        "b.py": "from a import *\nfrom a import one\nimport time\ndef two(n): return one(n - 1)\ndef now():\n    return time.time()  #! wall-clock\n",
        "app.py": "from a import one, missing\n@workflow\ndef flow(ctx):\n    x = y\n    y = x\n    yield ctx.call_activity(step, input=one(2))\n    flow(ctx)  #! forgotten-yield\n",
    }
    assert check(tmp_path, files)


def test_activities_are_not_part_of_a_workflow(tmp_path: Path) -> None:
    code = """
        import time, random
        from dapr_workflow_sdk import activity, workflow
        @activity
        def decorated(ctx): return time.time()
        def registered(ctx): return time.time()
        def called(ctx): return random.random()
        def setup(runtime):
            runtime.register_activity(registered)
        @workflow
        def flow(ctx):
            undo = []
            for each in (decorated, registered, called):
                undo.append(each)
                yield ctx.call_activity(each)
            yield ctx.call_activity(called)
            for each in undo:
                yield ctx.call_activity(each)
    """
    assert check(tmp_path, code) == []


def test_functions_inside_of_workflows_and_callbacks(tmp_path: Path) -> None:
    code = """
        import functools, time, random
        @workflow
        def flow(ctx, orders):
            count = 0
            def late(order):
                nonlocal count
                count += 1
                return time.time() > order  #! wall-clock
            def unused():
                return time.time()
            def key(order):
                return random.random()  #! random
            draw = functools.partial(random.choice, orders)  #! random
            for order in filter(late, sorted(orders, key=key)):
                yield ctx.call_activity(step, input=[order, draw()])
    """
    assert check(tmp_path, code)


def test_methods_are_workflows_too(tmp_path: Path) -> None:
    code = """
        import time
        from dapr_workflow_sdk import workflow
        class Shop:
            def __init__(self, runtime):
                self.orders = []
                self.limit = 3
                runtime.register_workflow(self.flow)
            def flow(self, ctx, order):
                self.orders.append(order)  #! global-state
                self.limit = time.time()  #! global-state, wall-clock
                yield ctx.call_activity("a", input=self.limit)
            def unused(self, ctx):
                return time.time()
    """
    assert len(check(tmp_path, code)) == 3
