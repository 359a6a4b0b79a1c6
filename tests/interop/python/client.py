"""A client: runs scenarios side by side, and prints one JSON line for each: ``{"scenario": ..., "result": ...}``.

``client.py sync`` uses the client that waits in its thread, ``client.py async`` the one of `asyncio`. The names of
scenarios may follow; all are run if none is named.
"""

import asyncio
import json
import sys
import traceback
from concurrent.futures import ThreadPoolExecutor

import scenarios
from dapr.ext import workflow as wf
from dapr.ext.workflow import aio


class Waiting:
    """The synchronous client with the face of the asynchronous one: whoever awaits it waits."""

    def __init__(self):
        self.client = wf.DaprWorkflowClient()

    def __getattr__(self, name):
        async def call(*arguments, **options):
            return getattr(self.client, name)(*arguments, **options)

        return call


def report(scenario, result):
    # One write, so that the lines of threads do not mix.
    sys.stdout.write(json.dumps({"scenario": scenario.__name__, "result": result}) + "\n")
    sys.stdout.flush()


async def run(scenario, client):
    try:
        report(scenario, await asyncio.wait_for(scenario(client), 30))
    except Exception:
        report(scenario, {"broken": traceback.format_exc()})


async def run_all(wanted):
    client = aio.DaprWorkflowClient()
    await asyncio.gather(*(run(scenario, client) for scenario in wanted))


def main():
    face, *names = sys.argv[1:]
    wanted = [scenario for scenario in scenarios.SCENARIOS if not names or scenario.__name__ in names]
    if face == "async":
        asyncio.run(run_all(wanted))
        return
    client = Waiting()
    with ThreadPoolExecutor(len(wanted)) as threads:
        list(threads.map(lambda scenario: asyncio.run(run(scenario, client)), wanted))
    client.client.close()


if __name__ == "__main__":
    main()
