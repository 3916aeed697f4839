"""How a threshold is moved so that a stream keeps what its budget says. Pure: novelty is drawn from a power law."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import count

import numpy as np
import pytest

from memory_store.budget import DAY_US, BudgetState, Condition, Control
from memory_store.keeping import Budget

FRAME_US = 100_000
DAY_FRAMES = DAY_US // FRAME_US


@dataclass
class Played:
    """A stream whose frames are kept with a chance that goes with the threshold to the power of minus two."""

    control: Control
    threshold: float = 0.1
    bytes_each: float = 10_000.0
    kept: list[bool] = field(default_factory=list)
    thresholds: list[float] = field(default_factory=list)
    """That decided on each frame."""
    times: Iterator[int] = field(default_factory=lambda: count(0, FRAME_US))
    chance: np.random.Generator = field(default_factory=lambda: np.random.default_rng(4))

    def play(self, frames: int, keeps_at_a_tenth: float) -> float:
        """Show more, and give the share of it that was kept."""
        for _ in range(frames):
            self.show(kept=bool(self.chance.random() < keeps_at_a_tenth * (0.1 / self.threshold) ** 2))
        return float(np.mean(self.kept[-frames:]))

    def show(self, *, kept: bool, capture_us: int | None = None) -> None:
        self.kept.append(kept)
        self.thresholds.append(self.threshold)
        self.control, self.threshold = self.control.after(
            kept=kept,
            capture_us=next(self.times) if capture_us is None else capture_us,
            bytes_each=self.bytes_each,
            threshold=self.threshold,
        )

    @property
    def state(self) -> BudgetState:
        return self.control.state(self.threshold)


def of_share(share: float, **limits: float) -> Played:
    return Played(Control(Budget(share=share, **limits)))


TARGETS: dict[str, Callable[[], Played]] = {
    "share": lambda: of_share(0.02),
    "exemplars a day": lambda: Played(Control(Budget(exemplars_per_day=0.02 * DAY_FRAMES))),
    "bytes a day": lambda: Played(Control(Budget(bytes_per_day=0.02 * DAY_FRAMES * 10_000.0))),
}


@pytest.mark.parametrize("target", TARGETS)
@pytest.mark.parametrize("keeps_at_a_tenth", [0.3, 0.02, 0.002])
def test_what_is_kept_comes_to_the_target_and_stays_there(target: str, keeps_at_a_tenth: float) -> None:
    played = TARGETS[target]()
    played.play(5_000, keeps_at_a_tenth)

    for _ in range(4):
        assert played.play(5_000, keeps_at_a_tenth) == pytest.approx(0.02, rel=0.2)  # 100 exemplars
        assert played.state.condition is Condition.HOLDING
    expected = 0.1 * (keeps_at_a_tenth / 0.02) ** 0.5
    assert np.median(played.thresholds[-5_000:]) == pytest.approx(expected, rel=0.2)


@pytest.mark.parametrize("target", TARGETS)
def test_a_change_of_what_is_shown_is_followed(target: str) -> None:
    played = TARGETS[target]()
    played.play(8_000, 0.02)

    for keeps_at_a_tenth in (0.4, 0.005, 0.1):
        played.play(2_000, keeps_at_a_tenth)
        assert played.play(6_000, keeps_at_a_tenth) == pytest.approx(0.02, rel=0.2)


def test_exemplars_that_grow_are_fewer_under_a_target_of_bytes() -> None:
    played = TARGETS["bytes a day"]()
    played.play(8_000, 0.1)
    played.bytes_each = 40_000.0
    played.play(4_000, 0.1)

    assert played.play(20_000, 0.1) == pytest.approx(0.005, rel=0.2)


def test_a_threshold_does_not_move_while_what_is_kept_is_within_the_band() -> None:
    played = of_share(0.02)

    for number in range(20_000):
        played.show(kept=number % 50 == 49)

    assert set(played.thresholds) == {0.1}
    assert played.state.condition is Condition.HOLDING
    assert played.state.kept_of_target == pytest.approx(1, abs=0.02)


@pytest.mark.parametrize("keeps_at_a_tenth", [1.0, 1e-5])
def test_a_threshold_moves_by_a_factor_of_two_at_most_and_not_beyond_its_limits(keeps_at_a_tenth: float) -> None:
    played = of_share(0.02, min_threshold=0.07, max_threshold=0.2)
    played.play(20_000, keeps_at_a_tenth)

    thresholds = np.array([*played.thresholds, played.threshold])
    assert (thresholds.min(), thresholds.max()) == ((0.1, 0.2) if keeps_at_a_tenth == 1 else (0.07, 0.1))
    assert np.abs(np.diff(np.log(thresholds))).max() <= 0.7 + 1e-9
    share = played.state.kept_of_target
    assert played.state.condition is Condition.AT_LIMIT
    assert share is not None
    assert share > 10 if keeps_at_a_tenth == 1 else share < 0.2


def test_a_threshold_beyond_the_limits_is_brought_within_them_with_the_first_frame() -> None:
    for threshold, expected in ((0.01, 0.07), (0.5, 0.2), (0.15, 0.15)):
        played = Played(Control(Budget(share=0.02, min_threshold=0.07, max_threshold=0.2)), threshold)
        played.show(kept=True)
        assert played.threshold == expected


def test_a_rush_is_answered_before_a_window_is_full() -> None:
    played = of_share(0.001)  # a window is 8,000 frames
    for _ in range(12):
        played.show(kept=True)

    assert played.thresholds[:3] == [0.1] * 3
    assert played.threshold > 0.3


def test_what_a_rush_has_cost_is_not_taken_from_what_comes_after_it() -> None:
    played = of_share(0.02)
    played.play(10_000, 0.02)
    for _ in range(400):  # as a strobe light would: novel at any threshold; 20,000 frames' worth
        played.show(kept=True)
    assert played.control.surplus == 16
    assert played.state.condition in {Condition.DRIFTING, Condition.AT_LIMIT}
    played.play(3_000, 0.02)

    assert played.play(5_000, 0.02) == pytest.approx(0.02, rel=0.25)
    assert abs(played.control.surplus) <= 16


def test_nothing_is_held_back_for_after_a_time_in_which_there_was_nothing_to_keep() -> None:
    played = of_share(0.02, min_threshold=0.05)
    played.play(50_000, 0.0)
    assert (played.threshold, played.state.condition) == (0.05, Condition.AT_LIMIT)
    played.play(3_000, 0.02)

    assert played.play(5_000, 0.02) == pytest.approx(0.02, rel=0.25)


def test_little_is_said_until_enough_was_to_be_kept() -> None:
    played = of_share(0.02)
    assert played.state == BudgetState(Condition.STARTING, None)
    for _ in range(900):
        played.show(kept=False)
    assert played.state == BudgetState(Condition.STARTING, None)
    for _ in range(300):
        played.show(kept=False)

    assert (played.state.condition, played.state.kept_of_target) == (Condition.DRIFTING, 0.0)


def test_stretches_without_a_frame_do_not_count_towards_a_target_by_time() -> None:
    played = Played(Control(Budget(exemplars_per_day=24 * 60)))  # one a minute
    for hour in range(100):
        for second in range(31):
            played.show(kept=False, capture_us=(3600 * hour + second) * 1_000_000)

    wanted = 50 / 100  # half a minute an hour, of late_wanted's 100
    assert played.control.late_wanted == pytest.approx(100 * (1 - np.exp(-wanted)), rel=0.01)
    for second in range(3):  # a frame a minute counts in full, a frame in 61 seconds not at all
        played.show(kept=False, capture_us=10**12 + second * 60_000_000)
    assert played.control.late_wanted > 40
    before = played.control.late_wanted
    for second in range(3):
        played.show(kept=False, capture_us=10**13 + second * 61_000_000)
    assert played.control.late_wanted == before


def test_a_moment_that_two_sessions_show_counts_once() -> None:
    played = Played(Control(Budget(exemplars_per_day=DAY_US / 1_000_000)))  # one a second
    for number in range(1000):
        played.show(kept=False, capture_us=number * FRAME_US)
        played.show(kept=False, capture_us=number * FRAME_US - 10_000_000)  # its clock is ten seconds late

    assert played.control.late_wanted == pytest.approx(100 * (1 - np.exp(-1)), rel=0.01)


def test_live_and_old_footage_in_turn_count_both() -> None:
    played = Played(Control(Budget(exemplars_per_day=DAY_US / 1_000_000)))
    for number in range(500):
        played.show(kept=number % 10 == 0, capture_us=10**12 + number * FRAME_US)
        played.show(kept=number % 10 == 5, capture_us=number * FRAME_US)

    assert played.control.late_wanted == pytest.approx(100 * (1 - np.exp(-1)), rel=0.02)
    assert set(played.thresholds) == {0.1}


def test_frames_without_time_between_them_are_no_reason_to_keep_any() -> None:
    played = Played(Control(Budget(bytes_per_day=1e12)))
    for _ in range(100):
        played.show(kept=False, capture_us=5)

    assert (played.threshold, played.control.late_wanted) == (0.1, 0.0)
    assert played.state == BudgetState(Condition.STARTING, None)


@pytest.mark.parametrize("target", [5e-324, 1e-12, 1e12, 1e308])
def test_targets_that_mean_nothing_or_everything_end_at_a_limit(target: float) -> None:
    played = Played(Control(Budget(bytes_per_day=target)))
    played.play(2_000, 0.1 if target > 1 else 5.0)

    assert played.threshold == (0.005 if target > 1 else 1.0)
