"""The task hub port: what serves work items and instance operations, whoever implements it."""
