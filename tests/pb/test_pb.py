import subprocess
import sys
from pathlib import Path

import pytest

from gateway import pb

ROOT = Path(__file__).resolve().parents[2]


def test_the_committed_descriptors_are_what_the_protos_say() -> None:
    pytest.importorskip("grpc_tools")
    done = subprocess.run(
        [sys.executable, ROOT / "protos" / "generate.py", "--check"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr


def test_messages_are_found_by_name() -> None:
    config = pb.message("ModelConfig")(name="m", max_batch_size=8)
    config.dynamic_batching.default_queue_policy.max_queue_size = 3
    again = pb.message("ModelConfig").FromString(config.SerializeToString())
    assert again == config
    assert again.WhichOneof("scheduling_choice") == "dynamic_batching"
    assert pb.message("ModelWarmup.Input")().DESCRIPTOR.full_name == "inference.ModelWarmup.Input"
    assert pb.message("ModelConfig") is pb.message("ModelConfig")
    with pytest.raises(KeyError):
        pb.message("Nothing")


def test_numbers_of_the_wire() -> None:
    fields = {f.name: f.number for f in pb.message("ModelConfig").DESCRIPTOR.fields}
    assert fields == {
        "name": 1, "platform": 2, "version_policy": 3, "max_batch_size": 4, "input": 5, "output": 6,
        "instance_group": 7, "default_model_filename": 8, "cc_model_filenames": 9, "metric_tags": 10,
        "dynamic_batching": 11, "optimization": 12, "sequence_batching": 13, "parameters": 14,
        "ensemble_scheduling": 15, "model_warmup": 16, "backend": 17, "model_operations": 18,
        "model_transaction_policy": 19, "batch_input": 20, "batch_output": 21, "model_repository_agents": 23,
        "response_cache": 24, "runtime": 25, "model_metrics": 26,
    }  # fmt: skip


# the same names in protobuf's default pool, with other content, as a client's generated modules have them
COEXIST = """
from google.protobuf import descriptor_pool, descriptor_pb2
theirs = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package="inference", syntax="proto3")
theirs.message_type.add(name="ModelConfig").field.add(name="name", number=1, type=9, label=1)
descriptor_pool.Default().AddSerializedFile(theirs.SerializeToString())
from gateway import pb
assert pb.message("ModelConfig")(backend="onnxruntime").backend == "onnxruntime"
assert len(descriptor_pool.Default().FindMessageTypeByName("inference.ModelConfig").fields) == 1
"""


def test_coexists_with_generated_modules_of_the_same_names() -> None:
    done = subprocess.run([sys.executable, "-c", COEXIST], capture_output=True, text=True, timeout=60, cwd=ROOT)
    assert done.returncode == 0, done.stderr


def test_importing_it_loads_no_protobuf() -> None:
    code = "import sys, gateway.pb; assert not any(m.startswith('google.protobuf') for m in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], timeout=60, cwd=ROOT).returncode == 0
