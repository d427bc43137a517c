import contextlib
import json
import logging
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format, text_format
from hypothesis import given
from hypothesis import strategies as st

from gateway import pb
from gateway.core.errors import InvalidArgument
from gateway.core.tensor import DATA_TYPES
from gateway.models.config import (
    ModelConfig,
    QueuePolicy,
    TensorConfig,
    Threading,
    VersionPolicy,
    WarmupInput,
)
from gateway.models.config.pbtxt import MAX_CONFIG_BYTES, parse_override, parse_text, read_config
from gateway.models.config.support import IGNORED, REFUSED

FULL = """
# a model as Triton's documentation has them
name: "m"
platform: "onnxruntime_onnx"
backend: "onnxruntime"
max_batch_size: 8
input [
  { name: "x" data_type: TYPE_FP32 dims: [ 3, -1 ] },
  { name: "s" data_type: TYPE_STRING dims: [ 1 ] reshape { shape: [ ] } }
]
output { name: "y" data_type: TYPE_BF16 dims: 2 label_filename: "labels/y.txt" }
version_policy: { specific: { versions: [ 3, 1 ] } }
instance_group [ { count: 2 kind: KIND_CPU }, { } ]
dynamic_batching {
  preferred_batch_size: [ 8, 4 ]
  max_queue_delay_microseconds: 250
  default_queue_policy {
    default_timeout_microseconds: 1500000
    allow_timeout_override: true
    max_queue_size: 7
  }
}
parameters { key: "intra_op_thread_count" value: { string_value: "2" } }
parameters { key: "inter_op_thread_count" value: { string_value: "1" } }
model_warmup {
  name: "first"
  batch_size: 4
  count: 3
  inputs { key: "x" value: { data_type: TYPE_FP32 dims: [ 3, -1 ] random_data: true } }
  inputs { key: "s" value: { data_type: TYPE_STRING dims: [ 1 ] input_data_file: "s.bin" } }
}
default_model_filename: "net.onnx"
"""


def test_everything_that_is_honoured() -> None:
    config = parse_text(FULL, "m")
    warmup = config.warmup[0]
    assert config.declared is not None
    assert config == ModelConfig(
        name="m",
        max_batch_size=8,
        batching=True,
        max_delay=0.00025,
        preferred_batch_sizes=(4, 8),
        queue=QueuePolicy(max_requests=7, timeout=1.5, allow_timeout_override=True),
        policy=VersionPolicy(specific=("1", "3")),
        instances=3,
        inputs=(
            TensorConfig("x", DATA_TYPES["FP32"], (3, -1)),
            TensorConfig("s", DATA_TYPES["BYTES"], (1,), reshape=()),
        ),
        outputs=(TensorConfig("y", DATA_TYPES["BF16"], (2,), label_file="labels/y.txt"),),
        warmup=(warmup,),
        threading=Threading(intra_op=2, inter_op=1),
        filename="net.onnx",
        declared=config.declared,
    )
    assert (warmup.name, warmup.batch_size, warmup.count) == ("first", 4, 3)
    assert warmup.inputs["x"] == WarmupInput(DATA_TYPES["FP32"], (3, 1), "random")
    assert warmup.inputs["s"] == WarmupInput(DATA_TYPES["BYTES"], (1,), "zero", "warmup/s.bin")


@pytest.mark.parametrize(
    ("text", "size", "batching"),
    [
        ("", None, None),
        ("# max_batch_size: 0", None, None),
        ('default_model_filename: "max_batch_size: 0"', None, None),
        ("dynamic_batching {}", None, True),
        ("max_batch_size: 0", 0, False),
        ("max_batch_size :0 dynamic_batching {}", 0, False),
        ("max_batch_size: 4", 4, False),
        ("max_batch_size: 4 dynamic_batching {}", 4, True),
        ('input { name: "x" data_type: TYPE_FP32 dims: 1 }', 0, False),
    ],
)
def test_who_decides_on_batching(text: str, size: int | None, batching: bool | None) -> None:
    config = parse_text(text, "m")
    assert (config.max_batch_size, config.batching) == (size, batching)


