"""The settings one by one, as files, environment and documentation name them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Meta, Struct

from gateway.settings.schema import Settings


class Leaf(Struct, frozen=True):
    """One setting. `key` is dotted, `type` without its Meta's description."""

    key: str
    type: Any
    default: Any
    description: str
    unit: str

    @property
    def variable(self) -> str:
        return "SLUICE_" + self.key.upper().replace(".", "_")


def leaves(section: type[Struct] = Settings, prefix: str = "") -> Mapping[str, Leaf]:
    """Every setting by its dotted key, in the order of the file."""
    found: dict[str, Leaf] = {}
    types = msgspec.structs.fields(section)
    for field in types:
        key = prefix + field.name
        default = field.default
        if default is msgspec.NODEFAULT:
            default = field.default_factory()
        if isinstance(default, Struct):
            found |= leaves(type(default), key + ".")
            continue
        metas = _metas(field.type)
        found[key] = Leaf(
            key=key,
            type=field.type,
            default=default,
            description=next(meta.description for meta in metas if meta.description),
            unit=next((meta.extra["unit"] for meta in metas if meta.extra), ""),
        )
    return found


def sections(section: type[Struct] = Settings, prefix: str = "") -> Mapping[str, type[Struct]]:
    """By their dotted names, outer ones first."""
    found: dict[str, type[Struct]] = {}
    for field in msgspec.structs.fields(section):
        if isinstance(field.default, Struct):
            name = prefix + field.name
            found |= {name: type(field.default), **sections(type(field.default), name + ".")}
    return found


def _metas(annotation: Any) -> list[Meta]:
    return [meta for meta in getattr(annotation, "__metadata__", ()) if isinstance(meta, Meta)]
