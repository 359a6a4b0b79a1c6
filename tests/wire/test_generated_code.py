"""The generated code is what the generator makes of the .proto file, and it stays out of other SDKs' way."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dapr_workflow_sdk.taskhub.wire import methods
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

ROOT = Path(__file__).parents[2]
WIRE = Path("dapr_workflow_sdk/taskhub/wire")


def test_regenerating_gives_the_checked_in_code(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHON": sys.executable}
    subprocess.run([str(ROOT / WIRE / "generate.sh"), str(tmp_path)], check=True, env=environment)
    for name in ("workflow_taskhub_pb2.py", "workflow_taskhub_pb2.pyi"):
        assert (tmp_path / WIRE / name).read_text() == (ROOT / WIRE / name).read_text(), f"{name}: run generate.sh"


@pytest.mark.parametrize("other", ["dapr.ext.workflow", "durabletask.worker"])
@pytest.mark.parametrize("first", ["ours", "theirs"])
def test_it_imports_together_with_other_sdks_in_either_order(other: str, first: str) -> None:
    ours = "import dapr_workflow_sdk.taskhub.channel, dapr_workflow_sdk.engine.embedded\n"
    theirs = f"import {other}\n"
    program = ours + theirs if first == "ours" else theirs + ours
    program += "from dapr_workflow_sdk import WorkflowRuntime, WorkflowClient, EmbeddedEngine\n"
    subprocess.run([sys.executable, "-W", "ignore", "-c", program], check=True)


def test_the_two_other_sdks_really_clash_so_the_test_above_means_something() -> None:
    program = "import dapr.ext.workflow\nimport durabletask.worker\n"
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert "duplicate symbol" in run.stderr


def test_messages_have_a_package_of_their_own_and_no_service_is_registered() -> None:
    assert pb.DESCRIPTOR.package == "dapr_workflow_sdk.wire.v1"
    assert not pb.DESCRIPTOR.services_by_name
    # In a process of its own: in this one another test may have loaded an SDK that does register it.
    program = (
        "import dapr_workflow_sdk.engine.server, dapr_workflow_sdk.taskhub.channel\n"
        "from google.protobuf import descriptor_pool\n"
        "try: descriptor_pool.Default().FindServiceByName('TaskHubSidecarService')\n"
        "except KeyError: raise SystemExit(7)\n"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 7


def test_methods_are_called_by_the_path_that_sidecars_know() -> None:
    assert methods.START.path == "/TaskHubSidecarService/StartInstance"
    assert methods.COMPLETE_TURN.path == "/TaskHubSidecarService/CompleteOrchestratorTask"
    assert methods.COMPLETE_TURN_NEW.path == "/TaskHubSidecarService/CompleteWorkflowTask"


def test_unknown_fields_and_events_survive_a_round_trip() -> None:
    # Field 999 of a history event, which no version knows: kept, and the event has no kind.
    event = pb.HistoryEvent.FromString(b"\x08\x07" + b"\xba\x3e\x02hi")
    assert event.eventId == 7
    assert event.WhichOneof("eventType") is None
    assert event.SerializeToString() == b"\x08\x07" + b"\xba\x3e\x02hi"
