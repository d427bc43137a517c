from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.telemetry import logs

log = logging.getLogger("gateway.test")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _json(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


class Unshowable:
    def __str__(self) -> str:
        raise RuntimeError("no")


def test_json_line() -> None:
    stream = io.StringIO()
    logs.configure("json", "info", stream=stream)
    before = datetime.now(UTC)
    log.info("model %s loaded", "m", extra={"model": "m", "seconds": 0.5, "request_id": "r-1"})
    log.debug("not this")
    (line,) = _json(stream)
    written = datetime.fromisoformat(line.pop("ts"))
    assert abs((written - before).total_seconds()) < 5
    assert line == {
        "level": "info",
        "logger": "gateway.test",
        "message": "model m loaded",
        "request_id": "r-1",
        "model": "m",
        "seconds": 0.5,
    }


def test_json_exception() -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("failed")
    (line,) = _json(stream)
    assert line["exception"].startswith("Traceback")
    assert line["exception"].endswith("ValueError: a\nb\n")


@pytest.mark.parametrize("style", ["json", "console"])
@given(text=st.text(), name=st.text(min_size=1), value=st.from_type(object) | st.floats() | st.binary())
def test_any_input_is_one_line(style: Any, text: str, name: str, value: object) -> None:
    stream = io.StringIO()
    logs.configure(style, stream=stream)
    record = log.makeRecord("gateway.test", logging.WARNING, "", 0, "%s", (text,), None)
    record.__dict__.setdefault(name, value)
    log.handle(record)
    written = stream.getvalue()
    written.encode()
    assert written.endswith("\n")
    assert len(written.splitlines()) == 1
    assert not any(ord(char) < 32 for char in written[:-1])


@pytest.mark.parametrize("style", ["json", "console"])
def test_nothing_raises(style: Any, capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure(style, stream=stream)
    log.warning("%d", "not a number")
    log.warning("%s and %s", *[1])
    log.warning("%s", Unshowable())
    log.warning("extras", extra={"a": Unshowable(), "b": float("nan"), "c": [1], "d": b"\xff", "e": "\udc80"})
    log.warning("x" * 1_000_000)
    log.warning("surrogate \ud800 %s", "\udfff")
    try:
        raise ValueError(Unshowable())
    except ValueError:
        log.exception("odd exception")
    lines = stream.getvalue().splitlines()
    assert sum("gateway.test" in line for line in lines) == 7
    assert max(map(len, lines)) < 2 * logs.MAX_TEXT
    assert "characters left out" in stream.getvalue()
    if style == "json":
        assert _json(stream)[3]["b"] == "nan"
    assert capsys.readouterr().err == ""


def test_no_line_can_be_forged() -> None:
    stream = io.StringIO()
    logs.configure("console", stream=stream)
    log.warning("unknown model %s", "x\n12:00:00.000 ERROR gateway fake", extra={"client": "\r\n\x1b[31mred"})
    (line,) = stream.getvalue().splitlines()
    assert "x\\n12:00:00.000" in line
    assert "client=\\r\\n\\x1b[31mred" in line
    assert "\x1b" not in line


def test_console_shows_extras_and_indents_tracebacks() -> None:
    stream = io.StringIO()
    logs.configure("console", stream=stream)
    try:
        raise ValueError("a\nb")
    except ValueError:
        log.exception("failed", extra={"request_id": "r 1", "rows": 3})
    first, *others = stream.getvalue().splitlines()
    assert first.endswith('ERROR   gateway.test failed  rows=3 request_id="r 1"')
    assert others
    assert all(line.startswith("    ") for line in others)


def test_a_closed_stream_is_no_error(capsys: pytest.CaptureFixture[str]) -> None:
    stream = io.StringIO()
    logs.configure("json", stream=stream)
    stream.close()
    log.warning("nobody hears")
    assert capsys.readouterr().err == ""


def test_uvicorn_is_routed_and_its_access_log_is_off() -> None:
    stream = io.StringIO()
    logging.getLogger("uvicorn").addHandler(logging.StreamHandler(io.StringIO()))
    logs.configure("json", stream=stream)
    logging.getLogger("uvicorn.error").warning("from uvicorn", extra={"color_message": "\x1b[1m"})
    logging.getLogger("uvicorn.access").info("GET /")
    (line,) = _json(stream)
    assert (line["logger"], line["message"]) == ("uvicorn.error", "from uvicorn")
    assert "color_message" not in line


def test_access_log_is_written_at_any_level_if_wanted() -> None:
    stream = io.StringIO()
    logs.configure("json", "error", access_log=True, stream=stream)
    logging.getLogger(logs.ACCESS).info("POST /v2/models/m/infer 200")
    log.warning("not this")
    logs.configure("json", "info", access_log=False, stream=stream)
    logging.getLogger(logs.ACCESS).info("not this either")
    assert [line["logger"] for line in _json(stream)] == [logs.ACCESS]


def test_set_level() -> None:
    stream = io.StringIO()
    logs.configure("json", "warning", stream=stream)
    log.info("1")
    logs.set_level("debug")
    log.debug("2")
    logging.getLogger("asyncio").debug("3")
    logs.set_level("ERROR")
    log.warning("4")
    assert [line["message"] for line in _json(stream)] == ["2"]
    with pytest.raises(ValueError, match="LOUD"):
        logs.set_level("loud")
