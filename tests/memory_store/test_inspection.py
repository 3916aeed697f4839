"""Looking into journals that are not opened for it."""

from pathlib import Path

from memory_store.inspection import has_tidying


def test_looking_for_a_journal_that_was_deleted_meanwhile_makes_no_file(tmp_path: Path) -> None:
    assert not has_tidying(tmp_path / "gone.sqlite", is_open=False)

    assert list(tmp_path.iterdir()) == []
