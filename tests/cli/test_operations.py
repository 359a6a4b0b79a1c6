"""Commands that act on instances."""

from __future__ import annotations

import json
import os
import signal
from datetime import datetime, timezone
from pathlib import Path

import pytest

from dapr_workflow_sdk.portal import PORTAL
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb
from tests.cli.places import COMMAND, Place, quick, real
from tests.engine.support import start
from tests.worker.support import child, eventually


def status(place: Place, instance_id: str) -> str:
    state = place.client.get_workflow_state(instance_id)
    assert state is not None
    return state.runtime_status.name


# ---- start -----------------------------------------------------------------------------------------------------


def test_start_prints_the_id_and_nothing_else(place: Place) -> None:
    answer = real("start", "chain", "--input", "2", *place.options)
    assert (answer.code, answer.err) == (0, "")
    state = place.client.wait_for_workflow_completion(answer.out.strip(), timeout_in_seconds=10)
    assert state is not None
    assert state.serialized_output == "2"
    assert place.run("start", "chain", "--input", "1", "--id", "mine", "--json").json == {"id": "mine"}


@pytest.mark.parametrize("source", ["option", "file", "stdin"])
def test_inputs_come_from_the_option_a_file_or_standard_input(place: Place, tmp_path: Path, source: str) -> None:
    text = '{"a": [1, 2.50, "ü"]}'
    (tmp_path / "input.json").write_text(f"  {text}\n", encoding="utf-8")
    option = {"option": text, "file": f"@{tmp_path / 'input.json'}", "stdin": "-"}[source]
    place.run(
        "start", "approval", "--id", "i", "--input", option, "--at", "+1h", input=text if source == "stdin" else None
    )
    state = place.client.get_workflow_state("i")
    assert state is not None
    # The very text, so that no number loses its digits on the way.
    assert state.serialized_input == text


@pytest.mark.parametrize("text", ["tea", "{", "NaN", "@/nowhere/at/all.json", ""])
def test_what_is_no_json_is_refused_before_anything_happens(place: Place, text: str) -> None:
    answer = place.run("start", "chain", "--id", "i", "--input", text)
    assert (answer.code, answer.out) == (2, "")
    assert answer.err.startswith("dapr-workflow: ")
    assert place.client.get_workflow_state("i") is None


def test_a_text_without_quotes_gets_advice(place: Place) -> None:
    answer = place.run("start", "chain", "--input", "tea")
    assert "--input '\"tea\"'" in answer.err


def test_start_later(place: Place) -> None:
    place.run("start", "chain", "--id", "i", "--input", "0", "--at", "+2h")
    document = place.run("show", "i", "--json").json
    assert document["status"] == "PENDING"
    due = datetime.fromisoformat(document["scheduled_at"].replace("Z", "+00:00"))
    assert 7100 < (due - datetime.now(timezone.utc)).total_seconds() < 7300
    assert "in 2 h" in place.run("show", "i").out or "in 119 min" in place.run("show", "i").out
    assert place.run("start", "chain", "--at", "soon").code == 2


def test_start_and_wait(place: Place) -> None:
    answer = place.run("start", "chain", "--input", "3", "--id", "good", "--wait")
    assert answer.code == 0
    assert answer.out.split()[:2] == ["good", "COMPLETED"]
    assert answer.out.split()[-1] == "3"
    answer = place.run("start", "failing", "--input", '"tea"', "--id", "bad", "--wait", "--json")
    assert answer.code == 1
    assert answer.json["failure"]["cause"]["message"] == "no tea"
    answer = place.run("start", "approval", "--id", "slow", "--wait", "--timeout", "100ms")
    assert (answer.code, answer.out) == (4, "")
    assert "slow has not ended within 100 ms" in answer.err


def test_an_id_that_is_taken_or_none_is_refused(place: Place) -> None:
    place.start("approval", instance_id="taken")
    answer = place.run("start", "approval", "--id", "taken")
    assert answer.code == 2
    assert "already exists" in answer.err
    assert place.run("start", "approval", "--id", "a::b").code == 2


