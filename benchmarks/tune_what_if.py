"""What curves tell would be kept, against what is kept. Part of `benchmarks.tune`.

A memory at one threshold is shown footage and asked for a curve; then one memory after the other is shown the same
at each threshold of the curve. Beside it, what is at hand without curves: counting, at thresholds above that of the
memory, the frames whose novelty on record is above them; and running the gate on the latest frames alone, as many as
are held, and scaling that up.
"""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmarks.figures import Figures
from benchmarks.footage import Footage
from benchmarks.growth import Vectors
from benchmarks.tune_memory import new_memory, show
from memory_store.records import Novel
from memory_store.scope import Scope
from memory_store.seen_frames import SeenFrame, frames_from
from memory_store.virtual_gates import VirtualGates

THRESHOLDS = (0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4)

LIVE_THRESHOLD = 0.1
"""Of the memory that is asked; curves do not depend on it."""

TIMES_LONGER = 10
"""Than what is held, the streams that do not fit."""

_FITTING = 10_000
"""Frames of a game that are shown where all of them are held."""

_HELD = 10_240
"""Held by default."""

_BATCH = 128


def what_if_figures(videos: Sequence[Footage], games: Sequence[Footage]) -> Iterator[Figures]:
    """Ask for curves and check them: a row for each footage and threshold."""
    for footage in videos:
        yield from _checked(footage.name, "fits", footage.frames, _HELD)
    for footage in games:
        yield from _checked(footage.name, "fits", footage.frames[:_FITTING], _HELD)
        yield from _checked(footage.name, "10 times", footage.frames, len(footage.frames) // TIMES_LONGER)


def _checked(name: str, case: str, frames: Vectors, held: int) -> Iterator[Figures]:
    with new_memory(frames.shape[1], LIVE_THRESHOLD, held=max(1024, held)) as memory:
        show(memory, frames)
        curve = memory.curve(THRESHOLDS, Scope(), 0)
        counted = _novelties_on_record(memory.reading.verdicts(1, 0, len(frames) - 1))
    assert curve.missing == 0, f"expected every frame in the curve, {curve.missing} are missing"
    latest = _of_the_latest(frames, held)
    for place, outcome in enumerate(curve.outcomes):
        threshold = outcome.threshold
        with new_memory(frames.shape[1], threshold) as memory:
            kept = int(show(memory, frames).sum())
        off = abs(outcome.exemplars - kept)
        allowed = 1 if case == "fits" else 0
        yield {
            "footage": name,
            "case": case,
            "frames": len(frames),
            "held": curve.held,
            "threshold": threshold,
            "kept": kept,
            "told": round(outcome.exemplars, 1),
            "stated_error": round(outcome.error, 4),
            "error": 0.0 if off <= allowed else round(off / kept, 4),
            "on_record": None if threshold < LIVE_THRESHOLD else int((counted > threshold).sum()),
            "latest_scaled": round(latest[place], 1),
        }


def _novelties_on_record(verdicts: Sequence[object]) -> np.ndarray:
    """Give the novelty of the frames that were kept; the first had none."""
    outcomes = [getattr(verdict, "outcome", None) for verdict in verdicts]
    novel = [outcome for outcome in outcomes if isinstance(outcome, Novel)]
    return np.array([np.inf if outcome.novelty is None else outcome.novelty for outcome in novel])


def _of_the_latest(frames: Vectors, held: int) -> list[float]:
    """Run gates on the latest frames alone, and scale what they keep to all of them."""
    latest = frames[-held:]
    gates = VirtualGates(frames.shape[1], THRESHOLDS, None)
    kept = np.zeros(len(THRESHOLDS))
    for begin in range(0, len(latest), _BATCH):
        seen = [
            SeenFrame(1, 0, frame, own_stream_only=False, horizon_us=None) for frame in latest[begin : begin + _BATCH]
        ]
        kept += gates.gate(frames_from(seen, frames.shape[1])).kept.sum(axis=0)
    return [float(count) * len(frames) / len(latest) for count in kept]
