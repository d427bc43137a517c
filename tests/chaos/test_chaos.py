"""A few of `make chaos`, always the same ones: every pipeline, under faults that it has to outlive."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from chaos.controls import CONTROLS, caught
from chaos.faults import faults_of
from chaos.models import make
from chaos.pipelines import PIPELINES
from chaos.pipelines.servers import Servers
from chaos.records import Scores
from chaos.round import Round
from servers.fixtures import missing
from servers.server import Missing

FAULTS = {
    "kafka-exactly-once": ("crash before-commit", "stops before-commit"),
    "kafka-postgresql": ("delivered again",),
    "postgresql-claim": ("server dies in commit",),
    "sqlite-lease": ("stops before-write",),
    "rabbitmq": ("network reset",),
    "redis": ("crash after-write",),
    "files": ("crash in-dead-letter",),
}


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with ExitStack() as stack:
        yield Servers(stack)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make(tmp_path_factory.mktemp("models"))


@pytest.mark.timeout(240)
def test_a_broken_pipeline_is_caught(servers: Servers, models: Path, tmp_path: Path) -> None:
    """One of them: the others are judged by `make chaos`."""
    (tmp_path / "tree").symlink_to(models)
    try:
        found, told = caught(CONTROLS["does-not-fence-by-partition"], servers, tmp_path, Scores(models), 1)
    except Missing as reason:
        if os.environ.get("CI") == "true":
            raise
        missing["negative controls"] = str(reason)
        pytest.skip(str(reason))
    assert found, told


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", FAULTS)
def test_what_a_pipeline_claims_holds(name: str, servers: Servers, models: Path, tmp_path: Path) -> None:
    try:
        pipeline = PIPELINES[name](servers, tmp_path)
    except Missing as reason:
        if os.environ.get("CI") == "true":
            raise
        missing[name] = str(reason)
        pytest.skip(str(reason))
    faults, chance = faults_of(pipeline), random.Random(name)
    with Round(pipeline, models, tmp_path / "state") as round_:
        for fault in FAULTS[name]:
            assert round_.insist(fault, faults[fault], chance), f"after '{fault}':\n{round_.logs()}"
            assert round_.struck, f"'{fault}' met no record in flight"
    verdict = round_.verdict(Scores(models))
    assert round_.keeps(verdict), f"{verdict}\n{round_.logs()}"
