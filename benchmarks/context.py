"""Does a context vector help to tell what comes? `python -m benchmarks.context [--keep FOLDER]`.

Games and videos are shown to a real memory as a session that asks for contexts would: each frame gets what attention
gives for it over what was stored before its group. A linear prediction of the embedding k frames ahead is then learned
from the frame alone, and from the frame and its context: on the middle of the time, with the strength of its
regularisation chosen on the next tenth, judged on the last quarter. Fitted attention is fitted on what was stored in
the first half. Prints a table and, as its last line, one JSON object.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.atari import GAMES
from benchmarks.figures import Figures
from benchmarks.footage import Footage, game_footage, video_footage
from benchmarks.growth import Vectors
from benchmarks.samples import sample_videos
from encoder.attention_fitting import fit
from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder
from encoder.hierarchical_attention import attend, attend_by_heads
from encoder.learned_attention import HierarchicalAttention
from encoder.reading import Effort
from memory_store.config import MemoryStoreConfig
from memory_store.memory import Memory
from memory_store.records import Clock, Encoded
from memory_store.scope import Scope
from memory_store.store import MemoryStore
from service.learning import past_of

AHEAD_FRAMES = (1, 5, 15, 60)

THRESHOLD = 0.10

_SESSION = "0f3f2c9e-6a53-4c2f-9f0c-1a8d4f5c2b11"

_GROUP = 16
"""Frames stored at a time: contexts are as old as that at most."""

_SHARPNESS = 20.0

_TRAINED = (0.5, 0.65)
"""Of the time: until where nothing is learned but what the memory holds, and until where predictions are."""

_CHOSEN = 0.75
"""Of the time: until where the strength of regularisation is chosen; what follows judges."""

_STRENGTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0)


@dataclass(frozen=True, slots=True)
class Contexts:
    """What attention gave for each frame of a stream: float32 [T, D] each."""

    plain: Vectors
    fitted: Vectors | None
    """From the middle on; None if fitting kept nothing."""


@click.command()
@click.option("--frames", default=20_000, show_default=True, help="Of each game.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep recorded footage in this folder.")
def main(frames: int, keep: Path | None) -> None:
    """Predict embeddings with and without context."""
    with TemporaryDirectory() as temporary:
        folder = keep or Path(temporary) / "footage"
        folder.mkdir(parents=True, exist_ok=True)
        encoder = OpenVinoEncoder(EncoderConfig(), Path(temporary) / "encoder")
        footages = [video_footage(video, encoder, folder) for video in sample_videos()]
        footages += [game_footage(game, frames, 1, encoder, folder) for game in GAMES]
        rows = [
            row for place, footage in enumerate(footages) for row in _rows(footage, Path(temporary) / f"store-{place}")
        ]
    print(f"{'stream':20} {'ahead':>6} {'last frame':>11} {'frame':>8} {'+ context':>10} {'+ fitted':>9}  (error)")
    for row in rows:
        fitted = "-" if row["fitted"] is None else f"{row['fitted']:.4f}"
        print(
            f"{row['stream']:20} {row['ahead_frames']:6} {row['persistence']:11.4f} {row['frame']:8.4f}"
            f" {row['context']:10.4f} {fitted:>9}"
        )
    print(json.dumps({"context": rows}))


def _rows(footage: Footage, folder: Path) -> list[Figures]:
    contexts = _contexts(footage, folder)
    frames = footage.frames
    rows: list[Figures] = []
    for ahead in AHEAD_FRAMES:
        if len(frames) < 8 * max(ahead, 10):
            continue
        alone = [frames]
        errors = {"frame": _error(alone, frames, ahead), "context": _error([*alone, contexts.plain], frames, ahead)}
        fitted = None if contexts.fitted is None else _error([*alone, contexts.fitted], frames, ahead)
        begin = int(_CHOSEN * len(frames))
        persistence = float(((frames[begin + ahead :] - frames[begin:-ahead]) ** 2).sum(1).mean())
        row: Figures = {"stream": footage.name, "ahead_frames": ahead, "persistence": round(persistence, 4)}
        rows.append(row | {name: round(error, 4) for name, error in errors.items()} | {"fitted": fitted})
    return rows


def _contexts(footage: Footage, folder: Path) -> Contexts:
    """Show the footage to a memory, and attend for each frame before its group is stored."""
    store = MemoryStore(folder, MemoryStoreConfig())
    memory = store.create("shown", "benchmark", footage.frames.shape[1], THRESHOLD)
    session = memory.open_session("camera", _SESSION, Clock.SOURCE, start_us=None).id
    times_us = footage.times_us.tolist()
    plain, fitted = np.zeros_like(footage.frames), np.zeros_like(footage.frames)
    middle = int(_TRAINED[0] * len(footage.frames)) // _GROUP * _GROUP
    heads = None
    for begin in range(0, len(footage.frames), _GROUP):
        if begin == middle:
            heads = fit(past_of(memory), seed=0).module
        group = footage.frames[begin : begin + _GROUP]
        _attend(memory, group, heads, plain[begin : begin + _GROUP], fitted[begin : begin + _GROUP])
        memory.remember(
            [
                Encoded(session, seq, times_us[seq], times_us[seq], 0, frame, lambda: b"-")
                for seq, frame in enumerate(group, start=begin)
            ]
        )
    store.close()
    return Contexts(plain, None if heads is None else fitted)


def _attend(
    memory: Memory, group: Vectors, heads: HierarchicalAttention | None, plain: Vectors, fitted: Vectors
) -> None:
    view = memory.view(Scope())
    if not view.stay_count:
        return
    for place, frame in enumerate(group):
        plain[place] = attend(frame * np.float32(_SHARPNESS), view, Effort(), 0).context_vector
        if heads is not None:
            fitted[place] = attend_by_heads(heads, frame, view, Effort(), 0).context_vector


def _error(inputs: list[Vectors], frames: Vectors, ahead: int) -> float:
    """Give the mean squared distance of a ridge regression's prediction, `ahead` frames on, over the last quarter."""
    known = np.concatenate([*inputs, np.ones((len(frames), 1), np.float32)], axis=1).astype(np.float64)[:-ahead]
    change = (frames[ahead:] - frames[:-ahead]).astype(np.float64)  # what is predicted is how it will differ
    edges = [int(share * len(known)) for share in (*_TRAINED, _CHOSEN)]
    begin, end = edges[0], edges[1] - ahead
    covariance, target = known[begin:end].T @ known[begin:end], known[begin:end].T @ change[begin:end]

    def error(weights: NDArray[np.float64], first: int, last: int | None) -> float:
        return float(((known[first:last] @ weights - change[first:last]) ** 2).sum(1).mean())

    solved: list[NDArray[np.float64]] = [
        np.linalg.solve(covariance + strength * np.eye(len(covariance)), target).astype(np.float64)
        for strength in _STRENGTHS
    ]
    best = min(solved, key=lambda weights: error(weights, edges[1], edges[2] - ahead))
    return error(best, edges[2], None)


if __name__ == "__main__":
    main()
