"""What the author of a workflow touches: definitions, contexts, tasks, retry policies."""
