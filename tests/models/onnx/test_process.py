"""What models cost a process: its threads, and memory that comes back."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

PROCESS = """
import json, logging, os, sys
from pathlib import Path
import numpy as np
from gateway.models.config import ModelConfig, Threading
from gateway.models.onnx import Runtime
logging.basicConfig(level=logging.ERROR)
threads = lambda: len(os.listdir("/proc/self/task"))
rss = lambda: int(open("/proc/self/statm").read().split()[1]) * 4096 / 1e6
path, size, own = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
x = np.zeros((64, 1024), np.float32)
out = {"threads": [threads()], "rss": []}
runtime = Runtime(size)
kept = []
for i in range(int(sys.argv[4])):
    model = runtime.load(path, ModelConfig(threading=Threading(intra_op=own)))
    model.run({"x": x}, ["y"])
    kept.append(model)
    out["threads"].append(threads())
    out["rss"].append(rss())
    if sys.argv[5] == "close":
        kept.pop().close()
        out["rss"][-1] = rss()
print(json.dumps(out))
"""


def process(path: Path, *arguments: object) -> Any:
    command = [sys.executable, "-c", PROCESS, str(path), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[3])
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def large(make: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = make.save(make.linear(1024, 4096), tmp_path_factory.mktemp("large") / "1")
    return path


def test_threads_are_the_process_s(large: Path) -> None:
    start, *none = process(large, 1, 0, 4, "keep")["threads"]
    assert none == [start] * 4
    start, *shared = process(large, 3, 0, 4, "keep")["threads"]
    assert shared == [start + 2] * 4
    start, *own = process(large, 1, 2, 4, "keep")["threads"]
    assert own == [start + i for i in range(1, 5)]


def test_threads_of_its_own_beside_the_pool(large: Path) -> None:
    start, *both = process(large, 3, 2, 3, "keep")["threads"]
    assert both == [start + 2 + i for i in range(1, 4)]


def test_reloads_give_memory_back(large: Path) -> None:
    rss = process(large, 1, 0, 12, "close")["rss"]
    assert rss[-1] < rss[2] * 1.05 + 4
    # a model of 17 MB is gone
    assert rss[-1] < 110
