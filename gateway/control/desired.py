"""What is desired, as a whole: the settings, and above them what was set through the API. Pure functions."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from gateway.core.errors import InvalidArgument, NotFound
from gateway.models.names import check_label, is_version
from gateway.routing.split import Split
from gateway.settings import Settings
from gateway.store.contract import ApiKey, DesiredModel, DesiredSplit, Mutation, State

Labels = Mapping[str, str]

#: keys that were revoked, of which a record is kept
MOST_REVOKED: Final = 1000


@dataclass(frozen=True, slots=True)
class Desired:
    """Splits and labels in force as of one revision, by model.

    from_settings   (kind, model) of what only the settings say
    """

    revision: int
    splits: Mapping[str, DesiredSplit]
    labels: Mapping[str, Labels]
    from_settings: Collection[tuple[str, str]]

    def pinned(self, model: str) -> tuple[str, ...]:
        """Versions that must stay loaded, whatever the model's policy says."""
        names = set(self.labels.get(model, {}).values())
        if model in self.splits:
            names |= {name for name, _ in self.splits[model].arms if is_version(name)}
        return tuple(sorted(names, key=int))

    def models(self) -> tuple[str, ...]:
        return tuple(sorted({*self.splits, *self.labels}))


def merge(settings: Settings, state: State) -> Desired:
    """What the store has of a model's split or labels wins, whole, over what the settings have."""
    splits = {
        model: DesiredSplit(given.salt or model, tuple(given.weights.items()))
        for model, given in settings.splits.items()
        if model not in state.splits
    }
    labels = {model: given for model, given in settings.labels.items() if model not in state.labels}
    return Desired(
        state.revision,
        {**splits, **state.splits},
        {**labels, **state.labels},
        frozenset({*(("split", model) for model in splits), *(("labels", model) for model in labels)}),
    )


def overruled(settings: Settings, state: State) -> list[str]:
    """What the settings say in vain, in words: so that who edits the file learns why nothing happens."""
    kept = "is kept in the control state and wins over the settings"
    return [f"the split of '{model}' {kept}" for model in settings.splits if model in state.splits] + [
        f"the labels of '{model}' {kept}" for model in settings.labels if model in state.labels
    ]


def new_split(
    model: str, weights: Iterable[tuple[str, float]], salt: str | None, old: DesiredSplit | None
) -> DesiredSplit:
    """The split as it is kept: arms in the order that they had, so that keys move only as far as weights do.

    Without a salt the old one stays, at first it is the model's name. Raises InvalidArgument.
    """
    given = list(weights)
    split = Split(salt or "", given)  # checks weights and names
    before = [name for name, _ in old.arms] if old else []
    arms = sorted(split.arms, key=lambda arm: before.index(arm[0]) if arm[0] in before else len(before))
    return DesiredSplit(salt if salt is not None else old.salt if old else model, tuple(arms))


def new_labels(old: Labels, changes: Mapping[str, str | None], whole: bool) -> dict[str, str]:
    """`changes` alone, or laid over the old ones, where None takes a label away. Raises InvalidArgument."""
    for label in changes:
        check_label(label)
    merged: dict[str, str | None] = {**({} if whole else old), **changes}
    return {label: version for label, version in merged.items() if version is not None}


def check_labels(model: str, old: Labels, new: Labels, split: DesiredSplit | None) -> None:
    """Raises InvalidArgument where the split names a label that would be gone."""
    for name, _ in split.arms if split else ():
        if name in old and name not in new:
            raise InvalidArgument(
                f"label '{name}' cannot go: the split of '{model}' names it, change or clear the split first"
            )


def with_split(model: str, split: DesiredSplit | None) -> Mutation:
    """`None` forgets what was set, so that the settings count again."""

    def mutation(state: State) -> State:
        rest = {name: kept for name, kept in state.splits.items() if name != model}
        return replace(state, splits={**rest, model: split} if split else rest)

    return mutation


def with_labels(model: str, labels: Labels | None) -> Mutation:
    """`None` forgets what was set, so that the settings count again."""

    def mutation(state: State) -> State:
        rest = {name: kept for name, kept in state.labels.items() if name != model}
        return replace(state, labels={**rest, model: labels} if labels is not None else rest)

    return mutation


def with_model(model: str, loaded: bool, config: str = "", files: Mapping[str, str] | None = None) -> Mutation:
    """Its generation becomes the revision that this change makes."""

    def mutation(state: State) -> State:
        wanted = DesiredModel(loaded, state.revision + 1, config, files or {})
        return replace(state, models={**state.models, model: wanted})

    return mutation


def with_key(key_id: str, key: ApiKey) -> Mutation:
    """Of keys that were revoked long ago the oldest are forgotten."""

    def mutation(state: State) -> State:
        keys = {**state.keys, key_id: key}
        revoked = sorted((kept.expires, name) for name, kept in keys.items() if kept.revoked)
        for _, name in revoked[: max(0, len(revoked) - MOST_REVOKED)]:
            del keys[name]
        return replace(state, keys=keys)

    return mutation


def without_keys(key_ids: Collection[str], now: float) -> Mutation:
    """They are kept as revoked: so that the list shows them, and that ports which keys closed stay closed."""

    def mutation(state: State) -> State:
        gone = {name: replace(state.keys[name], digest="", expires=now) for name in key_ids}
        return replace(state, keys={**state.keys, **gone})

    return mutation


def find_keys(state: State, which: str) -> list[str]:
    """The ids of the keys of that id or, if there is none, of that name, which are not revoked. Raises NotFound."""
    found = [which] if which in state.keys else [name for name, key in state.keys.items() if key.name == which]
    good = [name for name in found if not state.keys[name].revoked]
    if not good:
        raise NotFound(f"no API key '{which[:80]}'" + (" that is not revoked already" if found else ""))
    return good
