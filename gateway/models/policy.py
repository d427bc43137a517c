"""Which versions of a model should be loaded: a pure function of what there is."""

from __future__ import annotations

from collections.abc import Collection

from gateway.models.config import VersionPolicy


def aspired(available: Collection[str], policy: VersionPolicy, pinned: Collection[str]) -> tuple[str, ...]:
    """The versions to load, oldest first.

    available   versions that the repository has
    pinned      versions that a split or a label names: loaded under any policy, if they are there
    """
    ordered = sorted(set(available), key=int)
    if policy.specific:
        chosen = set(policy.specific)
    elif policy.latest:
        chosen = set(ordered[-policy.latest :])
    else:
        return tuple(ordered)
    return tuple(version for version in ordered if version in chosen or version in pinned)
