"""What a client may cost: bytes of heads, bodies and framing, time, and connections."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from gateways import Server, running
from rawhttp import Raw, chunked, infer, request, tensor

PATH = "/v2/models/affine/infer"
GOOD = infer("affine", tensor("x", [1, 4], "FP32", [1, 2, 3, 4]))
BODY = GOOD.partition(b"\r\n\r\n")[2]
MIB = 1 << 20
HEAD, FRAMING = "head exceeds 32768 bytes", "nearly all framing"
SIXTY = 60 * MIB


def endless(start: bytes, piece: bytes) -> Iterator[bytes]:
    """60 MB in all."""
    yield start
    block = piece * (65536 // len(piece))
    for _ in range(SIXTY // len(block)):
        yield block


def chunk_of(size: int) -> bytes:
    return b"%x\r\n%b\r\n" % (size, b" " * size)


CHUNKED = request(PATH, b"", "Transfer-Encoding: chunked", length="")
TOO_MUCH: dict[str, tuple[Callable[[], Iterator[bytes]], int, str]] = {
    "60 MB of headers": (lambda: endless(GOOD[:40], b"X-Filler: " + b"a" * 86 + b"\r\n"), 431, HEAD),
    "60 MB of one header": (lambda: endless(GOOD[:40] + b"X-Filler: ", b"a"), 431, HEAD),
    "60 MB of header names": (lambda: endless(GOOD[:40], b"a"), 431, HEAD),
    "60 MB of URL": (lambda: endless(b"POST /v2/", b"a"), 431, HEAD),
    "60 MB of trailers": (lambda: endless(chunked(PATH, BODY)[:-2], b"X-Filler: " + b"a" * 86 + b"\r\n"), 400, FRAMING),
    "60 MB of one trailer": (lambda: endless(chunked(PATH, BODY)[:-2] + b"X-Filler: ", b"a"), 400, FRAMING),
    "60 MB of trailers after 900 KB": (
        lambda: endless(CHUNKED + chunk_of(900_000) + b"0\r\nX-Filler: ", b"a"), 400, FRAMING,
    ),
    "60 MB of a chunk's extension": (lambda: endless(CHUNKED + b"5;a=", b"a"), 400, FRAMING),
    "60 MB of extensions": (lambda: endless(CHUNKED, b"1;" + b"a" * 60 + b"\r\n \r\n"), 400, FRAMING),
    "60 MB of body": (lambda: endless(request(PATH, length=SIXTY + 100_000), b" "), 413, "exceeds 1048576 bytes"),
    "60 MB of binary body": (
        lambda: endless(request(PATH, b"", "Inference-Header-Content-Length: 5", length=SIXTY + 100_000), b" "),
        413, "body exceeds 4194304 bytes",
    ),
    "60 MB of chunked body": (lambda: endless(CHUNKED, chunk_of(4000)), 413, "exceeds 1048576 bytes"),
    "60 MB of one chunk": (lambda: endless(CHUNKED + b"%x\r\n" % (SIXTY + 100_000), b" "), 413, "body exceeds"),
    "60 MB for the other API": (
        lambda: endless(request("/v2/repository/index", length=SIXTY + 100_000), b" "), 413, "exceeds 1048576 bytes",
    ),
    "a length beyond everything": (lambda: iter([request(PATH, length=10**17)]), 413, "body exceeds"),
    "a length of many digits": (lambda: iter([request(PATH, length="0" * 300 + "5")]), 413, "body exceeds"),
    "a URL of 9,000 bytes": (lambda: iter([request("/v2/" + "a" * 9000, method="GET")]), 414, "URL exceeds 8192 bytes"),
    "200 headers": (
        lambda: iter([request(PATH, BODY, *(f"X-{i}: a" for i in range(200)))]), 431, "more than 100 header fields",
    ),
    "a head of 33 KB at once": (
        lambda: iter([request(PATH, BODY, *(f"X-{i}: {'a' * 8000}" for i in range(5)))]), 431, HEAD,
    ),
}  # fmt: skip


def test_a_head_over_the_limit_whose_end_comes_in_a_small_piece(gateway: Server) -> None:
    whole = request(PATH, BODY, *(f"X-{i}: {'a' * 8000}" for i in range(5)))
    with Raw(gateway.host) as client:
        client.slowly(whole, 30_000)
        assert client.reply().status == 431


@pytest.mark.parametrize(("data", "status", "message"), TOO_MUCH.values(), ids=TOO_MUCH)
def test_too_much(gateway: Server, data: Callable[[], Iterator[bytes]], status: int, message: str) -> None:
    with Raw(gateway.host) as client:
        for block in data():
            client.send(block)
        reply = client.reply()
        assert (reply.status, reply.closes) == (status, True)
        assert message in reply.error
        assert client.ends()


def test_as_much_as_is_allowed(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for _ in range(3):
            assert client.send(request(PATH, BODY.ljust(MIB))).reply().status == 200
            assert client.send(chunked(PATH, BODY, b" " * (MIB - len(BODY)))).reply().status == 200
            assert client.send(request(PATH, BODY, *(f"X-{i}: {'a' * 300}" for i in range(90)))).reply().status == 200
            assert (
                client.send(infer("affine", tensor("x", [0, 4], "FP32", []), path=PATH + "?" + "a" * 8000))
                .reply()
                .status
                == 200
            )


def test_heads_that_are_sent_often_are_not_kept_without_bound(gateway: Server) -> None:
    with Raw(gateway.host) as client:
        for number in range(300):
            long = request(PATH, BODY, f"X-Filler: {number}{'a' * 30_000}")
            client.send(long + long)
        assert {client.reply().status for _ in range(600)} == {200}


def test_slow_clients_are_let_go_and_others_are_not(gateway: Server) -> None:
    """All at the same time: each has more than a second, and less than five."""
    torn = {
        "a head": GOOD[:50],
        "a URL": GOOD[:12],
        "a body": GOOD[:-5],
        "no body": GOOD[: -len(BODY)],
        "a chunk": CHUNKED + b"50\r\nabc",
        "a chunk's size": CHUNKED + b"5",
        "trailers": chunked(PATH, BODY)[:-2] + b"X-A: b",
        "the body of a known head": GOOD + GOOD + GOOD[:-5],
    }
    whole = {"the body of a known head": 2}
    clients = {name: Raw(gateway.host).send(data) for name, data in torn.items()}
    began = time.monotonic()
    patient = Raw(gateway.host).send(GOOD)
    assert patient.reply().status == 200
    # steady, but far slower than any network
    trickles = {name: Raw(gateway.host).send(GOOD[:at]) for name, at in (("head", 30), ("body", len(GOOD) - 60))}
    for at in range(50):
        time.sleep(0.05)
        trickles["head"].send(GOOD[30 + at : 31 + at])
        trickles["body"].send(GOOD[len(GOOD) - 60 + at :][:1])
    for name, client in (clients | trickles).items():
        for _ in range(whole.get(name, 0)):
            assert client.reply().status == 200
        reply = client.reply()
        assert (reply.status, reply.closes) == (408, True), name
        assert (
            "head did not arrive within 1 s" if name in ("a head", "a URL", "head") else "body arrives too slowly"
        ) in reply.error
        assert client.ends()
        client.socket.close()
    assert 1 < time.monotonic() - began < 6
    assert patient.send(GOOD).reply().status == 200
    patient.socket.close()


def test_hundreds_of_half_open_connections_keep_nobody_out(gateway: Server) -> None:
    idle = [Raw(gateway.host).send(GOOD[: at % 60]) for at in range(400)]
    with Raw(gateway.host) as client:
        for _ in range(20):
            assert client.send(GOOD).reply().status == 200
    for number, client in enumerate(idle):
        if number % 2:
            client.vanish()
        else:
            client.socket.close()


def test_a_client_that_never_reads_is_cut(gateway: Server) -> None:
    row = infer("affine", tensor("x", [500, 4], "FP32", [1.25] * 2000))
    sent, ended = flood(gateway, row * 10)
    assert ended
    # it was slowed down long before: what it had sent stayed in the sockets' buffers
    assert sent < 40 * MIB


def flood(gateway: Server, data: bytes) -> tuple[int, bool]:
    """Sends it again and again, and reads nothing. Bytes sent, and whether the server has hung up."""
    sent = 0
    end = time.monotonic() + 15
    with Raw(gateway.host) as client:
        client.socket.settimeout(0.2)
        while time.monotonic() < end:
            try:
                sent += client.socket.send(data[sent % len(data) :])
            except TimeoutError:
                continue
            except OSError:
                return sent, True
    return sent, False


def test_a_client_that_reads_slowly_gets_all_of_a_reply(gateway: Server) -> None:
    """More than the sockets' buffers hold; the last of it is written after the connection was told to close."""
    count = 250_000
    blob = struct.pack("<f", 1.2345678) * count * 4
    asked = '{"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}'
    document = (asked % (count, len(blob))).encode()
    headers = (f"Inference-Header-Content-Length: {len(document)}", "Connection: close")
    read = bytearray()
    with Raw(gateway.host) as client:
        client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 65536)
        client.send(request(PATH, document + blob, *headers))
        began = time.monotonic()
        while part := client.socket.recv(65536):
            read += part
            # some three seconds in all
            time.sleep(max(0, began + len(read) / 4e6 - time.monotonic()))
    top, _, body = read.partition(b"\r\n\r\n")
    assert b"content-length: %d\r\n" % len(body) in top + b"\r\n"
    assert len(body) > 9 * MIB


