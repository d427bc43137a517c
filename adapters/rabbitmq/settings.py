"""What an operator says of a broker, a queue, an exchange."""

from __future__ import annotations

import ssl
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import msgspec
from msgspec import Meta

from gateway.core.errors import InvalidArgument


class Tls(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the broker is known, and how it knows us. Without any of it, `amqps://` trusts the system's authorities."""

    ca: Annotated[str, Meta(description="File with the authorities to trust, in PEM.")] = ""
    certificate: Annotated[str, Meta(description="File with our certificate, in PEM.")] = ""
    key: Annotated[str, Meta(description="File with its key, in PEM.")] = ""
    verify_name: Annotated[bool, Meta(description="Whether the host's name must be in its certificate.")] = True

    def context(self) -> ssl.SSLContext:
        """Raises InvalidArgument where a file cannot be used."""
        try:
            context = ssl.create_default_context(cafile=self.ca or None)
            context.check_hostname = self.verify_name
            if self.certificate:
                context.load_cert_chain(self.certificate, self.key or None)
        except (OSError, ssl.SSLError) as error:
            raise InvalidArgument(f"rabbitmq.tls cannot be used: {error}") from error
        return context


class Broker(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What input and output have in common."""

    url: Annotated[
        str | tuple[str, ...],
        Meta(
            description="`amqp://user:password@host:port/vhost`, or `amqps://`; a list for the nodes of a cluster, of"
            " which the next one is tried where one is not there."
        ),
    ]
    password_file: Annotated[
        str, Meta(description="File that holds the password, read at each connect; then the URL's does not count.")
    ] = ""
    tls: Annotated[Tls, Meta(description="For `amqps://`.")] = Tls()
    heartbeat_seconds: Annotated[
        int, Meta(description="A side that is silent for twice as long is taken for dead. 0: never.", ge=0, le=3600)
    ] = 20
    connect_seconds: Annotated[float, Meta(description="How long a connection may take to be made.", gt=0)] = 15.0

    def addresses(self) -> tuple[Address, ...]:
        urls = (self.url,) if isinstance(self.url, str) else self.url
        if not urls:
            raise InvalidArgument("rabbitmq.url is empty, expected amqp://user:password@host:port/vhost")
        return tuple(Address.of(url) for url in urls)


class Address(msgspec.Struct, frozen=True):
    host: str
    port: int
    user: str
    password: str
    vhost: str
    secure: bool

    @staticmethod
    def of(url: str) -> Address:
        parts = urlsplit(url)
        shown = url.rpartition("@")[2]
        if parts.scheme not in ("amqp", "amqps") or not parts.hostname or parts.query or parts.fragment:
            raise InvalidArgument(f"rabbitmq.url: '{shown}', expected amqp://user:password@host:port/vhost")
        try:
            port = parts.port
        except ValueError as error:
            raise InvalidArgument(f"rabbitmq.url: '{shown}': {error}") from error
        secure = parts.scheme == "amqps"
        return Address(
            parts.hostname, port or (5671 if secure else 5672), unquote(parts.username or "guest"),
            unquote(parts.password or "guest"), unquote(parts.path[1:]) or "/", secure,
        )  # fmt: skip

    def __str__(self) -> str:
        return f"{self.host}:{self.port}{'' if self.vhost == '/' else '/' + self.vhost}"


class RabbitInput(Broker, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A queue that is consumed."""

    queue: Annotated[str, Meta(description="The queue.", min_length=1, max_length=255)]
    prefetch: Annotated[
        int, Meta(description="Messages that the broker gives ahead of their acknowledgement.", ge=1, le=65535)
    ] = 4000
    id: Annotated[
        Literal["", "message_id"],
        Meta(
            description="`message_id`: each message has one, and its producer gives no other the same. Then a message"
            " that comes again is recognised. Left out, it gets a new id each time it comes."
        ),
    ] = ""
    key: Annotated[
        Literal["", "routing_key", "correlation_id", "message_id"],
        Meta(description="What is the record's key, by which a traffic split sticks and lanes keep order."),
    ] = ""
    declare: Annotated[
        bool, Meta(description="Declare the queue, durable; else it has to be there, and is waited for.")
    ] = False
    queue_type: Annotated[Literal["quorum", "classic"], Meta(description="For `declare`.")] = "quorum"
    dead_letter_exchange: Annotated[
        str,
        Meta(description="For `declare`: where the broker puts messages that it gives up, at a delivery limit say."),
    ] = ""
    delivery_limit: Annotated[
        int,
        Meta(
            description="For `declare` of a quorum queue: deliveries after which it gives a message up. 0: none.", ge=0
        ),
    ] = 0
    exclusive: Annotated[bool, Meta(description="Refuse to share the queue with other consumers.")] = False

    def arguments(self) -> dict[str, str | int]:
        """Of the declaration."""
        found: dict[str, str | int] = {"x-queue-type": self.queue_type}
        if self.dead_letter_exchange:
            found["x-dead-letter-exchange"] = self.dead_letter_exchange
        if self.delivery_limit:
            found["x-delivery-limit"] = self.delivery_limit
        return found


class RabbitOutput(Broker, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where results are published: an exchange, a queue, or the queue that a request names for its reply."""

    exchange: Annotated[
        str, Meta(description="The exchange; left out, the one that leads to each queue by name.", max_length=255)
    ] = ""
    routing_key: Annotated[str, Meta(description="Routing key, or the queue's name.", max_length=255)] = ""
    reply: Annotated[
        bool,
        Meta(
            description="Answer to the `reply_to` of a message that has one, with its correlation id; `exchange` and"
            " `routing_key` are then for those that have none."
        ),
    ] = False
    content_type: Annotated[str, Meta(description="Said of each message.", max_length=255)] = ""
    dead_letters: Annotated[
        Literal["letter", "record"],
        Meta(
            description="What a dead letter is that goes there: a JSON document, or the message as it came with the"
            " reason in its headers, as consumers of a dead-letter exchange expect it."
        ),
    ] = "letter"
    redrive_from: Annotated[
        str,
        Meta(
            description="The queue that `sluice streams redrive` takes dead letters from, where they are published to"
            " an exchange; left out, the queue `routing_key`.",
            max_length=255,
        ),
    ] = ""
    persistent: Annotated[bool, Meta(description="Messages outlive a restart of the broker.")] = True
    confirm_seconds: Annotated[
        float,
        Meta(description="How long the broker may take to confirm a batch; then the connection is given up.", gt=0),
    ] = 30.0
    declare: Annotated[
        bool,
        Meta(
            description="Declare the queue `routing_key`, durable, where no exchange is named; else it has to be there."
        ),
    ] = False
    queue_type: Annotated[Literal["quorum", "classic"], Meta(description="For `declare`.")] = "quorum"

    def check(self) -> None:
        if not (self.exchange or self.routing_key or self.reply):
            raise InvalidArgument("rabbitmq has neither exchange, routing_key nor reply: where are results to go?")
        if self.reply and self.dead_letters == "record" and not (self.exchange or self.routing_key):
            raise InvalidArgument(
                "rabbitmq has neither exchange nor routing_key: where are dead letters to go whose asker is gone?"
            )
        if self.declare and (self.exchange or not self.routing_key):
            raise InvalidArgument("rabbitmq.declare is for a queue: it goes with routing_key, and without exchange")
