"""Decorators and registries: what is accepted, what is refused and why, and what is found where."""

from __future__ import annotations

import functools
import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Optional, cast

import pytest

from dapr_workflow_sdk.authoring import definitions
from dapr_workflow_sdk.authoring.activity_context import WorkflowActivityContext
from dapr_workflow_sdk.authoring.context import DaprWorkflowContext
from dapr_workflow_sdk.authoring.definitions import (
    NO_DEFAULT,
    UNTYPED,
    Kind,
    Registry,
    activity,
    define,
    name_of,
    result_type_of,
    workflow,
)
from dapr_workflow_sdk.errors import RegistrationError


@dataclass
class Order:
    number: int


@workflow
def bare_workflow(ctx: DaprWorkflowContext, order: Order) -> Generator[Any, Any, int]:
    yield ctx.create_timer(order.number)  # type: ignore[arg-type]
    return order.number


@workflow(name="renamed")
def named_workflow(ctx: DaprWorkflowContext) -> str:
    return "plain"


@activity
def bare_activity(ctx: WorkflowActivityContext, order: Order) -> int:
    return order.number + 1


@activity(name="charge-card")
async def named_activity(ctx: WorkflowActivityContext, order: Order) -> str:
    return str(order.number)


@workflow()
def with_empty_parentheses(ctx: DaprWorkflowContext) -> None: ...


class TestDecorated:
    def test_functions_stay_what_they_were(self) -> None:
        assert bare_activity(WorkflowActivityContext("order-7", 1), Order(1)) == 2
        assert named_workflow(cast("DaprWorkflowContext", None)) == "plain"
        assert bare_workflow.__name__ == "bare_workflow"
        assert isinstance(bare_workflow(cast("DaprWorkflowContext", None), Order(1)), Generator)

    def test_async_functions_stay_async(self) -> None:
        steps = named_activity(WorkflowActivityContext("order-7", 1), Order(5))
        with pytest.raises(StopIteration) as stop:
            steps.send(None)
        assert stop.value.value == "5"

    @pytest.mark.parametrize(
        ("function", "name"),
        [
            (bare_workflow, "bare_workflow"),
            (named_workflow, "renamed"),
            (bare_activity, "bare_activity"),
            (named_activity, "charge-card"),
            (with_empty_parentheses, "with_empty_parentheses"),
        ],
    )
    def test_functions_know_their_names(self, function: Callable[..., Any], name: str) -> None:
        assert name_of(function) == name

    def test_module_level_functions_are_found_by_every_registry(self) -> None:
        for registry in (Registry(), Registry()):
            found = registry.find("workflow", "renamed")
            assert found is not None
            assert found.function is named_workflow
            assert "renamed" in registry.names("workflow")
            assert "charge-card" in registry.names("activity")
            assert "charge-card" not in registry.names("workflow")

    def test_they_are_found_by_registries_made_before_them(self) -> None:
        registry = Registry()
        assert registry.find("workflow", "defined-late") is None

        def late(ctx: Any) -> None: ...

        late.__qualname__ = "late"
        workflow(name="defined-late")(late)
        found = registry.find("workflow", "defined-late")
        assert found is not None
        assert found.function is late

    def test_a_registry_without_module_level_finds_only_its_own(self) -> None:
        registry = Registry(module_level=False)
        assert registry.find("workflow", "renamed") is None
        registry.add("workflow", named_workflow)
        assert registry.names("workflow") == ["renamed"]

    def test_functions_in_functions_are_only_found_where_they_are_registered(self) -> None:
        @workflow
        def nested_workflow(ctx: Any) -> None: ...

        assert Registry().find("workflow", "nested_workflow") is None
        registry = Registry()
        registry.add("workflow", nested_workflow)
        assert registry.find("workflow", "nested_workflow") is not None


