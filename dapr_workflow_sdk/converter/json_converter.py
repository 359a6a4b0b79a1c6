"""Payloads as JSON text, typed by annotations.

The text is what the official Dapr SDK for Python writes (``json.dumps`` with its default separators, dataclasses
and namespaces marked with ``__durabletask_autoobject__``), so both can serve the same instance. On top of it come
the types that SDK refuses: datetime, date, time, timedelta, UUID, Decimal, Enum and bytes.
"""

from __future__ import annotations

import contextlib
import dataclasses
import datetime as dt
import decimal
import enum
import json
import logging
import threading
import typing
import uuid
from collections.abc import Callable
from types import NoneType, SimpleNamespace, UnionType
from typing import Any, Protocol, cast

import msgspec

from dapr_workflow_sdk.authoring.definitions import UNTYPED
from dapr_workflow_sdk.errors import PayloadError

logger = logging.getLogger("dapr_workflow_sdk.converter")

MARKER = "__durabletask_autoobject__"
_LEAVES = (dt.datetime, dt.date, dt.time, dt.timedelta, uuid.UUID, decimal.Decimal, bytes, bytearray, msgspec.Struct)
_PLAIN = (UNTYPED, Any, object, None, NoneType, SimpleNamespace)


class Converter(Protocol):
    """Turns values into payload text and back."""

    def encode(self, value: Any) -> str:
        """The payload text of a value.

        Raises:
            PayloadError: The value has none.
        """
        ...

    def decode(self, text: str, wanted: Any = UNTYPED) -> Any:
        """The value of a payload text, of the wanted type if there is one.

        Raises:
            PayloadError: The text is not a payload, or does not fit the type.
        """
        ...


class JsonConverter:
    """The converter of this package; see the module for what the text looks like."""

    def __init__(self) -> None:
        """Starts without knowing any type; each is looked at once."""
        self._decoders: dict[Any, Callable[[str], Any] | None] = {}
        self._lock = threading.Lock()

    def encode(self, value: Any) -> str:
        """The JSON text of a value.

        Raises:
            PayloadError: It holds something that JSON has no form for; the message names the type.
        """
        kind = cast("Any", type(value))
        if kind is str:
            return _quote(value)
        if value is None:
            return "null"
        try:
            if kind is int:
                return int.__repr__(value)
            as_dict = getattr(kind, "_asdict", None)
            if as_dict is not None and issubclass(kind, tuple):
                value = {**as_dict(value), MARKER: True}
            return _dumps(value)
        except RecursionError as error:
            raise PayloadError(f"A value of type {kind.__name__} refers to itself, so it has no JSON text.") from error
        except Exception as error:
            # Whatever a model of the application raises while it is written means the same.
            raise PayloadError(
                f"A value of type {kind.__name__} has no JSON text: {error}. Payloads are JSON: None, bool, int, "
                "float, str, list, dict with string keys, dataclass, pydantic model, enum, datetime, UUID or Decimal."
            ) from error

    def decode(self, text: str, wanted: Any = UNTYPED) -> Any:
        """The value of a JSON text.

        Args:
            text: The payload; an empty one, which some HTTP clients send, means None.
            wanted: An annotation, or `UNTYPED` for plain JSON values.

        Raises:
            PayloadError: The text is not JSON, or does not fit `wanted`; the message says where.
        """
        if not text:
            return None
        if wanted is UNTYPED:
            return _loads(text)
        decoder = self._decoder(wanted)
        if decoder is None:
            return _loads(text)
        try:
            return decoder(text)
        except PayloadError:
            raise
        except Exception as error:
            # A class of the application may refuse a value with any error.
            raise PayloadError(f"The payload {_shorten(text)} is not a {_type_name(wanted)}: {error}") from error

    def _decoder(self, wanted: Any) -> Callable[[str], Any] | None:
        try:
            return self._decoders[wanted]
        except KeyError:
            with self._lock:
                decoder = _make_decoder(wanted)
                self._decoders[wanted] = decoder
            return decoder
        except TypeError:  # An unhashable annotation, such as Annotated[..., []].
            return _make_decoder(wanted)


def _make_decoder(wanted: Any) -> Callable[[str], Any] | None:
    """What reads a payload as `wanted`; None when plain JSON values are what is wanted or all that is possible."""
    if any(wanted is plain for plain in _PLAIN) or isinstance(wanted, typing.TypeVar) or _optional_of(wanted) is Any:
        return None
    special = _special_decoder(wanted)
    if special is not None:
        return special
    inner = _optional_of(wanted)
    special = None if inner is None else _special_decoder(inner)
    if special is not None:
        read_inner = special
        return lambda text: None if text == "null" else read_inner(text)
    try:
        reader: msgspec.json.Decoder[Any] = msgspec.json.Decoder(wanted, dec_hook=_build_custom)
    except TypeError as refusal:
        adapter = _pydantic_adapter(wanted)
        if adapter is None:
            logger.warning("Values annotated as %s arrive as plain JSON: %s", _type_name(wanted), refusal)
        return adapter

    def convert(value: Any) -> Any:
        converted: Any = msgspec.convert(value, wanted, dec_hook=_build_custom, from_attributes=True, str_keys=True)
        return converted

    shows_markers = not dataclasses.is_dataclass(wanted)

    def read(text: str) -> Any:
        if MARKER in text and (shows_markers or text.count(MARKER) > 1):
            # Parts of the type may be anything: there a marked object is a namespace, as it is without a type. Where
            # the type asks for something that a namespace is not, it is a plain object.
            with contextlib.suppress(msgspec.ValidationError):
                return convert(_loads(text))
            return convert(_unmarked(text))
        try:
            return reader.decode(text)
        except msgspec.ValidationError:
            raise
        except msgspec.DecodeError:
            # Python's JSON also has NaN and Infinity, which msgspec refuses.
            return convert(_unmarked(text))

    return read


