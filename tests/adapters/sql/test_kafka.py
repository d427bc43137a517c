"""A topic into a table that only appends: exactly once all the same, because the offsets are in the transaction."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from servers.server import until
from sql_database import Database
from streaming import Place, running

if TYPE_CHECKING:
    from servers.kafka import Topics

STREAM = """\
input: {{kafka: {{brokers: ["{broker}"], topics: [{topic}], session_timeout: 6}}}}
decode: {{format: json}}
map: {{x: [x, x, x, x]}}
model: affine
encode: {{format: columns, fields: {{n: n, score: 'y[0]', version: $version}}}}
output: {{sql: {{url: "{url}", mode: insert, table: scores, positions: positions, dead_letters: dead}}}}
batching: {{rows: 50}}
guarantee: exactly once
"""


def test_a_topic_into_a_table_that_appends(database: Database, kafka: Topics, tmp_path: Path) -> None:
    topic = kafka.create(partitions=2)
    database.sql(f"CREATE TABLE scores (n int, score {database.double}, version int)")
    place = Place(tmp_path)
    (tmp_path / "topic.yaml").write_text(STREAM.format(broker=kafka.address, topic=topic, url=database.url))
    kafka.write(topic, [json.dumps({"n": n, "x": n if n != 123 else "?"}).encode() for n in range(3000)])

    def written() -> int:
        return int(database.column("SELECT count(*) FROM scores")[0])

    for goal in (300, 1500):
        with running(place, "topic.yaml") as process:
            until(lambda goal=goal: written() >= goal, 60, f"the scoring of {goal} records")  # type: ignore[misc]
            process.stop(signal.SIGKILL)
    with running(place, "topic.yaml"):
        until(lambda: written() >= 2999, 60, "the scoring of all records")
    assert database.sql("SELECT count(*), count(DISTINCT n) FROM scores WHERE score = 3 * n") == [("2999", "2999")]
    assert len(database.column("SELECT id FROM dead")) == 1
    kafka.delete(topic)