@pytest.mark.parametrize(
    ("text", "policy"),
    [
        ("", VersionPolicy(latest=1)),
        ("version_policy { latest {} }", VersionPolicy(latest=1)),
        ("version_policy { latest { num_versions: 3 } }", VersionPolicy(latest=3)),
        ("version_policy { all {} }", VersionPolicy()),
        ("version_policy { specific { versions: [2, 10, 2] } }", VersionPolicy(specific=("2", "10"))),
    ],
)
def test_version_policies(text: str, policy: VersionPolicy) -> None:
    assert parse_text(text, "m").policy == policy


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ('name: "other"', ["name", "other", "'m'"]),
        ("max_batch: 4", ["line 1, column 1", "max_batch"]),
        ('\n  max_batch_size: "a"', ["line 2, column 19"]),
        ("input { name: 'x'", ["line 1"]),
        ('platform: "tensorrt_plan"', ["platform", "tensorrt_plan", "onnxruntime_onnx"]),
        ('backend: "python"', ["backend", "python", "onnxruntime"]),
        ("sequence_batching {}", ["sequence_batching"]),
        ("ensemble_scheduling {}", ["ensemble_scheduling"]),
        ("model_transaction_policy { decoupled: true }", ["model_transaction_policy.decoupled"]),
        ("input { name: 'x' is_shape_tensor: true }", ["input.is_shape_tensor"]),
        ("input { name: 'x' allow_ragged_batch: true }", ["input.allow_ragged_batch"]),
        ("batch_input {}", ["batch_input"]),
        ("batch_output {}", ["batch_output"]),
        ("dynamic_batching { priority_levels: 2 }", ["priority_levels", "2"]),
        ("max_batch_size: -1", ["max_batch_size", "-1"]),
        ("max_batch_size: 2 dynamic_batching { preferred_batch_size: 3 }", ["preferred_batch_size", "3"]),
        ("version_policy { specific {} }", ["version_policy.specific.versions"]),
        ("instance_group { count: -1 }", ["instance_group.count"]),
        ("input { data_type: TYPE_FP32 }", ["input[0].name"]),
        ("input { name: 'x' }", ["input[0].data_type", "TYPE_INVALID"]),
        ("input { name: 'x' data_type: TYPE_FP32 dims: -2 }", ["input[0].dims", "-2"]),
        (
            "output { name: 'y' data_type: TYPE_FP32 dims: 4 reshape { shape: [2, 3] } }",
            ["output[0].reshape", "[2, 3]"],
        ),
        ("output { name: 'y' data_type: TYPE_FP32 label_filename: '../l' }", ["output[0].label_filename"]),
        ("default_model_filename: '/etc/passwd'", ["default_model_filename"]),
        ("default_model_filename: 'a/b.onnx'", ["default_model_filename", "a/b.onnx"]),
        (
            "model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 } } }",
            ["model_warmup[0].inputs['x']"],
        ),
        ("model_warmup { batch_size: 2 }", ["model_warmup[0].batch_size", "at most 1"]),
        (
            "model_warmup { inputs { key: 'x' value { data_type: TYPE_FP32 input_data_file: '../f' } } }",
            ["input_data_file"],
        ),
        (
            "parameters { key: 'intra_op_thread_count' value { string_value: 'many' } }",
            ["intra_op_thread_count", "many"],
        ),
    ],
)
def test_what_is_refused_is_named(text: str, names: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        parse_text(text, "m", "m/config.pbtxt")
    assert caught.value.message.startswith("m/config.pbtxt")
    for name in names:
        assert name in caught.value.message


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("optimization { graph { level: 1 } }", "optimization"),
        ("instance_group { kind: KIND_GPU gpus: 0 }", "instance_group.kind"),
        ("instance_group { gpus: [0, 1] } instance_group { gpus: 2 }", "instance_group.gpus"),
        ("response_cache { enable: true }", "response_cache.enable"),
        ("metric_tags { key: 'a' value: 'b' }", "metric_tags"),
        ("parameters { key: 'execution_mode' value { string_value: '0' } }", "parameters['execution_mode']"),
        ("dynamic_batching { default_queue_policy { timeout_action: DELAY } }", "timeout_action"),
        ("cc_model_filenames { key: '7.5' value: 'a.onnx' }", "cc_model_filenames"),
        ("max_batch_size: 0 dynamic_batching {}", "dynamic_batching"),
    ],
)
def test_what_is_ignored_is_logged_once(text: str, field: str, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "sluice.models"):
        parse_text(text, "m")
    assert len([record for record in caplog.records if f"{field}'" in record.getMessage()]) == 1


def test_the_tables_name_real_fields() -> None:
    for path in [*REFUSED, *IGNORED]:
        descriptor = pb.message("ModelConfig").DESCRIPTOR
        for part in path.split("."):
            field = descriptor.fields_by_name[part]
            descriptor = field.message_type


