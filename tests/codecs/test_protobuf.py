from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from tritonclient.grpc import service_pb2 as public

from gateway import pb
from gateway.codecs.layout import Layouts
from gateway.codecs.protobuf import LARGE, decode, encode, error_in_stream, in_stream, request_id
from gateway.codecs.wishes import RAW
from gateway.core.errors import InvalidArgument, SluiceError, TooLarge
from gateway.core.infer import InferRequest, InferResponse
from gateway.core.signature import Signature
from gateway.core.tensor import BFLOAT16, DATA_TYPES, NAME_OF

NUMERIC = [t for t in DATA_TYPES.values() if t.name not in ("BYTES", "BOOL", "BF16")]
NAMES = st.text(min_size=1, max_size=8).filter(lambda text: text.isprintable())
SIGNATURE = Signature((), ())


@st.composite
def arrays(draw: st.DrawFn) -> Any:
    datatype = draw(st.sampled_from(NUMERIC))
    return draw(hnp.arrays(datatype.dtype, hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4)))


def question(model: str, inputs: dict[str, Any], **fields: Any) -> bytes:
    message = public.ModelInferRequest(model_name=model, **fields)
    for name, array in inputs.items():
        message.inputs.add(name=name, datatype=NAME_OF[array.dtype], shape=array.shape)
        message.raw_input_contents.append(array.tobytes())
    body: bytes = message.SerializeToString()
    return body


def same(found: dict[str, Any], expected: dict[str, Any]) -> bool:
    return [*found] == [*expected] and all(
        a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes() and a.flags.aligned
        for a, b in zip(found.values(), expected.values(), strict=True)
    )


@given(NAMES, NAMES | st.just(""), st.dictionaries(NAMES, arrays(), min_size=1, max_size=3), st.data())
def test_requests_come_back_whether_their_layout_is_known_or_not(
    model: str, identity: str, inputs: dict[str, Any], data: st.DataObject
) -> None:
    layouts = Layouts()
    for _ in range(4):
        body = question(model, inputs, id=identity, model_version="3")
        request, form = decode(body, layouts=layouts)
        assert (request.model, request.version, request.id, form) == (model, "3", identity, RAW)
        assert same(request.inputs, inputs)
        inputs = {
            name: data.draw(hnp.arrays(array.dtype, array.shape)) for name, array in inputs.items()
        }  # the next is of the same layout


@settings(max_examples=20)
@given(st.integers(0, 9), st.integers(0, 3))
def test_large_requests_are_views_wherever_they_lie(padding: int, more: int) -> None:
    large = np.arange(LARGE // 4, dtype=np.float32)
    inputs = {"x": large, **{f"y{number}": large[: number + 1] for number in range(more)}}
    body = question("m" * padding, inputs)
    request, _ = decode(body)
    assert same(request.inputs, inputs)


@given(st.dictionaries(NAMES, arrays(), max_size=3), NAMES | st.just(""), st.booleans())
def test_replies_are_what_the_public_messages_say(outputs: dict[str, Any], identity: str, streamed: bool) -> None:
    parts = encode(InferResponse("m", "2", identity, outputs), RAW, SIGNATURE, None, final=streamed)
    reply = public.ModelInferResponse.FromString(b"".join(parts))
    assert (reply.model_name, reply.model_version, reply.id) == ("m", "2", identity)
    assert [(o.name, o.datatype, tuple(o.shape)) for o in reply.outputs] == [
        (name, NAME_OF[array.dtype], array.shape) for name, array in outputs.items()
    ]
    assert [*reply.raw_output_contents] == [array.tobytes() for array in outputs.values()]
    assert ("triton_final_response" in reply.parameters) == streamed
    if streamed:
        assert public.ModelStreamInferResponse.FromString(in_stream(parts)).infer_response == reply


def test_replies_of_other_types() -> None:
    outputs = {
        "half": np.zeros(2, BFLOAT16),
        "text": np.array([["a", "ß"]], object),
        "flag": np.array([True, False]),
        "view": np.arange(6, dtype=np.int64).reshape(2, 3).T,
        "big": np.zeros((100, 100), np.float64).T,
    }
    reply = public.ModelInferResponse.FromString(
        b"".join(encode(InferResponse("m", "1", "", outputs), RAW, SIGNATURE, None))
    )
    assert [o.datatype for o in reply.outputs] == ["BF16", "BYTES", "BOOL", "INT64", "FP64"]
    assert reply.raw_output_contents[1] == b"\x01\0\0\0a\x02\0\0\0\xc3\x9f"
    assert reply.raw_output_contents[3] == np.array([0, 3, 1, 4, 2, 5]).tobytes()
    assert len(reply.raw_output_contents[4]) == 80_000


@given(st.text(max_size=300), st.text(max_size=300))
def test_errors_in_a_stream(message: str, identity: str) -> None:
    message, identity = (text.encode("utf-8", "ignore").decode() for text in (message, identity))
    reply = public.ModelStreamInferResponse.FromString(error_in_stream(message, identity))
    assert (reply.error_message, reply.infer_response.id) == (message, identity)
    assert reply.infer_response.parameters["triton_final_response"].bool_param


@settings(max_examples=300)
@given(st.data(), st.booleans())
def test_any_bytes_are_a_request_or_an_error_of_the_tree(data: st.DataObject, large: bool) -> None:
    array = np.zeros(LARGE if large else 4, np.uint8)
    body = bytearray(question("m", {"x": array, "y": np.zeros(3, np.float32)}, id="7"))
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, min(len(body) - 1, 80)))
        body[at] = data.draw(st.integers(0, 255))
    cut = bytes(body[: data.draw(st.integers(0, len(body)))]) if data.draw(st.booleans()) else bytes(body)
    layouts = Layouts()
    for _ in range(3):
        try:
            request, _ = decode(cut, layouts=layouts)
        except SluiceError:
            request_id(cut)
        else:
            assert isinstance(request, InferRequest)


