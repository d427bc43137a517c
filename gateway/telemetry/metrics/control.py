"""The control state's part of the page at ``/metrics``."""

from __future__ import annotations

from typing import Final

from gateway.telemetry.metrics.exposition import Family, Page

_IN_FORCE: Final = Family(
    "sluice_control_revision", "gauge", "Revision of the control state that is in force in every worker."
)
_NEWEST: Final = Family("sluice_store_revision", "gauge", "Newest revision that was seen in the store.")
_UP: Final = Family("sluice_store_up", "gauge", "1 while the store answers, 0 while it is gone.")

FAMILIES: Final = (_IN_FORCE, _NEWEST, _UP)


def control_page(in_force: int, newest: int, up: bool) -> bytes:
    page = Page()
    for family, value in ((_IN_FORCE, in_force), (_NEWEST, newest), (_UP, int(up))):
        page.family(family)
        page.sample(family.name, "", value)
    return page.render()
