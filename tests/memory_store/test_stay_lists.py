"""Closed stays by what they show: lists against loops over the stays, and how they keep in step with a real memory."""

import logging
import threading
from collections.abc import Callable, Iterator
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from ledger import Ledger
from listed import DIMENSION, have_lists_early, send, some_scenes
from memory_store import index_upkeep, stay_lists_upkeep
from memory_store.blocks import Blocks, ClosedBlocks, block_sum
from memory_store.memory import Memory
from memory_store.records import Encoded
from memory_store.scope import Scope
from memory_store.stay_lists import ListStrata, StayLists
from memory_store.stay_lists_upkeep import StayListsUpkeep
from memory_store.store import MemoryStore

WIDTH = 4

Frames = Callable[..., list[Encoded]]

some = settings(max_examples=40, deadline=None, derandomize=True)


class Plain:
    """Closed blocks of stays, each stay with the list it is in."""

    def __init__(self, seed: int, blocks: int, times: int = 1) -> None:
        chance = np.random.default_rng(seed)
        sizes = chance.integers(0, 6, blocks)  # of some nothing is left
        number = int(sizes.sum())
        self.frames = times * chance.integers(1, 40, number)
        self.means = chance.normal(size=(number, WIDTH)).astype(np.float32)
        self.lists = chance.choice([0, 1, 2, 5, 17], number)
        self.exemplars = chance.integers(1, 20, number)
        closed, self.rows, begin, row = ClosedBlocks(WIDTH), list[int](), 0, 0
        for place, size in enumerate(sizes.tolist()):
            row += int(chance.integers(0, 3))  # pieces end in rows that are not used
            table = np.zeros((size, 7), np.int64)
            table[:, 4] = self.frames[begin : begin + size]
            closed.append(block_sum((1, place), row, self.means[begin : begin + size], table))
            self.rows += range(row, row + size)
            begin, row = begin + size, row + size
        self.blocks = closed.snapshot()

    def add_to(self, lists: StayLists, begin: int, number: int) -> None:
        blocks = self.blocks.since(begin, number)
        stays = self.blocks.column("stays")
        of = slice(int(stays[:begin].sum()), int(stays[: begin + number].sum()))
        lists.add(blocks, self.frames[of], self.means[of], self.lists[of], self.exemplars[of])

    def check(self, strata: ListStrata) -> None:
        assert strata.blocks == len(self.blocks)
        there = sorted(set(self.lists.tolist()))
        assert len(strata.stays) == len(strata.means) == len(strata.frames) == len(there)
        for place, number in enumerate(there):
            of = np.flatnonzero(self.lists == number)
            assert strata.rows(np.array([place])).tolist() == [self.rows[stay] for stay in of]
            assert (strata.stays[place], strata.frames[place]) == (len(of), self.frames[of].sum())
            mean = sum(self.frames[stay] * self.means[stay].astype(np.float64) for stay in of) / self.frames[of].sum()
            np.testing.assert_allclose(strata.means[place], mean, atol=1e-6)
        running = [np.cumsum(self.frames[self.lists == number]) for number in there]
        assert strata.cumulative.tolist() == np.concatenate([np.empty(0, np.int64), *running]).tolist()
        assert strata.numbers.tolist() == there
        for wanted in (np.arange(25), np.array([7, 3]), np.array([99]), np.empty(0, np.int64)):
            of = np.flatnonzero(np.isin(self.exemplars, wanted))
            assert sorted(strata.rows_of(wanted, 16_000).tolist()) == sorted(self.rows[stay] for stay in of)
        for most in (16, 32, 80):
            found: list[int] = []
            for one in np.arange(25):
                of = np.flatnonzero(self.exemplars == one)
                if len(of) <= most // 16 and len(found) + len(of) <= most:
                    found += [self.rows[stay] for stay in of]
            assert len(found) < most  # or the next one that is smaller would count
            assert sorted(strata.rows_of(np.arange(25), most).tolist()) == sorted(found)

    def drawn(self, number: int, at: float) -> int:
        """The row of the stay that holds a frame of a list, counted one by one."""
        of = np.flatnonzero(self.lists == number)
        frame = int(at * int(self.frames[of].sum()))
        for stay in of.tolist():
            if frame < self.frames[stay]:
                return self.rows[stay]
            frame -= int(self.frames[stay])
        raise AssertionError("expected a share below 1")


