"""RabbitMQ, by AMQP 0.9.1: queues in, exchanges and reply queues out."""

from __future__ import annotations

from adapters.rabbitmq.letters import RabbitLetters
from adapters.rabbitmq.settings import RabbitInput, RabbitOutput
from adapters.rabbitmq.sink import RabbitSink, redrive
from adapters.rabbitmq.source import RabbitSource
from gateway.core.stream import Adapter, Door

adapter = Adapter(
    "rabbitmq",
    "RabbitMQ queues (AMQP 0.9.1); results to an exchange, a queue, or whoever asked",
    input=Door(RabbitInput, RabbitSource),
    output=Door(RabbitOutput, RabbitSink),
    redrive=Door(RabbitInput, redrive),
    letters=RabbitLetters,
)
