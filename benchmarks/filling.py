"""One memory, filled or opened again in a process of its own: `python -m benchmarks.filling fill|reopen ...`.

A part of `benchmarks.store`, which starts it and reads the JSON that it prints. Nothing is imported here that the store
does not need, and vectors are read from files a piece at a time: what the process holds is what the memory holds.
"""

import json
import time
from collections.abc import Callable
from pathlib import Path

import click
import numpy as np
from threadpoolctl import threadpool_limits

from benchmarks.figures import Figures, folder_bytes, own_memory_bytes, quantile_ms
from benchmarks.growth import STRIDE_FRAMES, Rows, Vectors
from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.novelty import Neighbour
from memory_store.records import Clock, Encoded, Novel
from memory_store.store import MemoryStore

NAME = "grown"
"""Of the memory."""

SESSION = "5bd3bbd6-7a3c-4c3c-a1bb-1d8d1d1b7f5a"

GROUP = 64
"""Frames that are remembered at a time."""

REPEATS, STRANGERS = 4000, 1000
"""Checks of a full memory: held-out frames from all of its time, and frames of places that it has not seen."""

CHECKS_AFTER_OPENING = 200

_CHUNK = 4096
"""Rows read at a time."""

_FRAME_US = 40_000

_SETTLING_S = 600
"""Longest wait for what the index does aside."""

Look = Callable[[Vectors], Neighbour | None]


class Filling:
    """A memory that is being filled, and the times it takes."""

    def __init__(self, memory: Memory, thumbnails: list[bytes], kept: Path) -> None:
        """Open a session.

        Args:
            memory: the memory, empty.
            thumbnails: JPEG files, which exemplars get in turn.
            kept: file for the embeddings of the exemplars, in the order of their ids.
        """
        self.memory = memory
        self.exemplars = 0
        self.frames = 0
        self.thumbnail_bytes = 0
        self.group_s: list[float] = []
        self.looks_while_building_s: list[float] = []
        self._looking_s = 0.0
        self._progress: list[tuple[int, float]] = []
        self._thumbnails = thumbnails
        self._session = memory.open_session("camera", SESSION, Clock.SESSION, start_us=0)
        self._kept = kept.open("wb")
        self._chance = np.random.default_rng(0)

    def fill(self, frames: Rows, held_out: Rows, exemplars: int) -> None:
        """Remember frames until there are so many exemplars.

        While the index is worked on aside, a held-out frame is looked for after each group of the second half.

        Raises:
            ValueError: there were not frames enough.
        """
        begun = time.perf_counter()
        for begin in range(0, len(frames), _CHUNK):
            shown = frames.read(begin, begin + _CHUNK)
            while len(shown) and self.exemplars < exemplars:
                number = min(GROUP, exemplars - self.exemplars)
                self._remember(shown[:number])
                self._progress.append((self.exemplars, time.perf_counter() - begun - self._looking_s))
                if self.exemplars > exemplars // 2 and is_working(self.memory):
                    self._check(held_out)
                shown = shown[number:]
            if self.exemplars == exemplars:
                self._kept.close()
                return
        raise ValueError(f"expected {exemplars} exemplars of {len(frames)} frames, got {self.exemplars}")

    def _remember(self, embeddings: Vectors) -> None:
        group = [self._encoded(self.frames + place, embedding) for place, embedding in enumerate(embeddings)]
        begun = time.perf_counter()
        verdicts = self.memory.remember(group)
        self.group_s.append(time.perf_counter() - begun)
        novel = [place for place, verdict in enumerate(verdicts) if isinstance(verdict.outcome, Novel)]
        self._kept.write(embeddings[novel].astype("<f2").tobytes())
        self.frames += len(group)
        self.exemplars += len(novel)
        self.thumbnail_bytes += sum(group[place].size_bytes for place in novel)

    def _encoded(self, seq: int, embedding: Vectors) -> Encoded:
        thumbnail = self._thumbnails[seq % len(self._thumbnails)]
        pts_us = seq * STRIDE_FRAMES * _FRAME_US
        return Encoded(self._session.id, seq, pts_us, None, len(thumbnail), embedding, lambda: thumbnail)

    def _check(self, held_out: Rows) -> None:
        begun = time.perf_counter()
        place = int(self._chance.integers(self.frames))
        [embedding] = held_out.read(place, place + 1)
        looking = time.perf_counter()
        self.memory.look(embedding)
        looked = time.perf_counter()
        self.looks_while_building_s.append(looked - looking)
        self._looking_s += looked - begun

    def exemplars_per_second(self, share: float) -> float:
        """Give the speed of the last share of the exemplars, in (0, 1]; checks in between are not counted."""
        exemplars, seconds = self._progress[-1]
        before = [(0, 0.0), *(point for point in self._progress if point[0] <= (1 - share) * exemplars)][-1]
        return round((exemplars - before[0]) / (seconds - before[1]), 1)


def is_working(memory: Memory) -> bool:
    """Tell whether the index is being trained or saved aside."""
    return memory._state.upkeep.is_working  # the store itself never asks


