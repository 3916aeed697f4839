"""Does a context vector help to tell what comes? `python -m benchmarks.context [--keep FOLDER]`.

Games and videos are shown to a real memory as a session that asks for contexts would: each frame gets what attention
gives for it over what was stored before its group. The embedding k frames ahead is then predicted, from the frame alone
and from the frame and its context, in two ways: by a *blend*, a weight each for the frame, the mean of all frames so
far and the context, which is what an application has that learns nothing itself; and by a *ridge* regression that
learns a whole matrix from this very stream. Both are learned on the middle of the time, the strength of regularisation
on the next tenth, and judged on the last quarter. Fitted attention is fitted on what was stored in the first half.
Prints a table and, as its last line, one JSON object.
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

Inputs = list[NDArray[np.float32] | NDArray[np.float64]]
"""What is known at each frame: [T, D] each."""

AHEAD_FRAMES = (1, 5, 15, 60)

THRESHOLD = 0.10

_SESSION = "0f3f2c9e-6a53-4c2f-9f0c-1a8d4f5c2b11"

_GROUP = 16
"""Frames stored at a time: contexts are as old as that at most."""

_INVERSE_TEMPERATURE = 60.0
"""Of plain attention: sharper than a query's, since what comes depends on what is on screen."""

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
    print("Mean squared distance of what was predicted; - where fitting kept nothing")
    names = f"{'+context':>9} {'+fitted':>9}"
    print(f"{'stream':18} {'ahead':>5} {'last':>7} | {'blend':>7} {names} | {'ridge':>7} {names}")
    for row in rows:
        ways = " | ".join(_told(row, way) for way in ("blend", "ridge"))
        print(f"{row['stream']:18} {row['ahead_frames']:5} {row['last_frame']:7.4f} | {ways}")
    print(json.dumps({"context": rows}))


def _told(row: Figures, way: str) -> str:
    alone = row[way]
    assert isinstance(alone, float)
    cells = [f"{alone:7.4f}"]
    for name in ("context", "fitted"):
        error = row[f"{way}_{name}"]
        cells.append("        -" if not isinstance(error, float) else f"{100 * (error / alone - 1):+7.1f} %")
    return " ".join(cells)


def _rows(footage: Footage, folder: Path) -> list[Figures]:
    contexts = _contexts(footage, folder)
    frames = footage.frames
    so_far = np.cumsum(frames, 0, np.float64) / np.arange(1, len(frames) + 1)[:, None]
    rows: list[Figures] = []
    for ahead in AHEAD_FRAMES:
        if len(frames) < 8 * max(ahead, 10):
            continue
        begin = int(_CHOSEN * len(frames))
        last = float(((frames[begin + ahead :] - frames[begin:-ahead]) ** 2).sum(1).mean())
        row: Figures = {"stream": footage.name, "ahead_frames": ahead, "last_frame": round(last, 5)}
        blend: Inputs = [frames, so_far]
        ridge: Inputs = [frames]
        for way, predicted, alone in (("blend", _blended, blend), ("ridge", _regressed, ridge)):
            row[way] = round(predicted(alone, frames, ahead), 5)
            row[f"{way}_context"] = round(predicted([*alone, contexts.plain], frames, ahead), 5)
            fitted = contexts.fitted
            row[f"{way}_fitted"] = None if fitted is None else round(predicted([*alone, fitted], frames, ahead), 5)
        rows.append(row)
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
        plain[place] = attend(frame * np.float32(_INVERSE_TEMPERATURE), view, Effort(frames=0), 0).context_vector
        if heads is not None:
            fitted[place] = attend_by_heads(heads, frame, view, Effort(frames=0), 0).context_vector


def _edges(frames: Vectors, ahead: int) -> tuple[int, int, int, int]:
    """Where learning begins and ends, and what chooses the strength of regularisation; the rest judges."""
    number = len(frames) - ahead
    begin, end, chosen = (int(share * number) for share in (*_TRAINED, _CHOSEN))
    return begin, end - ahead, end, chosen - ahead


def _blended(inputs: Inputs, frames: Vectors, ahead: int) -> float:
    """Give the mean squared distance of the best blend of the inputs, `ahead` frames on, over the last quarter."""
    begin, _, _, end = _edges(frames, ahead)
    target = frames[ahead:].astype(np.float64)
    learned = np.stack([values[begin:end].ravel() for values in inputs], axis=1).astype(np.float64)
    weights = np.linalg.lstsq(learned, target[begin:end].ravel(), rcond=None)[0].tolist()
    first = end + ahead
    blend = sum(weight * values[first:-ahead] for weight, values in zip(weights, inputs, strict=True))
    return float(((blend - target[first:]) ** 2).sum(1).mean())


def _regressed(inputs: Inputs, frames: Vectors, ahead: int) -> float:
    """Give the mean squared distance of a ridge regression's prediction, likewise."""
    known = np.concatenate([*inputs, np.ones((len(frames), 1), np.float32)], axis=1).astype(np.float64)[:-ahead]
    change = (frames[ahead:] - frames[:-ahead]).astype(np.float64)  # what is predicted is how it will differ
    begin, end, choosing, chosen = _edges(frames, ahead)
    covariance, target = known[begin:end].T @ known[begin:end], known[begin:end].T @ change[begin:end]

    def error(weights: NDArray[np.float64], first: int, last: int | None) -> float:
        return float(((known[first:last] @ weights - change[first:last]) ** 2).sum(1).mean())

    solved: list[NDArray[np.float64]] = [
        np.linalg.solve(covariance + strength * np.eye(len(covariance)), target).astype(np.float64)
        for strength in _STRENGTHS
    ]
    best = min(solved, key=lambda weights: error(weights, choosing, chosen))
    return error(best, chosen + ahead, None)


if __name__ == "__main__":
    main()
