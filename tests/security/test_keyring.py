from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import Unauthenticated
from gateway.security.grant import Grant
from gateway.security.key import Key, digest, is_name, new_key, parse_key
from gateway.security.keyring import Keyring
from gateway.security.refusal import Expired, Revoked
from gateway.store.contract import ApiKey


def record(key: Key, **more: object) -> ApiKey:
    return ApiKey(**{"name": "ann", "digest": key.digest, "allow": (("infer", "churn-*"),), **more})  # type: ignore[arg-type]


def test_a_key_is_its_id_and_its_secret_and_only_a_digest_is_kept() -> None:
    key = new_key()
    parsed = parse_key(key.text.encode())
    assert parsed is not None
    public, secret = parsed
    assert public == key.id
    assert digest(secret) == key.digest
    assert secret.decode() not in repr((key.id, key.digest))
    assert len({new_key().text for _ in range(1000)}) == 1000


@given(st.binary(max_size=120))
def test_whatever_else_is_no_key(token: bytes) -> None:
    assert parse_key(token) is None


def test_names() -> None:
    for good in ("a", "Scoring-1", "a.b_c", "9"):
        assert is_name(good)
    for bad in ("", "-a", "a b", "ü", "a/b", "x" * 64, "a\n", "*"):
        assert not is_name(bad)


def test_who_presents_a_key() -> None:
    key = new_key()
    found = Keyring({key.id: record(key, expires=time.time() + 9)}).identify(key.text.encode())
    assert found is not None
    assert found.names == ("key:ann",)
    assert found.grants == (Grant("infer", "churn-*"),)
    assert found.expires == pytest.approx(time.time() + 9, abs=5)


def test_what_is_no_key_is_for_somebody_else_to_read() -> None:
    assert Keyring({}).identify(b"a.b.c") is None


def test_a_grant_of_a_newer_release_is_none() -> None:
    key = new_key()
    found = Keyring({key.id: record(key, allow=(("fly", "*"), ("infer", "a/b"), ("read", "x")))}).identify(
        key.text.encode()
    )
    assert found is not None
    assert found.grants == (Grant("read", "x"),)


def test_wrong_ones_are_all_told_the_same() -> None:
    key, other = new_key(), new_key()
    ring = Keyring({key.id: record(key), other.id: record(other, digest="")})
    wrong = {
        "unknown id": new_key().text,
        "secret of another": f"sluice_{key.id}_{other.text[-64:]}",
        "revoked": other.text,
        "a digest for a secret": f"sluice_{key.id}_{key.digest}",
        "no digest at all": f"sluice_{other.id}_{'0' * 64}",
    }
    told = set()
    for text in wrong.values():
        with pytest.raises(Unauthenticated) as refused:
            ring.identify(text.encode())
        told.add(refused.value.message)
    assert len(told) == 1
    with pytest.raises(Revoked):
        ring.identify(other.text.encode())


def test_expiry_is_told_to_the_owner_alone() -> None:
    key = new_key()
    ring = Keyring({key.id: record(key, expires=time.time() - 1)})
    with pytest.raises(Expired):
        ring.identify(key.text.encode())
    with pytest.raises(Unauthenticated) as refused:
        ring.identify(f"sluice_{key.id}_{'a' * 64}".encode())
    assert not isinstance(refused.value, Expired)
