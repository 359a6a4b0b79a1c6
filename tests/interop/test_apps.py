"""Apps of different SDKs on one engine: each has instances and workers of its own, and can use the others'."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dapr_workflow_sdk import WorkflowStatus
from tests.interop.programs import Sdk, Site, javascript, official, ours, site

_PATIENCE = 30
_OTHER = "javascript"


def _check_across(place: Site) -> None:
    client = place.client()
    client.schedule_new_workflow("across", instance_id="across", input=_OTHER)
    state = client.wait_for_workflow_completion("across", timeout_in_seconds=_PATIENCE)
    assert state is not None
    assert state.runtime_status is WorkflowStatus.COMPLETED, state.failure_details
    assert state.serialized_output is not None
    assert json.loads(state.serialized_output) == ["javascript", 49, {"id": "across:0003", "value": 25}]


@pytest.mark.parametrize("sdk", [ours, official])
def test_activities_and_children_of_another_app(own_site: Site, sdk: Callable[[], Sdk]) -> None:
    own_site.start_worker(sdk())
    own_site.start_worker(javascript(), INTEROP_APP=_OTHER)
    _check_across(own_site)


def test_another_app_has_a_port_of_its_own(tmp_path: Path) -> None:
    with site(tmp_path, _OTHER) as place:
        place.start_worker(ours())
        place.start_worker(javascript(), DAPR_GRPC_PORT=str(place.app_ports[_OTHER]))
        _check_across(place)


def test_a_client_of_another_app(own_site: Site) -> None:
    own_site.start_worker(javascript(), INTEROP_APP=_OTHER)
    told = own_site.run_client(official(), "other_app")
    assert told == {"other_app": [["COMPLETED", "over there"], None]}


def test_each_app_has_instances_of_its_own(own_site: Site) -> None:
    own_site.start_worker(javascript(), INTEROP_APP=_OTHER)
    own_site.start_worker(official())
    client = own_site.client()
    client.schedule_new_workflow("relay", instance_id="chain")
    there = javascript()
    told = own_site.run_client(
        Sdk(there.name, there.worker, there.client, {**there.environment, "INTEROP_APP": _OTHER}), "chain"
    )
    assert told == {"chain": [["COMPLETED", 4], "chain", "1", True]}
    state = client.get_workflow_state("chain")
    assert state is not None
    assert (state.name, state.runtime_status) == ("relay", WorkflowStatus.RUNNING)