def _special_decoder(wanted: Any) -> Callable[[str], Any] | None:
    """What reads a model or a named tuple, which have ways of their own."""
    validate = getattr(wanted, "model_validate", None)
    if isinstance(wanted, type) and callable(validate):
        validate_json = getattr(cast("Any", wanted), "model_validate_json", None)
        # A model that forbids unknown fields must not trip over the marker of a dataclass that was sent in its place.
        return lambda text: (
            validate_json(text) if callable(validate_json) and MARKER not in text else validate(_unmarked(text))
        )
    if hasattr(wanted, "_fields") and hasattr(wanted, "_asdict"):
        return lambda text: _named_tuple(text, wanted)
    return None


def _optional_of(wanted: Any) -> Any:
    """X of Optional[X], or None for any other type."""
    if typing.get_origin(wanted) in (typing.Union, UnionType):
        rest = [argument for argument in typing.get_args(wanted) if argument is not NoneType]
        if len(rest) == 1:
            return rest[0]
    return None


def _named_tuple(text: str, wanted: Any) -> Any:
    value = _unmarked(text)
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        value = [fields[name] for name in wanted._fields if name in fields]
    converted: Any = msgspec.convert(value, wanted, dec_hook=_build_custom, str_keys=True)
    return converted


def _pydantic_adapter(wanted: Any) -> Callable[[str], Any] | None:
    try:
        from pydantic import TypeAdapter
    except ImportError:
        return None
    try:
        adapter: Any = TypeAdapter(wanted)
    except Exception:  # noqa: BLE001 - pydantic has many ways to refuse a type, all with the same meaning here
        return None
    # Strict, as everywhere here: "5" is no number. From JSON text it still reads dates and the like.
    return lambda text: adapter.validate_json(json.dumps(_unmarked(text)), strict=True)


def _build_custom(wanted: Any, value: Any) -> Any:
    """Builds what msgspec has no type for, inside of what it has one for."""
    if isinstance(value, wanted):
        return value
    validate = getattr(wanted, "model_validate", None)
    if callable(validate):
        return validate(_strip(value))
    raise TypeError(f"{wanted.__name__} cannot be built from JSON; make it a dataclass or a pydantic model")


def _unmarked(text: str) -> Any:
    """Plain JSON values without the markers of dataclasses and namespaces."""
    return _strip(json.loads(text))


def _strip(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _strip(item) for key, item in cast("dict[str, Any]", value).items() if key != MARKER}
    return [_strip(item) for item in cast("Any", value)] if isinstance(value, list) else value


def _default(value: Any) -> Any:
    """What the JSON encoder writes for a value it does not know."""
    dump = getattr(value, "model_dump", None)
    kind = cast("Any", type(value))
    if callable(dump) and callable(getattr(kind, "model_validate", None)):
        try:
            return dump(mode="json")
        except TypeError:
            return dump()
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {**dataclasses.asdict(cast("Any", value)), MARKER: True}
    if isinstance(value, SimpleNamespace):
        return {**vars(value), MARKER: True}
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, _LEAVES):
        return msgspec.to_builtins(value)
    if isinstance(value, set | frozenset):
        raise TypeError("a set has no order, which workflows need; pass sorted(...) of it")
    # Applications teach the standard encoder about their types by replacing this method, as Dapr's quickstarts do.
    return json.JSONEncoder.default(_ENCODER, value)


def _make_writer() -> Callable[[Any], str]:
    """What ``_ENCODER.encode`` does in half the time: that makes the same writer anew for each value.

    It keeps no list of what it is in the middle of, so that threads may share it: a value that holds itself ends as a
    `RecursionError`.
    """
    make: Any = getattr(json.encoder, "c_make_encoder", None)
    if make is None:
        return _ENCODER.encode  # An interpreter without the accelerator.
    write = make(None, _default, json.encoder.encode_basestring_ascii, None, ": ", ", ", False, False, True)
    return lambda value: "".join(write(value, 0))


def _object_hook(value: dict[str, Any]) -> Any:
    return SimpleNamespace(**value) if value.pop(MARKER, False) else value


def _loads(text: str) -> Any:
    try:
        if MARKER in text:
            return json.loads(text, object_hook=_object_hook)
        try:
            return _read(text)
        except Exception:  # noqa: BLE001 - what it refuses is for the standard library to read, or to refuse
            return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise PayloadError(f"The payload {_shorten(text)} is not JSON: {error}") from error


def _shorten(text: str) -> str:
    return text if len(text) <= 80 else f"{text[:77]}..."


def _type_name(wanted: Any) -> str:
    return getattr(wanted, "__name__", None) or str(wanted)


_ENCODER = json.JSONEncoder(default=_default)
# Three times as fast as the standard library, and reads the same from whatever both take: a property test says so.
_read: Callable[[str], Any] = msgspec.json.Decoder().decode
_quote = json.encoder.encode_basestring_ascii
_dumps = _make_writer()
