"""The same table of credentials on every port, and on every kind of call of it."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable
from itertools import count
from multiprocessing import shared_memory

import pytest
from issuer import signed_with_public, token, unsigned
from joserfc.jwk import ECKey, RSAKey
from surface import (
    BODY,
    DENIED,
    OK,
    REFUSED,
    SERVICE,
    TOKEN,
    UNKNOWN,
    Credentials,
    Surface,
    bearer,
    until_expired,
)

from gateway import pb

NUMBERS = count()
Made = Callable[[Surface], Credentials]
PORTS = ("rest", "rest_route", "grpc", "grpc_stream", "grpc_call", "admin")


def _jwt(**how: object) -> Made:
    return lambda surface: bearer(token(surface.issuer.keys["ec"], "ec", **how))  # type: ignore[arg-type]


def _wrong_secret(surface: Surface) -> Credentials:
    public = surface.key("wrong", "admin")["key"].rpartition("_")[0]
    return bearer(f"{public}_{'0' * 64}")


def _expired_key(surface: Surface) -> Credentials:
    key = surface.key("short", "admin", expires_in=0.5)
    until_expired(surface, key["id"])
    return bearer(key["key"])


def _revoked_key(surface: Surface) -> Credentials:
    key = surface.key("gone", "admin")
    credentials = bearer(key["key"])
    assert surface.rest(credentials) == surface.grpc(credentials) == surface.admin(credentials) == OK
    surface.revoke(key["id"])
    return credentials


def _rotated_away(surface: Surface) -> Credentials:
    """Good until the issuer takes its key back, and it was seen that it did."""
    issuer, old, new = surface.issuer, f"old-{next(NUMBERS)}", f"new-{next(NUMBERS)}"
    credentials = bearer(token(issuer.publish(old), old))
    assert surface.rest(credentials) == OK
    del issuer.keys[old]
    assert surface.rest(bearer(token(issuer.publish(new), new))) == OK
    return credentials


def _rotated_in(surface: Surface) -> Credentials:
    name = f"new-{next(NUMBERS)}"
    return bearer(token(surface.issuer.publish(name), name))


def _replaced(surface: Surface) -> tuple[Credentials, Credentials]:
    """By the old and by the new key of one id."""
    issuer, name = surface.issuer, f"same-{next(NUMBERS)}"
    old = bearer(token(issuer.publish(name), name))
    assert surface.rest(old) == OK
    return old, bearer(token(issuer.publish(name), name))


def _replaced_in(surface: Surface) -> Credentials:
    return _replaced(surface)[1]


def _replaced_away(surface: Surface) -> Credentials:
    old, new = _replaced(surface)
    assert surface.rest(new) == OK
    return old


def _rsa(surface: Surface) -> RSAKey:
    key = surface.issuer.keys["rsa"]
    assert isinstance(key, RSAKey)
    return key


def _key(*allow: str) -> Made:
    return lambda surface: bearer(surface.key("kit", *allow)["key"])


TABLE: dict[str, tuple[Made, str]] = {
    "none": (lambda _: Credentials(), UNKNOWN),
    "wrong": (lambda _: bearer("wrong"), UNKNOWN),
    "empty": (lambda _: Credentials([("authorization", "Bearer")]), UNKNOWN),
    "another scheme": (lambda _: Credentials([("authorization", f"Basic {TOKEN}")]), UNKNOWN),
    "no scheme": (lambda _: Credentials([("authorization", TOKEN)]), UNKNOWN),
    "the token twice": (lambda _: Credentials([("authorization", f"Bearer {TOKEN}")] * 2), UNKNOWN),
    "a key beside the token": (
        lambda _: Credentials([("authorization", f"Bearer {TOKEN}"), ("x-api-key", "x")]),
        UNKNOWN,
    ),
    "the admin token": (lambda _: bearer(TOKEN), OK),
    "the admin token as a key": (lambda _: Credentials([("x-api-key", TOKEN)]), OK),
    "a key": (_key("infer:churn-*", "read:churn-*"), OK),
    "a key in its own header": (
        lambda s: Credentials([("x-api-key", s.key("kit", "infer:churn-*", "read:churn-*")["key"])]),
        OK,
    ),
    "a key that may nothing": (_key(), DENIED),
    "a key for other models": (_key("infer:fraud", "read:fraud"), DENIED),
    "a key nobody made": (lambda _: bearer(f"sluice_{'0' * 12}_{'0' * 64}"), UNKNOWN),
    "a key's id with another secret": (_wrong_secret, UNKNOWN),
    "an expired key": (_expired_key, UNKNOWN),
    "a revoked key": (_revoked_key, UNKNOWN),
    "a token, ES256": (_jwt(), OK),
    "a token, RS256": (lambda s: bearer(token(_rsa(s), "rsa", "RS256")), OK),
    "a token of somebody else": (_jwt(sub="bob"), DENIED),
    "an expired token": (_jwt(exp=time.time() - 3600), UNKNOWN),
    "a token for later": (_jwt(nbf=time.time() + 3600), UNKNOWN),
    "a token for another audience": (_jwt(aud="someone"), UNKNOWN),
    "a token of another issuer": (_jwt(iss="https://evil"), UNKNOWN),
    "alg=none": (lambda _: bearer(unsigned()), UNKNOWN),
    "an HMAC with the public key": (lambda s: bearer(signed_with_public(_rsa(s), "rsa")), UNKNOWN),
    "a token by a key of one's own": (lambda _: bearer(token(ECKey.generate_key("P-256"), "ec")), UNKNOWN),
    "a token by a key that nobody knows": (lambda _: bearer(token(ECKey.generate_key("P-256"), "else")), UNKNOWN),
    "a token by a key that was rotated in": (_rotated_in, OK),
    "a token by a key that was rotated away": (_rotated_away, UNKNOWN),
    "a token by a key that took another's id": (_replaced_in, OK),
    "a token by a key whose id another one took": (_replaced_away, UNKNOWN),
    "a certificate": (lambda _: Credentials(certificate="client"), OK),
    "a certificate of somebody else": (lambda _: Credentials(certificate="other"), DENIED),
    "a certificate by another CA": (lambda _: Credentials(certificate="stranger"), REFUSED),
    "a wrong token with a good certificate": (
        lambda _: Credentials([("authorization", "Bearer wrong")], "client"),
        UNKNOWN,
    ),
    "a token with a certificate of somebody else": (
        lambda s: Credentials([("authorization", f"Bearer {token(s.issuer.keys['ec'], 'ec')}")], "other"),
        OK,
    ),
}


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name", TABLE)
def test_who_is_let_in(surface: Surface, name: str, port: str) -> None:
    make, expected = TABLE[name]
    credentials = make(surface)
    assert getattr(surface, port)(credentials) == expected


@pytest.mark.parametrize("port", PORTS)
@pytest.mark.parametrize("name", ["a key", "a token, ES256", "a certificate"])
def test_who_is_let_in_may_no_more_than_that(surface: Surface, name: str, port: str) -> None:
    """And learns nothing of models that they may not see: there or not, the answer is the same."""
    credentials = TABLE[name][0](surface)
    assert getattr(surface, port)(credentials, "fraud") == DENIED
    assert getattr(surface, port)(credentials, "no-such-model") == DENIED


def test_a_revoked_key_is_refused_on_connections_that_are_open(surface: Surface) -> None:
    key = surface.key("open", "infer:churn-*")
    url = f"{surface.server.rest}/v2/models/churn-a/infer"
    headers = {"x-api-key": key["key"]}
    with surface.client() as client:
        assert [client.post(url, json=BODY, headers=headers).status_code for _ in range(4)] == [200] * 4
        surface.revoke("open")
        assert [client.post(url, json=BODY, headers=headers).status_code for _ in range(2)] == [401] * 2


def test_a_revoked_key_is_refused_within_a_stream(surface: Surface) -> None:
    key = surface.key("flow", "infer:churn-*")
    requests: queue.Queue[bytes | None] = queue.Queue()
    read = pb.message("ModelStreamInferResponse").FromString
    with surface.channel() as channel:
        call = channel.stream_stream(f"/{SERVICE}/ModelStreamInfer", None, read)
        replies = call(iter(requests.get, None), timeout=20, metadata=[("x-api-key", key["key"])])
        requests.put(surface.message("churn-a"))
        assert not next(replies).error_message
        requests.put(surface.message("fraud"))
        assert "may not 'infer' with model 'fraud'" in next(replies).error_message
        surface.revoke(key["id"])
        requests.put(surface.message("churn-a"))
        assert next(replies).error_message == "the API key is not known"
        requests.put(None)


def test_an_issuer_that_is_gone_keeps_nobody_out(surface: Surface) -> None:
    issuer = surface.issuer
    issuer.up = False
    try:
        stranger = bearer(token(ECKey.generate_key("P-256"), "else"))
        assert surface.rest(stranger) == surface.grpc(stranger) == UNKNOWN
        good = bearer(token(issuer.keys["ec"], "ec"))
        assert surface.rest(good) == surface.grpc(good) == surface.admin(good) == OK
    finally:
        issuer.up = True


def test_denials_are_counted_and_no_secret_is_in_the_log(surface: Surface) -> None:
    before = surface.denied()
    surface.rest_route(Credentials())
    surface.grpc_call(bearer("s3cr3t-token"))
    surface.admin(bearer("s3cr3t-token"))
    key = surface.key("logged", "read:churn-a")
    surface.rest_route(bearer(key["key"]), "fraud")
    after = surface.denied()
    for name in ("rest missing", "grpc wrong", "admin wrong", "rest forbidden"):
        assert after[name] == before.get(name, 0) + 1
    log = surface.server.log()
    assert "s3cr3t" not in log
    assert key["key"].rpartition("_")[2] not in log
    assert "denied: GET /admin/v1/models/churn-a, from admin 127.0.0.1: the token is not known" in log


def test_every_change_tells_who_made_it(surface: Surface) -> None:
    key = surface.key("changer", "split:churn-*", "read:churn-*")
    url = f"{surface.server.admin}/admin/v1"
    reply = surface.send("PUT", f"{url}/labels/churn-a", bearer(key["key"]), json={"stable": "1"})
    assert reply.status_code == 200
    assert surface.send("PUT", f"{url}/labels/fraud", bearer(key["key"]), json={"stable": "1"}).status_code == 403
    assert surface.send("GET", f"{url}/audit", bearer(key["key"])).status_code == 403
    entries = surface.send("GET", f"{url}/audit?limit=2", bearer(TOKEN)).json()["entries"]
    assert [(e["actor"], e["origin"], e["action"]) for e in entries] == [
        ("key:changer", "admin 127.0.0.1", "labels.set"),
        ("admin", "admin 127.0.0.1", "key.create"),
    ]
    assert key["key"] not in str(entries)
    assert surface.send("DELETE", f"{url}/labels/churn-a", bearer(TOKEN)).status_code == 200


def test_what_is_no_state_is_in_the_trail_too(surface: Surface) -> None:
    rest, admin = surface.server.rest, f"{surface.server.admin}/admin/v1"
    key = bearer(surface.key("operator", "admin")["key"])
    changes = pb.message("LogSettingsRequest")()
    changes.settings["log_info"].bool_param = True
    memory = shared_memory.SharedMemory(create=True, size=64)
    region = f"{rest}/v2/systemsharedmemory/region/r"
    try:
        body = {"key": memory.name, "byte_size": 8}
        for reply in (
            surface.send("POST", f"{rest}/v2/logging", key, json={"log_verbose_level": 0}),
            surface.send("POST", f"{region}/register", key, json=body),
            surface.send("POST", f"{region}/unregister", key),
        ):
            assert reply.status_code == 200, reply.text
    finally:
        memory.close()
        memory.unlink()
    with surface.channel() as channel:
        call = channel.unary_unary(f"/{SERVICE}/LogSettings")
        call(changes.SerializeToString(), timeout=10, metadata=key.headers)
        call(b"", timeout=10, metadata=key.headers)  # reading is no change
    entries = surface.send("GET", f"{admin}/audit?limit=4", bearer(TOKEN)).json()["entries"]
    assert [(e["actor"], e["origin"], e["action"], e["target"]) for e in entries] == [
        ("key:operator", "grpc 127.0.0.1", "logging.set", ""),
        ("key:operator", "rest 127.0.0.1", "memory.unregister", "r"),
        ("key:operator", "rest 127.0.0.1", "memory.register", "r"),
        ("key:operator", "rest 127.0.0.1", "logging.set", ""),
    ]
