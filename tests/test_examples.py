"""The examples: each passes validation against the demo's model, those with tests pass them, and the main ones run."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.kafka import Topics
from servers.postgresql import Databases
from servers.rabbitmq import Queues
from servers.redis import Streams
from servers.server import until
from streaming import Place, running

from gateway.demo.training import CANCER, HeldOut, train
from gateway.pipeline.declared.reading import read_all
from gateway.pipeline.declared.validation import signatures, validate
from gateway.settings import Settings
from gateway.store.contract import State

EXAMPLES = Path(__file__).parents[1] / "examples" / "streams"
FILES = sorted(path.name for path in EXAMPLES.glob("*.yaml") if not path.name.endswith(".test.yaml"))
ENVIRON = {
    "DATABASE": "postgresql://u:p@localhost/d",
    "BROKER": "amqp://u:p@localhost/",
    "REDIS": "redis://u:p@localhost/0",
}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, HeldOut]:
    folder = tmp_path_factory.mktemp("models")
    return folder, train(folder)[CANCER]


@pytest.fixture
def place(models: tuple[Path, HeldOut], tmp_path: Path) -> Place:
    """A folder with the examples and the demo's models."""
    shutil.copytree(EXAMPLES, tmp_path, dirs_exist_ok=True)
    place = Place(tmp_path)
    shutil.rmtree(tmp_path / "models")
    (tmp_path / "models").symlink_to(models[0])
    (tmp_path / "inbox").mkdir()
    return place


def test_each_is_told_of_with_what_holds(models: tuple[Path, HeldOut], tmp_path: Path) -> None:
    table = dict(re.findall(r"^\| \[(\S+)\]\(\S+\) .*\| ([a-z ]+) \|$", (EXAMPLES / "README.md").read_text(), re.M))
    known = signatures(Settings(models=str(models[0])), State())
    streams = read_all([str(EXAMPLES / name) for name in FILES], ENVIRON)
    found = {f"{good.stream.name}.yaml": str(good.parts.guarantee) for good in validate(streams, known, tmp_path)}
    assert table == {name: held.partition(":")[0] for name, held in found.items()}
    assert list(tmp_path.iterdir()) == []


def test_a_mistyped_output_is_asked_about(place: Place) -> None:
    text = (place.folder / "topic.yaml").read_text().replace("output_probability[1]", "output_probabilty[1]")
    (place.folder / "topic.yaml").write_text(text.replace("$version", "$vers"))
    said = "benign (the record's output_probabilty[1]; or is the model's output_probability meant?)"
    told = place.sluice("validate", "topic.yaml").stdout
    assert said in told
    assert "version (the record's $vers; or is the model's $version meant?)" in told


def test_their_own_tests(place: Place) -> None:
    tested = [name for name in FILES if (EXAMPLES / name.replace(".yaml", ".test.yaml")).exists()]
    assert len(tested) == 3
    done = place.sluice("test", *tested, **ENVIRON)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def expected(models: tuple[Path, HeldOut]) -> list[float]:
    """For each row that was held out, what version 2 says of it: asked of the runtime, without anything of ours."""
    folder, held = models
    code = (
        "import json, sys, numpy, onnxruntime;"
        "session = onnxruntime.InferenceSession(sys.argv[1]);"
        "rows = numpy.array(json.load(sys.stdin), numpy.float32);"
        "print(json.dumps([float(each[1]) for each in session.run(['output_probability'], {'X': rows})[0]]))"
    )
    # in a process of its own: in this one the runtime may have a pool that all sessions share
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder / CANCER / "2" / "model.onnx")],
        input=json.dumps(held.rows), capture_output=True, text=True, check=True, timeout=60,
    )  # fmt: skip
    scores: list[float] = json.loads(done.stdout)
    return scores


def test_files(place: Place, models: tuple[Path, HeldOut], expected: list[float]) -> None:
    rows = models[1].rows
    with running(place, "files.yaml"):
        lines = [",".join([f"P{row}", *map(repr, rows[row])]) for row in range(50)]
        (place.folder / "inbox" / ".a").write_text("\n".join([*lines, "P50,1,2"]) + "\n")
        (place.folder / "inbox" / ".a").rename(place.folder / "inbox" / "a.csv")
        until((place.folder / "outbox" / "a.jsonl").exists, what="the results")
        results = [json.loads(line) for line in (place.folder / "outbox" / "a.jsonl").read_text().splitlines()]
    assert [result["patient"] for result in results] == [f"P{row}" for row in range(50)]
    assert [result["benign"] for result in results] == pytest.approx(expected[:50], abs=1e-6)


def names() -> list[str]:
    text = (EXAMPLES / "table.yaml").read_text()
    return [name.strip() for name in text.partition("columns: [")[2].partition("]")[0].split(",")]


