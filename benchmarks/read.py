"""Reading the past by attention, against the truth and beside its peers: `python -m benchmarks.read`.

- storing: what stays instead of frames cost, against softmax over every frame of real footage (`read_storing`);
- reading: what not opening every stay costs, in memories grown from that footage (`read_growth`, `read_reading`), how
  long it takes, whether the stated errors hold, and what peers make of as many vectors (`read_peers`);
- needle: whether what was seen once is found by a copy that is a little different (`read_needles`);
- learned: what learned attention brings (`learned`).

Footage is the sample videos and games recorded with ale-py (`footage`, `atari`); queries are held-out frames, crops of
them and changes of their brightness. A full run takes some half an hour on 2 cores once the footage is there.
"""

import json
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from benchmarks.atari import GAMES
from benchmarks.figures import Figures
from benchmarks.footage import Footage, footage_folder, game_footage, video_footage
from benchmarks.growth import Vectors
from benchmarks.learned import learned_figures
from benchmarks.read_growth import SEED, GrownStays, grown_memory, sequences_of
from benchmarks.read_needles import needle_figures
from benchmarks.read_questions import Nudges, questions
from benchmarks.read_reading import reading_figures
from benchmarks.read_remembered import THRESHOLD, Remembered, remembered, shapes_of
from benchmarks.read_storing import storing_figures
from benchmarks.read_tables import (
    print_covered,
    print_learned,
    print_needle,
    print_peers,
    print_reading,
    print_storing,
    print_targets,
)
from benchmarks.read_targets import (
    Target,
    covered_targets,
    needle_targets,
    peers_targets,
    reading_targets,
    storing_targets,
)
from benchmarks.samples import sample_videos
from encoder.config import EncoderConfig
from encoder.frame_encoder import OpenVinoEncoder

PARTS = ("storing", "reading", "needle", "learned")

_GAME_SEED = 1

_SPARE = 2
"""Times as many queries of grown memories are there as are asked: some take the places of others."""

_OF_BLAS = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS")
"""Variables that change how fast the exact read is."""

_OF_GROWN = ("reading", "covered", "peers", "needle")
"""Tables of grown memories."""

Rows = dict[str, list[Figures]]


def _note(text: str) -> None:
    click.echo(text, err=True)


def _footages(
    videos: Sequence[Path], frames: int, encoder: OpenVinoEncoder, folder: Path
) -> tuple[list[Footage], list[Footage]]:
    """Give the footage of videos and of games."""
    of_videos = [video_footage(video, encoder, folder) for video in videos]
    return of_videos, [game_footage(game, frames, _GAME_SEED, encoder, folder) for game in GAMES]


@contextmanager
def _remembered(footages: Sequence[Footage]) -> Iterator[list[Remembered]]:
    """Show each footage to a memory of its own; they go when the block is left."""
    _note("showing the footage to memories")
    with tempfile.TemporaryDirectory() as folder:
        memories = [remembered(footage, Path(folder) / footage.name) for footage in footages]
        yield memories
        for memory in memories:
            memory.store.close()


def _storing(memories: Sequence[Remembered], queries: int) -> Rows:
    """Measure what storing costs."""
    rows: list[Figures] = []
    for memory in memories:
        _note(f"storing: {memory.footage.name}")
        rows.extend(storing_figures(memory, queries))
    return {"storing": rows}


def _grown(
    memories: Sequence[Remembered], sequences: list[Vectors], sizes: Sequence[int], queries: int, parts: Sequence[str]
) -> Rows:
    """Grow memories of several sizes and read them; look for needles in the largest."""
    rows: Rows = {name: [] for name in _OF_GROWN}
    nudges = Nudges([memory.footage for memory in memories])
    shapes = shapes_of(memories)
    with tempfile.TemporaryDirectory() as folder:
        _note(f"growing {sizes[-1]:,} stays")
        stays = GrownStays(sequences, sizes[-1], Path(folder))
        for size in sizes if "reading" in parts else sizes[-1:]:
            _note(f"making a memory of {size:,} stays")
            memory = grown_memory(stays, shapes, size, Path(folder))
            if "reading" in parts:
                _note(f"reading {size:,} stays")
                asked = questions(stays, size, nudges, _SPARE * queries)
                for name, more in reading_figures(memory, asked, queries).items():
                    rows[name].extend(more)
            if "needle" in parts and size == sizes[-1]:
                _note(f"looking for needles among {size:,} exemplars")
                rows["needle"].extend(needle_figures(memory, nudges))
            memory.close()
            del memory  # some gigabytes
    return rows


def _learned(footages: Sequence[Footage]) -> Rows:
    """Measure what learned attention brings."""
    _note("learned")
    return {"learned": list(learned_figures(footages))}


def _targets(rows: Rows) -> list[Target]:
    judges = {
        "storing": storing_targets,
        "reading": reading_targets,
        "covered": covered_targets,
        "peers": peers_targets,
        "needle": needle_targets,
    }
    return [target for name, judge in judges.items() if rows[name] for target in judge(rows[name])]


def _print(rows: Rows, targets: Sequence[Target]) -> None:
    printers = {
        "storing": print_storing,
        "reading": print_reading,
        "covered": print_covered,
        "peers": print_peers,
        "needle": print_needle,
        "learned": print_learned,
    }
    for name, printer in printers.items():
        if rows[name]:
            printer(rows[name])
    print_targets(targets)


def _sizes(_context: click.Context, _parameter: click.Parameter, text: str) -> list[int]:
    return sorted(int(size) for size in text.split(","))


@click.command()
@click.option("--sizes", default="10000,100000,1000000", show_default=True, callback=_sizes, help="Stays to grow.")
@click.option("--videos", multiple=True, type=click.Path(path_type=Path, exists=True), help="Instead of the samples.")
@click.option("--frames", default=20_000, show_default=True, help="Frames that each game is played.")
@click.option("--queries", default=200, show_default=True, help="Queries of a case.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep the footage in this folder, or take it from there.")
@click.option("--only", type=click.Choice(PARTS), help="Measure only this part.")
def main(
    sizes: list[int], videos: tuple[Path, ...], frames: int, queries: int, keep: Path | None, only: str | None
) -> None:
    """Measure how well and how fast the past is read."""
    parts = PARTS if only is None else (only,)
    begun = time.monotonic()
    rows: Rows = {name: [] for name in ("storing", *_OF_GROWN, "learned")}
    with footage_folder(keep) as folder:
        encoder = OpenVinoEncoder(EncoderConfig(), folder / "encoder")
        files = list(videos) or sample_videos()
        of_videos, of_games = _footages(files, frames, encoder, folder)
        footages = of_videos + of_games
        with _remembered([] if parts == ("learned",) else footages) as memories:
            if "storing" in parts:
                rows |= _storing(memories, queries)
            if "reading" in parts or "needle" in parts:
                rows |= _grown(memories, sequences_of(files, of_games, encoder.version, folder), sizes, queries, parts)
        if "learned" in parts:
            rows |= _learned(footages)
    targets = _targets(rows)
    _print(rows, targets)
    about = {
        "threshold": THRESHOLD,
        "seed": SEED,
        "seconds": round(time.monotonic() - begun),
        "load_average": os.getloadavg(),
        "environment": {name: os.environ[name] for name in _OF_BLAS if name in os.environ},
    }
    told = {target.name: [target.measured, target.asked] for target in targets}
    click.echo(json.dumps({"about": about, **rows, "targets": told}))


if __name__ == "__main__":
    main()
