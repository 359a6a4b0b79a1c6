"""Every value of an annotated type comes back as it was."""

from __future__ import annotations

import concurrent.futures
import datetime as dt
import decimal
import enum
import json
import uuid
from dataclasses import dataclass
from typing import Any, NamedTuple, Optional, TypedDict

import pydantic
import pytest
from dapr.ext.workflow._durabletask.internal import shared
from hypothesis import given
from hypothesis import strategies as st

from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.errors import PayloadError
from tests.strategies import QUICK

official: Any = shared
_CONVERTER = JsonConverter()
_TEXTS = st.text(max_size=20)
_MOMENTS = st.datetimes(timezones=st.none() | st.just(dt.timezone.utc))
_WHOLE = st.integers()
_DECIMALS = st.decimals(allow_nan=False, allow_infinity=False)


class Kind(enum.Enum):
    FIRST = "first"
    SECOND = "second"


class Pair(NamedTuple):
    left: int
    right: str


class Entry(TypedDict):
    key: str
    when: dt.datetime


@dataclass
class Part:
    name: str
    kind: Kind
    price: decimal.Decimal


@dataclass
class Whole:
    number: int
    ratio: float
    parts: list[Part]
    by_name: dict[str, Part]
    id: uuid.UUID
    when: Optional[dt.datetime]  # noqa: UP045
    day: dt.date
    length: dt.timedelta
    raw: bytes
    pair: Pair
    entry: Entry


class Model(pydantic.BaseModel):
    number: int
    parts: list[Part]
    id: uuid.UUID
    when: dt.datetime | None


_parts = st.builds(Part, _TEXTS, st.sampled_from(Kind), _DECIMALS)
_pairs = st.builds(Pair, _WHOLE, _TEXTS)
_entries: st.SearchStrategy[Entry] = st.fixed_dictionaries({"key": _TEXTS, "when": _MOMENTS})  # type: ignore[assignment]
_wholes = st.builds(
    Whole,
    number=_WHOLE,
    ratio=st.floats(allow_nan=False),
    parts=st.lists(_parts, max_size=3),
    by_name=st.dictionaries(_TEXTS, _parts, max_size=3),
    id=st.uuids(),
    when=st.none() | _MOMENTS,
    day=st.dates(),
    length=st.timedeltas(),
    raw=st.binary(max_size=20),
    pair=_pairs,
    entry=_entries,
)
_models = st.builds(Model, number=_WHOLE, parts=st.lists(_parts, max_size=2), id=st.uuids(), when=st.none() | _MOMENTS)
_json = st.recursive(
    st.none() | st.booleans() | _WHOLE | st.floats(allow_nan=False) | _TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_TEXTS, inner, max_size=4),
    max_leaves=12,
)


def _back(value: Any, wanted: Any) -> Any:
    return _CONVERTER.decode(_CONVERTER.encode(value), wanted)


@QUICK
@given(_json)
def test_plain_json_comes_back_and_has_the_official_text(value: Any) -> None:
    text = _CONVERTER.encode(value)
    assert text == official.to_json(value)
    assert _CONVERTER.decode(text) == official.from_json(text) == value


@QUICK
@given(_wholes)
def test_a_dataclass_of_all_kinds_of_fields_comes_back(value: Whole) -> None:
    assert _back(value, Whole) == value
    assert _back([value], list[Whole]) == [value]


@QUICK
@given(_models)
def test_a_pydantic_model_comes_back(value: Model) -> None:
    assert _back(value, Model) == value
    assert _back({"a": [value]}, dict[str, list[Model]]) == {"a": [value]}


@QUICK
@given(_pairs)
def test_a_named_tuple_comes_back_marked_or_not(value: Pair) -> None:
    assert _back(value, Pair) == value
    assert _back([value], list[Pair]) == [value]
    assert _CONVERTER.encode(value) == official.to_json(value)


@QUICK
@given(_entries)
def test_a_typed_dict_comes_back(value: Entry) -> None:
    assert _back(value, Entry) == value


@QUICK
@given(_MOMENTS, st.uuids(), _DECIMALS, st.sampled_from(Kind), st.timedeltas(), st.times())
def test_single_values_come_back(
    moment: dt.datetime, id: uuid.UUID, price: decimal.Decimal, kind: Kind, length: dt.timedelta, time: dt.time
) -> None:
    for value in (moment, id, price, kind, length, time):
        back = _back(value, type(value))
        assert back == value
        assert type(back) is type(value)


@QUICK
@given(_wholes)
def test_without_an_annotation_only_names_and_values_are_left(value: Whole) -> None:
    plain = _CONVERTER.decode(_CONVERTER.encode(value))
    assert plain.number == value.number
    assert [part["name"] for part in plain.parts] == [part.name for part in value.parts]
    assert not hasattr(plain, "__durabletask_autoobject__")


@QUICK
@given(st.text(max_size=30), st.sampled_from([Whole, Model, Pair, Entry, Kind, int, list[Part], dict[str, int]]))
def test_no_text_makes_anything_but_a_value_or_a_payload_error(text: str, wanted: Any) -> None:
    from dapr_workflow_sdk.errors import PayloadError

    for candidate in (text, json.dumps(text), f'{{"{text}": 1}}', f"[{text}]"):
        try:
            _CONVERTER.decode(candidate, wanted)
        except PayloadError as error:
            assert str(error)


_NUMBERS = st.one_of(
    st.integers(min_value=-(10**40), max_value=10**40).map(str),
    st.floats().map(json.dumps),
    st.from_regex(r"-?(0|[1-9][0-9]{0,25})(\.[0-9]{1,25})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
_STRINGS = st.one_of(
    st.text(st.characters(codec=None), max_size=10).map(json.dumps),
    st.from_regex(r'"(\\u[dD][89a-fA-F][0-9a-fA-F]{2}|[a-z]|\\[nrtbf/"\\])*"', fullmatch=True),
)
_WRITTEN = st.recursive(
    st.one_of(_NUMBERS, _STRINGS, st.sampled_from(["null", "true", "false", "NaN", "-Infinity"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda parts: f"[{', '.join(parts)}]"),
        st.lists(st.tuples(_STRINGS, inner), max_size=3).map(
            lambda pairs: "{" + ",".join(f"{key} : {value}" for key, value in pairs) + "}"
        ),
    ),
    max_leaves=6,
)


@QUICK
@given(st.one_of(_WRITTEN, st.text(max_size=12), _WRITTEN.map(lambda text: text[:-1])))
def test_any_text_is_read_as_the_standard_library_reads_it(text: str) -> None:
    if not text or "__durabletask_autoobject__" in text:
        return
    try:
        expected = json.loads(text)
    except ValueError:
        with pytest.raises(PayloadError):
            _CONVERTER.decode(text)
        return
    assert repr(_CONVERTER.decode(text)) == repr(expected)


def test_many_threads_write_one_value_at_once() -> None:
    value = {"lines": [{"number": number} for number in range(200)]}
    expected = json.dumps(value)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(lambda _: _CONVERTER.encode(value), range(400))) == {expected}


def test_values_that_hold_themselves_have_no_text_again_and_again() -> None:
    around: list[Any] = []
    around.append({"again": around})
    for _ in range(3):
        with pytest.raises(PayloadError, match="refers to itself"):
            _CONVERTER.encode(around)
        assert _CONVERTER.encode([1]) == "[1]"
