"""A traffic split: which version of a model answers a request that names none.

The choice is a pure function of the split and the request's key, the same in every process and after every
restart. With U = BLAKE2b-64(salt ‖ 0x00 ‖ key) as a big-endian integer, the arms share [0, 2⁶⁴) in the order given,
each in proportion to its weight; the arm that U falls into answers. So a key stays where it is as long as the
weights do, and when a second arm's weight grows, keys move to it and none moves back.

Test vectors: docs/operating.md, checked by tests/routing/test_split.py.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Container, Iterable
from fractions import Fraction
from hashlib import blake2b
from itertools import accumulate
from random import getrandbits
from typing import Final

from gateway.core.errors import InvalidArgument

_SPACE: Final = 1 << 64


def point(salt: str, key: str) -> int:
    """Where a key falls in [0, 2⁶⁴)."""
    digest = blake2b(salt.encode() + b"\0" + key.encode("utf-8", "surrogatepass"), digest_size=8).digest()
    return int.from_bytes(digest, "big")


class Split:
    """Weights over versions or labels of one model, frozen.

    salt    keeps the splits of different models, or of different rollouts, independent
    arms    (version or label, weight); weights are relative, not negative, and not all zero
    """

    __slots__ = ("_bounds", "_names", "_salted", "absent", "arms", "picks", "salt")

    def __init__(self, salt: str, arms: Iterable[tuple[str, float]]) -> None:
        self.salt: Final = salt
        self.arms: Final = tuple(arms)
        self._names, self._bounds = _shares(self.arms)
        self._salted: Final = blake2b(salt.encode() + b"\0", digest_size=8)
        #: arm → requests that it was given
        self.picks = dict.fromkeys(self._names, 0)
        #: arm → requests that it should have had, but was not there, so that another one was given them
        self.absent = dict.fromkeys(self._names, 0)

    def pick(self, key: str, present: Container[str]) -> str:
        """The version or label for `key`; chance decides where the key is empty.

        The share of an arm that is not `present` goes to the others in proportion to their weights: its keys are
        hashed again among those (salt + "/absent"). With no arm present the first choice is returned all the same,
        for the caller to refuse.
        """
        if key:
            hashed = self._salted.copy()
            hashed.update(key.encode("utf-8", "surrogatepass"))
            where = int.from_bytes(hashed.digest(), "big")
        else:
            where = getrandbits(64)
        name = self._names[bisect_right(self._bounds, where)]
        if name in present:
            self.picks[name] += 1
            return name
        return self._among_present(name, key, present)

    def groups(self, keys: Iterable[str], present: Container[str]) -> dict[str, list[int]]:
        """`pick` for each of these keys: version or label → the indexes of its keys, ascending."""
        found: dict[str, list[int]] = {}
        for at, key in enumerate(keys):
            found.setdefault(self.pick(key, present), []).append(at)
        return found

    def _among_present(self, first: str, key: str, present: Container[str]) -> str:
        rest = [(name, weight) for name, weight in self.arms if weight > 0 and name in present]
        if not rest:
            return first
        self.absent[first] += 1
        names, bounds = _shares(rest)
        where = point(self.salt + "/absent", key) if key else getrandbits(64)
        name = names[bisect_right(bounds, where)]
        self.picks[name] += 1
        return name

    def __repr__(self) -> str:
        return f"Split({self.salt!r}, {self.arms!r})"


class Splits(dict[str, Split]):
    """The splits in force, by model. Replaced one model at a time, by the control plane."""

    def __init__(self) -> None:
        super().__init__()
        self._before: dict[tuple[str, str], tuple[int, int]] = {}

    def replace(self, model: str, split: Split | None) -> None:
        old = self.pop(model, None)
        if old is not None:
            for arm in old.picks:
                picks, absent = self._before.get((model, arm), (0, 0))
                self._before[model, arm] = picks + old.picks[arm], absent + old.absent[arm]
        if split is not None:
            self[model] = split

    def counts(self) -> dict[tuple[str, str], tuple[int, int]]:
        """(model, arm) → requests that it was given, and that it should have had but was absent. They never
        decrease: arms of splits that were replaced are counted on."""
        counts = dict(self._before)
        for model, split in self.items():
            for arm in split.picks:
                picks, absent = counts.get((model, arm), (0, 0))
                counts[model, arm] = picks + split.picks[arm], absent + split.absent[arm]
        return counts


def _shares(arms: Iterable[tuple[str, float]]) -> tuple[list[str], list[int]]:
    """Names, and the upper bound of each one's interval but the last."""
    arms = list(arms)
    for name, weight in arms:
        if not 0 <= weight < float("inf"):
            raise InvalidArgument(f"weight of '{name}' is {weight}, expected a number of at least 0")
    if len({name for name, _ in arms}) != len(arms):
        raise InvalidArgument("a version or label is named twice in the split")
    total = sum(Fraction(weight) for _, weight in arms)
    if not total:
        raise InvalidArgument("the weights of a split are all zero, expected at least one above zero")
    used = [(name, Fraction(weight)) for name, weight in arms if weight > 0]
    bounds = [int(share * _SPACE / total) for share in accumulate(weight for _, weight in used)]
    return [name for name, _ in used], bounds[:-1]