@pytest.fixture(scope="module")
def narrow(attacked_models: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    limits = {"limits_connections": "20", "limits_idle_timeout": "0.5"}
    with running(attacked_models, tmp_path_factory.mktemp("state"), **limits) as server:
        yield server


def test_connections_beyond_the_limit_are_refused(narrow: Server) -> None:
    held = [Raw(narrow.host) for _ in range(20)]
    assert {client.send(GOOD).reply().status for client in held} == {200}
    with Raw(narrow.host) as one_more:
        reply = one_more.reply()
        assert (reply.status, reply.closes) == (503, True)
        assert "too many connections" in reply.error
    assert {client.send(GOOD).reply().status for client in held} == {200}
    # all of them idle: they are closed
    assert all(client.ends() for client in held)
    for client in held:
        client.socket.close()
    with Raw(narrow.host) as client:
        assert client.send(GOOD).reply().status == 200


def test_a_connection_that_waits_for_its_reply_is_not_idle(narrow: Server) -> None:
    """For two looks of the sweep, on a machine that is as fast as it is."""
    with Raw(narrow.host, timeout=60) as client:
        laps, took = 500, 0.0
        while took < 1.7:
            began = time.monotonic()
            assert client.send(infer("laps", tensor("n", [], "INT64", [laps]))).reply().status == 200
            took = time.monotonic() - began
            laps = int(laps * max(1.2, 2 / took))
        assert client.send(GOOD).reply().status == 200
        assert client.ends()


def test_a_client_that_never_reads_is_cut_when_it_sends_large_bodies_too(gateway: Server) -> None:
    """Their heads are known, so they are read straight into their place."""
    rows = 60_000
    asked = '{"inputs":[{"name":"x","shape":[%d,4],"datatype":"FP32","parameters":{"binary_data_size":%d}}]}'
    document = (asked % (rows, rows * 16)).encode()
    large = request(PATH, document + bytes(rows * 16), f"Inference-Header-Content-Length: {len(document)}")
    with Raw(gateway.host) as client:
        assert {client.send(large).reply().status for _ in range(3)} == {200}
    sent, ended = flood(gateway, large)
    assert ended
    assert sent < 60 * MIB


def test_what_is_only_announced_is_not_counted_as_held(gateway: Server) -> None:
    """Three hundred clients that promise 4 MiB each, and send nothing of it, keep nobody out."""
    document = b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","parameters":{"binary_data_size":16}}]}'
    head = request(PATH, b"", f"Inference-Header-Content-Length: {len(document)}", "X-Large: 1", length=4 * MIB)
    body = (document + bytes(16)).ljust(4 * MIB, b"\0")
    with Raw(gateway.host) as client, ExitStack() as stack:
        for _ in range(3):
            assert client.send(head + body).reply().status == 400
        for _ in range(300):
            stack.enter_context(Raw(gateway.host)).send(head)
        assert client.send(head + body[:MIB]).send(body[MIB:]).reply().status == 400
