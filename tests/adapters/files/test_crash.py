"""Killed at each of its system calls, and started again: each record is there once, and no half file was ever seen."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

EXPECTED = {
    "in": {},
    "in/done": {"a.txt": "a0\na1\na2\na3\nbad4\na5\na6\na7\n", "b.txt": "bad0\nb1\nbad2", "c.txt": "bad0\nb1\nbad2"},
    "out": {"a.out": "A0\nA1\nA2\nA3\nA5\nA6\nA7\n", "b.out": "B1\n"},
    "out/dead": {"a.txt.dead.jsonl": ["bad4"], "b.txt.dead.jsonl": ["bad0", "bad2"]},
}


def test_killed_at_each_system_call(tmp_path: Path) -> None:
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, Path(__file__).with_name("pipeline.py"), tmp_path],
        capture_output=True, text=True, timeout=300, env=os.environ | {"PYTHONPATH": str(root)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    runs = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(runs) > 100
    for run in runs:
        where = f"killed at call {run['call']}{' in the middle of a write' if run['torn'] else ''}"
        assert run["again"], where
        assert run["after"] == EXPECTED, where
        for folder in ("out", "out/dead"):
            for name, content in run["partly"][folder].items():
                assert EXPECTED[folder][name] == content, f"{where}: {folder}/{name} was seen half"
