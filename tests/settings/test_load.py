from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis
from hypothesis import strategies as st

from gateway.settings import Settings, SettingsError, check_files, load
from gateway.settings.leaf import Leaf, leaves


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def written(text: str) -> Path:
    file = Path("given.yaml")
    file.write_text(text)
    return file


def wrong(text: str = "", environ: dict[str, str] | None = None, **overrides: Any) -> str:
    with pytest.raises(SettingsError) as raised:
        load(written(text), environ, overrides)
    message = raised.value.message
    assert "\n" not in message
    return message


def test_defaults_need_nothing() -> None:
    assert load() == Settings()


def test_the_command_line_is_above_the_environment_above_the_file_above_the_defaults() -> None:
    file = written("http_port: 1\nadmin_port: 2\nlimits: {header_count: 3}\nhost: a")
    settings = load(file, {"SLUICE_ADMIN_PORT": "20", "SLUICE_HTTP_PORT": "10"}, {"http_port": 100})
    assert (settings.http_port, settings.admin_port, settings.limits.header_count) == (100, 20, 3)
    assert (settings.host, settings.admin_host) == ("a", "127.0.0.1")


def test_the_file_of_the_working_folder_is_read_unless_another_is_named() -> None:
    Path("sluice.yaml").write_text("http_port: 7000")
    assert load().http_port == 7000
    assert load(written("")).http_port == 8000


def test_a_whole_file() -> None:
    settings = load(
        written(
            """
            models: /srv/models
            control_mode: explicit
            load: [fraud, spam]
            threads: 3
            splits:
              fraud: {weights: {2: 90, stable: 10.5}, salt: x}
            labels:
              fraud: {stable: 1, canary: "2"}
            limits: {json_body: 16MiB, binary_body: 1 GB}
            restricted: {repository: off, logging: open}
            tls:
            """
        )
    )
    assert settings.load == ("fraud", "spam")
    assert list(settings.splits["fraud"].weights.items()) == [("2", 90), ("stable", 10.5)]
    assert settings.splits["fraud"].salt == "x"
    assert settings.labels == {"fraud": {"stable": "1", "canary": "2"}}
    assert (settings.limits.json_body, settings.limits.binary_body) == (16 * 2**20, 10**9)
    assert settings.restricted.repository == "off"
    assert settings.threads == 3


def text_of(value: Any) -> str:
    return ",".join(value) if isinstance(value, tuple) else "{}" if value == {} else str(value)


@pytest.mark.parametrize("leaf", leaves().values(), ids=lambda leaf: leaf.key)
def test_every_setting_is_taken_from_the_environment_and_from_the_command_line(leaf: Leaf) -> None:
    alone = {"load", "tls.client_auth", "tls.admin", "tls.cert", "tls.key", "store"}
    other: Any = {
        int: 1, float: 0.5, bool: not leaf.default, str: "9", tuple: ("A", "b c"), dict: {}
    }[type(leaf.default)]  # fmt: skip
    if leaf.key in alone or (leaf.key.startswith("auth.") and isinstance(other, str | tuple)):
        other = leaf.default
    elif "Literal" in str(leaf.type):
        other = next(c for c in ("explicit", "open", "json", "error", 7, "none") if _takes(leaf, c))
    for settings in (
        load(None, {leaf.variable: text_of(other)}),
        load(None, {}, {leaf.key: text_of(other)}),
    ):
        assert attrgetter(leaf.key)(settings) == other


def _takes(leaf: Leaf, choice: Any) -> bool:
    import msgspec

    try:
        return bool(msgspec.convert(choice, leaf.type) == choice)
    except msgspec.ValidationError:
        return False


