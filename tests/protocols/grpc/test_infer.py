"""ModelInfer, message by message: every form of input, and what is refused."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import grpc
import ml_dtypes
import numpy as np
import pytest
from conformance.oip import DTYPES, NAMES

from gateway import pb

ROWS = np.array([[1, 2, 3, 4], [-1, 0.5, 0, 8]], np.float32)

CONTENTS = {
    "BOOL": "bool_contents",
    "INT8": "int_contents",
    "INT16": "int_contents",
    "INT32": "int_contents",
    "INT64": "int64_contents",
    "UINT8": "uint_contents",
    "UINT16": "uint_contents",
    "UINT32": "uint_contents",
    "UINT64": "uint64_contents",
    "FP32": "fp32_contents",
    "FP64": "fp64_contents",
    "BYTES": "bytes_contents",
}


def raw(array: np.ndarray) -> bytes:
    if array.dtype != object:
        return array.tobytes()
    texts = [text.encode() for text in array.ravel()]
    return b"".join(struct.pack("<I", len(text)) + text for text in texts)


def question(model: str, arrays: dict[str, Any], **fields: Any) -> Any:
    message = pb.message("ModelInferRequest")(model_name=model, **fields)
    for name, array in arrays.items():
        message.inputs.add(name=name, datatype=NAMES[array.dtype], shape=array.shape)
        message.raw_input_contents.append(raw(array))
    return message


def rows(**fields: Any) -> Any:
    return question("affine", {"x": ROWS}, **fields)


def answer(reply: Any, name: str) -> Any:
    for output, content in zip(reply.outputs, reply.raw_output_contents, strict=True):
        if output.name == name:
            if output.datatype == "BYTES":
                return content
            return np.frombuffer(content, DTYPES[output.datatype]).reshape(output.shape)
    raise AssertionError(name)


def sample(kind: str) -> Any:
    if kind == "BYTES":
        return np.array(["a", "", "ß€🙂"], object)
    if kind == "BOOL":
        return np.array([True, False, True])
    dtype = DTYPES[kind]
    if dtype.kind in "fV" or kind in ("FP16", "BF16"):
        return np.array([0.5, -2, float("inf")], dtype)
    info = np.iinfo(dtype)
    return np.array([info.min, 1, info.max], dtype)


@pytest.mark.parametrize("kind", DTYPES)
def test_raw_contents(stub: Any, kind: str) -> None:
    array = sample(kind)
    for _ in range(4):  # from the third on its layout is known
        reply = stub.send("ModelInfer", question(f"echo-{kind}", {"x": array}).SerializeToString())
        assert (reply.model_name, reply.model_version, reply.id) == (f"echo-{kind}", "1", "")
        (output,) = reply.outputs
        assert (output.name, output.datatype, [*output.shape]) == ("y", kind, [3])
        assert [*reply.raw_output_contents] == [raw(array)]


@pytest.mark.parametrize("kind", CONTENTS)
def test_typed_contents(stub: Any, kind: str) -> None:
    array = sample(kind)
    message = pb.message("ModelInferRequest")(model_name=f"echo-{kind}", id="é")
    tensor = message.inputs.add(name="x", datatype=kind, shape=[3])
    values = [text.encode() for text in array] if kind == "BYTES" else array.tolist()
    getattr(tensor.contents, CONTENTS[kind]).extend(values)
    reply = stub.send("ModelInfer", message.SerializeToString())
    assert reply.id == "é"
    assert [*reply.raw_output_contents] == [raw(array)]


@pytest.mark.parametrize("kind", ["FP32", "BYTES", "INT64"])
def test_empty_tensors(stub: Any, kind: str) -> None:
    for contents in (True, False):
        message = pb.message("ModelInferRequest")(model_name=f"echo-{kind}")
        message.inputs.add(name="x", datatype=kind, shape=[0])
        if not contents:
            message.raw_input_contents.append(b"")
        reply = stub.send("ModelInfer", message.SerializeToString())
        assert [*reply.outputs[0].shape] == [0]
        assert [*reply.raw_output_contents] == [b""]


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_version_and_an_id(stub: Any, version: str) -> None:
    reply = stub.send("ModelInfer", rows(model_version=version, id="7").SerializeToString())
    assert (reply.model_version, reply.id) == (version, "7")
    assert np.array_equal(answer(reply, "y"), ROWS * (int(version) + 1))


def test_outputs_come_as_asked_for(stub: Any) -> None:
    given = {"a": ROWS[:, :2], "b": ROWS[:, 2:], "text": np.array(["q", "r"], object)}
    message = question("two", given)
    reply = stub.send("ModelInfer", message.SerializeToString())
    assert [output.name for output in reply.outputs] == ["sum", "same"]
    for wanted in (["same", "sum"], ["sum"]):
        del message.outputs[:]
        for name in wanted:
            message.outputs.add(name=name)
        reply = stub.send("ModelInfer", message.SerializeToString())
        assert [output.name for output in reply.outputs] == wanted
        assert np.array_equal(answer(reply, "sum"), ROWS[:, :2] + ROWS[:, 2:])


@pytest.mark.parametrize("padding", range(9))
def test_a_large_tensor_wherever_it_lies(stub: Any, padding: int) -> None:
    image = np.random.default_rng(1).random((1, 3, 300, 300), np.float32)
    reply = stub.send("ModelInfer", question("image", {"x": image}, id="i" * padding).SerializeToString())
    assert np.array_equal(answer(reply, "y"), image)


def test_fields_in_any_order_and_unknown_ones(stub: Any) -> None:
    """Protobuf's own merge rules: the raw tensors first, the name last, fields of a later protocol between."""
    message = rows()
    tensors, rest = pb.message("ModelInferRequest")(), pb.message("ModelInferRequest")()
    tensors.raw_input_contents.extend(message.raw_input_contents)
    rest.CopyFrom(message)
    rest.ClearField("raw_input_contents")
    later = b"\xa2\x06\x03abc" + b"\xa8\x06\x01" + b"\xb5\x06abcd" + b"\xb9\x06abcdefgh"
    for padding in (b"", b"\xa2\x06\x80\x80\x02" + bytes(32768)):
        body = tensors.SerializeToString() + later + padding + rest.SerializeToString()
        assert np.array_equal(answer(stub.send("ModelInfer", body), "y"), ROWS * 3)


