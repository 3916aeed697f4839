"""Reads of a part of a large memory, against exact ones: no bias, errors as stated, nothing counted twice."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from numpy.typing import NDArray

from encoder.hierarchical_attention import attend
from encoder.memory_view import Floats, Numbers, Vector
from encoder.reading import Effort, Reading
from encoder.sampled_read import LEAST_STATED, sampled
from inside import HandMadeInside

STAYS, CLUSTERS, WIDTH = 30_000, 300, 24
OPENED = 3000
EXACT = Effort(exact=True)


@dataclass(frozen=True, slots=True)
class Clusters:
    """Strata: lists of rows, with what is said of each."""

    means: Vector
    frames: Numbers
    members: Sequence[Numbers]
    """Rows of each stratum."""
    beneath: Numbers
    """Frames of every row."""

    @property
    def stays(self) -> Numbers:
        return np.array([len(rows) for rows in self.members], np.int64)

    def rows(self, chosen: Numbers) -> Numbers:
        return np.concatenate([np.empty(0, np.int64), *(self.members[stratum] for stratum in chosen.tolist())])

    def draw(self, strata: Numbers, at: Floats) -> Numbers:
        found = np.empty(len(strata), np.int64)
        for stratum in np.unique(strata).tolist():
            rows, of = self.members[stratum], strata == stratum
            until = np.cumsum(self.beneath[rows])
            found[of] = rows[np.searchsorted(until, at[of] * until[-1], side="right")]
        return found


@dataclass(frozen=True, slots=True)
class HandMade:
    """A `MemoryView` that keeps count of what is read from it."""

    means: Vector
    """Of all stays, by their rows: float32 [N, D]."""
    frames: Numbers
    strata: Clusters
    loose: Numbers
    counts: NDArray[np.bool_]
    """Which stays count."""
    counting_share: float = 1.0
    found: Numbers = field(default_factory=lambda: np.empty(0, np.int64))
    """Needles, found by comparing COMPARED vectors."""
    read_rows: list[int] = field(default_factory=list)

    COMPARED = 77

    @property
    def stay_count(self) -> int:
        return int(self.counts.sum())

    def counting(self, rows: Numbers) -> NDArray[np.bool_]:
        counting: NDArray[np.bool_] = self.counts[rows]
        return counting

    @property
    def finds_needles(self) -> bool:
        return False

    def needles(self, query: Vector, stays: int) -> tuple[Numbers, int]:
        assert query.shape == (WIDTH,)
        assert stays > 0
        return self.found, self.COMPARED if len(self.found) else 0

    def read(self, rows: Numbers) -> tuple[Vector, Numbers]:
        assert (np.diff(rows) >= 0).all(), "expected ascending rows"
        self.read_rows.extend(rows.tolist())
        return self.means[rows], self.frames[rows]

    def inside(self, rows: Numbers) -> HandMadeInside:
        assert len(np.unique(rows)) == len(rows)
        return HandMadeInside.nothing(WIDTH)

    def whole(self) -> Iterator[tuple[Numbers, Vector, Numbers]]:
        for rows in np.array_split(np.flatnonzero(self.counts), 3):
            yield rows, self.means[rows], self.frames[rows]

    def with_strata_of(self, members: Sequence[Numbers]) -> "HandMade":
        """Take these groups of rows as strata, and say of them what is true."""
        rows = [(self.means[group].astype(np.float64), self.frames[group]) for group in members]
        means = np.array([frames @ means / frames.sum() for means, frames in rows], np.float32).reshape(-1, WIDTH)
        frames = np.array([frames.sum() for _, frames in rows], np.int64)
        return replace(self, strata=Clusters(means, frames, members, self.frames), read_rows=[])

    def with_wrong_summaries(self, by: float) -> "HandMade":
        """Turn the means of all strata away: by 0.25, about 14 degrees."""
        wrong = self.strata.means + by * _unit(np.random.default_rng(99), len(self.strata.means))
        wrong *= np.linalg.norm(self.strata.means, axis=1, keepdims=True) / np.linalg.norm(wrong, axis=1, keepdims=True)
        return replace(self, strata=replace(self.strata, means=wrong.astype(np.float32)), read_rows=[])


def _unit(chance: np.random.Generator, number: int) -> NDArray[np.float64]:
    drawn = chance.normal(size=(number, WIDTH))
    unit: NDArray[np.float64] = drawn / np.linalg.norm(drawn, axis=1, keepdims=True)
    return unit


@pytest.fixture(scope="module")
def centres() -> NDArray[np.float64]:
    return _unit(np.random.default_rng(1), CLUSTERS)


@pytest.fixture(scope="module")
def view(centres: NDArray[np.float64]) -> HandMade:
    """Clusters of all sizes and widths in no order; 500 stays are loose."""
    chance = np.random.default_rng(2)
    cluster = chance.choice(CLUSTERS, STAYS, p=chance.dirichlet(np.full(CLUSTERS, 2)))
    width = chance.uniform(0.15, 0.55, (CLUSTERS, 1))[cluster]
    means = centres[cluster] + width * _unit(chance, STAYS)
    frames = chance.geometric(1 / 8, STAYS)
    lengths = np.where(frames > 1, chance.uniform(0.95, 1, STAYS), 1)[:, None]
    means *= lengths / np.linalg.norm(means, axis=1, keepdims=True)
    loose, rows = np.arange(0, STAYS, 60), np.arange(STAYS)
    groups = [rows[(cluster == number) & (rows % 60 > 0)] for number in range(CLUSTERS)]
    nothing = Clusters(np.empty((0, WIDTH), np.float32), np.empty(0, np.int64), [], frames)
    made = HandMade(means.astype(np.float32), frames, nothing, loose, np.ones(STAYS, np.bool_))
    return made.with_strata_of([group for group in groups if len(group)])


def _query(chance: np.random.Generator, inverse_temperature: float, towards: NDArray[np.float64]) -> Vector:
    subject = towards + 0.3 * _unit(chance, 1)[0]
    query: Vector = (inverse_temperature * subject / np.linalg.norm(subject)).astype(np.float32)
    return query


def _read(query: Vector, view: HandMade, seed: int, stays: int = OPENED) -> Reading:
    return sampled(query, view, stays, np.random.default_rng(seed)).told(LEAST_STATED)


def _error(reading: Reading, exact: Reading) -> float:
    away = np.linalg.norm(reading.context_vector.astype(np.float64) - exact.context_vector)
    return float(away / np.linalg.norm(exact.context_vector))


@pytest.mark.parametrize("wrong", [0.0, 0.25, 0.5])
@pytest.mark.parametrize("inverse_temperature", [3.0, 10.0, 20.0])
def test_on_average_nothing_is_over_or_underestimated_whatever_the_summaries_say(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float, wrong: float
) -> None:
    """The mass of the whole and the sum that the context vector is of, over 60 seeds."""
    seen = view.with_wrong_summaries(wrong) if wrong else view
    query = _query(np.random.default_rng(4), inverse_temperature, centres[3])
    exact = attend(query, seen, EXACT, 0)

    readings = [_read(query, seen, seed) for seed in range(60)]

    masses = np.exp([reading.log_mass - exact.log_mass for reading in readings])
    sums = np.array([reading.context_vector for reading in readings]) * masses[:, None]
    along = sums @ exact.context_vector / np.linalg.norm(exact.context_vector)
    for found, expected in ((masses, 1.0), (along, np.linalg.norm(exact.context_vector))):
        assert found.std() > 0
        assert abs(found.mean() - expected) <= 3 * found.std(ddof=1) / np.sqrt(60)
    away = ((sums.mean(0) - exact.context_vector) ** 2).sum()
    assert away <= 3 * (sums.var(0, ddof=1) / 60).sum()  # on average it is once that


def _errors(view: HandMade, centres: NDArray[np.float64], inverse_temperature: float) -> NDArray[np.float64]:
    """True and stated errors of 40 queries: near a cluster, near a stay, or near nothing."""
    chance = np.random.default_rng(5)
    errors = []
    for number in range(40):
        towards = (centres[number], view.means[int(chance.integers(STAYS))], np.zeros(WIDTH))[number % 3]
        query = _query(chance, inverse_temperature, towards)
        reading = _read(query, view, number)
        errors.append((_error(reading, attend(query, view, EXACT, 0)), reading.reading_error))
    return np.array(errors)


@pytest.mark.parametrize(
    ("inverse_temperature", "times_too_large"),
    [(3.0, 5), (10.0, 5), (20.0, 5), (50.0, 20)],  # at 50 only two of the queries have an error to speak of
)
def test_the_true_error_is_within_the_stated_one_which_is_not_much_larger(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float, times_too_large: float
) -> None:
    true, stated = _errors(view, centres, inverse_temperature).T

    assert (true <= stated).mean() >= 0.9
    assert np.median((stated / true)[true > 0.001]) <= times_too_large


@pytest.mark.parametrize("inverse_temperature", [3.0, 10.0, 20.0, 50.0])
@pytest.mark.parametrize("wrong", [0.25, 0.5])
def test_the_true_error_is_within_the_stated_one_even_if_summaries_are_wrong(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float, wrong: float
) -> None:
    true, stated = _errors(view.with_wrong_summaries(wrong), centres, inverse_temperature).T

    assert (true <= stated).mean() >= 0.9


@pytest.mark.parametrize("inverse_temperature", [0.0, 10.0, 100.0])
def test_what_is_opened_in_full_is_counted_once(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float
) -> None:
    """All strata are opened; some of what they hold is loose or a needle too, and may not be read again."""
    chance = np.random.default_rng(6)
    query = _query(chance, inverse_temperature, centres[7])
    doubled = np.union1d(view.loose, chance.choice(STAYS, 400, replace=False))
    seen = replace(view, loose=doubled, found=chance.choice(STAYS, 400, replace=False), read_rows=[])

    reading, exact = _read(query, seen, 0, stays=5 * STAYS), attend(query, seen, EXACT, 0)

    np.testing.assert_array_equal(reading.rows, np.arange(STAYS))
    assert sorted(seen.read_rows) == list(range(STAYS))
    np.testing.assert_allclose(reading.weights, exact.weights, rtol=1e-4, atol=1e-12)
    np.testing.assert_array_equal(reading.shares, reading.weights)
    np.testing.assert_allclose(reading.context_vector, exact.context_vector, atol=1e-5)
    assert reading.opened_share == pytest.approx(1)
    assert reading.effective_stays == pytest.approx(exact.effective_stays, rel=1e-4)
    assert reading.log_mass == pytest.approx(exact.log_mass, abs=1e-5)
    assert reading.storing_error == pytest.approx(exact.storing_error, rel=1e-3)
    assert reading.reading_error <= 1e-3  # rounding


@pytest.mark.parametrize("inverse_temperature", [5.0, 20.0])
def test_what_is_read_is_told_as_it_is(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float
) -> None:
    seen = replace(view, found=np.arange(1000, 1100), read_rows=[])
    query = _query(np.random.default_rng(7), inverse_temperature, centres[11])

    reading, exact = _read(query, seen, 0), attend(query, seen, EXACT, 0)

    assert reading.touched == len(seen.read_rows) + len(seen.strata.means) + HandMade.COMPARED
    assert OPENED / 2 < len(reading.rows) < 1.5 * OPENED
    assert (np.diff(reading.rows) >= 0).all()
    assert set(seen.loose.tolist()) | set(seen.found.tolist()) <= set(reading.rows.tolist())
    # Each weighs what it weighs; only the mass of the whole is an estimate.
    off = np.exp(exact.log_mass - reading.log_mass)
    np.testing.assert_allclose(reading.weights, exact.weights[reading.rows] * off, rtol=1e-3)
    once = np.unique(reading.rows)
    assert reading.opened_share == pytest.approx(float(exact.weights[once].sum()) * off, rel=1e-3)
    assert reading.effective_stays == pytest.approx(exact.effective_stays, rel=0.1)
    # What is read in full stands for itself alone, even if it was drawn too; what was drawn, for others as well.
    always = [*seen.loose, *seen.found]
    np.testing.assert_allclose(
        np.bincount(reading.rows, reading.shares)[always], exact.weights[always] * off, rtol=1e-3, atol=1e-12
    )
    assert (reading.shares >= 0).all()
    assert reading.shares.sum() == pytest.approx(1, abs=0.05)


def test_only_what_counts_is_read_and_weighs(view: HandMade, centres: NDArray[np.float64]) -> None:
    """As where a scope leaves a third of the stays of lists out: all that came after a time, say."""
    chance = np.random.default_rng(8)
    counts = chance.random(STAYS) < 2 / 3
    seen = replace(
        view,
        counts=counts,
        counting_share=float(view.frames[counts].sum() / view.frames.sum()),
        loose=view.loose[counts[view.loose]],
        read_rows=[],
    )
    place = np.cumsum(counts) - 1  # among the rows that count
    held = []
    for number in range(40):
        query = _query(chance, (5.0, 10.0, 20.0, 50.0)[number % 4], centres[number])

        reading, exact = _read(query, seen, number), attend(query, seen, EXACT, 0)

        held.append(_error(reading, exact) <= reading.reading_error)
        assert counts[reading.rows].all()
        off = np.exp(exact.log_mass - reading.log_mass)
        np.testing.assert_allclose(reading.weights, exact.weights[place[reading.rows]] * off, rtol=1e-3)
        once = np.unique(reading.rows)
        assert reading.opened_share == pytest.approx(float(exact.weights[place[once]].sum()) * off, rel=1e-3)
    assert np.mean(held) >= 0.9


def test_on_average_what_does_not_count_adds_nothing(view: HandMade, centres: NDArray[np.float64]) -> None:
    counts = np.random.default_rng(9).random(STAYS) < 2 / 3
    seen = replace(view, counts=counts, counting_share=0.4, loose=view.loose[counts[view.loose]], read_rows=[])
    query = _query(np.random.default_rng(10), 8.0, centres[5])
    exact = attend(query, seen, EXACT, 0)

    masses = np.exp([_read(query, seen, seed).log_mass - exact.log_mass for seed in range(60)])

    assert abs(masses.mean() - 1) <= 3 * masses.std(ddof=1) / np.sqrt(60)


@pytest.mark.parametrize("inverse_temperature", [10.0, 50.0])
@pytest.mark.parametrize("size", ["smallest", "largest"])
def test_a_heavy_stay_in_a_stratum_far_away_is_found_if_it_is_handed_over(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float, size: str
) -> None:
    """A needle: a long stay that is just what is asked for. In a large stratum the summary hides it."""
    query = _query(np.random.default_rng(12), inverse_temperature, centres[13])
    far = np.argsort(view.strata.means @ query)[:30]
    by_size = far[np.argsort(view.strata.stays[far])]
    needle = int(view.strata.members[int(by_size[0 if size == "smallest" else -1])][0])
    means, frames = view.means.copy(), view.frames.copy()
    means[needle] = 0.999 * query / np.linalg.norm(query)
    frames[needle] = 60
    hidden = replace(view, means=means, frames=frames).with_strata_of(view.strata.members)
    found = replace(hidden, found=np.array([needle]))
    exact = attend(query, hidden, EXACT, 0)
    assert exact.weights[needle] > 0.04

    readings = [_read(query, found, seed) for seed in range(20)]

    for reading in readings:
        assert reading.weights[np.searchsorted(reading.rows, needle)] == pytest.approx(exact.weights[needle], rel=0.1)
    assert np.mean([_error(reading, exact) <= reading.reading_error for reading in readings]) >= 0.9
    if size == "largest":
        missed = [needle not in _read(query, hidden, seed).rows for seed in range(20)]
        assert any(missed), "expected a needle that has to be handed over"


def test_where_more_stays_are_loose_than_are_to_be_opened_some_are_drawn_nevertheless(
    view: HandMade, centres: NDArray[np.float64]
) -> None:
    """As where hundreds of streams have open blocks."""
    loose = np.arange(0, STAYS, 7)
    members = [np.setdiff1d(group, loose) for group in view.strata.members]
    seen = replace(view, loose=loose).with_strata_of([group for group in members if len(group)])
    assert len(loose) > OPENED
    query = _query(np.random.default_rng(13), 8.0, centres[23])
    exact = attend(query, seen, EXACT, 0)

    readings = [_read(query, seen, seed) for seed in range(60)]

    assert np.mean([_error(reading, exact) <= reading.reading_error for reading in readings]) >= 0.9
    assert np.median([reading.reading_error for reading in readings]) <= 0.1
    assert np.mean([np.exp(reading.log_mass - exact.log_mass) for reading in readings]) == pytest.approx(1, abs=0.03)


def test_stays_of_which_none_is_in_a_stratum_are_all_read(view: HandMade) -> None:
    """As where many streams have open blocks only."""
    loose = replace(view.with_strata_of([]), loose=np.arange(STAYS))
    query = _query(np.random.default_rng(14), 10.0, np.zeros(WIDTH))

    reading, exact = _read(query, loose, 0), attend(query, loose, EXACT, 0)

    np.testing.assert_allclose(reading.context_vector, exact.context_vector, atol=1e-6)
    np.testing.assert_array_equal(reading.rows, np.arange(STAYS))


def test_strata_of_one_stay_and_frames_that_are_all_alike_are_no_fault(view: HandMade) -> None:
    one = _unit(np.random.default_rng(15), 1)
    alike = replace(view, means=np.repeat(one, STAYS, 0).astype(np.float32))
    alone = [np.array([row]) for row in range(500, 1500)]
    seen = replace(alike, loose=np.arange(500)).with_strata_of([*alone, np.arange(1500, STAYS)])
    for inverse_temperature in (0.0, 50.0):
        query = _query(np.random.default_rng(16), inverse_temperature, one[0])

        reading = _read(query, seen, 0)

        np.testing.assert_allclose(reading.context_vector, one[0], atol=1e-3)
        assert reading.log_mass == pytest.approx(attend(query, seen, EXACT, 0).log_mass, abs=1e-3)


@pytest.mark.parametrize("inverse_temperature", [300.0, 10_000.0])
def test_large_inverse_temperatures_find_the_heaviest_without_overflow(
    view: HandMade, centres: NDArray[np.float64], inverse_temperature: float
) -> None:
    chance = np.random.default_rng(17)
    held = []
    for number in range(20):
        query = _query(chance, inverse_temperature, centres[number])

        reading, exact = _read(query, view, number), attend(query, view, EXACT, 0)

        held.append(_error(reading, exact) <= reading.reading_error)
    assert np.mean(held) >= 0.9


def test_the_same_seed_gives_the_same_answer_and_another_another(view: HandMade, centres: NDArray[np.float64]) -> None:
    query, effort = _query(np.random.default_rng(18), 10.0, centres[17]), Effort(stays=OPENED)

    first, again, other = (attend(query, view, effort, seed) for seed in (0, 0, 1))

    for name in Reading.__dataclass_fields__:
        np.testing.assert_array_equal(getattr(first, name), getattr(again, name), strict=True)
    assert first.context_vector.tobytes() != other.context_vector.tobytes()


@pytest.mark.parametrize("target", [0.1, 0.01, 0.003, 1e-6])
def test_more_is_read_until_the_stated_error_is_as_small_as_asked_for(
    view: HandMade, centres: NDArray[np.float64], target: float
) -> None:
    query = _query(np.random.default_rng(19), 8.0, centres[19])
    exact = attend(query, view, EXACT, 0)
    seen = replace(view, read_rows=[])

    reading = attend(query, seen, Effort(stays=1000, reading_error=target), 0)

    assert reading.reading_error <= target
    assert _error(reading, exact) <= max(2 * target, 1e-6)
    # Not more than needed: with a quarter of the stays it was not enough.
    tries = [stays for stays in (1000, 4000, 16_000) if _read(query, view, 0, stays).reading_error <= target]
    if tries and 2 * tries[0] < STAYS:
        assert reading.context_vector.tobytes() == _read(query, view, 0, tries[0]).context_vector.tobytes()
    else:
        np.testing.assert_array_equal(reading.context_vector, exact.context_vector)
        assert (reading.reading_error, len(seen.read_rows) < STAYS) == (0, True)


def test_exact_opens_everything(view: HandMade, centres: NDArray[np.float64]) -> None:
    query = _query(np.random.default_rng(20), 8.0, centres[21])

    reading = attend(query, view, Effort(stays=1000, exact=True), 0)

    assert (reading.reading_error, reading.opened_share, len(reading.rows)) == (0, 1, STAYS)
