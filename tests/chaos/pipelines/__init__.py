"""The pipelines that are tormented, by name."""

from __future__ import annotations

from chaos.pipelines.files import Files
from chaos.pipelines.kafka import KafkaAtLeastOnce, KafkaExactlyOnce, KafkaToPostgreSQL
from chaos.pipelines.pipeline import Pipeline
from chaos.pipelines.rabbitmq import Queue
from chaos.pipelines.redis import RedisStreams
from chaos.pipelines.sql import PostgreSQLClaim, SQLiteLease

PIPELINES: dict[str, type[Pipeline]] = {
    each.name: each
    for each in (
        KafkaExactlyOnce,
        KafkaAtLeastOnce,
        KafkaToPostgreSQL,
        PostgreSQLClaim,
        SQLiteLease,
        Queue,
        RedisStreams,
        Files,
    )
}
