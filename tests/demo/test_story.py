from __future__ import annotations

import io
import json
import re
import shlex
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
from rich.console import Console

from gateway.core.errors import Unavailable
from gateway.demo import run


@pytest.fixture
def ports() -> tuple[int, int]:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        return first.getsockname()[1], second.getsockname()[1]


def test_the_story_once(ports: tuple[int, int], tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, width=120)
    assert run(once=True, http_port=ports[0], admin_port=ports[1], folder=tmp_path, step=0.5, console=console) == 0
    text = output.getvalue()
    assert "\x1b" not in text
    steps = re.split(r"breast-cancer: \d+ % of the traffic to version 2", text)[1:]
    assert len(steps) == 4
    versions = [sorted(re.findall(r"^│ (\d) ", step.partition("digits: every")[0], re.M)) for step in steps]
    assert versions[0] == ["1"]
    assert versions[2] == ["1", "2"]
    assert versions[3] == ["2"]
    assert "│ 719 │" in text.replace("  ", " ").replace("  ", " ").replace("  ", " ")
    assert "curl -s http://127.0.0.1" in text


def test_on_a_terminal_the_table_is_drawn_over_and_over(ports: tuple[int, int], tmp_path: Path) -> None:
    output = io.StringIO()
    console = Console(file=output, width=120, force_terminal=True, color_system=None)
    assert run(once=True, http_port=ports[0], admin_port=ports[1], folder=tmp_path, step=0.5, console=console) == 0
    assert output.getvalue().count("10 % of the traffic") > 2


def test_serves_on_until_interrupted(ports: tuple[int, int], tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gateway.demo import run;"
        f"sys.exit(run(http_port={ports[0]}, admin_port={ports[1]}, folder=Path({str(tmp_path)!r}), step=0.2))"
    )
    with subprocess.Popen([sys.executable, "-uc", code], stdout=subprocess.PIPE, text=True) as demo:
        assert demo.stdout
        curl = ""
        for line in demo.stdout:
            curl = line if line.startswith("curl ") else curl
            if line.startswith("Serving on"):
                break
        _, _, url, _, body = shlex.split(curl)
        with urllib.request.urlopen(urllib.request.Request(url, body.encode())) as reply:
            assert json.loads(reply.read())["model_version"] == "2"
        demo.send_signal(signal.SIGINT)
        assert demo.wait(20) == 0
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", ports[0])) != 0


def test_a_port_that_is_taken_is_one_line(ports: tuple[int, int], tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports[0]))
        taken.listen()
        with pytest.raises(Unavailable, match="the server ended with code 1") as raised:
            run(
                once=True, http_port=ports[0], admin_port=ports[1], folder=tmp_path, console=Console(file=io.StringIO())
            )
    assert "\n" not in raised.value.message
