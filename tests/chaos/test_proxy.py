"""What the network does to a connection, when it is told to."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from chaos.proxy import Proxy


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """Before a server that says everything back."""
    listening = socket.create_server(("127.0.0.1", 0))

    def echo(connection: socket.socket) -> None:
        with connection:
            while data := connection.recv(100):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=echo, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    with Proxy(listening.getsockname()[1]) as proxy:
        yield proxy
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def connect(proxy: Proxy) -> closing[socket.socket]:
    return closing(socket.create_connection(("127.0.0.1", proxy.port), 20))


def says(connection: socket.socket, data: bytes) -> bytes:
    connection.sendall(data)
    return connection.recv(100)


def hears_nothing(connection: socket.socket) -> bool:
    connection.settimeout(0.05)
    try:
        return not connection.recv(100)
    except TimeoutError:
        return True
    finally:
        connection.settimeout(20)


def test_connections_that_hang_carry_nothing_until_all_is_well_and_new_ones_do(proxy: Proxy) -> None:
    with connect(proxy) as old, connect(proxy) as new:
        assert says(old, b"1") == b"1"
        proxy.hang()
        old.sendall(b"2")
        with connect(proxy) as newest:
            assert says(newest, b"3") == b"3"
        assert hears_nothing(old)
        proxy.set("pass")
        assert old.recv(100) == b"2"
        assert says(new, b"4") == b"4"


def test_a_trap_lets_one_word_through_and_no_answer(proxy: Proxy) -> None:
    with connect(proxy) as caught, connect(proxy) as other:
        trap = proxy.trap(lambda said: said == b"commit")
        assert says(caught, b"write") == b"write"
        assert not trap.wait(0)
        caught.sendall(b"commit")
        assert trap.wait(20)
        assert hears_nothing(caught)
        assert says(other, b"commit") == b"commit"  # the first alone counts


@pytest.mark.parametrize("mode", ["blackhole", "deaf", "mute"])
def test_what_a_hole_holds_back_arrives_afterwards(proxy: Proxy, mode: str) -> None:
    with connect(proxy) as connection:
        assert says(connection, b"1") == b"1"
        proxy.set(mode)  # type: ignore[arg-type]
        connection.sendall(b"2")
        assert hears_nothing(connection)
        proxy.set("pass")
        assert connection.recv(100) == b"2"
