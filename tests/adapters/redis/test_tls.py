"""Redis over TLS, and whom it trusts."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import uvloop
from queuecopy import connected
from redis_sides import CONTEXT
from servers.fixtures import serving
from servers.redis import Redis

from adapters.redis.settings import RedisOutput, Tls
from adapters.redis.sink import RedisSink
from gateway.core.stream import Batch, Rows, Token, Transient


class Secure(Redis):
    """Asks for a certificate."""

    certificates = Path()

    def prepare(self) -> None:
        super().prepare()
        for name in ("ca.pem", "server.pem", "server.key"):
            shutil.copy(self.certificates / name, self.folder / name)
        files = {"ca-cert": "ca.pem", "cert": "server.pem", "key": "server.key"}
        more = [part for option, name in files.items() for part in (f"--tls-{option}-file", str(self.folder / name))]
        self.options = ("--port", "0", "--tls-port", str(self.port), *more)
        files = f"ssl_ca_certs={self.certificates}/ca.pem&ssl_certfile={self.certificates}/client.pem"
        self.url = f"rediss://localhost:{self.port}/0?{files}&ssl_keyfile={self.certificates}/client.key"


def test_tls(certificates: Path) -> None:
    Secure.certificates = certificates
    client = {"certificate": str(certificates / "client.pem"), "key": str(certificates / "client.key")}

    async def written(port: int, host: str = "localhost", **tls: Any) -> None:
        given = RedisOutput(url=f"rediss://{host}:{port}/0", stream="s", tls=Tls(**tls))
        async with connected(RedisSink(given, CONTEXT)) as out:
            await out.write(Rows(Batch(["1"], [b"1"]), Token("l", 1, 1)))

    with serving("redis", Secure) as server:
        uvloop.run(written(server.port, ca=str(certificates / "ca.pem"), **client))
        assert server.bodies("s") == [b"1"]
        with pytest.raises(Transient, match="certificate verify failed"):
            uvloop.run(written(server.port, **client))
        with pytest.raises(Transient, match="certificate"):
            uvloop.run(written(server.port, ca=str(certificates / "ca.pem")))
        with pytest.raises(Transient, match="nowhere"):
            uvloop.run(written(server.port, ca="/nowhere.pem"))
