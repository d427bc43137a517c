import pytest

from gateway.control.desired import (
    merge,
    new_labels,
    new_split,
    overruled,
    with_labels,
    with_model,
    with_split,
)
from gateway.core.errors import InvalidArgument
from gateway.settings import Settings, SplitSetting
from gateway.store.contract import DesiredModel, DesiredSplit, State

SETTINGS = Settings(
    splits={"a": SplitSetting({"1": 9, "canary": 1}), "b": SplitSetting({"1": 1}, salt="s")},
    labels={"a": {"canary": "2"}, "b": {"stable": "1"}},
)
SET = State(7, {}, {"a": DesiredSplit("x", (("3", 1.0),))}, {"b": {}})


def test_what_was_set_wins_over_the_settings_model_by_model() -> None:
    desired = merge(SETTINGS, SET)
    assert desired.revision == 7
    assert desired.splits == {"a": DesiredSplit("x", (("3", 1.0),)), "b": DesiredSplit("s", (("1", 1),))}
    assert desired.labels == {"a": {"canary": "2"}, "b": {}}
    assert desired.from_settings == {("split", "b"), ("labels", "a")}
    assert desired.models() == ("a", "b")
    assert overruled(SETTINGS, SET) == [
        "the split of 'a' is kept in the control state and wins over the settings",
        "the labels of 'b' is kept in the control state and wins over the settings",
    ]


def test_the_salt_is_the_models_name_at_first() -> None:
    assert merge(SETTINGS, State()).splits["a"].salt == "a"


def test_versions_that_a_split_or_a_label_names_are_pinned() -> None:
    desired = merge(SETTINGS, State())
    assert desired.pinned("a") == ("1", "2")
    assert desired.pinned("b") == ("1",)
    assert desired.pinned("c") == ()


def test_arms_keep_their_order_and_a_split_its_salt_so_that_keys_stay() -> None:
    first = new_split("m", [("2", 10), ("1", 90)], None, None)
    assert first == DesiredSplit("m", (("2", 10), ("1", 90)))
    assert new_split("m", [("1", 50), ("3", 1), ("2", 50)], None, DesiredSplit("s", first.arms)) == DesiredSplit(
        "s", (("2", 50), ("1", 50), ("3", 1))
    )
    assert new_split("m", [("1", 1)], "new", first).salt == "new"


@pytest.mark.parametrize("weights", [[], [("1", 0)], [("1", -1)], [("1", float("nan"))], [("1", 1), ("1", 2)]])
def test_weights_that_cannot_be(weights: list[tuple[str, float]]) -> None:
    with pytest.raises(InvalidArgument):
        new_split("m", weights, None, None)


def test_labels_are_replaced_or_changed_one_by_one() -> None:
    old = {"stable": "1", "canary": "2"}
    assert new_labels(old, {"stable": "3"}, whole=True) == {"stable": "3"}
    assert new_labels(old, {"stable": "3", "canary": None}, whole=False) == {"stable": "3"}


@pytest.mark.parametrize("label", ["", "2", "a/b", "x" * 65, "ü", "a b", "1\n"])
def test_labels_that_cannot_be(label: str) -> None:
    with pytest.raises(InvalidArgument, match="expected letters"):
        new_labels({}, {label: "1"}, whole=True)


def test_mutations_touch_one_model_only() -> None:
    split = DesiredSplit("s", (("1", 1.0),))
    state = with_split("b", split)(SET)
    assert state.splits == {**SET.splits, "b": split}
    assert with_split("b", None)(state).splits == SET.splits
    assert with_labels("c", {"x": "1"})(SET).labels == {"b": {}, "c": {"x": "1"}}
    assert with_labels("b", None)(SET).labels == {}
    assert with_model("m", True, "{}", {"f": "d"})(SET).models == {"m": DesiredModel(True, 8, "{}", {"f": "d"})}
    assert with_model("m", False)(SET).models == {"m": DesiredModel(False, 8)}
