import json
from typing import Any

import pytest

from gateway.core.signature import Signature
from gateway.core.tensor import DATA_TYPES, TensorSpec
from gateway.models.config import ModelConfig
from gateway.models.config.description import DERIVED_MAX_BATCH_SIZE, describe
from gateway.models.config.pbtxt import parse_override, parse_text

X = TensorSpec("x", DATA_TYPES["FP32"], (-1, 4))
Y = TensorSpec("y", DATA_TYPES["BYTES"], (-1, 2, -1))


def test_a_derived_model() -> None:
    found = describe(ModelConfig(), Signature([X], [Y], batched=True), "m")
    assert found["name"] == "m"
    assert (found["platform"], found["backend"]) == ("onnxruntime_onnx", "onnxruntime")
    assert found["max_batch_size"] == DERIVED_MAX_BATCH_SIZE
    assert found["input"][0]["dims"] == [4]
    assert found["input"][0]["data_type"] == "TYPE_FP32"
    assert found["output"][0]["dims"] == [2, -1]
    assert found["output"][0]["data_type"] == "TYPE_STRING"
    assert found["output"][0]["label_filename"] == ""
    assert found["version_policy"] == {"latest": {"num_versions": 1}}
    assert found["dynamic_batching"]["preferred_batch_size"] == []
    assert found["instance_group"][0]["kind"] == "KIND_CPU"
    assert found["instance_group"][0]["count"] == 1
    assert found["default_model_filename"] == "model.onnx"
    json.dumps(found)


def test_without_a_batch_axis() -> None:
    found = describe(ModelConfig(), Signature([X], [Y]), "m")
    assert found["max_batch_size"] == 0
    assert found["input"][0]["dims"] == [-1, 4]
    assert "dynamic_batching" not in found


def test_what_is_declared_is_kept_and_completed() -> None:
    config = parse_text(
        'max_batch_size: 8 input { name: "x" data_type: TYPE_FP32 dims: 4 format: FORMAT_NONE }'
        ' instance_group { count: 2 } metric_tags { key: "a" value: "b" } version_policy { all {} }',
        "m",
    )
    found = describe(config, Signature([X], [Y], batched=True, max_batch_size=8), "m")
    assert found["max_batch_size"] == 8
    assert [tensor["name"] for tensor in found["input"]] == ["x"]
    assert [tensor["name"] for tensor in found["output"]] == ["y"]
    assert found["instance_group"][0]["name"] == "m_0"
    assert found["instance_group"][0]["count"] == 2
    assert found["metric_tags"] == {"a": "b"}
    assert found["version_policy"] == {"all": {}}
    assert "dynamic_batching" not in found


def test_every_integer_is_a_number() -> None:
    config = parse_text(
        """
        max_batch_size: 8
        version_policy { specific { versions: [1, 9007199254740993] } }
        dynamic_batching {
          max_queue_delay_microseconds: 500 priority_levels: 1
          default_queue_policy { default_timeout_microseconds: 7 }
        }
        model_warmup { name: "w" inputs { key: "x" value { data_type: TYPE_FP32 dims: 4 zero_data: true } } }
        optimization { cuda { graph_spec { input { key: "x" value { dim: 3 } } } } }
        """,
        "m",
    )
    found = describe(config, Signature([X], [Y], batched=True, max_batch_size=8), "m")
    assert found["version_policy"]["specific"]["versions"] == [1, 9007199254740993]
    assert found["dynamic_batching"]["max_queue_delay_microseconds"] == 500
    assert found["dynamic_batching"]["default_queue_policy"]["default_timeout_microseconds"] == 7
    assert found["model_warmup"][0]["inputs"]["x"]["dims"] == [4]
    assert found["optimization"]["cuda"]["graph_spec"][0]["input"]["x"]["dim"] == [3]


@pytest.mark.parametrize("batched", [False, True])
def test_what_is_described_can_be_loaded_again(batched: bool) -> None:
    signature = Signature([X], [Y], batched=batched)
    found: dict[str, Any] = describe(ModelConfig(), signature, "m")
    again = parse_override(json.dumps(found), "m")
    assert describe(again, signature, "m") == found
