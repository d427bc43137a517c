"""Logs by the standard library: one JSON object a line, or lines for people to read.

Whatever is logged, a record is one line (but for a traceback on a console) and writing it raises nothing.
Control characters are escaped, so that no client can forge a line through a model's name or a header.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import traceback
from collections.abc import Mapping
from typing import Any, Final, Literal, TextIO

Format = Literal["console", "json"]

#: uvicorn's own logger of requests; ours is `ACCESS`
_UVICORN: Final = ("uvicorn", "uvicorn.error", "uvicorn.access", "uvicorn.asgi")
ACCESS: Final = "sluice.access"

#: characters of one message or traceback that are kept
MAX_TEXT: Final = 16_384

#: what every record has; anything else came by `extra=`
_STANDARD: Final = frozenset(
    (*vars(logging.makeLogRecord({})), "message", "asctime", "color_message", "taskName", "request_id")
)
_ESCAPES: Final = {
    **{code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0))},
    0x0A: "\\n",
    0x0D: "\\r",
    0x09: "\\t",
    0x2028: "\\u2028",
    0x2029: "\\u2029",
}


def configure(
    format: Format = "console",
    level: str = "info",
    access_log: bool = False,
    stream: TextIO | None = None,
) -> None:
    """Sends everything that is logged in this process to `stream` (standard error), uvicorn's included.

    May be called again; the last call counts. Raises ValueError for a level that logging does not know.
    """
    handler = _Handler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else ConsoleFormatter(handler.stream))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    set_level(level)
    for name in _UVICORN:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)  # its start and stop are told by the application itself
    logging.getLogger("uvicorn.access").disabled = True
    access = logging.getLogger(ACCESS)
    # an access log that was asked for is written whatever the level of the rest is
    access.setLevel(logging.INFO)
    access.disabled = not access_log


def set_level(level: str) -> None:
    """What is logged from now on: debug, info, warning, error or critical. Raises ValueError for others."""
    root = logging.getLogger()
    root.setLevel(level.upper())
    # libraries that are chatty at DEBUG say what nobody asked for
    chatty = max(root.level, logging.INFO)
    for name in ("asyncio", "urllib3", "opentelemetry"):
        logging.getLogger(name).setLevel(chatty)
    # tells each step of a group's life, and errors that it gets over by itself
    logging.getLogger("aiokafka").setLevel(logging.INFO if root.level <= logging.DEBUG else logging.CRITICAL)


def mark(fields: Mapping[str, object]) -> None:
    """Everything that is logged has these from now on, until `configure` is called again."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_Mark(fields))


class _Mark(logging.Filter):
    def __init__(self, fields: Mapping[str, object]) -> None:
        super().__init__()
        self._fields = fields

    def filter(self, record: logging.LogRecord) -> bool:
        vars(record).update(self._fields)
        return True


class _Handler(logging.StreamHandler[TextIO]):
    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 (logging's name)
        """A log that cannot be written (a full disk, a closed pipe) is no reason to fail."""


class JsonFormatter(logging.Formatter):
    """`ts` (ISO 8601, UTC), `level`, `logger`, `message`, `request_id`, `exception`, and every `extra`."""

    def format(self, record: logging.LogRecord) -> str:
        document: dict[str, Any] = {
            "ts": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": _message(record),
        }
        request_id = getattr(record, "request_id", None)
        if request_id:
            document["request_id"] = _plain(request_id)
        if record.exc_info or record.exc_text:
            document["exception"] = _traceback(record)
        for name, value in vars(record).items():
            if name not in _STANDARD and name not in document:
                document[name] = _plain(value)
        # with ensure_ascii lone surrogates and line separators are escaped as well
        return json.dumps(document, ensure_ascii=True, separators=(",", ":"))


class ConsoleFormatter(logging.Formatter):
    """``12:34:56.789 WARNING gateway.models message  name=value``, with colours on a terminal."""

    _COLOURS: Final = {
        "WARNING": "\x1b[33m",
        "ERROR": "\x1b[31m",
        "CRITICAL": "\x1b[31;1m",
        "DEBUG": "\x1b[2m",
    }

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._coloured = stream.isatty()

    def format(self, record: logging.LogRecord) -> str:
        clock = time.strftime("%H:%M:%S", time.localtime(record.created))
        level = f"{record.levelname:<7}"
        if self._coloured and record.levelname in self._COLOURS:
            level = f"{self._COLOURS[record.levelname]}{level}\x1b[0m"
        line = f"{clock}.{_milliseconds(record):03} {level} {record.name} {_message(record).translate(_ESCAPES)}"
        extras = {n: v for n, v in vars(record).items() if n not in _STANDARD}
        if getattr(record, "request_id", None):
            extras["request_id"] = record.__dict__["request_id"]
        if extras:
            line += "  " + " ".join(f"{_text(name)}={_text(_plain(value))}" for name, value in extras.items())
        if record.exc_info or record.exc_text:
            # its own lines are kept apart: indented, they cannot be taken for records
            lines = _traceback(record).splitlines()
            line += "".join(f"\n    {each.translate(_ESCAPES)}" for each in lines)
        return line.encode("utf-8", "backslashreplace").decode()


def _timestamp(record: logging.LogRecord) -> str:
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{_milliseconds(record):03}Z"


def _milliseconds(record: logging.LogRecord) -> int:
    return int(record.created * 1000) % 1000


def _message(record: logging.LogRecord) -> str:
    try:
        return _cut(record.getMessage())
    except Exception as error:  # noqa: BLE001 (arguments that do not fit, or whose __str__ fails)
        return _cut(f"{record.msg!s} (its arguments cannot be shown: {type(error).__name__})")


def _traceback(record: logging.LogRecord) -> str:
    if record.exc_text:
        return _cut(record.exc_text)
    info = record.exc_info
    try:
        return _cut("".join(traceback.format_exception(info[1]))) if info and info[1] else ""
    except Exception as error:  # noqa: BLE001 (an exception whose __str__ fails)
        return f"{type(info[1]).__name__ if info else ''} (cannot be shown: {type(error).__name__})"


def _plain(value: Any) -> Any:
    """A value that JSON has: itself, or its text."""
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, float):
        # NaN and the infinities are not JSON
        return value if value - value == 0 else str(value)
    try:
        return _cut(value if isinstance(value, str) else str(value))
    except Exception:  # noqa: BLE001 (its __str__ is not ours)
        return f"<{type(value).__name__}>"


def _text(value: Any) -> str:
    text = str(value).translate(_ESCAPES)
    return f'"{text}"' if " " in text or '"' in text or not text else text


def _cut(text: str) -> str:
    # a traceback's end is worth as much as its beginning
    if len(text) <= MAX_TEXT:
        return text
    half = MAX_TEXT // 2
    return f"{text[:half]}… {len(text) - MAX_TEXT} characters left out …{text[-half:]}"
