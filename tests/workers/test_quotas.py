"""A client's quota is the server's: it holds over all workers, and over those that die and are replaced."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from http.client import HTTPConnection

import pytest
from fleets import BODY, Fleet, Load, fleet

#: slow enough that nothing comes back while a test runs
QUOTAS = [{"who": "anonymous", "requests_per_second": 0.001, "requests_burst": 60}]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Each test is clients of its own."""
    proxies = {"auth_trusted_proxies": "127.0.0.1"}
    with fleet(tmp_path_factory.mktemp("two"), auth_quotas=json.dumps(QUOTAS), **proxies) as found:
        yield found


def ask(two: Fleet, times: int, client: str) -> list[int]:
    """Each over a connection of its own, so that chance says which worker answers."""
    found = []
    for _ in range(times):
        with closing(HTTPConnection(two.server.host, timeout=30)) as connection:
            connection.request("POST", "/v2/models/m/infer", BODY, {"x-forwarded-for": client})
            found.append(connection.getresponse().status)
    return found


def test_it_holds_over_all_workers_and_their_deaths(two: Fleet) -> None:
    client = "1.2.3.4"
    assert ask(two, 40, client) == [200] * 40
    used = {worker["slot"]: worker["requests"] for worker in two.workers()}
    assert all(used.values()), f"chance gave all to one: {used}"
    pid = two.pids()[0]
    os.kill(pid, signal.SIGKILL)
    two.replaced(0, pid)
    found = ask(two, 30, client)
    assert found == [200] * 20 + [429] * 10, "what was counted is not forgotten"
    two.admin.post("/admin/v1/workers/recycle").raise_for_status()
    assert set(ask(two, 10, client)) == {429}
    assert ask(two, 1, "1.2.3.5") == [200], "another client has its own"


def test_what_many_ask_for_at_once_is_counted_once_each(two: Fleet) -> None:
    with ThreadPoolExecutor(8) as threads:
        found = [status for each in threads.map(lambda _: ask(two, 20, "1.2.3.6"), range(8)) for status in each]
    # two that are counted within the same fraction of a microsecond may be one
    assert 60 <= found.count(200) <= 63
    assert found.count(200) + found.count(429) == 160


def test_load_from_all_connections_is_one_client(two: Fleet) -> None:
    with Load(two.server.rest, 8) as load:
        two.until(lambda: len(load.failed) > 200)
    assert 60 <= load.good <= 63
    assert all("over this client's quota of requests" in each for each in load.failed)
