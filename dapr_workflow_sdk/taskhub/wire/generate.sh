#!/usr/bin/env bash
# Regenerates the protobuf code beside this file, or into the folder given as an argument.
# Needs grpcio-tools at the version pinned in pyproject.toml.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."
out=${1:-.}
"${PYTHON:-python}" -m grpc_tools.protoc -I . --python_out="$out" --pyi_out="$out" \
  dapr_workflow_sdk/taskhub/wire/workflow_taskhub.proto
# The generated stub leaves out type arguments, which strict type checkers want.
stub="$out/dapr_workflow_sdk/taskhub/wire/workflow_taskhub_pb2.pyi"
sed 's/_Mapping\]/_Mapping[str, object]]/g' "$stub" >"$stub.new"
mv "$stub.new" "$stub"
