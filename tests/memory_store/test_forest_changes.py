"""Taking frames out of the trees: closed and open blocks against sums over what is left, and readers undisturbed."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memory_store import forest as forest_module
from memory_store.forest import Forest, Snapshot, Stay, StaySum
from memory_store.records import Policy, Sighting

DIMENSION = 3

BLOCK, PIECE = 4, 10
"""Stays to a block, and to a piece: full after a few."""


@dataclass(slots=True)
class Plain:
    """Stays as lists of the frames beneath."""

    stays: dict[int, Stay] = field(default_factory=dict)
    frames: dict[int, list[tuple[int, NDArray[np.float64]]]] = field(default_factory=dict)
    """Of each stay, capture times and embeddings."""

    def sum_of(self, stay_id: int) -> StaySum:
        frames = self.frames[stay_id]
        total = np.sum([embedding for _, embedding in frames], axis=0) if frames else np.zeros(0)
        times = [time for time, _ in frames] or [0]
        return StaySum(self.stays[stay_id], len(frames), total, min(times), max(times))

    def check(self, forest: Forest) -> None:
        leaves = forest.snapshot().leaves()
        table, means = leaves.facts.table.tolist(), np.concatenate(leaves.means)
        found = {row[0]: (tuple(row[1:]), mean) for row, mean in zip(table, means, strict=True)}
        assert len(found) == len(table)
        assert found.keys() == {stay_id for stay_id, frames in self.frames.items() if frames}
        for stay_id, (facts, mean) in found.items():
            stay, frames = self.stays[stay_id], self.frames[stay_id]
            times = [time for time, _ in frames]
            expected = (stay.stream_id, stay.position, stay.exemplar_id, len(frames), min(times), max(times))
            assert facts == expected
            np.testing.assert_allclose(mean, np.mean([vector for _, vector in frames], axis=0), atol=1e-6)
        self._check_blocks(forest.snapshot(), {row[0] for row in table})
        for stream in (None, 1, 2, 3):
            of = [stay for stay in found if stream in (None, self.stays[stay].stream_id)]
            times = [time for stay in of for time, _ in self.frames[stay]]
            totals = forest.totals(stream)
            assert (totals.stays, totals.frames) == (len(of), len(times))
            if times:
                assert (totals.first_us, totals.last_us) == (min(times), max(times))

    def _check_blocks(self, snapshot: Snapshot, there: set[int]) -> None:
        """Closed blocks are what is left of all but the last block of each stream; their rows lead to their stays.

        Of some that lost all their stays there is an empty one: of those that lost them when they were closed already.
        """
        beneath: dict[tuple[int, int], list[int]] = {}
        for stay in sorted(self.stays.values(), key=lambda stay: stay.position):
            beneath.setdefault((stay.stream_id, stay.position // forest_module.BLOCK_SIZE), []).append(stay.id)
        last = {stream: max(index for of, index in beneath if of == stream) for stream, _ in beneath}
        closed = {key: stays for key, stays in beneath.items() if key[1] < last[key[0]]}
        blocks = snapshot.blocks
        keys = list(zip(*(blocks.column(name).tolist() for name in ("stream_id", "index")), strict=True))
        assert len(set(keys)) == len(keys)
        assert {key for key, stays in closed.items() if there & set(stays)} <= set(keys) <= closed.keys()
        for place, row in enumerate(blocks.table.tolist()):
            left = [stay for stay in closed[row[0], row[1]] if stay in there]
            rows = blocks.chosen(np.array([place])).rows()
            assert snapshot.facts_of(rows).column("stay_id").tolist() == left
            frames = [frame for stay in left for frame in self.frames[stay]]
            times = [time for time, _ in frames]
            assert row[3:5] == [len(left), len(frames)]
            if frames:
                assert row[5:] == [min(times), max(times)]
                mean = np.mean([vector for _, vector in frames], axis=0)
                np.testing.assert_allclose(blocks.means[place], mean, atol=1e-6)
        rows = np.sort(blocks.rows())
        assert set(snapshot.facts_of(rows).column("stay_id").tolist()) == {
            stay for stays in closed.values() for stay in stays if stay in there
        }
        self._check_rows(snapshot, rows)

    def _check_rows(self, snapshot: Snapshot, rows: NDArray[np.int64]) -> None:
        """Stays are the same however they are read; frames are added up within each piece of closed stays."""
        means, frames = snapshot.read(rows)
        upside_down, table = snapshot.stays_of(rows[::-1])
        np.testing.assert_array_equal(means, upside_down[::-1])
        assert frames.tolist() == table[::-1, 4].tolist() == [len(self.frames[stay]) for stay in table[::-1, 0]]
        assert len(snapshot.cumulative) == len(snapshot.tables) - 1
        for cumulative, of in zip(snapshot.cumulative, snapshot.tables[:-1], strict=True):
            assert cumulative.tolist() == np.cumsum(of[:, 4]).tolist()


def _sighting(stay: Stay, frames: list[tuple[int, NDArray[np.float64]]]) -> Sighting:
    times = [time for time, _ in frames]
    mean = np.mean([vector for _, vector in frames], axis=0).astype(np.float32)
    numbers = (stay.id, stay.id, stay.stream_id, 1, stay.exemplar_id)
    return Sighting(*numbers, Policy(1, 0.1), 0, 0, min(times), max(times), len(frames), 0.0, mean)


def _bits(snapshot: Snapshot) -> tuple[bytes, ...]:
    parts: list[NDArray[np.generic]] = [*snapshot.means, *snapshot.tables, *snapshot.cumulative]
    parts += [snapshot.blocks.table, snapshot.blocks.means]
    return tuple(part.tobytes() for part in parts)


@given(seed=st.integers(0, 2**32 - 1))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_changed_stays_are_sums_of_what_is_left_and_what_readers_hold_does_not_change(seed: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(forest_module, "BLOCK_SIZE", BLOCK)
        patched.setattr(forest_module, "_PIECE", PIECE)
        chance = np.random.default_rng(seed)
        forest, plain = Forest(DIMENSION), Plain()
        held: list[tuple[Snapshot, tuple[bytes, ...]]] = []
        positions = {1: 0, 2: 0}
        for _ in range(25):
            if chance.random() < 0.6:
                _grow(forest, plain, positions, chance)
            else:
                _change(forest, plain, chance)
            plain.check(forest)
            snapshot = forest.snapshot()
            if held and snapshot.generation == held[-1][0].generation:
                _check_same_rows(held[-1][0], snapshot)
            held.append((snapshot, _bits(snapshot)))
        for snapshot, bits in held:
            assert _bits(snapshot) == bits


def _check_same_rows(before: Snapshot, after: Snapshot) -> None:
    """Within a generation closed stays keep their rows and blocks their numbers."""
    rows = before.blocks.rows()
    np.testing.assert_array_equal(before.facts_of(rows).table, after.facts_of(rows).table)
    np.testing.assert_array_equal(before.blocks.table, after.blocks.since(0, len(before.blocks)).table)


def _grow(forest: Forest, plain: Plain, positions: dict[int, int], chance: np.random.Generator) -> None:
    fresh: list[Stay] = []
    for _ in range(int(chance.integers(1, 6))):
        stream = int(chance.integers(1, 3))
        number = len(plain.stays) + 1
        stay = Stay(number, stream, positions[stream], int(chance.integers(1, 99)))
        positions[stream] += 1
        plain.stays[number] = stay
        plain.frames[number] = [
            (int(chance.integers(1000)), chance.normal(size=DIMENSION)) for _ in range(int(chance.integers(1, 5)))
        ]
        fresh.append(stay)
    forest.grow(fresh, [(None, _sighting(stay, plain.frames[stay.id])) for stay in fresh])


def _change(forest: Forest, plain: Plain, chance: np.random.Generator) -> None:
    """Take some frames, or all, out of some stays, as forgetting does, or let another exemplar have a stay."""
    there = [stay_id for stay_id, frames in plain.frames.items() if frames]
    changed = [stay_id for stay_id in there if chance.random() < 0.4]
    for stay_id in changed:
        share = chance.choice([0.0, 0.5, 1.0])
        plain.frames[stay_id] = [frame for frame in plain.frames[stay_id] if chance.random() < share]
        stay = plain.stays[stay_id]
        if chance.random() < 0.2:
            plain.stays[stay_id] = Stay(stay.id, stay.stream_id, stay.position, 100)
    forest.change([plain.sum_of(stay_id) for stay_id in changed])


def test_a_stay_may_be_changed_twice_at_once() -> None:
    """Merging several exemplars in one step does that."""
    forest, plain = Forest(DIMENSION), Plain()
    plain.stays = {1: Stay(1, 1, 0, 7), 2: Stay(2, 1, 1, 8)}
    plain.frames = {number: [(number, np.ones(DIMENSION) * number)] * 3 for number in (1, 2)}
    forest.grow(list(plain.stays.values()), [(None, _sighting(plain.stays[n], plain.frames[n])) for n in (1, 2)])
    halfway = [plain.sum_of(1), plain.sum_of(2)]
    plain.frames[1] = plain.frames[1] + plain.frames[2]
    plain.frames[2] = []

    forest.change([*halfway, plain.sum_of(1), plain.sum_of(2)])

    plain.check(forest)
