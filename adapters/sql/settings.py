"""What an operator writes of a table that is read, and of one that is written."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Marker = str | int | bool | None
Names = tuple[str, ...]
Seconds = Annotated[float, Meta(gt=0)]


class Limits(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Kept by the database itself where it can, so that a process that stands still holds nothing for ever."""

    connect: Annotated[Seconds, Meta(description="Seconds to connect.")] = 10.0
    statement: Annotated[Seconds, Meta(description="Seconds that one statement may take.")] = 60.0
    lock: Annotated[Seconds, Meta(description="Seconds to wait for somebody else's lock.")] = 5.0
    idle: Annotated[
        Seconds,
        Meta(description="Seconds that a transaction may be idle, which is how long the model may take for a claim."),
    ] = 300.0


class Status(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The column that says whether a row waits."""

    column: Annotated[str, Meta(description="Its name.")] = "status"
    new: Annotated[Marker, Meta(description="What it holds while the row waits; null is NULL.")] = "new"
    done: Annotated[Marker, Meta(description="What it is set to with the result.")] = "done"
    failed: Annotated[Marker, Meta(description="What it is set to where the row became a dead letter.")] = "failed"
    reason: Annotated[str, Meta(description="A column for why it became one; empty for none.")] = ""


class Lease(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The columns by which a row is lent, and for how long."""

    until: Annotated[str, Meta(description="Column of date and time: when the row is free again.")] = "claimed_until"
    token: Annotated[
        str, Meta(description="Column of text (32 characters) or of 64-bit integers: who holds the row.")
    ] = "claimed_by"  # noqa: S105
    seconds: Annotated[Seconds, Meta(description="How long a row is lent; renewed at each third of it.")] = 300.0


class InputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Rows of a table, each given to one reader."""

    url: Annotated[
        str, Meta(description="postgresql://user@host/database, mariadb://…, mysql://…, or sqlite:///path/to/file.")
    ]
    password_file: Annotated[str, Meta(description="File that holds the password, read at each connect.")] = ""
    table: Annotated[str, Meta(description="The table, without its schema.")]
    schema: Annotated[str, Meta(description="The table's schema; empty for the connection's own.")] = ""
    mode: Annotated[
        Literal["claim", "lease", "anti-join", "outbox", "cursor"],
        Meta(
            description="claim: rows are locked in one transaction until their result is written. lease: rows are lent "
            "for a time. anti-join: the table is only read, and the lease is kept in `results`. outbox: in order, "
            "deleted or marked when done. cursor: an append-only table of PostgreSQL, by transaction id."
        ),
    ] = "claim"
    columns: Annotated[Names, Meta(description="What is read; empty for all that are not named elsewhere here.")] = ()
    id: Annotated[Names, Meta(description="What names a row; empty for the primary key.")] = ()
    version: Annotated[str, Meta(description="Column that changes with the row: part of the record's id.")] = ""
    key: Annotated[str, Meta(description="Column whose value is the record's key, by which splits are sticky.")] = ""
    timestamp: Annotated[str, Meta(description="Column that says since when a row waits, for the lag.")] = ""
    order_by: Annotated[Names, Meta(description="In which order rows are taken; empty for `id`.")] = ()
    where: Annotated[str, Meta(description="A condition in SQL that a row has to meet as well.")] = ""
    status: Annotated[Status, Meta(description="The column that says whether a row waits.")] = Status()
    delete: Annotated[bool, Meta(description="outbox: delete a row that is done, instead of marking it.")] = False
    lease: Annotated[Lease, Meta(description="lease, anti-join: the columns by which a row is lent.")] = Lease()
    results: Annotated[
        str,
        Meta(description="anti-join: the table of claims and results, with the id's columns; also as schema.table."),
    ] = ""

    def results_table(self) -> tuple[str, str]:
        """Its name and its schema."""
        schema, _, name = self.results.rpartition(".")
        return name, schema or self.schema

    transaction: Annotated[str, Meta(description="cursor: column of type xid8, with DEFAULT pg_current_xact_id().")] = (
        "xid"
    )
    claims: Annotated[int, Meta(ge=1, le=64, description="How many batches may be taken at the same time.")] = 2
    rows: Annotated[int, Meta(ge=1, le=100_000, description="Most rows of a batch.")] = 1000
    poll: Annotated[Seconds, Meta(description="Seconds between two looks at a table that had nothing.")] = 1.0
    notify: Annotated[str, Meta(description="PostgreSQL: channel whose NOTIFY says that there are rows.")] = ""
    limits: Annotated[Limits, Meta(description="Time limits of each connection.")] = Limits()


class OutputSettings(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A table that results are written to."""

    url: Annotated[
        str, Meta(description="postgresql://user@host/database, mariadb://…, mysql://…, or sqlite:///path/to/file.")
    ]
    password_file: Annotated[str, Meta(description="File that holds the password, read at each connect.")] = ""
    table: Annotated[str, Meta(description="The table, without its schema; update: empty for the one read.")] = ""
    schema: Annotated[str, Meta(description="The table's schema; empty for the connection's own.")] = ""
    mode: Annotated[
        Literal["results", "update", "insert"],
        Meta(
            description="results: one row a record, which a repeat replaces. update: columns of the row that was "
            "read. insert: rows are appended."
        ),
    ] = "results"
    id: Annotated[str, Meta(description="Column that takes the record's id.")] = ""
    key: Annotated[str, Meta(description="Column that takes the record's key, as text or bytes.")] = ""
    value: Annotated[str, Meta(description="Column that takes the encoded record whole, if it has no columns.")] = ""
    match: Annotated[
        Names, Meta(description="results: the unique columns that tell which row a record replaces; empty for `id`.")
    ] = ()
    positions: Annotated[
        str, Meta(description="Table for the source's positions, kept in the transaction of the results.")
    ] = ""
    dead_letters: Annotated[
        str, Meta(description="Table for dead letters, written in the transaction of the results.")
    ] = ""
    mark_failed: Annotated[
        bool, Meta(description="Dead letters are the rows that were read, marked as failed, with the reason.")
    ] = False
    connections: Annotated[int, Meta(ge=1, le=64, description="Most connections at the same time.")] = 4
    limits: Annotated[Limits, Meta(description="Time limits of each connection.")] = Limits()
