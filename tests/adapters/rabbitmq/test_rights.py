"""What a user may do, taken away while a stream runs and given back: it waits, says why, and loses nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from secrets import token_hex

import pytest
import uvloop
from copying import copying
from queuecopy import sink, source
from servers.rabbitmq import RabbitMQ

FIRST = [b"%d" % n for n in range(300)]
LAST = [b"%d" % n for n in range(300, 600)]
EVERYTHING = (".*", ".*", ".*")


class Guest:
    """A user with a password, who may read one queue and write another."""

    def __init__(self, broker: RabbitMQ, folder: Path) -> None:
        self.broker = broker
        self.name = f"guest-{token_hex(3)}"
        self.given, self.taken = broker.queue(type="quorum"), broker.queue(type="classic")
        self.file = folder / "password"
        self.url = broker.url.replace("guest:guest", f"{self.name}:not-this-one")
        self.make()

    def control(self, *commands: tuple[str, ...]) -> None:
        for name, *arguments in commands:
            self.broker.control(name, *arguments)

    def make(self) -> None:
        self.file.write_text("secret\n")
        self.control(("add_user", self.name, "secret"), ("set_permissions", self.name, *EVERYTHING))

    def allow(self, configure: str, write: str, read: str) -> None:
        """What a channel has done once it may do again, until it is closed."""
        self.control(("set_permissions", self.name, configure, write, read), ("close_all_connections", "a change"))

    def delete(self) -> None:
        self.control(("delete_user", self.name))

    def close(self) -> None:
        self.broker.delete(self.given, self.taken)
        self.control(("delete_user", self.name))


@pytest.fixture
def guest(own_rabbitmq: RabbitMQ, tmp_path: Path) -> Iterator[Guest]:
    found = Guest(own_rabbitmq, tmp_path)
    yield found
    found.close()


def _new_password(guest: Guest) -> None:
    guest.control(("change_password", guest.name, "changed"), ("close_all_connections", "a new password"))


def _told(guest: Guest) -> None:
    """It is read at each connect."""
    guest.file.write_text("changed\n")


CHANGES = {
    "the user is deleted": (Guest.delete, Guest.make, ["403 ACCESS_REFUSED - Login was refused"]),
    "another password": (_new_password, _told, ["403 ACCESS_REFUSED - Login was refused"]),
    "no virtual host": (
        lambda guest: guest.control(("clear_permissions", guest.name), ("close_all_connections", "a change")),
        lambda guest: guest.allow(*EVERYTHING),
        ["NOT_ALLOWED - access to vhost"],
    ),
    "no reading": (
        lambda guest: guest.allow(".*", ".*", ""),
        lambda guest: guest.allow(*EVERYTHING),
        ["input: .* ACCESS_REFUSED - access to queue"],
    ),
    "no writing": (
        lambda guest: guest.allow(".*", "", ".*"),
        lambda guest: guest.allow(*EVERYTHING),
        ["output: .* ACCESS_REFUSED - access to exchange"],
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_what_is_taken_away_is_waited_for(guest: Guest, change: str) -> None:
    broker = guest.broker
    take, give, reasons = CHANGES[change]
    broker.publish(guest.given, FIRST)

    async def run() -> None:
        out = sink(guest.url, guest.taken, password_file=str(guest.file))
        async with copying(source(guest.url, guest.given, password_file=str(guest.file)), out) as copier:
            await copier.copies(300)
            await asyncio.to_thread(take, guest)
            await asyncio.to_thread(broker.publish, guest.given, LAST)
            await copier.waits(*reasons)
            await asyncio.to_thread(give, guest)
            await copier.copies(600)
        assert copier.dead() == {}

    uvloop.run(run())
    found = broker.bodies(guest.taken)
    assert set(found) == set(FIRST + LAST)
    # what was written when the connection went and was not yet acknowledged comes again
    assert len(found) <= 600 + 200
    assert broker.depth(guest.given) == 0
