"""The wire against peers that are strange, slow or hostile; none of them harms another one."""

from __future__ import annotations

import socket
import ssl
import struct
import time
import zlib
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from gateways import Server
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from protocols.http2.conftest import CALL, SERVICE, Peer, body, resident

from gateway.protocols.http2 import frames
from gateway.protocols.http2.frames import frame

Start = Callable[..., Server]


@pytest.fixture(autouse=True)
def _others_are_served(server: Server) -> Any:
    yield
    with Peer(server.grpc, {}) as other:
        other.call(1)
        assert other.reply(1)[0]["grpc-status"] == "0"


def test_calls_of_one_connection(peer: Peer) -> None:
    for number in (1, 3, 5, 101):
        peer.call(number)
    for number in (1, 3, 5, 101):
        fields, data = peer.reply(number)
        assert fields[":status"] == "200"
        assert fields["grpc-status"] == "0"
        assert data[0] == 0
        assert int.from_bytes(data[1:5], "big") == len(data) - 5


def test_a_message_in_pieces_of_one_byte(peer: Peer) -> None:
    message = body()
    peer.send(peer.head(1))
    peer.send(b"".join(frame(frames.DATA, 0, 1, message[at : at + 1]) for at in range(len(message))))
    peer.send(frame(frames.DATA, frames.END_STREAM, 1))
    assert peer.reply(1)[0]["grpc-status"] == "0"


def test_frames_in_pieces_of_one_byte(peer: Peer) -> None:
    peer.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    whole = peer.head(1) + frame(frames.DATA, frames.END_STREAM, 1, body())
    for at in range(len(whole)):
        peer.send(whole[at : at + 1])
    assert peer.reply(1)[0]["grpc-status"] == "0"


def test_padding_priorities_and_unknown_frames(peer: Peer) -> None:
    block = peer.encoder.encode(CALL)
    peer.send(frame(99, 255, 1, b"what") + frame(frames.PRIORITY, 0, 1, struct.pack(">IB", 0, 7)))
    flags = frames.END_HEADERS | frames.PADDED | frames.PRIORITISED
    peer.send(frame(frames.HEADERS, flags, 1, b"\x03" + struct.pack(">IB", 0, 7) + block + b"\0\0\0"))
    peer.send(frame(frames.DATA, frames.END_STREAM | frames.PADDED, 1, b"\x05" + body() + b"\0" * 5))
    assert peer.reply(1)[0]["grpc-status"] == "0"


def test_a_head_in_continuations(peer: Peer) -> None:
    block = peer.encoder.encode(CALL)
    peer.send(frame(frames.HEADERS, 0, 1, block[:10]) + frame(frames.CONTINUATION, 0, 1, block[10:20]))
    peer.send(frame(frames.CONTINUATION, frames.END_HEADERS, 1, block[20:]))
    peer.send(frame(frames.DATA, frames.END_STREAM, 1, body()))
    assert peer.reply(1)[0]["grpc-status"] == "0"


def test_a_reply_goes_out_as_the_windows_open(server: Server) -> None:
    with Peer(server.grpc, {frames.INITIAL_WINDOW_SIZE: 10}) as peer:
        values = [float(n) for n in range(40_000)]
        message = body("echo", values)
        peer.send(peer.head(1))
        for at in range(0, len(message), 16384):
            peer.send(frame(frames.DATA, 0, 1, message[at : at + 16384]))
        peer.send(frame(frames.DATA, frames.END_STREAM, 1))
        got = b""
        for kind, flags, number, payload in peer.frames():
            if kind == frames.DATA:
                assert number == 1
                got += payload
                peer.send(frames.window_update(1, max(1, len(payload) * 2)) + frames.window_update(0, len(payload)))
            elif kind == frames.HEADERS and flags & frames.END_STREAM:
                break
        assert struct.pack("<40000f", *values) in got


