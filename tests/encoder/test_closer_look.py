"""Looks at frames inside of stays, against one softmax over all frames written out in float64."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from encoder import closer_look
from encoder.closer_look import looked_closer
from encoder.estimate import NEGLIGIBLE, Beyond, Estimate, LookedInto
from encoder.hierarchical_attention import attend, attend_by_heads
from encoder.learned_attention import HierarchicalAttention
from encoder.memory_view import Numbers, Strata, Vector
from encoder.reading import Effort, Reading
from encoder.stay_masses import stay_masses
from inside import HandMadeInside

WIDTH = 48
ALL = Effort(exact=True)

some = settings(max_examples=40, deadline=None, derandomize=True)


@dataclass(frozen=True, slots=True)
class Shown:
    """A `MemoryView` of stays whose frames are all known, and of which all or some are on record."""

    stays: Sequence[Vector]
    """Frames of each."""
    on_record: Callable[[int], HandMadeInside]
    """Of one stay."""
    looks: list[int] = field(default_factory=list)
    """Stays that were looked into, in the order of looking."""

    @property
    def stay_count(self) -> int:
        return len(self.stays)

    @property
    def strata(self) -> Strata:
        raise AssertionError("expected all stays to be read")

    loose = np.empty(0, np.int64)
    counting_share = 1.0
    finds_needles = False

    def counting(self, rows: Numbers) -> NDArray[np.bool_]:
        raise AssertionError(f"expected all stays to be read, got {rows}")

    def needles(self, query: Vector, stays: int) -> tuple[Numbers, int]:
        raise AssertionError(f"expected all stays to be read, got {query}, {stays}")

    def read(self, rows: Numbers) -> tuple[Vector, Numbers]:
        raise AssertionError(f"expected all stays to be read, got {rows}")

    def inside(self, rows: Numbers) -> HandMadeInside:
        assert (np.diff(rows) > 0).all(), "expected ascending rows"
        self.looks.extend(rows.tolist())
        parts = [self.on_record(row) for row in rows.tolist()]
        return HandMadeInside(
            np.concatenate([part.vectors for part in parts]),
            np.repeat(np.arange(len(parts)), [len(part.of) for part in parts]),
            np.concatenate([part.frames for part in parts]),
            np.concatenate([part.off for part in parts]),
        )

    def whole(self) -> Iterator[tuple[Numbers, Vector, Numbers]]:
        means = np.array([stay.mean(0) for stay in self.stays], np.float32)
        yield np.arange(len(means)), means, np.array([len(stay) for stay in self.stays])


def _all_on_record(stays: Sequence[Vector]) -> Shown:
    return Shown(stays, lambda row: HandMadeInside.of_stays([stays[row]]))


def _unit(vectors: NDArray[np.float64]) -> Vector:
    unit: Vector = (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)
    return unit


def _stays(seed: int, number: int = 60, most: int = 40, width: float = 0.4) -> list[Vector]:
    """Scenes that come back, each time with frames around it."""
    chance = np.random.default_rng(seed)
    scenes = _unit(chance.normal(size=(12, WIDTH)))
    directions = chance.normal(size=(12, 32, WIDTH)) / np.sqrt(WIDTH)
    stays = []
    for _ in range(number):
        scene, frames = int(chance.integers(12)), int(chance.integers(1, most + 1))
        around = chance.normal(size=(frames, 32)) @ directions[scene] / np.sqrt(32)
        stays.append(_unit(scenes[scene] + width * around))
    return stays


def _query(stays: Sequence[Vector], seed: int, inverse_temperature: float, unlike: float = 0.03) -> Vector:
    """Ask for something more or less unlike one of the frames."""
    chance = np.random.default_rng([seed, 7])
    stay = stays[int(chance.integers(len(stays)))]
    query: Vector = _unit(stay[int(chance.integers(len(stay)))] + unlike * chance.normal(size=WIDTH))
    return query * np.float32(inverse_temperature)


def _plainly(query: Vector, frames: Vector) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
    """Context vector, weights of frames and log mass, by one softmax."""
    logs = frames.astype(np.float64) @ query.astype(np.float64)
    masses = np.exp(logs - logs.max())
    return masses @ frames / masses.sum(), masses / masses.sum(), float(logs.max() + np.log(masses.sum()))


def _off(reading: Reading, truth: NDArray[np.float64]) -> float:
    return float(np.linalg.norm(reading.context_vector - truth) / np.linalg.norm(truth))


@some
@given(seed=st.integers(0, 10_000), inverse_temperature=st.sampled_from([1.0, 10.0, 50.0, 200.0, 1000.0]))
def test_with_all_opened_the_answer_is_one_softmax_over_all_frames(seed: int, inverse_temperature: float) -> None:
    stays = _stays(seed)
    query = _query(stays, seed, inverse_temperature)
    truth, weights, log_mass = _plainly(query, np.concatenate(stays))

    reading = attend(query, _all_on_record(stays), ALL, 0)

    assert _off(reading, truth) <= 1.5 * NEGLIGIBLE
    assert reading.storing_error <= 1.5 * NEGLIGIBLE
    assert (reading.reading_error, reading.opened_share) == (0, 1)
    assert reading.log_mass == pytest.approx(log_mass, abs=0.01)
    edges = np.cumsum([0, *map(len, stays)])[:-1]
    np.testing.assert_allclose(reading.weights, np.add.reduceat(weights, edges), atol=0.005)
    entropy = -float((reading.weights * np.log(np.maximum(reading.weights, 1e-300))).sum())
    assert reading.effective_stays == pytest.approx(np.exp(entropy), rel=1e-6)


def test_looks_take_the_error_of_means_away_and_the_stated_one_holds() -> None:
    held = []
    for inverse_temperature in (20.0, 100.0, 400.0):
        by_means, by_looks, stated = [], [], []
        for seed in range(60):
            stays = _stays(seed, number=400)
            query = _query(stays, seed, inverse_temperature, unlike=0.1)
            truth, _, _ = _plainly(query, np.concatenate(stays))

            means = attend(query, _all_on_record(stays), Effort(frames=0), 0)
            some_frames = attend(query, _all_on_record(stays), Effort(frames=400), 0)

            by_means.append(_off(means, truth))
            by_looks.append(_off(some_frames, truth))
            stated.append(some_frames.storing_error)
        held += [true <= said for true, said in zip(by_looks, stated, strict=True)]
        assert np.median(by_looks) < 0.7 * np.median(by_means)
        assert np.median(stated) <= 20 * np.median(by_looks)
    assert np.mean(held) >= 0.9


def test_no_more_frames_are_looked_at_than_asked_for() -> None:
    stays = _stays(3, number=200)
    query = _query(stays, 3, 100.0)

    for frames in (0, 1, 50, 700):
        view = _all_on_record(stays)
        reading = attend(query, view, Effort(frames=frames), 0)

        looked_at = sum(len(stays[row]) for row in view.looks)
        assert len(set(view.looks)) == len(view.looks), "a stay was looked into twice"
        assert looked_at <= frames
        assert reading.touched == len(stays) + looked_at
    assert looked_at > 400


def test_what_is_not_worth_a_look_gets_none() -> None:
    alike = [_unit(stay[:1] + 0.0001 * np.random.default_rng(1).normal(size=(20, WIDTH))) for stay in _stays(4)]
    singles = [stay[:1] for stay in _stays(5)]

    for stays in (alike, singles):
        view = _all_on_record(stays)
        attend(_query(stays, 5, 5.0), view, ALL, 0)

        assert view.looks == []


def test_one_frame_on_record_stands_for_its_copies() -> None:
    chance = np.random.default_rng(6)
    apart = [_unit(chance.normal(size=(3, WIDTH)) + 6 * _unit(chance.normal(size=WIDTH))) for _ in range(40)]
    copies = [np.repeat(stay, [1, 5, 9], axis=0) for stay in apart]
    query = _query(copies, 6, 60.0)
    truth, _, log_mass = _plainly(query, np.concatenate(copies))
    view = Shown(copies, lambda row: HandMadeInside.of_stays([apart[row]], np.array([1, 5, 9])))

    reading = attend(query, view, ALL, 0)

    assert _off(reading, truth) <= NEGLIGIBLE
    assert reading.log_mass == pytest.approx(log_mass, abs=0.01)


def test_where_most_of_a_stay_is_known_that_stands_for_the_rest_of_it() -> None:
    stays = [np.concatenate([stay, stay[:1]]) for stay in _stays(7, most=60) if len(stay) >= 10]
    query = _query(stays, 7, 60.0)
    known = [stay[:-1] for stay in stays]
    truth, _, log_mass = _plainly(query, np.concatenate(stays))

    reading = attend(query, Shown(stays, lambda row: HandMadeInside.of_stays([known[row]])), ALL, 0)

    assert _off(reading, truth) <= 0.03
    assert reading.log_mass == pytest.approx(log_mass, abs=0.1)


def test_a_stay_of_which_nothing_is_on_record_stands_by_its_mean() -> None:
    stays = _stays(8)
    query = _query(stays, 8, 60.0)
    by_means = attend(query, _all_on_record(stays), Effort(frames=0), 0)
    nothing = Shown(stays, lambda _: HandMadeInside.nothing(WIDTH))

    reading = attend(query, nothing, ALL, 0)

    assert len(nothing.looks) == len(set(nothing.looks)) > 0
    np.testing.assert_array_equal(reading.context_vector, by_means.context_vector)
    assert reading.storing_error == by_means.storing_error

    unknown = {int(np.argmax(by_means.weights))}
    half = Shown(stays, lambda row: HandMadeInside.of_stays([stays[row][:0] if row in unknown else stays[row]]))
    reading = attend(query, half, ALL, 0)

    assert reading.storing_error > 10 * NEGLIGIBLE


def test_what_frames_on_record_are_off_by_is_stated() -> None:
    held, times = [], []
    for seed in range(60):
        stays = _stays(seed, number=40)
        chance = np.random.default_rng([seed, 3])
        rounded = [(stay + 0.02 / np.sqrt(WIDTH) * chance.normal(size=stay.shape)).astype(np.float32) for stay in stays]
        query = _query(stays, seed, 150.0)
        truth, _, _ = _plainly(query, np.concatenate(stays))
        parts = [HandMadeInside.of_stays([stay]) for stay in rounded]
        off = [HandMadeInside(p.vectors, p.of, p.frames, np.full(len(p.of), 0.02**2, np.float32)) for p in parts]

        reading = attend(query, Shown(stays, off.__getitem__), ALL, 0)

        true = _off(reading, truth)
        held.append(true <= reading.storing_error)
        times.append(reading.storing_error / max(true, 1e-9))
    assert np.mean(held) >= 0.9
    assert np.median(times) <= 4


def _estimate(stays: Sequence[Vector], query: Vector, stands_for: NDArray[np.float64], beyond: Beyond) -> Estimate:
    means = np.array([stay.mean(0) for stay in stays], np.float32)
    masses = stay_masses(query, means, np.array([len(stay) for stay in stays]))
    return Estimate(
        query=query,
        rows=np.arange(len(stays)),
        means=(means,),
        masses=masses,
        logs=masses.logs,
        stands_for=stands_for,
        beyond=beyond,
        looked=LookedInto.none(WIDTH),
        touched=len(stays),
        is_whole=False,
    )


def test_what_was_drawn_is_not_looked_into_and_weighs_what_it_weighed() -> None:
    stays = _stays(9)
    drawn = np.arange(len(stays)) % 2 == 1
    view = _all_on_record(stays)
    query = _query(stays, 9, 80.0)
    before = _estimate(stays, query, np.where(drawn, 3.0, 1.0), Beyond.nothing(WIDTH))

    looked = looked_closer(view, before, None)

    assert view.looks
    assert not any(drawn[row] for row in view.looks)
    np.testing.assert_array_equal(looked.logs[drawn], before.logs[drawn])
    np.testing.assert_allclose(looked.shares[drawn], 3 * looked.weights[drawn])
    assert looked.shares.sum() == pytest.approx(1)


@pytest.mark.parametrize("mass", [0.3, 1e-30, -0.3, 1e30])
@pytest.mark.parametrize("inverse_temperature", [10.0, 50.0])
def test_what_was_not_opened_weighs_what_it_weighed_whatever_looks_find(
    mass: float, inverse_temperature: float
) -> None:
    """As if the rest were one more frame, of a known mass, or of one that is to be taken away again."""
    stays = _stays(10)
    query = _query(stays, 10, inverse_temperature)
    [rest] = _unit(np.random.default_rng(4).normal(size=(1, WIDTH)))
    frames = np.concatenate(stays).astype(np.float64)
    logs = frames @ query.astype(np.float64)
    unit = float(logs.max())
    masses = np.exp(logs - unit)
    total = masses.sum() + mass
    truth = (masses @ frames + mass * rest) / total
    beyond = Beyond(unit, mass, mass * rest.astype(np.float64), mass * (np.log(abs(mass)) + unit), 0.02)

    looked = looked_closer(_all_on_record(stays), _estimate(stays, query, np.ones(len(stays)), beyond), None)

    assert np.linalg.norm(looked.context() - truth) <= 1.5 * NEGLIGIBLE * np.linalg.norm(truth)
    assert looked.log_mass == pytest.approx(unit + np.log(total), abs=0.01)
    assert looked.shares.sum() + looked.unit * mass == pytest.approx(1)
    assert looked.reading_error() == pytest.approx(0.02 / total / np.linalg.norm(truth), rel=0.02)


def test_where_what_is_to_be_taken_away_is_more_than_there_is_the_error_of_reading_is_all() -> None:
    stays = _stays(10)
    query = _query(stays, 10, 50.0)
    beyond = Beyond(0.0, -1.0, np.ones(WIDTH), 0.0, 0.1)
    below = _estimate(stays, query * np.float32(1e-3), np.ones(len(stays)), replace(beyond, log_unit=100.0))

    reading = looked_closer(_all_on_record(stays), below, None).told()

    assert reading.reading_error == 1
    assert np.isfinite(reading.context_vector).all()


@pytest.mark.parametrize("inverse_temperature", [2000.0, 10_000.0])
@pytest.mark.parametrize("degrees", [0.0, 25.0, 60.0, 150.0])
def test_a_look_may_find_a_stay_lighter_or_heavier_by_any_factor(inverse_temperature: float, degrees: float) -> None:
    """Stays that seem to scatter and do not, and one that is asked for and is far from its mean."""
    chance = np.random.default_rng(13)
    axes = np.linalg.qr(chance.normal(size=(WIDTH, 4)))[0].T
    angle = np.deg2rad(degrees)
    away = np.cos(angle) * axes[0] + np.sin(angle) * axes[1]
    still = np.repeat([away, axes[2]], [1, 60], axis=0)
    spread = axes[3] + 0.5 * chance.normal(size=(50, WIDTH)) / np.sqrt(WIDTH)
    stays = [_unit(still), _unit(spread), _unit(np.repeat([away], 49, axis=0)), _unit(axes[:1])]
    query = (inverse_temperature * axes[0]).astype(np.float32)
    truth, _, log_mass = _plainly(query, np.concatenate(stays))

    reading = attend(query, _all_on_record(stays), ALL, 0)

    assert _off(reading, truth) <= 1.5 * NEGLIGIBLE
    assert reading.log_mass == pytest.approx(log_mass, rel=1e-3, abs=0.1)


def test_a_stay_of_which_little_is_known_stands_by_its_mean() -> None:
    """One frame of a thousand, a long way off, would be taken for all of them."""
    chance = np.random.default_rng(14)
    scene = _unit(chance.normal(size=WIDTH))
    stay = _unit(scene + 0.3 * chance.normal(size=(1000, WIDTH)) / np.sqrt(WIDTH))
    odd = _unit(scene + 0.6 * chance.normal(size=(1, WIDTH)) / np.sqrt(WIDTH))
    stays = [np.concatenate([stay[:-1], odd]), *_stays(14)]
    query = (20 * scene).astype(np.float32)
    view = Shown(stays, lambda row: HandMadeInside.of_stays([odd if row == 0 else stays[row]]))
    truth, _, _ = _plainly(query, np.concatenate(stays))

    reading = attend(query, view, ALL, 0)

    assert 0 in view.looks
    assert _off(reading, truth) <= reading.storing_error
    assert _off(reading, truth) < 0.02


def test_heads_share_the_frames_that_are_looked_at() -> None:
    stays = _stays(11, number=200)
    heads = HierarchicalAttention(WIDTH, 4, inverse_temperature=100.0, seed=1)
    view = _all_on_record(stays)

    reading = attend_by_heads(heads, _query(stays, 11, 1.0), view, Effort(frames=800), 0)

    looked_at = sum(len(stays[row]) for row in view.looks)
    assert 400 < looked_at <= 800
    assert reading.touched == 4 * len(stays) + looked_at


def test_a_stay_of_very_many_frames_is_left_alone_and_keeps_no_look_going(monkeypatch: pytest.MonkeyPatch) -> None:
    chance = np.random.default_rng(12)
    scene = _unit(chance.normal(size=WIDTH))
    large = _unit(scene + 0.4 * chance.normal(size=(100, WIDTH)) / np.sqrt(WIDTH))
    others = [stay for stay in _stays(12) if float((stay @ scene).max()) < 0.5]
    query = (100 * scene).astype(np.float32)
    for effort in (ALL, Effort(frames=50)):
        monkeypatch.setattr(closer_look, "_LARGEST_STAY", 99)
        view = _all_on_record([large, *others])

        reading = attend(query, view, effort, 0)

        assert view.looks == []
        assert reading.storing_error > 10 * NEGLIGIBLE