@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 60))
@some
def test_lists_are_those_of_a_loop_over_the_stays(seed: int, blocks: int) -> None:
    plain, lists = Plain(seed, blocks), StayLists(WIDTH)

    plain.add_to(lists, 0, blocks)

    plain.check(lists.strata())


@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(1, 60))
@some
def test_adding_blocks_some_at_a_time_is_adding_them_at_once(seed: int, blocks: int) -> None:
    plain, chance = Plain(seed, blocks), np.random.default_rng([seed, 1])
    once, growing = StayLists(WIDTH), StayLists(WIDTH)
    plain.add_to(once, 0, blocks)
    begin = 0
    while begin < blocks:
        number = int(chance.integers(1, 20))
        plain.add_to(growing, begin, min(number, blocks - begin))
        begin += number

    assert growing.blocks == once.blocks == blocks
    grown, expected = growing.strata(), once.strata()
    for name in (
        "frames",
        "stays",
        "ends",
        "order",
        "cumulative",
        "blocks",
        "numbers",
        "by_exemplar",
        "exemplars",
        "begins",
        "places",
    ):
        np.testing.assert_array_equal(getattr(grown, name), getattr(expected, name))
    np.testing.assert_allclose(grown.means, expected.means, atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1), blocks=st.integers(3, 60), times=st.sampled_from([1, 2**27, 2**33]))
@some
def test_a_draw_hits_the_stay_that_holds_the_given_share_of_the_frames(seed: int, blocks: int, times: int) -> None:
    plain, lists = Plain(seed, blocks, times), StayLists(WIDTH)
    plain.add_to(lists, 0, blocks)
    strata, there = lists.strata(), sorted(set(plain.lists.tolist()))
    chance = np.random.default_rng([seed, 2])
    chosen = chance.integers(0, max(1, len(there)), 50) if there else np.empty(0, np.int64)
    at = chance.choice([0.0, 0.5, np.nextafter(1, 0), *chance.random(9)], len(chosen))

    drawn = strata.draw(chosen, at)

    expected = [plain.drawn(there[place], share) for place, share in zip(chosen.tolist(), at.tolist(), strict=True)]
    assert drawn.tolist() == expected


def test_exemplars_are_found_however_far_apart_their_numbers_are() -> None:
    plain, lists = Plain(5, 60), StayLists(WIDTH)
    plain.exemplars = plain.exemplars**9
    plain.add_to(lists, 0, 60)
    strata = lists.strata()

    assert strata.places is None
    for wanted in (np.arange(-1, 20) ** 9, np.array([3, 2**9, 10**18]), np.empty(0, np.int64)):
        of = np.flatnonzero(np.isin(plain.exemplars, wanted))
        assert sorted(strata.rows_of(wanted, 16_000).tolist()) == sorted(plain.rows[stay] for stay in of)


def test_every_frame_of_a_list_is_as_likely_to_be_drawn() -> None:
    plain, lists = Plain(5, 60), StayLists(WIDTH)
    plain.add_to(lists, 0, 60)
    strata, there = lists.strata(), sorted(set(plain.lists.tolist()))
    for place, number in enumerate(there):
        frames = int(strata.frames[place])

        drawn = strata.draw(np.full(frames, place), (np.arange(frames) + 0.5) / frames)

        of = np.flatnonzero(plain.lists == number)
        assert drawn.tolist() == np.repeat([plain.rows[stay] for stay in of], plain.frames[of]).tolist()