class TestRegistry:
    def test_one_function_serves_several_registries_under_several_names(self) -> None:
        def charge(ctx: Any, amount: int) -> int:
            return amount

        one, other = Registry(module_level=False), Registry(module_level=False)
        one.add("activity", charge)
        other.add("activity", charge, "charge-v2")
        assert one.name_for("activity", charge) == "charge"
        assert other.name_for("activity", charge) == "charge-v2"
        assert one.find("activity", "charge-v2") is None

    def test_registering_twice_changes_nothing(self) -> None:
        def charge(ctx: Any) -> None: ...

        registry = Registry(module_level=False)
        first = registry.add("activity", charge)
        assert registry.add("activity", charge) is first
        assert registry.names("activity") == ["charge"]

    def test_registering_a_method_twice_changes_nothing(self) -> None:
        class Shop:
            def charge(self, ctx: Any) -> None: ...

        shop = Shop()
        registry = Registry(module_level=False)
        registry.add("activity", shop.charge)
        registry.add("activity", shop.charge)  # A bound method is another object each time it is read.
        assert registry.names("activity") == ["charge"]

    def test_methods_of_two_objects_are_two_functions(self) -> None:
        class Shop:
            def charge(self, ctx: Any) -> None: ...

        registry = Registry(module_level=False)
        registry.add("activity", Shop().charge)
        with pytest.raises(RegistrationError, match="Two functions are registered as activity 'charge'"):
            registry.add("activity", Shop().charge)

    def test_two_functions_cannot_share_a_name_and_the_error_says_where_both_are(self) -> None:
        def make() -> Callable[..., Any]:
            def charge(ctx: Any) -> None: ...

            return charge

        registry = Registry(module_level=False)
        registry.add("activity", make())
        with pytest.raises(RegistrationError, match=r"test_definitions\.py:\d+ and .*test_definitions\.py:\d+"):
            registry.add("activity", make())

    def test_a_workflow_and_an_activity_may_share_a_name(self) -> None:
        def charge(ctx: Any) -> None: ...

        registry = Registry(module_level=False)
        registry.add("activity", charge, "both")
        registry.add("workflow", charge, "both")
        kinds: tuple[Kind, ...] = ("workflow", "activity")
        for kind in kinds:
            found = registry.find(kind, "both")
            assert found is not None
            assert found.kind == kind

    def test_what_is_registered_wins_over_what_stands_at_module_level(self) -> None:
        def other(ctx: Any) -> None: ...

        registry = Registry()
        registry.add("workflow", other, "renamed")
        found = registry.find("workflow", "renamed")
        assert found is not None
        assert found.function is other

    def test_an_unknown_name_is_none(self) -> None:
        assert Registry().find("activity", "nobody") is None
        # Names of one kind do not serve the other.
        assert Registry().find("activity", "renamed") is None


