"""The memory store as it grows, beside what a user would pick instead: `python -m benchmarks.store`.

Memories of 10^4, 10^5 and 10^6 exemplars are filled through the store, each in a process of its own, from a stream
grown from real video (`benchmarks.growth`), with real thumbnails. Then they are asked for frames that were held out,
and opened again. The peers are filled with the very exemplars that the memory kept, and asked for the same frames.
What is truly a repeat is decided by exact search over all exemplars. A full run takes some twenty minutes on 2 cores
and some 15 GB of disk, which are freed as it goes on.
"""

import json
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np

from benchmarks import growth, views
from benchmarks.figures import Figures, share_of
from benchmarks.filling import STRANGERS
from benchmarks.growth import GrownStream, Rows
from benchmarks.likeness import exact_novelties, likeness_of_exemplars, likeness_of_streams
from benchmarks.peers import PEERS, check_installed
from benchmarks.samples import sample_videos
from benchmarks.store_tables import print_tables

THRESHOLD = 0.10
SEED = 0

_MARGIN = 1.25
"""Frames grown beyond those that seem to be needed: novelty falls a little as a memory fills."""

_BYTES_AN_EXEMPLAR = 20_000
"""Disk that the largest size takes while it is measured: thumbnails above all."""


@dataclass(frozen=True, slots=True)
class Stream:
    """The grown stream in files, and what is known of it."""

    folder: Path
    """Holds the frames, the held-out ones, thumbnails, and what they come from."""

    dimension: int
    """D."""

    likeness: list[Figures]
    """How the real vectors and the grown ones compare."""


def grow(videos: list[Path], folder: Path, exemplars: int) -> Stream:
    """Encode the videos and grow a stream for so many exemplars into a folder."""
    seen = views.encoded_views(videos, folder / "encoder")
    (folder / "thumbnails").mkdir(parents=True)
    for number, jpeg in enumerate(seen.thumbnails):
        (folder / "thumbnails" / f"{number:05}.jpg").write_bytes(jpeg)
    dimension = seen.sequences[0].shape[1]
    about = {"encoder_version": seen.encoder_version, "dimension": dimension}
    (folder / "about.json").write_text(json.dumps(about))
    stream = GrownStream(seen.sequences, SEED)
    novel = _novel_share(stream)
    stream.write(folder, math.ceil(_MARGIN * exemplars / novel) + STRANGERS)
    return Stream(folder, dimension, likeness_of_streams(seen.sequences, stream, THRESHOLD))


def _novel_share(stream: GrownStream) -> float:
    """Estimate how many of the frames will be novel, by those that are novel beside the frame before."""
    frames = stream.stretch(0).frames
    return float((1 - (frames[1:] * frames[:-1]).sum(1) > THRESHOLD).mean())


def ours_of(stream: Stream, exemplars: int, folder: Path) -> Figures:
    """Fill a memory, judge what it found, and open it again: with the copy of its index and without."""
    folder.mkdir()
    figures = _child("filling", "fill", stream.folder, folder, exemplars, THRESHOLD)
    kept = Rows(folder / "exemplars.f16", stream.dimension)
    truth = exact_novelties(np.load(folder / "queries.npy"), kept)
    np.save(folder / "truth.npy", truth)
    found = np.load(folder / "found.npy")
    repeats, recognised = truth <= THRESHOLD, found <= THRESHOLD
    figures |= {
        "repeats": int(repeats.sum()),
        "repeats_recognised": share_of(int((repeats & recognised).sum()), int(repeats.sum())),
        "nearest_found": share_of(int((np.abs(found - truth) < 1e-9)[repeats].sum()), int(repeats.sum())),
        "strangers": int((~repeats).sum()),
        "strangers_called_repeats": share_of(int((~repeats & recognised).sum()), int((~repeats).sum())),
    }
    figures |= {f"repeat_novelty_p{p}": round(float(np.percentile(truth[repeats], p)), 4) for p in (1, 10, 50, 90, 99)}
    figures |= {f"exemplar_{name}": number for name, number in likeness_of_exemplars(kept, THRESHOLD).items()}
    figures |= _child("filling", "reopen", folder)
    copies = list((folder / "data").rglob("*.index"))
    for copy in copies:
        copy.unlink()
    if copies:
        figures["reopen_without_copy_s"] = _child("filling", "reopen", folder)["reopen_s"]
    return figures


def peer_of(peer: str, stream: Stream, ours: Path, folder: Path) -> Figures:
    """Fill a peer with the exemplars of a memory, and open it again."""
    figures = _child("peers", "fill", peer, ours, folder, stream.dimension, THRESHOLD)
    return figures | _child("peers", "reopen", peer, ours, folder, stream.dimension)


def _child(module: str, *arguments: object) -> Figures:
    """Run a part in a process of its own, and read its last line."""
    command = [sys.executable, "-m", f"benchmarks.{module}", *map(str, arguments)]
    printed = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    figures: Figures = json.loads(printed.splitlines()[-1])
    return figures


@contextmanager
def _folder(kept: Path | None) -> Iterator[Path]:
    if kept is not None:
        try:
            kept.mkdir(parents=True)
        except OSError as error:
            raise click.UsageError(f"expected a folder to create: {error}") from error
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def _check_space(folder: Path, exemplars: int) -> None:
    needed, free = exemplars * _BYTES_AN_EXEMPLAR, shutil.disk_usage(folder).free
    if free < needed:
        raise click.ClickException(f"expected {needed / 1e9:.0f} GB of free disk at {folder}, got {free / 1e9:.0f} GB")


def _note(text: str) -> None:
    click.echo(text, err=True)


def _names(_context: click.Context, _parameter: click.Parameter, text: str) -> list[str]:
    return [] if text == "none" else text.split(",")


@click.command()
@click.option("--sizes", default="10000,100000,1000000", show_default=True, callback=_names, help="Exemplars.")
@click.option("--peers", default=",".join(PEERS), show_default=True, callback=_names, help="Peers, or none.")
@click.option("--videos", multiple=True, type=click.Path(path_type=Path, exists=True), help="Instead of the samples.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep all files in this new folder.")
def main(sizes: list[str], peers: list[str], videos: tuple[Path, ...], keep: Path | None) -> None:
    """Measure memories of several sizes, and the peers at each of them."""
    numbers = sorted(int(size) for size in sizes)
    check_installed(peers)
    ours, theirs = [], []
    with _folder(keep) as folder:
        _check_space(folder, numbers[-1])
        _note("encoding the videos and growing the stream")
        stream = grow(list(videos) or sample_videos(), folder / "stream", numbers[-1])
        for number in numbers:
            own = folder / f"framekeep-{number}"
            _note(f"{number:,} exemplars: framekeep")
            ours.append(ours_of(stream, number, own))
            if keep is None:
                shutil.rmtree(own / "data")  # the largest part; the peers need only what lies beside it
            for peer in peers:
                _note(f"{number:,} exemplars: {peer}")
                theirs.append(peer_of(peer, stream, own, folder / f"{peer}-{number}"))
                if keep is None:
                    shutil.rmtree(folder / f"{peer}-{number}")
    print_tables(ours, theirs, stream.likeness)
    about = {"threshold": THRESHOLD, "stride_frames": growth.STRIDE_FRAMES, "likeness": stream.likeness}
    click.echo(json.dumps({**about, "ours": ours, "peers": theirs}))


if __name__ == "__main__":
    main()