def test_table(
    place: Place,
    models: tuple[Path, HeldOut],
    expected: list[float],
    postgresql: Databases,
    postgresql_database: str,
) -> None:
    held, url = models[1].rows, postgresql_database
    columns = ", ".join(f"{name} double precision" for name in names())
    postgresql.sql(
        f"CREATE TABLE patients (id bigint PRIMARY KEY, {columns}, status text NOT NULL DEFAULT 'new',"
        " benign double precision, scored_by text)", url,
    )  # fmt: skip
    rows = ", ".join(f"({row}, {', '.join(map(repr, held[row]))})" for row in range(40))
    postgresql.sql(f"INSERT INTO patients (id, {', '.join(names())}) VALUES {rows}", url)
    postgresql.sql("UPDATE patients SET mean_area = NULL WHERE id = 7", url)
    with running(place, "table.yaml", DATABASE=url):
        waiting = "SELECT count(*) FROM patients WHERE status = 'new'"
        until(lambda: postgresql.sql(waiting, url) == [("0",)], what="all rows")
    found = postgresql.sql("SELECT status, benign, scored_by FROM patients ORDER BY id", url)
    assert found[7][0] == "failed"
    del found[7]
    assert {(status, by) for status, _, by in found} == {("scored", "2")}
    assert [float(score) for _, score, _ in found] == pytest.approx(expected[:7] + expected[8:40], abs=1e-6)


def message(held: HeldOut, row: int) -> bytes:
    return json.dumps({"patient": f"P{row}", "features": held.rows[row]}).encode()


def test_topic_and_a_dead_letter_put_back(place: Place, models: tuple[Path, HeldOut], kafka: Topics) -> None:
    read, written, dead = (kafka.create(4) for _ in range(3))
    text = (place.folder / "topic.yaml").read_text().replace("localhost:9092", kafka.address)
    for old, new in (("measurements-dead", dead), ("measurements", read), ("diagnoses", written)):
        text = text.replace(old, new)
    (place.folder / "topic.yaml").write_text(text)
    messages = [message(models[1], row) for row in range(30)]
    kafka.write(read, [*messages, b"broken"], [str(n % 5).encode() for n in range(31)])
    with running(place, "topic.yaml") as process:
        until(lambda: len(kafka.read(written)) == 30, 60, what="30 results")
        until(lambda: len(kafka.read(dead)) == 1, what="the dead letter")
        assert {json.loads(value or b"")["patient"] for _, value, _ in kafka.read(written)} == {
            f"P{row}" for row in range(30)
        }
        done = process.sluice("redrive", "topic", "--json")
        assert json.loads(done.stdout) == {"records": 1, "left": 0}, done.stderr + process.text()
        until(lambda: len(kafka.read(dead)) == 2, 60, what="the dead letter again")
        assert json.loads(kafka.read(dead)[1][1] or b"")["attempts"] == 2


def test_rpc(place: Place, models: tuple[Path, HeldOut], rabbitmq: Queues) -> None:
    queue, unasked, dead, answers = "diagnose", "unasked", "diagnose-dead", rabbitmq.queue(type="classic")
    try:
        with running(place, "rpc.yaml", BROKER=rabbitmq.url) as process:
            process.await_state("running", "rpc")
            for row in range(3):
                rabbitmq.publish(queue, [message(models[1], row)], reply_to=answers, correlation_id=f"c{row}")
            rabbitmq.publish(queue, [b"broken"], reply_to=answers, correlation_id="c3")
            rabbitmq.publish(queue, [b"broken"], reply_to="amq.gen-gone", correlation_id="c4")
            until(lambda: rabbitmq.depth(answers) == 4, what="4 answers")
            until(lambda: rabbitmq.depth(dead) == 1, what="the dead letter")
            found = {found.correlation_id: found for found in rabbitmq.take(answers)}
            refused = found.pop("c3")
            assert refused.body == b"broken"
            assert "it is no JSON object" in refused.headers["sluice-reason"]
            assert {key: json.loads(answer.body)["patient"] for key, answer in found.items()} == {
                "c0": "P0", "c1": "P1", "c2": "P2",
            }  # fmt: skip
    finally:
        rabbitmq.delete(queue, unasked, dead, answers)


def test_redis(place: Place, models: tuple[Path, HeldOut], redis: Streams) -> None:
    names = "measurements", "diagnoses", "measurements-dead"
    try:
        redis.add(names[0], [*(message(models[1], row) for row in range(3)), b"broken"])
        with running(place, "redis.yaml", REDIS=redis.url):
            until(lambda: len(redis.bodies("diagnoses")) == 3, what="3 results")
            until(lambda: len(redis.bodies("measurements-dead")) == 1, what="the dead letter")
            assert [json.loads(body)["patient"] for body in redis.bodies("diagnoses")] == ["P0", "P1", "P2"]
    finally:
        redis.delete(*names)
