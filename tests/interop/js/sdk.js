"use strict";
// The SDK that INTEROP_SDK names: "@dapr/dapr", or "dapr-3-6" for the older one.

// Both write their log to standard output, which here is for results.
for (const level of ["debug", "log", "info", "warn"]) {
  console[level] = console.error;
}

const sdk = require(process.env.INTEROP_SDK ?? "@dapr/dapr");
const { InterceptingCall } = require("@grpc/grpc-js");

/** Options of runtimes and clients: with INTEROP_APP, every call says which app this is. */
function options() {
  const app = process.env.INTEROP_APP;
  if (app === undefined) {
    return {};
  }
  const forApp = (call, next) =>
    new InterceptingCall(next(call), {
      start: (metadata, listener, proceed) => {
        metadata.set("dapr-app-id", app);
        proceed(metadata, listener);
      },
    });
  return { grpcOptions: { interceptors: [forApp] } };
}

function print(line) {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

module.exports = { ...sdk, options, print };
