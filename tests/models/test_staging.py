import stat
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.core.errors import InvalidArgument
from gateway.models.staging import OWNER, Staged, sweep


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


DIES = """
import os, signal, sys, tempfile
from gateway.models.staging import OWNER, Staged, sweep
tempfile.tempdir = sys.argv[1]
staged = Staged("m", {"1/model.onnx": b"a"})
print(staged.folder.path, flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_left_is_removed_and_nothing_else(temporary: Path) -> None:
    mine = Staged("m", {"1/model.onnx": b"a"})
    others = [temporary / "sluice-chaos-1", temporary / "sluice-file", temporary / "sluice-link", temporary / "other"]
    others[0].mkdir()
    others[1].write_text("x")
    others[2].symlink_to(mine.folder.path.parent)
    others[3].mkdir()
    (others[3] / OWNER).touch()
    with subprocess.Popen(
        [sys.executable, "-c", DIES, str(temporary)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        assert sweep() == 0, "its owner lives"
        assert (left / "1" / "model.onnx").exists()
        process.kill()
    assert sweep() == 1
    assert not left.parent.exists()
    assert mine.folder.path.exists()
    assert all(each.exists() for each in others)
    mine.remove()
    assert sweep() == 0
    assert sorted(each.name for each in temporary.iterdir()) == sorted(each.name for each in others)


def test_a_lock_is_there_from_when_on_it_is_held(temporary: Path) -> None:
    """A folder of somebody who is just making it is his."""
    home = temporary / "sluice-new"
    home.mkdir()
    (home / ".tmp12345").touch()
    assert sweep() == 0
    assert home.exists()


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
