"""Inputs and outputs on the run's broker."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from kafka_sides import Sides

if TYPE_CHECKING:
    from servers.kafka import Kafka, Topics


@pytest.fixture
def sides(kafka: Topics) -> Sides:
    return Sides(kafka.address)


@pytest.fixture
def own_sides(own_kafka: Kafka) -> Sides:
    return Sides(own_kafka.address)
