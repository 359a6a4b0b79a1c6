"""Payload texts: equal to the official SDK's, typed on the way back, with errors that say what and where."""

from __future__ import annotations

import collections
import datetime as dt
import decimal
import enum
import json
import logging
import math
import threading
import uuid
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, Literal, NamedTuple, Optional, TypedDict, Union

import msgspec
import pydantic
import pytest
from dapr.ext.workflow._durabletask.internal import shared

from dapr_workflow_sdk.authoring.definitions import UNTYPED
from dapr_workflow_sdk.converter import JsonConverter
from dapr_workflow_sdk.errors import PayloadError

official: Any = shared
MARKER = "__durabletask_autoobject__"


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


class Mixed(enum.Enum):
    """Values of several types, which msgspec leaves to pydantic."""

    TEXT = "text"
    NUMBER = 2


class Level(enum.IntEnum):
    LOW = 1


class Size(str, enum.Enum):
    SMALL = "small"


@dataclass
class Item:
    name: str
    price: decimal.Decimal = decimal.Decimal("1.50")


@dataclass
class Order:
    number: int
    items: list[Item] = field(default_factory=list)
    due: Optional[dt.datetime] = None  # noqa: UP007, UP045
    colour: Colour = Colour.RED


@dataclass
class Shelf:
    """JSON has only texts for keys: numbers must come back from them, marked or not."""

    places: dict[int, str]


@dataclass
class Parcel:
    content: Mixed


class Point(NamedTuple):
    x: int
    y: int = 0


class Delivery(NamedTuple):
    order: Order
    where: Point


class Address(TypedDict):
    street: str
    since: dt.date


class Model(pydantic.BaseModel):
    number: int
    when: dt.datetime | None = None


