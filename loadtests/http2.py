"""gRPC's load: HTTP/2 by hand on plain sockets, so that one core of Python can keep a server's core busy.

`python -m loadtests.http2 ADDRESS PATH MESSAGE --connections 8 --streams 8 --seconds 2 [--stream]` prints a line of
JSON. MESSAGE is a file. Each stream sends its message, waits for the reply and sends again: as a call of its own, or
with `--stream` on one call that stays open. HPACK without its dynamic table; frames are counted, not decoded: a reply
that is not as long as the first one ends it all. https://httpwg.org/specs/rfc9113.html
"""

from __future__ import annotations

import argparse
import json
import select
import socket
import struct
import sys
import time
from pathlib import Path

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, PING, GOAWAY, WINDOW_UPDATE = 0, 1, 3, 4, 6, 7, 8
END_STREAM, END_HEADERS, ACK = 1, 4, 1
WINDOW = (1 << 31) - 1


def frame(kind: int, flags: int, stream: int, payload: bytes) -> bytes:
    return struct.pack(">I", len(payload))[1:] + struct.pack(">BBI", kind, flags, stream) + payload


def head(path: str, authority: str) -> bytes:
    """The header block of a gRPC call, every field literal."""

    def literal(name: str, value: str) -> bytes:
        return b"\x10" + bytes((len(name),)) + name.encode() + bytes((len(value),)) + value.encode()

    fields = {":method": "POST", ":scheme": "http", ":path": path, ":authority": authority, "te": "trailers"}
    return b"".join(literal(*each) for each in {**fields, "content-type": "application/grpc"}.items())


class Connection:
    """One connection with so many streams in flight. `latencies` are in seconds."""

    def __init__(self, address: tuple[str, int], path: str, message: bytes, streams: int, stays_open: bool) -> None:
        self.socket = socket.create_connection(address)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.latencies: list[float] = []
        self.length = 0
        self._head = head(path, f"{address[0]}:{address[1]}")
        self._body = b"\0" + struct.pack(">I", len(message)) + message
        self._stays_open = stays_open
        self._next = 1
        self._began: dict[int, float] = {}
        self._got: dict[int, int] = {}
        self._rest = b""
        largest = struct.pack(">HI", 4, WINDOW)
        self.socket.sendall(
            PREFACE
            + frame(SETTINGS, 0, 0, largest)
            + frame(WINDOW_UPDATE, 0, 0, struct.pack(">I", WINDOW - 65535))
            + b"".join(self._call() for _ in range(streams))
        )

    def _call(self) -> bytes:
        number = self._next
        self._next += 2
        return frame(HEADERS, END_HEADERS, number, self._head) + self._say(number)

    def _say(self, number: int) -> bytes:
        self._began[number] = time.perf_counter()
        self._got[number] = 0
        return frame(DATA, 0 if self._stays_open else END_STREAM, number, self._body)

    def read(self) -> None:
        data = self._rest + self.socket.recv(1 << 18)
        at, out = 0, []
        while len(data) - at >= 9:
            size = int.from_bytes(data[at : at + 3], "big")
            end = at + 9 + size
            if end > len(data):
                break
            kind, flags, stream = data[at + 3], data[at + 4], int.from_bytes(data[at + 5 : at + 9], "big")
            if kind == DATA:
                self._got[stream] += size
                if self._stays_open and self._is_whole(stream):
                    out.append(self._say(stream))
            elif kind == HEADERS and flags & END_STREAM:
                if self._stays_open or not self._is_whole(stream):
                    raise RuntimeError("a call failed")
                del self._began[stream], self._got[stream]
                out.append(self._call())
            elif kind == PING and not flags & ACK:
                out.append(frame(PING, ACK, 0, data[at + 9 : end]))
            elif kind == SETTINGS and not flags & ACK:
                out.append(frame(SETTINGS, ACK, 0, b""))
            elif kind in (GOAWAY, RST_STREAM):
                raise RuntimeError(f"the server sent {'GOAWAY' if kind == GOAWAY else 'RST_STREAM'}")
            at = end
        self._rest = data[at:]
        if out:
            self.socket.sendall(b"".join(out))

    def _is_whole(self, stream: int) -> bool:
        got = self._got[stream]
        self.length = self.length or got
        if got != self.length:
            return False
        self.latencies.append(time.perf_counter() - self._began[stream])
        return True


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m loadtests.http2")
    parser.add_argument("address")
    parser.add_argument("path")
    parser.add_argument("message", type=Path)
    parser.add_argument("--connections", type=int, default=8)
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--stream", action="store_true")
    given = parser.parse_args()
    host, _, port = given.address.rpartition(":")
    message = given.message.read_bytes()
    poll = select.epoll()
    connections = {}
    began = time.perf_counter()
    for _ in range(given.connections):
        connection = Connection((host, int(port)), given.path, message, given.streams, given.stream)
        connections[connection.socket.fileno()] = connection
        poll.register(connection.socket, select.EPOLLIN)
    while (now := time.perf_counter()) < began + given.seconds:
        for number, _ in poll.poll(max(0.0, began + given.seconds - now)):
            connections[number].read()
    took = time.perf_counter() - began
    found = sorted(each for connection in connections.values() for each in connection.latencies)
    if not found or len({connection.length for connection in connections.values()}) != 1:
        sys.exit("error: not every reply was alike")
    told = {"replies": len(found), "seconds": took, "length": connection.length}
    print(json.dumps(told | {"p50": found[len(found) // 2] * 1e3, "p99": found[len(found) * 99 // 100] * 1e3}))


if __name__ == "__main__":
    main()
