"""Commands that look."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.cli.places import Answer, Place, quick, real

EVERYONE = {"chain-1", "failing-1", "parent-1", "parent-1-child", "approval-1", "approval-2", "approval-3"}


def look(file: Path, *arguments: str) -> Answer:
    return quick(*arguments, "--db", str(file))


def ids(answer: Answer) -> set[str]:
    return {state["id"] for state in answer.json["instances"]}


# ---- list ------------------------------------------------------------------------------------------------------


def test_a_list_names_every_instance_whole_and_the_newest_first(file: Path) -> None:
    answer = real("list", "--db", str(file))
    assert (answer.code, answer.err) == (0, "")
    head, *rows = answer.out.splitlines()
    assert head.split() == ["ID", "WORKFLOW", "STATUS", "CREATED", "TOOK", "DETAIL"]
    assert [row.split()[0] for row in rows][-1] == "chain-1"
    assert {row.split()[0] for row in rows} == EVERYONE
    row = next(row for row in rows if row.startswith("failing-1 "))
    assert "FAILED" in row
    assert "no tea" in row
    assert next(row for row in rows if row.startswith("approval-1 ")).endswith("awaiting approval")


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (["--status", "failed"], {"failing-1"}),
        (["--status", "FAILED", "--status", "suspended"], {"failing-1", "approval-2"}),
        (["--name", "approval"], {"approval-1", "approval-2", "approval-3"}),
        (["--prefix", "parent-"], {"parent-1", "parent-1-child"}),
        (["--prefix", "parent-", "--name", "chain"], {"parent-1-child"}),
        (["--younger-than", "1h"], EVERYONE),
        (["--older-than", "1h"], set()),
        (["--older-than", "0s"], EVERYONE),
        (["--younger-than", "0s"], set()),
        (["--status", "running"], {"approval-1"}),
    ],
)
def test_filters(file: Path, filters: list[str], expected: set[str]) -> None:
    assert ids(look(file, "list", "--json", *filters)) == expected


def test_pages_follow_one_another(file: Path) -> None:
    seen: list[str] = []
    token: list[str] = []
    for expected in (3, 3, 1):
        answer = look(file, "list", "--json", "--limit", "3", *token)
        page = answer.json
        assert len(page["instances"]) == expected
        seen += [state["id"] for state in page["instances"]]
        token = ["--page-token", page["next_page_token"]]
    assert page["next_page_token"] is None
    assert len(seen) == len(EVERYONE)
    assert set(seen) == EVERYONE
    assert ids(look(file, "list", "--json", "--all")) == EVERYONE
    assert "--page-token" in look(file, "list", "--limit", "3").err


def test_documents_of_instances_have_the_promised_keys(file: Path) -> None:
    plain = look(file, "list", "--json", "--name", "failing").json["instances"][0]
    assert set(plain) == {
        *("id", "name", "status", "created_at", "started_at", "updated_at", "completed_at", "scheduled_at"),
        *("execution_id", "parent_id", "tags"),
    }
    whole = look(file, "list", "--json", "--payloads", "--name", "failing").json["instances"][0]
    assert set(whole) - set(plain) == {"input", "output", "custom_status", "failure"}
    assert whole["input"] == "tea"
    assert whole["failure"]["cause"]["message"] == "no tea"
    assert whole["created_at"].endswith("Z")


def test_an_empty_list_says_so_apart_from_the_results(place: Place) -> None:
    answer = place.run("list")
    assert (answer.code, answer.out, answer.err) == (0, "", "No instances.\n")
    assert place.run("list", "--name", "x").err == "No such instances.\n"
    assert place.run("list", "--all", "--json").json == {"instances": [], "next_page_token": None}


def test_a_limit_that_is_none_is_refused(place: Place) -> None:
    assert place.run("list", "--limit", "0").code == 2
    assert place.run("list", "--older-than", "soon").code == 2
    assert "90s, 15m" in place.run("list", "--older-than", "soon").err


# ---- show ------------------------------------------------------------------------------------------------------


def test_show_tells_what_an_instance_waits_for_and_its_children(place: Place) -> None:
    place.start("waiting_parent", instance_id="p")
    place.client.wait_for_workflow_start("p-child", timeout_in_seconds=10)
    answer = place.run("show", "p")
    assert answer.code == 0
    rows = dict(line.split(None, 1) for line in answer.out.splitlines() if line)
    assert rows["Status"] == "RUNNING"
    assert rows["Children"].split() == ["p-child", "approval", "RUNNING"]
    assert "child p-child (approval) #1" in answer.out
    document = place.run("show", "p", "--json").json
    assert document["children"] == [{"id": "p-child", "name": "approval", "call": 1, "status": "RUNNING"}]
    assert [(w["kind"], w["instance_id"]) for w in document["waiting_for"]] == [("child", "p-child")]
    child = place.run("show", "p-child", "--json").json
    assert child["parent_id"] == "p"
    assert [(w["kind"], w["name"], w["due_at"]) for w in child["waiting_for"]] == [("event", "approval", None)]
    assert child["custom_status"] == "awaiting approval"


def test_show_tells_of_activities_and_timers_that_run(place: Place) -> None:
    place.start("busy", "x", instance_id="b")
    (wait,) = place.run("show", "b", "--json").json["waiting_for"]
    assert (wait["kind"], wait["name"], wait["call"]) == ("activity", "held", 1)
    place.start("approval", 3600, instance_id="a")
    (wait,) = place.run("show", "a", "--json").json["waiting_for"]
    assert (wait["kind"], wait["name"]) == ("event", "approval")
    assert wait["due_at"] is not None
    assert re.search(r"event approval #1, for \d+ ms; gives up in \d+ min", place.run("show", "a").out)


def test_show_has_the_failure_with_its_cause(file: Path) -> None:
    answer = look(file, "show", "failing-1")
    assert answer.code == 0
    assert "Caused by ValueError: no tea" in answer.out
    document = look(file, "show", "failing-1", "--json").json
    assert document["failure"]["type"] == "TaskFailedError"
    assert document["failure"]["cause"]["type"] == "ValueError"
    assert document["waiting_for"] == []


def test_show_prints_payloads_for_reading(file: Path) -> None:
    out = look(file, "show", "approval-3").out
    assert 'Output\n"enough"\n' in out
    assert "TERMINATED" in out


def test_an_unknown_instance_is_a_code_of_its_own(place: Place) -> None:
    for command in ("show", "history"):
        answer = place.run(command, "nobody")
        assert (answer.code, answer.out) == (3, "")
        assert answer.err.startswith("dapr-workflow: There is no instance nobody at ")


def test_what_a_terminal_would_obey_is_shown_and_not_obeyed(place: Place) -> None:
    place.finish("failing", "\x1b[31mred\x07", instance_id="evil")
    for command in ("show", "history", "list"):
        answer = place.run(command, *([] if command == "list" else ["evil"]))
        assert "\x1b" not in answer.out
        assert "\x07" not in answer.out
        assert "\\x1b[31mred\\x07" in answer.out


# ---- history ---------------------------------------------------------------------------------------------------


def kinds(document: dict[str, Any]) -> list[str]:
    return [entry["kind"] for entry in document["entries"]]


def test_the_history_of_a_chain(file: Path) -> None:
    document = look(file, "history", "chain-1", "--json").json
    assert kinds(document) == [
        "started",
        *("activity_called", "activity_completed"),
        *("activity_called", "activity_completed"),
        "completed",
    ]
    assert [entry["turn"] for entry in document["entries"]] == [1, 1, 2, 2, 3, 3]
    called, done = document["entries"][1:3]
    assert (called["name"], called["call"], called["payload"]) == ("add", 1, 0)
    assert (done["name"], done["call"], done["payload"]) == ("add", 1, 1)
    assert done["took_ms"] >= 0
    lines = look(file, "history", "chain-1").out.splitlines()
    assert lines[0].startswith("chain  chain-1  COMPLETED  ")
    assert lines[1] == "3 turns, 2 activities"
    assert lines[3].split() == ["TURN", "AFTER", "WHAT", "TOOK", "WITH"]
    assert [line.split("ms ")[1].split() for line in lines[4:6]] == [
        ["started", "chain", "2"],
        ["calls", "add", "#1", "0"],
    ]


def test_the_history_of_retries_timers_and_failures(place: Place) -> None:
    place.finish("stubborn", "tea", instance_id="s")
    document = place.run("history", "s", "--json").json
    assert kinds(document) == [
        "started",
        *("activity_called", "activity_failed", "retry_set", "retry_due"),
        *("activity_called", "activity_failed", "failed"),
    ]
    retry = document["entries"][3]
    assert retry["name"] == "boom"
    assert document["entries"][2]["failure"]["message"] == "no tea"
    out = place.run("history", "s").out
    assert re.search(r"will try again boom #2, in \d+ ms", out)
    assert "ValueError: no tea" in out


def test_the_history_of_waits_children_and_pauses(place: Place) -> None:
    place.start("waiting_parent", instance_id="p")
    place.client.pause_workflow("p")
    place.client.resume_workflow("p")
    place.client.raise_workflow_event("p-child", "APPROVAL", data="yes")
    place.client.wait_for_workflow_completion("p", timeout_in_seconds=10)
    assert kinds(place.run("history", "p", "--json").json) == [
        *("started", "child_called", "suspended", "resumed", "child_completed", "completed"),
    ]
    child = place.run("history", "p-child", "--json").json
    assert kinds(child) == ["started", "event_awaited", "event_received", "completed"]
    assert child["entries"][2]["call"] == child["entries"][1]["call"]
    assert child["entries"][2]["payload"] == "yes"
    assert child["waiting_for"] == []
    assert re.search(r"started approval, a child of p\b", place.run("history", "p-child").out)


def test_the_history_of_a_wait_that_timed_out(place: Place) -> None:
    place.finish("approval", 0.05, instance_id="late")
    document = place.run("history", "late", "--json").json
    assert kinds(document) == ["started", "event_awaited", "event_timed_out", "failed"]
    assert "no event came: approval" in place.run("history", "late").out


# ---- workers ---------------------------------------------------------------------------------------------------


def test_workers_are_listed_with_what_they_do(place: Place) -> None:
    place.start("busy", instance_id="b")
    (worker,) = place.run("workers", "--json").json["workers"]
    assert worker["app_id"] == "app"
    assert worker["activities"] == 1
    answer = place.run("workers")
    head, row = answer.out.splitlines()
    assert head.split() == ["WORKER", "APP", "CONNECTED", "TURNS", "ACTIVITIES"]
    assert row.split()[1:2] == ["app"] or "app" in row.split()


def test_no_workers(tmp_path: Path) -> None:
    from dapr_workflow_sdk import EmbeddedEngine

    with EmbeddedEngine() as engine, engine.serve() as served:
        answer = quick("workers", "--grpc-port", str(served.grpc_port))
        assert (answer.code, answer.out, answer.err) == (0, "", "No worker is connected.\n")
        assert json.loads(quick("workers", "--json", "--grpc-port", str(served.grpc_port)).out) == {"workers": []}
