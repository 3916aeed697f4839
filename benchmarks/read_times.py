"""How long reading takes, one query at a time. Part of `benchmarks.read`."""

import time
from collections.abc import Sequence

import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.figures import Figures, quantile_ms
from benchmarks.growth import Vectors
from benchmarks.read_growth import GrownMemory
from encoder.hierarchical_attention import attend
from encoder.reading import Effort

_WARM_UP = 10

_BLAS_READS = 20

_BLAS_INVERSE_TEMPERATURE = 20.0


def times_of(memory: GrownMemory, queries: Sequence[Vectors], exact_s: Sequence[float]) -> Figures:
    """Time the reads of some queries, each times its inverse temperature; with what the exact read takes beside it."""
    view = memory.view()
    alone, with_view, on_core = [], [], []
    with threadpool_limits(1, user_api="blas"):  # as in the server
        for seed, query in enumerate(queries[:_WARM_UP]):
            attend(query, view, Effort(frames=0), seed)
        for seed, query in enumerate(queries):
            begun, begun_on_core = time.perf_counter(), time.thread_time()
            attend(query, view, Effort(frames=0), seed)
            read, read_on_core = time.perf_counter(), time.thread_time()
            attend(query, memory.view(), Effort(frames=0), seed)
            alone.append(read - begun)
            on_core.append(read_on_core - begun_on_core)
            with_view.append(time.perf_counter() - read)
    p50_ms, exact_ms = quantile_ms(alone, 0.5), quantile_ms(exact_s, 0.5)
    return {
        "p50_ms": p50_ms,
        "p99_ms": quantile_ms(alone, 0.99),
        "p50_cpu_ms": quantile_ms(on_core, 0.5),
        "p50_with_view_ms": quantile_ms(with_view, 0.5),
        "p99_with_view_ms": quantile_ms(with_view, 0.99),
        "exact_by_blas_p50_ms": exact_ms,
        "times_faster": round(exact_ms / p50_ms, 1) if exact_ms and p50_ms else None,
    }


def blas_seconds(memory: GrownMemory, queries: Vectors) -> list[float]:
    """Time softmax over all means and counts, as numpy does it with as many threads as it takes."""
    counts = np.log(memory.frames).astype(np.float32)
    seconds = []
    for query in queries[: _BLAS_READS + 1]:
        begun = time.perf_counter()
        logs = memory.means @ (query * np.float32(_BLAS_INVERSE_TEMPERATURE)) + counts
        weights = np.exp(logs - logs.max())
        _ = (weights @ memory.means) / weights.sum()
        seconds.append(time.perf_counter() - begun)
    return seconds[1:]
