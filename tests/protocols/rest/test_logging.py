from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
from starlette.routing import Route

from gateway.protocols.oip.access import Gate
from gateway.protocols.oip.logsettings import Logging
from gateway.protocols.rest.logging import LoggingRoutes
from gateway.telemetry import logs

DEFAULTS = {
    "log_file": "",
    "log_info": True,
    "log_warning": True,
    "log_error": True,
    "log_verbose_level": 0,
    "log_format": "default",
}


@pytest.fixture
def output() -> Iterator[io.StringIO]:
    """What is logged from now on; afterwards logging is as it was."""
    root = logging.getLogger()
    before = root.handlers[:], root.level
    stream = io.StringIO()
    logs.configure("console", "info", access_log=True, stream=stream)
    yield stream
    for handler in root.handlers:
        handler.filters.clear()  # pytest's own handlers were muted too, and live on
    root.handlers[:], level = before
    root.setLevel(level)


@pytest.fixture
def client(serve: Callable[[list[Route]], httpx.Client], output: io.StringIO) -> httpx.Client:
    return serve(LoggingRoutes(Logging(Gate("logging", "restricted.logging", "open")), 1000).routes())


def _logged(output: io.StringIO) -> list[str]:
    output.seek(0)
    output.truncate()
    logger = logging.getLogger("gateway.test")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(logger, level)(level)
    return [line.split()[-1] for line in output.getvalue().splitlines()]


def test_defaults(client: httpx.Client) -> None:
    assert client.get("/v2/logging").json() == DEFAULTS


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, ["info", "warning", "error", "critical"]),
        ({"log_verbose_level": 2}, ["debug", "info", "warning", "error", "critical"]),
        ({"log_info": False}, ["warning", "error", "critical"]),
        ({"log_info": False, "log_warning": False}, ["error", "critical"]),
        ({"log_warning": False}, ["info", "error", "critical"]),
        ({"log_verbose_level": 1, "log_info": False}, ["debug", "warning", "error", "critical"]),
        ({"log_error": False}, ["info", "warning"]),
        ({"log_info": False, "log_warning": False, "log_error": False}, []),
    ],
)
def test_levels_are_switched_one_by_one_and_back(
    client: httpx.Client, output: io.StringIO, changes: dict[str, Any], expected: list[str]
) -> None:
    assert client.post("/v2/logging", json=changes).json() == DEFAULTS | changes
    assert client.get("/v2/logging").json() == DEFAULTS | changes
    assert _logged(output) == expected
    assert client.post("/v2/logging", json=DEFAULTS).json() == DEFAULTS
    assert _logged(output) == ["info", "warning", "error", "critical"]


def test_the_access_log_has_a_setting_of_its_own(client: httpx.Client, output: io.StringIO) -> None:
    client.post("/v2/logging", json={"log_info": False})
    logging.getLogger(logs.ACCESS).info("GET /")
    assert output.getvalue().endswith("GET /\n")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"log_file": "/etc/passwd"}, "log setting 'log_file' cannot be changed while the server runs"),
        ({"log_format": "ISO8601"}, "log setting 'log_format' cannot be changed while the server runs"),
        ({"log_info": 1}, "log setting 'log_info' must be true or false, got 1"),
        ({"log_info": None}, "log setting 'log_info' must be true or false, got None"),
        ({"log_verbose_level": True}, "log setting 'log_verbose_level' must be an integer, got True"),
        ({"log_verbose_level": -1}, "log setting 'log_verbose_level' must be at least 0"),
        ({"log_level": 1}, "unknown log setting 'log_level', expected one of log_file, log_info"),
    ],
)
def test_what_cannot_be_set(client: httpx.Client, changes: dict[str, Any], message: str) -> None:
    reply = client.post("/v2/logging", json={"log_warning": False} | changes)
    assert reply.status_code == 400
    assert message in reply.json()["error"]
    assert client.get("/v2/logging").json() == DEFAULTS


def test_changing_is_restricted_and_reading_is_not(
    serve: Callable[[list[Route]], httpx.Client], output: io.StringIO
) -> None:
    client = serve(LoggingRoutes(Logging(Gate("logging", "restricted.logging", "token")), 1000).routes())
    assert client.get("/v2/logging").status_code == 200
    assert client.post("/v2/logging", json={}).status_code == 401
    assert client.post("/v2/logging", json={}, headers={"Authorization": "Bearer t"}).status_code == 200
