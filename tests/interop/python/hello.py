from dapr.ext.workflow import DaprWorkflowClient, DaprWorkflowContext, WorkflowActivityContext, WorkflowRuntime

runtime = WorkflowRuntime()


@runtime.activity(name="greet")
def greet(ctx: WorkflowActivityContext, name: str) -> str:
    return f"Hello, {name}"


@runtime.workflow(name="hello")
def hello(ctx: DaprWorkflowContext, name: str):
    return (yield ctx.call_activity("greet", input=name))


if __name__ == "__main__":
    runtime.start()
    client = DaprWorkflowClient()
    instance_id = client.schedule_new_workflow("hello", input="Ada")
    print(client.wait_for_workflow_completion(instance_id, timeout_in_seconds=30).serialized_output)
    runtime.shutdown()