def test_some_lists_are_told_one_after_the_other() -> None:
    plain, lists = Plain(6, 60), StayLists(WIDTH)
    plain.add_to(lists, 0, 60)
    strata = lists.strata()

    rows = strata.rows(np.array([3, 0, 3]))

    parts = [strata.rows(np.array([place])).tolist() for place in (3, 0, 3)]
    assert rows.tolist() == [*parts[0], *parts[1], *parts[2]]
    assert strata.rows(np.empty(0, np.int64)).tolist() == []


def test_lists_are_put_in_order_again_when_more_than_a_few_blocks_came() -> None:
    plain, lists = Plain(7, 60), StayLists(WIDTH)
    plain.add_to(lists, 0, 30)
    before = lists.strata()
    held = (before.means.tobytes(), before.order.tobytes(), before.cumulative.tobytes())
    plain.add_to(lists, 30, 10)
    assert lists.strata() is before

    plain.add_to(lists, 40, 20)

    plain.check(lists.strata())
    assert (before.blocks, lists.blocks) == (30, 60)
    assert (before.means.tobytes(), before.order.tobytes(), before.cumulative.tobytes()) == held


# In a memory


@pytest.fixture(autouse=True)
def _lists_early(monkeypatch: pytest.MonkeyPatch) -> None:
    have_lists_early(monkeypatch, 64)
    monkeypatch.setattr(stay_lists_upkeep, "FIRST_LISTS", 300)


@pytest.fixture
def memory(store: MemoryStore) -> Memory:
    return store.create("m", "encoder/1", DIMENSION, 0.1)


def _show(memory: Memory, frames: Frames, stream: str, seed: int, shots: int, scenes: int = 150) -> None:
    """Let a stream go to and fro between scenes, each for some frames."""
    chance, kinds = np.random.default_rng(seed), some_scenes(scenes, 1)
    shown = []
    for scene in chance.integers(0, scenes, shots).tolist():
        shown += [kinds[scene]] * int(chance.integers(1, 4))
    send(memory, frames, shown, stream)


@pytest.fixture
def grown(memory: Memory, frames: Frames) -> Memory:
    """Some 900 closed stays of two streams; index and lists are made."""
    _show(memory, frames, "door", 1, 1200)
    _show(memory, frames, "hall", 2, 350)
    _settle(memory)
    return memory


def _lists(memory: Memory) -> StayListsUpkeep:
    return memory._state._lists


def _settle(memory: Memory) -> None:
    """Wait until index and lists are what they are when nothing more comes."""
    memory._state.upkeep.wait()
    memory.view(Scope())
    _lists(memory).wait()


def _check(memory: Memory, ledger: Ledger) -> ListStrata:
    """The lists, and the blocks that closed since, hold the closed stays of the journal, each once."""
    view = memory.view(Scope())
    strata = view.lists
    assert strata is not None
    rows = strata.rows(np.arange(len(strata.stays)))
    late = view.snapshot.blocks.since(strata.blocks).rows()
    found = np.concatenate([view.facts(rows).table, view.facts(late).table])
    assert sorted(map(tuple, found[:, :5].tolist())) == _closed(ledger)
    means, frames = view.snapshot.stays_of(rows)[0], view.facts(rows).column("frames")
    of = np.repeat(np.arange(len(strata.stays)), strata.stays)
    running = [np.cumsum(frames[of == place]) for place in range(len(strata.stays))]
    assert strata.cumulative.tolist() == np.concatenate(running).tolist()
    for place in range(len(strata.stays)):
        weights = frames[of == place]
        assert (strata.stays[place], strata.frames[place]) == (len(weights), weights.sum())
        np.testing.assert_allclose(strata.means[place], np.average(means[of == place], 0, weights), atol=1e-5)
    return strata


def _check_places(memory: Memory, strata: ListStrata) -> None:
    """Each of the lists is one of the index, or, where that has none, an exemplar."""
    view, index = memory.view(Scope()), memory._state.upkeep.index
    exemplars = view.facts(strata.rows(np.arange(len(strata.stays)))).column("exemplar_id")
    places = exemplars if index.lists is None else index.lists.lists_of(exemplars)
    of = np.repeat(np.arange(len(strata.stays)), strata.stays)
    assert len(set(zip(of.tolist(), places.tolist(), strict=True))) == len(strata.stays) == len(set(places.tolist()))


