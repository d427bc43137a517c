"""Settings that say who may do what, and how much of it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from ipaddress import ip_network
from math import isfinite
from typing import Annotated, Final, Literal

from msgspec import Meta, Struct

from gateway.core.access import Action

Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519"
]  # fmt: skip

#: an issuer that can be asked where its keys are: without user, query and fragment
_ISSUER: Final = re.compile(r"https?://[^/?#@\s]+(/[^?#\s]*)?")
_WHO: Final = re.compile(r"\*|anonymous|(key|jwt|jwt-group|cert):.+")


class PolicySetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """`who` is allowed `allow` on `models`; in both patterns `*` is any text and `?` any character."""

    who: str
    allow: tuple[Action, ...]
    models: tuple[str, ...] = ("*",)


class QuotaSetting(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Of each client that `who` names. 0: no limit; a burst of 0: what one second brings."""

    who: str
    requests_per_second: Annotated[float, Meta(ge=0)] = 0.0
    requests_burst: Annotated[int, Meta(ge=0)] = 0
    rows_per_second: Annotated[float, Meta(ge=0)] = 0.0
    rows_burst: Annotated[int, Meta(ge=0)] = 0


class Jwt(Struct, frozen=True, kw_only=True):
    """Tokens of an OpenID provider, which callers present as Bearer token; needs the extra `sluice[jwt]`."""

    issuer: Annotated[str, Meta(description="What `iss` must be. Empty: no tokens are taken.")] = ""
    audience: Annotated[tuple[str, ...], Meta(description="One of these must be in `aud`.")] = ()
    algorithms: Annotated[
        tuple[Algorithm, ...],
        Meta(min_length=1, description="Signatures that are taken. There is no `none`, and nothing with a shared key."),
    ] = ("RS256", "ES256")
    jwks_url: Annotated[
        str,
        Meta(
            description="Where the issuer's public keys are, http or https; empty: where"
            " `<issuer>/.well-known/openid-configuration` says. Redirects are not followed."
        ),
    ] = ""
    jwks_file: Annotated[str, Meta(description="The keys in a file (JWKS) instead; read anew when it changes.")] = ""
    ca_file: Annotated[
        str, Meta(description="PEM file: who signed the certificates of the issuer and of `jwks_url`.")
    ] = ""
    refresh: Annotated[float, Meta(ge=0.1, description="Between two looks at the keys.")] = 300.0
    cooldown: Annotated[
        float, Meta(ge=0, description="Between two looks that tokens with an unknown or wrong key cause.")
    ] = 10.0
    timeout: Annotated[float, Meta(gt=0, description="For one look at the keys.")] = 5.0
    leeway: Annotated[float, Meta(ge=0, le=600, description="By which clocks may differ.")] = 30.0
    subject_claim: Annotated[str, Meta(min_length=1, description="What becomes `jwt:…`.")] = "sub"
    groups_claim: Annotated[
        str,
        Meta(
            description="What becomes `jwt-group:…`: a text or a list; dots lead inwards, as in `realm_access.roles`."
        ),
    ] = "groups"


class Auth(Struct, frozen=True, kw_only=True):
    """Who may do what; docs/security.md explains it. With any policy, API key or `auth.jwt` the REST and the gRPC port
    are closed to everything that is not allowed.
    """

    policies: Annotated[
        tuple[PolicySetting, ...],
        Meta(
            description="`{who: …, allow: [infer, read, load, split, admin], models: [pattern, …]}`; who: `key:NAME`,"
            " `jwt:SUBJECT`, `jwt-group:GROUP`, `cert:NAME`, `anonymous`, `*`."
        ),
    ] = ()
    quotas: Annotated[
        tuple[QuotaSetting, ...],
        Meta(
            description="`{who: …, requests_per_second: …, rows_per_second: …, requests_burst: …, rows_burst: …}`;"
            " the first that fits a client is its own. `anonymous` is counted by address."
        ),
    ] = ()
    trusted_proxies: Annotated[
        tuple[str, ...],
        Meta(
            description="Networks of proxies whose X-Forwarded-For is believed, for the audit trail and for quotas;"
            " none by default."
        ),
    ] = ()
    jwt: Jwt = Jwt()


def problems(auth: Auth, client_auth: str) -> Iterator[str]:
    """What is wrong with it beyond types, as "key: expected …, found …"."""
    yield from _jwt_problems(auth.jwt)
    for i, policy in enumerate(auth.policies):
        yield from _who_problems(f"auth.policies[{i}].who", policy.who, auth, client_auth)
        for field, given in (("allow", policy.allow), ("models", policy.models)):
            if not given:
                yield f"auth.policies[{i}].{field}: expected at least one, found none"
        if "" in policy.models:
            yield f"auth.policies[{i}].models: expected patterns such as 'churn-*', found an empty one"
    for i, quota in enumerate(auth.quotas):
        yield from _who_problems(f"auth.quotas[{i}].who", quota.who, auth, client_auth)
        if not (isfinite(quota.requests_per_second) and isfinite(quota.rows_per_second)):
            yield f"auth.quotas[{i}]: expected finite rates, found an infinite one"
        if not quota.requests_per_second and not quota.rows_per_second:
            yield f"auth.quotas[{i}]: expected requests_per_second or rows_per_second, found neither"
        for kind in ("requests", "rows"):
            if getattr(quota, f"{kind}_burst") and not getattr(quota, f"{kind}_per_second"):
                yield f"auth.quotas[{i}].{kind}_per_second: expected a rate beside {kind}_burst, found none"
    for i, network in enumerate(auth.trusted_proxies):
        try:
            ip_network(network)
        except ValueError as error:
            yield f"auth.trusted_proxies[{i}]: expected a network as in 10.0.0.0/8, found '{network}' ({error})"


def _who_problems(where: str, who: str, auth: Auth, client_auth: str) -> Iterator[str]:
    if not _WHO.fullmatch(who):
        yield (
            f"{where}: expected 'key:NAME', 'jwt:SUBJECT', 'jwt-group:GROUP', 'cert:NAME', 'anonymous' or '*',"
            f" found '{who[:60]}'"
        )
    elif who.startswith("jwt") and not auth.jwt.issuer:
        yield f"{where}: expected auth.jwt.issuer to be set beside it, found '{who[:60]}' without"
    elif who.startswith("cert:") and client_auth == "none":
        yield f"{where}: expected tls.client_auth to be set beside it, found '{who[:60]}' without"


def _jwt_problems(jwt: Jwt) -> Iterator[str]:
    if not jwt.issuer:
        for field in ("audience", "jwks_url", "jwks_file"):
            if getattr(jwt, field):
                yield f"auth.jwt.issuer: expected a text, because auth.jwt.{field} is set; found none"
        return
    if not jwt.audience or "" in jwt.audience:
        yield "auth.jwt.audience: expected at least one, because auth.jwt.issuer is set; found none"
    if jwt.jwks_url and jwt.jwks_file:
        yield "auth.jwt.jwks_url: expected either it or auth.jwt.jwks_file, found both"
    elif not (jwt.jwks_url or jwt.jwks_file or _ISSUER.fullmatch(jwt.issuer)):
        yield (
            "auth.jwt.issuer: expected http://… or https://…, because neither auth.jwt.jwks_url nor auth.jwt.jwks_file"
            f" says where its keys are; found '{jwt.issuer[:60]}'"
        )
    if jwt.jwks_url and not re.match(r"https?://[^/]", jwt.jwks_url):
        yield f"auth.jwt.jwks_url: expected http://… or https://…, found '{jwt.jwks_url[:60]}'"
