"""Each rule: what it finds, at which line, and what it leaves alone."""

from __future__ import annotations

from pathlib import Path

import pytest

from dapr_workflow_sdk.linting import RULES
from tests.linting.support import check

BAD = {
    "wall-clock": """
        import time, datetime as dt
        from datetime import datetime, date, timezone
        @workflow
        def flow(ctx: WorkflowContext, order: dict):
            now = datetime.now()  #! wall-clock
            today = date.today()  #! wall-clock
            if dt.datetime.now(timezone.utc) > now:  #! wall-clock
                yield ctx.call_activity(step)
            began = time.time()  #! wall-clock
            left = time.monotonic() - began  #! wall-clock
            return time.strftime("%Y"), left, today  #! wall-clock
    """,
    "wall-clock at import": """
        from datetime import datetime
        STARTED = datetime.now()
        def deadline(day=datetime.now()):  #! wall-clock
            return day
        @workflow
        def flow(ctx):
            if STARTED.hour > 12:  #! wall-clock
                yield ctx.create_timer(deadline())
    """,
    "time-zone": """
        import time
        from datetime import datetime
        @workflow
        def flow(ctx, seconds: float):
            moment = datetime.fromtimestamp(seconds)  #! time-zone
            here = moment.astimezone()  #! time-zone
            since = ctx.current_utc_datetime.timestamp()  #! time-zone
            now = ctx.current_utc_datetime
            later = now.astimezone(None)  #! time-zone
            if time.timezone:  #! time-zone
                yield ctx.call_activity(step, input=[since, here, later])
    """,
    "random": """
        import random, secrets, os
        import numpy as np
        from random import choice as pick
        DICE = random.Random(4)
        @workflow
        def flow(ctx, names: list):
            a = random.random()  #! random
            b = pick(names)  #! random
            c = secrets.token_hex()  #! random
            d = os.urandom(4)  #! random
            e = random.Random().random()  #! random
            f = np.random.default_rng()  #! random
            g = DICE.choice(names)  #! random
            names.sort(key=lambda name: random.random())  #! random
            yield ctx.call_activity(step, input=[a, b, c, d, e, f, g])
    """,
    "uuid": """
        import uuid
        from dataclasses import dataclass, field
        @dataclass
        class Order:
            name: str
            id: str = field(default_factory=uuid.uuid4)
            tag: str = field(default_factory=lambda: uuid.uuid1().hex)  #! uuid
        @workflow
        async def flow(ctx, name: str):
            key = str(uuid.uuid4())  #! uuid
            order = Order(name)  #! uuid
            await ctx.call_activity(step, input=[key, order])
    """,
    "environment": """
        import os, sys, locale
        from os import environ
        from pathlib import Path
        LIMIT = int(os.environ.get("LIMIT", "3"))
        @workflow
        def flow(ctx):
            if os.environ["NEW"] == "1":  #! environment
                yield ctx.call_activity(step)
            if environ.get("NEW"):  #! environment
                yield ctx.call_activity(step)
            for _ in range(LIMIT):  #! environment
                yield ctx.call_activity(step, input=os.getenv("X"))  #! environment
            if "--dry-run" in sys.argv:  #! environment
                return Path.home()  #! environment
            return locale.getlocale()  #! environment
    """,
    "environment in settings": """
        import os
        from dataclasses import dataclass
        from pydantic_settings import BaseSettings
        @dataclass
        class Settings:
            limit: int
            @classmethod
            def load(cls):
                return cls(limit=int(os.getenv("LIMIT", "3")))
        class Secrets(BaseSettings):
            key: str = ""
        settings = Settings.load()
        secrets = Secrets()
        @workflow
        def flow(ctx):
            for _ in range(settings.limit):  #! environment
                yield ctx.call_activity(step, input=secrets.key)  #! environment
    """,
    "machine": """
        import os, platform, socket, sys
        from importlib.metadata import version
        @workflow
        def flow(ctx):
            who = socket.gethostname(), os.getpid()  #! machine
            if version("requests") > "2":  #! machine
                yield ctx.call_activity(step, input=who)
            return [None] * os.cpu_count(), platform.system(), sys.version  #! machine
    """,
    "hash": """
        @workflow
        def flow(ctx, names: list):
            if hash(names[0]) % 2:  #! hash
                yield ctx.call_activity(step, input=sorted(names, key=hash))  #! hash
    """,
    "memory": """
        import gc, weakref
        class Basket:
            pass
        @workflow
        def flow(ctx, orders: list):
            for order in sorted(orders, key=id):  #! memory
                yield ctx.call_activity(step, input=id(order))  #! memory
            basket = Basket()
            if gc.collect() or weakref.ref(basket)():  #! memory
                yield ctx.call_activity(step, input=f"{basket} {str(basket)}")  #! memory
    """,
    "introspection": """
        import inspect, sys, traceback
        class Rule: ...
        @workflow
        def flow(ctx):
            for name in globals():  #! introspection
                yield ctx.call_activity(step, input=name)
            for cls in Rule.__subclasses__():  #! introspection
                yield ctx.call_activity(step, input=cls.__name__)
            names = [name for name in dir(Rule)]  #! introspection
            return traceback.format_exc(), sys._getframe().f_lineno, names  #! introspection
    """,
    "file": """
        import glob, json, os, shutil, tempfile
        from pathlib import Path
        @workflow
        def flow(ctx, folder: str, target: Path):
            with open("prices.json") as file:  #! file
                prices = json.load(file)
            for name in os.listdir(folder):  #! file
                yield ctx.call_activity(step, input=name)
            if Path(folder, "done").exists():  #! file
                return prices
            path = Path(folder) / "log"
            path.write_text("started")  #! file
            target.mkdir()  #! file
            return glob.glob("*"), os.path.exists(folder), tempfile.mkdtemp()  #! file
    """,
    "database": """
        import sqlite3
        from sqlalchemy import create_engine
        ENGINE = create_engine("sqlite://")
        @workflow
        def flow(ctx):
            with sqlite3.connect("orders.db") as connection:  #! database
                count = connection.execute("select 1").fetchone()
            with ENGINE.connect():  #! database
                yield ctx.call_activity(step, input=count)
    """,
    "network": """
        import httpx, requests, urllib.request, socket
        SESSION = requests.Session()
        SHARED = {}
        def ask(client: httpx.Client, url: str):
            return client.get(url).json()  #! network
        @workflow
        def flow(ctx, url: str):
            a = requests.get(url)  #! network
            b = SESSION.get(url)  #! network
            c = urllib.request.urlopen(url)  #! network
            with httpx.Client() as client:  #! network
                d = client.get(url), ask(SHARED["client"], url)
            yield ctx.call_activity(step, input=[a, b, c, d])
    """,
    "client": """
        from dapr_workflow_sdk import WorkflowClient, workflow
        from dapr.clients import DaprClient
        @workflow
        def flow(ctx):
            with DaprClient() as dapr:  #! client
                dapr.publish_event("a", "b", "c")
            WorkflowClient().raise_workflow_event("other", "go")  #! client
            yield ctx.create_timer(1)  #! wrong-delay
    """,
    "process": """
        import os, subprocess
        @workflow
        def flow(ctx):
            subprocess.run(["ls"])  #! process
            os.system("ls")  #! process
            yield ctx.call_activity(step)
    """,
    "console": """
        @workflow
        def flow(ctx):
            if input("Approve? ") == "yes":  #! console
                yield ctx.call_activity(step)
    """,
    "thread": """
        import asyncio, threading
        from concurrent.futures import ThreadPoolExecutor
        LOCK = threading.Lock()
        @workflow
        async def flow(ctx, orders: list):
            threading.Thread(target=print).start()  #! thread
            with ThreadPoolExecutor() as pool:  #! thread
                done = list(pool.map(str, orders))
            await asyncio.to_thread(print)  #! thread
            with LOCK:  #! thread
                await ctx.call_activity(step, input=done)
    """,
    "sleep": """
        import asyncio, time
        from time import sleep as nap
        @workflow
        async def flow(ctx):
            time.sleep(1)  #! sleep
            nap(1)  #! sleep
            await asyncio.sleep(1)  #! sleep
            await ctx.call_activity(step)
    """,
    "foreign-await": """
        import asyncio, aiohttp, anyio
        LOCK = asyncio.Lock()
        QUEUE = asyncio.Queue()
        @workflow
        async def flow(ctx, url: str):
            await asyncio.gather(ctx.call_activity(step), ctx.call_activity(step))  #! foreign-await
            task = asyncio.create_task(work())  #! foreign-await
            async with asyncio.timeout(5):  #! foreign-await
                await ctx.call_activity(step)
            async with LOCK:  #! foreign-await
                await QUEUE.get()  #! foreign-await
            await anyio.wait_all_tasks_blocked()  #! foreign-await
            async for part in aiohttp.stream(url):  #! foreign-await
                await ctx.call_activity(step, input=part)
            return task
        async def work(): ...
    """,
    "set-order": """
        from enum import Enum
        class Channel(Enum):
            MAIL = 1
        def unique(names) -> set[str]:
            return set(names)
        def each(names):
            yield from set(names)  #! set-order
        @workflow
        def flow(ctx, names: list, known: frozenset[str]):
            tags = {name.upper() for name in names}
            for tag in tags:  #! set-order
                yield ctx.call_activity(step, input=tag)
            for tag in unique(names):  #! set-order
                yield ctx.call_activity(step, input=tag)
            for number, tag in enumerate(tags | known):  #! set-order
                yield ctx.call_activity(step, input=[number, tag])
            for tag in each(names):
                yield ctx.call_activity(step, input=tag)
            tasks = [ctx.call_activity(step, input=tag) for tag in known]  #! set-order
            yield when_all(tasks)
            first = next(iter(tags))  #! set-order
            text = ", ".join(tags)  #! set-order
            some = tags.pop()  #! set-order
            order = list(tags)  #! set-order
            longest = min(tags, key=len)  #! set-order
            prices = {tag: 1 for tag in tags}
            for tag in prices:  #! set-order
                yield ctx.call_activity(step, input=tag)
            for channel in {Channel.MAIL}:  #! set-order
                yield ctx.call_activity(step, input=channel)
            return first, text, some, order, longest
    """,
    "global-state": """
        import contextvars, functools, itertools
        COUNT = 0
        SEEN = []
        CACHE = {}
        STATE = {"calls": 0}
        NUMBERS = itertools.count()
        ATTEMPT = contextvars.ContextVar("ATTEMPT")
        class Book:
            prices: dict = {}
            total = 0
        class Sequence:
            def __init__(self):
                self.value = 0
            def advance(self):
                self.value += 1  #! global-state
            def __call__(self):
                self.value = 0  #! global-state
        SEQUENCE = Sequence()
        @functools.cache
        def names() -> list:
            return ["a"]
        @functools.lru_cache
        def helper(ctx, order):
            return ctx.call_activity(step, input=order)
        def collect(order, seen=[]):
            seen.append(order)  #! global-state
            return seen
        @workflow
        def flow(ctx, order: str):
            global COUNT
            COUNT += 1  #! global-state
            SEEN.append(order)  #! global-state
            CACHE[order] = 1  #! global-state
            del CACHE[order]  #! global-state
            alias = STATE
            alias["calls"] += 1  #! global-state
            Book.total += 1  #! global-state
            Book().prices["a"] = 1  #! global-state
            flow.calls = 1  #! global-state
            number = next(NUMBERS)  #! global-state
            ATTEMPT.set(1)  #! global-state
            SEQUENCE.advance()
            SEQUENCE()
            names().append("b")  #! global-state
            yield helper(ctx, order)  #! global-state
            yield ctx.call_activity(step, input=[number, collect(order)])
    """,
    "global-state in closures": """
        def make():
            calls = 0
            log = []
            @workflow
            def flow(ctx):
                nonlocal calls
                calls += 1  #! global-state
                log.append(calls)  #! global-state
                yield ctx.call_activity(step)
            return flow
    """,
    "global-state changed by activities": """
        orders = 0
        STOCK = {}
        UNCHANGED = {"a": 1}
        @activity
        def count(ctx, order):
            global orders
            orders += 1
            STOCK[order] = 1
        @workflow
        def flow(ctx, order: str):
            yield ctx.call_activity(count, input=order)
            if orders > 3:  #! global-state
                yield ctx.call_activity(count, input=STOCK.get(order))  #! global-state
            return UNCHANGED["a"]
    """,
    "not-a-task": """
        from dapr_workflow_sdk import Task, activity, when_all, workflow
        def helper(ctx):
            yield ctx.call_activity(step)
        def nothing(ctx):
            ctx.call_activity(step)  #! forgotten-yield
        @activity
        def step(ctx): ...
        @workflow
        def flow(ctx):
            yield 5  #! not-a-task
            yield  #! not-a-task
            yield "text", 1  #! not-a-task
            yield [ctx.call_activity(step)]  #! not-a-task
            yield [ctx.call_activity(step) for _ in range(2)]  #! not-a-task
            yield helper(ctx)  #! not-a-task
            yield nothing(ctx)  #! not-a-task
            yield when_all(ctx.call_activity(step))  #! not-a-task
            yield when_all([helper(ctx)])  #! not-a-task
            yield from range(3)  #! not-a-task
            answer = yield ctx.call_activity(step)
            yield answer  #! not-a-task
            yield Task()  #! not-a-task
        @workflow
        async def other(ctx):
            await [ctx.call_activity(step)]  #! not-a-task
    """,
    "forgotten-yield": """
        from datetime import timedelta
        def helper(ctx):
            yield ctx.call_activity(step)
        async def async_helper(ctx):
            await ctx.call_activity(step)
        @workflow
        def flow(ctx, orders: list):
            ctx.call_activity(step)  #! forgotten-yield
            ctx.create_timer(timedelta(1))  #! forgotten-yield
            when_all([ctx.call_activity(step)])  #! forgotten-yield
            helper(ctx)  #! forgotten-yield
            one = ctx.call_activity(step)  #! forgotten-yield
            two = ctx.call_activity(step)
            two.get_result()  #! forgotten-yield
            three = ctx.call_activity(step)
            yield ctx.call_activity(step, input=three)  #! forgotten-yield
            if ctx.wait_for_external_event("approved"):  #! forgotten-yield
                total = ctx.call_activity(step) + 1  #! forgotten-yield
            four = ctx.call_child_workflow(flow)
            if four["paid"]:  #! forgotten-yield
                yield four
            tasks = [ctx.call_activity(step) for _ in orders]  #! forgotten-yield
            more = []
            for order in orders:
                more.append(ctx.call_activity(step, input=order))  #! forgotten-yield
            map(lambda order: ctx.call_activity(step), orders)  #! forgotten-yield
            return ctx.call_activity(step)  #! forgotten-yield
        @workflow
        async def other(ctx):
            async_helper(ctx)  #! forgotten-yield
            later = async_helper(ctx)  #! forgotten-yield
            text = f"{ctx.call_activity(step)}"  #! forgotten-yield
    """,
    "swallowed-exit": """
        import contextlib
        class Forgiving:
            def __enter__(self): ...
            def __exit__(self, kind, error, trace):
                return True
        @contextlib.contextmanager
        def forgiving():
            try:
                yield
            except BaseException:
                pass
        def helper(ctx):
            try:
                yield ctx.call_activity(step)
            except GeneratorExit:  #! swallowed-exit
                return
        @workflow
        def flow(ctx):
            try:
                yield ctx.call_activity(step)
            except:  #! swallowed-exit
                pass
            try:
                yield ctx.call_activity(step)
            except (ValueError, BaseException) as error:  #! swallowed-exit
                print(error)
            while True:
                try:
                    yield ctx.call_activity(step)
                finally:
                    break  #! swallowed-exit
            with contextlib.suppress(BaseException):  #! swallowed-exit
                yield ctx.call_activity(step)
            with Forgiving():  #! swallowed-exit
                yield ctx.call_activity(step)
            with forgiving():  #! swallowed-exit
                yield ctx.call_activity(step)
            task = ctx.call_activity(step)
            try:
                yield ctx.call_activity(step)
            finally:
                yield task  #! swallowed-exit
            yield from helper(ctx)
        @workflow
        async def other(ctx):
            try:
                await ctx.call_activity(step)
            except BaseException:  #! swallowed-exit
                return "failed"
    """,
    "wrong-delay": """
        @workflow
        def flow(ctx):
            yield ctx.create_timer(30)  #! wrong-delay
            yield ctx.wait_for_external_event("paid", timeout=-1.5)  #! wrong-delay
    """,
    "after-renewal": """
        @workflow
        def flow(ctx, runs: int):
            if runs:
                ctx.continue_as_new(runs - 1)
                yield ctx.call_activity(step)  #! after-renewal
    """,
    "direct-call": """
        @workflow
        def flow(ctx, order):
            step(ctx, order)  #! direct-call
            yield ctx.call_activity(step, input=order)
    """,
    "replay-branch": """
        def live(ctx: WorkflowContext) -> bool:
            return not ctx.is_replaying
        @workflow
        def flow(ctx):
            if ctx.is_replaying:  #! replay-branch
                yield ctx.call_activity(step)
            if not ctx.is_replaying:  #! replay-branch
                return None
            replaying = ctx.is_replaying
            if replaying and True:  #! replay-branch
                yield ctx.call_activity(step)
            yield ctx.call_activity(step, input={"live": live(ctx), "again": replaying})  #! replay-branch
    """,
    "context-escape": """
        LAST = []
        @workflow
        def flow(ctx):
            LAST.append(ctx)  #! global-state
            yield ctx.call_activity(step, input=ctx)  #! context-escape
    """,
}

