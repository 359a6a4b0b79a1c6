"use strict";
// A client: runs scenarios side by side, and prints one JSON line for each: {"scenario": ..., "result": ...}.
// The names of scenarios may follow; all are run if none is named.

const { DaprWorkflowClient, options, print } = require("./sdk.js");
const scenarios = require("./scenarios.js");

async function run(name, client) {
  try {
    print({ scenario: name, result: (await scenarios[name](client)) ?? null });
  } catch (error) {
    print({ scenario: name, result: { broken: String(error.stack) } });
  }
}

async function main() {
  const client = new DaprWorkflowClient(options());
  const names = process.argv.length > 2 ? process.argv.slice(2) : Object.keys(scenarios);
  await Promise.all(names.map((name) => run(name, client)));
  // Stopping the client takes a second, and nothing is left to be done.
  process.exit(0);
}

main();
