"""A dead letter as one JSON object, for whatever keeps it: a line of a file, a message, a row."""

from __future__ import annotations

import base64
import json
from typing import Any

from gateway.core.stream import DataError, DeadLetter, Message


def encode(letter: DeadLetter) -> bytes:
    """Bytes that are UTF-8 stay readable; others are an object with `base64`."""
    message = letter.message
    document: dict[str, Any] = {
        "id": message.id,
        "reason": letter.reason,
        "lane": letter.lane,
        "position": letter.position,
        "attempts": letter.attempts,
        "value": _text(message.value),
    }
    if letter.model:
        document["model"] = letter.model
    if message.key is not None:
        document["key"] = _text(message.key)
    if message.headers:
        document["headers"] = [[name, _text(value)] for name, value in message.headers]
    if message.timestamp:
        document["timestamp"] = message.timestamp
    return json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()


def decode(data: bytes) -> DeadLetter:
    """Raises DataError."""
    try:
        document = json.loads(data)
        headers = tuple((str(name), _bytes(value) or b"") for name, value in document.get("headers", ()))
        message = Message(
            document["id"], _bytes(document["value"]), _bytes(document.get("key")), headers,
            document.get("timestamp", 0),
        )  # fmt: skip
        return DeadLetter(
            message, document["reason"], document["lane"], document["position"], document.get("attempts", 1),
            document.get("model", ""),
        )  # fmt: skip
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"it is no dead letter: {type(error).__name__}: {error}") from error


def _text(value: bytes | None) -> str | dict[str, str] | None:
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes(value: Any) -> bytes | None:
    if value is None:
        return None
    if isinstance(value, str):
        return value.encode()
    return base64.b64decode(value["base64"], validate=True)
