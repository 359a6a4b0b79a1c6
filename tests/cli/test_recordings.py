"""Exported histories."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from google.protobuf.json_format import ParseDict

from dapr_workflow_sdk.client.recording import file_name, recording_of
from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.cli.places import Place, quick, real

RECORDED = sorted((Path(__file__).parents[1] / "histories").glob("*/*.history.json"))


def test_each_instance_gets_a_file_that_holds_its_events(place: Place, tmp_path: Path) -> None:
    place.finish("chain", 2, instance_id="c")
    place.finish("failing", "tea", instance_id="f: 1")
    answer = place.run("export", "--out", str(tmp_path / "out"))
    assert (answer.code, answer.err) == (0, "")
    assert answer.out == f"Exported 2 histories to {tmp_path / 'out'}/\n"
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"c.history.json", "f%3A%201.history.json"}
    document = json.loads((tmp_path / "out" / "c.history.json").read_text())
    assert {key: value for key, value in document.items() if key != "events"} == {
        "format": "dapr-workflow-history",
        "version": 1,
        "instance_id": "c",
        "name": "chain",
        "status": "COMPLETED",
        "input": "2",
        "output": "2",
    }
    assert place.engine is not None
    events = PORTAL.call(place.engine.hub.history, "c")
    assert [ParseDict(event, pb.HistoryEvent()) for event in document["events"]] == events


def test_to_standard_output_each_is_one_line(place: Place) -> None:
    place.finish("chain", 1, instance_id="a")
    place.finish("chain", 1, instance_id="b")
    answer = real("export", "b", "a", "--out", "-", *place.options)
    assert answer.code == 0
    assert [line["instance_id"] for line in answer.lines] == ["b", "a"]
    assert [line["instance_id"] for line in place.run("export", "--out", "-", "--prefix", "a").lines] == ["a"]


def test_programs_are_told_the_files(place: Place, tmp_path: Path) -> None:
    place.finish("chain", 1, instance_id="a")
    (line,) = place.run("export", "a", "--out", str(tmp_path), "--json").lines
    assert line["id"] == "a"
    assert len(json.loads(Path(line["file"]).read_text())["events"]) == line["events"]


def test_what_cannot_be_exported(place: Place, tmp_path: Path) -> None:
    assert place.run("export", "nobody", "--out", str(tmp_path)).code == 3
    assert place.run("export", "a", "--prefix", "b", "--out", str(tmp_path)).code == 2
    (tmp_path / "plain").write_text("")
    place.finish("chain", 1)
    answer = place.run("export", "--out", str(tmp_path / "plain"))
    assert answer.code == 2
    assert "plain" in answer.err


def test_file_names_are_safe_and_differ() -> None:
    ids = ["a", "A b", "a/b", "..", "a:b", "a%3Ab", "x" * 200, "ü" * 200, "ü" * 199 + "u"]
    names = [file_name(one) for one in ids]
    assert len(set(names)) == len(ids)
    for name in names:
        assert "/" not in name
        assert len(name.encode()) <= 255
        assert name.endswith(".history.json")


@pytest.mark.parametrize("path", RECORDED, ids=lambda path: path.stem)
def test_recordings_of_a_real_sidecar_survive_an_export(path: Path) -> None:
    content = json.loads(path.read_text())
    events = [pb.HistoryEvent.FromString(base64.b64decode(event)) for event in content["events_wire"]]
    document = recording_of(pb.WorkflowState(instanceId=content["instance_id"]), events)
    assert document["name"] == content["workflow"]
    again = json.loads(json.dumps(document))
    assert [ParseDict(event, pb.HistoryEvent()) for event in again["events"]] == events


def test_an_export_of_a_file_is_the_same_as_that_of_its_engine(file: Path, tmp_path: Path) -> None:
    quick("export", "chain-1", "--out", str(tmp_path), "--db", str(file))
    (line,) = quick("export", "chain-1", "--out", "-", "--db", str(file)).lines
    assert json.loads((tmp_path / "chain-1.history.json").read_text()) == line
