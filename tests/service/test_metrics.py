"""What Prometheus is told of the streams, and what the log is told of budgets."""

import logging
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from memory_store.budget import BudgetState, Condition
from memory_store.config import MemoryStoreConfig
from memory_store.hints import Hint, Keep
from memory_store.keeping import Budget, Keeping
from memory_store.memory import Memory
from memory_store.records import Clock, Encoded
from memory_store.store import MemoryStore
from service.budget_watch import BudgetWatch
from service.metrics import Metrics

DIMENSION = 8


@pytest.fixture
def store(tmp_path: Path) -> Iterator[MemoryStore]:
    """A store with the memory `m`, whose stream `door` has shown three pictures and keeps to a budget."""
    store = MemoryStore(tmp_path, MemoryStoreConfig())
    memory = store.create("m", "encoder", DIMENSION, 0.1)
    session = memory.open_session("door", "run-1", Clock.SESSION, 0)
    frames = [
        Encoded(session.id, seq, seq, None, 1, np.eye(DIMENSION, dtype=np.float32)[axis], lambda: b"-")
        for seq, axis in enumerate((0, 0, 1))
    ]
    memory.remember([*frames[:2], replace(frames[2], hint=Hint(Keep.NEVER))])
    memory.set_policy("door", threshold=0.25, keeping=Keeping(budget=Budget(share=0.5)))
    yield store
    store.close()


def scraped(address: str) -> list[str]:
    with urllib.request.urlopen(f"http://{address}/metrics", timeout=30) as answer:
        return [line for line in answer.read().decode().splitlines() if not line.startswith("#")]


def test_every_stream_is_told_with_its_frames_its_threshold_and_its_budget(store: MemoryStore) -> None:
    metrics = Metrics(store)
    address = metrics.start("127.0.0.1:0")
    try:
        told = scraped(address)
    finally:
        metrics.stop()

    door = 'memory="m",stream="door"'
    for verdict, frames in (("novel", 1.0), ("repeat", 1.0), ("withheld", 1.0), ("rejected", 0.0)):
        assert f'framekeep_frames_total{{{door},verdict="{verdict}"}} {frames}' in told
    assert f"framekeep_novelty_threshold{{{door}}} 0.25" in told
    assert f'framekeep_budget_condition{{condition="starting",{door}}} 1.0' in told
    assert f'framekeep_budget_condition{{condition="holding",{door}}} 0.0' in told
    assert not [line for line in told if line.startswith("framekeep_budget_kept_of_target")]


def test_memories_that_are_not_open_are_left_closed(store: MemoryStore, tmp_path: Path) -> None:
    store.create("idle", "encoder", DIMENSION, None)
    store.close()
    again = MemoryStore(tmp_path, MemoryStoreConfig())
    metrics = Metrics(again)
    address = metrics.start("127.0.0.1:0")
    try:
        assert scraped(address) == []
        assert again.opened() == []
    finally:
        metrics.stop()
        again.close()


def test_the_log_is_told_once_when_a_budget_is_left_and_when_it_is_kept_again(
    store: MemoryStore, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    memory = store.get("m")
    states = iter(
        [
            BudgetState(Condition.STARTING, None),
            BudgetState(Condition.HOLDING, 1.0),
            BudgetState(Condition.DRIFTING, 1.5),
            BudgetState(Condition.DRIFTING, 1.4),
            BudgetState(Condition.AT_LIMIT, 1.6),
            BudgetState(Condition.HOLDING, 1.1),
            BudgetState(Condition.HOLDING, 1.0),
        ]
    )
    monkeypatch.setattr(Memory, "budget_states", lambda _: {"door": (0.25, next(states))})
    watch = BudgetWatch()

    with caplog.at_level(logging.INFO):
        for _ in range(7):
            watch.look(memory)

    assert [(record.levelname, record.message) for record in caplog.records] == [
        (level, f"memory m, stream door: {share} of its budget was kept lately, the threshold is 0.2500{what}")
        for level, share, what in (
            ("WARNING", "150%", ": what it shows has changed"),
            ("WARNING", "160%", ", which is its limit: the budget cannot be held"),
            ("INFO", "110%", ": it is back"),
        )
    ]
