"use strict";
// A worker: registers the workflows and works until it is stopped. DAPR_GRPC_PORT says where the engine is.

const { WorkflowRuntime, options, print } = require("./sdk.js");
const { activities, workflows } = require("./workflows.js");

async function main() {
  const runtime = new WorkflowRuntime(options());
  for (const [name, workflow] of Object.entries(workflows)) {
    runtime.registerWorkflowWithName(name, workflow);
  }
  for (const [name, activity] of Object.entries(activities)) {
    runtime.registerActivityWithName(name, activity);
  }
  await runtime.start();
  print({ ready: true });
}

main();