class Strict(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    number: int


class DuckModel:
    """What the official SDK takes for a model without knowing pydantic."""

    def __init__(self, number: int) -> None:
        self.number = number

    def model_dump(self) -> dict[str, int]:
        return {"number": self.number}

    @classmethod
    def model_validate(cls, value: Any) -> DuckModel:
        return cls(value["number"])


@pytest.fixture
def converter() -> JsonConverter:
    return JsonConverter()


class TestText:
    """What both SDKs can write, they write alike."""

    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            0,
            -1,
            2**70,
            1.0,
            1e300,
            -0.0,
            float("inf"),
            "",
            "text",
            'é"\\\n\u2028\U0001f600',
            "\ud800",
            [],
            [1, "a", None, [True]],
            (1, 2),
            {},
            {"a": 1, "b": {"c": [None]}},
            {1: "int key", None: "none key", True: "bool key", 1.5: "float key"},
            collections.OrderedDict(b=1, a=2),
            Point(1, 2),
            [Point(1, 2)],
            SimpleNamespace(a=1, b=[1]),
            [SimpleNamespace(a=1)],
            Level.LOW,
            Size.SMALL,
            collections.defaultdict(int, a=1),
            DuckModel(1),
            Strict(number=1),
        ],
        ids=repr,
    )
    def test_equals_the_official_one(self, converter: JsonConverter, value: Any) -> None:
        text = converter.encode(value)
        assert text == official.to_json(value)

    def test_of_nan_equals_the_official_one(self, converter: JsonConverter) -> None:
        assert converter.encode(float("nan")) == official.to_json(float("nan")) == "NaN"

    def test_of_a_dataclass_carries_the_marker(self, converter: JsonConverter) -> None:
        @dataclass
        class Plain:
            number: int
            inner: list[SimpleNamespace]

        value = Plain(1, [SimpleNamespace(a=1)])
        assert converter.encode(value) == official.to_json(value)
        assert json.loads(converter.encode(value))[MARKER] is True

    def test_of_a_nested_dataclass_equals_the_official_one(self, converter: JsonConverter) -> None:
        @dataclass
        class Inner:
            x: int

        @dataclass
        class Outer:
            one: Inner
            many: list[Inner]

        for value in (Outer(Inner(1), [Inner(2)]), [Outer(Inner(1), [])], {"a": Inner(1)}):
            assert converter.encode(value) == official.to_json(value)

    def test_does_not_change_the_callers_object(self, converter: JsonConverter) -> None:
        """The official SDK writes its marker into the namespace itself."""
        value = SimpleNamespace(a=1)
        converter.encode(value)
        assert vars(value) == {"a": 1}

    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (dt.datetime(2026, 1, 2, 3, 4, 5, 678), '"2026-01-02T03:04:05.000678"'),
            (dt.datetime(2026, 1, 2, tzinfo=dt.timezone.utc), '"2026-01-02T00:00:00Z"'),
            (dt.date(2026, 1, 2), '"2026-01-02"'),
            (uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
            (decimal.Decimal("1.10"), '"1.10"'),
            (Colour.RED, '"red"'),
            (Mixed.NUMBER, "2"),
            (b"\x00\xff", '"AP8="'),
            ([Mixed.NUMBER, {"a": decimal.Decimal(1)}], '[2, {"a": "1"}]'),
        ],
    )
    def test_of_types_that_the_official_sdk_refuses(self, converter: JsonConverter, value: Any, text: str) -> None:
        assert converter.encode(value) == text
        with pytest.raises(TypeError):
            official.to_json(value)

    def test_honours_a_replaced_json_encoder_default(
        self, converter: JsonConverter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Dapr's order-processor quickstart teaches the standard encoder about its types that way."""

        class Money:
            def to_json(self) -> dict[str, int]:
                return {"amount": 1}

        monkeypatch.setattr(json.JSONEncoder, "default", lambda self, value: value.to_json())
        assert converter.encode([Money()]) == official.to_json([Money()]) == '[{"amount": 1}]'


class TestUntyped:
    """Without an annotation, values are what the official SDK makes of them."""

    @pytest.mark.parametrize(
        "text",
        [
            "null",
            "0",
            '""',
            "[]",
            ' {"a": 1} ',
            "NaN",
            f'{{"a": 1, "{MARKER}": true}}',
            f'[{{"a": {{"b": 1, "{MARKER}": true}}, "{MARKER}": true}}]',
            f'{{"a": 1, "{MARKER}": false}}',
            f'"{MARKER}"',
            "123456789012345678901234567890",
            '{"a": 1, "a": 2}',
        ],
    )
    def test_equals_the_official_value(self, converter: JsonConverter, text: str) -> None:
        ours, theirs = converter.decode(text), official.from_json(text)
        assert ours == theirs or (math.isnan(ours) and math.isnan(theirs))
        assert type(ours) is type(theirs)

    @pytest.mark.parametrize("wanted", [UNTYPED, Any, object])
    def test_a_marked_object_is_a_namespace(self, converter: JsonConverter, wanted: Any) -> None:
        value = converter.decode(converter.encode(Order(1)), wanted)
        assert isinstance(value, SimpleNamespace)
        assert value.number == 1

    def test_an_empty_text_is_none(self, converter: JsonConverter) -> None:
        """Some HTTP clients start workflows with an empty body."""
        assert converter.decode("") is None
        assert converter.decode("", Order) is None

    @pytest.mark.parametrize("text", ["{", "[1,", "nope", "1 2", "\x00", "'a'", "{'a': 1}", "\ufeff1"])
    def test_what_is_no_json_is_refused_with_the_text(self, converter: JsonConverter, text: str) -> None:
        for wanted in (UNTYPED, Order, int, list, Model, Point):
            with pytest.raises(PayloadError, match="is not"):
                converter.decode(text, wanted)

    def test_a_long_text_is_shortened_in_the_error(self, converter: JsonConverter) -> None:
        with pytest.raises(PayloadError) as caught:
            converter.decode("[" + "1," * 10_000)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize("wanted", [UNTYPED, list, list[Any], Order])
    def test_a_text_nested_too_deeply_is_refused(self, converter: JsonConverter, wanted: Any) -> None:
        with pytest.raises(PayloadError):
            converter.decode("[" * 100_000 + "]" * 100_000, wanted)


class TestTyped:
    @pytest.mark.parametrize(
        ("value", "wanted"),
        [
            (Order(1, [Item("a", decimal.Decimal("2.10"))], dt.datetime(2026, 1, 1), Colour.BLUE), Order),
            ([Order(1)], list[Order]),
            ({"a": Order(1)}, dict[str, Order]),
            (Order(1), Optional[Order]),
            (None, Optional[Order]),
            (Point(1, 2), Point),
            ([Point(1, 2)], list[Point]),
            (Delivery(Order(1), Point(1, 2)), Delivery),
            (Point(1, 2), Optional[Point]),
            (Address(street="High", since=dt.date(2026, 1, 1)), Address),
            (Colour.BLUE, Colour),
            ([Colour.RED], list[Colour]),
            (Mixed.NUMBER, Mixed),
            (Parcel(Mixed.NUMBER), Parcel),
            ([Parcel(Mixed.TEXT)], list[Parcel]),
            (Level.LOW, Level),
            (Size.SMALL, Size),
            (uuid.UUID(int=7), uuid.UUID),
            (decimal.Decimal("0.1"), decimal.Decimal),
            (dt.timedelta(days=-1, microseconds=3), dt.timedelta),
            (dt.time(1, 2, 3), dt.time),
            (b"bytes", bytes),
            ({1: "a"}, dict[int, str]),
            ({1: Order(1)}, dict[int, Order]),
            ({1.5: Order(1)}, dict[float, Order]),
            ([Shelf({1: "a"})], list[Shelf]),
            (Shelf({1: "a"}), Shelf),
            ((1, "a"), tuple[int, str]),
            ([1, 2], set[int]),
            (Model(number=1, when=dt.datetime(2026, 1, 1)), Model),
            ([Model(number=1)], list[Model]),
            (Model(number=1), Optional[Model]),
            (Model(number=1), Union[Model, Strict, None]),
            (DuckModel(3), DuckModel),
            (SimpleNamespace(a=1), SimpleNamespace),
            (5, Literal[5]),
            (2**80, int),
        ],
        ids=repr,
    )
    def test_a_value_comes_back_as_it_was(self, converter: JsonConverter, value: Any, wanted: Any) -> None:
        back = converter.decode(converter.encode(value), wanted)
        if isinstance(value, DuckModel):
            assert isinstance(back, DuckModel)
            assert back.number == value.number
        elif wanted == set[int]:
            assert back == {1, 2}
        else:
            assert back == value
            assert type(back) is type(value)

    def test_a_struct_comes_back_as_it_was(self, converter: JsonConverter) -> None:
        class Struct(msgspec.Struct):
            number: int

        assert converter.decode(converter.encode(Struct(1)), Struct) == Struct(1)

    def test_a_dataclass_sent_to_a_model_that_forbids_more_fits(self, converter: JsonConverter) -> None:
        @dataclass
        class Sent:
            number: int

        assert converter.decode(converter.encode(Sent(1)), Strict) == Strict(number=1)
        assert converter.decode(converter.encode([Sent(1)]), list[Strict]) == [Strict(number=1)]

    @pytest.mark.parametrize("wanted", [dict, dict[str, int], dict[str, Any]])
    def test_a_mapping_does_not_show_the_marker(self, converter: JsonConverter, wanted: Any) -> None:
        value = converter.decode(converter.encode(SimpleNamespace(a=1)), wanted)
        assert value == {"a": 1} or value == SimpleNamespace(a=1)

    @pytest.mark.parametrize("wanted", [list, list[Any], Optional[list]])
    def test_marked_objects_in_a_list_of_anything_are_namespaces(self, converter: JsonConverter, wanted: Any) -> None:
        """As with the official SDK, whose workflows annotate `list` and read `item.name`."""
        (item,) = converter.decode(converter.encode([Item("a")]), wanted)
        assert item == official.from_json(converter.encode(Item("a")))

    def test_not_a_number_under_a_number(self, converter: JsonConverter) -> None:
        value = converter.decode('{"1": NaN, "2": 1.5}', dict[int, float])
        assert value[2] == 1.5
        assert math.isnan(value[1])

    @pytest.mark.parametrize("wanted", [Optional[Any], Union[Any, None]])
    def test_optional_anything_is_anything(self, converter: JsonConverter, wanted: Any) -> None:
        value = converter.decode(converter.encode(Item("a")), wanted)
        assert isinstance(value, SimpleNamespace)

    @pytest.mark.parametrize("wanted", [float, list[float], Optional[float]])
    def test_not_a_number_is_a_float(self, converter: JsonConverter, wanted: Any) -> None:
        value = converter.decode("[NaN, -Infinity]" if wanted == list[float] else "NaN", wanted)
        assert math.isnan(value[0] if isinstance(value, list) else value)

    def test_none_is_refused_where_it_was_not_announced(self, converter: JsonConverter) -> None:
        for wanted in (Order, int):
            with pytest.raises(PayloadError, match="null"):
                converter.decode("null", wanted)
        assert converter.decode("null", Optional[int]) is None

    @pytest.mark.parametrize(
        ("text", "wanted", "told"),
        [
            ('"a"', int, ["int", '"a"']),
            ('{"numer": 1}', Order, ["Order", "number"]),
            ('{"number": "x"}', Order, ["Order", "$.number"]),
            ('{"number": 1, "items": [{"name": "a"}, {"name": 2}]}', Order, ["Order", "$.items[1].name"]),
            ('{"number": "x"}', Model, ["Model", "number"]),
            ('[{"number": 1}, {}]', list[Model], ["number"]),
            ('{"x": "a"}', Point, ["Point", "int"]),
            ("[1]", dict[str, int], ["dict", "object"]),
            ('"green"', Colour, ["Colour", "green"]),
            ('"2026-13-01"', dt.date, ["date"]),
            ('"nope"', uuid.UUID, ["UUID"]),
            ("1.5", int, ["int", "float"]),
            ("true", int, ["int", "bool"]),
        ],
    )
    def test_what_does_not_fit_is_refused_with_type_and_place(
        self, converter: JsonConverter, text: str, wanted: Any, told: list[str]
    ) -> None:
        with pytest.raises(PayloadError) as caught:
            converter.decode(text, wanted)
        for words in told:
            assert words in str(caught.value)

    def test_whatever_a_class_raises_while_it_is_built_is_a_payload_error(self, converter: JsonConverter) -> None:
        """A PayloadError fails the instance with an explanation, anything else looks like a defect of ours."""

        @dataclass
        class Picky:
            number: int

            def __post_init__(self) -> None:
                raise KeyError("no such number")

        class PickyModel(pydantic.BaseModel):
            number: int

            @pydantic.field_validator("number")
            @classmethod
            def _check(cls, value: int) -> int:
                raise KeyError("no such number")

        for wanted in (Picky, PickyModel, list[Picky], list[PickyModel]):
            text = '[{"number": 1}]' if wanted in (list[Picky], list[PickyModel]) else '{"number": 1}'
            with pytest.raises(PayloadError, match="no such number"):
                converter.decode(text, wanted)

    def test_a_type_that_json_cannot_build_is_refused_with_advice(self, converter: JsonConverter) -> None:
        class Plain:
            pass

        with pytest.raises(PayloadError, match="make it a dataclass or a pydantic model"):
            converter.decode('{"a": 1}', Plain)

    def test_a_type_that_nothing_can_build_is_warned_about_once(
        self, converter: JsonConverter, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import dapr_workflow_sdk.converter.json_converter as module

        monkeypatch.setattr(module, "_pydantic_adapter", lambda wanted: None)
        with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.converter"):
            for _ in range(3):
                assert converter.decode('{"number": 1}', Union[Model, Strict]) == {"number": 1}
        assert len(caplog.records) == 1
        assert "arrive as plain JSON" in caplog.text

    def test_an_annotation_that_cannot_be_a_key_works_too(self, converter: JsonConverter) -> None:
        from typing import Annotated

        assert converter.decode("1", Annotated[int, []]) == 1

    def test_one_converter_serves_many_threads(self, converter: JsonConverter) -> None:
        results: list[Any] = []

        def work() -> None:
            results.extend(converter.decode('{"number": 1}', wanted) for wanted in (Order, Model, Strict) * 20)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(results) == 480
        assert {type(result) for result in results} == {Order, Model, Strict}


class TestWhatHasNoText:
    @pytest.mark.parametrize(
        ("value", "told"),
        [
            ({1, 2}, "pass sorted(...) of it"),
            (frozenset(), "a set has no order"),
            (object(), "object"),
            (1j, "complex"),
            ([print], "builtin_function_or_method"),
            ({(1, 2): 3}, "keys must be str"),
            (Order, "type"),
            (range(3), "range"),
        ],
    )
    def test_is_refused_and_the_error_names_the_type(self, converter: JsonConverter, value: Any, told: str) -> None:
        with pytest.raises(PayloadError) as caught:
            converter.encode(value)
        assert told in str(caught.value)
        assert f"type {type(value).__name__} has no JSON text" in str(caught.value)

    def test_what_refers_to_itself_is_refused(self, converter: JsonConverter) -> None:
        loop: list[Any] = []
        loop.append(loop)
        order = Order(1)
        order.items.append(order)  # type: ignore[arg-type]
        for value in (loop, order, {"a": loop}):
            with pytest.raises(PayloadError):
                converter.encode(value)

    @pytest.mark.parametrize("value", [10**5000, [10**5000]], ids=["alone", "in a list"])
    def test_a_number_too_long_to_print_is_refused(self, converter: JsonConverter, value: Any) -> None:
        with pytest.raises(PayloadError, match="digits"):
            converter.encode(value)

    def test_whatever_a_value_raises_while_it_is_written_is_a_payload_error(self, converter: JsonConverter) -> None:
        class Broken(DuckModel):
            def model_dump(self) -> dict[str, int]:
                raise RuntimeError("the database is gone")

        with pytest.raises(PayloadError, match="the database is gone"):
            converter.encode(Broken(1))
