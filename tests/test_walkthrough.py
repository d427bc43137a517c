"""The walk-through, line by line as it stands there, with the tools of each system."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from servers.kafka import Topics
from servers.postgresql import PROGRAMS, Databases
from servers.rabbitmq import Queues
from servers.server import free_port
from streaming import environment

from gateway.demo.training import train

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "walkthrough.md").read_text()
SECTION = re.compile(r"^## (?P<title>.*?)$.*?^```bash\n(?P<lines>.*?)^```$\n^```text\n(?P<told>.*?)^```$", re.M | re.S)
SECTIONS = {found["title"]: (found["lines"], found["told"]) for found in SECTION.finditer(PAGE)}


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    train(folder)
    return folder


def paste(title: str, folder: Path, models: Path, **addresses: str) -> None:
    """Runs a section's lines in a copy of the examples; all that it says comes, … standing for anything."""
    lines, told = SECTIONS[title]
    shutil.copytree(ROOT / "examples" / "streams", folder, dirs_exist_ok=True)
    own = folder / "bin"
    own.mkdir()
    (own / "sluice").write_text(f'#!/bin/sh\nexec {sys.executable} -m gateway.cli "$@"\n')
    (own / "sluice").chmod(0o755)
    path = f"{own}:{Path(sys.executable).parent}:{PROGRAMS}:{os.environ['PATH']}"
    more = {"SLUICE_MODELS": str(models), "SLUICE_STREAMS_PORT": str(free_port()), "PATH": path}
    given = environment(SLUICE_ADMIN_PORT=str(free_port()), **more, **addresses)
    done = subprocess.run(
        ["bash", "-e", "-c", lines], cwd=folder, env=given, capture_output=True, text=True, timeout=120
    )
    logs = "".join(path.read_text() for path in folder.glob("*.log"))
    assert done.returncode == 0, done.stdout + done.stderr + logs
    for line in told.splitlines():
        wanted = ".*".join(map(re.escape, line.split("…")))
        assert re.search(wanted, done.stdout), f"{line}\n{done.stdout}{done.stderr}{logs}"


def needs(*programs: str) -> None:
    for program in programs:
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed")


def test_every_section_is_run() -> None:
    headings = re.findall("^## (.*)$", PAGE, re.M)
    assert [*SECTIONS] == headings[:-1]
    assert len(SECTIONS) == 6


def test_files(tmp_path: Path, models: Path) -> None:
    paste("Files", tmp_path, models)


def test_a_cobol_program(tmp_path: Path, models: Path) -> None:
    needs("cobc")
    paste("A COBOL program", tmp_path, models)


def test_postgresql(tmp_path: Path, models: Path, postgresql: Databases, postgresql_database: str) -> None:
    paste("PostgreSQL, MariaDB", tmp_path, models, DATABASE=postgresql_database)


def test_kafka(tmp_path: Path, models: Path, kafka: Topics) -> None:
    needs("kcat")
    topics = [kafka.create(4, name=name) for name in ("measurements", "diagnoses", "measurements-dead")]
    try:
        paste("Kafka", tmp_path, models, KAFKA=kafka.address)
    finally:
        kafka.delete(*topics)


def test_debezium(tmp_path: Path, models: Path, kafka: Topics, postgresql: Databases, postgresql_database: str) -> None:
    needs("kcat")
    topic = kafka.create(1, name="hospital.public.patients")
    try:
        paste("Debezium to a table", tmp_path, models, KAFKA=kafka.address, DATABASE=postgresql_database)
    finally:
        kafka.delete(topic)


def test_rabbitmq(tmp_path: Path, models: Path, rabbitmq: Queues) -> None:
    try:
        paste("RabbitMQ, with replies", tmp_path, models, BROKER=rabbitmq.url)
    finally:
        rabbitmq.delete("diagnose", "unasked", "diagnose-dead")
