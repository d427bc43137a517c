import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from gateway import __version__
from gateway.cli import COMMANDS, Commands, run, sluice

#: the tests run from a checkout as well as from an installation
ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("SLUICE_")},
    "PYTHONPATH": str(Path(__file__).parents[1]),
}
GONE = "http://127.0.0.1:1"


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in [name for name in os.environ if name.startswith("SLUICE_")]:
        monkeypatch.delenv(name)


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", "-m", "gateway.cli", *arguments],
        capture_output=True, text=True, timeout=30,
        env=ENVIRONMENT | {name: value for name, value in os.environ.items() if name.startswith("SLUICE_")},
    )  # fmt: skip


def test_the_version() -> None:
    done = process("--version")
    assert (done.returncode, done.stdout, done.stderr) == (0, f"sluice {__version__}\n", "")


def test_help_says_what_there_is(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--help"]) == 0
    text = capsys.readouterr().out
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", text, re.MULTILINE)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_that_matches_the_list(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run([name, "--help"]) == 0
    assert f"Usage: sluice {name}" in capsys.readouterr().out
    assert isinstance(sluice, Commands)
    command = sluice.get_command(click.Context(sluice), name)
    assert command
    for inner in getattr(command, "commands", {}).values():
        assert inner.help, f"{name} {inner.name}"
        assert run([name, str(inner.name), "--help"]) == 0


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("serv", 2, "no command 'serv', did you mean 'serve'?; see `sluice --help`"),
        ("serve --htp-port 1", 2, "No such option '--htp-port'"),
        ("serve --http-port x", 2, "command line: http_port: expected an integer from 0 to 65535, found 'x'"),
        ("serve --control-mode auto", 2, "expected one of 'none', 'poll', 'explicit', found 'auto'"),
        ("serve", 2, "models: expected a folder, found no folder at 'models'"),
        ("serve --config no.yaml", 2, "settings file 'no.yaml': No such file or directory"),
        ("serve --set a", 2, "--set: expected KEY=VALUE, found 'a'"),
        ("serve --set limits.json_bdy=1", 2, "unknown setting 'limits.json_bdy', did you mean 'limits.json_body'?"),
        (f"models list --admin-url {GONE}", 1, "no answer from http://127.0.0.1:1: nothing listens there"),
        ("models list --admin-url x", 2, "--admin-url: expected a URL as in"),
        ("infer m --input none.csv", 2, "File 'none.csv' does not exist"),
        (f"infer m --input {__file__} --url {GONE}", 1, "nothing listens there; is the gateway running?"),
        ("split set m", 2, "Missing argument 'VERSION=WEIGHT...'"),
        ("split set m 1=x", 2, "expected VERSION=WEIGHT, as in 1=90, found '1=x'"),
        ("split set m =1", 2, "expected VERSION=WEIGHT, as in 1=90, found '=1'"),
        ("split set m 1=1 1=2", 2, "'1' is there twice"),
        ("split set m 1=inf", 2, "found '1=inf'"),
        ("labels set m stable=", 2, "expected LABEL=VERSION, as in stable=1, found 'stable='"),
        ("audit --limit 0", 2, "Invalid value for '--limit'"),
    ],
)
def test_an_error_is_one_line_and_an_exit_code(
    line: str, code: int, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(line.split()) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("sluice: ")
    assert says in err
    assert err.count("\n") == 1


def test_the_whole_traceback_comes_with_debug(monkeypatch: pytest.MonkeyPatch) -> None:
    done = process("serve", "--debug")
    assert done.returncode == 2
    assert "Traceback" in done.stderr
    monkeypatch.setenv("SLUICE_DEBUG", "1")
    assert "Traceback" in process("serve").stderr
    assert "Traceback" not in process("serve", "--debug", "--help").stderr


def test_an_error_in_the_settings_of_a_client_is_wrong_use(capsys: pytest.CaptureFixture[str]) -> None:
    Path("sluice.yaml").write_text("admin_prt: 1")
    assert run(["models", "list"]) == 2
    assert "sluice.yaml: unknown setting 'admin_prt', did you mean 'admin_port'?" in capsys.readouterr().err


def test_starting_is_light() -> None:
    loaded = "import sys, gateway.commands.serve, gateway.cli; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", loaded], capture_output=True, text=True, check=True, env=ENVIRONMENT)
    heavy = {"rich", "yaml", "numpy", "onnxruntime", "starlette", "uvicorn", "google.protobuf", "sqlite3", "asyncio"}
    assert not heavy & set(done.stdout.split())


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = [sys.executable, "-m", "gateway.cli", "serve", "--help"]
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, env=ENVIRONMENT)
    os.close(writing)
    assert (done.returncode, done.stderr) == (1, b"")
