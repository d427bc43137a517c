"""Apache Kafka (KRaft, broker and controller in one process), of the test run's own or somebody's: topics on demand."""

from __future__ import annotations

import base64
import datetime as dt
import ipaddress
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from secrets import token_hex

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition
from confluent_kafka.admin import AclBinding, AclBindingFilter, AdminClient, NewPartitions, NewTopic
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from servers.server import Missing, Server, answers, free_port, installed, until

JARS = Path(__file__).resolve().parents[2] / ".servers" / "kafka"

#: The serial collector and the first compiler alone: it starts in half the time, and takes less of few cores.
QUICK = ("-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData")

#: one record as a test writes and reads it: key, value, headers
Record = tuple[bytes | None, bytes | None, list[tuple[str, bytes]]]


class Topics:
    """A cluster by the address of one of its brokers, spoken to by librdkafka: not by the client under test."""

    #: whether a test may stop it, kill it or pause it
    own = False

    def __init__(self, address: str) -> None:
        self.address = address

    def admin(self) -> AdminClient:
        return AdminClient({"bootstrap.servers": self.address, "log_level": 0})

    def create(self, partitions: int = 1, name: str = "", **config: str) -> str:
        """An empty topic; `config` as in max_message_bytes="2000"."""
        name = name or f"t-{token_hex(6)}"
        options = {key.replace("_", "."): value for key, value in config.items()}
        new = NewTopic(name, num_partitions=partitions, replication_factor=1, config=options)
        admin = self.admin()  # it must outlive the answer
        admin.create_topics([new], operation_timeout=30)[name].result(30)
        # The controller has it; the broker may not know it yet.
        until(lambda: admin.list_topics(name, 30).topics[name].error is None, what=f"topic '{name}'")
        return name

    def recreate(self, topic: str) -> None:
        """Of one that was deleted: the broker may still be at it."""

        def created() -> bool:
            try:
                self.create(name=topic)
            except KafkaException:
                return False
            return True

        until(created)

    def grow(self, topic: str, partitions: int) -> None:
        admin = self.admin()
        admin.create_partitions([NewPartitions(topic, partitions)], operation_timeout=30)[topic].result(30)

    def truncate(self, topic: str, offset: int, partition: int = 0) -> None:
        """Deletes the records before `offset`, as a topic's retention does."""
        admin = self.admin()
        at = TopicPartition(topic, partition, offset)
        admin.delete_records([at])[at].result(30)

    def delete(self, *topics: str) -> None:
        admin = self.admin()
        for done in admin.delete_topics(list(topics), operation_timeout=30).values():
            done.result(30)

    def allow(self, rule: AclBinding) -> None:
        admin = self.admin()
        admin.create_acls([rule])[rule].result(30)

    def forget(self, rule: AclBindingFilter) -> None:
        admin = self.admin()
        admin.delete_acls([rule])[rule].result(30)

    def write(self, topic: str, values: Sequence[bytes | None], keys: Sequence[bytes | None] = (),
              headers: Sequence[list[tuple[str, bytes]]] = (), partition: int | None = None, **options: str | int,
              ) -> None:  # fmt: skip
        """Appends the records; to `partition`, else by key."""
        producer = Producer(
            {"bootstrap.servers": self.address, "linger.ms": 5, "partitioner": "murmur2_random"} | options
        )
        failed: list[object] = []
        for at, value in enumerate(values):
            producer.produce(
                topic, value, keys[at] if keys else None, headers=headers[at] if headers else None,
                on_delivery=lambda error, _: failed.append(error) if error else None,
                **({} if partition is None else {"partition": partition}),
            )  # fmt: skip
            producer.poll(0)
        assert producer.flush(30) == 0
        assert not failed, failed[0]

    def messages(self, topic: str, isolation: str = "read_committed") -> list[Message]:
        """All that is in the topic, partition by partition."""
        if isolation == "read_committed":
            self._marked(topic)
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": f"r-{token_hex(6)}", "isolation.level": isolation,
             "auto.offset.reset": "earliest", "enable.auto.commit": False, "enable.partition.eof": True,
             "fetch.message.max.bytes": 20_000_000}
        )  # fmt: skip
        try:
            partitions = consumer.list_topics(topic, 30).topics[topic].partitions
            consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
            found: list[Message] = []
            ended = 0
            while ended < len(partitions):
                message = consumer.poll(30)
                assert message is not None, f"'{topic}' could not be read to its end"
                if message.error() is None:
                    found.append(message)
                elif message.error().name() == "_PARTITION_EOF":
                    ended += 1
                else:
                    raise KafkaException(message.error())
            return sorted(found, key=lambda m: (m.partition(), m.offset()))
        finally:
            consumer.close()

    def _marked(self, topic: str) -> None:
        """Whoever has committed was told so before brokers have marked it. What is open for longer is left open."""
        partitions = len(self.admin().list_topics(topic, 30).topics[topic].partitions)
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            if self.ends(topic, partitions, "read_committed") == self.ends(topic, partitions, "read_uncommitted"):
                return

    def ends(self, topic: str, partitions: int, isolation: str) -> list[int]:
        """Where each partition ends; for read_committed, before the first transaction that is open."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": "none", "isolation.level": isolation})
        try:
            return [
                consumer.get_watermark_offsets(TopicPartition(topic, number), 30)[1] for number in range(partitions)
            ]
        finally:
            consumer.close()

    def read(self, topic: str, isolation: str = "read_committed") -> list[Record]:
        return [(m.key(), m.value(), m.headers() or []) for m in self.messages(topic, isolation)]

    def commit(self, group: str, topic: str, offset: int, partition: int = 0) -> None:
        """Of a group that has no member."""
        consumer = Consumer({"bootstrap.servers": self.address, "group.id": group, "enable.auto.commit": False})
        try:
            consumer.commit(offsets=[TopicPartition(topic, partition, offset)], asynchronous=False)
        finally:
            consumer.close()

    def committed(self, group: str, topic: str, partitions: int = 1, isolation: str = "read_committed") -> list[int]:
        """The group's offsets; -1001 where it has none. While a transaction has some, read_committed waits for its end,
        for as long as transactions may last; read_uncommitted goes by what was committed before."""
        consumer = Consumer(
            {"bootstrap.servers": self.address, "group.id": group, "enable.auto.commit": False,
             "isolation.level": isolation}
        )  # fmt: skip
        try:
            found = consumer.committed([TopicPartition(topic, number) for number in range(partitions)], 30)
            return [position.offset for position in found]
        finally:
            consumer.close()


class Kafka(Server, Topics):
    """One broker. Besides `address`: `tls`, and `sasl` for user `alice`, password `wonder`, by PLAIN or SCRAM, and
    `secure`, which is both.

    Groups may have a session of 1 s, and their first member waits for nobody.
    """

    own = True
    jvm: Sequence[str] = ("-Xmx384m", *QUICK)

    def __init__(self, *, transactions: int = 2, **options: str) -> None:
        """transactions: the version of the cluster's. options: settings of the broker, as in
        message_max_bytes="2000000"."""
        Server.__init__(self)
        self._transactions = transactions
        ports = [free_port() for _ in range(5)]
        address, self.tls, self.sasl, self.secure, controller = (f"127.0.0.1:{port}" for port in ports)
        self.port = ports[0]
        self.ca = self.folder / "ca.pem"
        login = "org.apache.kafka.common.security.{} required{};"
        self.options = {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{controller}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAIN://{address},TLS://{self.tls},SASL://{self.sasl},SECURE://{self.secure},CONTROLLER://{controller}",
            "advertised.listeners": f"PLAIN://{address},TLS://{self.tls},SASL://{self.sasl},SECURE://{self.secure}",
            "listener.security.protocol.map": "PLAIN:PLAINTEXT,TLS:SSL,SASL:SASL_PLAINTEXT,SECURE:SASL_SSL,"
            "CONTROLLER:PLAINTEXT",
            "inter.broker.listener.name": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-256,SCRAM-SHA-512",
            "listener.name.sasl.plain.sasl.jaas.config": login.format("plain.PlainLoginModule", ' user_alice="wonder"'),
            **{
                f"listener.name.{name}.scram-sha-{bits}.sasl.jaas.config": login.format("scram.ScramLoginModule", "")
                for name in ("sasl", "secure")
                for bits in (256, 512)
            },
            "listener.name.secure.plain.sasl.jaas.config": login.format(
                "plain.PlainLoginModule", ' user_alice="wonder"'
            ),
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(self.folder / "broker.pem"),
            "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
            "super.users": "User:ANONYMOUS",
            "allow.everyone.if.no.acl.found": "true",
            "log.dirs": str(self.folder / "data"),
            "num.partitions": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.topic.replication.factor": "1",
            "transaction.state.log.num.partitions": "4",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "group.min.session.timeout.ms": "1000",
            "auto.create.topics.enable": "false",
            "broker.session.timeout.ms": "1000",  # so long a killed one is not let in again
            "broker.heartbeat.interval.ms": "200",
            "log.cleaner.enable": "false",
        } | {key.replace("_", "."): value for key, value in options.items()}
        Topics.__init__(self, address)

    def prepare(self) -> None:
        if not (JARS / ".ready").exists():
            raise Missing("its jars are not in .servers/kafka: tests/servers/install brings them")
        _certify(self.folder)
        (self.folder / "server.properties").write_text("".join(f"{k}={v}\n" for k, v in self.options.items()))
        # A first byte of 0: an id that begins with "-" would be taken for an option.
        cluster = base64.urlsafe_b64encode(b"\0" + uuid.uuid4().bytes[1:]).decode().rstrip("=")
        self.run(
            *self._java("-Xmx64m", *QUICK),
            "kafka.tools.StorageTool", "format", "-t", cluster, "-c", self._properties(),
            "--add-scram", "SCRAM-SHA-256=[name=alice,password=wonder]",
            "--add-scram", "SCRAM-SHA-512=[name=alice,password=wonder]",
            "--feature", f"transaction.version={self._transactions}",
        )  # fmt: skip

    def command(self) -> Sequence[str]:
        return [*self._java(*self.jvm), "kafka.Kafka", self._properties()]

    def environment(self) -> Mapping[str, str]:
        return {"KAFKA_HEAP_OPTS": ""}

    def ready(self) -> bool:
        return answers(self.port) and _ready(self.address)

    def _properties(self) -> str:
        return str(self.folder / "server.properties")

    def _java(self, *options: str) -> list[str]:
        return [
            installed("java"), *options, "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn", "-cp", f"{JARS}/*",
        ]  # fmt: skip


def _ready(address: str) -> bool:
    try:
        admin = AdminClient({"bootstrap.servers": address, "log_level": 0})
        admin.list_topics(timeout=5)
    except KafkaException:
        return False
    return True


def _certify(folder: Path) -> None:
    """ca.pem and broker.pem (key and certificate for 127.0.0.1), good for a day."""
    now = dt.datetime.now(dt.UTC)
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kafka")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(hours=1)).not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    (folder / "ca.pem").write_bytes(pem)
    (folder / "broker.pem").write_bytes(private + pem)
