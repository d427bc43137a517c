"""Apache Kafka, and what speaks its protocol: topics in and out, by aiokafka, in batches from end to end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from adapters.kafka.settings import KafkaSink, KafkaSource
from gateway.core.stream import Adapter, Context, Door

if TYPE_CHECKING:
    from adapters.kafka.input import KafkaInput
    from adapters.kafka.output import KafkaOutput
    from adapters.kafka.redrive import KafkaRedrive


def _input(settings: KafkaSource, context: Context) -> KafkaInput:
    from adapters.kafka.input import KafkaInput  # aiokafka: only where it is used

    return KafkaInput(settings, context)


def _output(settings: KafkaSink, context: Context) -> KafkaOutput:
    from adapters.kafka.output import KafkaOutput

    return KafkaOutput(settings, context)


def _redrive(settings: KafkaSource, context: Context) -> KafkaRedrive:
    from adapters.kafka.redrive import KafkaRedrive

    return KafkaRedrive(settings, context)


def _letters(settings: KafkaSink, context: Context, kept: bool) -> KafkaInput:
    from adapters.kafka.input import KafkaInput

    source = KafkaSource(
        brokers=settings.brokers, tls=settings.tls, sasl=settings.sasl, client_id=settings.client_id,
        request_timeout=settings.request_timeout, topics=[settings.dead_letters if kept else settings.topic],
        group=f"{context.pipeline}-letters",
    )  # fmt: skip
    return KafkaInput(source, context, until_end=True)


adapter = Adapter(
    "kafka",
    "Topics of Apache Kafka: exactly once between topics of one cluster and into databases, else at least once.",
    input=Door(KafkaSource, _input),
    output=Door(KafkaSink, _output),
    redrive=Door(KafkaSource, _redrive),
    letters=_letters,
)
