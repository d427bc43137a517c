import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.models.names import check_label, check_model, check_version, is_model, is_version


@pytest.mark.parametrize("name", ["a", "my model", "a.b-c_d", "größe", "模型", "x" * 255, "a..b", "%2e", "1"])
def test_names_of_models(name: str) -> None:
    assert check_model(name) == name


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".git", "a/b", "../a", "/", "a\\b", "a\0b", "a\nb", " a", "a ", "x" * 256, "é" * 128,
     "\udcff"],
)  # fmt: skip
def test_what_is_no_name_of_a_model(name: str) -> None:
    with pytest.raises(InvalidArgument, match="model name"):
        check_model(name)


@pytest.mark.parametrize(
    ("text", "good"),
    [("1", True), ("10", True), (str(2**63 - 1), True), (str(2**63), False), ("0", False), ("01", False),
     ("-1", False), ("1.0", False), ("", False), ("१", False), ("1\n", False), ("stable", False)],
)  # fmt: skip
def test_versions(text: str, good: bool) -> None:
    assert is_version(text) is good
    if not good:
        with pytest.raises(InvalidArgument, match="number"):
            check_version("version", text)


@pytest.mark.parametrize("label", ["stable", "canary", "v2", "2024-10", "a.b", "_x"])
def test_labels(label: str) -> None:
    assert check_label(label) == label


@pytest.mark.parametrize("label", ["", "1", "007", ".a", "a b", "a/b", "é", "x" * 64, "a\n"])
def test_what_is_no_label(label: str) -> None:
    with pytest.raises(InvalidArgument, match="label"):
        check_label(label)


@given(st.text())
def test_no_name_leads_anywhere(name: str) -> None:
    if is_model(name):
        assert "/" not in name
        assert "\0" not in name
        assert name not in (".", "..")