def test_starting_where_nobody_works_says_so() -> None:
    from dapr_workflow_sdk import EmbeddedEngine

    with EmbeddedEngine() as engine, engine.serve() as served:
        answer = quick("start", "chain", "--id", "i", "--grpc-port", str(served.grpc_port))
    assert (answer.code, answer.out) == (0, "i\n")
    assert "No worker is connected" in answer.err


# ---- raise, pause, resume, terminate ---------------------------------------------------------------------------


def test_raise(place: Place) -> None:
    place.start("approval", instance_id="a")
    answer = place.run("raise", "a", "approval", "--data", '"yes"')
    assert (answer.code, answer.out) == (0, "a: approval raised\n")
    state = place.client.wait_for_workflow_completion("a", timeout_in_seconds=10)
    assert state is not None
    assert json.loads(state.serialized_output or "") == {"answer": "yes"}
    late = place.run("raise", "a", "approval")
    assert late.code == 2
    assert "has ended (COMPLETED)" in late.err
    assert place.run("raise", "nobody", "approval").code == 3


def test_pause_and_resume(place: Place) -> None:
    place.start("approval", instance_id="a")
    place.start("approval", instance_id="b")
    answer = place.run("pause", "a", "b")
    assert (answer.code, answer.out) == (0, "a: paused\nb: paused\n")
    assert status(place, "a") == status(place, "b") == "SUSPENDED"
    assert place.run("resume", "a").out == "a: resumed\n"
    assert status(place, "a") == "RUNNING"
    assert place.run("resume", "a").out == "a: was not paused (RUNNING)\n"
    place.finish("chain", 0, instance_id="c")
    assert place.run("pause", "c").out == "c: has ended already (COMPLETED)\n"


def test_resume_takes_up_what_workers_were_lost_with(place: Place) -> None:
    assert place.engine is not None
    hub = place.engine.app("other").hub

    async def stall(instance_id: str, reason: pb.StalledReason) -> None:
        await start(hub, instance_id)
        live = hub._runner.find(("other", instance_id))
        assert live is not None
        await hub._runner.stall(live, reason, "for a test")

    PORTAL.call(stall, "lost", pb.STALLED_REASON_WORKER_LOST)
    PORTAL.call(stall, "old", pb.STALLED_REASON_VERSION_NOT_AVAILABLE)
    other = ["--app-id", "other"]
    assert place.run("show", "lost", "--json", *other).json["status"] == "STALLED"
    answer = place.run("resume", "lost", "old", *other)
    assert (answer.code, answer.out) == (2, "lost: taken up again\n")
    assert "old" in answer.err
    assert place.run("show", "lost", "--json", *other).json["status"] == "RUNNING"
    assert place.run("resume", "lost", *other).out == "lost: was not paused (RUNNING)\n"


def test_the_help_of_resume_names_those_that_have_stalled() -> None:
    assert "stalled because workers were lost with them" in " ".join(quick("resume", "--help").out.split())


def test_one_that_is_missing_does_not_keep_the_others(place: Place) -> None:
    place.start("approval", instance_id="a")
    answer = place.run("pause", "nobody", "a")
    assert (answer.code, answer.out) == (3, "a: paused\n")
    assert "nobody" in answer.err
    answer = place.run("resume", "a", "nobody", "--json")
    assert answer.code == 3
    assert [(line["id"], line["result"]) for line in answer.lines] == [("a", "resumed"), ("nobody", "not_found")]


@pytest.mark.parametrize("recursive", [True, False])
def test_terminate(place: Place, recursive: bool) -> None:
    place.start("waiting_parent", instance_id="p")
    place.client.wait_for_workflow_start("p-child", timeout_in_seconds=10)
    answer = place.run("terminate", "p", "--output", '{"by": "me"}', *([] if recursive else ["--no-recursive"]))
    assert (answer.code, answer.out) == (0, "p: terminated\n")
    state = place.client.get_workflow_state("p")
    assert state is not None
    assert state.serialized_output == '{"by": "me"}'
    if recursive:
        eventually(lambda: status(place, "p-child") == "TERMINATED", "the end of the child")
    else:
        assert status(place, "p-child") == "RUNNING"
    assert place.run("terminate", "p").out == "p: has ended already (TERMINATED)\n"