def settle(memory: Memory) -> float:
    """Wait until nothing is done aside any more; give the seconds."""
    begun = time.perf_counter()
    while is_working(memory) and time.perf_counter() - begun < _SETTLING_S:
        time.sleep(0.05)
    return round(time.perf_counter() - begun, 2)


def checked(memory: Memory, queries: Vectors) -> tuple[list[float], list[float]]:
    """Look for each of Q queries, one at a time: the seconds, and the novelties found (2 where nothing was)."""
    seconds, novelties = [], []
    for query in queries:
        begun = time.perf_counter()
        found = memory.look(query)
        seconds.append(time.perf_counter() - begun)
        novelties.append(2.0 if found is None else found.novelty)
    return seconds, novelties


@click.group()
def main() -> None:
    """Fill a memory, or open it again; prints a line of JSON."""


@main.command()
@click.argument("stream", type=click.Path(path_type=Path))
@click.argument("folder", type=click.Path(path_type=Path))
@click.argument("exemplars", type=int)
@click.argument("threshold", type=float)
def fill(stream: Path, folder: Path, exemplars: int, threshold: float) -> None:
    """Fill a memory in FOLDER from the frames in STREAM, and look for frames in it."""
    threadpool_limits(1, user_api="blas")  # as in the server
    about = json.loads((stream / "about.json").read_text())
    dimension = about["dimension"]
    frames, held_out = (Rows(stream / name, dimension) for name in ("frames.f16", "held_out.f16"))
    thumbnails = [path.read_bytes() for path in sorted((stream / "thumbnails").iterdir())]
    store = MemoryStore(folder / "data", MemoryStoreConfig())
    memory = store.create(NAME, about["encoder_version"], dimension, threshold)
    figures: Figures = {"n": exemplars, "rss_bytes_empty": own_memory_bytes("VmRSS")}
    filling = Filling(memory, thumbnails, folder / "exemplars.f16")
    filling.fill(frames, held_out, exemplars)
    figures |= {"settle_s": settle(memory), "novel_share": round(exemplars / filling.frames, 4)}
    figures |= _times_of(filling)
    queries = _queries(filling.frames, frames, held_out)
    seconds, novelties = checked(memory, queries)
    np.save(folder / "queries.npy", queries)
    np.save(folder / "found.npy", np.array(novelties))
    rss = own_memory_bytes("VmRSS")
    figures |= {
        "checks": len(seconds),
        "check_p50_ms": quantile_ms(seconds, 0.5),
        "check_p99_ms": quantile_ms(seconds, 0.99),
        "rss_bytes_per_exemplar": round(rss / exemplars),
        "rss_bytes": rss,
        "peak_rss_bytes": own_memory_bytes("VmHWM"),
    }
    store.close()
    stored = folder_bytes(folder / "data")
    figures |= {
        "disk_bytes_per_exemplar": round((stored - filling.thumbnail_bytes) / exemplars),
        "thumbnail_bytes_per_exemplar": round(filling.thumbnail_bytes / exemplars),
    }
    click.echo(json.dumps(figures))


def _times_of(filling: Filling) -> Figures:
    return {
        "inserts_per_s": filling.exemplars_per_second(0.1),
        "inserts_per_s_overall": filling.exemplars_per_second(1),
        "group_p50_ms": quantile_ms(filling.group_s, 0.5),
        "group_p99_ms": quantile_ms(filling.group_s, 0.99),
        "group_max_ms": quantile_ms(filling.group_s, 1),
        "checks_while_building": len(filling.looks_while_building_s),
        "check_p50_while_building_ms": quantile_ms(filling.looks_while_building_s, 0.5),
        "check_p99_while_building_ms": quantile_ms(filling.looks_while_building_s, 0.99),
        "check_max_while_building_ms": quantile_ms(filling.looks_while_building_s, 1),
    }


def _queries(shown: int, frames: Rows, held_out: Rows) -> Vectors:
    """Take held-out frames from between those shown, and frames that come after them: float32 [Q, D], mixed."""
    chance = np.random.default_rng(0)
    places = np.sort(chance.choice(shown, min(REPEATS, shown), replace=False)).tolist()
    repeats = [held_out.read(place, place + 1) for place in places]
    queries: Vectors = np.concatenate([*repeats, frames.read(shown, shown + STRANGERS)])
    return chance.permutation(queries)


@main.command()
@click.argument("folder", type=click.Path(path_type=Path))
def reopen(folder: Path) -> None:
    """Open the memory in FOLDER again, and look for frames in it; the files are still in the page cache."""
    queries = np.load(folder / "queries.npy")[:CHECKS_AFTER_OPENING]
    begun = time.perf_counter()
    store = MemoryStore(folder / "data", MemoryStoreConfig())
    memory = store.get(NAME)
    found = memory.look(queries[0])
    taken = time.perf_counter() - begun
    seconds, _ = checked(memory, queries)
    assert found is not None
    figures: Figures = {
        "reopen_s": round(taken, 3),
        "check_p50_after_reopening_ms": quantile_ms(seconds, 0.5),
        "rss_bytes_reopened": own_memory_bytes("VmRSS"),
        "peak_rss_bytes_reopened": own_memory_bytes("VmHWM"),
    }
    store.close()
    click.echo(json.dumps(figures))


if __name__ == "__main__":
    main()
