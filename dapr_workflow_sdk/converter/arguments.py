"""What a workflow or an activity is called with, besides its context."""

from __future__ import annotations

from typing import Any

from dapr_workflow_sdk.authoring.definitions import NO_DEFAULT, UNTYPED, Definition
from dapr_workflow_sdk.converter.json_converter import Converter
from dapr_workflow_sdk.errors import PayloadError


def read_arguments(definition: Definition, text: str, converter: Converter, instance_id: str) -> tuple[Any, ...]:
    """The input of a call as its function annotates it: one value, or none if the function takes none.

    Args:
        definition: The function.
        text: The payload text; empty if there is none. A default of the parameter stands in for it then.
        converter: How payloads are read.
        instance_id: The instance, for messages.

    Raises:
        PayloadError: The payload does not fit, or is missing and None does not fit either.
    """
    if not definition.takes_input:
        return ()
    if not text:
        if definition.input_default is not NO_DEFAULT:
            return (definition.input_default,)
        if definition.input_type is UNTYPED:
            return (None,)
    try:
        return (converter.decode(text or "null", definition.input_type),)
    except PayloadError as error:
        what = "cannot read its input" if text else "got no input, and takes one that cannot be None"
        raise PayloadError(
            f"{definition.kind.capitalize()} {definition.name!r} ({definition.location}), instance {instance_id!r}, "
            f"{what}. {error}"
        ) from error
