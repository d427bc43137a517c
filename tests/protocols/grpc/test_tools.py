"""The tools that operators have, by the standard services: health and reflection. What is not installed is left out."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import grpc
import pytest

from gateway import pb
from gateway.protocols.grpc.reflection import OLDER, PACKAGE
from gateway.protocols.grpc.reflection import SERVICE as REFLECTION

SERVICE = "inference.GRPCInferenceService"


TOOLS = Path(__file__).parents[3] / ".tools" / "bin"


def run(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = shutil.which(name, path=TOOLS) or shutil.which(name)
    if command is None:
        missing = f"{name} is not installed: `make test` does it, where there is Go"
        if os.environ.get("CI", "").lower() == "true":
            pytest.fail(missing)
        pytest.skip(missing)
    return subprocess.run([command, *arguments], capture_output=True, text=True, timeout=30)


def test_grpcurl_lists_and_describes(server: Any) -> None:
    assert run("grpcurl", "-plaintext", server.grpc, "list").stdout.split() == [
        "grpc.health.v1.Health",
        "grpc.reflection.v1.ServerReflection",
        SERVICE,
    ]
    assert "rpc ModelStreamInfer" in run("grpcurl", "-plaintext", server.grpc, "describe").stdout
    assert "max_batch_size = 4" in run("grpcurl", "-plaintext", server.grpc, "describe", "inference.ModelConfig").stdout


def test_grpcurl_infers(server: Any) -> None:
    tensor = {"name": "x", "datatype": "FP32", "shape": [1, 4], "contents": {"fp32_contents": [1, 2, 3, 4]}}
    body = json.dumps({"model_name": "affine", "model_version": "1", "id": "7", "inputs": [tensor]})
    for call in ("ModelInfer", "ModelStreamInfer"):
        done = run("grpcurl", "-plaintext", "-d", body, server.grpc, f"{SERVICE}/{call}")
        found = json.loads(done.stdout)
        assert found.get("inferResponse", found)["outputs"][0]["shape"] == ["1", "4"], done.stderr
    done = run("grpcurl", "-plaintext", "-d", '{"name": "none"}', server.grpc, f"{SERVICE}/ModelMetadata")
    assert "Code: NotFound" in done.stderr


def test_the_health_probe(server: Any) -> None:
    for service, code in (("", 0), (SERVICE, 0), ("other", 3)):
        done = run("grpc-health-probe", f"-addr={server.grpc}", f"-service={service}")
        assert done.returncode == code, done.stderr


@pytest.mark.parametrize("service", [REFLECTION, OLDER])
def test_reflection(server: Any, service: str) -> None:
    message = pb.message("ServerReflectionRequest", PACKAGE)
    requests = [
        message(list_services=""),
        message(file_by_filename="grpc_service.proto"),
        message(file_containing_symbol="inference.ModelInferRequest.InferInputTensor"),
        message(file_containing_symbol="inference.Nothing"),
        message(all_extension_numbers_of_type="inference.ModelConfig"),
        message(file_containing_extension={"containing_type": "inference.ModelConfig", "extension_number": 1}),
        message(),
    ]
    with grpc.insecure_channel(server.grpc) as channel:
        call = channel.stream_stream(
            f"/{service}/ServerReflectionInfo", None, pb.message("ServerReflectionResponse", PACKAGE).FromString
        )
        replies = [*call((request.SerializeToString() for request in requests), timeout=20)]
    listed, by_name, by_symbol, unknown, extensions, extension, nothing = replies
    assert SERVICE in [each.name for each in listed.list_services_response.service]
    for reply in (by_name, by_symbol):
        assert len(reply.file_descriptor_response.file_descriptor_proto) == 2
    assert [each.error_response.error_code for each in (unknown, extension, nothing)] == [5, 5, 12]
    assert extensions.all_extension_numbers_response.base_type_name == "inference.ModelConfig"
    assert nothing.original_request == requests[-1]
