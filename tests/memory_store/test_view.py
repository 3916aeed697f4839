"""What a scope leaves for attention: stays, groups and levels, against a loop over the frames that were sent.

One memory with lists, of three streams whose capture times go to and fro.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder.hierarchical_attention import attend
from encoder.memory_view import MemoryView
from encoder.reading import Effort
from encoder.sampled_read import sampled
from ledger import Ledger
from listed import DIMENSION, have_lists_early, some_scenes
from memory_store import stay_lists_upkeep
from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Clock, Embedding, Encoded
from memory_store.scope import Scope
from memory_store.stay_lists import ListStrata
from memory_store.store import MemoryStore
from memory_store.view import BlockStrata, View

MS = 1000
STREAMS = ("door", "hall", "yard")
FRAMES = (3000, 2000, 400)
"""Of each stream, one a millisecond, shuffled a few to and fro."""

some = settings(max_examples=30, deadline=None, derandomize=True)

Stays = dict[int, tuple[int, int, int, int, int, int]]
"""By their number: stream, position, exemplar, frames, first and last capture time."""


@dataclass(frozen=True, slots=True)
class Sent:
    """Every frame that was sent, and the stay it counts towards by the sightings of the journal."""

    memory: Memory
    stays: Stays
    """All of them, whole."""
    frames: NDArray[np.int64]
    """Stay, stream and capture time: int64 [N, 3]."""

    def within(self, scope: Scope) -> Stays:
        """Filter the frames, and add up what is left, one by one."""
        found: Stays = {}
        for stay, stream, time in self.frames.tolist():
            if scope.stream_ids is not None and stream not in scope.stream_ids:
                continue
            if scope.first_us <= time <= scope.last_us:
                _, position, exemplar, *_ = self.stays[stay]
                _, _, _, frames, first, last = found.get(stay, (0, 0, 0, 0, time, time))
                found[stay] = (stream, position, exemplar, frames + 1, min(first, time), max(last, time))
        return found

    def whole(self, scope: Scope) -> set[int]:
        """Stays of which the scope cuts nothing off."""
        return {stay for stay, facts in self.within(scope).items() if facts == self.stays[stay]}


@pytest.fixture(scope="module")
def sent(tmp_path_factory: pytest.TempPathFactory, frames: Callable[..., list[Encoded]]) -> Iterator[Sent]:
    folder = tmp_path_factory.mktemp("view")
    with pytest.MonkeyPatch.context() as patched:
        have_lists_early(patched, 64)
        patched.setattr(stay_lists_upkeep, "FIRST_LISTS", 1000)
        store = MemoryStore(folder, MemoryStoreConfig())
        memory = store.create("m", "encoder/1", DIMENSION, 0.1)
        captured: dict[tuple[int, int], int] = {}
        for number, (stream, count) in enumerate(zip(STREAMS, FRAMES, strict=True), 1):
            session = memory.open_session(stream, "run-1", Clock.SOURCE, 0)
            shown = _shown(number, count)
            times = [MS * ((seq ^ (7 * number)) + 500 * (number - 1)) for seq in range(count)]
            for start in range(0, count, 50):
                end = start + 50
                memory.remember(frames(session, shown[start:end], first_seq=start, capture_us=times[start:end]))
            captured |= {(session.id, seq): time for seq, time in enumerate(times)}
        memory._state.upkeep.wait()
        memory.view(Scope())
        memory._state._lists.wait()
        yield _sent(memory, folder, captured)
        store.close()


def _shown(seed: int, count: int) -> list[Embedding]:
    chance, kinds = np.random.default_rng(seed), some_scenes(300, 1)
    shown: list[Embedding] = []
    while len(shown) < count:
        shown += [kinds[int(chance.integers(300))]] * int(chance.integers(1, 4))
    return shown[:count]


def _sent(memory: Memory, folder: Path, captured: dict[tuple[int, int], int]) -> Sent:
    ledger = Ledger(folder / "memories" / "m.sqlite")
    names = {row[0]: (row[1], row[2]) for row in ledger.rows("SELECT id, position, exemplar_id FROM stays")}
    frames = [
        (one.stay, one.stream, captured[one.session, seq])
        for one in ledger.sightings()
        for seq in range(one.first_seq, one.last_seq + 1)
    ]
    stays: Stays = {}
    for stay, stream, time in frames:
        _, _, _, counted, first, last = stays.get(stay, (0, 0, 0, 0, time, time))
        stays[stay] = (stream, *names[stay], counted + 1, min(first, time), max(last, time))
    assert len(frames) == sum(FRAMES)
    return Sent(memory, stays, np.array(frames))


@st.composite
def _scopes(draw: st.DrawFn) -> Scope:
    """Some narrow, some wide, some of all time; of some streams or all."""
    first = draw(st.integers(-100, 3100))
    length = draw(st.sampled_from([0, 3, 50, 300, 1000, 4000]))
    streams = draw(st.sampled_from([None, None, {1}, {2}, {3}, {1, 2}, {2, 3}]))
    from_the_start = draw(st.sampled_from([False, False, True]))
    return Scope(
        Scope().first_us if from_the_start else MS * first,
        MS * (first + length),
        None if streams is None else frozenset(streams),
    )


def _told(table: NDArray[np.int64]) -> Stays:
    return {row[0]: (row[1], row[2], row[3], row[4], row[5], row[6]) for row in table.tolist()}


def _without_lists(view: View) -> View:
    return replace(view, lists=None)


@given(scope=_scopes())
@some
def test_the_stays_within_a_scope_are_those_of_a_loop_over_the_frames(sent: Sent, scope: Scope) -> None:
    expected = sent.within(scope)

    view = sent.memory.view(scope)

    leaves = view.leaves()
    assert _told(leaves.facts.table) == expected
    assert view.stay_count == len(leaves.facts) == len(expected)
    assert view.frame_count == sum(facts[3] for facts in expected.values())
    assert view.exemplar_ids().tolist() == sorted({facts[2] for facts in expected.values()})


@given(scope=_scopes())
@some
def test_a_view_is_read_whole_a_piece_at_a_time(sent: Sent, scope: Scope) -> None:
    view = sent.memory.view(scope)
    pieces = list(view.whole())

    rows = np.concatenate([np.empty(0, np.int64), *(rows for rows, *_ in pieces)])
    assert (np.diff(rows) > 0).all()
    leaves = view.leaves()
    np.testing.assert_array_equal(view.facts(rows).table, leaves.facts.table)
    means, frames = view.read(rows)
    np.testing.assert_array_equal(means, np.concatenate(leaves.means))
    np.testing.assert_array_equal(frames, leaves.facts.column("frames"))
    if pieces:
        np.testing.assert_array_equal(np.concatenate([means for _, means, _ in pieces]), means)
        np.testing.assert_array_equal(np.concatenate([frames for *_, frames in pieces]), frames)


@given(scope=_scopes())
@some
def test_levels_add_up_what_lies_beneath(sent: Sent, scope: Scope) -> None:
    below = [(facts[0], facts[1], *facts[3:]) for facts in sent.within(scope).values()]

    levels = sent.memory.view(scope).levels()

    for nodes in levels:
        blocks: dict[tuple[int, int], list[tuple[int, int, int]]] = {}
        for stream, index, *facts in below:
            blocks.setdefault((stream, index // 100), []).append((facts[0], facts[1], facts[2]))
        below = [
            (*key, sum(f for f, _, _ in facts), min(s for _, s, _ in facts), max(e for _, _, e in facts))
            for key, facts in sorted(blocks.items())
        ]
        columns = (nodes.stream_ids, nodes.indices, nodes.frames, nodes.first_us, nodes.last_us)
        assert list(zip(*(column.tolist() for column in columns), strict=True)) == below
    assert {index for _, index, *_ in below} <= {0}


@given(scope=_scopes())
@some
def test_what_counts_is_what_the_scope_does_not_cut(sent: Sent, scope: Scope) -> None:
    view, whole = sent.memory.view(scope), sent.whole(scope)
    for seen in (view, _without_lists(view)):
        strata = seen.strata
        rows = strata.rows(np.arange(len(strata.stays)))
        stays = seen.facts(rows).column("stay_id").tolist()

        counting = seen.counting(rows).tolist()

        assert counting == [stay in whole for stay in stays]
        assert len(set(stays)) == len(stays)


@given(scope=_scopes())
@some
def test_every_stay_within_a_scope_is_in_a_group_or_loose(sent: Sent, scope: Scope) -> None:
    view, expected = sent.memory.view(scope), sent.within(scope)
    for seen in (view, _without_lists(view)):
        strata = seen.strata
        grouped = strata.rows(np.arange(len(strata.stays)))
        grouped = grouped[seen.counting(grouped)]

        loose = seen.loose

        assert len(set(loose.tolist())) == len(loose)
        assert _told(seen.facts(np.union1d(grouped, loose)).table) == expected
        if isinstance(strata, BlockStrata):
            assert not set(grouped.tolist()) & set(loose.tolist())
            assert len(grouped) + len(loose) == len(expected)
            assert seen.counting_share == 1
        else:
            counts = seen.facts(grouped).column("frames").sum() / strata.frames.sum()
            assert seen.counting_share == pytest.approx(counts, abs=0.2)


def test_groups_are_lists_where_a_scope_is_wide_and_blocks_of_time_where_it_is_narrow(sent: Sent) -> None:
    everything = len(sent.stays)
    modes = set()
    for last in range(0, 3000, 100):
        scope = Scope(last_us=MS * last)
        share = len(sent.within(scope)) / everything
        by_lists = isinstance(sent.memory.view(scope).strata, ListStrata)
        modes.add(by_lists)
        if abs(share - 0.25) > 0.02:
            assert by_lists == (share > 0.25)
    assert modes == {False, True}
    whole = sent.memory.view(Scope())
    assert isinstance(whole.strata, ListStrata)
    assert isinstance(_without_lists(whole).strata, BlockStrata)
    assert (whole.counting_share, _without_lists(whole).counting_share) == (1, 1)


@given(scope=_scopes(), seed=st.integers(0, 2**32 - 1))
@some
def test_blocks_of_time_are_groups_with_true_sums_from_which_stays_are_drawn_by_their_frames(
    sent: Sent, scope: Scope, seed: int
) -> None:
    view, chance = _without_lists(sent.memory.view(scope)), np.random.default_rng(seed)
    strata = view.strata
    number = len(strata.stays)
    for place in range(number):
        rows = strata.rows(np.array([place]))
        means, frames = view.read(rows)
        assert (strata.stays[place], strata.frames[place]) == (len(rows), frames.sum())
        np.testing.assert_allclose(strata.means[place], np.average(means, 0, frames), atol=1e-6)
    chosen = chance.integers(0, number, 40) if number else np.empty(0, np.int64)
    at = chance.choice([0.0, 0.5, np.nextafter(1, 0), *chance.random(9)], len(chosen))

    drawn = strata.draw(chosen, at)

    for row, place, share in zip(drawn.tolist(), chosen.tolist(), at.tolist(), strict=True):
        frame = int(share * int(strata.frames[place]))
        for candidate in strata.rows(np.array([place])).tolist():
            beneath = int(view.facts(np.array([candidate])).column("frames")[0])
            if frame < beneath:
                break
            frame -= beneath
        assert row == candidate


@given(scope=_scopes(), seed=st.integers(0, 2**32 - 1), wanted=st.integers(1, 400))
@some
def test_needles_are_what_counts_of_the_nearest_lists(sent: Sent, scope: Scope, seed: int, wanted: int) -> None:
    view, whole = sent.memory.view(scope), sent.whole(scope)
    query = np.random.default_rng(seed).normal(size=DIMENSION).astype(np.float32)

    rows, compared = view.needles(query, wanted)

    lists = view.lists
    assert lists is not None
    assert view.finds_needles == isinstance(view.strata, ListStrata)
    if isinstance(view.strata, ListStrata):
        return
    assert compared == len(lists.stays)
    found = view.facts(rows).column("stay_id").tolist()
    assert len(set(found)) == len(found)
    expected, looked_at = set[int](), 0
    for place in np.argsort(-(lists.means @ query), kind="stable"):
        held = set(view.facts(lists.rows(np.array([place]))).column("stay_id").tolist())
        if not held & whole <= set(found):
            break
        expected |= held & whole
        looked_at += len(held)
    else:
        looked_at += 8 * wanted  # there are no more
    assert set(found) == expected
    assert looked_at >= min(wanted / max(1 / 8, len(sent.within(scope)) / len(sent.stays)), 8 * wanted) - max(
        lists.stays
    )


@given(scope=_scopes(), seed=st.integers(0, 2**32 - 1), wanted=st.integers(8, 400))
@some
def test_needles_that_codes_name_are_stays_that_count_of_the_nearest_exemplars(
    sent: Sent, scope: Scope, seed: int, wanted: int
) -> None:
    view, whole = sent.memory.view(scope), sent.whole(scope)
    if not view.finds_needles:
        return
    [subject] = some_scenes(1, seed)

    rows, compared = view.needles(subject * np.float32(20), wanted)

    lists, found = view.lists, view.facts(rows)
    assert lists is not None
    assert len(set(rows.tolist())) == len(rows)
    assert set(found.column("stay_id").tolist()) <= whole
    near = np.argsort(-(lists.means @ subject))[: min(192, len(lists.stays))]
    assert compared == int(lists.stays[near].sum()) // 16
    exemplars = np.unique(view.facts(lists.rows(near)).column("exemplar_id"))
    embeddings = np.stack([sent.memory.embedding(one) for one in exemplars.tolist()])
    nearest = exemplars[np.argsort(-(embeddings @ subject))]
    named = set(found.column("exemplar_id").tolist())
    assert len(named) <= wanted // 4
    assert len(rows) <= wanted
    # All stays that count of those named; and what is named is, by codes, among the nearest.
    inside = view.facts(rows_of_counting(view, lists.rows_of(np.array(sorted(named), np.int64), 10**6)))
    assert sorted(inside.column("stay_id").tolist()) == sorted(found.column("stay_id").tolist())
    assert named <= set(nearest[: 10 + wanted].tolist())


def rows_of_counting(view: View, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Those that count of some rows."""
    return rows[view.counting(rows)]


