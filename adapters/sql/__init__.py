"""Tables of PostgreSQL, MariaDB, MySQL and SQLite: rows that are claimed, scored and written back, outboxes, results.

settings    what an operator writes                dialect     what differs between the databases' SQL
address     a URL: which database, who             postgresql, mariadb, sqlite   their drivers
schema      what a table looks like                connection  one of theirs, and what its errors mean
values      Python values ↔ columns                pool        connections that are not in use
records     rows → a batch                         taken       rows that are an input's own until they are settled
taking      how rows become an input's own         positions   offsets and epochs of other systems, in this one
claim, loan, anti_join, look, cursor               the ways of that; waiting is the SQL that they share
input, output, redrive, letters                    postgresql_connection, mariadb_connection
"""

from typing import Any

from adapters.sql.settings import InputSettings, OutputSettings
from gateway.core.stream import Adapter, Context, Door


# SQLAlchemy and the drivers are imported only where a pipeline has such a door.
def _input(settings: InputSettings, context: Context) -> Any:
    from adapters.sql.input import SqlInput

    return SqlInput(settings, context)


def _output(settings: OutputSettings, context: Context) -> Any:
    from adapters.sql.output import SqlOutput

    return SqlOutput(settings, context)


def _redrive(settings: InputSettings, context: Context) -> Any:
    from adapters.sql.redrive import SqlRedrive

    return SqlRedrive(settings, context)


def _letters(settings: OutputSettings, context: Context, kept: bool) -> Any:
    from adapters.sql.letters import SqlLetters

    return SqlLetters(settings, context, kept)


adapter = Adapter(
    "sql",
    "Tables of PostgreSQL, MariaDB, MySQL and SQLite",
    input=Door(InputSettings, _input),
    output=Door(OutputSettings, _output),
    redrive=Door(InputSettings, _redrive),
    letters=_letters,
)
