"""The rounds of the caretaker: which memories it opens, and what becomes of those that cannot be tidied."""

import logging
from pathlib import Path

import numpy as np
import pytest

from memory_store.config import MemoryStoreConfig
from memory_store.errors import StoreUnavailable
from memory_store.facts import Served
from memory_store.journal import Journal
from memory_store.memory import Memory
from memory_store.records import Clock, Encoded, Retention
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from service.budget_watch import BudgetWatch
from service.caretaker import Caretaker

DIMENSION = 8


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with the memories `kept`, `limited` and `forgetting`, which nobody has open."""
    store = MemoryStore(tmp_path, MemoryStoreConfig())
    for name, retention in (("kept", None), ("limited", Retention(max_exemplars=9)), ("forgetting", None)):
        store.create(name, "encoder", DIMENSION, None, retention)
    store.get("forgetting")._journal.begin_forgetting(Scope(0, 9), learned=True)
    store.close()
    return tmp_path


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the memories that are opened from now on."""
    names: list[str] = []
    init = Memory.__init__

    def watched(self: Memory, name: str, *given: object) -> None:
        names.append(name)
        init(self, name, *given)  # type: ignore[arg-type]  # passed on as they came

    monkeypatch.setattr(Memory, "__init__", watched)
    return names


def test_only_memories_with_a_retention_or_an_unfinished_removal_are_opened(data: Path, opened: list[str]) -> None:
    files = {path.name for path in (data / "memories").iterdir()}
    store = MemoryStore(data, MemoryStoreConfig())
    assert store.names_to_tidy() == ["forgetting", "limited"]
    assert opened == []
    assert {path.name for path in (data / "memories").iterdir()} == files

    Caretaker(store).go_round()

    assert opened == ["forgetting", "limited"]
    assert store.names_to_tidy() == ["limited"]
    store.get("kept").set_retention(Retention(max_bytes=10**9))
    assert store.names_to_tidy() == ["kept", "limited"]
    store.get("limited").set_retention(Retention())
    assert store.names_to_tidy() == ["kept"]
    store.close()
    with pytest.raises(StoreUnavailable):
        store.names_to_tidy()


def test_what_part_exemplars_had_in_answers_is_put_on_record_and_budgets_are_looked_at(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = MemoryStore(data, MemoryStoreConfig())
    memory = store.get("kept")
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    memory.remember([Encoded(session.id, 0, 0, None, 1, np.eye(DIMENSION, dtype=np.float32)[0], lambda: b"-")])
    memory.lessons.note_served([(1, 0.75)], 7)
    looked: list[str] = []
    monkeypatch.setattr(BudgetWatch, "look", lambda _, memory: looked.append(memory.name))

    Caretaker(store).go_round()

    assert memory.reading.exemplar(1, thumbnail=False, embedding=False).served == Served(1, 0.75, 7)
    assert looked == ["kept"]
    store.close()


def test_a_file_that_is_no_memory_is_passed_over(data: Path) -> None:
    (data / "memories/kept.sqlite").write_bytes(b"\xff" * 4096)
    store = MemoryStore(data, MemoryStoreConfig())

    assert store.names_to_tidy() == ["forgetting", "limited"]
    store.close()


def test_what_the_disk_refuses_is_told_and_tried_again(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(data, MemoryStoreConfig())
    with monkeypatch.context() as disk:
        disk.setattr(Journal, "empty_log", lambda _: False)
        Caretaker(store).go_round()

    [told] = [record for record in caplog.records if record.name == "service.caretaker"]
    assert told.levelno == logging.WARNING
    assert "cannot tidy memory forgetting, will try again: a reading keeps the write-ahead log" in told.getMessage()
    assert store.names_to_tidy() == ["forgetting", "limited"]

    Caretaker(store).go_round()

    assert store.names_to_tidy() == ["limited"]
    store.close()


def test_a_store_that_was_closed_ends_a_round_in_a_warning(data: Path, caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStore(data, MemoryStoreConfig())
    store.close()

    Caretaker(store).go_round()

    assert [record.levelno for record in caplog.records] == [logging.WARNING]


@pytest.mark.logs_errors
def test_a_fault_is_logged_and_the_others_are_tidied(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    store = MemoryStore(data, MemoryStoreConfig())

    tidied: list[str] = []

    def broken(self: Memory, now_us: int) -> None:
        tidied.append(self.name)
        raise ZeroDivisionError

    monkeypatch.setattr(Memory, "tidy", broken)

    Caretaker(store).go_round()

    assert tidied == ["forgetting", "limited"]
    assert [record.levelno for record in caplog.records] == [logging.ERROR] * 2
    store.close()
