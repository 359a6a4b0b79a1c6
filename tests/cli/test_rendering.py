"""Words for times, payloads and statuses, and tables that fit."""

from __future__ import annotations

import io
import json
from datetime import datetime, timedelta, timezone

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from dapr_workflow_sdk.cli.arguments import Status, parse_age, parse_moment, read_payload, wire_statuses
from dapr_workflow_sdk.cli.files import CommandError
from dapr_workflow_sdk.cli.rendering import brief, clean, distance, plain_table, pretty
from dapr_workflow_sdk.client.wording import iso, span, value_of
from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

MS = 1_000_000
S = 1000 * MS


@pytest.mark.parametrize(
    ("nanos", "text"),
    [
        (0, "0 ms"),
        (499_999, "0 ms"),
        (8 * MS, "8 ms"),
        (999 * MS, "999 ms"),
        (999_600_000, "1.00 s"),
        (1240 * MS, "1.24 s"),
        (9_994 * MS, "9.99 s"),
        (9_996 * MS, "10.0 s"),
        (59_940 * MS, "59.9 s"),
        (60 * S, "1 min"),
        (192 * S, "3 min 12 s"),
        (3600 * S, "1 h"),
        (7500 * S, "2 h 5 min"),
        (187_200 * S, "2 d 4 h"),
        (-2 * S, "-2.00 s"),
    ],
)
def test_lengths_of_time(nanos: int, text: str) -> None:
    assert span(nanos) == text


@given(st.integers(min_value=0, max_value=10**19))
def test_any_length_of_time_has_a_short_name(nanos: int) -> None:
    assert len(span(nanos)) < 20


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "now"),
        (5, "5 s ago"),
        (89, "89 s ago"),
        (119, "2 min ago"),
        (120, "2 min ago"),
        (7300, "2 h ago"),
        (200_000, "2 d ago"),
        (-30, "in 30 s"),
    ],
)
def test_distances(seconds: int, text: str) -> None:
    assert distance(1000 * S, (1000 + seconds) * S) == text


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90", 90),
        ("90s", 90),
        ("1.5m", 90),
        ("15m", 900),
        ("15min", 900),
        ("2h30m", 9000),
        ("2 h 30 m", 9000),
        ("7d", 604800),
        ("1w", 604800),
        ("250ms", 0.25),
        ("0s", 0),
    ],
)
def test_ages(text: str, seconds: float) -> None:
    assert parse_age(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text", ["", "soon", "5x", "5m!", "m", "-5m x", "nan", "inf", "9" * 400 + "d", "99999999999999w"]
)
def test_what_is_no_age(text: str) -> None:
    with pytest.raises(CommandError):
        parse_age(text)


@given(st.text(max_size=12))
def test_ages_are_read_or_refused(text: str) -> None:
    try:
        parse_age(text)
    except CommandError as error:
        assert repr(text) in str(error)


def test_moments() -> None:
    utc = datetime(2026, 11, 21, 18, tzinfo=timezone.utc)
    assert parse_moment("2026-11-21T18:00Z") == utc
    assert parse_moment("2026-11-21T19:00+01:00") == utc
    assert parse_moment("2026-11-21T18:00") == datetime(2026, 11, 21, 18).astimezone()
    assert parse_moment("2026-11-21 18:00:00") == parse_moment("2026-11-21T18:00")
    ahead = parse_moment("+10m") - datetime.now(timezone.utc)
    assert timedelta(minutes=9) < ahead <= timedelta(minutes=10)
    for wrong in ("soon", "+soon", "25:00", ""):
        with pytest.raises(CommandError):
            parse_moment(wrong)


def test_every_status_of_the_wire_is_one_of_ours() -> None:
    every = [wire for status in Status for wire in wire_statuses([status])]
    assert sorted(every) == sorted(pb.WorkflowStatus.values())


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
        max_leaves=8,
    )
)
def test_payloads_come_as_they_were_written(value: object) -> None:
    text = json.dumps(value)
    assert read_payload(text, "--input") == text
    assert value_of(text) == value


def test_text_that_is_no_json_is_its_own_value() -> None:
    assert value_of("tea") == "tea"
    assert value_of(None) is None
    assert value_of("[" * 100_000) == "[" * 100_000
    assert pretty("tea\n<\x1b>") == "tea\n<\\x1b>"


def test_marks_of_objects_are_for_workers() -> None:
    text = '{"a": [{"b": 1, "__durabletask_autoobject__": true}], "__durabletask_autoobject__": true}'
    assert brief(text) == '{"a": [{"b": 1}]}'
    assert json.loads(pretty(text)) == {"a": [{"b": 1}]}
    assert brief("__durabletask_autoobject__") == "__durabletask_autoobject__"


@given(st.text())
def test_nothing_that_a_terminal_obeys_gets_through(text: str) -> None:
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 for c in clean(text).replace("\n", ""))
    assert "\n" not in brief(text)


def test_times_for_programs() -> None:
    assert iso(Timestamp(seconds=0, nanos=5000)) == "1970-01-01T00:00:00.000005Z"
    assert iso(Timestamp(seconds=0)) == "1970-01-01T00:00:00.000000Z"
    assert iso(Timestamp(seconds=0, nanos=123456789)) == "1970-01-01T00:00:00.123456Z"


@given(
    st.lists(st.tuples(*[st.text("abcdefg-", min_size=1, max_size=30)] * 4), min_size=1, max_size=5),
    st.integers(min_value=40, max_value=160),
)
def test_tables_fit_and_keep_ids_whole(rows: list[tuple[str, ...]], width: int) -> None:
    out = io.StringIO()
    Console(file=out, width=width).print(plain_table(("ID", "A", "B", "C"), rows, width))
    lines = out.getvalue().splitlines()
    assert all(len(line) <= width for line in lines)
    if max(len(row[0]) for row in rows) + 2 + 12 <= width:
        assert [line.split()[0] for line in lines[1:]] == [row[0] for row in rows]
