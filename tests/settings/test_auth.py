"""The settings that say who may do what."""

from pathlib import Path
from textwrap import dedent

import pytest

from gateway.settings import SettingsError, load
from gateway.settings.auth import PolicySetting, QuotaSetting


def read(tmp_path: Path, text: str) -> object:
    file = tmp_path / "given.yaml"
    file.write_text(dedent(text))
    return load(file)


def test_a_whole_section(tmp_path: Path) -> None:
    settings = read(
        tmp_path,
        """
        auth:
          policies:
            - {who: "key:scoring", allow: [infer], models: ["churn-*"]}
            - {who: "jwt-group:mlops", allow: [admin]}
          quotas:
            - {who: anonymous, requests_per_second: 5}
          trusted_proxies: [10.0.0.0/8]
          jwt:
            issuer: https://id.example
            audience: [sluice]
            jwks_file: keys.json
        """,
    )
    assert settings.auth.policies == (
        PolicySetting(who="key:scoring", allow=("infer",), models=("churn-*",)),
        PolicySetting(who="jwt-group:mlops", allow=("admin",), models=("*",)),
    )
    assert settings.auth.quotas == (QuotaSetting(who="anonymous", requests_per_second=5.0),)
    assert (settings.auth.jwt.jwks_file, settings.auth.jwt.algorithms) == ("keys.json", ("RS256", "ES256"))


def test_lists_of_mappings_in_the_environment() -> None:
    settings = load(None, {"SLUICE_AUTH_POLICIES": '[{"who": "*", "allow": ["read"]}]'})
    assert settings.auth.policies == (PolicySetting(who="*", allow=("read",)),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("policies: [{who: bob, allow: [infer]}]", "policies[0].who: expected 'key:NAME', 'jwt:SUBJECT'"),
        ("policies: [{who: 'key:', allow: [infer]}]", "policies[0].who: expected"),
        ("policies: [{who: '*', allow: [fly]}]", "Invalid enum value 'fly'"),
        ("policies: [{who: '*', allow: []}]", "policies[0].allow: expected at least one, found none"),
        ("policies: [{who: '*', allow: [infer], models: ['']}]", "policies[0].models: expected patterns such as"),
        ("policies: [{who: '*', alow: [infer]}]", "unknown field `alow`"),
        ("policies: {who: '*'}", "auth.policies: expected a list of mappings, found"),
        ("policies: [{who: 'jwt:ann', allow: [infer]}]", "expected auth.jwt.issuer to be set beside it"),
        ("policies: [{who: 'cert:ann', allow: [infer]}]", "expected tls.client_auth to be set beside it"),
        ("quotas: [{who: '*'}]", "quotas[0]: expected requests_per_second or rows_per_second, found neither"),
        ("quotas: [{who: '*', requests_per_second: 1, rows_burst: 5}]", "expected a rate beside rows_burst"),
        ("quotas: [{who: '*', requests_per_second: -1}]", "quotas"),
        ("trusted_proxies: [somewhere]", "trusted_proxies[0]: expected a network as in 10.0.0.0/8"),
        ("jwt: {issuer: x, jwks_file: k}", "auth.jwt.audience: expected at least one"),
        ("jwt: {issuer: x, audience: [a]}", "auth.jwt.issuer: expected http://… or https://…, because neither"),
        ("jwt: {issuer: 'https://a@x', audience: [a]}", "says where its keys are; found 'https://a@x'"),
        ("jwt: {issuer: x, audience: [a], jwks_url: 'http://x', jwks_file: k}", "auth.jwt.jwks_file, found both"),
        ("jwt: {issuer: x, audience: [a], jwks_url: 'file:///etc/passwd'}", "expected http://… or https://…"),
        ("jwt: {audience: [a]}", "auth.jwt.issuer: expected a text, because auth.jwt.audience is set"),
        ("jwt: {algorithms: [HS256]}", "auth.jwt.algorithms: expected a list, each one of 'RS256'"),
        ("jwt: {algorithms: [none]}", "auth.jwt.algorithms"),
        ("jwt: {isuer: x}", "unknown setting 'auth.jwt.isuer', did you mean 'auth.jwt.issuer'?"),
        ("jwt: 3", "auth.jwt: expected a section of settings, found 3"),
    ],
)
def test_what_is_wrong_is_named(tmp_path: Path, text: str, says: str) -> None:
    with pytest.raises(SettingsError) as raised:
        read(tmp_path, f"auth:\n  {text}\n")
    assert says in raised.value.message
