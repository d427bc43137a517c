"""Where a Redis is, and which of its streams is read or written."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

from gateway.core.errors import InvalidArgument

#: what a server takes that nobody has told otherwise
MAX: Final = 512 << 20
Start = Literal["earliest", "latest"]


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the server is known, and how it knows us. Without any of it, `rediss://` trusts the system's authorities."""

    ca: Annotated[str, Meta(description="File with the authorities to trust, in PEM.")] = ""
    certificate: Annotated[str, Meta(description="File with our certificate, in PEM.")] = ""
    key: Annotated[str, Meta(description="File with its key, in PEM.")] = ""
    verify_name: Annotated[bool, Meta(description="Whether the host's name must be in its certificate.")] = True

    def arguments(self) -> dict[str, Any]:
        """redis-py's. Raises OSError for a file that cannot be read: later its name would not be told."""
        for name in filter(None, (self.ca, self.certificate, self.key)):
            Path(name).open("rb").close()
        return {
            "ssl": True, "ssl_ca_certs": self.ca or None, "ssl_certfile": self.certificate or None,
            "ssl_keyfile": self.key or None, "ssl_check_hostname": self.verify_name,
        }  # fmt: skip


class Server(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What input and output have in common."""

    url: Annotated[str, Meta(description="`redis://user:password@host:port/database`, or `rediss://` for TLS.")]
    tls: Annotated[Tls, Meta(description="For `rediss://`.")] = Tls()
    timeout_seconds: Annotated[float, Meta(description="How long the server may take to answer.", gt=0)] = 30.0
    stream: Annotated[str, Meta(description="The stream's key.", min_length=1)]
    body: Annotated[str, Meta(description="The field that is the record; others are headers.", min_length=1)] = "body"

    def place(self) -> str:
        """Host, port and database: what a transaction spans. Raises InvalidArgument, without the password."""
        shown = self.url.rpartition("@")[2].partition("?")[0]
        try:
            parts = urlsplit(self.url)
            port = parts.port or 6379
        except ValueError as error:
            raise InvalidArgument(f"redis.url: '{shown}': {error}") from error
        database = parts.path.strip("/") or "0"
        if parts.scheme not in ("redis", "rediss") or not parts.hostname or parts.query or not database.isdecimal():
            raise InvalidArgument(f"redis.url: '{shown}', expected redis://user:password@host:port/database")
        return f"{parts.hostname}:{port}/{database}"


class RedisInput(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that a consumer group reads."""

    key: Annotated[str, Meta(description="The field that is the record's key.")] = ""
    group: Annotated[str, Meta(description="The consumer group; the pipeline's name. Made where it is missing.")] = ""
    consumer: Annotated[
        str, Meta(description="This process in the group, from restart to restart; host/pipeline/number.")
    ] = ""
    start: Annotated[Start, Meta(description="Whether a new group is given what is there already.")] = "earliest"
    claim_seconds: Annotated[float, Meta(description="Entries of who was silent for so long are taken over.", gt=0)] = (
        60.0
    )
    max_deliveries: Annotated[int, Meta(description="Deliveries, of which more make a dead letter. 0: any.", ge=0)] = 0


class RedisOutput(Server, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stream that results are added to."""

    maxlen: Annotated[int, Meta(description="About how many entries the stream keeps. 0: all.", ge=0)] = 0
    record_bytes: Annotated[
        int, Meta(description="As the server's proto-max-bulk-len: more is a dead letter.", ge=1)
    ] = MAX
    dead_letters: Annotated[str, Meta(description="A stream for dead letters, in the transaction of the results.")] = ""
    fsync: Annotated[bool, Meta(description="Demand of the server `appendonly yes` and `appendfsync always`.")] = False
