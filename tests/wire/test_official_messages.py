"""Our messages and those of the official SDK read each other's bytes: same numbers, same types, same text."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

from dapr_workflow_sdk.taskhub.wire import workflow_taskhub_pb2 as pb

# Prints, for every message of the official SDK's worker protocol, its fields as [number, name, type, label].
_PROGRAM = """
import json, warnings
warnings.simplefilter("ignore")
import dapr.ext.workflow._durabletask.internal.protos as theirs
from google.protobuf.descriptor import Descriptor
found = {}
for name in dir(theirs):
    descriptor = getattr(getattr(theirs, name), "DESCRIPTOR", None)
    if isinstance(descriptor, Descriptor):
        found[descriptor.name] = [[f.number, f.name, f.type, f.is_repeated] for f in descriptor.fields]
print(json.dumps(found))
"""

# Signatures and certificates of results travel as fields that nobody here reads.
_LEFT_OUT = {"attestation", "signerCertificate", "attestationSignature", "certificate"}


def official_fields() -> dict[str, list[list[Any]]]:
    run = subprocess.run([sys.executable, "-W", "ignore", "-c", _PROGRAM], capture_output=True, text=True, check=True)
    found: dict[str, list[list[Any]]] = json.loads(run.stdout)
    return found


def test_every_field_of_the_official_messages_has_the_same_number_and_type_here() -> None:
    compared = 0
    problems: list[str] = []
    for message, fields in official_fields().items():
        ours = pb.DESCRIPTOR.message_types_by_name.get(message)
        if ours is None:
            continue
        for number, name, kind, repeated in fields:
            field = ours.fields_by_number.get(number)
            if field is None:
                if not any(word in name.lower() for word in ("attest", "cert", "sign")):
                    problems.append(f"{message}.{name} = {number} is missing")
                continue
            compared += 1
            if (field.name, field.type, field.is_repeated) != (name, kind, repeated):
                problems.append(f"{message}: {number} is {name} there and {field.name} here")
    assert compared > 150
    assert problems == []
