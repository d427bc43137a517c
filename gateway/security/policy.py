"""What the settings allow to whom."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from gateway.core.access import Action
from gateway.security.grant import Grant, Rights, compiled
from gateway.security.identity import Identity


@dataclass(frozen=True, slots=True)
class Policy:
    """`who` is a pattern of identities' names; both kinds of pattern are those of a grant."""

    who: str
    allow: tuple[Action, ...]
    models: tuple[str, ...] = ("*",)


class Policies:
    """They add up: what none of them allows is denied."""

    def __init__(self, policies: Iterable[Policy]) -> None:
        self._policies: Final = [
            (whom(policy.who), [Grant(action, models) for action in policy.allow for models in policy.models])
            for policy in policies
        ]

    def __bool__(self) -> bool:
        return bool(self._policies)

    def rights(self, identity: Identity) -> Rights:
        grants = list(identity.grants)
        for pattern, allowed in self._policies:
            if any(pattern.fullmatch(name) for name in identity.names):
                grants += allowed
        return Rights(grants)


def whom(who: str) -> re.Pattern[str]:
    """`*` alone is everybody; else the kind is meant literally, so that "key:*" is no name of a token."""
    return compiled([who])