def test_variables_are_unambiguous() -> None:
    assert len({leaf.variable for leaf in leaves().values()}) == len(leaves())


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("htp_port: 1", "unknown setting 'htp_port', did you mean 'http_port'?"),
        ("limits: {json_bodi: 1}", "unknown setting 'limits.json_bodi', did you mean 'limits.json_body'?"),
        ("json_body: 1", "unknown setting 'json_body', did you mean 'limits.json_body'?"),
        ("qqqqqq: 1", "unknown setting 'qqqqqq'; docs/settings.md"),
        ("http_port: many", "given.yaml: http_port: expected an integer from 0 to 65535, found 'many'"),
        ("http_port: 65536", "http_port: expected an integer from 0 to 65535, found 65536"),
        ("http_port: true", "found True"),
        ("control_mode: polling", "expected one of 'none', 'poll', 'explicit', found 'polling'"),
        ("limits: {idle_timeout: 0}", "limits.idle_timeout: expected a number above 0, found 0"),
        ("drain_timeout: .nan", "drain_timeout: expected a number of at least 0, found nan"),
        ("limits: {json_body: 8 Mib/s}", "expected a size in bytes, as in 65536 or 64KiB, of at least 1"),
        ("threads: 0", "threads: expected an integer of at least 1 or one of 'auto', found 0"),
        ("limits: 3", "limits: expected a section of settings, found 3"),
        ("[1, 2]", "expected 'key: value' lines, found [1, 2]"),
        ("models: a\nmodels: b", "'models' is there twice"),
        ("models: [", "given.yaml: not YAML"),
        ("? [a]\n: b", "a key is no text"),
        ("splits: {m: {weights: {1: many}}}", "splits: expected a mapping by model"),
        ("splits: {m: {weights: {1: 1}, sald: x}}", "sald"),
        ("admin_port: 8000", "admin_port: expected a port other than http_port, found 8000 twice"),
        ("grpc_port: 8000", "grpc_port: expected a port other than http_port, found 8000 twice"),
        ("grpc_port: 8002", "grpc_port: expected a port other than admin_port, found 8002 twice"),
        ("grpc_port: on", "grpc_port: expected an integer of at least 0 or one of 'off', found 'on'"),
        ("tls: {cert: a.pem}", "tls.key: expected a file, because tls.cert is set"),
        ("tls: {client_auth: required, cert: a, key: b}", "tls.client_ca: expected a file"),
        ("load: [a]", "load: expected nothing unless control_mode is 'explicit', found ['a']"),
        ("admin_token: a\nadmin_token_file: b", "admin_token_file: expected nothing"),
        ("tls: {admin: true}", "tls.cert: expected a file, because tls.admin is true"),
    ],
)
def test_a_mistake_in_the_file_is_named(text: str, says: str) -> None:
    assert says in wrong(text)


def test_a_token_is_not_told_in_an_error() -> None:
    assert "12345" not in wrong("admin_token: 12345")


def test_mistakes_in_the_environment_and_on_the_command_line_are_named() -> None:
    assert wrong("", {"SLUICE_HTTP_PRT": "1"}) == (
        "environment: unknown variable 'SLUICE_HTTP_PRT', did you mean 'SLUICE_HTTP_PORT'?"
    )
    assert "SLUICE_HTTP_PORT: expected an integer from 0 to 65535, found 'x'" in wrong("", {"SLUICE_HTTP_PORT": "x"})
    assert "command line: http_port: expected an integer" in wrong("", {}, http_port=70000)
    assert "command line: unknown setting 'http_prt', did you mean 'http_port'?" in wrong("", {}, http_prt=1)
    assert "SLUICE_SPLITS: not YAML" in wrong("", {"SLUICE_SPLITS": "{"})


def test_what_kubernetes_sets_for_a_service_of_the_name_is_left_alone() -> None:
    links = {
        "SLUICE_SERVICE_HOST": "10.0.0.1",
        "SLUICE_SERVICE_PORT_HTTP": "8000",
        "SLUICE_PORT": "tcp://10.0.0.1:8000",
        "SLUICE_PORT_8000_TCP_ADDR": "10.0.0.1",
        "SLUICE_ADMIN_PORT": "tcp://10.0.0.1:8002",
        "SLUICE_ADMIN_SERVICE_HOST": "10.0.0.1",
        "SLUICE_HTTP_PORT": "",
        "SLUICE_DEBUG": "1",
        "OTHER": "x",
    }
    assert load(None, links) == Settings()


