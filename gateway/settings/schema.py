"""Every setting, with its default, its bounds and what it is for. docs/settings.md is made from this file.

Times are seconds, sizes are bytes (a file may write ``64MiB``). Frozen: built once, at start.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from gateway.settings.auth import Auth

BYTES = "bytes"
KIB = 1024
MIB = 1024 * KIB
#: bytes of a load call that brings a model's files
LOAD_FILES = 512 * MIB


def _bytes(description: str) -> Meta:
    return Meta(ge=1, description=description, extra={"unit": BYTES})


def _seconds(description: str, **bounds: Any) -> Meta:
    return Meta(**(bounds or {"ge": 0}), description=description)


class Limits(Struct, frozen=True, kw_only=True):
    """What one connection and one request may ask of the REST port; see `grpc` for what of it is gRPC's too."""

    header_bytes: Annotated[int, _bytes("Request line and headers together; above: 431.")] = 32 * KIB
    header_count: Annotated[int, Meta(ge=1, description="Headers of one request; above: 431.")] = 100
    url_bytes: Annotated[int, _bytes("Path and query; above: 414.")] = 8 * KIB
    json_body: Annotated[
        int, _bytes("A body that is JSON, and the JSON head of a binary one, before and after decompression.")
    ] = 8 * MIB
    binary_body: Annotated[int, _bytes("A body with binary tensors, before and after decompression; above: 413.")] = (
        64 * MIB
    )
    header_timeout: Annotated[
        float, _seconds("From a request's first byte to the end of its headers; after: 408.", gt=0)
    ] = 10.0
    body_timeout: Annotated[
        float, _seconds("Without progress in a body, and without the client reading its reply.", gt=0)
    ] = 30.0
    idle_timeout: Annotated[float, _seconds("Between two requests of one connection.", gt=0)] = 75.0
    pipelined: Annotated[int, Meta(ge=1, description="Requests of one connection in flight; then reading pauses.")] = 32
    connections: Annotated[int, Meta(ge=1, description="Open connections; further ones are refused.")] = 8192


class Queue(Struct, frozen=True, kw_only=True):
    """The admission queue of each model version, where its own configuration says nothing else."""

    max_requests: Annotated[int, Meta(ge=1, description="Requests that may wait; above: 503.")] = 4096
    max_bytes: Annotated[int, _bytes("Bytes of their inputs; above: 503.")] = 256 * MIB


class Batching(Struct, frozen=True, kw_only=True):
    """How requests are merged, where a model's own configuration says nothing else."""

    max_batch_size: Annotated[
        int, Meta(ge=1, description="The most rows in one run; measured gain may end a batch earlier.")
    ] = 64
    inline_limit_us: Annotated[
        float,
        Meta(ge=0, description="µs; a run predicted to be shorter happens on the event loop, not in a thread."),
    ] = 300.0


class Compression(Struct, frozen=True, kw_only=True):
    """Of infer replies, for clients that send Accept-Encoding."""

    min_size: Annotated[int, Meta(ge=0, description="Bytes; smaller replies travel as they are.")] = KIB
    level: Annotated[int, Meta(ge=0, le=9, description="0: never, 1: fastest, 9: smallest; for gzip and deflate.")] = 1


class Grpc(Struct, frozen=True, kw_only=True):
    """Connections of the gRPC port. Messages have REST's limits: `limits.binary_body`, without their raw tensors
    `limits.json_body`; `limits.pipelined` requests of one stream are in flight.
    """

    keepalive_time: Annotated[
        float, _seconds("Of silence, after which the server asks whether the client is still there.", gt=0)
    ] = 60.0
    keepalive_timeout: Annotated[float, _seconds("To answer that; then the connection is closed.", gt=0)] = 20.0
    min_ping_interval: Annotated[
        float, _seconds("Between two pings of a client that sends nothing else; more often, it is sent away.")
    ] = 10.0
    max_connection_age: Annotated[
        float, _seconds("After which a client is told to connect anew, so that load spreads. 0: never.")
    ] = 0.0
    max_connection_age_grace: Annotated[float, _seconds("For what is then in flight; 0: as long as it takes.")] = 30.0
    compression: Annotated[
        Literal["none", "deflate", "gzip"],
        Meta(
            description="Of replies of at least `compression.min_size`, for clients that take it: all common ones do."
            " Compressed requests are always read."
        ),
    ] = "none"


