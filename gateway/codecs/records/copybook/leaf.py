"""The elementary items of a record, with what their groups hand on to them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gateway.codecs.records.copybook.item import Item, Usage
from gateway.codecs.records.copybook.picture import Picture
from gateway.codecs.records.copybook.where import Where
from gateway.core.errors import InvalidArgument

#: the most digits of each usage: what 8 bytes hold, and for decimals ARITH(EXTEND)
_MOST_BINARY: Final = 18
_NUMBERS_ONLY: Final = frozenset({Usage.BINARY, Usage.NATIVE, Usage.PACKED, Usage.UNSIGNED_PACKED})


@dataclass(frozen=True, slots=True)
class Leaf:
    """An elementary item.

    path       its name behind those of its groups, FILLER left out; () for a FILLER
    width      bytes of one element
    boundary   SYNCHRONIZED: its place in the record is a multiple of it; else 1
    dims       the most elements of each table that it lies in, outermost first
    counters   of each of these tables the index of the count that it depends on, -1 for a fixed one
    justified  text stands at its right end, with blanks before it
    redefines  it lies in a group or item that redefines another: it may hold something else
    """

    path: tuple[str, ...]
    picture: Picture
    usage: Usage
    width: int
    boundary: int
    dims: tuple[int, ...]
    counters: tuple[int, ...]
    leading: bool
    separate: bool
    blank_zero: bool
    justified: bool
    redefines: bool
    order: int
    where: Where

    @property
    def name(self) -> str:
        return ".".join(self.path) or "FILLER"

    @property
    def numeric(self) -> bool:
        return self.picture.numeric or self.usage.floating

    @property
    def varies(self) -> bool:
        """A record may have fewer elements of it than another."""
        return any(counter >= 0 for counter in self.counters)


@dataclass(frozen=True, slots=True)
class Inherited:
    """What an item has of its groups."""

    path: tuple[str, ...] = ()
    dims: tuple[int, ...] = ()
    counters: tuple[int, ...] = ()
    usage: Usage | None = None
    leading: bool | None = None
    separate: bool = False
    synchronized: bool = False
    redefines: bool = False

    def under(self, item: Item, tables: int) -> Inherited:
        """`tables`: how many of variable length there were before it."""
        own_sign = item.leading is not None
        dims, counters = self.dims, self.counters
        if item.occurs:
            dims = (*dims, item.occurs.most)
            counters = (*counters, tables if item.occurs.depending else -1)
        return Inherited(
            (*self.path, item.name) if item.name and item.level > 1 else self.path,
            dims,
            counters,
            item.usage or self.usage,
            item.leading if own_sign else self.leading,
            item.separate if own_sign else self.separate,
            self.synchronized or item.synchronized,
            self.redefines or bool(item.redefines),
        )


def leaf_of(item: Item, own: Inherited, order: int) -> Leaf:
    """`own` is what the item has of its groups and of itself. Raises InvalidArgument."""
    usage = own.usage or Usage.DISPLAY
    picture = _picture(item, usage)
    if item.justified and (picture.numeric or picture.edited or usage.floating):
        raise InvalidArgument(f"{item} is JUSTIFIED, which COBOL allows for text alone")
    if usage is Usage.NATIONAL and not picture.numeric:
        usage = Usage.DISPLAY
    separate = own.separate and picture.signed and usage in (Usage.DISPLAY, Usage.NATIONAL)
    if usage is Usage.NATIONAL and picture.signed and not separate:
        raise InvalidArgument(f"{item} is a NATIONAL number with a sign over a digit: expected SIGN IS SEPARATE")
    path = own.path if item.name else ()
    if item.level <= 1 and item.name:
        path = (item.name,)
    width = _width(usage, picture, separate)
    return Leaf(
        path, picture, usage, width, _boundary(usage, width) if own.synchronized else 1, own.dims, own.counters,
        bool(own.leading), separate, item.blank_zero, item.justified, own.redefines, order, item.where,
    )  # fmt: skip


def _picture(item: Item, usage: Usage) -> Picture:
    """What the item's PICTURE means under its usage. Raises InvalidArgument."""
    picture = item.picture
    if usage.floating:
        if picture is not None:
            raise InvalidArgument(f"{item} is {usage.value} and has a PICTURE, which COBOL does not allow")
        return Picture(0, signed=True)
    if picture is None:
        raise InvalidArgument(f"{item} has neither a PICTURE nor items below it")
    if usage is Usage.FULL:
        return _full(item, picture, usage)
    if not picture.numeric and usage in _NUMBERS_ONLY:
        raise InvalidArgument(f"{item} is {usage.value}, but its PICTURE is not of a number")
    if usage in (Usage.BINARY, Usage.NATIVE) and picture.digits > _MOST_BINARY:
        raise InvalidArgument(f"{item} is {usage.value} of {picture.digits} digits, expected at most {_MOST_BINARY}")
    if usage is Usage.UNSIGNED_PACKED and picture.signed:
        raise InvalidArgument(f"{item} is COMP-6, which has no sign, and its PICTURE has an S")
    if usage is Usage.NATIONAL and not picture.national:
        if not picture.numeric and not picture.edited:
            raise InvalidArgument(f"{item} is NATIONAL, expected a PICTURE of N, of 9, or of an edited number")
        return replace(picture, national=True)
    return picture


def _full(item: Item, picture: Picture, usage: Usage) -> Picture:
    """``PIC X(n) COMP-X`` is a number of n bytes. Digits beyond 18 are none that a column of whole numbers holds."""
    if picture.numeric and picture.digits <= _MOST_BINARY:
        return replace(picture, size=((10**picture.digits - 1).bit_length() + 7) // 8)
    if picture.numeric or picture.national or picture.edited or picture.size > 8:
        raise InvalidArgument(f"{item} is {usage.value}, expected a PICTURE of at most 18 digits, or of X(1) to X(8)")
    return Picture(picture.size, True, False, min(len(str(256**picture.size - 1)), _MOST_BINARY))


def _width(usage: Usage, picture: Picture, separate: bool) -> int:
    match usage:
        case Usage.DISPLAY | Usage.NATIONAL:
            return (picture.size + separate) * (2 if picture.national else 1)
        case Usage.BINARY | Usage.NATIVE:
            return 2 if picture.digits < 5 else 4 if picture.digits < 10 else 8
        case Usage.PACKED:
            return picture.digits // 2 + 1
        case Usage.UNSIGNED_PACKED:
            return (picture.digits + 1) // 2
        case Usage.FULL:
            return picture.size
        case Usage.FLOAT:
            return 4
        case Usage.DOUBLE:
            return 8


def _boundary(usage: Usage, width: int) -> int:
    """Halfwords and fullwords for binary numbers, those of 8 bytes too; a doubleword for COMP-2 alone.

    Source: Enterprise COBOL for z/OS Language Reference, "Slack bytes within records".
    """
    if usage is Usage.DOUBLE:
        return 8
    if usage is Usage.FLOAT or usage in (Usage.BINARY, Usage.NATIVE):
        return min(width, 4)
    return 1
