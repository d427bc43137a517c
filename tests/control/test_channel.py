from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.control.channel import Channel, Gone
from gateway.core.errors import Conflict, Internal, InvalidArgument, SluiceError, Unavailable


async def _echo(body: Any) -> Any:
    return body


async def _conflict(body: Any) -> None:
    raise Conflict("the revision is old", retry_after=2.5)


async def _broken(body: Any) -> None:
    raise ZeroDivisionError


HANDLERS: dict[str, Callable[[Any], Awaitable[Any]]] = {"echo": _echo, "conflict": _conflict, "broken": _broken}


@asynccontextmanager
async def _pair() -> AsyncIterator[tuple[Channel, Channel]]:
    ends = socket.socketpair()
    channels = Channel("one", HANDLERS), Channel("other", HANDLERS)
    for channel, end in zip(channels, ends, strict=True):
        await channel.start(end)
    try:
        yield channels
    finally:
        for channel in channels:
            await channel.close()


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text() | st.binary(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@settings(max_examples=40, deadline=None)
@given(st.lists(PLAIN, max_size=8))
def test_both_call_each_other_at_the_same_time(bodies: list[Any]) -> None:
    async def work() -> None:
        async with _pair() as (one, other):
            answers = await asyncio.gather(*(each.call("echo", body) for body in bodies for each in (one, other)))
            assert answers == [body for body in bodies for _ in range(2)]

    asyncio.run(work())


def test_an_answer_may_be_large() -> None:
    async def work() -> None:
        async with _pair() as (one, _):
            body = bytes(20 << 20)
            assert await one.call("echo", body) == body

    asyncio.run(work())


@pytest.mark.parametrize(("what", "kind", "message"), [("conflict", Conflict, "old"), ("broken", Internal, "ZeroDiv")])
def test_an_error_comes_out_where_the_call_was_made(what: str, kind: type[SluiceError], message: str) -> None:
    async def work() -> None:
        async with _pair() as (one, _):
            with pytest.raises(kind, match=message) as failure:
                await one.call(what)
            assert failure.value.retry_after == (2.5 if what == "conflict" else None)

    asyncio.run(work())


def test_what_nobody_handles_is_an_error_of_ours() -> None:
    async def work() -> None:
        async with _pair() as (one, _):
            with pytest.raises(Internal, match="KeyError"):
                await one.call("unheard of")

    asyncio.run(work())


def test_who_waits_for_one_who_dies_learns_of_it() -> None:
    async def work() -> None:
        mine, theirs = socket.socketpair()
        channel = Channel("it", {})
        await channel.start(mine)
        call = asyncio.create_task(channel.call("echo"))
        await asyncio.sleep(0)
        theirs.close()
        with pytest.raises(Gone, match="it is gone"):
            await call
        assert channel.closed.is_set()
        with pytest.raises(Unavailable):
            await channel.call("echo")
        channel.tell("echo")  # nothing happens
        await channel.close()

    asyncio.run(work())


def test_a_frame_that_is_cut_off_is_no_frame() -> None:
    async def work() -> None:
        mine, theirs = socket.socketpair()
        channel = Channel("it", HANDLERS)
        await channel.start(mine)
        theirs.sendall(b"\x00\x00\x00\x09abc")
        theirs.close()
        await channel.closed.wait()
        await channel.close()

    asyncio.run(work())


def test_one_that_sends_no_messages_is_given_up() -> None:
    async def work() -> None:
        mine, theirs = socket.socketpair()
        channel = Channel("it", HANDLERS)
        await channel.start(mine)
        theirs.sendall(b"\x00\x00\x00\x03abc")
        await channel.closed.wait()
        theirs.close()
        await channel.close()

    asyncio.run(work())


def test_errors_that_others_derive_come_out_as_what_they_derive_from() -> None:
    class Derived(InvalidArgument):
        pass

    async def refuse(body: Any) -> None:
        raise Derived("no")

    async def work() -> None:
        ends = socket.socketpair()
        one, other = Channel("one", {}), Channel("other", {"refuse": refuse})
        await one.start(ends[0])
        await other.start(ends[1])
        with pytest.raises(InvalidArgument, match="no"):
            await one.call("refuse")
        await one.close()
        await other.close()

    asyncio.run(work())
