"""Which task hub a worker or a client uses."""

from __future__ import annotations

from typing import Protocol

from dapr_workflow_sdk.taskhub.port import TaskHub


class HasHub(Protocol):
    """What an engine offers to a worker and a client of the same process."""

    @property
    def hub(self) -> TaskHub:
        """The engine as a task hub."""
        ...


def check_engine(engine: HasHub | None, host: str | None, port: int | str | None, app_id: str | None) -> None:
    """Refuses an engine and an address at once.

    Raises:
        ValueError: Both are given, or an app beside an engine.
    """
    if engine is not None:
        if host is not None or port is not None:
            raise ValueError("Give either engine= or host= and port=, not both: they name different task hubs.")
        if app_id is not None:
            raise ValueError("An engine knows its app: give engine=engine.app('name') instead of app_id=.")


def open_hub(
    engine: HasHub | None, host: str | None, port: int | str | None, app_id: str | None = None
) -> tuple[TaskHub, bool]:
    """The task hub to use, and whether the caller owns it and has to close it.

    Raises:
        ValueError: Both an engine and an address are given.
        AddressError: The address makes no sense.
    """
    check_engine(engine, host, port, app_id)
    if engine is not None:
        return engine.hub, False
    # gRPC is loaded only where it is used: an engine in the same process does without it.
    from dapr_workflow_sdk.taskhub.address import find_address
    from dapr_workflow_sdk.taskhub.channel import GrpcTaskHub

    return GrpcTaskHub(find_address(host, port), app_id=app_id), True
