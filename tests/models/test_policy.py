from hypothesis import given
from hypothesis import strategies as st

from gateway.models.config import VersionPolicy
from gateway.models.policy import aspired

versions = st.integers(1, 2**63 - 1).map(str)
sets = st.sets(st.integers(1, 12).map(str) | versions, max_size=8)
policies = (
    st.just(VersionPolicy())
    | st.integers(1, 10).map(lambda n: VersionPolicy(latest=n))
    | st.lists(st.integers(1, 12).map(str), min_size=1).map(lambda v: VersionPolicy(specific=tuple(v)))
)


def test_numbers_and_not_letters_decide_on_the_newest() -> None:
    assert aspired(["9", "10", "2"], VersionPolicy(latest=1), ()) == ("10",)
    assert aspired(["9", "10", "2"], VersionPolicy(latest=2), ["2"]) == ("2", "9", "10")
    assert aspired(["9", "10"], VersionPolicy(specific=("9", "11")), ()) == ("9",)
    assert aspired(["9", "10"], VersionPolicy(), ()) == ("9", "10")
    assert aspired([], VersionPolicy(latest=1), ["3"]) == ()


@given(sets, policies, sets)
def test_only_what_there_is_in_order(available: set[str], policy: VersionPolicy, pinned: set[str]) -> None:
    chosen = aspired(available, policy, pinned)
    assert set(chosen) <= available
    assert list(chosen) == sorted(set(chosen), key=int)
    assert pinned & available <= set(chosen)


@given(sets, policies)
def test_nothing_more_than_the_policy_asks_for(available: set[str], policy: VersionPolicy) -> None:
    chosen = aspired(available, policy, ())
    if policy.specific:
        assert set(chosen) == available & set(policy.specific)
    elif policy.latest:
        assert len(chosen) == min(policy.latest, len(available))
        assert all(int(left) < int(chosen[0]) for left in available - set(chosen))
    else:
        assert set(chosen) == available


@given(sets, policies, sets, sets)
def test_pinning_more_never_unloads(
    available: set[str], policy: VersionPolicy, pinned: set[str], more: set[str]
) -> None:
    assert set(aspired(available, policy, pinned)) <= set(aspired(available, policy, pinned | more))
