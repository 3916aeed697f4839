"""How attention reads large memories, against the exact read and beside peers. Part of `benchmarks.read`.

Shapes: N stays, Q queries, D width.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.figures import Figures
from benchmarks.growth import Vectors
from benchmarks.read_cases import CASES, Case, Floats, inverse_temperatures, percentile
from benchmarks.read_growth import GrownMemory
from benchmarks.read_peers import PEERS, Question
from benchmarks.read_times import blas_seconds, times_of
from encoder.hierarchical_attention import attend
from encoder.reading import Effort
from encoder.stay_masses import growth_of, variance_along
from memory_store.index import CORES
from memory_store.view import CODES_IN_A_MEAN, View

OURS = "framekeep"

_NEAREST_SHARE = 50
"""To find an inverse temperature, one stay in so many is looked at, those nearest to the query,"""

_REST_SHARE = 20
"""and of the others one in so many."""

_FEW = 20_000
"""Of so few stays, all are."""

_LEAST_WEIGHT = 1e-300


@dataclass(frozen=True, slots=True)
class _Outcome:
    """What became of one query in one case."""

    query: Vectors
    """Times the inverse temperature: float32 [D]."""

    inverse_temperature: float
    """What it was asked at."""

    effective_size: float
    """Of the exact read, in frames."""

    blind: float
    """Error of the mean of all frames."""

    stated: float
    """Error that was stated."""

    touched: int
    """Vectors and summaries that were read, and codes by their bytes."""

    codes: int
    """Codes that were read."""

    errors: dict[str, tuple[float, float]]
    """Of the context vector and of the denominator: ours, and those of peers by name."""


def reading_figures(memory: GrownMemory, queries: Vectors, number: int) -> dict[str, list[Figures]]:
    """Ask a memory, in every case: rows of the tables `reading`, `covered` and `peers`.

    Args:
        memory: the memory, of N stays.
        queries: float32 [Q, D], unit length.
        number: queries of a case; where the exact answers to some of these never have its effective size, others of
            the Q take their places.
    """
    asking = _Asking(memory)
    outcomes: dict[Case, list[_Outcome]] = {case: [] for case in CASES}
    with ThreadPoolExecutor(CORES) as threads:
        for begin in range(0, len(queries), number):
            missing = [case for case, of in outcomes.items() if len(of) < number]
            seeds = range(begin, begin + number)
            for found in threads.map(partial(asking.asked, missing), queries[begin : begin + number], seeds):
                for case, outcome in found.items():
                    outcomes[case].append(outcome)
    blas_s = blas_seconds(memory, queries)
    rows: dict[str, list[Figures]] = {"reading": [], "covered": [], "peers": []}
    for case, more in outcomes.items():
        of = more[:number]
        about: Figures = {
            "n": len(memory.frames),
            "case": case.name,
            "queries": len(of),
            "inverse_temperature": _percentile([outcome.inverse_temperature for outcome in of], 50, 1),
            "effective_size": _percentile([outcome.effective_size for outcome in of], 50, 1),
            "blind_error": _percentile([outcome.blind for outcome in of], 50),
        }
        ours = _errors(of, len(memory.frames), OURS)
        ours["codes_share"] = _percentile([outcome.codes / len(memory.frames) for outcome in of], 50)
        rows["reading"].append(about | ours | times_of(memory, [outcome.query for outcome in of], blas_s))
        rows["covered"].append(about | _coverage(of))
        rows["peers"].extend(about | {"way": way} | _errors(of, len(memory.frames), way) for way in (OURS, *PEERS))
    return rows


class _Asking:
    """Asks a memory of one query after the other; for several threads."""

    def __init__(self, memory: GrownMemory) -> None:
        self._memory = memory
        self._view: View = memory.view()
        self._blind: Floats = (memory.frames @ memory.means.astype(np.float64)) / memory.frames.sum()
        self._squares: Floats = np.einsum("nd,nd->n", memory.means, memory.means).astype(np.float64)
        self._counts: Floats = np.log(memory.frames)

    def asked(self, cases: Sequence[Case], query: Vectors, seed: int) -> dict[Case, _Outcome]:
        """Ask a query in some cases; left out are those whose effective size the exact answer never has."""
        along = self._memory.means @ query  # [N]
        temperatures = self._temperatures(along, cases)
        return {case: self._asked(query, along, at, seed) for case, at in temperatures.items() if np.isfinite(at)}

    def _codes(self, query: Vectors) -> int:
        """Count the codes that a read compares."""
        return self._view.needles(query, 1)[1] * CODES_IN_A_MEAN

    def _temperatures(self, along: Vectors, cases: Sequence[Case]) -> dict[Case, float]:
        """Find the inverse temperature in each case, by the stays nearest to the query and some of the others."""
        number = len(along)
        nearest = number // _NEAREST_SHARE if number > _FEW else number
        order = np.argpartition(-along, min(nearest, number - 1))
        some = np.concatenate([order[:nearest], order[nearest::_REST_SHARE]])
        stand_for = np.repeat([1.0, _REST_SHARE], [nearest, len(some) - nearest])
        similarities, frames, counts = along[some].astype(np.float64), self._memory.frames[some], self._counts[some]
        across = variance_along(np.ones(1, np.float32), similarities, self._squares[some])
        variances = np.where(frames > 1, across, 0.0)  # at an inverse temperature of 1

        def effective_sizes(temperatures: Floats) -> Floats:
            [temperature] = temperatures.tolist()
            of_frames = temperature * similarities + growth_of(temperature**2 * variances, frames)
            weights = stand_for * np.exp(counts + of_frames - of_frames.max())
            total = float(weights.sum())
            return np.exp([np.log(total) + of_frames.max() - float(weights @ of_frames) / total])

        return {case: float(inverse_temperatures(case, effective_sizes, 1)[0]) for case in cases}

    def _asked(self, query: Vectors, along: Vectors, temperature: float, seed: int) -> _Outcome:
        """Ask a query exactly, of attention, and of the peers."""
        scaled = (query * temperature).astype(np.float32)
        exact = attend(scaled, self._view, Effort(exact=True, frames=0), seed)
        length = float(np.linalg.norm(exact.context_vector))
        logs = np.log(np.maximum(exact.weights, _LEAST_WEIGHT))

        def errors(context: Floats | Vectors, log_mass: float) -> tuple[float, float]:
            away = float(np.linalg.norm(context - exact.context_vector)) / length
            return away, abs(float(np.expm1(log_mass - exact.log_mass)))

        ours = attend(scaled, self._view, Effort(frames=0), seed)
        memory = self._memory
        question = Question(
            scaled, memory.means, memory.frames, self._view.blocks, along, logs + exact.log_mass, ours.touched
        )
        found = {OURS: errors(ours.context_vector, ours.log_mass)}
        for name, peer in PEERS.items():
            answer = peer(question, np.random.default_rng(seed))
            found[name] = errors(answer.context_vector, answer.log_mass)
        return _Outcome(
            scaled,
            temperature,
            float(np.exp(-(exact.weights * (logs - self._counts)).sum())),
            errors(self._blind, 0.0)[0],
            ours.reading_error,
            ours.touched,
            self._codes(scaled),
            found,
        )


def _errors(of: Sequence[_Outcome], stays: int, way: str) -> Figures:
    contexts, denominators = ([outcome.errors[way][place] for outcome in of] for place in range(2))
    return {
        "touched_share": _percentile([outcome.touched / stays for outcome in of], 50),
        "error_median": _percentile(contexts, 50),
        "error_p95": _percentile(contexts, 95),
        "denominator_error": _percentile(denominators, 50),
        "not_numbers": len(contexts) - int(np.isfinite(contexts).sum()),
    }


def _coverage(of: Sequence[_Outcome]) -> Figures:
    """Compare stated errors with true ones; of memories that are read whole there are none."""
    stated, true = [outcome.stated for outcome in of], [outcome.errors[OURS][0] for outcome in of]
    said, error = _percentile(stated, 50), _percentile(true, 50)
    holds = [outcome.stated >= outcome.errors[OURS][0] for outcome in of]
    return {
        "stated_holds": round(float(np.mean(holds)), 4) if said else None,
        "stated_median": said,
        "error_median": error,
        "stated_ratio": round(said / error, 2) if said and error else None,
    }


def _percentile(values: Sequence[float], percent: float, digits: int = 5) -> float | None:
    return percentile(np.array(values, np.float64), percent, digits)
