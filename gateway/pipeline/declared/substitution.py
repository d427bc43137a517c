"""Variables of the environment in a stream's file, for secrets and for what differs from place to place."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from gateway.core.errors import InvalidArgument

_REFERENCE: Final = re.compile(r"\$\$\{|\$\{([^}]*)(\}?)")
_NAME: Final = re.compile(r"([A-Za-z_][A-Za-z0-9_]*)(?::-(.*))?", re.DOTALL)


def substituted(text: str, environ: Mapping[str, str]) -> str:
    """``${NAME}`` is the variable, ``${NAME:-text}`` the text where there is none, ``$${`` the characters ``${``.

    An empty variable counts as none, as everywhere in the settings. Raises InvalidArgument, which holds no value.
    """

    def value(found: re.Match[str]) -> str:
        if found[0] == "$${":
            return "${"
        parts = _NAME.fullmatch(found[1])
        if parts is None or not found[2]:
            raise InvalidArgument(
                f"found '{found[0][:40]}', expected the name of a variable as in ${{NAME}};"
                " $${ stands for the characters themselves"
            )
        known = environ.get(parts[1]) or parts[2]
        if known is None:
            raise InvalidArgument(f"found ${{{parts[1]}}}, but the environment has no variable {parts[1]}")
        return known

    return _REFERENCE.sub(value, text)
