"""How many CPUs this process may use."""

from __future__ import annotations

import os
from math import ceil
from pathlib import Path


def usable_cpus(root: Path = Path("/")) -> int:
    """Return the CPUs of the affinity mask, or fewer where a cgroup grants less time; at least 1.

    A share of a CPU counts as a whole one. `root` stands for `/` in tests.
    """
    affine = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([affine, *(ceil(quota) for quota in _read_quotas(root))]))


def _read_quotas(root: Path) -> list[float]:
    """Return the CPU quotas of this process's cgroups and of the groups that they lie in."""
    quotas = []
    for line in _read(root / "proc/self/cgroup").splitlines():
        _, controllers, path = ([*line.split(":", 2), "", ""])[:3]
        if controllers and "cpu" not in controllers.split(","):
            continue
        base = root / "sys/fs/cgroup" / ("cpu" if controllers else "")
        folder = base / path.lstrip("/")
        for group in (folder, *folder.parents):
            quotas += _read_v1(group) if controllers else _read_v2(group)
            if group == base:
                break
    return quotas


def _read_v2(group: Path) -> list[float]:
    return _divide(*([*_read(group / "cpu.max").split(), "", ""])[:2])


def _read_v1(group: Path) -> list[float]:
    return _divide(_read(group / "cpu.cfs_quota_us"), _read(group / "cpu.cfs_period_us"))


def _divide(quota: str, period: str) -> list[float]:
    """Return [quota / period], or nothing where there is no limit (`max`, -1, no file)."""
    if not quota.isdecimal() or not period.isdecimal() or int(period) == 0:
        return []
    return [int(quota) / int(period)]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except (OSError, ValueError):
        return ""
