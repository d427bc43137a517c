"""What a token must be, to name somebody."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from issuer import ISSUER, Issuer, Private, signed_with_public, token, unsigned
from joserfc.jwk import ECKey, OKPKey, RSAKey

from gateway.core.errors import SluiceError, Unauthenticated, Unavailable
from gateway.security.identity import Identity
from gateway.security.jwks import Jwks
from gateway.security.refusal import Expired, UnknownKey
from gateway.security.token import Expected, Tokens

RSA = RSAKey.generate_key(2048)
EC = ECKey.generate_key("P-256")
ED = OKPKey.generate_key("Ed25519")
KEYS: dict[str, Private] = {"r": RSA, "e": EC, "d": ED, "e384": ECKey.generate_key("P-384")}


def identify(text: str | bytes, **expected: Any) -> Identity | None:
    """Asks an issuer that publishes `KEYS`, in a loop of its own."""
    issuer = Issuer("")
    for name, key in KEYS.items():
        issuer.publish(name, key)

    async def read() -> bytes:
        return issuer.document()

    async def run() -> Identity | None:
        wanted = {"issuer": ISSUER, "audience": ("sluice", "other"), "algorithms": ("RS256", "ES256", "EdDSA")}
        async with Jwks(read, cooldown=3600) as jwks:
            await jwks.look()  # type: ignore[misc]
            given = text.encode() if isinstance(text, str) else text
            return Tokens(Expected(**{**wanted, **expected}), jwks).identify(given)

    return asyncio.run(run())


@pytest.mark.parametrize(("name", "algorithm"), [("r", "RS256"), ("e", "ES256"), ("d", "EdDSA")])
@pytest.mark.parametrize("says", [True, False], ids=["with-kid", "without-kid"])
def test_a_good_one(name: str, algorithm: str, says: bool) -> None:
    found = identify(token(KEYS[name], name if says else "", algorithm, groups=["ml", "ops"]))
    assert found is not None
    assert found.names == ("jwt:ann", "jwt-group:ml", "jwt-group:ops")
    assert found.expires == pytest.approx(time.time() + 330, abs=20)


def test_clocks_may_differ_by_the_leeway() -> None:
    now = time.time()
    assert identify(token(EC, "e", exp=now - 500, nbf=now + 500, iat=now + 500), leeway=600) is not None
    with pytest.raises(Expired):
        identify(token(EC, "e", exp=now - 500), leeway=400)


def test_headers_that_nobody_registered() -> None:
    assert identify(token(EC, "e", header={"nonce": "abc", "x5c": ["A" * 2000]})) is not None


@pytest.mark.parametrize(
    ("claims", "names"),
    [
        ({"aud": ["x", "sluice"]}, ("jwt:ann",)),
        ({"groups": "ops"}, ("jwt:ann", "jwt-group:ops")),
        ({"groups": ["ops", 3, None, "", "a\nb", "x" * 300]}, ("jwt:ann", "jwt-group:ops")),
        ({"groups": {"a": 1}}, ("jwt:ann",)),
        ({"sub": "https://x/ü"}, ("jwt:https://x/ü",)),
    ],
)
def test_claims_that_are_good(claims: dict[str, Any], names: tuple[str, ...]) -> None:
    found = identify(token(EC, "e", **claims))
    assert found is not None
    assert found.names == names


@pytest.mark.parametrize(
    ("claims", "kind", "says"),
    [
        ({"iss": "https://evil"}, Unauthenticated, "another issuer"),
        ({"iss": None}, Unauthenticated, "another issuer"),
        ({"iss": [ISSUER]}, Unauthenticated, "another issuer"),
        ({"aud": "someone"}, Unauthenticated, "another audience"),
        ({"aud": ["x", 3]}, Unauthenticated, "another audience"),
        ({"aud": None}, Unauthenticated, "another audience"),
        ({"aud": {"sluice": 1}}, Unauthenticated, "another audience"),
        ({"exp": time.time() - 60}, Expired, "has expired"),
        ({"exp": None}, Unauthenticated, "does not say when it expires"),
        ({"exp": "tomorrow"}, Unauthenticated, "'exp' is no time"),
        ({"exp": True}, Unauthenticated, "'exp' is no time"),
        ({"exp": 1e300}, Unauthenticated, "'exp' is no time"),
        ({"nbf": time.time() + 86_400}, Unauthenticated, "not valid yet"),
        ({"iat": time.time() + 86_400}, Unauthenticated, "not valid yet"),
        ({"sub": None}, Unauthenticated, "a name that cannot be used"),
        ({"sub": ""}, Unauthenticated, "a name that cannot be used"),
        ({"sub": ["ann"]}, Unauthenticated, "a name that cannot be used"),
        ({"sub": "ann\r\nx: y"}, Unauthenticated, "a name that cannot be used"),
        ({"sub": "x" * 300}, Unauthenticated, "a name that cannot be used"),
    ],
)
def test_claims_that_are_not(claims: dict[str, Any], kind: type[SluiceError], says: str) -> None:
    with pytest.raises(kind, match=says):
        identify(token(EC, "e", **claims))


FORGED: dict[str, Callable[[], str]] = {
    "unsigned": unsigned,
    "unsigned, in capitals": lambda: unsigned().replace(unsigned().partition(".")[0], "eyJhbGciOiAiTm9OZSJ9"),
    "an HMAC with the public key": lambda: signed_with_public(RSA, "r"),
    "a signature of another token": lambda: token(EC, "e").rpartition(".")[0] + "." + token(EC, "e").rpartition(".")[2],
    "no signature": lambda: token(EC, "e").rpartition(".")[0] + ".",
    "a key of somebody else, named as ours": lambda: token(ECKey.generate_key("P-256"), "e"),
    "a key of somebody else, in its header": lambda: token(
        (mine := ECKey.generate_key("P-256")), "e", header={"jwk": mine.as_dict(private=False)}
    ),
    "an algorithm that is not taken": lambda: token(KEYS["e384"], "e384", "ES384"),
    "another kind of key": lambda: token(RSA, "e", "RS256"),
    "a claim changed": lambda: ".".join([*(a := token(EC, "e").split("."))[:1], "e30", *a[2:]]),
    "an extension that must be understood": lambda: token(EC, "e", header={"crit": ["b64"], "b64": False}),
}


@pytest.mark.parametrize("name", FORGED)
def test_forged_ones(name: str) -> None:
    with pytest.raises(Unauthenticated):
        identify(FORGED[name]())


def test_a_key_that_nobody_published() -> None:
    with pytest.raises(UnknownKey):
        identify(token(EC, "another"))


def test_a_key_that_another_one_replaced_under_its_id() -> None:
    """A signature that is wrong has the keys looked at, once, and no more often than allowed."""
    issuer = Issuer("")
    issuer.publish("k", EC)
    new = ECKey.generate_key("P-256")

    async def read() -> bytes:
        issuer.asked += 1
        return issuer.document()

    async def run() -> None:
        expected = Expected(issuer=ISSUER, audience=("sluice",), algorithms=("ES256",))
        async with Jwks(read, refresh=3600, cooldown=0) as jwks:
            await jwks.look()  # type: ignore[misc]
            tokens = Tokens(expected, jwks)
            issuer.publish("k", new)
            assert tokens.identify(token(EC, "k").encode()) is not None, "nobody has said so yet"
            with pytest.raises(UnknownKey) as raised:
                tokens.identify(token(new, "k").encode())
            assert raised.value.looked is not None
            await raised.value.looked
            assert issuer.asked == 2
            assert tokens.identify(token(new, "k").encode()) is not None
        async with Jwks(read, refresh=3600, cooldown=3600) as jwks:
            await jwks.look()  # type: ignore[misc]
            for _ in range(100):
                with pytest.raises(Unauthenticated, match="signature is wrong"):
                    Tokens(expected, jwks).identify(token(EC, "k").encode())
            assert issuer.asked == 3

    asyncio.run(run())


def test_claims_with_paths_and_names_that_are_urls() -> None:
    text = token(EC, "e", realm={"roles": ["a"]}, **{"https://x/groups": ["b"], "user.name": "bob"})
    assert identify(text, groups="realm.roles") == identify(text, groups="realm.roles")
    found = identify(text, groups="realm.roles", subject="user.name")
    assert found is not None
    assert found.names == ("jwt:bob", "jwt-group:a")
    found = identify(text, groups="https://x/groups")
    assert found is not None
    assert found.names == ("jwt:ann", "jwt-group:b")


@settings(max_examples=200, deadline=None)
@given(st.one_of(st.binary(max_size=80), st.lists(st.text("eyJhbGci0{}\"'.=-_"), min_size=3, max_size=5).map(".".join)))
def test_anything_else_is_no_token_or_refused(text: str | bytes) -> None:
    with suppress(Unauthenticated, Unavailable):
        assert identify(text) is None