def test_a_layout_is_only_for_messages_that_are_of_it() -> None:
    layouts = Layouts()
    body = question("m", {"x": np.zeros(4, np.float32), "y": np.zeros(2, np.float32)})
    for _ in range(3):
        decode(body, layouts=layouts)
    at = body.rindex(b"\x3a")
    shifted = body[:at] + b"\x42" + body[at + 1 :]  # an unknown field where a tensor was
    with pytest.raises(InvalidArgument, match="raw_input_contents has 1 entries, expected 2"):
        decode(shifted, layouts=layouts)
    mixed = public.ModelInferRequest.FromString(body)
    mixed.inputs[0].shape[:] = [2, 2]
    request, _ = decode(mixed.SerializeToString(), layouts=layouts)
    assert request.inputs["x"].shape == (2, 2)


def test_what_is_looked_at_is_looked_at_each_time() -> None:
    layouts = Layouts()
    body = question("m", {"x": np.array([True, False])})
    for _ in range(3):
        decode(body, layouts=layouts)
    with pytest.raises(InvalidArgument, match="a BOOL is 0 or 1"):
        decode(body[:-1] + b"\x02", layouts=layouts)


def test_the_limit_is_of_what_is_not_raw() -> None:
    body = question("m", {"x": np.zeros(LARGE, np.uint8)})
    decode(body, most=100)
    with pytest.raises(TooLarge, match="without its raw tensors has"):
        decode(body + b"\x52\x64" + bytes(100), most=100)
    with pytest.raises(TooLarge):
        decode(b"\x3a\x00" * LARGE, most=100)


def test_the_numbers_are_those_of_the_public_files() -> None:
    """Names, numbers, types and labels of every field of every message, and the calls of the service."""
    ours, theirs = pb.pool().FindFileByName("grpc_service.proto"), public.DESCRIPTOR
    assert {*ours.message_types_by_name} == {*theirs.message_types_by_name}
    for name, message in theirs.message_types_by_name.items():
        assert fields(ours.message_types_by_name[name]) == fields(message)
    calls = theirs.services_by_name["GRPCInferenceService"].methods_by_name
    mine = ours.services_by_name["GRPCInferenceService"].methods_by_name
    assert {(n, m.input_type.name, m.output_type.name) for n, m in mine.items()} == {
        (n, m.input_type.name, m.output_type.name) for n, m in calls.items()
    }


def fields(message: Any) -> dict[str, Any]:
    found = {
        f.name: (f.number, f.type, f.is_repeated, f.containing_oneof and f.containing_oneof.name)
        for f in message.fields
    }
    return found | {nested.name: fields(nested) for nested in message.nested_types}
