import os
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidArgument, NotFound, Unavailable
from gateway.models.repository import ModelFolder, Repository, Snapshot, settled


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "models").mkdir()
    return tmp_path / "models"


def put(path: Path, content: str = "x") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def test_what_is_a_model_and_a_version(root: Path) -> None:
    put(root / "a" / "1" / "model.onnx")
    put(root / "a" / "10" / "model.onnx")
    for other in ("0", "01", "-1", "v2", "1.0"):
        put(root / "a" / other / "model.onnx")
    put(root / "a" / "7")  # a file
    put(root / "configured" / "config.pbtxt")
    put(root / "yaml" / "model.yaml")
    put(root / ".hidden" / "1" / "model.onnx")
    put(root / "file")
    (root / "lost+found").mkdir()
    (root / "broken").symlink_to("nowhere")
    found = Repository(root).scan()
    assert {name: sorted(folder.versions) for name, folder in found.items()} == {
        "a": ["1", "10"],
        "configured": [],
        "yaml": [],
    }
    assert Repository(root).names() == set(found)
    assert Repository(root).model("a") == found["a"]


def test_fingerprints_change_with_what_they_are_of(root: Path) -> None:
    model = put(root / "a" / "1" / "model.onnx")
    put(root / "a" / "2" / "model.onnx")
    repository = Repository(root)
    seen = repository.model("a")
    assert repository.model("a") == seen

    def changed() -> tuple[set[str], bool]:
        nonlocal seen
        now = repository.model("a")
        versions = {v for v in {*now.versions, *seen.versions} if now.versions.get(v) != seen.versions.get(v)}
        config = now.fingerprint != seen.fingerprint
        seen = now
        return versions, config

    model.write_text("longer")
    assert changed() == ({"1"}, False)
    os.utime(model, ns=(1, 1))
    assert changed() == ({"1"}, False)
    put(root / "new", "longer")
    os.utime(root / "new", ns=(1, 1))
    (root / "new").rename(model)  # same size and time, another inode
    assert changed() == ({"1"}, False)
    put(root / "a" / "1" / "data" / "deep" / "weights.bin")
    assert changed() == ({"1"}, False)
    put(root / "a" / "3" / "model.onnx")
    assert changed() == ({"3"}, False)
    put(root / "a" / "config.pbtxt")
    assert changed() == (set(), True)
    put(root / "a" / "labels" / "y.txt")
    assert changed() == (set(), True)
    put(root / "a" / "labels" / "y.txt", "other")
    assert changed() == (set(), True)
    put(root / "a" / ".nfs0001")
    assert changed() == (set(), False)
    assert changed() == (set(), False)


def test_a_link_counts_as_what_it_leads_to(root: Path) -> None:
    put(root / "store" / "blob")
    (root / "a" / "1").mkdir(parents=True)
    (root / "a" / "1" / "model.onnx").symlink_to("../../store/blob")
    before = Repository(root).model("a")
    put(root / "store" / "blob", "changed")
    assert Repository(root).model("a").versions != before.versions
    assert before.model_file("1", "model.onnx") == root / "a" / "1" / "model.onnx"


def test_links_stay_inside(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "secret")
    folder = root / "a" / "1"
    put(root / "a" / "2" / "model.onnx")
    folder.mkdir(parents=True)
    (folder / "model.onnx").symlink_to(outside)
    (root / "a" / "3").symlink_to(tmp_path)
    (root / "a" / "4").symlink_to("2")
    (root / "a" / "5").mkdir()
    (root / "a" / "5" / "model.onnx").symlink_to("model.onnx")
    found = Repository(root).model("a")
    with pytest.raises(InvalidArgument, match=r"'a/1/model\.onnx' .*out of the model repository"):
        found.model_file("1", "model.onnx")
    with pytest.raises(InvalidArgument, match="out of the model repository"):
        found.model_file("3", "secret")
    assert found.model_file("4", "model.onnx").read_text() == "x"
    with pytest.raises(InvalidArgument, match="link to nowhere"):
        found.model_file("5", "model.onnx")


def test_root_and_model_may_be_links(root: Path, tmp_path: Path) -> None:
    put(tmp_path / "elsewhere" / "m" / "1" / "model.onnx")
    (root / "m").symlink_to(tmp_path / "elsewhere" / "m")
    (tmp_path / "link").symlink_to(root)
    found = Repository(tmp_path / "link").scan()["m"]
    assert found.model_file("1", "model.onnx").read_text() == "x"


def test_a_model_file_is_a_file(root: Path) -> None:
    put(root / "a" / "1" / "model.onnx" / "model.onnx", "inner")
    (root / "a" / "2").mkdir()
    (root / "a" / "3").mkdir()
    os.mkfifo(root / "a" / "3" / "model.onnx")
    found = Repository(root).model("a")
    assert found.model_file("1", "model.onnx").read_text() == "inner"
    with pytest.raises(InvalidArgument, match=r"'a/2/model\.onnx' is not there"):
        found.model_file("2", "model.onnx")
    with pytest.raises(InvalidArgument, match=r"'a/3/model\.onnx' is not a regular file"):
        found.model_file("3", "model.onnx")


@pytest.mark.parametrize("name", ["..", "../models", "a/../../b", "", ".", "a\0"])
def test_no_name_leads_out(root: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match="model name"):
        Repository(root).model(name)


def test_what_is_not_there(root: Path) -> None:
    with pytest.raises(NotFound, match="failed to load 'nothing'"):
        Repository(root).model("nothing")
    with pytest.raises(Unavailable, match="cannot be read"):
        Repository(root / "nothing").scan()
    with pytest.raises(Unavailable, match="cannot be read"):
        Repository(root / "nothing").names()


def test_a_folder_that_cannot_be_read_is_not_gone(root: Path) -> None:
    put(root / "a" / "1" / "model.onnx")
    good = Repository(root).scan()
    # as a failing disk would leave it, which no test can arrange for root
    bad = {"a": replace(good["a"], versions={}, fingerprint="", error="its folder cannot be read: I/O error")}
    assert settled(good, good, bad) == good
    assert settled(good, bad, bad) == good
    assert settled({}, {}, bad) == bad
    assert settled(good, bad, good) == good
    assert settled({}, bad, good) == {}


fingerprints = st.sampled_from("abc")
folders = st.builds(
    lambda name, versions, fingerprint: ModelFolder(
        name, Path("/models") / name, versions, fingerprint, Path("/models")
    ),
    st.just("m"),
    st.dictionaries(st.sampled_from("123"), fingerprints, max_size=3),
    fingerprints,
)
snapshots = st.dictionaries(st.sampled_from(["m", "n"]), folders, max_size=2)


@given(snapshots, snapshots)
def test_what_two_looks_agree_on_is_taken(accepted: Snapshot, now: Snapshot) -> None:
    assert settled(accepted, now, now) == now


@given(snapshots, snapshots, snapshots)
def test_what_two_looks_do_not_agree_on_stays(accepted: Snapshot, before: Snapshot, now: Snapshot) -> None:
    for name, folder in settled(accepted, before, now).items():
        for version, fingerprint in folder.versions.items():
            agreed = (
                name in before and before[name].versions.get(version) == now[name].versions[version] == fingerprint
                if name in now and version in now[name].versions
                else False
            )
            assert agreed or accepted[name].versions[version] == fingerprint
    for name, folder in accepted.items():
        if name in before or name in now:
            for version in folder.versions:
                kept = settled(accepted, before, now)
                if name not in kept or version not in kept[name].versions:
                    assert all(version not in seen[name].versions for seen in (before, now) if name in seen)
