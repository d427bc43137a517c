"""Bodies that are wrong, each told how: JSON, binary and compressed. The connection stays, and so does the server."""

# ruff: noqa: E501, UP031 - a line is one attack, and JSON is full of braces

from __future__ import annotations

import gzip
import json
import struct
import zlib
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx
import pytest
from gateways import Server
from hypothesis import given, settings
from hypothesis import strategies as st
from rawhttp import Raw, infer, request, tensor

from gateway.codecs.compression import THREADS

MIB = 1 << 20
PATH = "/v2/models/affine/infer"
ROW = tensor("x", [1, 4], "FP32", [1, 2, 3, 4])
GOOD = infer("affine", ROW)
BODY = GOOD.partition(b"\r\n\r\n")[2]


def binary(model: str, inputs: list[dict[str, Any]], blob: bytes, *, head: object = None, **document: object) -> bytes:
    """`head`: what Inference-Header-Content-Length claims."""
    text = json.dumps({"inputs": inputs, **document}).encode()
    claim = len(text) if head is None else head
    return request(f"/v2/models/{model}/infer", text + blob, f"Inference-Header-Content-Length: {claim}")


def raw(text: bytes | str, model: str = "affine") -> bytes:
    return request(f"/v2/models/{model}/infer", text if isinstance(text, bytes) else text.encode())


def x(shape: object, data: object, datatype: str = "FP32", extra: str = "") -> bytes:
    return raw('{"inputs":[{"name":"x","shape":%s,"datatype":"%s","data":%s%s}]}' % (shape, datatype, data, extra))


def words(*lengths_and_texts: tuple[int, bytes]) -> bytes:
    return b"".join(struct.pack("<I", length) + text for length, text in lengths_and_texts)


def text(shape: list[int], blob: bytes) -> bytes:
    count = tensor("count", [1], "INT64", [1])
    return binary("echo", [tensor("text", shape, "BYTES", binary_data_size=len(blob)), count], blob)


FLOATS = bytes(16)
X = tensor("x", [1, 4], "FP32", binary_data_size=16)

