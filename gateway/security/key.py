"""An API key: ``sluice_<id>_<secret>``.

Of the secret only its SHA-256 is kept. A slow hash (bcrypt, Argon2) protects passwords that people chose; this secret
has 256 random bits, which nobody guesses however fast the hash is, and it is checked at every request.
"""

from __future__ import annotations

import re
import secrets
from hashlib import sha256
from typing import Final, NamedTuple

_FORM: Final = re.compile(rb"sluice_([0-9a-f]{12})_([0-9a-f]{64})")


_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,62}")


class Key(NamedTuple):
    """`id` is public, `text` is what its owner presents and is shown once, `digest` is what is kept."""

    id: str
    text: str
    digest: str


def new_key() -> Key:
    public, secret = secrets.token_hex(6), secrets.token_hex(32)
    return Key(public, f"sluice_{public}_{secret}", digest(secret.encode()))


def parse_key(token: bytes) -> tuple[str, bytes] | None:
    """Id and secret; None for what is no key."""
    match = _FORM.fullmatch(token)
    return (match[1].decode(), match[2]) if match else None


def digest(secret: bytes) -> str:
    return sha256(secret).hexdigest()


def is_name(text: str) -> bool:
    """Whether a key may be called so."""
    return _NAME.fullmatch(text) is not None
