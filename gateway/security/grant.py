"""Actions on patterns of models, as one who holds them is asked at each request."""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from typing import Final, NamedTuple

from gateway.core.access import ACTIONS, Action
from gateway.core.errors import InvalidArgument

#: the pattern of all models
ANY: Final = "*"


class Grant(NamedTuple):
    """One action on the models that a pattern names: `*` is any text, `?` any one character."""

    action: Action
    models: str = ANY


def parse_grant(text: str) -> Grant:
    """``infer:churn-*``, or ``infer`` for all models. Raises InvalidArgument."""
    action, colon, models = text.partition(":")
    return read_grant(action, models if colon else ANY)


def read_grant(action: str, models: str) -> Grant:
    """Raises InvalidArgument."""
    for known in ACTIONS:
        if action == known:
            break
    else:
        raise InvalidArgument(f"expected one of {', '.join(ACTIONS)} and a pattern of models, found '{action[:60]}'")
    if not models or not models.isprintable() or "/" in models or len(models) > 255:
        raise InvalidArgument(f"expected a pattern of models as in '{action}:churn-*', found {models[:60]!r}")
    return Grant(known, models)


class Rights:
    """What a set of grants allows. `admin` holds every other action."""

    def __init__(self, grants: Iterable[Grant]) -> None:
        by_action: dict[Action, set[str]] = {action: set() for action in ACTIONS}
        for action, models in grants:
            for held in ACTIONS if action == "admin" else (action,):
                by_action[held].add(models)
        self._patterns: Final = {action: compiled(models) for action, models in by_action.items() if models}
        self._whole: Final = frozenset(action for action, models in by_action.items() if ANY in models)

    def may(self, action: Action, model: str) -> bool:
        pattern = self._patterns.get(action)
        return pattern is not None and pattern.fullmatch(model) is not None

    def may_some(self, action: Action) -> bool:
        """On at least one model, which need not exist."""
        return action in self._patterns

    def may_all(self, action: Action) -> bool:
        return action in self._whole


def compiled(patterns: Iterable[str]) -> re.Pattern[str]:
    """What any of them matches, as a whole; in a time that is linear in the length of what it is held against."""
    return re.compile("|".join(translate(pattern.replace("[", "[[]")) for pattern in sorted(patterns)))


NOTHING: Final = Rights([])
