"""What can be set of a topic that is read, and of one that is written. Times are seconds, sizes bytes."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import Meta, Struct

Compression = Literal["none", "gzip", "snappy", "lz4", "zstd"]

KIB = 1024
MIB = 1024 * KIB


class Tls(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """TLS to the brokers. Without `ca`, the system's certificates are trusted."""

    ca: Annotated[str, Meta(description="PEM file: who may sign the brokers' certificates.")] = ""
    cert: Annotated[str, Meta(description="PEM file: this client's certificate, where brokers ask for one.")] = ""
    key: Annotated[str, Meta(description="PEM file: its private key.")] = ""
    verify_hostname: Annotated[bool, Meta(description="The certificate must name the broker's host.")] = True


class Sasl(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A user and a password. Take the password from the environment: `${KAFKA_PASSWORD}`."""

    username: Annotated[str, Meta(description="Who this client is.", min_length=1)]
    password: Annotated[str, Meta(description="Its password.")]
    mechanism: Annotated[Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"], Meta(description="How it proves it.")] = (
        "SCRAM-SHA-512"
    )


class Cluster(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How to reach the brokers."""

    brokers: Annotated[
        list[Annotated[str, Meta(min_length=1)]],
        Meta(min_length=1, description="Some brokers as host:port; the others are learned from them."),
    ]
    tls: Annotated[Tls | None, Meta(description="Speak TLS; `{}` does so with the system's certificates.")] = None
    sasl: Annotated[Sasl | None, Meta(description="Log in.")] = None
    client_id: Annotated[
        str, Meta(description="What brokers call this client in their logs and quotas; by default the pipeline's name.")
    ] = ""
    request_timeout: Annotated[
        float, Meta(gt=0, description="How long a broker may take to answer, or a write to become durable.")
    ] = 30.0


class KafkaSource(Cluster, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topics: Annotated[
        list[Annotated[str, Meta(min_length=1)]], Meta(min_length=1, description="The topics that are read.")
    ]
    group: Annotated[
        str, Meta(description="The consumer group, among whose members partitions are shared; the pipeline's name.")
    ] = ""
    start: Annotated[
        Literal["earliest", "latest"],
        Meta(description="Where to begin in a partition without a position, or whose position was deleted."),
    ] = "earliest"
    isolation: Annotated[
        Literal["read_committed", "read_uncommitted"],
        Meta(description="read_committed leaves out what transactions of other producers took back."),
    ] = "read_committed"
    fetch_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="Bytes of one partition that are asked for at once; a single record may be larger. A partition"
            " holds up to twice as much in memory, and five times while large batches of it are in flight.",
        ),
    ] = MIB
    fetch_bytes_total: Annotated[
        int, Meta(ge=1, description="Bytes of all partitions of a broker that are asked for at once.")
    ] = 50 * MIB
    commit_interval: Annotated[
        float,
        Meta(ge=0, description="At most one commit of offsets in so long; what a crash repeats grows with it."),
    ] = 0.05
    session_timeout: Annotated[
        float, Meta(gt=0, description="After so long without a sign of life, partitions go to other members.")
    ] = 10.0
    poll_timeout: Annotated[
        float,
        Meta(gt=0, description="After so long without a read (a paused pipeline, say), this member leaves the group."),
    ] = 300.0
    revoke_timeout: Annotated[
        float,
        Meta(
            ge=0,
            description="When partitions are shared out anew, how long what is in flight of them may take to be"
            " acknowledged; what was not comes again.",
        ),
    ] = 3.0
    assignment: Annotated[
        Literal["range", "roundrobin", "sticky"],
        Meta(description="How partitions are shared; the same for all members of the group."),
    ] = "range"
    group_instance_id: Annotated[
        str,
        Meta(
            description="Static membership: a restart within `session_timeout` keeps its partitions. Different for"
            " each member."
        ),
    ] = ""


class KafkaSink(Cluster, frozen=True, kw_only=True, forbid_unknown_fields=True):
    topic: Annotated[str, Meta(min_length=1, description="Where results go.")]
    transactions: Annotated[
        bool,
        Meta(
            description="Write results and the offsets of what was read in one transaction, where both are of one"
            " cluster: exactly once. Off: less latency, and at least once."
        ),
    ] = True
    transactional_id: Annotated[
        str,
        Meta(
            description="Begins the names of the transactional producers, one for each partition that is read; by"
            " default the pipeline's name. All members of a consumer group must have the same, no others."
        ),
    ] = ""
    dead_letters: Annotated[
        str,
        Meta(
            description="A topic for dead letters, written in the transaction of the results; only with transactions."
        ),
    ] = ""
    partition: Annotated[
        Literal["auto", "same", "key"],
        Meta(
            description="same: a result has the partition number of its record. key: by hash of the key, as Java's"
            " producer does, keyless ones in turn. auto: same where both topics have as many partitions, else key."
        ),
    ] = "auto"
    compression: Annotated[Compression, Meta(description="How batches are compressed.")] = "none"
    batch_bytes: Annotated[int, Meta(ge=KIB, description="Bytes of a batch of one partition, before compression.")] = (
        512 * KIB
    )
    record_bytes: Annotated[
        int,
        Meta(
            ge=1,
            description="A larger record becomes a dead letter. No more than the topic's max.message.bytes, which"
            " brokers go by.",
        ),
    ] = 1_000_000
    timestamps: Annotated[
        Literal["record", "now"],
        Meta(description="record: a result has the time of its record, if that has one. now: the time of writing."),
    ] = "record"
    transaction_timeout: Annotated[
        float, Meta(gt=0, description="After so long without an end, brokers take a transaction back.")
    ] = 60.0
