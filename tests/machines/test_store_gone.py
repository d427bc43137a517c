"""Several gateways whose PostgreSQL goes away, or back: they serve on, say so, and catch up."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import gateways
import httpx
import pytest
from machines.machine import admin, answer, gateway, metric, readiness, split
from servers.postgresql import Databases, PostgreSQL
from servers.server import until


class Load:
    """Predictions on several connections, from now until the end of the `with`; every answer is kept."""

    def __init__(self, server: gateways.Server) -> None:
        self.server = server
        self.count = 0
        self.failures: list[str] = []
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run) for _ in range(2)]

    def __enter__(self) -> Load:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        with httpx.Client(timeout=10) as client:
            while not self._end.wait(0.005):
                try:
                    answer(self.server, client)
                    self.count += 1
                except (AssertionError, httpx.HTTPError) as error:
                    self.failures.append(repr(error))


@pytest.mark.parametrize(("how", "workers"), [("killed", "1"), ("killed", "2"), ("paused", "1")])
def test_without_its_store_a_gateway_serves_on_says_so_and_catches_up(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL, how: str, workers: str
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a", workers=workers) as a, gateway(models, tmp_path, url, "b") as b:
        assert split(a, "1", wait=20).status_code == 200
        assert {"status": 200, "ready": True, "store": "ok"}.items() <= readiness(a).items()
        with Load(a) as load:
            own_postgresql.kill() if how == "killed" else own_postgresql.pause()
            until(lambda: metric(a, "sluice_store_up") == metric(b, "sluice_store_up") == 0)
            state = readiness(a)
            assert (state["status"], state["ready"]) == (200, True)
            assert state["store"].startswith("gone since 20")
            began = time.monotonic()
            refused = split(a, "2", wait=20)
            assert refused.status_code == 503
            assert time.monotonic() - began < 10
            assert "control state 'postgresql://sluice@127.0.0.1:" in refused.json()["error"]
            assert (answer(a), answer(b)) == ("1", "1")
            if how == "killed":
                own_postgresql.start()
            else:
                own_postgresql.resume()
            until(lambda: metric(a, "sluice_store_up") == metric(b, "sluice_store_up") == 1)
            assert split(b, "3", wait=20).status_code == 200
            assert answer(a) == "3"
        assert not load.failures
        assert load.count > 100
        assert readiness(a)["store"] == "ok"
        for server in (a, b):
            assert "revision 1 is served on, nothing can be changed" in server.log()
            assert "the store is back, at revision 1" in server.log()
        assert admin(a, "GET", "/state").json()["splits"] == admin(b, "GET", "/state").json()["splits"]


def test_just_after_the_store_was_gone_nobody_is_taken_for_dead(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a, gateway(models, tmp_path, url, "b") as b:
        assert split(a, "1", wait=20).status_code == 200
        b.process.send_signal(19)
        try:
            own_postgresql.kill()
            until(lambda: metric(a, "sluice_store_up") == 0)
            own_postgresql.start()
            own_postgresql.sql("UPDATE sluice.machines SET seen = seen - interval '20 s' WHERE name = 'b'", url)
            until(lambda: metric(a, "sluice_store_up") == 1)
            response = split(a, "2", wait=1)
            assert response.status_code == 504
            # what is said every second is not written through: a server that was killed may know an older word
            assert "not everywhere: b is at" in response.json()["error"]
        finally:
            b.process.send_signal(18)
        until(lambda: answer(b) == "2", 20)


def test_what_was_changed_while_a_gateway_was_cut_off_is_caught_up(
    models: Path, tmp_path: Path, own_postgresql: PostgreSQL
) -> None:
    url = own_postgresql.database()
    with gateway(models, tmp_path, url, "a") as a:
        assert split(a, "1").status_code == 200
        own_postgresql.kill()
        until(lambda: metric(a, "sluice_store_up") == 0)
        own_postgresql.start()
        with gateway(models, tmp_path, url, "b") as b:
            assert split(b, "2", wait=20).status_code == 200
            until(lambda: answer(a) == "2", 10)


def test_a_store_that_went_back_is_followed(
    models: Path, tmp_path: Path, postgresql: Databases, postgresql_database: str
) -> None:
    with gateway(models, tmp_path, postgresql_database, "a") as a:
        for version in ("1", "2", "3"):
            assert split(a, version).status_code == 200
        restored = "UPDATE sluice.splits SET arms = '[[\"1\", 1.0]]'; UPDATE sluice.revision SET value = 1"
        postgresql.sql(f"BEGIN; {restored}; COMMIT", postgresql_database)
        until(lambda: answer(a) == "1", 10)
        assert "the store went back from revision 3 to 1" in a.log()
        assert split(a, "2").json()["revision"] == 2
