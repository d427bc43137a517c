"""The API keys of the control state, as of its newest snapshot."""

from __future__ import annotations

import hmac
import math
import time
from collections.abc import Mapping
from typing import Final, Protocol

from gateway.core.errors import InvalidArgument, Unauthenticated
from gateway.security.grant import read_grant
from gateway.security.identity import Identity, named
from gateway.security.key import digest, parse_key
from gateway.security.refusal import Expired, Revoked

_NO_DIGEST: Final = "0" * 64


class Record(Protocol):
    """A key as it is kept. `digest` "": it was revoked; `expires` 0: never."""

    @property
    def name(self) -> str: ...
    @property
    def digest(self) -> str: ...
    @property
    def allow(self) -> tuple[tuple[str, str], ...]: ...
    @property
    def expires(self) -> float: ...


class Keyring:
    """`records` by id. Two rings of the same records are as good as each other."""

    def __init__(self, records: Mapping[str, Record]) -> None:
        self.records: Final = records

    def identify(self, token: bytes) -> Identity | None:
        """None for what is no API key. Raises Unauthenticated, with the same words whether the id exists or not."""
        parsed = parse_key(token)
        if parsed is None:
            return None
        public, secret = parsed
        record = self.records.get(public)
        kept = record.digest if record is not None else ""
        # compared before anything else is looked at, so that nobody without the secret learns of an id
        if not hmac.compare_digest(digest(secret), kept or _NO_DIGEST) or record is None:
            if record is not None and not kept:
                raise Revoked("the API key is not known")
            raise Unauthenticated("the API key is not known")
        if record.expires and record.expires <= time.time():
            raise Expired("the API key has expired")
        return _identity(record)


def _identity(record: Record) -> Identity:
    """A grant that a newer Sluice wrote, and this one does not know, is none."""
    grants = []
    for action, models in record.allow:
        try:
            grants.append(read_grant(action, models))
        except InvalidArgument:
            continue
    return Identity((named("key", record.name),), tuple(grants), record.expires or math.inf)
