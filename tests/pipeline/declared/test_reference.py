import re
from pathlib import Path

import pytest

from gateway.pipeline.declared import connectors
from gateway.pipeline.declared.formats import DECODE, ENCODE
from gateway.pipeline.declared.reading import SECTIONS
from gateway.pipeline.declared.reference import reference
from gateway.pipeline.hosting.metrics import NAMES

DOCS = Path(__file__).parents[3] / "docs"


def test_the_page_is_current() -> None:
    text = (DOCS / "stream-settings.md").read_text()
    assert text == reference(), "run: python -m gateway.pipeline.declared.reference > docs/stream-settings.md"


def test_every_field_has_a_description() -> None:
    for line in reference().split("\n"):
        if line.startswith("| ") and not line.startswith("| field"):
            assert re.search(r"\| \S.* \|$", line), line
            assert not line.endswith("|  |"), line


def test_every_section_format_and_adapter_is_told_of() -> None:
    text = (DOCS / "streams.md").read_text()
    for name in ({*SECTIONS} - {"drain", "lag_interval"}) | {*DECODE} | {*ENCODE, *connectors.ours()}:
        assert f"`{name}`" in text, name


@pytest.mark.parametrize("name", sorted(NAMES))
def test_every_metric_is_told_of(name: str) -> None:
    assert f"| `{name}` | {NAMES[name].rstrip('.')} |" in (DOCS / "streams.md").read_text()
