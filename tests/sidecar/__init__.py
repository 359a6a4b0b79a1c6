"""A real Dapr sidecar for tests: builds the binaries once and runs them on loopback."""
