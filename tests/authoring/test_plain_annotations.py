"""Definitions of a module that does not postpone its annotations: there they are types, not texts."""

import logging
from dataclasses import dataclass
from typing import Any, Callable, Optional

import pytest

from dapr_workflow_sdk.authoring.definitions import UNTYPED, Definition, define


def test_a_local_class_is_a_type_of_its_own() -> None:
    @dataclass
    class Local:
        number: int

    def charge(ctx: Any, order: Local) -> Local:
        raise NotImplementedError

    definition = define("activity", charge)
    assert definition.input_type is Local
    assert definition.result_type is Local


def test_a_text_is_looked_up_in_the_module() -> None:
    def charge(ctx: Any, order: "Order") -> "Optional[Order]":
        raise NotImplementedError

    definition = define("activity", charge)
    assert definition.input_type is Order
    assert definition.result_type == Optional[Order]


def test_a_text_inside_a_type_is_looked_up_too() -> None:
    def charge(ctx: Any, orders: list["Order"]) -> dict[str, "Order"]:
        raise NotImplementedError

    definition = define("activity", charge)
    assert definition.input_type == list[Order]
    assert definition.result_type == dict[str, Order]


def test_a_text_that_names_nothing_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    def charge(ctx: Any, order: "Nowhere") -> int:  # type: ignore[name-defined]  # noqa: F821
        raise NotImplementedError

    with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.authoring"):
        definition: Definition = define("activity", charge)
    assert definition.input_type is UNTYPED
    assert definition.result_type is int
    assert "Nowhere" in caplog.text


def test_a_text_that_is_no_expression_is_warned_about(caplog: pytest.LogCaptureFixture) -> None:
    def charge(ctx: Any, order: Any) -> int:
        raise NotImplementedError

    charge.__annotations__["order"] = "not an expression"
    with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.authoring"):
        assert define("activity", charge).input_type is UNTYPED
    assert "not an expression" in caplog.text


def test_a_type_defined_after_the_function_is_found_at_registration() -> None:
    def make() -> Callable[..., Any]:
        def charge(ctx: Any, order: "DefinedLater") -> None: ...

        return charge

    assert define("activity", make()).input_type is DefinedLater


@dataclass
class Order:
    number: int


@dataclass
class DefinedLater:
    number: int