def test_parameters(stub: Any) -> None:
    message = rows(model_version="1")
    message.parameters["priority"].uint64_param = 1
    message.parameters["timeout"].int64_param = 9_000_000
    message.parameters["mine"].double_param = 0.5
    message.parameters["triton_enable_empty_final_response"].bool_param = True
    assert np.array_equal(answer(stub.send("ModelInfer", message.SerializeToString()), "y"), ROWS * 2)


def test_classification(stub: Any) -> None:
    message = question("labelled", {"x": np.array([[0.25, 4, 1]], np.float32)})
    message.outputs.add(name="y").parameters["classification"].int64_param = 2
    reply = stub.send("ModelInfer", message.SerializeToString())
    assert (reply.outputs[0].datatype, [*reply.outputs[0].shape]) == ("BYTES", [1, 2])
    assert reply.raw_output_contents[0] == raw(np.array(["4.000000:1:bee", "1.000000:2:cat"], object))


def _no_model(m: Any) -> None:
    m.model_name = "none"


def _no_version(m: Any) -> None:
    m.model_version = "9"


def _mixed(m: Any) -> None:
    m.inputs[0].contents.fp32_contents.append(1)


def _short(m: Any) -> None:
    m.raw_input_contents[0] = m.raw_input_contents[0][:-1]


def _long(m: Any) -> None:
    m.raw_input_contents[0] += b"x"


def _surplus(m: Any) -> None:
    m.raw_input_contents.append(b"")


def _without(m: Any) -> None:
    del m.raw_input_contents[:]


def _another_dtype(m: Any) -> None:
    m.inputs[0].datatype = "INT32"


def _no_dtype(m: Any) -> None:
    m.inputs[0].datatype = "FLOAT"


def _another_name(m: Any) -> None:
    m.inputs[0].name = "z"


def _twice(m: Any) -> None:
    m.inputs.append(m.inputs[0])
    m.raw_input_contents.append(m.raw_input_contents[0])


def _negative(m: Any) -> None:
    m.inputs[0].shape[:] = [-2, -4]


def _huge(m: Any) -> None:
    m.inputs[0].shape[:] = [1 << 62, 4]