def test_settings_may_make_a_window_smaller_than_nothing(server: Server) -> None:
    with Peer(server.grpc, {frames.INITIAL_WINDOW_SIZE: 100}) as peer:
        peer.call(1, body("echo", [1.0] * 1000))
        for kind, _, _, _ in peer.frames():
            if kind == frames.DATA:
                break
        peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 0}))
        peer.send(frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 20}))
        assert peer.reply(1)[0]["grpc-status"] == "0"


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", -1),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 4, -1),
        (frames.PREFACE + frame(frames.DATA, 0, 0, b"x"), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frame(frames.DATA, 0, 1, b"x"), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frame(frames.HEADERS, 4, 2, b"\x82"), frames.PROTOCOL_ERROR),
        (
            frames.PREFACE + frame(frames.HEADERS, 0, 1, b"\x82") + frame(frames.PING, 0, 0, b"8" * 8),
            frames.PROTOCOL_ERROR,
        ),
        (frames.PREFACE + frame(frames.CONTINUATION, 4, 1, b"\x82"), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frame(frames.HEADERS, 4, 1, b"\xff\xff\xff\xff\xff\xff\xff"), frames.COMPRESSION_ERROR),
        (frames.PREFACE + frame(frames.HEADERS, 4, 1, b"\xc0"), frames.COMPRESSION_ERROR),
        (frames.PREFACE + frame(frames.PING, 0, 0, b"short"), frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + frame(frames.PING, 0, 1, b"8" * 8), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frame(frames.SETTINGS, 0, 0, b"12345"), frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + frames.settings({frames.MAX_FRAME_SIZE: 5}), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frames.settings({frames.INITIAL_WINDOW_SIZE: 1 << 31}), frames.FLOW_CONTROL_ERROR),
        (frames.PREFACE + frames.window_update(0, 0), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frames.window_update(0, frames.MOST), frames.FLOW_CONTROL_ERROR),
        (frames.PREFACE + frames.window_update(7, 1), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frames.reset(7, 8), frames.PROTOCOL_ERROR),
        (frames.PREFACE + frame(frames.PUSH_PROMISE, 4, 1, b"\0\0\0\2"), frames.PROTOCOL_ERROR),
        (frames.PREFACE + b"\xff\xff\xff\0\0\0\0\0\1", frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + b"\0\x40\x01\0\0\0\0\0\1", frames.FRAME_SIZE_ERROR),
        (frames.PREFACE + frame(frames.GOAWAY, 0, 1, b"8" * 8), frames.PROTOCOL_ERROR),
    ],
)
def test_who_breaks_the_protocol_is_told_how_and_left(server: Server, sent: bytes, code: int) -> None:
    with Peer(server.grpc) as peer:
        peer.send(sent)
        assert peer.goodbye()[0] == code


@pytest.mark.parametrize(
    "fields",
    [
        [*CALL, (":path", "/twice")],
        [*CALL[1:]],
        [("x", "y"), *CALL],
        [*CALL, ("connection", "close")],
        [*CALL, ("transfer-encoding", "chunked")],
        [*CALL, ("te", "gzip")],
        [*CALL, ("Upper", "case")],
        [*CALL, ("a b", "c")],
        [*CALL, (":strange", "pseudo")],
        [*CALL, ("x", "a\nb")],
        [*CALL, ("content-length", "5")],
        [*CALL, ("content-length", "x")],
        [*CALL, ("content-length", "5"), ("content-length", "5")],
        [*CALL, ("grpc-timeout", "5")],
        [*CALL, ("grpc-timeout", "123456789S")],
        [*CALL, ("key-bin", "!")],
    ],
)
def test_a_malformed_head_costs_its_stream_alone(peer: Peer, fields: Any) -> None:
    peer.call(1, fields=fields)
    assert peer.reply(1)[0]["reset"] == str(frames.PROTOCOL_ERROR)
    peer.call(3)
    assert peer.reply(3)[0]["grpc-status"] == "0"


def test_what_is_no_grpc_gets_an_answer_of_http(peer: Peer) -> None:
    peer.call(1, b"", [(":method", "GET"), *CALL[1:]])
    assert peer.reply(1)[0][":status"] == "405"
    peer.call(3, b"{}", [*CALL[:4], ("content-type", "application/json")])
    assert peer.reply(3)[0][":status"] == "415"


@pytest.mark.parametrize(
    ("message", "status", "words"),
    [
        (b"", "12", "no message"),
        (body() + body(), "12", "more than one"),
        (body()[:-1], "3", "in the middle"),
        (b"\0\0", "3", "in the middle"),
        (b"\x07" + body()[1:], "3", "begins with 7"),
        (b"\x01" + body()[1:], "3", "grpc-encoding"),
        (b"\0\xff\xff\xff\xff", "8", "4294967295 bytes, the limit is"),
        (b"\0\0\0\0\x03abc", "3", ""),
    ],
)
def test_messages_that_are_none(peer: Peer, message: bytes, status: str, words: str) -> None:
    peer.call(1, message)
    fields, _ = peer.reply(1)
    assert fields["grpc-status"] == status, fields
    assert words in fields["grpc-message"]


