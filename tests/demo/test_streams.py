from __future__ import annotations

import io
import re
from pathlib import Path

from rich.console import Console
from servers.server import free_port

from gateway.demo.streams import run
from gateway.demo.streams.systems import SYSTEMS, PostgreSQL


def told(folder: Path, *systems: type) -> str:
    output = io.StringIO()
    console = Console(file=output, width=140, highlight=False)
    assert run(once=True, port=free_port(), folder=folder, records=1000, systems=systems, console=console) == 0
    return output.getvalue()


def test_the_story_with_sqlite_and_files(tmp_path: Path) -> None:
    text = told(tmp_path)
    assert re.search(r"│ table +│ SQLite rows → the same rows +│ running │ +998 │", text)
    assert re.search(r"│ mainframe +│ EBCDIC file → EBCDIC file +│ running │ +998 │ .*exactly once", text)
    # what is scored does not wait, neither at first nor after the redrive
    assert len(re.findall(r"│ table .*│ +0 │ +2 │", text)) == 2
    assert "2 rows of the table lacked a value, and became dead letters." in text
    assert "2 dead letters put back" in text
    assert "All 1,000 rows of the table are scored." in text
    assert len((tmp_path / "outbox" / "patients.out").read_bytes()) == 998 * 195
    assert "Traceback" not in (tmp_path / "streams.log").read_text()


def test_with_a_server_that_is_installed(tmp_path: Path) -> None:
    if not PostgreSQL.installed():
        return
    text = told(tmp_path, PostgreSQL)
    assert re.search(r"│ postgresql +│ PostgreSQL rows → the same rows +│ running │ +998 │", text)


def test_what_is_not_installed_is_left_out(tmp_path: Path) -> None:
    class Missing(SYSTEMS[0]):  # type: ignore[misc, name-defined]
        name = "nothing"

        @staticmethod
        def installed() -> bool:
            return False

    assert "nothing is not installed here: left out" in told(tmp_path, Missing)
