"""Dead letters as JSON, one line each: what an output for them is given, and what `redrive` reads."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from typing import Any, Final

import msgspec

from gateway.core.errors import InvalidArgument
from gateway.core.stream import Batch, DeadLetter, Message
from gateway.pipeline.stamp import ATTEMPTS_HEADER


class Letter(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes are in base64; what is null is not there. `position` is that of the batch, as its adapter writes it;
    `timestamp` is the record's own, `failed` is when it became a dead letter, both in ms since the epoch."""

    id: str
    pipeline: str
    lane: str
    position: str
    attempts: int
    reason: str
    model: str
    failed: int
    timestamp: int
    headers: list[tuple[str, str]]
    key: str | None
    value: str | None


_encoder: Final = msgspec.json.Encoder()
_decoder: Final = msgspec.json.Decoder(Letter)


def _text(value: bytes | None) -> str | None:
    return None if value is None else base64.b64encode(value).decode()


def encode(letter: DeadLetter, pipeline: str, model: str, failed: int) -> bytes:
    message = letter.message
    return _encoder.encode(
        Letter(
            id=message.id,
            pipeline=pipeline,
            lane=letter.lane,
            position=letter.position,
            attempts=letter.attempts,
            reason=letter.reason,
            model=model,
            failed=failed,
            timestamp=message.timestamp,
            headers=[(name, base64.b64encode(value).decode()) for name, value in message.headers],
            key=_text(message.key),
            value=_text(message.value),
        )
    )


def encode_all(letters: Sequence[DeadLetter], pipeline: str, model: str, failed: int) -> Batch:
    """As records of an output: each has the id and the key of the record that it is about."""
    return Batch(
        [letter.message.id for letter in letters],
        [encode(letter, pipeline, model, failed) for letter in letters],
        [letter.message.key for letter in letters] if any(x.message.key is not None for x in letters) else (),
    )


def decode(value: bytes | None) -> Letter:
    """Raises InvalidArgument."""
    if value is None:
        raise InvalidArgument("it is no dead letter: it has no value (a tombstone)")
    try:
        return _decoder.decode(value)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InvalidArgument(f"it is no dead letter: {error}") from None


def message(letter: Letter) -> Message:
    """The record as it came, and how often it has failed. Raises InvalidArgument."""
    try:
        headers = tuple((name, _bytes(value)) for name, value in letter.headers)
        return Message(
            letter.id,
            None if letter.value is None else _bytes(letter.value),
            None if letter.key is None else _bytes(letter.key),
            (*headers, (ATTEMPTS_HEADER, str(letter.attempts).encode())),
            letter.timestamp,
        )
    except binascii.Error as error:
        raise InvalidArgument(f"the dead letter of '{letter.id}' is damaged: {error}") from None


def _bytes(text: Any) -> bytes:
    return base64.b64decode(text, validate=True)
