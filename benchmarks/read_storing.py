"""What storing costs: answers against softmax over every frame shown, with all opened and as asked by default.

Part of `benchmarks.read`. Errors are L2 distances of context vectors as a share of the exact one's length; beside them
stands that of the blind answer, the mean of all frames whatever the query.

Shapes: Q queries, T frames, D width.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from benchmarks.figures import Figures
from benchmarks.footage import KINDS
from benchmarks.growth import Vectors
from benchmarks.read_cases import CASES, Case, Floats, inverse_temperatures, percentile
from benchmarks.read_remembered import Remembered
from encoder.hierarchical_attention import attend
from encoder.reading import Effort

LEAST_EXEMPLARS = 50
"""Fewer stand for so little that targets are not held against them."""

TARGETS = {1000: 0.03, 100: 0.10, 10: 0.20}
"""Median error as a share of the blind one's, at most, by effective size."""

_MORE = 2
"""Times as many queries are asked: some have no inverse temperature with the effective size."""

_LEAST_FRAMES = 2
"""Times the effective size that is asked for, at least: nearer to all frames, every answer is the blind one."""

_CHUNK = 50
"""Queries at a time."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """What became of Q queries, each float64 [Q]; not a number where the effective size is not there."""

    inverse_temperatures: Floats
    effective_sizes: Floats
    blind: Floats
    errors: Floats
    """With all opened, frames included."""
    stated: Floats
    ms: Floats
    by_default: Floats
    """With as many frames looked at as if nothing is asked for."""
    by_default_stated: Floats
    by_default_ms: Floats
    by_means: Floats
    """With no frame looked at."""
    by_means_stated: Floats
    by_exemplars: Floats
    """Errors by exemplars alone, without counts."""


def storing_figures(memory: Remembered, queries: int) -> Iterator[Figures]:
    """Ask a memory about its footage: a row for each case, of all kinds of queries together and of each.

    Args:
        memory: the memory.
        queries: of all kinds together, at least, where the footage has them.
    """
    of_each = -(-_MORE * queries // len(KINDS))
    asked = {kind: memory.footage.queries[kind][:of_each] for kind in KINDS}
    kinds = np.repeat(KINDS, [len(of_kind) for of_kind in asked.values()])
    every = np.concatenate(list(asked.values()))
    for case in CASES:
        if _LEAST_FRAMES * (case.effective_size or 0) > len(memory.footage.frames):
            continue
        parts = [_answers(memory, case, every[begin : begin + _CHUNK], begin) for begin in range(0, len(every), _CHUNK)]
        answers = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _Answers.__slots__}
        for kind in ("all", *KINDS):
            chosen = kinds == kind if kind != "all" else np.ones(len(kinds), np.bool_)
            yield _row(memory, case, kind, {name: values[chosen] for name, values in answers.items()})


def _row(memory: Remembered, case: Case, kind: str, answers: dict[str, Floats]) -> Figures:
    there = np.isfinite(answers["errors"])
    found = {name: values[there] for name, values in answers.items()}
    error = percentile(found["errors"], 50)
    return {
        "video": memory.footage.name,
        "kind": kind,
        "frames": len(memory.footage.frames),
        "exemplars": len(memory.exemplars),
        "stays": memory.view.stay_count,
        "bytes_on_record_a_frame": round(memory.on_record_bytes / len(memory.footage.frames)),
        "case": case.name,
        "queries": int(there.sum()),
        "queries_without_such_a_size": int((~there).sum()),
        "inverse_temperature": percentile(found["inverse_temperatures"], 50, 1),
        "effective_size": percentile(found["effective_sizes"], 50, 1),
        "blind_error": percentile(found["blind"], 50),
        "error_median": error,
        "of_blind_median": percentile(found["errors"] / found["blind"], 50),
        "of_blind_p95": percentile(found["errors"] / found["blind"], 95),
        **_stated(found["stated"], found["errors"], "stated"),
        "p50_ms": percentile(found["ms"], 50, 1),
        "default_of_blind_median": percentile(found["by_default"] / found["blind"], 50),
        **_stated(found["by_default_stated"], found["by_default"], "default_stated"),
        "default_p50_ms": percentile(found["by_default_ms"], 50, 1),
        "means_of_blind_median": percentile(found["by_means"] / found["blind"], 50),
        **_stated(found["by_means_stated"], found["by_means"], "means_stated"),
        "exemplars_of_blind_median": percentile(found["by_exemplars"] / found["blind"], 50),
    }


def _stated(stated: Floats, errors: Floats, name: str) -> Figures:
    """Tell how often stated errors hold, and how much larger they are in the median."""
    true = percentile(errors, 50)
    return {
        f"{name}_holds": round(float((stated >= errors).mean()), 4) if len(errors) else None,
        f"{name}_ratio": round((percentile(stated, 50) or 0.0) / true, 2) if true else None,
    }


def _answers(memory: Remembered, case: Case, queries: Vectors, seed: int) -> _Answers:
    frames = memory.footage.frames
    similarities = queries @ frames.T  # [Q, T]
    similarities -= similarities.max(1, keepdims=True)

    def effective_sizes(temperatures: Floats) -> Floats:
        logs = similarities * temperatures[:, None].astype(np.float32)
        weights = np.exp(logs)
        total = weights.sum(1, dtype=np.float64)
        sizes: Floats = total * np.exp(-np.einsum("qt,qt->q", weights, logs) / total)
        return sizes

    found = inverse_temperatures(case, effective_sizes, len(queries))
    usable = np.nan_to_num(found, nan=1.0)
    exact = _softmax(similarities * usable[:, None]) @ frames  # [Q, D]
    lengths = np.linalg.norm(exact, axis=1)

    def errors(contexts: Floats | Vectors) -> Floats:
        away: Floats = np.linalg.norm(contexts - exact, axis=1) / lengths
        return np.where(np.isfinite(found), away, np.nan)

    scaled = (queries * usable[:, None]).astype(np.float32)

    def read(effort: Effort) -> tuple[Floats, Floats, Floats]:
        """Give errors, stated errors of storing, and milliseconds."""
        readings, seconds = [], []
        for place, query in enumerate(scaled):
            begun = time.perf_counter()
            readings.append(attend(query, memory.view, effort, seed + place))
            seconds.append(time.perf_counter() - begun)
        contexts = np.stack([reading.context_vector for reading in readings])
        return errors(contexts), np.array([reading.storing_error for reading in readings]), 1000 * np.array(seconds)

    return _Answers(
        found,
        np.where(np.isfinite(found), effective_sizes(usable), np.nan),
        errors(np.broadcast_to(frames.mean(0), exact.shape)),
        *read(Effort(exact=True)),
        *read(Effort()),
        *read(Effort(frames=0))[:2],
        errors(_softmax(scaled @ memory.exemplars.T) @ memory.exemplars),
    )


def _softmax(logs: Floats | Vectors) -> Floats:
    weights = np.exp(logs.astype(np.float64) - logs.max(1, keepdims=True))
    shares: Floats = weights / weights.sum(1, keepdims=True)
    return shares