def test_needles_are_not_known_without_lists(sent: Sent) -> None:
    view = sent.memory.view(Scope())
    for blind in (_without_lists(view), replace(view, named=None)):
        rows, compared = blind.needles(np.ones(DIMENSION, np.float32), 100)
        assert (len(rows), compared, blind.finds_needles) == (0, 0, False)


EVERYTHING, WIDE, HALL = Scope(), Scope(last_us=MS * 1800), Scope(stream_ids=frozenset({2}))
NARROW = Scope(MS * 1000, MS * 1350)


def _errors(
    sent: Sent, view: View, inverse_temperature: float, share: float
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """True and stated errors of attention over a share of the stays, of 60 queries; nothing else may be read."""
    allowed = set(sent.within(view.scope))
    true, stated = [], []
    for number, subject in enumerate(some_scenes(60, 1)):
        query = subject * np.float32(inverse_temperature)
        exact = attend(query, view, Effort(exact=True, frames=0), 0)
        reading = sampled(query, view, int(share * view.stay_count), np.random.default_rng(number)).told()
        away = np.linalg.norm(reading.context_vector - exact.context_vector)
        true.append(float(away / np.linalg.norm(exact.context_vector)))
        stated.append(reading.reading_error)
        assert set(view.facts(reading.rows).column("stay_id").tolist()) <= allowed
    return np.array(true), np.array(stated)


@pytest.mark.parametrize("scope", [EVERYTHING, WIDE, HALL])
@pytest.mark.parametrize("inverse_temperature", [5.0, 20.0])
def test_attention_by_lists_is_that_over_all_stays_within_its_stated_error(
    sent: Sent, scope: Scope, inverse_temperature: float
) -> None:
    view = sent.memory.view(scope)
    assert isinstance(view.strata, ListStrata)

    true, stated = _errors(sent, view, inverse_temperature, 0.4)

    assert (true <= stated).mean() >= 0.9


def test_where_groups_are_blocks_of_time_needles_are_what_makes_attention_sharp(sent: Sent) -> None:
    """Here a block shows a hundred scenes in no order, so that its summary says nothing."""
    view = sent.memory.view(NARROW)
    assert isinstance(view.strata, BlockStrata)

    with_needles, _ = _errors(sent, view, 20.0, 0.4)
    without, _ = _errors(sent, _without_lists(view), 20.0, 0.4)

    assert np.median(with_needles) < 0.001
    assert np.mean(with_needles) < np.mean(without) / 2


@pytest.mark.parametrize("scope", [EVERYTHING, WIDE, NARROW, HALL])
@pytest.mark.parametrize("known", [True, False])
def test_on_average_attention_over_a_part_finds_the_mass_of_the_whole(sent: Sent, scope: Scope, *, known: bool) -> None:
    view = sent.memory.view(scope) if known else _without_lists(sent.memory.view(scope))
    query = some_scenes(3, 9)[0] * np.float32(4)
    exact = attend(query, view, Effort(exact=True, frames=0), 0)
    stays = len(view.loose) + view.stay_count // 3  # so that some are left to draw

    readings = [sampled(query, view, stays, np.random.default_rng(seed)).told() for seed in range(60)]

    masses = np.exp([reading.log_mass - exact.log_mass for reading in readings])
    sums = np.array([reading.context_vector for reading in readings]) * masses[:, None]
    assert abs(masses.mean() - 1) <= 3 * masses.std(ddof=1) / np.sqrt(60)
    away = ((sums.mean(0) - exact.context_vector) ** 2).sum()
    assert away <= 3 * (sums.var(0, ddof=1) / 60).sum()


def test_a_view_is_what_attention_asks_for(sent: Sent) -> None:
    view: MemoryView = sent.memory.view(Scope())

    assert view.stay_count == len(sent.stays)
