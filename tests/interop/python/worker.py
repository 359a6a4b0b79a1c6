"""A worker: registers the workflows and works until it is stopped.

The environment says where the engine is (``DAPR_GRPC_PORT``) and on which SDK to run (``INTEROP_SDK``).
"""

import json
import os
import threading
from collections import namedtuple

import grpc
import workflows

Details = namedtuple("Details", "method timeout metadata credentials wait_for_ready compression")
Details.__new__.__defaults__ = (None,) * 6


class ForApp(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):
    """Says with every call which app this is."""

    def __init__(self, app_id):
        self.app_id = app_id

    def add(self, details):
        fields = {field: getattr(details, field, None) for field in Details._fields}
        fields["metadata"] = [*(fields["metadata"] or ()), ("dapr-app-id", self.app_id)]
        return Details(**fields)

    def intercept_unary_unary(self, proceed, details, request):
        return proceed(self.add(details), request)

    def intercept_unary_stream(self, proceed, details, request):
        return proceed(self.add(details), request)


class Deltas(grpc.UnaryStreamClientInterceptor):
    """Counts the turns that brought only the new part of the history."""

    count = 0

    def intercept_unary_stream(self, proceed, details, request):
        return CountedItems(proceed(details, request), self)


class CountedItems:
    def __init__(self, stream, deltas):
        self.stream = stream
        self.deltas = deltas

    def __iter__(self):
        return self

    def __next__(self):
        item = next(self.stream)
        if item.workflowRequest.HasField("cachedHistory"):
            self.deltas.count += 1
        return item

    def __getattr__(self, name):
        return getattr(self.stream, name)


def official_runtime():
    deltas = Deltas()
    interceptors = [deltas]
    if "INTEROP_APP" in os.environ:
        interceptors.append(ForApp(os.environ["INTEROP_APP"]))
    stateful = os.environ.get("INTEROP_DELTAS", "on") == "on"
    runtime = workflows.wf.WorkflowRuntime(interceptors=interceptors, disable_stateful_history=not stateful)
    runtime.register_activity(lambda ctx: deltas.count, name="delta_turns")
    return runtime


def main():
    official = workflows.wf.__name__ == "dapr.ext.workflow"
    runtime = official_runtime() if official else workflows.wf.WorkflowRuntime()
    for function in workflows.WORKFLOWS:
        runtime.register_workflow(function)
    for function in workflows.ACTIVITIES:
        runtime.register_activity(function)

    def long_chain(ctx, length):
        """Tells at its end how many turns of this worker were deltas."""
        for number in range(length):
            yield ctx.call_activity("plus_one", input=number)
        return (yield ctx.call_activity("delta_turns"))

    runtime.register_workflow(long_chain)
    runtime.start()
    print(json.dumps({"ready": True}), flush=True)
    threading.Event().wait()


if __name__ == "__main__":
    main()
