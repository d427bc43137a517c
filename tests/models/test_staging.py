import stat
from pathlib import Path

import pytest

from gateway.core.errors import InvalidArgument
from gateway.models.staging import Staged


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return tmp_path


def test_files_lie_in_a_private_folder_until_removed(temporary: Path) -> None:
    staged = Staged("m", {"file:1/model.onnx": b"a", "1/data/w.bin": b"b", "labels.txt": b"c"})
    assert list(staged.folder.versions) == ["1"]
    assert staged.folder.model_file("1", "model.onnx").read_bytes() == b"a"
    assert (staged.folder.path / "1" / "data" / "w.bin").read_bytes() == b"b"
    (home,) = temporary.iterdir()
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    staged.remove()
    staged.remove()
    assert not list(temporary.iterdir())


def test_the_digest_is_of_names_and_contents() -> None:
    digests = {
        Staged("m", files).digest
        for files in ({"1/a": b"x"}, {"1/a": b"y"}, {"1/b": b"x"}, {"1/a": b"x", "1/b": b""}, {"1/a": b"x"})
    }
    assert len(digests) == 4


@pytest.mark.parametrize(
    "path",
    ["../1/model.onnx", "1/../../x", "/etc/passwd", "1//x", "1/./x", "", "1/", "1/a\0b", "1\\..\\x", "file:../x",
     "a/b/c/d/e/f/g/h/i", "1/" + "x" * 300, "1/\udcff", "1/a\n"],
)  # fmt: skip
def test_no_path_leads_out(path: str, temporary: Path) -> None:
    with pytest.raises(InvalidArgument, match="failed to load"):
        Staged("m", {"1/model.onnx": b"", path: b""})
    assert not list(temporary.iterdir())


def test_a_file_cannot_be_a_folder_too(temporary: Path) -> None:
    with pytest.raises(InvalidArgument, match="cannot be written"):
        Staged("m", {"1/a": b"", "1/a/b": b""})
    assert not list(temporary.iterdir())


def test_there_must_be_a_version() -> None:
    with pytest.raises(InvalidArgument, match=r"file:1/model\.onnx"):
        Staged("m", {"model.onnx": b""})
