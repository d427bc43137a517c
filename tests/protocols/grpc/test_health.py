from __future__ import annotations

import asyncio

import pytest

from gateway import pb
from gateway.core.errors import NotFound
from gateway.protocols.grpc.health import PACKAGE, SERVICE, Health


def asked(service: str) -> bytes:
    body: bytes = pb.message("HealthCheckRequest", PACKAGE)(service=service).SerializeToString()
    return body


def told(body: bytes) -> str:
    reply = pb.message("HealthCheckResponse", PACKAGE).FromString(body)
    name: str = type(reply).ServingStatus.Name(reply.status)
    return name


def test_check() -> None:
    ready = False
    health = Health(lambda: ready, ("a", SERVICE))
    assert told(health.check(asked(""))) == "NOT_SERVING"
    ready = True
    for service in ("", "a", SERVICE):
        assert told(health.check(asked(service))) == "SERVING"
    with pytest.raises(NotFound, match="unknown service, the server has a"):
        health.check(asked("b"))


def test_watch_tells_of_changes_until_it_is_closed() -> None:
    async def story() -> None:
        ready = False
        health = Health(lambda: ready, ("a",))
        watch, stranger = health.watch(asked("a")), health.watch(asked("b"))
        assert told(await anext(watch)) == "NOT_SERVING"
        assert told(await anext(stranger)) == "SERVICE_UNKNOWN"
        waiting = [asyncio.ensure_future(anext(each)) for each in (watch, stranger)]
        await asyncio.sleep(0)
        health.changed()  # nothing has
        await asyncio.sleep(0)
        ready = True
        health.changed()
        assert told(await waiting[0]) == "SERVING"
        health.close()
        with pytest.raises(StopAsyncIteration):
            await waiting[1]
        assert [each async for each in watch] == []

    asyncio.run(story())


def test_one_watch_that_is_cancelled_leaves_the_others() -> None:
    async def story() -> None:
        ready = False
        health = Health(lambda: ready, ())
        watches = [health.watch(asked("")) for _ in range(2)]
        for watch in watches:
            await anext(watch)
        gone, stays = (asyncio.ensure_future(anext(watch)) for watch in watches)
        await asyncio.sleep(0)
        gone.cancel()
        await asyncio.wait({gone})
        ready = True
        health.changed()
        assert told(await stays) == "SERVING"

    asyncio.run(story())
