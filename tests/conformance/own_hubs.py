"""Hubs for one test or module alone: without a worker, with one played by hand, and made to fail."""

from __future__ import annotations

import socket
import sys
import threading
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, ExitStack, contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import anyio
import pytest
from typing_extensions import Self

from dapr_workflow_sdk import EmbeddedEngine, WorkflowClient, WorkflowRuntime
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.replay.parked import ParkedInstances
from dapr_workflow_sdk.replay.turn import run_turn
from dapr_workflow_sdk.taskhub.port import ActivityItem, TaskHub, TurnItem, WorkerOffer, WorkItem
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from dapr_workflow_sdk.taskhub.wire.values import text_of
from tests.conformance.hubs import Hub
from tests.sidecar.cluster import DaprCluster, DaprSidecar, free_port
from tests.sidecar.processes import ServerProcess
