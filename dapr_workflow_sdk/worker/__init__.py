"""The worker: takes work items from a task hub and runs workflows and activities."""