def test_mappings_and_lists_in_the_environment() -> None:
    settings = load(
        None,
        {
            "SLUICE_SPLITS": '{"m": {"weights": {"1": 9, "2": 1}}}',
            "SLUICE_LABELS": "{m: {stable: 1}}",
            "SLUICE_PROVIDERS": "CUDAExecutionProvider, CPUExecutionProvider",
            "SLUICE_ACCESS_LOG": "on",
        },
    )
    assert settings.splits["m"].weights == {"1": 9, "2": 1}
    assert settings.labels == {"m": {"stable": "1"}}
    assert settings.providers == ("CUDAExecutionProvider", "CPUExecutionProvider")
    assert settings.access_log


def test_a_missing_file_is_named() -> None:
    with pytest.raises(SettingsError, match=r"settings file 'no.yaml': No such file"):
        load("no.yaml")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("mysql://u:hidden@h/d", "expected postgresql://user@host:port/database, .* found 'mysql://…'"),
        ("hidden@h/d", "expected postgresql://.* found something else"),
        ("postgresql://u:hidden@/d", "expected a host in the URL, found none"),
        ("postgresql://u:hid#den@h/d", "expected %23, %2F and %3F for '#', '/' and '\\?' in user name and password"),
        ("postgresql://u:hid/den@h/d", "expected %23"),
        ("postgresql://u:hidden@[::1/d", "expected a host name or address"),
        ("postgresql://u:hidden@h:x/d", "expected a port from 1 to 65535, found 'x'"),
        ("postgres://u:hidden@h:1,i:70000/d", "expected a port from 1 to 65535, found '70000'"),
    ],
)
def test_where_the_store_is_without_a_word_of_its_password(url: str, message: str) -> None:
    with pytest.raises(SettingsError, match=f"^store: {message}") as caught:
        load(None, {"SLUICE_STORE": url})
    assert "hid" not in str(caught.value)


def test_where_the_store_is() -> None:
    for url in (
        "postgresql://h/d",
        "postgresql://h:5432?sslmode=require",
        "postgresql:///d?host=/run/postgresql",
        "postgres://u:p%40@@[::1]:5432,h2/d?sslmode=require",
    ):
        assert load(None, {"SLUICE_STORE": url}).store == url
    with pytest.raises(SettingsError, match="store_file: expected nothing, because store is set as well"):
        load(None, {"SLUICE_STORE": "postgresql://h/d", "SLUICE_STORE_FILE": "f"})
    with pytest.raises(SettingsError, match=r"store_file: expected a file, found no file at 'no\.url'"):
        check_files(load(None, {"SLUICE_STORE_FILE": "no.url", "SLUICE_MODELS": "."}))


def test_files_are_checked_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="models: expected a folder, found no folder at 'models'"):
        check_files(Settings())
    with pytest.raises(SettingsError, match=r"tls.key: expected a file, found no file at 'no.pem'"):
        check_files(load(None, {}, {"models": str(tmp_path), "tls.key": "no.pem", "tls.cert": __file__}))
    check_files(Settings(models=str(tmp_path)))


_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)


@hypothesis(deadline=None)
@given(st.dictionaries(st.sampled_from([*leaves(), "limits", "tls", "x"]), _values, max_size=4))
def test_whatever_is_given_it_is_settings_or_one_line_that_says_why(overrides: dict[str, Any]) -> None:
    try:
        assert isinstance(load(None, {}, overrides), Settings)
    except SettingsError as error:
        assert error.message  # noqa: PT017


@given(st.text(max_size=60))
def test_whatever_is_in_the_file(text: str) -> None:
    Path("any.yaml").write_bytes(text.encode("utf-8", "surrogatepass"))
    try:
        assert isinstance(load("any.yaml"), Settings)
    except SettingsError as error:
        assert error.message  # noqa: PT017
