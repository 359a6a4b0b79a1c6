#!/usr/bin/env bash
# Regenerates the protobuf code beside this file. Needs grpcio-tools at the version pinned in pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
out=${1:-.}
"${PYTHON:-python}" -m grpc_tools.protoc -I . --python_out="$out" --pyi_out="$out" \
  dapr_workflow_sdk/taskhub/wire/workflow_taskhub.proto