class Tls(Struct, frozen=True, kw_only=True):
    """TLS on the REST and the gRPC port, and on the admin port if `admin` says so."""

    cert: Annotated[str, Meta(description="PEM file: certificate and its chain. Empty: plain text.")] = ""
    key: Annotated[str, Meta(description="PEM file: the certificate's private key.")] = ""
    client_ca: Annotated[str, Meta(description="PEM file: who may sign clients' certificates.")] = ""
    client_auth: Annotated[
        Literal["none", "optional", "required"],
        Meta(description="Whether clients are asked for a certificate (mTLS), and turned away without one."),
    ] = "none"
    admin: Annotated[bool, Meta(description="The admin port speaks TLS too, with the same files.")] = False


Access = Literal["off", "token", "open"]


class Restricted(Struct, frozen=True, kw_only=True):
    """Calls on the REST and the gRPC port that change the server: `off`, `token` (the admin one), `open`. Where `auth`
    closes these ports, only `off` counts: else its policies say who may.
    """

    repository: Annotated[
        Access,
        Meta(description="Loading and unloading models. Existing Triton clients in explicit mode need `open`."),
    ] = "token"
    shared_memory: Annotated[
        Access, Meta(description="System shared memory: lets clients name memory of this machine.")
    ] = "off"
    logging: Annotated[Access, Meta(description="Changing log verbosity.")] = "token"
    trace: Annotated[Access, Meta(description="Changing how many requests are traced.")] = "token"
    load_files: Annotated[bool, Meta(description="Load calls may bring model files (`file:` parameters).")] = False


class Log(Struct, frozen=True, kw_only=True):
    """The server's log, on stderr."""

    format: Annotated[Literal["console", "json"], Meta(description="For people, or one JSON a line.")] = "console"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least important that is written.")
    ] = "info"


class Tracing(Struct, frozen=True, kw_only=True):
    """OpenTelemetry traces by OTLP over HTTP; needs the extra `sluice[otel]`."""

    endpoint: Annotated[
        str, Meta(description="Where spans are sent, as in `http://collector:4318`. Empty: tracing is off.")
    ] = ""
    sample_ratio: Annotated[
        float,
        Meta(ge=0, le=1, description="Share of requests traced that bring no W3C context of their own."),
    ] = 0.01
    service_name: Annotated[str, Meta(min_length=1, description="`service.name` of the spans.")] = "sluice"


class SplitSetting(Struct, frozen=True, forbid_unknown_fields=True):
    """`weights` in the order given; `salt` empty: the model's name."""

    weights: dict[str, float]
    salt: str = ""


Port = Annotated[int, Meta(ge=0, le=65535)]


