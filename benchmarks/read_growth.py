"""Memories as large as one likes, grown from the embeddings of real footage. Part of `benchmarks.read`.

A stream is grown (`benchmarks.growth`) from videos seen through moving windows and from recorded games, half of it
from each. Each of its frames that is no repeat of the one before is an exemplar, and what a stay of it stands for is
taken from a real stay: as many frames, and a mean as much shorter than 1. So a stay's mean points where its exemplar
does. Forest, index and lists are the store's own, made as opening a memory makes them.

Shapes: N stays, D width.
"""

import hashlib
import math
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, cast

import numpy as np
from numpy.typing import NDArray

from benchmarks.footage import Footage
from benchmarks.growth import STRIDE_FRAMES, GrownStream, Rows, Vectors
from benchmarks.read_remembered import THRESHOLD, StayShapes
from benchmarks.views import encoded_views
from encoder.version import EncoderVersion
from memory_store.embedding_table import EmbeddingTable
from memory_store.forest import BLOCK_SIZE, Forest
from memory_store.index import ExemplarIndex
from memory_store.index_upkeep import FIRST_TRAINING, IndexUpkeep, Workers, new_workers
from memory_store.reading import Reading
from memory_store.records import Embedding
from memory_store.scope import Scope
from memory_store.stay_lists_upkeep import StayListsUpkeep
from memory_store.view import View, view_of

SEED = 0

_PIECE_FRAMES = 250
"""Games are cut into sequences as long as videos are."""

_FRAME_US = 66_667

_CHUNK = 4096
"""Rows at a time."""

_MARGIN = 1.1
"""Rows grown beyond those that seem to be needed."""

_NO_SIGHTINGS = cast(Reading, None)
"""A scope that is everything cuts no stay, so that no sighting is asked for."""


def sequences_of(
    videos: Sequence[Path], games: Sequence[Footage], version: EncoderVersion, folder: Path
) -> list[Vectors]:
    """Give what memories are grown from: videos through windows and pieces of games, as many frames of each.

    Args:
        videos: video files.
        games: recorded games.
        version: what embeddings depend on.
        folder: keeps what the windows showed, and the converted network.
    """
    digest = hashlib.sha256(str(version).encode())
    for video in videos:
        digest.update(video.read_bytes())
    kept = folder / f"views-{digest.hexdigest()[:12]}.npz"
    if not kept.exists():
        seen = encoded_views(list(videos), folder / "encoder").sequences
        partial = kept.with_suffix(".partial.npz")
        np.savez(partial, *(sequence.astype(np.float16) for sequence in seen))  # which holds them to the last bit
        partial.rename(kept)
    with np.load(kept) as arrays:
        windows = [arrays[name].astype(np.float32) for name in arrays.files]
    pieces = [
        game.frames[begin : begin + _PIECE_FRAMES]
        for game in games
        for begin in range(0, len(game.frames) - _PIECE_FRAMES + 1, _PIECE_FRAMES)
    ]
    return windows * max(1, round(len(pieces) / len(windows))) + pieces


class GrownStays:
    """The exemplars of a grown stream, in files: those of a small memory are the first of a large one."""

    def __init__(self, sequences: list[Vectors], number: int, folder: Path) -> None:
        """Grow so many exemplars into a folder."""
        stream = GrownStream(sequences, SEED)
        dimension = sequences[0].shape[1]
        novel = float(_is_novel(stream.stretch(0).frames, None).mean())
        stream.write(folder, math.ceil(_MARGIN * number / novel))
        self._shown, self._held_out = (Rows(folder / name, dimension) for name in ("frames.f16", "held_out.f16"))
        last: Embedding | None = None
        places = []
        for begin in range(0, len(self._shown), _CHUNK):
            rows = self._shown.read(begin, begin + _CHUNK)
            places.append(begin + np.flatnonzero(_is_novel(rows, last)))
            last = rows[-1]
        self._places = np.concatenate(places)[:number]
        self.dimension = dimension

    def read(self, number: int) -> Iterator[Vectors]:
        """Read the first so many exemplars, at most _CHUNK at a time: float32 [N', D]."""
        ends = np.searchsorted(self._places[:number], np.arange(_CHUNK, len(self._shown) + _CHUNK, _CHUNK))
        begin = 0
        for chunk, end in enumerate(ends.tolist()):
            if begin < end:
                rows = self._shown.read(chunk * _CHUNK, (chunk + 1) * _CHUNK)
                yield rows[self._places[begin:end] - chunk * _CHUNK]
            begin = end

    def held_out(self, numbers: NDArray[np.int64]) -> Vectors:
        """Give, for some exemplars, a frame between each and what came next, which was not shown: float32 [Q, D]."""
        rows = [self._held_out.read(place, place + 1) for place in self._places[numbers].tolist()]
        return np.concatenate(rows)


