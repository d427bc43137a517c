"""What an encoder writes, and under which names."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta

_NotEmpty = Meta(min_length=1)
Names = Annotated[
    Annotated[dict[str, str], _NotEmpty] | Annotated[tuple[str, ...], _NotEmpty],
    Meta(
        description="What is written: names of the record's fields, the model's outputs, `$model`, `$version`, or a"
        " mapping from the name to write to such a name; `probabilities[1]` is one element."
    ),
]


def sources(settings: Any) -> dict[str, str]:
    """What an encoder writes: the name in the result → where it comes from."""
    fields = getattr(settings, "fields", {})
    return dict(fields) if isinstance(fields, dict) else {name: name for name in fields}
