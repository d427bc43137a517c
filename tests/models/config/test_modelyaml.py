import contextlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.models.config import ModelConfig, QueuePolicy, Threading, VersionPolicy
from gateway.models.config.modelyaml import MAX_YAML_BYTES, _merge, _parse, apply_yaml
from gateway.models.config.pbtxt import parse_text


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "m").mkdir()
    return tmp_path / "m"


def applied(folder: Path, text: str, config: ModelConfig | None = None) -> ModelConfig:
    (folder / "model.yaml").write_text(text)
    return apply_yaml(folder, config or ModelConfig())


def test_everything(folder: Path) -> None:
    found = applied(
        folder,
        """
        labels: {stable: 1, canary: "2"}
        version_policy: {specific: [10, 9]}
        run_limit: 0.5
        instances: 2
        queue: {max_requests: 100, timeout: 1, allow_timeout_override: false}
        batching: {enabled: false, max_delay: 0.002, max_batch_size: 32}
        threads: {intra_op: 2, inter_op: 1}
        """,
    )
    assert found == ModelConfig(
        labels={"stable": "1", "canary": "2"},
        policy=VersionPolicy(specific=("9", "10")),
        run_limit=0.5,
        instances=2,
        queue=QueuePolicy(max_requests=100, timeout=1.0, allow_timeout_override=False),
        batching=False,
        max_delay=0.002,
        max_batch_size=32,
        threading=Threading(2, 1),
    )


def test_it_goes_before_config_pbtxt_key_by_key(folder: Path) -> None:
    config = parse_text(
        "max_batch_size: 8 instance_group { count: 3 } dynamic_batching { preferred_batch_size: [2, 8]"
        " max_queue_delay_microseconds: 5 default_queue_policy { max_queue_size: 7 } }",
        "m",
    )
    found = applied(folder, "queue: {timeout: 2}\nbatching: {max_batch_size: 4}", config)
    assert found.queue == QueuePolicy(max_requests=7, timeout=2.0, allow_timeout_override=False)
    assert (found.max_batch_size, found.preferred_batch_sizes, found.max_delay) == (4, (2,), 5e-6)
    assert found.instances == 3


@pytest.mark.parametrize("text", ["", "# nothing", "{}"])
def test_an_empty_one_changes_nothing(folder: Path, text: str) -> None:
    assert applied(folder, text) == ModelConfig()


def test_none_changes_nothing(folder: Path) -> None:
    assert apply_yaml(folder, ModelConfig(instances=3)) == ModelConfig(instances=3)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("lables: {a: 1}", ["'lables'", "did you mean 'labels'"]),
        ("queue: {max_request: 1}", ["'queue.max_request'", "'max_requests'"]),
        ("zzz: 1", ["'zzz'", "expected one of", "run_limit"]),
        ("1: 2", ["'1'"]),
        ("- a", ["expected keys"]),
        ("queue: 3", ["'queue' is 3", "max_requests"]),
        ("labels: [a]", ["'labels'"]),
        ("labels: {stable: zero}", ["'labels.stable'", "'zero'"]),
        ("labels: {3: 3}", ["label '3'"]),
        ("labels: {on: 3}", ["label True", "quotes"]),
        ("run_limit: -1", ["'run_limit' is -1", "seconds"]),
        ("run_limit: .nan", ["'run_limit'"]),
        ("run_limit: .inf", ["'run_limit'"]),
        ("run_limit: true", ["'run_limit' is True"]),
        ("instances: 0", ["'instances' is 0", "at least 1"]),
        ("instances: 1.5", ["'instances' is 1.5"]),
        ("batching: {enabled: 1}", ["'batching.enabled' is 1", "true or false"]),
        ("version_policy: newest", ["'version_policy' is 'newest'"]),
        ("version_policy: {latest: 0}", ["'version_policy.latest'"]),
        ("version_policy: {specific: []}", ["'version_policy.specific'"]),
        ("version_policy: {latest: 1, specific: [1]}", ["'version_policy'"]),
        ("a: 1\n\tb", ["line 2"]),
        ("instances: 1\ninstances: 2", ["line 2, column 1", "'instances' is repeated"]),
        ("queue: {timeout: 1, timeout: 2}", ["line 1", "'timeout' is repeated"]),
        ("a: &a [*a]", ["'a'"]),
        ("!!python/object/apply:os.system ['true']", ["line 1"]),
        ("[" * 5000, ["not YAML"]),
    ],
)
def test_what_is_wrong_is_named(folder: Path, text: str, names: list[str]) -> None:
    with pytest.raises(InvalidArgument) as caught:
        applied(folder, text)
    assert caught.value.message.startswith("m/model.yaml: ")
    for name in names:
        assert name in caught.value.message


def test_files(folder: Path) -> None:
    with pytest.raises(InvalidArgument, match="bytes long"):
        applied(folder, "#" * (MAX_YAML_BYTES + 1))
    (folder / "model.yaml").write_bytes(b"a: \xff")
    with pytest.raises(InvalidArgument, match=r"m/model\.yaml: not YAML"):
        apply_yaml(folder, ModelConfig())
    (folder / "model.yaml").unlink()
    (folder / "model.yaml").mkdir()
    with pytest.raises(InvalidArgument, match="cannot be read"):
        apply_yaml(folder, ModelConfig())


@given(st.text(max_size=100) | st.text("labels:{}[]-&* \n\t'\"1.!|>#?", max_size=60))
def test_no_text_raises_anything_else(text: str) -> None:
    with contextlib.suppress(InvalidArgument):
        _merge(ModelConfig(), _parse(text.encode("utf-8", "surrogatepass")))