class Settings(Struct, frozen=True, kw_only=True):
    """All of them. Sections are fields too: `limits.json_body` is SLUICE_LIMITS_JSON_BODY."""

    models: Annotated[
        str, Meta(min_length=1, description="The models folder: `<models>/<name>/<version>/model.onnx`.")
    ] = "models"
    control_mode: Annotated[
        Literal["none", "poll", "explicit"],
        Meta(
            description="Which models are served. `none`: all that are there at start; `poll`: all that are"
            " there; `explicit`: what load calls ask for."
        ),
    ] = "none"
    poll_interval: Annotated[float, _seconds("Between two looks at the models folder in mode `poll`.", ge=0.1)] = 15.0
    load: Annotated[tuple[str, ...], Meta(description="Models loaded at start in mode `explicit`; `*` for all.")] = ()
    workers: Annotated[
        Annotated[int, Meta(ge=1, le=256)] | Literal["auto"],
        Meta(
            description="Serving processes. `auto`: as many as cores that the cgroup grants. Limits are each worker's"
            " own, and each loads every model."
        ),
    ] = 1
    worker_timeout: Annotated[float, _seconds("Of silence, after which a worker is killed and replaced.", ge=0.5)] = (
        10.0
    )
    spare_worker: Annotated[
        bool,
        Meta(
            description="With several workers: one process more, without models, that takes the place of one that dies"
            " or is recycled at once."
        ),
    ] = True
    host: Annotated[str, Meta(min_length=1, description="Address of the REST and the gRPC port.")] = "0.0.0.0"  # noqa: S104
    http_port: Annotated[Port, Meta(description="REST. 0: any free one.")] = 8000
    grpc_port: Annotated[
        Port | Literal["off"], Meta(description="gRPC. 0: any free one; `off`: none, and its libraries are not loaded.")
    ] = 8001
    admin_host: Annotated[str, Meta(min_length=1, description="Address that the admin port listens on.")] = "127.0.0.1"
    admin_port: Annotated[Port, Meta(description="Metrics, probes and `/admin/v1/…`. 0: any free one.")] = 8002
    admin_token: Annotated[
        str,
        Meta(
            description="What callers of `/admin/v1/…` present as Bearer token. Empty: the one in"
            " `admin_token_file`, else one made at the first start and kept in `<state>/admin-token`."
        ),
    ] = ""
    admin_token_file: Annotated[str, Meta(description="File that holds the token, as a mounted secret.")] = ""
    state: Annotated[
        str,
        Meta(
            min_length=1,
            description="Folder of the control state: splits, labels, loaded models, audit trail.",
        ),
    ] = ".sluice"
    store: Annotated[
        str,
        Meta(
            description="Where the control state is, if not in SQLite in the state folder: the URL of a PostgreSQL"
            " that several machines share, `postgresql://user:password@host:port/database`, with all that libpq takes."
        ),
    ] = ""
    store_file: Annotated[str, Meta(description="File that holds that URL, as a mounted secret.")] = ""
    machine: Annotated[
        str,
        Meta(description="What the others call this machine, in the audit trail too. Empty: its host name."),
    ] = ""
    providers: Annotated[
        tuple[str, ...],
        Meta(min_length=1, description="onnxruntime's execution providers, the preferred one first."),
    ] = ("CPUExecutionProvider",)
    threads: Annotated[
        Annotated[int, Meta(ge=1)] | Literal["auto"],
        Meta(description="Threads that all models of a worker share. `auto`: its part of the cores that are granted."),
    ] = "auto"
    drain_delay: Annotated[
        float, _seconds("On SIGTERM: not ready, but still accepting, so that load balancers notice.")
    ] = 0.0
    drain_timeout: Annotated[float, _seconds("Then: the most that requests in flight are waited for.")] = 30.0
    access_log: Annotated[bool, Meta(description="One line in the log for each request.")] = False
    splits: Annotated[
        dict[str, SplitSetting],
        Meta(
            description="Traffic splits: `{model: {weights: {version or label: weight}, salt: text}}`."
            " What was set through the admin API wins."
        ),
    ] = {}
    labels: Annotated[
        dict[str, dict[str, str]],
        Meta(description="Version labels: `{model: {label: version}}`. What was set through the admin API wins."),
    ] = {}
    streams: Annotated[
        tuple[str, ...],
        Meta(
            description="Streams: their files, or folders of them. In this file also a mapping by name of the streams"
            " themselves; see [streams](streams.md)."
        ),
    ] = ()
    stream_workers: Annotated[
        int,
        Meta(
            ge=0,
            le=64,
            description="Processes of `sluice serve` that run the streams, where some are declared. 0: none, because"
            " `sluice streams run` does.",
        ),
    ] = 1
    streams_port: Annotated[
        Port, Meta(description="Metrics, probes and `/admin/v1/streams` of `sluice streams run`. 0: any free one.")
    ] = 8012
    streams_lease: Annotated[
        float,
        _seconds(
            "After which another process takes over a stream that one process at a time may read, when the one that"
            " read it died without a word.",
            ge=0.1,
        ),
    ] = 10.0
    limits: Limits = Limits()
    queue: Queue = Queue()
    batching: Batching = Batching()
    compression: Compression = Compression()
    grpc: Grpc = Grpc()
    tls: Tls = Tls()
    restricted: Restricted = Restricted()
    auth: Auth = Auth()
    log: Log = Log()
    tracing: Tracing = Tracing()

    @property
    def load_body(self) -> int:
        """The most bytes of a load call's body, whichever port it comes to: it may bring the model's files."""
        return max(LOAD_FILES, self.limits.json_body) if self.restricted.load_files else self.limits.json_body
