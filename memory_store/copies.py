"""The files beside a journal that come and go with it."""

from pathlib import Path

from memory_store import index_copy, what_if_copy


def copies_of(journal: Path) -> tuple[Path, ...]:
    """Name the copy of the index, and that of what is held for curves over thresholds."""
    return index_copy.copy_path(journal), what_if_copy.copy_path(journal)
