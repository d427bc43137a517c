"""Tokens of an OpenID provider: JWTs (RFC 7519, RFC 8725) signed with one of its keys.

Only for servers that take them: joserfc is loaded with this module.
"""

from __future__ import annotations

import json
import time
from base64 import urlsafe_b64decode
from binascii import Error as Base64Error
from collections.abc import Callable, Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any, Final

from joserfc import jwt
from joserfc.errors import JoseError, UnsupportedAlgorithmError
from joserfc.jws import JWSRegistry

from gateway.core.errors import Unauthenticated, Unavailable
from gateway.security.credential import LONGEST
from gateway.security.identity import Identity, named
from gateway.security.jwks import Jwks
from gateway.security.refusal import Expired, UnknownKey

#: groups of one token that are looked at
MOST_GROUPS: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a token must say. `leeway` in seconds; `groups` "" reads none."""

    issuer: str
    audience: Collection[str]
    algorithms: Collection[str]
    leeway: float = 30.0
    subject: str = "sub"
    groups: str = "groups"


class Tokens:
    def __init__(self, expected: Expected, jwks: Jwks, clock: Callable[[], float] = time.time) -> None:
        self._expected = expected
        self._jwks = jwks
        self._clock = clock

    def identify(self, token: bytes) -> Identity | None:
        """None for what is no JWT. Raises Unauthenticated, which tells no more than a caller may know; Unavailable
        where the issuer's keys are not known yet."""
        if token.count(b".") != 2:
            return None
        header = _header(token)
        algorithm, key_id = header.get("alg"), header.get("kid", "")
        if not isinstance(algorithm, str) or algorithm not in self._expected.algorithms or not isinstance(key_id, str):
            raise Unauthenticated("the token's algorithm is not one that is taken")
        if not self._jwks.known:
            if (looked := self._jwks.look()) is not None:
                raise UnknownKey(looked)
            raise Unavailable("the keys of the token's issuer have not been read yet", retry_after=1.0)
        claims = self._verified(token, algorithm, key_id)
        return self._read(claims)

    def _verified(self, token: bytes, algorithm: str, key_id: str) -> dict[str, Any]:
        keys = self._jwks.find(key_id, algorithm)
        if not keys:
            raise UnknownKey(self._jwks.look())
        for candidate in keys:
            try:
                return jwt.decode(token, candidate.key, registry=_Algorithms(algorithm)).claims
            except (JoseError, ValueError, TypeError, RecursionError):
                continue
        # the issuer may have another key of the same id by now
        if (looked := self._jwks.look()) is not None:
            raise UnknownKey(looked)
        raise Unauthenticated("the token's signature is wrong")

    def _read(self, claims: dict[str, Any]) -> Identity:
        expected, now = self._expected, self._clock()
        if claims.get("iss") != expected.issuer:
            raise Unauthenticated("the token is of another issuer")
        audience = claims.get("aud")
        if not any(each in expected.audience for each in _texts(audience)):
            raise Unauthenticated("the token is for another audience")
        expires = _time(claims, "exp")
        if expires is None:
            raise Unauthenticated("the token does not say when it expires")
        if expires + expected.leeway <= now:
            raise Expired("the token has expired")
        for name in ("nbf", "iat"):
            begins = _time(claims, name)
            if begins is not None and begins - expected.leeway > now:
                raise Unauthenticated("the token is not valid yet")
        names = [named("jwt", _inner(claims, expected.subject)), *_groups(_inner(claims, expected.groups))]
        return Identity(tuple(names), (), expires + expected.leeway)


class _Algorithms(JWSRegistry):
    """joserfc's, but for headers that providers send and RFC 7515 does not know, for chains of certificates in them,
    and without its warning of the name EdDSA, which RFC 9864 changes and providers go on using.
    """

    max_header_length = LONGEST

    def __init__(self, algorithm: str) -> None:
        super().__init__(algorithms=[algorithm], strict_check_header=False)
        self._algorithm = algorithm

    def get_alg(self, name: str) -> Any:
        if name != self._algorithm:
            raise UnsupportedAlgorithmError(f"Algorithm of '{name}' is not allowed")
        return self.algorithms[name]


def _groups(value: Any) -> Iterator[str]:
    """A group whose name cannot be used is none; no policy can name it."""
    for group in islice(_texts(value), MOST_GROUPS):
        with suppress(Unauthenticated):
            yield named("jwt-group", group)


def _header(token: bytes) -> dict[str, Any]:
    first = token.partition(b".")[0]
    try:
        header = json.loads(urlsafe_b64decode(first + b"=" * (-len(first) % 4)))
    except (ValueError, Base64Error, RecursionError) as error:
        raise Unauthenticated("the token cannot be read") from error
    if not isinstance(header, dict):
        raise Unauthenticated("the token cannot be read")
    return header


def _time(claims: dict[str, Any], name: str) -> float | None:
    value = claims.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not -1e12 < value < 1e12:
        raise Unauthenticated(f"the token's '{name}' is no time")
    return float(value)


def _texts(value: Any) -> Iterator[str]:
    for each in value if isinstance(value, list) else [value]:
        if isinstance(each, str):
            yield each


def _inner(claims: dict[str, Any], path: str) -> Any:
    """A claim of that very name (names may be URLs), else the one that its dots lead to."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