def _closed(ledger: Ledger) -> list[tuple[int, ...]]:
    """Stays of all but the last block of each stream: stay, stream, position, exemplar, frames."""
    return sorted(
        ledger.rows(
            "SELECT t.id, t.stream_id, t.position, t.exemplar_id, sum(g.frames) FROM stays t"
            " JOIN sightings g ON g.stay_id = t.id JOIN streams s ON s.id = t.stream_id"
            " WHERE t.position < (s.next_position - 1) / 100 * 100 GROUP BY t.id"
        )
    )


def test_a_memory_of_few_stays_has_no_lists(memory: Memory, frames: Frames) -> None:
    _show(memory, frames, "door", 1, 300)
    _settle(memory)

    assert memory.view(Scope()).lists is None
    assert not _lists(memory).is_working


def test_a_memory_that_grows_has_the_lists_of_its_closed_stays(
    grown: Memory, ledger: Ledger, frames: Frames, open_store: Callable[[], MemoryStore]
) -> None:
    assert grown._state.upkeep.index.lists is not None
    before = _check(grown, ledger)

    _show(grown, frames, "yard", 3, 2300)
    _settle(grown)

    after = _check(grown, ledger)
    assert after.stays.sum() > before.stays.sum() + 1000
    _check_places(grown, after)
    again = open_store().get("m")
    _settle(again)
    _check_places(again, _check(again, ledger))