def test_what_is_too_long_is_refused_before_it_is_sent(peer: Peer) -> None:
    peer.send(peer.head(1) + frame(frames.DATA, 0, 1, b"\0\xff\0\0\0"))
    fields, _ = peer.reply(1)
    assert fields["grpc-status"] == "8"
    # the rest that was under way is not looked at
    peer.send(frame(frames.DATA, 0, 1, b"x" * 16384) * 10)
    peer.call(3)
    assert peer.reply(3)[0]["grpc-status"] == "0"


@pytest.mark.parametrize(("coding", "window"), [("gzip", 31), ("deflate", 15)])
def test_compressed_messages_and_bombs(peer: Peer, coding: str, window: int, server: Server) -> None:
    def packed(plain: bytes) -> bytes:
        stream = zlib.compressobj(9, zlib.DEFLATED, window)
        data = stream.compress(plain) + stream.flush()
        return b"\x01" + len(data).to_bytes(4, "big") + data

    fields = [*CALL, ("grpc-encoding", coding)]
    peer.call(1, packed(body()[5:]), fields)
    assert peer.reply(1)[0]["grpc-status"] == "0"
    before = resident(server)
    bomb = packed(bytes(200 << 20))
    peer.send(peer.head(3, fields))
    for at in range(0, len(bomb), 16384):
        peer.send(frame(frames.DATA, 0, 3, bomb[at : at + 16384]))
    peer.send(frame(frames.DATA, frames.END_STREAM, 3))
    assert peer.reply(3)[0]["grpc-status"] == "8"
    assert resident(server) < before + (150 << 10)
    peer.call(5, b"\x01\0\0\0\x04nope", fields)
    assert peer.reply(5)[0]["grpc-status"] == "3"
    peer.call(7, packed(body()[5:]), [*CALL, ("grpc-encoding", "snappy")])
    assert peer.reply(7)[0]["grpc-status"] == "12"


@pytest.mark.parametrize(
    "flood",
    [
        frame(frames.PRIORITY, 0, 1, struct.pack(">IB", 3, 7)),
        frames.settings({}),
        frame(frames.DATA, 0, 1),
        frames.window_update(0, 1) + frame(frames.PRIORITY, 0, 1, struct.pack(">IB", 3, 7)),
    ],
)
def test_floods_of_frames_that_cost_nothing(server: Server, flood: bytes) -> None:
    with Peer(server.grpc, {}) as peer:
        peer.send(peer.head(1))
        assert cut(peer, lambda _: flood * 1000)


def test_a_flood_of_resets(server: Server) -> None:
    """CVE-2023-44487: calls that are taken back at once."""
    with Peer(server.grpc, {}) as peer:
        assert cut(peer, lambda at: peer.head(2 * at + 1) + frames.reset(2 * at + 1, frames.CANCEL))


def cut(peer: Peer, data: Callable[[int], bytes]) -> bool:
    """Whether the server ends the connection while that is sent again and again."""
    end = time.monotonic() + 20
    at = 0
    try:
        while time.monotonic() < end:
            peer.send(data(at))
            at += 1
    except (ConnectionResetError, BrokenPipeError):
        return True
    return False


def test_pings_without_end(server: Server) -> None:
    with Peer(server.grpc, {}) as peer:
        # the fourth is one too many; what comes after it could meet a closed connection, and be answered by a reset
        peer.send(4 * frame(frames.PING, 0, 0, b"hallo du"))
        assert peer.goodbye() == (frames.ENHANCE_YOUR_CALM, "too_many_pings")


def test_a_head_without_end(server: Server) -> None:
    """CVE-2024-27316: continuations for ever."""
    with Peer(server.grpc, {}) as peer:
        peer.send(frame(frames.HEADERS, 0, 1, b"\x82"))
        try:
            for _ in range(100):
                peer.send(frame(frames.CONTINUATION, 0, 1, b"\0\x01a\x01b" * 100))
        except OSError:
            return
        assert peer.goodbye()[0] in (frames.ENHANCE_YOUR_CALM, -1)


def test_a_head_that_grows_when_it_is_read(server: Server) -> None:
    """A large field in the table, referred to again and again."""
    with Peer(server.grpc, {}) as peer:
        peer.call(1, fields=[*CALL, ("big", "x" * 3000)])
        assert peer.reply(1)[0]["grpc-status"] == "0"
        peer.send(frame(frames.HEADERS, frames.END_HEADERS, 3, b"\xbe" * 5000))
        assert peer.goodbye()[0] == frames.ENHANCE_YOUR_CALM


