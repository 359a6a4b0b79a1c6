const { DaprWorkflowClient, WorkflowRuntime } = require("@dapr/dapr");

async function greet(ctx, name) {
  return `Hello, ${name}`;
}

async function* hello(ctx, name) {
  return yield ctx.callActivity(greet, name);
}

async function main() {
  const runtime = new WorkflowRuntime().registerWorkflow(hello).registerActivity(greet);
  await runtime.start();
  const client = new DaprWorkflowClient();
  const id = await client.scheduleNewWorkflow(hello, "Ada");
  const state = await client.waitForWorkflowCompletion(id, true, 30);
  console.log(state.serializedOutput);
  await Promise.all([client.stop(), runtime.stop()]);
}

main();
