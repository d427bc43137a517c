import os
from pathlib import Path

import pytest

from gateway.settings.cores import granted


@pytest.fixture(autouse=True)
def _eight_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(8)))


def machine(tmp_path: Path, proc: str, **files: str) -> tuple[Path, Path]:
    (tmp_path / "proc").write_text(proc)
    for name, text in files.items():
        path = tmp_path / "cgroup" / name.replace("__", ".").replace("_S_", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path / "proc", tmp_path / "cgroup"


def test_version_2_takes_the_tightest_group_on_the_way_up(tmp_path: Path) -> None:
    where = machine(
        tmp_path,
        "0::/kube/pod/box\n",
        kube_S_cpu__max="300000 100000\n",
        kube_S_pod_S_cpu__max="max 100000\n",
        kube_S_pod_S_box_S_cpu__max="650000 100000\n",
    )
    assert granted(*where) == 3


def test_a_part_of_a_core_does_not_count_but_one_is_always_there(tmp_path: Path) -> None:
    assert granted(*machine(tmp_path, "0::/\n", cpu__max="250000 100000")) == 2
    assert granted(*machine(tmp_path, "0::/\n", cpu__max="50000 100000")) == 1


def test_a_path_of_the_host_that_the_container_does_not_see(tmp_path: Path) -> None:
    assert granted(*machine(tmp_path, "0::/docker/abc\n", cpu__max="400000 100000")) == 4
    assert granted(*machine(tmp_path, "0::/../../abc\n", cpu__max="400000 100000")) == 4


def test_version_1(tmp_path: Path) -> None:
    lines = "5:memory:/m\n4:cpu,cpuacct:/box\n0::/\n"
    files = {
        "cpu,cpuacct_S_box_S_cpu__cfs_quota_us": "200000",
        "cpu,cpuacct_S_box_S_cpu__cfs_period_us": "100000",
        "cpu,cpuacct_S_cpu__cfs_quota_us": "-1",
        "cpu,cpuacct_S_cpu__cfs_period_us": "100000",
    }
    where = machine(tmp_path, lines, **files)
    assert granted(*where) == 2


def test_without_a_quota_the_affinity_counts(tmp_path: Path) -> None:
    assert granted(*machine(tmp_path, "0::/\n", cpu__max="max 100000")) == 8
    assert granted(tmp_path / "absent", tmp_path) == 8
    assert granted(*machine(tmp_path, "0::/\n", cpu__max="garbage")) == 8


def test_on_this_machine() -> None:
    assert granted() >= 1
