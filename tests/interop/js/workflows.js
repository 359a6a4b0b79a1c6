"use strict";
// The workflows of the tests; python/workflows.py has the same in Python.

const { print } = require("./sdk.js");

const NAME = process.env.INTEROP_WORKER ?? "javascript";
const HOLD = process.env.INTEROP_HOLD !== undefined;
const attempts = new Map();

const activities = {
  plus_one: async (ctx, number) => number + 1,
  square: async (ctx, number) => number * number,
  echo: async (ctx, value) => value,
  who: async () => NAME,
  // Never returns in a worker that is going to be killed.
  hold: async () => {
    if (HOLD) {
      print({ holding: true });
      await new Promise(() => {});
    }
    return NAME;
  },
  flaky: async (ctx, goodAttempt) => {
    const attempt = (attempts.get(ctx.getWorkflowInstanceId()) ?? 0) + 1;
    attempts.set(ctx.getWorkflowInstanceId(), attempt);
    if (attempt < goodAttempt) {
      throw new RangeError(`attempt ${attempt}`);
    }
    return attempt;
  },
};

const workflows = {
  chain: async function* (ctx, number) {
    for (let step = 0; step < 3; step++) {
      number = yield ctx.callActivity("plus_one", number);
    }
    return number;
  },

  fan_out: async function* (ctx, width) {
    const numbers = Array.from({ length: width }, (_, index) => index + 1);
    return yield ctx.whenAll(numbers.map((number) => ctx.callActivity("square", number)));
  },

  child: async function* (ctx, number) {
    const value = yield ctx.callActivity("square", number);
    return { id: ctx.getWorkflowInstanceId(), value };
  },

  unlucky: async function* (ctx) {
    yield ctx.callActivity("flaky", 9);
  },

  family: async function* (ctx) {
    const unnamed = yield ctx.callChildWorkflow("child", 2);
    const named = yield ctx.callChildWorkflow("child", 3, `${ctx.getWorkflowInstanceId()}-named`);
    return [unnamed, named];
  },

  // Survives a child's failure and an activity's.
  careful: async function* (ctx) {
    const caught = [];
    try {
      yield ctx.callChildWorkflow("unlucky", undefined, `${ctx.getWorkflowInstanceId()}-unlucky`);
    } catch (error) {
      caught.push(error.details.errorType);
    }
    try {
      yield ctx.callActivity("nobody has this activity");
    } catch (error) {
      caught.push(error.details.errorType);
    }
    yield ctx.callActivity("plus_one", 1);
    return caught;
  },

  events: async function* (ctx) {
    const started = yield ctx.waitForExternalEvent("start");
    const first = yield ctx.waitForExternalEvent("item");
    const second = yield ctx.waitForExternalEvent("item");
    return [started, first, second];
  },

  approval: async function* (ctx, seconds) {
    const approved = ctx.waitForExternalEvent("approval");
    const timer = ctx.createTimer(seconds);
    const winner = yield ctx.whenAny([approved, timer]);
    return winner === timer ? "timed out" : approved.getResult();
  },

  sleeper: async function* (ctx, milliseconds) {
    const before = ctx.getCurrentUtcDateTime();
    const parts = [milliseconds, 0, milliseconds / 2];
    yield ctx.whenAll(parts.map((part) => ctx.createTimer(part / 1000)));
    return { early: ctx.getCurrentUtcDateTime() - before < milliseconds };
  },

  counter: async function* (ctx, number) {
    const next = yield ctx.callActivity("plus_one", number);
    if (next < 5) {
      ctx.continueAsNew(next, false);
      return;
    }
    return next;
  },

  collector: async function* (ctx, seen) {
    const item = yield ctx.waitForExternalEvent("item");
    if (seen.length < 2) {
      ctx.continueAsNew([...seen, item], true);
      return;
    }
    return [...seen, item];
  },

  waiting: async function* (ctx) {
    ctx.setCustomStatus("waiting");
    const data = yield ctx.waitForExternalEvent("go");
    ctx.setCustomStatus("going");
    return data;
  },

  parent: async function* (ctx) {
    return yield ctx.callChildWorkflow("waiting", undefined, `${ctx.getWorkflowInstanceId()}-child`);
  },

  // The SDK has no retry policies, so the workflow does it.
  retrying: async function* (ctx, goodAttempt) {
    for (let attempt = 1; ; attempt++) {
      try {
        return yield ctx.callActivity("flaky", goodAttempt);
      } catch (error) {
        if (attempt === 3) {
          throw error;
        }
      }
      yield ctx.createTimer(0.02);
    }
  },

  // Is begun by one worker and finished by another. The SDK has no new_guid.
  relay: async function* (ctx) {
    const first = yield ctx.callActivity("who");
    const echoed = yield ctx.callActivity("echo", "no guid");
    const early = yield ctx.waitForExternalEvent("early");
    yield ctx.createTimer(0.01);
    const held = yield ctx.callActivity("hold");
    const mine = yield ctx.callChildWorkflow("child", 4);
    const late = yield ctx.waitForExternalEvent("late");
    const last = yield ctx.callActivity("who");
    return { workers: [first, held, last], child: mine, events: [early, late], echoed };
  },

  mirror: async function* (ctx, value) {
    return yield ctx.callActivity("echo", value);
  },
};

module.exports = { activities, workflows };
