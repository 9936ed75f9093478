"""Cores from control groups of both versions; the machine is a folder of plain files."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from canter.cpus import cores


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine of 16 processors without control groups."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(16)), raising=False)
    return tmp_path


def put(root: Path, path: str, text: str) -> None:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)


def test_no_control_groups(machine: Path) -> None:
    assert cores(machine) == 16


@pytest.mark.parametrize(
    ("limit", "expected"), [("200000 100000", 2), ("150000 100000", 2), ("5000 100000", 1)]
)
def test_version_2_is_rounded_up(machine: Path, limit: str, expected: int) -> None:
    put(machine, "proc/self/cgroup", "0::/app\n")
    put(machine, "sys/fs/cgroup/app/cpu.max", limit + "\n")
    assert cores(machine) == expected


def test_version_2_inside_a_container(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/\n")
    put(machine, "sys/fs/cgroup/cpu.max", "300000 100000\n")
    assert cores(machine) == 3


def test_version_2_a_parent_binds_too(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/pod/app\n")
    put(machine, "sys/fs/cgroup/pod/app/cpu.max", "max 100000\n")
    put(machine, "sys/fs/cgroup/pod/cpu.max", "400000 100000\n")
    assert cores(machine) == 4


def test_version_2_without_a_limit(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "0::/app\n")
    put(machine, "sys/fs/cgroup/app/cpu.max", "max 100000\n")
    assert cores(machine) == 16


def test_version_1(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "9:name=systemd:/\n4:cpu,cpuacct:/app\n")
    put(machine, "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_quota_us", "250000\n")
    put(machine, "sys/fs/cgroup/cpu,cpuacct/app/cpu.cfs_period_us", "100000\n")
    assert cores(machine) == 3


def test_version_1_inside_a_container_that_cannot_see_its_group(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "4:cpu:/docker/0123\n")
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "100000\n")
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cores(machine) == 1


def test_version_1_without_a_limit(machine: Path) -> None:
    put(machine, "proc/self/cgroup", "4:cpu:/\n")
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n")
    put(machine, "sys/fs/cgroup/cpu/cpu.cfs_period_us", "100000\n")
    assert cores(machine) == 16


def test_a_quota_over_the_affinity_mask(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: {0, 1})
    put(machine, "proc/self/cgroup", "0::/\n")
    put(machine, "sys/fs/cgroup/cpu.max", "800000 100000\n")
    assert cores(machine) == 2


def test_this_machine() -> None:
    assert cores() >= 1
