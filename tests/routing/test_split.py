import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument
from gateway.routing.split import Split, Splits, point

# published in docs/operating.md: other implementations may rely on them
VECTORS = [
    ("m", "", 0x85BCF47B14E8811B),
    ("m", "a", 0xF1C3604CF50D82CF),
    ("m", "user-42", 0x1427B4BC9FA2D83D),
    ("m", "ключ", 0x3430FBCCAA14103E),
    ("", "a", 0xC2020A4613FAB968),
]


@pytest.mark.parametrize(("salt", "key", "where"), VECTORS)
def test_points_are_as_published(salt: str, key: str, where: int) -> None:
    assert point(salt, key) == where


def test_a_share_is_what_its_weight_says() -> None:
    split = Split("m", [("1", 90), ("2", 10)])
    picked = [split.pick(f"key-{i}", ("1", "2")) for i in range(20_000)]
    assert 1_850 < picked.count("2") < 2_150
    assert split.picks == {"1": picked.count("1"), "2": picked.count("2")}


def test_a_key_stays_and_a_growing_arm_loses_none() -> None:
    small, large = Split("m", [("1", 90), ("2", 10)]), Split("m", [("1", 50), ("2", 50)])
    for i in range(2_000):
        key = f"key-{i}"
        assert small.pick(key, ("1", "2")) == small.pick(key, ("1", "2"))
        if small.pick(key, ("1", "2")) == "2":
            assert large.pick(key, ("1", "2")) == "2"


def test_salts_are_independent() -> None:
    one, other = Split("a", [("1", 1), ("2", 1)]), Split("b", [("1", 1), ("2", 1)])
    same = sum(one.pick(str(i), ("1", "2")) == other.pick(str(i), ("1", "2")) for i in range(4_000))
    assert 1_850 < same < 2_150


def test_without_a_key_chance_decides() -> None:
    split = Split("m", [("1", 1), ("2", 1)])
    assert {split.pick("", ("1", "2")) for _ in range(100)} == {"1", "2"}


def test_the_share_of_an_absent_arm_goes_to_the_others_by_weight() -> None:
    split = Split("m", [("1", 50), ("2", 30), ("3", 20)])
    whole = [split.pick(str(i), ("1", "2", "3")) for i in range(10_000)]
    without = [split.pick(str(i), ("2", "3")) for i in range(10_000)]
    assert set(without) == {"2", "3"}
    # keys of arms that are there stay where they were
    assert all(after == before for before, after in zip(whole, without, strict=True) if before != "1")
    moved = [after for before, after in zip(whole, without, strict=True) if before == "1"]
    assert 0.56 < moved.count("2") / len(moved) < 0.64
    assert split.absent == {"1": len(moved), "2": 0, "3": 0}


def test_with_no_arm_present_the_choice_is_left_to_be_refused() -> None:
    assert Split("m", [("1", 1)]).pick("a", ()) == "1"


def test_a_weight_of_zero_gets_nothing() -> None:
    split = Split("m", [("1", 0), ("2", 1)])
    assert {split.pick(str(i), ("1", "2")) for i in range(500)} == {"2"}


@pytest.mark.parametrize(
    ("arms", "says"),
    [
        ([("1", -1.0)], "weight of '1' is -1.0"),
        ([("1", float("nan"))], "weight of '1' is nan"),
        ([("1", float("inf"))], "weight of '1' is inf"),
        ([("1", 0), ("2", 0)], "all zero"),
        ([("1", 1), ("1", 1)], "named twice"),
        ([], "all zero"),
    ],
)
def test_wrong_arms_are_refused(arms: list[tuple[str, float]], says: str) -> None:
    with pytest.raises(InvalidArgument, match=says):
        Split("m", arms)


@given(
    st.lists(st.floats(0, 1e12), min_size=1, max_size=6).filter(lambda w: sum(w) > 0),
    st.text(max_size=20),
    st.text(max_size=20),
)
def test_any_split_picks_an_arm_that_has_weight(weights: list[float], salt: str, key: str) -> None:
    arms = [(str(i), weight) for i, weight in enumerate(weights)]
    name = Split(salt, arms).pick(key, dict(arms))
    assert dict(arms)[name] > 0


def test_splits_are_replaced_by_model() -> None:
    splits = Splits()
    splits.replace("m", Split("m", [("1", 1)]))
    assert "m" in splits
    splits.replace("m", None)
    splits.replace("m", None)
    assert not splits


def test_counts_never_decrease_when_a_split_is_replaced() -> None:
    splits = Splits()
    splits.replace("m", Split("m", [("1", 1)]))
    for key in "abc":
        splits["m"].pick(key, ("1",))
    splits.replace("m", Split("m", [("1", 1), ("2", 1)]))
    splits["m"].pick("a", ("1",))
    assert splits.counts()["m", "1"][0] == 4
    splits.replace("m", None)
    assert splits.counts()["m", "1"][0] == 4
