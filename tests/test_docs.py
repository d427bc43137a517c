"""What the server has, the docs have: commands, metrics, figures that others rely on."""

import re
from pathlib import Path

import click
import pytest

from gateway.cli import COMMANDS, sluice
from gateway.protocols.errors import STATUS
from gateway.routing.split import point
from gateway.telemetry import metrics
from gateway.telemetry.metrics import fleet

NAMES = {**metrics.NAMES, **fleet.NAMES}
ROOT = Path(__file__).parents[1]
OPERATING = (ROOT / "docs" / "operating.md").read_text()
WIRE = (ROOT / "docs" / "wire.md").read_text()
PAGES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md", ROOT / "CONTRIBUTING.md"]


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_is_told_of(name: str) -> None:
    (line,) = re.findall(rf"^\| `sluice {name}\b.*$", OPERATING, re.MULTILINE)
    command = sluice.get_command(click.Context(sluice), name)
    for sub in getattr(command, "commands", {}):
        assert f"`sluice {name} {sub}`" in line or f"`{sub}`" in line


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_metric_is_told_of(name: str) -> None:
    assert f"| `{name}` | {NAMES[name].rstrip('.')} |" in OPERATING


def test_every_status_is_told_of() -> None:
    table = WIRE[WIRE.index("## Errors") : WIRE.index("## Connections")]
    missing = {status for status in STATUS.values() if str(status) not in table} - {429}
    assert not missing


def test_the_test_vectors_are_right() -> None:
    rows = re.findall(r"^\| (\S+) \| (\S+) \| `0x([0-9A-F]{16})` \|$", OPERATING.replace("(empty)", "``"), re.MULTILINE)
    assert len(rows) >= 5
    for salt, key, where in rows:
        assert point(salt.strip("`"), key.strip("`")) == int(where, 16)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text()):
        assert (page.parent / target).exists(), target


def test_every_make_target_that_the_readme_names_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"(?:\\$ |`)make ([a-z-]+)", (ROOT / "README.md").read_text())):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target
