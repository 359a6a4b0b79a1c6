"""The component files that a sidecar loads."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def resource_folders(folder: Path, state: Path, further: Path | None) -> list[Path]:
    """Return the folders to give to daprd, writing the SQLite state store unless ``further`` brings another.

    Args:
        folder: Where to write the component.
        state: The folder for the database.
        further: A folder with component files of the test, if any.
    """
    folders = [] if further is None else [further]
    files = [] if further is None else [*further.glob("*.yaml"), *further.glob("*.yml")]
    if not any("actorStateStore" in file.read_text(encoding="utf-8") for file in files):
        own = folder / "resources"
        own.mkdir()
        (own / "state.yaml").write_text(_sqlite_state_store(state / "state.db"), encoding="utf-8")
        folders.append(own)
    return folders


def _sqlite_state_store(database: Path) -> str:
    # JSON is YAML, and spares quoting the path by hand.
    component = {
        "apiVersion": "dapr.io/v1alpha1",
        "kind": "Component",
        "metadata": {"name": "statestore"},
        "spec": {
            "type": "state.sqlite",
            "version": "v1",
            "metadata": [
                {"name": "connectionString", "value": str(database)},
                {"name": "actorStateStore", "value": "true"},
            ],
        },
    }
    return json.dumps(component, indent=2)