class TestAmbiguousModules:
    @pytest.fixture(autouse=True)
    def _own_module_level(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(definitions, "MODULE_LEVEL", definitions._ModuleLevel())

    def _defined_in(self, module: str, name: str = "order") -> Callable[..., Any]:
        def function(ctx: Any) -> None: ...

        function.__module__, function.__qualname__, function.__name__ = module, name, name
        return workflow(function)

    def test_one_name_in_two_modules_is_refused_when_it_is_used(self) -> None:
        self._defined_in("billing")
        self._defined_in("shipping")
        registry = Registry()
        assert registry.names("workflow").count("order") == 1
        with pytest.raises(RegistrationError, match="Several modules define workflow 'order'.*register_workflow"):
            registry.find("workflow", "order")

    def test_registering_one_of_them_decides(self) -> None:
        billing = self._defined_in("billing")
        self._defined_in("shipping")
        registry = Registry()
        registry.add("workflow", billing)
        found = registry.find("workflow", "order")
        assert found is not None
        assert found.function is billing

    def test_a_module_loaded_again_replaces_its_definition(self) -> None:
        self._defined_in("billing")
        reloaded = self._defined_in("billing")
        found = Registry().find("workflow", "order")
        assert found is not None
        assert found.function is reloaded


class TestNames:
    def test_a_lambda_needs_a_name(self) -> None:
        with pytest.raises(RegistrationError, match="no name of its own: give it one with name="):
            Registry(module_level=False).add("activity", lambda ctx: None)
        registry = Registry(module_level=False)
        registry.add("activity", lambda ctx: None, "anonymous")
        assert registry.find("activity", "anonymous") is not None

    def test_a_partial_has_the_name_of_its_function(self) -> None:
        def charge(ctx: Any, amount: int, currency: str) -> str:
            return f"{amount} {currency}"

        in_euros = functools.partial(charge, currency="EUR")
        registry = Registry(module_level=False)
        added = registry.add("activity", in_euros)
        assert added.name == "charge"
        assert added.takes_input
        assert added.function(None, 5) == "5 EUR"
        assert registry.name_for("activity", in_euros) == "charge"

    def test_a_bound_method_is_called_with_its_object(self) -> None:
        class Shop:
            def charge(self, ctx: Any, amount: int) -> int:
                return amount

        registry = Registry(module_level=False)
        added = registry.add("activity", Shop().charge)
        assert added.name == "charge"
        assert added.input_type is int
        assert added.function(None, 5) == 5

    def test_an_object_that_can_be_called_needs_a_name_and_then_serves(self) -> None:
        class Charge:
            def __call__(self, ctx: Any, amount: int) -> int:
                return amount

        charge = Charge()
        registry = Registry(module_level=False)
        with pytest.raises(RegistrationError, match="no name of its own"):
            registry.add("activity", charge)
        added = registry.add("activity", charge, "charge")
        assert added.function(None, 5) == 5
        assert registry.name_for("activity", charge) == "charge"

    def test_an_object_that_keeps_no_attributes_can_be_called_by_workflows_too(self) -> None:
        class Charge:
            __slots__ = ()

            def __call__(self, ctx: Any, amount: int) -> int:
                return amount

        charge = Charge()
        registry = Registry(module_level=False)
        registry.add("activity", charge, "charge")
        assert registry.name_for("activity", charge) == "charge"
        result_type_of(charge)

    def test_a_function_of_the_official_sdk_keeps_its_registered_name(self) -> None:
        def charge(ctx: Any) -> None: ...

        cast("Any", charge)._dapr_alternate_name = "charge-card"
        assert name_of(charge) == "charge-card"

    @pytest.mark.parametrize("name", [""])
    def test_an_empty_name_is_refused(self, name: str) -> None:
        with pytest.raises(RegistrationError, match="not empty"):
            workflow(name=name)(lambda ctx: None)

    @pytest.mark.parametrize("wrong", [None, 1, "charge", []])
    def test_what_cannot_be_called_is_refused(self, wrong: Any) -> None:
        with pytest.raises(RegistrationError, match="not callable"):
            Registry(module_level=False).add("activity", wrong, "charge")


class TestShapes:
    def test_an_async_generator_is_refused(self) -> None:
        async def mixed(ctx: Any) -> AsyncIterator[int]:
            yield 1

        kinds: tuple[Kind, ...] = ("workflow", "activity")
        for kind in kinds:
            with pytest.raises(RegistrationError, match="both awaits and yields"):
                define(kind, mixed)

    def test_a_generator_is_no_activity(self) -> None:
        def charging(ctx: Any) -> Iterator[int]:
            yield 1

        with pytest.raises(RegistrationError, match=r"activity 'charging' \(.*test_definitions\.py:\d+\) is a gen"):
            define("activity", charging)
        assert define("workflow", charging).code is charging.__code__

    @pytest.mark.parametrize(
        "function",
        [
            lambda: None,
            lambda ctx, a, b: None,
            lambda ctx, *, a: None,
            lambda **options: None,
            lambda *, ctx: None,
        ],
        ids=["no context", "two inputs", "needed keyword", "only keywords", "context by keyword"],
    )
    def test_a_wrong_number_of_parameters_is_refused(self, function: Callable[..., Any]) -> None:
        with pytest.raises(RegistrationError, match=r"must be callable as f\(ctx\) or f\(ctx, input\)"):
            define("activity", function, "charge")

    @pytest.mark.parametrize(
        ("function", "takes_input"),
        [
            (lambda ctx: None, False),
            (lambda ctx, a: None, True),
            (lambda ctx, /, a: None, True),
            (lambda ctx, a, b=1: None, True),
            (lambda ctx, *args: None, True),
            (lambda *args: None, True),
            (lambda ctx, *, a=1: None, False),
            (lambda ctx, **options: None, False),
        ],
    )
    def test_what_fits_is_accepted(self, function: Callable[..., Any], takes_input: bool) -> None:
        assert define("activity", function, "charge").takes_input is takes_input

    def test_a_method_of_a_class_that_was_never_made_is_refused(self) -> None:
        class Shop:
            def charge(self, ctx: Any, amount: int) -> int:
                return amount

        with pytest.raises(RegistrationError, match="at most one input"):
            define("activity", Shop.charge)

    def test_only_a_function_that_starts_its_own_generator_may_be_parked(self) -> None:
        def generator(ctx: Any) -> Iterator[int]:
            yield 1

        async def coroutine(ctx: Any) -> None: ...

        def plain(ctx: Any) -> Any:
            return generator(ctx)

        @functools.wraps(generator)
        def wrapped(ctx: Any) -> Any:
            return generator(ctx)

        assert define("workflow", generator).code is generator.__code__
        assert define("workflow", coroutine).code is coroutine.__code__
        assert define("workflow", plain).code is None
        assert define("workflow", wrapped).code is None
        assert define("workflow", functools.partial(generator)).code is None


def _typed(kind: Kind, function: Callable[..., Any]) -> tuple[Any, Any]:
    definition = define(kind, function)
    return definition.input_type, definition.result_type


class TestTypes:
    def test_of_input_and_result(self) -> None:
        def charge(ctx: Any, order: Order) -> list[int]:
            raise NotImplementedError

        assert _typed("activity", charge) == (Order, list[int])

    def test_are_unknown_without_annotations(self) -> None:
        def charge(ctx, order):  # type: ignore[no-untyped-def]
            raise NotImplementedError

        assert _typed("activity", charge) == (UNTYPED, UNTYPED)
        assert result_type_of(charge) is UNTYPED

    def test_of_a_generator_is_what_it_returns(self) -> None:
        def three(ctx: Any) -> Generator[Any, Any, Order]:
            raise NotImplementedError

        def one(ctx: Any) -> Iterator[Any]:
            raise NotImplementedError

        def none(ctx: Any) -> Generator:  # type: ignore[type-arg]
            raise NotImplementedError

        assert result_type_of(three) is Order
        assert result_type_of(one) is UNTYPED
        assert result_type_of(none) is UNTYPED

    def test_of_a_coroutine_is_what_it_returns(self) -> None:
        async def direct(ctx: Any) -> Order:
            raise NotImplementedError

        def spelled_out(ctx: Any) -> Coroutine[Any, Any, Order]:
            raise NotImplementedError

        assert result_type_of(direct) is Order
        assert result_type_of(spelled_out) is Order

    def test_of_a_decorated_function_are_read_once(self) -> None:
        assert result_type_of(bare_activity) is int
        assert result_type_of(named_activity) is str

    def test_optional_and_annotated_keep_what_matters(self) -> None:
        def charge(ctx: Any, order: Optional[Order]) -> Annotated[Order, "noted"]:  # noqa: UP007, UP045
            raise NotImplementedError

        assert _typed("activity", charge) == (Optional[Order], Order)  # noqa: UP007, UP045

    def test_a_default_is_kept(self) -> None:
        def with_default(ctx: Any, order: int = 5) -> None: ...
        def with_none(ctx: Any, order: Any = None) -> None: ...
        def without(ctx: Any, order: int) -> None: ...

        assert define("activity", with_default).input_default == 5
        assert define("activity", with_none).input_default is None
        assert define("activity", without).input_default is NO_DEFAULT

    def test_a_class_of_the_surrounding_function_is_found_when_the_function_uses_it(self) -> None:
        @dataclass
        class Local:
            number: int

        def charge(ctx: Any, order: Local) -> int:
            return Local(order.number).number

        assert define("activity", charge).input_type is Local

    def test_a_local_class_that_cannot_be_found_is_warned_about(self, caplog: pytest.LogCaptureFixture) -> None:
        @dataclass
        class Local:
            number: int

        def charge(ctx: Any, order: Local) -> int:
            raise NotImplementedError

        with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.authoring"):
            input_type, result_type = _typed("activity", charge)
        # Annotations of this file are texts, and nothing but a use in the function ties one to the local class.
        assert input_type is UNTYPED
        assert result_type is int, "a bad annotation does not spoil the others"
        assert "activity 'charge'" in caplog.text
        assert "parameter 'order'" in caplog.text
        assert "'Local'" in caplog.text
        assert "module level" in caplog.text

    def test_a_misspelled_type_is_warned_about_and_not_an_error(self, caplog: pytest.LogCaptureFixture) -> None:
        def charge(ctx: Any, order: Odrer) -> Odrer:  # type: ignore[name-defined]  # noqa: F821
            raise NotImplementedError

        with caplog.at_level(logging.WARNING, "dapr_workflow_sdk.authoring"):
            assert _typed("activity", charge) == (UNTYPED, UNTYPED)
        assert len(caplog.records) == 2

    def test_a_bound_method_has_the_types_of_its_function(self) -> None:
        class Shop:
            def charge(self, ctx: Any, order: Order) -> int:
                raise NotImplementedError

        assert _typed("activity", Shop().charge) == (Order, int)

    def test_a_partial_has_the_types_of_what_is_left(self) -> None:
        def charge(currency: str, ctx: Any, order: Order) -> int:
            raise NotImplementedError

        added = define("activity", functools.partial(charge, "EUR"))
        assert (added.input_type, added.result_type) == (Order, int)

    def test_a_callable_object_has_the_types_of_its_call(self) -> None:
        class Charge:
            def __call__(self, ctx: Any, order: Order) -> int:
                raise NotImplementedError

        added = define("activity", Charge(), "charge")
        assert (added.input_type, added.result_type) == (Order, int)

    def test_a_wrapper_has_the_types_of_what_it_wraps(self) -> None:
        def charge(ctx: Any, order: Order) -> int:
            raise NotImplementedError

        @functools.wraps(charge)
        def wrapper(*args: Any, **options: Any) -> Any:
            return charge(*args, **options)

        added = define("activity", wrapper)
        assert (added.input_type, added.result_type) == (Order, int)
