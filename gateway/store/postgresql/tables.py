"""The tables as SQLAlchemy Core sees them; migrations.py makes them. They are in a schema of their own."""

from __future__ import annotations

from typing import Any, Final

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Dialect, Double, LargeBinary, MetaData, Table, Text
from sqlalchemy.types import TypeDecorator

SCHEMA: Final = "sluice"

_ESCAPE: Final = "\x1a"


class AnyText(TypeDecorator[str]):
    """Text that may hold NUL, which PostgreSQL's own may not."""

    impl = Text
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        return value and value.replace(_ESCAPE, _ESCAPE + "1").replace("\0", _ESCAPE + "0")

    def process_result_value(self, value: Any | None, dialect: Dialect) -> str | None:
        return value and str(value).replace(_ESCAPE + "0", "\0").replace(_ESCAPE + "1", _ESCAPE)


metadata = MetaData(schema=SCHEMA)


def _key(name: str) -> Column[str]:
    return Column(name, AnyText, primary_key=True)


def _text(*names: str) -> list[Column[str]]:
    return [Column(name, AnyText) for name in names]


migrations = Table("migrations", metadata, Column("version", BigInteger, primary_key=True), Column("at", Double))
revision = Table("revision", metadata, Column("only", BigInteger, primary_key=True), Column("value", BigInteger))
blobs = Table("blobs", metadata, _key("digest"), Column("data", LargeBinary))

#: by the name of the mapping in `State`
kinds: Final = {
    table.name: table
    for table in (
        Table(
            "models", metadata, _key("name"), Column("loaded", Boolean), Column("generation", BigInteger),
            *_text("config", "files"),
        ),
        Table("splits", metadata, _key("model"), *_text("salt", "arms")),
        Table("labels", metadata, _key("model"), *_text("labels")),
        Table(
            "keys", metadata, _key("id"), *_text("name", "digest", "allow"),
            Column("created", Double), Column("expires", Double),
        ),
    )
}  # fmt: skip

#: `mark` is the change's own, by which its writer finds out whether a commit that was not answered has happened
audit = Table(
    "audit", metadata, Column("id", BigInteger, primary_key=True), Column("at", Double),
    Column("before", BigInteger), Column("after", BigInteger),
    *_text("actor", "origin", "action", "target", "detail", "machine", "mark"),
)  # fmt: skip

#: one row a gateway that runs. `home` is its state folder, `revision` what it has in force, `troubles` JSON
machines = Table(
    "machines", metadata, _key("id"), *_text("home", "name", "program"), Column("revision", BigInteger),
    *_text("troubles"), Column("seen", DateTime(timezone=True)),
)  # fmt: skip
