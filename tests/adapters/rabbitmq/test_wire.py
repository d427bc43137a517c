from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pamqp import commands, frame, header
from pamqp.body import ContentBody
from pamqp.heartbeat import Heartbeat

from adapters.rabbitmq.frames import Delivery
from adapters.rabbitmq.settings import Address, Broker
from adapters.rabbitmq.wire import Wire
from gateway.core.stream import Transient

ADDRESS = Address.of("amqp://broker/")
BROKER = Broker(url="amqp://broker/")

bodies = st.lists(st.binary(max_size=40), min_size=1, max_size=6)


def delivery(tag: int, body: bytes, key: str, size: int) -> bytes:
    """As another implementation packs it, its body in frames of `size`, with heartbeats between them."""
    given: list[tuple[Any, int]] = [
        (commands.Basic.Deliver("a tag", tag, False, "exchange", key), 1),
        (header.ContentHeader(0, len(body), commands.Basic.Properties(message_id=f"m{tag}")), 1),
    ]
    for at in range(0, len(body), size):
        given += [(Heartbeat(), 0), (ContentBody(body[at : at + size]), 1)]
    return b"".join(frame.marshal(*one) for one in given)


@settings(max_examples=100, deadline=None)
@given(bodies, st.integers(1, 50), st.lists(st.integers(1, 90), min_size=1, max_size=8), st.text(max_size=9))
def test_a_stream_of_bytes_in_pieces_of_any_size(values: list[bytes], size: int, cuts: list[int], key: str) -> None:
    async def run() -> list[Delivery]:
        wire, found = Wire(BROKER, ADDRESS), list[Delivery]()
        confirms: list[tuple[int, bool, bool]] = []
        wire.on_delivery = found.append
        wire.on_confirm = lambda *told: confirms.append(told)
        data = b"".join(delivery(n, value, key, size) for n, value in enumerate(values, 1))
        data += frame.marshal(commands.Basic.Ack(7, True), 1) + frame.marshal(commands.Basic.Nack(8, False), 1)
        at = 0
        while at < len(data):
            for cut in cuts:
                wire.data_received(data[at : at + cut])
                at += cut
        assert wire.lost is None
        assert confirms == [(7, True, True), (8, False, False)]
        return found

    found = asyncio.run(run())
    assert [one.body for one in found] == values
    assert [one.tag for one in found] == list(range(1, len(values) + 1))
    assert {one.routing_key for one in found} == {key.encode()}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=60), st.binary(max_size=30))
def test_garbage_ends_the_connection_or_waits_for_more(data: bytes, more: bytes) -> None:
    async def run() -> None:
        wire = Wire(BROKER, ADDRESS)
        for frames in (data, b"\x01\0\1\0\0\0" + bytes([len(more)]) + more + b"\xce"):
            wire.data_received(frames)
        if wire.lost is not None:
            with pytest.raises(Transient):
                wire.check()

    asyncio.run(run())