WRONG: dict[str, tuple[bytes, str]] = {
    # JSON that is none
    "nothing": (raw(""), "failed to parse the request JSON"),
    "half of it": (raw(BODY[:-9]), "failed to parse the request JSON"),
    "more than it": (raw(BODY + b"{}"), "failed to parse the request JSON"),
    "not UTF-8": (raw(b'{"inputs":[],"id":"\xff\xfe"}'), "failed to parse the request JSON"),
    "not UTF-8 in BYTES": (raw(b'{"inputs":[{"name":"text","shape":[1],"datatype":"BYTES","data":["\xc3\x28"]}]}', "echo"), "'text'"),
    "UTF-16": (raw(BODY.decode().encode("utf-16")), "failed to parse the request JSON"),
    "a lone surrogate": (raw('{"inputs":[],"id":"\\ud800"}'), "failed to parse the request JSON"),
    "a lone surrogate, and NaN": (x("[1,4]", "[NaN,1,2,3]", extra='}],"id":"\\ud800","z":[{"z":1'), "failed to parse the request JSON"),
    "arrays 10,000 deep": (raw("[" * 10_000), "invalid inference request"),
    "objects 10,000 deep": (raw('{"inputs":' * 10_000), "invalid inference request"),
    "data 10,000 deep": (x("[1,4]", "[" * 10_000 + "]" * 10_000), "nested too deeply"),
    "parameters 10,000 deep": (raw('{"inputs":[],"parameters":{"a":%s}}' % ("[" * 10_000 + "]" * 10_000)), "nested too deeply"),
    "NaN and 10,000 deep": (x("[1,4]", "[NaN,%s]" % ("[" * 10_000 + "]" * 10_000)), "nested too deeply"),
    "data 100 deep": (x("[1,4]", "[" * 100 + "1" + "]" * 100), "'x' is nested more than 32 deep"),
    "a list": (raw("[]"), "invalid inference request"),
    "a number": (raw("5"), "invalid inference request"),
    "no inputs": (raw("{}"), "missing required field `inputs`"),
    "no inputs, and NaN": (raw('{"a":NaN}'), "missing required field `inputs`"),
    "inputs that are no list": (raw('{"inputs":{"x":1}}'), "Expected `array`"),
    "an id that is a number": (raw('{"inputs":[],"id":5}'), "$.id"),
    # names
    "no such input": (infer("affine", tensor("z", [1, 4], "FP32", [1, 2, 3, 4])), "unexpected input 'z'"),
    "one input too few": (infer("echo", tensor("count", [1], "INT64", [1])), "missing"),
    "one input too many": (infer("affine", ROW, tensor("z", [1], "FP32", [1])), "unexpected input 'z'"),
    "an input twice": (infer("affine", ROW, ROW), "'x' is given twice"),
    "no such output": (infer("affine", ROW, outputs=[{"name": "z"}]), "unexpected output 'z'"),
    "an output twice": (infer("affine", ROW, outputs=[{"name": "y"}, {"name": "y"}]), "output 'y' is requested twice"),
    "a name of a megabyte": (infer("affine", tensor("z" * 900_000, [1, 4], "FP32", [1, 2, 3, 4])), "unexpected input 'zzz"),
    "a name without characters": (infer("affine", tensor("", [1, 4], "FP32", [1, 2, 3, 4])), "unexpected input ''"),
    # shapes
    "a negative dimension": (x("[-1,4]", "[1,2,3,4]"), "negative dimension -1"),
    "two negative dimensions": (x("[-2,-2]", "[1,2,3,4]"), "negative dimension -2"),
    "a huge shape": (x("[1000000000,4]", "[1,2,3,4]"), "'x' has 4 elements, expected 4000000000"),
    "a shape that overflows 64 bits": (x("[4294967296,4294967296]", "[]"), "is too large"),
    "a dimension of 4,000 digits": (x("[%s]" % ("9" * 4000), "[]"), "is too large"),
    "thirty dimensions of 4,000 digits": (x("[%s]" % ",".join(["9" * 4000] * 30), "[]"), "is too large"),
    "no elements, and a huge dimension": (x("[0,1099511627776]", "[]"), "is too large"),
    "no elements, and much beside": (x("[0,65536,65536]", "[]"), "too large for a tensor without elements"),
    "a million dimensions": (x([9] * 300_000, "[1]"), "300000 dimensions"),
    "33 dimensions": (x([1] * 33, "[1]"), "33 dimensions"),
    "a fraction": (x("[1.5,4]", "[1]"), "Expected `int`"),
    "no numbers": (x('["1"]', "[1]"), "Expected `int`"),
    "another rank": (x("[4]", "[1,2,3,4]"), "unexpected shape [4] for input 'x', expecting [-1, 4]"),
    "another size": (x("[1,5]", "[1,2,3,4,5]"), "unexpected shape [1, 5] for input 'x', expecting [-1, 4]"),
    # counts and types
    "too few elements": (x("[1,4]", "[1,2,3]"), "'x' has 3 elements, expected 4"),
    "too many elements": (x("[1,4]", "[1,2,3,4,5]"), "'x' has 5 elements, expected 4"),
    "no elements": (x("[1,4]", "[]"), "'x' has 0 elements, expected 4"),
    "rows of different lengths": (x("[2,4]", "[[1,2,3,4],[1,2,3]]"), "different lengths"),
    "rows and numbers": (x("[2,4]", "[[1,2,3,4],5,6,7,8]"), "'x' expects numbers"),
    "rows and numbers, and NaN": (x("[2,4]", "[[NaN,2,3,4],5,6,7,8]"), "rows of different lengths"),
    "no data": (infer("affine", tensor("x", [1, 4], "FP32")), "'x' has no data"),
    "data that is null": (x("[1,4]", "null"), "'x' expects numbers"),
    "strings for numbers": (x("[1,4]", '["1","2","3","4"]'), "'x' expects numbers"),
    "booleans for numbers": (x("[1,4]", "[true,true,false,false]"), "'x' expects numbers"),
    "a number beyond floats": (x("[1,4]", "[1e999,2,3,4]"), "'x' expects numbers"),
    "fractions for integers": (x("[1]", "[1.5]", "INT8"), "'x' expects integers"),
    "NaN for integers": (x("[1]", "[NaN]", "INT8"), "'x' expects integers"),
    "Infinity for integers": (x("[2]", "[1,Infinity]", "INT8"), "'x' expects integers"),
    "NaN for booleans": (x("[1]", "[NaN]", "BOOL"), "'x' expects booleans"),
    "an integer beyond its type": (x("[1]", "[300]", "INT8"), "out of the range of INT8"),
    "an integer below its type": (x("[1]", "[-129]", "INT8"), "out of the range of INT8"),
    "an integer of 5,000 digits": (x("[1]", "9" * 5000, "INT8"), "'x' expects integers"),
    "integers for booleans": (x("[1]", "[1]", "BOOL"), "'x' expects booleans"),
    "another datatype": (x("[1,4]", "[1,2,3,4]", "FP64"), "unexpected datatype FP64 for input 'x', expecting FP32"),
    "no such datatype": (x("[1,4]", "[1,2,3,4]", "FP31"), "'FP31', expected one of"),
    "FP16 in JSON": (x("[1,4]", "[1,2,3,4]", "FP16"), "binary data only"),
    # parameters
    "reserved parameters": (infer("affine", ROW, parameters={"triton_x": 1}), "reserved"),
    "a sequence": (infer("affine", ROW, parameters={"sequence_id": 5}), "'sequence_id'"),
    "a negative time-out": (infer("affine", ROW, parameters={"timeout": -1}), "'timeout'"),
    "a time-out of text": (infer("affine", ROW, parameters={"timeout": "a" * 100_000}), "'timeout'"),
    "a time-out beyond 64 bits": (infer("affine", ROW, parameters={"timeout": 1 << 80}), "'timeout'"),
    "a parameter that is a list": (infer("affine", ROW, parameters={"a": [1]}), "'a'"),
    "binary_data_output of text": (infer("affine", ROW, parameters={"binary_data_output": "yes"}), "'binary_data_output'"),
    "a negative classification": (
        infer("affine", ROW, outputs=[{"name": "y", "parameters": {"classification": -1}}]), "'classification'",
    ),
    # binary
    "H negative": (binary("affine", [X], FLOATS, head=-1), "expected a whole number"),
    "H beyond the body": (binary("affine", [X], FLOATS, head=10**6), "but the body has"),
    "H that is no number": (binary("affine", [X], FLOATS, head="ten"), "expected a whole number"),
    "H of many digits": (binary("affine", [X], FLOATS, head="9" * 40), "expected a whole number"),
    "H too short": (binary("affine", [X], FLOATS, head=10), "failed to parse the request JSON"),
    "H too long": (binary("affine", [X], FLOATS, head=110), "failed to parse the request JSON"),
    "a blob too short": (binary("affine", [X], FLOATS[:-1]), "unexpected size for input 'x': 15 bytes are left"),
    "a blob too long": (binary("affine", [X], FLOATS + b"\0"), "unexpected additional input data: 1 bytes"),
    "no blob": (binary("affine", [X], b""), "unexpected size for input 'x'"),
    "no H": (infer("affine", X), "unexpected size for input 'x'"),
    "a size that is not the shape's": (
        binary("affine", [tensor("x", [1, 4], "FP32", binary_data_size=15)], FLOATS[:-1]), "15 bytes, expecting 16",
    ),
    "a negative size": (binary("affine", [tensor("x", [1, 4], "FP32", binary_data_size=-16)], FLOATS), "'binary_data_size'"),
    "a size of text": (binary("affine", [tensor("x", [1, 4], "FP32", binary_data_size="16")], FLOATS), "'binary_data_size'"),
    "a size that is true": (binary("affine", [tensor("x", [1, 4], "FP32", binary_data_size=True)], FLOATS), "'binary_data_size'"),
    "a size beyond 64 bits": (binary("affine", [tensor("x", [1, 4], "FP32", binary_data_size=1 << 70)], FLOATS), "'binary_data_size'"),
    "both data and a size": (binary("affine", [tensor("x", [1, 4], "FP32", [1, 2, 3, 4], binary_data_size=16)], FLOATS), "more than once"),
    "a huge shape and a blob": (binary("affine", [tensor("x", [1 << 40, 4], "FP32", binary_data_size=16)], FLOATS), "is too large"),
    "a shape of 2**62 bytes": (binary("affine", [tensor("x", [1 << 30, 1 << 30], "FP32", binary_data_size=16)], FLOATS), "unexpected size"),
    "two inputs, one blob": (
        binary("echo", [tensor("count", [1], "INT64", binary_data_size=8), tensor("text", [1], "BYTES", binary_data_size=9)], bytes(8)),
        "unexpected size for input 'text'",
    ),
    "a BOOL of 2": (binary("flags", [tensor("flag", [2], "BOOL", binary_data_size=2)], b"\1\2"), "a BOOL is 0 or 1"),
    "BYTES longer than there is": (text([1], words((9, b"abc"))), "element 0 of input 'text' claims 9 bytes, but 3 are left"),
    "BYTES of 4 GB": (text([1], words((0xFFFFFFFF, b"abc"))), "claims 4294967295 bytes"),
    "BYTES with a length cut off": (text([2], words((7, b"abcdefg")) + b"\1"), "element 1"),
    "BYTES too few": (text([3], words((3, b"abc"), (1, b"d"))), "'text'"),
    "BYTES too many": (text([1], words((3, b"abc"), (1, b"d"))), "additional input data for 'text': 5 bytes after 1 elements"),
    "BYTES not UTF-8": (text([1], words((2, b"\xc3\x28"))), "element 0 of input 'text' is not UTF-8"),
    "BYTES a billion": (text([1_000_000_000], words((3, b"abc"))), "expecting at least 4000000000"),
    # the raw form
    "raw, no multiple of a row": (request(PATH, FLOATS[:-1], "Inference-Header-Content-Length: 0"), "'x'"),
    "raw, two inputs": (
        request("/v2/models/echo/infer", b"a", "Inference-Header-Content-Length: 0"), "exactly one input, 'echo' has 2",
    ),
    # compressed
    "gzip that is none": (request(PATH, BODY, "Content-Encoding: gzip"), "cannot be decompressed"),
    "gzip cut off": (request(PATH, gzip.compress(BODY)[:-5], "Content-Encoding: gzip"), "incomplete"),
    "gzip, empty": (request(PATH, b"", "Content-Encoding: gzip"), "incomplete"),
    "gzip and other data": (request(PATH, gzip.compress(BODY) + b"x", "Content-Encoding: gzip"), "followed by other data"),
    "gzip with a wrong checksum": (request(PATH, gzip.compress(BODY)[:-8] + bytes(8), "Content-Encoding: gzip"), "cannot be decompressed"),
    "deflate that is gzip": (request(PATH, gzip.compress(BODY), "Content-Encoding: deflate"), "cannot be decompressed"),
    "gzip of gzip": (request(PATH, gzip.compress(gzip.compress(BODY)), "Content-Encoding: gzip"), "failed to parse the request JSON"),
}  # fmt: skip