def _is_novel(frames: Vectors, before: Embedding | None) -> NDArray[np.bool_]:
    """Tell which frames are no repeat of the one before: bool [N]."""
    earlier = np.concatenate([frames[:1] if before is None else before[None], frames[:-1]])
    novel: NDArray[np.bool_] = 1 - np.einsum("nd,nd->n", frames, earlier) > THRESHOLD
    if before is None:
        novel[0] = True
    return novel


@dataclass(frozen=True, slots=True)
class GrownMemory:
    """What the query's way reads of a memory of N stays, each of an exemplar of its own: stay i of exemplar i + 1."""

    forest: Forest
    upkeep: IndexUpkeep
    lists: StayListsUpkeep
    workers: Workers
    means: Vectors
    """Of the stays, one after the other: float32 [N, D], for those who read them all."""

    frames: NDArray[np.int64]
    """Of the stays: [N]."""

    lock: threading.RLock
    """Of the index."""

    def view(self) -> View:
        """Take all stays as they are now, as `Memory.view` does."""
        snapshot = self.forest.snapshot()
        return view_of(snapshot, self.lists.strata(snapshot), Scope(), _NO_SIGHTINGS, _not_stored, self._named)

    def _named(self, query: Vectors, lists: NDArray[np.int64], number: int) -> NDArray[np.int64]:
        """Name exemplars by their codes, as `Memory.view` has it done."""
        codes = self.lists.codes
        if codes is None:
            return np.empty(0, np.int64)
        with self.lock:
            return codes.named(query, number, lists)

    def close(self) -> None:
        """Stop what works for it."""
        self.upkeep.stop()
        self.lists.stop()
        self.workers.shutdown()


def grown_memory(stays: GrownStays, shapes: StayShapes, number: int, folder: Path) -> GrownMemory:
    """Make a memory of so many stays.

    Args:
        stays: their exemplars.
        shapes: of real stays, which they take after.
        number: N.
        folder: for the copy of the index.
    """
    rng = np.random.default_rng(SEED)
    of = rng.integers(0, len(shapes.frames), number)
    frames, lengths = shapes.frames[of], shapes.lengths[of]
    forest, lock, workers = Forest(stays.dimension), threading.RLock(), new_workers()
    upkeep = IndexUpkeep(ExemplarIndex(EmbeddingTable(stays.dimension)), lock, folder / "grown.index", "grown")
    means = np.empty((number, stays.dimension), np.float32)
    trained_at = _trained_at(number)
    done = 0
    for exemplars in stays.read(number):
        end = done + len(exemplars)
        means[done:end] = exemplars * lengths[done:end, None]
        for ids, some in _parted(np.arange(done, end) + 1, exemplars, trained_at):
            upkeep.add(ids, some)
            if ids[-1] == trained_at:
                upkeep.submit(workers.aside)
                upkeep.wait()
        done = end
    _load(forest, means, frames)
    lists = StayListsUpkeep(stays.dimension, forest, upkeep, lock)
    with lock:
        lists.follow(workers.aside)
    lists.wait()
    return GrownMemory(forest, upkeep, lists, workers, means, frames, lock)


def _trained_at(number: int) -> int:
    """Tell how many exemplars a memory that grew to so many had when its index was trained last."""
    return 0 if number < FIRST_TRAINING else FIRST_TRAINING * 2 ** int(math.log2(number / FIRST_TRAINING))


def _parted(ids: NDArray[np.int64], exemplars: Vectors, after: int) -> Iterator[tuple[NDArray[np.int64], Vectors]]:
    """Part exemplars after one of them, if it is among them and not the last."""
    border = int(np.searchsorted(ids, after, side="right"))
    for part in (slice(0, border), slice(border, len(ids))):
        if len(ids[part]):
            yield ids[part], exemplars[part]


def _load(forest: Forest, means: Vectors, frames: NDArray[np.int64]) -> None:
    """Fill a forest with stays of one stream, one after the other in time."""
    number = len(frames)
    ends_us = np.cumsum(frames) * STRIDE_FRAMES * _FRAME_US
    starts_us = ends_us - (frames - 1) * _FRAME_US
    stay = np.arange(number)
    facts = (stay + 1, np.ones(number, np.int64), stay, stay + 1, frames, starts_us, ends_us)
    table = np.stack(facts, axis=1)
    open_from = (number - 1) // BLOCK_SIZE * BLOCK_SIZE
    for begin in range(0, number, BLOCK_SIZE):
        block = slice(begin, begin + BLOCK_SIZE)
        totals = means[block].astype(np.float64) * frames[block, None]
        forest.load(table[block], totals, open_from)


def _not_stored(_exemplar_id: int) -> NoReturn:
    raise LookupError("expected no stay to be cut")
