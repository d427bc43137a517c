from __future__ import annotations

from servers.rabbitmq import RabbitMQ


def test_it_outlives_a_kill(own_rabbitmq: RabbitMQ) -> None:
    queue = own_rabbitmq.queue(type="classic")
    own_rabbitmq.publish(queue, [b"1", b"2"])
    own_rabbitmq.kill()
    own_rabbitmq.start()
    assert own_rabbitmq.depth(queue) == 2
    assert own_rabbitmq.bodies(queue) == [b"1", b"2"]
    own_rabbitmq.delete(queue)