# ---- rerun -----------------------------------------------------------------------------------------------------


def test_rerun_by_number_and_by_name(place: Place) -> None:
    place.finish("chain", 3, instance_id="c")
    answer = place.run("rerun", "c", "--from", "2", "--id", "again")
    assert (answer.code, answer.out) == (0, "again\n")
    done = place.client.wait_for_workflow_completion("again", timeout_in_seconds=10)
    assert done is not None
    assert done.serialized_output == "3"
    answer = place.run("rerun", "c", "--from", "add", "--input", "40", "--json")
    document = answer.json
    assert (document["source_id"], document["from"]) == ("c", 3)
    done = place.client.wait_for_workflow_completion(document["id"], timeout_in_seconds=10)
    assert done is not None
    assert done.serialized_output == "41"


def test_rerun_from_what_was_never_called(place: Place) -> None:
    place.finish("chain", 1, instance_id="c")
    answer = place.run("rerun", "c", "--from", "boom")
    assert answer.code == 3
    assert "c never called boom" in answer.err
    assert place.run("rerun", "c", "--from", "9").code == 3
    assert place.run("rerun", "c", "--from", "99999999999").code == 3
    assert place.run("rerun", "nobody", "--from", "1").code == 3
    place.start("approval", instance_id="a")
    running = place.run("rerun", "a", "--from", "1")
    assert running.code == 2
    assert "not in a terminal state" in running.err


# ---- wait ------------------------------------------------------------------------------------------------------


def test_wait_tells_how_each_one_ended(place: Place) -> None:
    place.finish("chain", 1, instance_id="good")
    place.finish("failing", "tea", instance_id="bad")
    assert place.run("wait", "good").code == 0
    answer = place.run("wait", "good", "bad", "--json")
    assert answer.code == 1
    assert {line["id"]: line["status"] for line in answer.lines} == {"good": "COMPLETED", "bad": "FAILED"}
    answer = place.run("wait", "good", "nobody", "bad")
    assert answer.code == 3
    assert "There is no instance nobody" in answer.err


def test_wait_waits(place: Place) -> None:
    place.start("approval", instance_id="a")
    with child([*COMMAND, "wait", "a", "--json", *place.options]) as waiting:
        place.client.raise_workflow_event("a", "approval")
        assert waiting.ends(30) == 0
        assert json.loads(waiting.out[0])["status"] == "COMPLETED"


def test_wait_gives_up_in_time(place: Place) -> None:
    place.start("approval", instance_id="a")
    answer = place.run("wait", "a", "--timeout", "0.1")
    assert (answer.code, answer.out) == (4, "")
    assert "a has not ended within 100 ms" in answer.err


def test_control_c_is_quiet(place: Place) -> None:
    place.start("approval", instance_id="a")
    place.finish("chain", 1, instance_id="c")
    with child([*COMMAND, "wait", "c", "a", *place.options]) as waiting:
        waiting.says("c  COMPLETED")
        os.kill(waiting.pid, signal.SIGINT)
        assert waiting.ends(30) == 130
        assert waiting.err == []


def test_waiting_for_what_cannot_go_on_is_refused(file: Path) -> None:
    answer = quick("wait", "chain-1", "approval-1", "--db", str(file))
    assert answer.code == 2
    assert "approval-1 cannot be waited for" in answer.err
    assert quick("wait", "chain-1", "--db", str(file)).code == 0
    answer = quick("start", "chain", "--wait", "--id", "new", "--db", str(file))
    assert answer.code == 2
    assert quick("show", "new", "--db", str(file)).code == 3
