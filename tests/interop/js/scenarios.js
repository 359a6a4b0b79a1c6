"use strict";
// What the client program does. Each scenario uses instances named after it, and returns what was seen as JSON.

const { WorkflowRuntimeStatus } = require("./sdk.js");
const { status: Code } = require("@grpc/grpc-js");

const PATIENCE = 20;
const moment = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** Status and output of an instance, or null if it is gone. */
function seen(state) {
  if (state === undefined) {
    return null;
  }
  const output = state.serializedOutput;
  return [WorkflowRuntimeStatus[state.runtimeStatus], output ? JSON.parse(output) : null];
}

const look = async (client, id) => seen(await client.getWorkflowState(id, true));
const end = async (client, id) => seen(await client.waitForWorkflowCompletion(id, true, PATIENCE));

async function run(client, workflow, id, input) {
  await client.scheduleNewWorkflow(workflow, input, id);
  return await end(client, id);
}

/** Returns the state once the workflow has said that it waits, which no call of the client can wait for. */
async function untilWaiting(client, id) {
  for (const deadline = Date.now() + PATIENCE * 1000; Date.now() < deadline; await moment(20)) {
    const state = await client.getWorkflowState(id, true);
    if (state?.customStatus === "waiting") {
      return state;
    }
  }
  throw new Error(`${id} never waited`);
}

/** The status code of a call that is refused. */
async function refusal(call) {
  try {
    await call;
  } catch (error) {
    return Code[error.code];
  }
  return "OK";
}

module.exports = {
  async chain(client) {
    const result = await run(client, "chain", "chain", 1);
    const state = await client.getWorkflowState("chain", true);
    return [result, state.name, state.serializedInput, state.createdAt <= state.lastUpdatedAt];
  },

  async fan_out(client) {
    return await run(client, "fan_out", "fan_out", 20);
  },

  async children(client) {
    return [await run(client, "family", "children"), await look(client, "children-named")];
  },

  async failures(client) {
    return await run(client, "careful", "failures");
  },

  async uncaught(client) {
    const result = await run(client, "unlucky", "uncaught");
    const details = (await client.getWorkflowState("uncaught", true)).workflowFailureDetails;
    return [result, details.getErrorType(), details.getErrorMessage()];
  },

  async unknown_workflow(client) {
    const result = await run(client, "nobody has this workflow", "unknown_workflow");
    const details = (await client.getWorkflowState("unknown_workflow", true)).workflowFailureDetails;
    return [result, details.getErrorType()];
  },

  async events(client) {
    await client.scheduleNewWorkflow("events", undefined, "events");
    for (const [name, data] of [["item", "a"], ["ITEM", { b: [1, null] }], ["Start", "go"]]) {
      await client.raiseEvent("events", name, data);
    }
    return await end(client, "events");
  },

  async event_or_timer(client) {
    await client.scheduleNewWorkflow("approval", 60, "approved");
    await client.raiseEvent("approved", "approval", "yes");
    return [await end(client, "approved"), await run(client, "approval", "not approved", 0.3)];
  },

  async timers(client) {
    const before = Date.now();
    return [await run(client, "sleeper", "timers", 500), Date.now() - before >= 500];
  },

  async continue_as_new(client) {
    return await run(client, "counter", "continue_as_new", 1);
  },

  async carry_over(client) {
    await client.scheduleNewWorkflow("collector", [], "carry_over");
    for (const item of "abc") {
      await client.raiseEvent("carry_over", "item", item);
    }
    return await end(client, "carry_over");
  },

  async suspend(client) {
    await client.scheduleNewWorkflow("waiting", undefined, "suspend");
    await untilWaiting(client, "suspend");
    await client.suspendWorkflow("suspend");
    const suspended = await look(client, "suspend");
    await client.raiseEvent("suspend", "go", 7);
    const still = await look(client, "suspend");
    await client.resumeWorkflow("suspend");
    return [suspended, still, await end(client, "suspend")];
  },

  // This client terminates and purges one instance; it has no way to ask for its children too.
  async terminate_alone(client) {
    await client.scheduleNewWorkflow("parent", undefined, "terminate_alone");
    await untilWaiting(client, "terminate_alone-child");
    await client.terminateWorkflow("terminate_alone", "stopped");
    const result = await end(client, "terminate_alone");
    await client.raiseEvent("terminate_alone-child", "go", "on");
    return [result, await end(client, "terminate_alone-child")];
  },

  async purge_alone(client) {
    await run(client, "family", "purge_alone");
    const purged = await client.purgeWorkflow("purge_alone");
    return [purged, await look(client, "purge_alone"), (await look(client, "purge_alone-named"))[0]];
  },

  async purge_refused(client) {
    await client.scheduleNewWorkflow("waiting", undefined, "purge_refused");
    await untilWaiting(client, "purge_refused");
    const running = await refusal(client.purgeWorkflow("purge_refused"));
    return [running !== "OK", await look(client, "purge_refused")];
  },

  async custom_status(client) {
    await client.scheduleNewWorkflow("waiting", undefined, "custom_status");
    const state = await untilWaiting(client, "custom_status");
    await client.raiseEvent("custom_status", "go", "now");
    const result = await end(client, "custom_status");
    const after = await client.getWorkflowState("custom_status", true);
    return [WorkflowRuntimeStatus[state.runtimeStatus], result, after.customStatus];
  },

  async retries(client) {
    return [await run(client, "retrying", "retries", 3), await run(client, "retrying", "too few retries", 4)];
  },

  async large(client) {
    const text = "zażółć 🐢 ".repeat(30_000);
    const [status, output] = await run(client, "mirror", "large", text);
    return status === "COMPLETED" && output === text;
  },

  async payloads(client) {
    const values = [true, 1.5, [], { a: { b: [1, "c", null] } }, 'quote " and \\'];
    const results = await Promise.all(values.map((value, index) => run(client, "mirror", `payloads-${index}`, value)));
    const wanted = values.map((value) => ["COMPLETED", value]);
    return JSON.stringify(results) === JSON.stringify(wanted) || results;
  },

  async id_in_use(client) {
    await client.scheduleNewWorkflow("waiting", undefined, "id_in_use");
    await untilWaiting(client, "id_in_use");
    const taken = await refusal(client.scheduleNewWorkflow("waiting", undefined, "id_in_use"));
    await client.raiseEvent("id_in_use", "go", 1);
    return [taken !== "OK", await end(client, "id_in_use"), await run(client, "chain", "id_in_use", 1)];
  },

  async missing(client) {
    const refusals = [
      await refusal(client.terminateWorkflow("missing")),
      await refusal(client.suspendWorkflow("missing")),
      await refusal(client.purgeWorkflow("missing")),
    ];
    return [await look(client, "missing"), refusals.includes("OK")];
  },

  async missing_event(client) {
    return (await refusal(client.raiseEvent("missing", "go"))) !== "OK";
  },

  async impatient(client) {
    await client.scheduleNewWorkflow("waiting", undefined, "impatient_wait");
    try {
      await client.waitForWorkflowCompletion("impatient_wait", true, 0.3);
    } catch (error) {
      return error.constructor.name === "TimeoutError" ? "timed out" : String(error);
    }
    return "completed";
  },

  async scheduled_start(client) {
    const due = new Date(Date.now() + 2000);
    await client.scheduleNewWorkflow("chain", 1, "scheduled_start", due);
    const [atFirst] = await look(client, "scheduled_start");
    const started = await client.waitForWorkflowStart("scheduled_start", true, PATIENCE);
    const onTime = Date.now() >= due.getTime();
    return [atFirst, started !== undefined && onTime, await end(client, "scheduled_start")];
  },
};
