"""What models, versions and labels may be called.

A model's name is that of its folder, as in Triton, as long as it can be printed and cannot lead out of the
repository. A version is a positive number without leading zeros: like Triton, this server ignores folders
that begin with a 0. A label is what a version is not.
"""

from __future__ import annotations

import re
from typing import Final

from gateway.core.errors import InvalidArgument

_VERSION: Final = re.compile(r"[1-9][0-9]{0,18}")
_LABEL: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,62}")
#: a version is an int64 in the messages
_LARGEST: Final = (1 << 63) - 1


def is_version(text: str) -> bool:
    return _VERSION.fullmatch(text) is not None and int(text) <= _LARGEST


def is_model(text: str) -> bool:
    """A folder's name that is a model's: hidden ones are not."""
    return (
        bool(text)
        and text.isprintable()
        and text[0] != "."
        and text == text.strip()
        and not ("/" in text or "\\" in text)
        and len(text.encode()) <= 255
    )


def check_model(text: str) -> str:
    if not is_model(text):
        raise InvalidArgument(
            f"model name {text[:80]!r} is refused, expected a folder's name: printable,"
            " no slashes, and no dot or space at its beginning"
        )
    return text


def check_version(field: str, text: str) -> str:
    if not is_version(text):
        raise InvalidArgument(f"{field} is '{text[:80]}', expected a number from 1 without leading zeros")
    return text


def check_label(text: str) -> str:
    if not _LABEL.fullmatch(text) or text.isdigit():
        raise InvalidArgument(
            f"label '{text[:80]}' is refused, expected letters, digits, '_', '.' or '-', and not a number"
        )
    return text
