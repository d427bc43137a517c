from __future__ import annotations

from gateway.settings import Limits, Restricted, Settings


def test_load_calls_may_be_large_only_where_they_may_bring_files() -> None:
    files = Restricted(load_files=True)
    assert Settings().load_body == Limits().json_body
    assert Settings(restricted=files).load_body == 512 << 20
    assert Settings(restricted=files, limits=Limits(json_body=1 << 30)).load_body == 1 << 30