def test_more_data_than_the_window(server: Server) -> None:
    fields = [*CALL[:2], (":path", f"/{SERVICE}/ModelStreamInfer"), *CALL[3:]]
    with Peer(server.grpc, {}) as peer:
        peer.send(peer.head(1, fields))
        with suppress(OSError):
            for _ in range(2000):
                peer.send(frame(frames.DATA, 0, 1, (b"\0\0\x40\0\0" + b"x" * 11)))
        # messages that cannot be read are answered one by one; nothing is held
    with Peer(server.grpc, {}) as peer:
        peer.send(peer.head(1))
        sent = 0
        given: dict[int, int] = {0: 8 << 20, 1: 1 << 20}
        while min(given.values()) > 16384:
            peer.send(frame(frames.DATA, 0, 1, b"\0\x03\0\0\0" + b"x" * 16379 if not sent else b"x" * 16384))
            sent += 16384
            given = {number: left - 16384 for number, left in given.items()}
        assert sent >= 1 << 19


def test_more_calls_than_allowed_are_refused(server: Server) -> None:
    with Peer(server.grpc, {}) as peer:
        slow = body("laps", [100_000], "INT64")
        peer.send(b"".join(peer.head(number) for number in range(1, 2 * 1024 + 1, 2)))
        peer.call(2 * 1024 + 1, slow)
        assert peer.reply(2 * 1024 + 1)[0]["reset"] == str(frames.REFUSED_STREAM)


def test_who_does_not_greet_is_left(start: Start) -> None:
    server = start(limits_header_timeout="1")
    with Peer(server.grpc) as silent, Peer(server.grpc) as half:
        half.send(frames.PREFACE[:10])
        assert silent.goodbye() == (-1, "")
        assert half.goodbye() == (-1, "")


def test_a_message_that_does_not_come(start: Start) -> None:
    server = start(limits_body_timeout="1")
    with Peer(server.grpc, {}) as peer:
        peer.send(peer.head(1) + frame(frames.DATA, 0, 1, body()[:10]) + peer.head(3))
        assert {peer.reply(number)[0]["grpc-status"] for number in (1, 3)} == {"4"}


def test_a_silent_peer_is_asked_and_then_left(start: Start) -> None:
    server = start(grpc_keepalive_time="1", grpc_keepalive_timeout="1")
    with Peer(server.grpc, {}) as alive:
        asked = 0
        for kind, flags, _, payload in alive.frames():
            if kind == frames.PING and not flags & frames.ACK:
                alive.send(frame(frames.PING, frames.ACK, 0, payload))
                if (asked := asked + 1) == 3:
                    break
        alive.call(1)
        assert alive.reply(1)[0]["grpc-status"] == "0"
    with Peer(server.grpc, {}) as dead:
        # it says nothing, and the server ends it
        assert frames.PING in [kind for kind, *_ in dead.frames()]


def test_a_peer_that_does_not_read(server: Server) -> None:
    """Its replies wait within bounds, and its calls are not read while they do."""
    with Peer(server.grpc, {frames.INITIAL_WINDOW_SIZE: frames.MOST}) as peer:
        peer.send(frames.window_update(0, frames.MOST - frames.WINDOW_BYTES))
        peer.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        message = body("echo", [1.0] * 4000)
        before = resident(server)
        peer.socket.settimeout(1)
        number, sent = 1, 0
        with suppress(TimeoutError):
            while sent < 400 << 20:
                peer.call(number, message)
                number += 2
                sent += len(message)
        assert sent < 100 << 20
        assert resident(server) < before + (64 << 10)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.integers(0, 11), st.integers(0, 255), st.sampled_from([0, 1, 2, 3, 5, 2**31 - 1]), st.binary(max_size=40)
        ),
        max_size=12,
    )
)
def test_any_frames_at_all(server: Server, sent: list[tuple[int, int, int, bytes]]) -> None:
    with Peer(server.grpc, {}) as peer:
        peer.send(peer.head(1))
        try:
            for kind, flags, number, payload in sent:
                peer.send(frame(kind, flags, number, payload))
            peer.socket.shutdown(socket.SHUT_WR)
        except OSError:
            return


def test_tls_needs_http2(start: Start, certificates: Any) -> None:
    server = start(tls_cert=str(certificates / "server.pem"), tls_key=str(certificates / "server.key"))
    context = ssl.create_default_context(cafile=str(certificates / "ca.pem"))
    context.check_hostname = False
    with Peer(server.grpc) as peer, context.wrap_socket(peer.socket) as plain:
        plain.sendall(frames.PREFACE + frames.settings({}))
        with suppress(ConnectionResetError):
            assert plain.recv(100) == b""