def test_while_the_index_has_no_lists_each_exemplar_is_one_of_its_own(
    memory: Memory, ledger: Ledger, frames: Frames, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_lists_early(monkeypatch, 1000)
    _show(memory, frames, "door", 1, 800)
    _settle(memory)
    assert memory._state.upkeep.index.lists is None

    strata = _check(memory, ledger)

    assert 100 < len(strata.stays) <= 150
    _check_places(memory, strata)
    _show(memory, frames, "yard", 2, 2300, scenes=200)
    _settle(memory)
    strata = _check(memory, ledger)
    assert len(strata.stays) > 150
    _check_places(memory, strata)


def test_lists_are_made_again_when_the_index_is_trained_anew(grown: Memory, ledger: Ledger) -> None:
    before, index = _check(grown, ledger), grown._state.upkeep.index
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(index_upkeep, "lists_for", lambda _: 11)
        grown._state.upkeep._train()
    assert grown._state.upkeep.index is not index
    _settle(grown)

    after = _check(grown, ledger)

    assert after is not before
    assert len(after.stays) <= 11
    _check_places(grown, after)


def test_lists_are_made_again_after_forgetting_and_merging(grown: Memory, ledger: Ledger) -> None:
    chance = np.random.default_rng(8)
    for round_ in range(4):
        first_us = 1000 * int(chance.integers(0, 2000))
        stream = grown.stream_id("door")
        grown.forget(Scope(first_us, first_us + 40_000, frozenset({stream}) if round_ % 2 else None))
        if round_ == 2:
            assert grown.compact(0.25).merged > 0
        _settle(grown)
        _check(grown, ledger)


def test_lists_of_another_generation_are_not_used(
    grown: Memory, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the moment at which closed stays change until the lists of what is left are there."""
    held = grown.view(Scope())
    assert held.lists is not None
    rows = held.lists.rows(np.arange(len(held.lists.stays)))
    told = held.facts(rows).table.tobytes()
    blocked, upkeep = threading.Event(), _lists(grown)
    make = upkeep._make
    monkeypatch.setattr(upkeep, "_make", lambda: blocked.wait(60) and make())
    grown.forget(Scope(0, 20_000))
    memory_seen = [grown.view(Scope()).lists for _ in range(3)]

    blocked.set()
    upkeep.wait()

    assert memory_seen == [None, None, None]
    _check(grown, ledger)
    # Who took the lists before still has the stays that they speak of.
    assert held.facts(rows).table.tobytes() == told


@pytest.fixture
def on_the_way(grown: Memory, monkeypatch: pytest.MonkeyPatch) -> Callable[[Iterator[Callable[[], object]]], None]:
    """Have something done each time that a making of the lists has added some blocks: two at a time."""
    monkeypatch.setattr(stay_lists_upkeep, "_CHUNK", 2)
    monkeypatch.setattr(stay_lists_upkeep, "_CAUGHT_UP", 1)

    def patch(doing: Iterator[Callable[[], object]]) -> None:
        class Watched(StayLists):
            def add(
                self,
                blocks: Blocks,
                frames: NDArray[np.int64],
                means: NDArray[np.float32],
                lists: NDArray[np.int64],
                exemplars: NDArray[np.int64],
            ) -> None:
                super().add(blocks, frames, means, lists, exemplars)
                if blocks.column("stays").sum() <= 200:
                    next(doing, lambda: None)()

        monkeypatch.setattr(stay_lists_upkeep, "StayLists", Watched)

    return patch


def test_what_comes_and_goes_while_lists_are_made_is_made_up_for(
    grown: Memory,
    ledger: Ledger,
    frames: Frames,
    on_the_way: Callable[[Iterator[Callable[[], object]]], None],
) -> None:
    upkeep = _lists(grown)
    done: list[str] = []

    def doing() -> Iterator[Callable[[], object]]:
        yield lambda: done.append("nothing")
        yield partial(_show, grown, frames, "yard", 5, 250)
        yield partial(grown.forget, Scope(50_000, 60_000))
        yield partial(_show, grown, frames, "attic", 6, 250, 180)  # with exemplars that are new
        yield grown._state.upkeep._train
        yield partial(grown.compact, 0.2)
        yield lambda: done.append("all")

    on_the_way(doing())
    upkeep._work()

    assert done == ["nothing", "all"]
    strata = _check(grown, ledger)
    assert strata.stays.sum() == len(_closed(ledger))


def test_a_memory_that_is_closed_while_lists_are_made_has_no_more_made(
    grown: Memory, on_the_way: Callable[[Iterator[Callable[[], object]]], None], ledger: Ledger
) -> None:
    upkeep = _lists(grown)
    on_the_way(iter([lambda: setattr(upkeep, "_stopped", True)]))

    upkeep._work()  # ends

    _check(grown, ledger)
    grown.forget(Scope(0, 20_000))
    assert grown.view(Scope()).lists is None
    assert not upkeep.is_working


@pytest.mark.logs_errors
def test_a_making_that_fails_is_logged_and_tried_again(
    memory: Memory, ledger: Ledger, frames: Frames, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def fail() -> bool:
        raise MemoryError("injected")

    with monkeypatch.context() as patched:
        patched.setattr(_lists(memory), "_make", fail)
        _show(memory, frames, "door", 1, 800)
        _settle(memory)
        assert memory.view(Scope()).lists is None
        _lists(memory).wait()
    assert {record.levelno for record in caplog.records} == {logging.ERROR}

    _settle(memory)

    _check(memory, ledger)


def test_ingest_goes_on_while_lists_are_made(grown: Memory, ledger: Ledger, frames: Frames) -> None:
    """From several threads: lists are made again and again while streams grow and parts of them are forgotten."""
    failures: list[BaseException] = []

    def run(work: Callable[[], object]) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001  # it is raised again by the test
            failures.append(error)

    def ask() -> None:
        for _ in range(40):
            view = grown.view(Scope())
            if view.lists is not None:
                rows = view.lists.rows(np.arange(len(view.lists.stays)))
                assert len(np.unique(rows)) == len(rows)
                assert view.lists.frames.sum() == view.facts(rows).column("frames").sum()

    def forget() -> None:
        for number in range(5):
            grown.forget(Scope(100_000 * number, 100_000 * number + 5000))

    threads = [
        threading.Thread(target=run, args=[work])
        for work in (partial(_show, grown, frames, "yard", 5, 400), ask, forget)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert failures == []
    _settle(grown)
    _check(grown, ledger)