def test_overrides_take_both_spellings_and_numbers_as_strings() -> None:
    config = parse_override(
        '{"max_batch_size": "16", "dynamicBatching": {"maxQueueDelayMicroseconds": 100},'
        ' "parameters": {"intra_op_thread_count": {"string_value": "3"}}}',
        "m",
    )
    assert config.max_batch_size == 16
    assert config.max_delay == 0.0001
    assert config.threading == Threading(intra_op=3)
    assert parse_override("{}", "m").max_batch_size is None
    assert parse_override('{"maxBatchSize": 0}', "m").max_batch_size == 0


@pytest.mark.parametrize(
    "text",
    ["", "[]", "null", "3", '"x"', "{", '{"a": 1}', '{"max_batch_size": 1e400}', '{"name": "m", "name": "m"}',
     "[" * 100_000, '{"input":' * 10_000, '{"max_batch_size": 1' + "0" * 5000 + "}", '{"name": "\\ud800"}',
     '{"max_batch_size": "x"}', '{"input": 3}', '{"sequence_batching": {}}', '{"name": "other"}'],
)  # fmt: skip
def test_bad_overrides_say_that_the_load_failed(text: str) -> None:
    with pytest.raises(InvalidArgument, match="failed to load 'm'") as caught:
        parse_override(text, "m")
    assert len(caught.value.message) < 500


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "m"
    folder.mkdir()
    assert read_config(folder) == ModelConfig(name="m")
    file = folder / "config.pbtxt"
    file.write_text("max_batch_size: 3")
    assert read_config(folder).max_batch_size == 3
    file.write_bytes(b"name: '\xff'")
    with pytest.raises(InvalidArgument, match=r"m/config\.pbtxt is not UTF-8 at byte 7"):
        read_config(folder)
    file.write_bytes(b"#" * (MAX_CONFIG_BYTES + 1))
    with pytest.raises(InvalidArgument, match="bytes long"):
        read_config(folder)
    file.unlink()
    file.mkdir()
    with pytest.raises(InvalidArgument, match="cannot be read"):
        read_config(folder)


names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
dims = st.lists(st.just(-1) | st.integers(1, 2**62), max_size=4)
kinds = st.sampled_from([value.name for value in pb.pool().FindEnumTypeByName("inference.DataType").values][1:])


@st.composite
def messages(draw: st.DrawFn) -> Any:
    """ModelConfigs that this server accepts."""
    message = pb.message("ModelConfig")(
        name=draw(st.sampled_from(["", "m"])),
        platform=draw(st.sampled_from(["", "onnxruntime_onnx"])),
        max_batch_size=draw(st.integers(0, 2**31 - 1)),
        metric_tags=draw(st.dictionaries(names, names, max_size=2)),
    )
    for name in draw(st.lists(names, unique=True, max_size=3)):
        message.input.add(name=name, data_type=draw(kinds), dims=draw(dims))
    for name in draw(st.lists(names, unique=True, max_size=3)):
        message.output.add(name=name, data_type=draw(kinds), dims=draw(dims))
    for count in draw(st.lists(st.integers(0, 100), max_size=3)):
        message.instance_group.add(count=count, kind="KIND_CPU")
    if draw(st.booleans()):
        message.dynamic_batching.max_queue_delay_microseconds = draw(st.integers(0, 2**64 - 1))
        message.dynamic_batching.default_queue_policy.max_queue_size = draw(st.integers(0, 2**32 - 1))
    if draw(st.booleans()):
        message.version_policy.specific.versions.extend(draw(st.lists(st.integers(1, 2**63 - 1), min_size=1)))
    return message


def restored(config: ModelConfig) -> Any:
    assert config.declared is not None
    return json_format.ParseDict(dict(config.declared), pb.message("ModelConfig")())


@given(messages())
def test_text_round_trip(message: Any) -> None:
    config = parse_text(text_format.MessageToString(message), "m")
    assert restored(config) == message
    assert config.instances == (sum(group.count or 1 for group in message.instance_group) or 1)
    assert [(t.name, t.dims) for t in config.inputs] == [(t.name, tuple(t.dims)) for t in message.input]


@given(messages(), st.booleans())
def test_json_round_trip(message: Any, snake: bool) -> None:
    text = json_format.MessageToJson(message, preserving_proto_field_name=snake)
    assert restored(parse_override(text, "m")) == message


@given(st.text(max_size=200) | st.text("{}[]:,\"'#<> \nabmnput_x01-", max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    for parse in (parse_text, parse_override):
        with contextlib.suppress(InvalidArgument):
            parse(text, "m")


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | names,
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(list(pb.message("ModelConfig").DESCRIPTOR.fields_by_name)) | names,
                inner,
                max_size=4,
            )
        ),
    )
)
def test_no_document_raises_anything_else(document: Any) -> None:
    with contextlib.suppress(InvalidArgument):
        parse_override(json.dumps(document), "m")