@pytest.mark.parametrize(("data", "message"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_told(gateway: Server, data: bytes, message: str) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(data).reply()
        assert reply.status == 400, reply
        assert message in reply.error
        assert len(reply.body) < 2500
        assert not reply.closes
        assert client.send(GOOD).reply().status == 200


BOMBS = {
    "gzip": (gzip.compress(bytes(64 * MIB), 9), "gzip"),
    "deflate": (zlib.compress(bytes(64 * MIB), 9), "deflate"),
    "gzip of spaces": (gzip.compress(BODY.ljust(64 * MIB)), "gzip"),
    "many members": (gzip.compress(bytes(8 * MIB)) * 8, "gzip"),
}


@pytest.mark.parametrize(("bomb", "coding"), BOMBS.values(), ids=BOMBS)
@pytest.mark.parametrize("header", [(), ("Inference-Header-Content-Length: 0",)], ids=["JSON", "binary"])
def test_bombs_fizzle(gateway: Server, bomb: bytes, coding: str, header: tuple[str, ...]) -> None:
    peak = _peak(gateway)
    for _ in range(3):
        with Raw(gateway.host) as client:
            reply = client.send(request(PATH, bomb, f"Content-Encoding: {coding}", *header)).reply()
            assert reply.status == 413
            assert f"exceeds {4 * MIB if header else MIB} bytes" in reply.error
            assert client.send(GOOD).reply().status == 200
    assert _peak(gateway) - peak < 24 * MIB


def _peak(gateway: Server) -> int:
    """The most memory that it ever had, in bytes."""
    with Path(f"/proc/{gateway.process.pid}/status").open() as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("VmHWM"))


def test_many_bombs_at_once(gateway: Server) -> None:
    bomb, _ = BOMBS["gzip"]
    one = request(PATH, bomb, "Content-Encoding: gzip", "Inference-Header-Content-Length: 0")
    with Raw(gateway.host) as client:
        client.send(one * 20 + GOOD)
        assert [client.reply().status for _ in range(21)] == [413] * 20 + [200]


def test_bodies_that_are_decompressed_at_the_same_time_are_few(gateway: Server) -> None:
    """And have threads of their own: loads and the store do not wait for them."""
    before = _threads(gateway)
    bomb, _ = BOMBS["gzip"]
    one = request(PATH, bomb, "Content-Encoding: gzip", "Inference-Header-Content-Length: 0")
    with ExitStack() as stack:
        clients = [stack.enter_context(Raw(gateway.host)).send(one) for _ in range(16)]
        assert [client.reply().status for client in clients] == [413] * 16
    assert _threads(gateway) - before <= THREADS


def _threads(gateway: Server) -> int:
    return len(list(Path(f"/proc/{gateway.process.pid}/task").iterdir()))


def test_unknown_codings(gateway: Server) -> None:
    for coding in ("br", "zstd", "gzip, gzip", "deflate, gzip", "\xff", ""):
        with Raw(gateway.host) as client:
            reply = client.send(request(PATH, BODY, f"Content-Encoding: {coding}")).reply()
            assert reply.status == 501
            assert "content encoding" in reply.error
            assert reply.headers["accept-encoding"] == "gzip, deflate"
            assert client.send(GOOD).reply().status == 200


def test_json_has_its_own_limit_within_a_binary_body(gateway: Server) -> None:
    long = json.dumps({"inputs": [X]}).encode().ljust(2 * MIB)
    with Raw(gateway.host) as client:
        reply = client.send(request(PATH, long + FLOATS, f"Inference-Header-Content-Length: {len(long)}")).reply()
        assert reply.status == 413
        assert f"exceeds {MIB} bytes" in reply.error
        assert client.send(GOOD).reply().status == 200


def test_codings_that_are_right(gateway: Server) -> None:
    for coding, body in (
        ("gzip", gzip.compress(BODY)),
        ("x-gzip", gzip.compress(BODY)),
        ("GZIP", gzip.compress(BODY)),
        ("deflate", zlib.compress(BODY)),
        ("identity", BODY),
        ("gzip", gzip.compress(BODY.ljust(MIB))),
    ):
        with Raw(gateway.host) as client:
            assert client.send(request(PATH, body, f"Content-Encoding: {coding}")).reply().status == 200


def test_what_is_missing(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        shared = tensor("x", [1, 4], "FP32", shared_memory_region="a", shared_memory_byte_size=16)
        reply = client.send(infer("affine", shared)).reply()
        assert (reply.status, reply.error) == (404, "Unable to find shared memory region: 'a'")
        for path in (
            "/v2/models/none/infer",
            "/v2/models/affine/versions/7/infer",
            "/v2/models/affine/versions/canary/infer",
        ):
            reply = client.send(infer("", ROW, path=path)).reply()
            assert reply.status == 404
            assert reply.error.startswith("Request for unknown model")


def test_a_tensor_without_elements(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        assert client.send(x("[0,4]", "[]")).reply().json["outputs"][0]["shape"] == [0, 4]
        empty = tensor("x", [0, 4], "FP32", binary_data_size=0)
        assert client.send(binary("affine", [empty], b"")).reply().json["outputs"][0]["data"] == []
        assert (
            client.send(request("/v2/models/free/infer", x("[0,3]", "[]").partition(b"\r\n\r\n")[2])).reply().status
            == 200
        )


def test_numbers_that_json_does_not_know(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(x("[1,4]", "[NaN,Infinity,-Infinity,1e39]", extra=',"parameters":{}')).reply()
        assert b'"data":[NaN,Infinity,-Infinity,Infinity]' in reply.body
        assert client.send(GOOD).reply().status == 200


def test_memory_of_requests_is_given_back_at_once(gateway: Server) -> None:
    """Good ones, wrong ones, refused and forgotten ones: half a gigabyte in all."""
    rows = 200_000
    blob = bytes(16 * rows)
    good = tensor("x", [rows, 4], "FP32", binary_data_size=16 * rows)
    before = _peak(gateway)
    with Raw(gateway.host) as client:
        for _ in range(40):
            client.send(binary("affine", [good], blob, parameters={"timeout": 1 << 60, "binary_data_output": True}))
            client.send(binary("affine", [good | {"name": "z"}], blob))
            client.send(binary("none", [good], blob))
            client.send(binary("affine", [good | {"datatype": "INT8"}], blob))
            assert [client.reply().status for _ in range(4)] == [200, 400, 404, 400]
    assert _peak(gateway) - before < 64 * MIB


@settings(max_examples=150, deadline=None)
@given(
    at=st.integers(0, len(BODY)),
    cut=st.integers(0, 12),
    put=st.one_of(
        st.binary(max_size=6), st.sampled_from([b"NaN", b"-1", b"1e999", b"null", b"[", b"]", b"{}", b'"', b"\\u0000"])
    ),
)
def test_any_change_of_a_request_is_answered(gateway: Server, at: int, cut: int, put: bytes) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(raw(BODY[:at] + put + BODY[at + cut :])).reply()
        assert reply.status in (200, 400)
        assert reply.status == 200 or reply.error
        assert client.send(GOOD).reply().status == 200


@settings(max_examples=150, deadline=None)
@given(headers=st.lists(st.tuples(st.sampled_from([
    "Content-Encoding", "Inference-Header-Content-Length", "Accept-Encoding", "sluice-key", "Content-Type", "traceparent",
]), st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=12)), max_size=3))  # fmt: skip
def test_any_header_is_answered(gateway: Server, headers: list[tuple[str, str]]) -> None:
    with Raw(gateway.host) as client:
        reply = client.send(request(PATH, BODY, *(f"{name}: {value}" for name, value in headers))).reply()
        assert reply.status in (200, 400, 413, 501)
        assert reply.closes or client.send(GOOD).reply().status == 200


def test_nothing_of_all_this_was_counted_as_a_failure_of_the_server(gateway: Server) -> None:
    text = httpx.get(f"{gateway.admin}/metrics").text
    assert 'code="500"' not in text