GOOD = {
    "time": """
        import time
        from datetime import date, datetime, timedelta, timezone
        EPOCH = datetime(2026, 1, 1)
        def late(now: datetime) -> bool:
            return now.hour > 20
        @workflow
        def flow(ctx: WorkflowContext, order: dict):
            now = ctx.current_utc_datetime
            due = datetime.fromisoformat(order["due"]) + timedelta(days=1)
            aware = now.replace(tzinfo=timezone.utc)
            stamp = aware.timestamp(), aware.astimezone(timezone.utc), time.gmtime(0), time.strftime("%Y", time.gmtime(1))
            if late(now) or date(2026, 1, 1) == now.date() or EPOCH < due:
                yield ctx.create_timer(due)
            return datetime.fromtimestamp(order["at"], timezone.utc), stamp, datetime.strptime("1", "%d")
    """,
    "shadowed names": """
        class Clock:
            def time(self): return 1
            def now(self): return 2
        @workflow
        def flow(ctx, time, random=None, open=len):
            uuid = {"uuid4": str}
            datetime = Clock()
            os = ctx
            yield ctx.call_activity(step, input=[time.time(), random, open("x"), datetime.now(), uuid["uuid4"]()])
            return os.instance_id
    """,
    "seeded": """
        import random, uuid, hashlib
        @workflow
        def flow(ctx, order: str):
            dice = random.Random(order)
            key = uuid.uuid5(uuid.NAMESPACE_URL, order), ctx.new_guid(), uuid.UUID(int=1)
            return dice.choice([1, 2]), key, hashlib.sha256(order.encode()).hexdigest()
            yield
    """,
    "sets": """
        @workflow
        def flow(ctx, names: list, known: set[str], numbers: set[int]):
            seen = set()
            for name in names:
                if name in seen or name in known:
                    continue
                seen.add(name)
                yield ctx.call_activity(step, input=name)
            for name in sorted(seen | known):
                yield ctx.call_activity(step, input=name)
            count = 0
            for name in seen:
                if name.startswith("x"):
                    count += 1
            for number in numbers:
                yield ctx.call_activity(step, input=number)
            for number in {1, 2, 3}:
                yield ctx.call_activity(step, input=number)
            missing = list(known - seen)
            missing.sort()
            upper = {name.upper() for name in seen}
            ordered = sorted(name.lower() for name in upper)
            rest = sorted([name for name in upper])
            total = sum(len(name) for name in seen), len(upper), max(seen), any(name for name in seen)
            prices = {name: len(name) for name in seen}
            lookup = [prices[name] for name in names]
            copy = {*seen, *known}
            return missing, ordered, total, lookup, count, rest, len(copy), dict.fromkeys(names)
    """,
    "sets that end up in order": """
        ALLOWED = {"a", "b"}
        @workflow
        def flow(ctx, names: set[str], prices: dict):
            found, lookup = [], {}
            for name in names:
                found.append(name)
                lookup[name] = prices[name]
            found.sort()
            later = []
            for name in names:
                later.append(name)
            for name in sorted(later):
                yield ctx.call_activity(step, input=lookup[name])
            if names <= ALLOWED or names == set(found):
                raise ValueError(f"{sorted(names - ALLOWED)} is not in {ALLOWED}")
    """,
    "generators of values": """
        def chunks(names, size):
            for start in range(0, len(names), size):
                yield names[start : start + size]
        class Plan:
            def extra(self, ctx):
                pass
        class Real(Plan):
            def extra(self, ctx):
                return ctx.call_activity(step)
        @workflow
        def flow(ctx, names: list, plan: Plan):
            batches = chunks(names, 2)
            for batch in batches:
                yield ctx.call_activity(step, input=batch)
            for number, batch in enumerate(chunks(names, 3)):
                yield ctx.call_activity(step, input=[number, batch])
            first, *rest = chunks(names, 4)
            yield plan.extra(ctx)
            return [*chunks(names, 5)], dict(zip(names, chunks(names, 6))), first, rest
    """,
    "state of the run": """
        import collections, functools, itertools
        LIMITS = {"basic": 3}
        HANDLERS = {}
        def register(name):
            def decorate(function):
                HANDLERS[name] = function
                return function
            return decorate
        @register("a")
        def handle(value): return value
        class Cart:
            limit = 3
            def __init__(self):
                self.items = []
                self.total = 0
            def add(self, item):
                self.items.append(item)
                self.total += 1
        @functools.lru_cache
        def rate(country: str) -> float:
            return {"de": 1.0}[country]
        @workflow
        def flow(ctx, order: dict):
            cart, log, counts = Cart(), [], collections.Counter()
            counter = itertools.count()
            def note(text):
                nonlocal log
                log.append(text)
                counts[text] += 1
                log = log[:]
            for item in order["items"]:
                cart.add(item)
                note(str(next(counter)))
            order["done"] = True
            limits = dict(LIMITS)
            limits["basic"] = 4
            total = functools.reduce(lambda a, b: a + b, [1, 2])
            yield ctx.call_activity(step, input=[cart.items, LIMITS["basic"], HANDLERS["a"](1), rate("de"), total])
    """,
    "tasks": """
        from datetime import timedelta
        def start(ctx, order):
            return ctx.call_activity(step, input=order)
        def chain(ctx, order):
            first = yield ctx.call_activity(step, input=order)
            return (yield start(ctx, first))
        async def helper(ctx, order):
            return await ctx.call_activity(step, input=order)
        def pairs(orders):
            for order in orders:
                yield order, 1
        @workflow
        def flow(ctx: WorkflowContext, orders: list):
            tasks = [start(ctx, order) for order in orders]
            results = yield when_all(tasks)
            timeout = ctx.create_timer(timedelta(days=1))
            event = ctx.wait_for_external_event("paid")
            winner = yield when_any([event, timeout])
            if winner is timeout or winner == event or event.is_complete:
                _ = ctx.call_child_workflow(flow, input=[])
                return event.get_result()
            last = yield from chain(ctx, orders[0])
            running = {}
            for order, number in pairs(orders):
                running[number] = ctx.call_activity(step, input=order)
            for number in range(2):
                yield running[number]
            pending = list(tasks)
            while pending:
                done = yield when_any(pending)
                pending.remove(done)
            one = start(ctx, last)
            again = one
            yield again
            children = (ctx.call_activity(step) for _ in orders)
            yield when_all(children)
            return results
        @workflow
        async def other(ctx, orders: list):
            first = ctx.call_activity(step)
            await helper(ctx, 1)
            both = await when_all([first, start(ctx, 2)])
            result = helper(ctx, 3)
            return both, await result
        @workflow
        def plain(ctx, order):
            return chain(ctx, order)
        @workflow
        def empty(ctx):
            return 1
            yield
        @workflow
        def never(ctx):
            if False:
                yield
    """,
    "handlers": """
        import asyncio, contextlib, requests
        from dapr_workflow_sdk import TaskFailedError, workflow
        @contextlib.contextmanager
        def status(ctx, text):
            ctx.set_custom_status(text)
            try:
                yield
            finally:
                ctx.set_custom_status("")
        @workflow
        def flow(ctx):
            try:
                yield ctx.call_activity("step")
            except Exception:
                pass
            try:
                yield ctx.call_activity("step")
            except BaseException:
                ctx.set_custom_status("failed")
                raise
            try:
                yield ctx.call_activity("step")
            except GeneratorExit:
                raise
            except BaseException as error:
                raise RuntimeError("no") from error
            try:
                int("x")
            except:
                pass
            try:
                yield ctx.call_activity("step")
            except (TaskFailedError, requests.HTTPError, TimeoutError, asyncio.CancelledError):
                return "no"
            finally:
                for _ in range(3):
                    continue
            with contextlib.suppress(TaskFailedError), status(ctx, "paying"):
                yield ctx.call_activity("step")
    """,
    "logs": """
        import time, datetime
        from typing import TYPE_CHECKING
        if TYPE_CHECKING:
            import random
        METRICS = {}
        @workflow
        def flow(ctx: WorkflowContext):
            ctx.logger.info("at %s", time.time())
            if not ctx.is_replaying:
                print(datetime.datetime.now())
            if ctx.is_replaying:
                pass
            else:
                METRICS.update(a=1)
            log = print if ctx.is_replaying else len
            yield ctx.call_activity(step, input=log is None)
    """,
    "pure parts of libraries": """
        import asyncio, httpx, json, logging, os, pathlib, random, re, threading, time, urllib.parse, uuid
        from http import HTTPStatus
        log = logging.getLogger(os.environ.get("LOG", "app"))
        BASE = pathlib.PurePath("a")
        HERE = pathlib.Path(__file__).parent
        @activity
        async def ask(ctx, url):
            await asyncio.sleep(1)
            return httpx.get(url).json(), time.time(), random.random(), open(url)
        @workflow
        def flow(ctx, url: str):
            log.info("started")
            path = os.path.join("a", os.path.basename(url))
            query = urllib.parse.urlencode({"q": httpx.URL(url).host})
            if isinstance(url, threading.Thread) or HTTPStatus.OK == 200:
                yield ctx.call_activity(ask, input=json.dumps([path, query, str(BASE / "b"), re.sub("a", "b", url)]))
            yield ctx.call_activity("ask", input=pathlib.Path("a").name)
            return HERE.name, uuid.NAMESPACE_DNS
    """,
    "another framework": """
        import time
        from dbos import DBOS
        from temporalio import workflow
        @DBOS.workflow()
        def one():
            return time.time()
        @workflow.defn
        class Two:
            @workflow.run
            async def run(self):
                return time.time()
        def three():
            return time.time()
    """,
}


@pytest.mark.parametrize("code", BAD.values(), ids=BAD)
def test_finds(code: str, tmp_path: Path) -> None:
    assert check(tmp_path, code)


@pytest.mark.parametrize("code", GOOD.values(), ids=GOOD)
def test_leaves_alone(code: str, tmp_path: Path) -> None:
    assert check(tmp_path, code) == []


def test_every_rule_has_code_that_breaks_it() -> None:
    import re

    shown = {
        rule.strip()
        for code in BAD.values()
        for rules in re.findall(r"#! *([a-z, -]+)", code)
        for rule in rules.split(",")
    }
    assert shown == set(RULES)


def test_the_words_of_rules_are_whole() -> None:
    for rule in RULES.values():
        assert re_id(rule.id)
        assert rule.title[0].isupper()
        assert not rule.title.endswith(".")
        assert rule.reason.endswith(".")
        assert rule.replacement.endswith(".")
        assert not rule.says.endswith(".")


def re_id(text: str) -> bool:
    return text == text.lower() and text.replace("-", "").isalpha()
