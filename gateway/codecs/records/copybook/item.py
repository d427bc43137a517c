"""A data item of a copybook, as it is written.

Source: Enterprise COBOL for z/OS Language Reference, "Data division--data description entry"; GnuCOBOL Programmer's
Guide, "USAGE", for what IBM does not have.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum

from gateway.codecs.records.copybook.picture import Picture
from gateway.codecs.records.copybook.where import Where


class Usage(Enum):
    """FULL is GnuCOBOL's COMP-X: as many bytes as the digits need, or as there are X."""

    DISPLAY = "DISPLAY"
    NATIONAL = "NATIONAL"
    BINARY = "BINARY"
    NATIVE = "COMP-5"
    PACKED = "PACKED-DECIMAL"
    UNSIGNED_PACKED = "COMP-6"
    FULL = "COMP-X"
    FLOAT = "COMP-1"
    DOUBLE = "COMP-2"

    @property
    def floating(self) -> bool:
        return self in (Usage.FLOAT, Usage.DOUBLE)

    @property
    def binary(self) -> bool:
        return self in (Usage.BINARY, Usage.NATIVE, Usage.FULL)


@dataclass(frozen=True, slots=True)
class Occurs:
    """A table of `least` to `most` elements; `depending` names what holds their number, "" where it is fixed."""

    least: int
    most: int
    depending: str = ""


@dataclass(slots=True)
class Item:
    """A data item as written. `name` is "" for FILLER; groups hand `usage` and the sign on to their children."""

    level: int
    name: str
    where: Where
    picture: Picture | None = None
    usage: Usage | None = None
    leading: bool | None = None
    separate: bool = False
    occurs: Occurs | None = None
    redefines: str = ""
    blank_zero: bool = False
    justified: bool = False
    synchronized: bool = False
    children: list[Item] = field(default_factory=list)

    def __str__(self) -> str:
        return f"{self.level:02} {self.name or 'FILLER'} ({self.where})"
