from __future__ import annotations

import shutil
import ssl
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvloop
from queuecopy import connected, sink
from servers.fixtures import serving
from servers.rabbitmq import RabbitMQ

from adapters.rabbitmq.settings import RabbitInput, Tls
from adapters.rabbitmq.source import RabbitSource
from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, Context, Credit, Rows, Token, Transient

ROWS = Rows(Batch(["1"], [b"1"]), Token("l", 1, 1))


class Secure(RabbitMQ):
    """Asks for a certificate, and takes the user of its name."""

    plugins = ("rabbitmq_auth_mechanism_ssl",)
    certificates = Path()

    def prepare(self) -> None:
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(self.certificates / name, self.folder / name)
            (self.folder / name).chmod(0o644)
        self.options |= {
            "listeners.ssl.1": f"127.0.0.1:{self.tls_port}",
            "listeners.ssl.2": f"127.0.0.2:{self.tls_port}",
            "ssl_options.cacertfile": f"{self.folder}/ca.pem",
            "ssl_options.certfile": f"{self.folder}/server.pem",
            "ssl_options.keyfile": f"{self.folder}/server.key",
            "ssl_options.verify": "verify_peer",
            "ssl_options.fail_if_no_peer_cert": "false",
            "ssl_cert_login_from": "common_name",
            "auth_mechanisms.1": "PLAIN",
            "auth_mechanisms.2": "EXTERNAL",
        }
        super().prepare()


@pytest.fixture(scope="module")
def broker(certificates: Path) -> Iterator[Secure]:
    Secure.certificates = certificates
    with serving("rabbitmq", Secure) as server:
        assert isinstance(server, Secure)
        server.control("add_user", "client", "no password is asked for")
        server.control("set_permissions", "client", ".*", ".*", ".*")
        yield server


def written(broker: Secure, host: str = "localhost", user: str = "", **tls: Any) -> None:
    queue = broker.queue(type="classic")
    url = f"amqps://{user}{host}:{broker.tls_port}/"

    async def run() -> None:
        async with connected(sink(url, queue, tls=Tls(**tls))) as out:
            await out.write(ROWS)

    uvloop.run(run())
    assert broker.bodies(queue) == [b"1"]
    broker.delete(queue)


def test_a_broker_that_is_known(broker: Secure, certificates: Path) -> None:
    written(broker, ca=str(certificates / "ca.pem"))


def test_a_certificate_stands_for_a_password(broker: Secure, certificates: Path) -> None:
    named = {name: str(certificates / f"client.{end}") for name, end in (("certificate", "pem"), ("key", "key"))}
    written(broker, user="nobody:wrong@", ca=str(certificates / "ca.pem"), **named)


def test_a_broker_that_is_not(broker: Secure, certificates: Path) -> None:
    with pytest.raises(Transient, match="certificate verify failed"):
        written(broker)
    with pytest.raises(Transient, match="certificate verify failed"):
        written(broker, ca=str(certificates / "stranger.pem"))


def test_a_broker_of_another_name(broker: Secure, certificates: Path) -> None:
    """Its certificate is for localhost and 127.0.0.1; whoever needs not care says so."""
    trusting = {"ca": str(certificates / "ca.pem")}
    with pytest.raises(Transient, match=r"not valid for '127\.0\.0\.2'|mismatch"):
        written(broker, host="127.0.0.2", **trusting)
    written(broker, host="127.0.0.2", verify_name=False, **trusting)


def test_a_queue_is_read_over_tls(broker: Secure, certificates: Path) -> None:
    queue = broker.queue(type="classic")
    broker.publish(queue, [b"1", b"2"])
    settings = RabbitInput(
        url=f"amqps://localhost:{broker.tls_port}/", queue=queue, tls=Tls(ca=str(certificates / "ca.pem"))
    )

    async def run() -> None:
        async with connected(RabbitSource(settings, Context("p"))) as source:
            found = []
            while len(found) < 2:
                read = await source.read(Credit(10, 1 << 20))
                assert read is not None
                found += read[0].values
                await source.ack(read[1])
            assert found == [b"1", b"2"]

    uvloop.run(run())
    assert broker.depth(queue) == 0
    broker.delete(queue)


def test_a_login_that_is_refused(broker: Secure, certificates: Path) -> None:
    async def run() -> None:
        tls = Tls(ca=str(certificates / "ca.pem"))
        out = sink(f"amqps://guest:wrong-one@localhost:{broker.tls_port}/", "q", tls=tls)
        with pytest.raises(Transient, match="403 ACCESS_REFUSED") as refused:
            await out.connect()
        assert "wrong-one" not in refused.value.message
        await out.close()

    uvloop.run(run())


def test_files_that_cannot_be_used(certificates: Path) -> None:
    for tls in (
        Tls(ca="/nowhere"),
        Tls(certificate=str(certificates / "client.pem"), key=str(certificates / "ca.key")),
    ):
        with pytest.raises(InvalidArgument, match=r"rabbitmq\.tls cannot be used"):
            tls.context()
    assert isinstance(Tls(verify_name=False).context(), ssl.SSLContext)
