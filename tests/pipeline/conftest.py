"""An adapter of another package, found as those of others are: by its entry point."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from textwrap import dedent

import pytest

from gateway.pipeline.declared import connectors

TOY = dedent("""
    from typing import Annotated, Literal
    from msgspec import Meta, Struct
    from gateway.core.stream import Adapter, Door

    class Place(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        row: int
        column: int | None = None

    class Input(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
        url: Annotated[str, Meta(min_length=1, description="Where.")]
        password: str = ""
        port: Annotated[int, Meta(ge=1, le=65535)] = 1
        size: Annotated[int, Meta(ge=1, extra={"unit": "bytes"})] = 64
        mode: Literal["fast", "safe"] = "safe"
        names: tuple[str, ...] = ()
        rate: float | None = None
        more: dict[str, int] = {}
        place: Place | None = None
        loud: bool = False
        mark: str | int | bool | None = "new"
        urls: str | list[str] = ""

        def __post_init__(self):
            if self.mode == "fast" and self.loud:
                raise ValueError("'fast' cannot be loud")

    adapter = Adapter("toy", "A toy.", input=Door(Input, lambda s, c: None), output=Door(Input, lambda s, c: None))
""")


@pytest.fixture(autouse=True)
def toy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    folder = tmp_path_factory.mktemp("site")
    info = folder / "toyadapter-1.0.dist-info"
    info.mkdir()
    (folder / "toyadapter.py").write_text(TOY)
    (folder / "brokenadapter.py").write_text("raise ValueError('no good')")
    (folder / "needyadapter.py").write_text("import a_driver_that_nobody_has")
    (folder / "emptyadapter.py").write_text("adapter = 5")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toyadapter\nVersion: 1.0\n")
    lines = [f"{name} = {name}adapter" for name in ("toy", "broken", "needy", "empty")]
    (info / "entry_points.txt").write_text("\n".join([f"[{connectors.GROUP}]", *lines, "memory = toyadapter"]) + "\n")
    sys.path.insert(0, str(folder))
    _forget()
    yield
    sys.path.remove(str(folder))
    _forget()


def _forget() -> None:
    connectors.adapter.cache_clear()
    connectors._points.cache_clear()
    importlib.invalidate_caches()
    for name in [name for name in sys.modules if name.endswith("adapter") and "." not in name]:
        del sys.modules[name]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, so that files are named as they are given."""
    monkeypatch.chdir(tmp_path)
    return tmp_path
