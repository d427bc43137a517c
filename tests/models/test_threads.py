from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from gateway.models import threads

PROCESS = """
import json, logging, os, sys, threading, time
from pathlib import Path
import numpy as np
from gateway.models.config import ModelConfig, Threading
from gateway.models.onnx import Runtime
logging.basicConfig(format="%(message)s")
if sys.argv[2] == "late":
    import onnxruntime
count = lambda: len(os.listdir("/proc/self/task"))
start = count()
runtime = Runtime(3)
x = np.ones((256, 1024), np.float32)
own = ModelConfig(threading=Threading(intra_op=2))
configs = [ModelConfig()] * int(sys.argv[3]) + [own] * int(sys.argv[4])
models = [runtime.load(Path(sys.argv[1]), config) for config in configs]
answers = [model.run({"x": x}, ["y"])[0].sum() for model in models]
idle = 0.0
for _ in range(6):
    models[0].run({"x": x}, ["y"])
    before = time.process_time()
    threading.Event().wait(0.06)
    idle += time.process_time() - before
print(json.dumps({"threads": count() - start, "idle": idle, "alike": bool(np.allclose(answers, answers[0]))}))
"""


def process(path: Path, *arguments: object) -> tuple[Any, str]:
    command = [sys.executable, "-c", PROCESS, str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    return json.loads(done.stdout), done.stderr


@pytest.fixture(scope="module")
def large(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = make.save(make.linear(1024, 1024), tmp_path_factory.mktemp("large") / "1")
    return path


def test_the_pool_sleeps_between_runs_and_stays_as_it_is(large: Path) -> None:
    """Spinning, the two threads would burn most of the 6 times 60 ms."""
    found, log = process(large, "early", 20, 0)
    assert log == ""
    assert found["threads"] == 2
    assert found["alike"]
    assert found["idle"] < 0.05


def test_models_with_threads_of_their_own_beside_it(large: Path) -> None:
    found, log = process(large, "early", 2, 3)
    assert log == ""
    assert found["threads"] == 2 + 3
    assert found["alike"]


def test_where_the_pool_has_to_spin(large: Path) -> None:
    found, log = process(large, "late", 2, 1)
    assert log.splitlines() == [
        "the threads of onnxruntime's pool will spin after each run: it was imported before its pool was made",
        f"{large.parents[1].name}: its own threads are ignored, all models share 3",
    ]
    assert found["threads"] == 2
    assert found["alike"]


def test_the_version_in_use_is_verified() -> None:
    first, end = threads.VERIFIED
    assert first <= tuple(map(int, importlib.metadata.version("onnxruntime").split(".")[:2])) < end


def test_libraries_that_are_not_the_one() -> None:
    folder = threads._library().parent
    for name, reason in (("__init__.py", "not a 64-bit ELF file"), ("libonnxruntime_providers_shared.so", "not there")):
        with pytest.raises(threads._Unfit, match=reason):
            threads._first_method(folder / name, 0)
    with pytest.raises(AttributeError, match="PyInit"):
        threads._Api(folder / "libonnxruntime_providers_shared.so")
    with pytest.raises(OSError, match="missing"):
        threads._Api(folder / "missing.so")