def _overflowing(m: Any) -> None:
    m.inputs[0].shape[:] = [1 << 31, 1 << 31, 1 << 31]


def _deep(m: Any) -> None:
    m.inputs[0].shape[:] = [1] * 33


def _another_shape(m: Any) -> None:
    m.inputs[0].shape[:] = [4, 2]


def _no_output(m: Any) -> None:
    m.outputs.add(name="z")


def _output_twice(m: Any) -> None:
    m.outputs.add(name="y")
    m.outputs.add(name="y")


def _reserved(m: Any) -> None:
    m.parameters["triton_x"].bool_param = True


def _valueless(m: Any) -> None:
    m.parameters["timeout"].SetInParent()


def _wrong_timeout(m: Any) -> None:
    m.parameters["timeout"].string_param = "1"


def _sequence(m: Any) -> None:
    m.parameters["sequence_id"].int64_param = 1


def _no_region(m: Any) -> None:
    m.inputs[0].parameters["shared_memory_region"].string_param = "r"
    m.inputs[0].parameters["shared_memory_byte_size"].int64_param = 32
    del m.raw_input_contents[:]


INVALID = "INVALID_ARGUMENT"
WRONG = [
    (_no_model, "NOT_FOUND", "Request for unknown model: 'none'"),
    (_no_version, "NOT_FOUND", "9"),
    (_mixed, INVALID, "input 'x' is given more than once"),
    (_short, INVALID, "unexpected size for input 'x': 31 bytes, expecting 32"),
    (_long, INVALID, "unexpected size for input 'x': 33 bytes, expecting 32"),
    (_surplus, INVALID, "raw_input_contents has 2 entries, expected 1"),
    (_without, INVALID, "input 'x' has 0 elements in fp32_contents, expected 8"),
    (_another_dtype, INVALID, "unexpected datatype INT32 for input 'x', expecting FP32"),
    (_no_dtype, INVALID, "input 'x' has the datatype 'FLOAT'"),
    (_another_name, INVALID, "unexpected input 'z'"),
    (_twice, INVALID, "input 'x' is given twice"),
    (_negative, INVALID, "negative dimension -2"),
    (_huge, INVALID, "too large"),
    (_overflowing, INVALID, "unexpected size"),
    (_deep, INVALID, "33 dimensions"),
    (_another_shape, INVALID, "unexpected shape [4, 2] for input 'x'"),
    (_no_output, INVALID, "unexpected output 'z'"),
    (_output_twice, INVALID, "output 'y' is requested twice"),
    (_reserved, INVALID, "'triton_x' is reserved"),
    (_valueless, INVALID, "parameter 'timeout' of the request has no value"),
    (_wrong_timeout, INVALID, "'timeout' of the request must be a whole number"),
    (_sequence, INVALID, "sequence_id"),
    (_no_region, "NOT_FOUND", "Unable to find shared memory region: 'r'"),
]


@pytest.mark.parametrize(("wrong", "status", "says"), WRONG, ids=[each[0].__name__ for each in WRONG])
def test_wrong_requests(stub: Any, wrong: Any, status: str, says: str) -> None:
    message = rows()
    wrong(message)
    body = message.SerializeToString()
    for _ in range(3):
        found, details = stub.refused("ModelInfer", body)
        assert found == status
        assert says in details
    assert np.array_equal(answer(stub.send("ModelInfer", rows().SerializeToString()), "y"), ROWS * 3)


@pytest.mark.parametrize(
    ("kind", "field", "values", "says"),
    [
        ("INT8", "int_contents", [300], "out of the range of INT8"),
        ("UINT16", "uint_contents", [65536], "out of the range of UINT16"),
        ("FP32", "fp64_contents", [1.0], "is FP32 but has fp64_contents, expected fp32_contents"),
        ("FP16", "fp32_contents", [1.0], "FP16, which travels in raw_input_contents only"),
        ("BYTES", "bytes_contents", [b"\xff"], "not UTF-8"),
        ("INT64", "int64_contents", [1, 2], "2 elements in int64_contents, expected 1"),
    ],
)
def test_wrong_typed_contents(stub: Any, kind: str, field: str, values: list[Any], says: str) -> None:
    message = pb.message("ModelInferRequest")(model_name=f"echo-{kind}")
    tensor = message.inputs.add(name="x", datatype=kind, shape=[1])
    getattr(tensor.contents, field).extend(values)
    status, details = stub.refused("ModelInfer", message.SerializeToString())
    assert status == INVALID
    assert says in details


