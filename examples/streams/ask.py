"""Asks over a queue, as a legacy caller would: BROKER is amqp://user:password@host:port/, lines are key, tab, JSON."""

import os
import sys
from urllib.parse import urlsplit

import amqp

broker = urlsplit(os.environ["BROKER"])


def told(answer: amqp.Message) -> None:
    reason = (answer.headers or {}).get("sluice-reason")
    print(answer.properties["correlation_id"], f"cannot be scored: {reason}" if reason else answer.body.decode())


with amqp.Connection(f"{broker.hostname}:{broker.port or 5672}", broker.username, broker.password) as connection:
    channel = connection.channel()
    reply = channel.queue_declare(exclusive=True).queue
    asked = [line.rstrip("\n").partition("\t") for line in sys.stdin]
    for key, _, request in asked:
        message = amqp.Message(request, reply_to=reply, correlation_id=key, content_type="application/json")
        channel.basic_publish(message, "", "diagnose")
    answers: list[amqp.Message] = []
    channel.basic_consume(reply, no_ack=True, callback=answers.append)
    while len(answers) < len(asked):
        connection.drain_events(timeout=30)
    for answer in answers:
        told(answer)
