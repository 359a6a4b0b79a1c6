"""Starts an instance and is gone: ``start.py WORKFLOW ID JSON``."""

import json
import sys

from dapr.ext.workflow import DaprWorkflowClient

workflow, instance_id, value = sys.argv[1:]
client = DaprWorkflowClient()
client.schedule_new_workflow(workflow=workflow, input=json.loads(value), instance_id=instance_id)
client.close()
