from pathlib import Path

from gateway.settings.leaf import leaves
from gateway.settings.load import OTHER_VARIABLES
from gateway.settings.reference import reference

PAGE = Path(__file__).parents[2] / "docs" / "settings.md"


def test_the_page_is_current() -> None:
    assert PAGE.read_text() == reference(), "run: python -m gateway.settings.reference > docs/settings.md"


def test_every_setting_and_variable_is_on_it() -> None:
    text = reference()
    for leaf in leaves().values():
        assert f"`{leaf.key}`<br>`{leaf.variable}`" in text
        assert leaf.description.endswith("."), leaf.key
    for variable in OTHER_VARIABLES:
        assert f"| `{variable}` |" in text
