"""What the store's benchmark reads off a process, a folder and a list of times; light, so that it adds no memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

Figures = dict[str, float | int | str | None]
"""One row of a table, by name; None where a figure makes no sense or was not measured."""


def own_memory_bytes(field: str) -> int:
    """Read this process's memory: VmRSS is what it holds now, VmHWM the most it ever held."""
    for line in Path("/proc/self/status").read_text().splitlines():
        name, _, value = line.partition(":")
        if name == field:
            return int(value.split()[0]) * 1024
    raise ValueError(f"expected {field} in /proc/self/status")


def folder_bytes(folder: Path) -> int:
    """Add up the files beneath a folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def quantile_ms(seconds: Sequence[float], share: float) -> float | None:
    """Give a quantile of some times in milliseconds, `share` in [0, 1]; None if there are none."""
    return round(float(np.quantile(seconds, share)) * 1000, 3) if seconds else None


def share_of(part: int, whole: int) -> float | None:
    """Give a share; None of nothing."""
    return round(part / whole, 5) if whole else None
