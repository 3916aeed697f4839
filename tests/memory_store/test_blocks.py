"""Sums over closed blocks, against those of the stays beneath; what readers hold does not change."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from memory_store.blocks import Blocks, BlockSum, ClosedBlocks, block_sum

DIMENSION = 5

some = settings(max_examples=30, deadline=None, derandomize=True)


@dataclass(frozen=True, slots=True)
class Beneath:
    """A block, by its stays."""

    key: tuple[int, int]
    row: int
    means: NDArray[np.float32]
    table: NDArray[np.int64]

    @staticmethod
    def drawn(chance: np.random.Generator, number: int, stays: int) -> "Beneath":
        """Stays of a stream, with capture times in no order."""
        times = np.sort(chance.integers(-1000, 1000, (stays, 2)), axis=1)
        table = np.column_stack([chance.integers(1, 1000, (stays, 4)), chance.integers(1, 50, stays), times])
        means = chance.normal(size=(stays, DIMENSION)).astype(np.float32)
        return Beneath((int(chance.integers(1, 4)), number), int(chance.integers(10**6)), means, table)

    def summed(self) -> BlockSum:
        return block_sum(self.key, self.row, self.means, self.table)

    def check(self, blocks: Blocks, place: int) -> None:
        """Compare with a loop over the stays."""
        total, frames = np.zeros(DIMENSION), 0
        for mean, (*_, beneath, _, _) in zip(self.means.astype(np.float64), self.table.tolist(), strict=True):
            total, frames = total + beneath * mean, frames + beneath
        stays = self.table.tolist()
        extent = (min(row[5] for row in stays), max(row[6] for row in stays)) if stays else (0, 0)
        names = ("stream_id", "index", "row", "stays", "frames", "first_us", "last_us")
        found = tuple(int(blocks.column(name)[place]) for name in names)
        assert found == (*self.key, self.row, len(stays), frames, *extent)
        np.testing.assert_allclose(blocks.means[place], total / max(1, frames), atol=1e-6)


@given(seed=st.integers(0, 2**32 - 1))
@some
def test_sums_are_those_of_the_stays_beneath_as_blocks_are_added_and_replaced(seed: int) -> None:
    chance = np.random.default_rng(seed)
    closed, beneath = ClosedBlocks(DIMENSION), list[Beneath]()
    held: list[tuple[Blocks, bytes, bytes]] = []
    for _ in range(12):
        for _ in range(int(chance.integers(0, 30))):
            beneath.append(Beneath.drawn(chance, len(beneath), int(chance.integers(1, 8))))
            closed.append(beneath[-1].summed())
        changed = [number for number in range(len(beneath)) if chance.random() < 0.1]
        for number in changed:  # as when some of their stays, or all of them, are forgotten
            beneath[number] = Beneath.drawn(chance, number, int(chance.integers(0, 4)))
        closed.replace({number: beneath[number].summed() for number in changed})

        blocks = closed.snapshot()

        assert len(blocks) == len(beneath)
        for place, block in enumerate(beneath):
            block.check(blocks, place)
        held.append((blocks, blocks.table.tobytes(), blocks.means.tobytes()))
    for blocks, table, means in held:
        assert (blocks.table.tobytes(), blocks.means.tobytes()) == (table, means)


@given(seed=st.integers(0, 2**32 - 1), number=st.integers(0, 20))
@some
def test_some_blocks_can_be_chosen_and_their_rows_told(seed: int, number: int) -> None:
    chance = np.random.default_rng(seed)
    beneath = [Beneath.drawn(chance, place, int(chance.integers(0, 5))) for place in range(number)]
    closed = ClosedBlocks(DIMENSION)
    for block in beneath:
        closed.append(block.summed())
    blocks = closed.snapshot()
    mask = chance.random(number) < 0.5
    places = chance.permutation(number)[: number // 2]
    begin, more = (int(chance.integers(0, number + 1)) for _ in range(2))

    for chosen, expected in (
        (blocks, list(range(number))),
        (blocks.chosen(mask), np.flatnonzero(mask).tolist()),
        (blocks.chosen(places), places.tolist()),
        (blocks.since(begin), list(range(begin, number))),
        (blocks.since(begin, more), list(range(begin, min(number, begin + more)))),
    ):
        assert len(chosen) == len(expected)
        for place, of in enumerate(expected):
            beneath[of].check(chosen, place)
        rows = [beneath[of].row + stay for of in expected for stay in range(len(beneath[of].table))]
        assert chosen.rows().tolist() == rows


def test_a_mean_over_very_many_frames_is_exact() -> None:
    means = np.array([[1, 0, 0, 0, 0], [0, 1, 0, 0, 0]], np.float32)
    table = np.array([[1, 1, 0, 1, 2**40, 0, 0], [2, 1, 1, 2, 1, 0, 0]])

    row, mean = block_sum((1, 0), 0, means, table)

    assert row[4] == 2**40 + 1
    assert mean[1] == pytest.approx(1 / (2**40 + 1), rel=1e-6)