@pytest.mark.parametrize(
    ("kind", "content", "says"),
    [
        ("BOOL", b"\x02", "a BOOL is 0 or 1"),
        ("BYTES", b"\xff\xff\xff\xff", "claims 4294967295 bytes"),
        ("BYTES", b"\x01\0\0", "expecting at least 4"),
        ("BYTES", b"\x01\0\0\0\xff", "not UTF-8"),
        ("BYTES", b"\x01\0\0\0ab", "unexpected additional input data"),
    ],
)
def test_wrong_raw_contents(stub: Any, kind: str, content: bytes, says: str) -> None:
    message = pb.message("ModelInferRequest")(model_name=f"echo-{kind}")
    message.inputs.add(name="x", datatype=kind, shape=[1])
    message.raw_input_contents.append(content)
    status, details = stub.refused("ModelInfer", message.SerializeToString())
    assert status == INVALID
    assert says in details


@pytest.mark.parametrize(
    "body",
    [
        b"\xff",
        b"\x0a\x05ab",
        b"\x0a\x01\xff",
        b"\x2a\x02\x0a\x05",
        b"\x0f",
        b"\x3a\xff\xff\xff\xff\x0f",
        b"\x3a" * 20000,
    ],
)
def test_what_is_no_message(stub: Any, body: bytes) -> None:
    status, details = stub.refused("ModelInfer", body)
    assert status == INVALID
    assert "failed to parse the request" in details


@pytest.mark.parametrize("body", [b"", b"\x2a\x00" * 100_000, b"\x0a\x01a" * 5_000, b"\x3a\x00" * 9_000])
def test_messages_of_nothing(stub: Any, body: bytes) -> None:
    assert stub.refused("ModelInfer", body)[0] in (INVALID, "NOT_FOUND")


def test_limits_of_a_message(stub: Any) -> None:
    message = pb.message("ModelInferRequest")(model_name="echo-FP32")
    tensor = message.inputs.add(name="x", datatype="FP32", shape=[3 << 20])
    tensor.contents.fp32_contents.extend(np.zeros(3 << 20, np.float32))
    status, details = stub.refused("ModelInfer", message.SerializeToString())
    assert status == "RESOURCE_EXHAUSTED"
    assert "without its raw tensors" in details
    status, details = stub.refused("ModelInfer", b"\x3a\x80\x80\x80\x40" + bytes(128 << 20))
    assert status == "RESOURCE_EXHAUSTED"
    assert stub.refused("ModelMetadata", b"\x0a\x80\x80\x80\x05" + b"a" * (10 << 20))[0] == "RESOURCE_EXHAUSTED"


def test_a_bomb_does_not_go_off(guarded: Any) -> None:
    """480 MiB in 0.5 MiB: it is inflated no further than a message may be long."""
    body = b"\x3a\x80\x80\x80\xf0\x01" + bytes(480 << 20)
    before = peak(guarded)
    with grpc.insecure_channel(guarded.grpc, [("grpc.max_send_message_length", -1)]) as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ModelInfer")
        with pytest.raises(grpc.RpcError) as failure:
            call(body, timeout=20, compression=grpc.Compression.Gzip)
    assert failure.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    assert peak(guarded) - before < 160 << 20


def peak(server: Any) -> int:
    """Bytes of the server's resident memory at its most."""
    lines = Path(f"/proc/{server.process.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM:")) << 10


def test_names_of_any_length_and_letters(stub: Any) -> None:
    status, details = stub.refused("ModelInfer", rows(id="ü").SerializeToString().replace(b"affine", b"\xc3\xbcffin"))
    assert status == "NOT_FOUND"
    assert "'üffin'" in details
    status, details = stub.refused("ModelInfer", question("n" * 100_000, {}).SerializeToString())
    assert status == "NOT_FOUND"
    assert len(details) <= 1024


def test_bfloat16_is_bit_by_bit(stub: Any) -> None:
    array = np.array([1.5, -0.0, 3e38], ml_dtypes.bfloat16)
    reply = stub.send("ModelInfer", question("echo-BF16", {"x": array}).SerializeToString())
    assert reply.raw_output_contents[0] == array.tobytes()
