"""Real footage for `benchmarks.read`: what a memory is shown, and questions about frames that it was never shown.

Videos and recorded games (`benchmarks.atari`) are encoded just as the server does it. One frame of each of H equal
stretches of time is held out: left out of what is shown, and asked for as it is, cropped, and with its brightness
changed. Its neighbours are shown, a tenth of a second away or less, and in games the very picture may come back at
another time: a held-out frame is one that the memory was not shown, not one that looks like nothing it was shown.

Footage is kept in a folder, a file each, and read from there the next time.

Shapes: T frames shown, H frames held out, Q queries, D width.
"""

import hashlib
import importlib.metadata
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import click
import numpy as np
from numpy.typing import NDArray

from benchmarks.atari import PICTURES_A_SECOND, played
from benchmarks.growth import Vectors
from encoder.frame_encoder import FrameEncoder
from encoder.picture import Picture, Pixels
from encoder.preprocess import encoder_input

KINDS = ("frame", "crop", "brightness")
"""Kinds of queries: a held-out frame as it is, a crop of it, and the whole of it brighter or darker."""

HELD_OUT = 500
"""H, frames held out, where the footage is long enough."""

HELD_OUT_SHARE = 1 / 3
"""Of all frames, held out at most: a memory of a short video must still be shown most of it."""

LEAST_ALTERED = 200
"""Crops, and changes of brightness: where fewer frames are held out, each is altered several times."""

CROP_SHARES = (0.85, 0.95)
"""Of each side, what a crop leaves, at a random place."""

BRIGHTNESS = (0.75, 1.3)
"""Factors of brightness; what gets brighter than white is cut off."""

BATCH = 64
"""Pictures that wait for the encoder at a time."""

_RECIPE = 1
"""Part of what footage is kept under: raised whenever this module or the player would make other footage."""

_PROGRESS_EVERY = 2_000


@dataclass(frozen=True, slots=True)
class Footage:
    """A stream as a memory is shown it, and what is asked afterwards."""

    name: str
    """Name of the video or game."""

    frames: Vectors
    """Frames that are shown, in order of time: float32 [T, D], unit length as embeddings are."""

    times_us: NDArray[np.int64]
    """When they were captured, in microseconds: [T], increasing."""

    queries: dict[str, Vectors]
    """By kind, one of KINDS: float32 [Q, D], Q differs by kind. Once through all held-out frames, and again if need be:
    query i of every kind comes from the same held-out frame."""

    query_times_us: NDArray[np.int64]
    """When the held-out frame of query i was captured, in microseconds: [Q] of the longest kind; see `times_of`."""

    def __post_init__(self) -> None:
        """Check that times and vectors belong together.

        Raises:
            ValueError: a kind is missing, or there are not as many times as vectors.
        """
        if tuple(self.queries) != KINDS:
            raise ValueError(f"expected queries of the kinds {KINDS}, got {tuple(self.queries)}")
        longest = max(map(len, self.queries.values()))
        if (len(self.times_us), len(self.query_times_us)) != (len(self.frames), longest):
            raise ValueError(
                f"expected {len(self.frames)} times of frames and {longest} of queries, "
                f"got {len(self.times_us)} and {len(self.query_times_us)}"
            )

    def times_of(self, kind: str) -> NDArray[np.int64]:
        """Give the times of the queries of one kind: [Q]."""
        return self.query_times_us[: len(self.queries[kind])]


@contextmanager
def footage_folder(kept: Path | None) -> Iterator[Path]:
    """Give the folder that footage is kept in; if none is named, one that goes when the block is left."""
    if kept is not None:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept
        return
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder)


def video_footage(video: Path, encoder: FrameEncoder, folder: Path) -> Footage:
    """Encode every frame of a video; its name is that of the file, without the ending.

    Args:
        video: a video file.
        encoder: encodes the pictures.
        folder: keeps the footage.
    """
    with av.open(str(video)) as container:
        total = sum(1 for _ in container.decode(video=0))
    content = hashlib.sha256(video.read_bytes()).hexdigest()
    kept = _place(folder, encoder, video.stem, total, 0, content)
    footage = _load(kept, video.stem)
    return _recorded(kept, video.stem, _decoded(video), total, 0, encoder) if footage is None else footage


def game_footage(game: str, frames: int, seed: int, encoder: FrameEncoder, folder: Path) -> Footage:
    """Play a game and encode what is seen.

    Args:
        game: as `benchmarks.atari.played` takes it.
        frames: pictures played, shown and held out.
        seed: of the play, and of what is held out.
        encoder: encodes the pictures.
        folder: keeps the footage.
    """
    kept = _place(folder, encoder, game, frames, seed, importlib.metadata.version("ale-py"))
    footage = _load(kept, game)
    if footage is not None:
        return footage
    timed = (
        (number * 1_000_000 // PICTURES_A_SECOND, pixels) for number, pixels in enumerate(played(game, frames, seed))
    )
    return _recorded(kept, game, timed, frames, seed, encoder)


def _decoded(video: Path) -> Iterator[tuple[int, Pixels]]:
    """Give each frame of a video with its time in microseconds."""
    with av.open(str(video)) as container:
        for frame in container.decode(video=0):
            assert frame.pts is not None, f"expected a time of every frame of {video}"
            assert frame.time_base is not None
            yield int(frame.pts * frame.time_base * 1_000_000), np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)


class _Encodings:
    """The encodings of pictures, each different one encoded once: games show the same ones again and again."""

    def __init__(self, encoder: FrameEncoder) -> None:
        self._encoder = encoder
        self._numbers: dict[bytes, int] = {}
        self._waiting: list[Pixels] = []
        self._encoded: list[Vectors] = []

    def __len__(self) -> int:
        """Count the different pictures."""
        return len(self._numbers)

    def add(self, pixels: Pixels) -> int:
        """Take a picture: the number of the row of `vectors` that is its encoding."""
        pixels = encoder_input(Picture(pixels), self._encoder.input_side_pixels)
        digest = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
        if digest not in self._numbers:
            self._numbers[digest] = len(self._numbers)
            self._waiting.append(pixels)
            if len(self._waiting) == BATCH:
                self._encode()
        return self._numbers[digest]

    def vectors(self) -> Vectors:
        """Encode what still waits, and give the encodings of all different pictures: float32 [N, D]."""
        self._encode()
        return np.concatenate(self._encoded)

    def _encode(self) -> None:
        self._encoded.append(self._encoder.encode(self._waiting))
        self._waiting = []


def _recorded(
    kept: Path, name: str, timed: Iterable[tuple[int, Pixels]], total: int, seed: int, encoder: FrameEncoder
) -> Footage:
    """Encode pictures and alterations of those that are held out, and keep them in a file.

    Args:
        kept: the file.
        name: of the footage.
        timed: pictures with their times in microseconds.
        total: how many.
        seed: of what is held out and how it is altered.
        encoder: encodes them.
    """
    rng = np.random.default_rng(seed)
    held_out = _held_out(total, rng)
    times_each = -(-LEAST_ALTERED // len(held_out))
    encodings = _Encodings(encoder)
    shown: list[tuple[int, int]] = []  # time and number of the encoding
    asked: list[tuple[int, list[list[int]]]] = []  # time, and for each time that it is altered, numbers by kind
    for number, (time_us, pixels) in enumerate(timed):
        if number in held_out:
            asked.append((time_us, [[encodings.add(view) for view in _views(pixels, rng)] for _ in range(times_each)]))
        else:
            shown.append((time_us, encodings.add(pixels)))
        if number % _PROGRESS_EVERY == 0:
            click.echo(f"{name}: {number} of {total} frames, {len(encodings)} different", err=True)
    vectors = encodings.vectors()
    numbers = np.array([views for _, views in asked]).swapaxes(0, 1)  # [times_each, H, kinds]
    by_kind = [numbers[0, :, 0], numbers[:, :, 1].ravel(), numbers[:, :, 2].ravel()]  # a frame as it is, once
    footage = Footage(
        name,
        vectors[[encoding for _, encoding in shown]],
        np.array([time_us for time_us, _ in shown], np.int64),
        {kind: vectors[rows] for kind, rows in zip(KINDS, by_kind, strict=True)},
        np.tile(np.array([time_us for time_us, _ in asked], np.int64), times_each),
    )
    _save(kept, footage)
    click.echo(f"{name}: {len(footage.frames)} frames shown, {len(held_out)} held out", err=True)
    return footage


def _held_out(total: int, rng: np.random.Generator) -> set[int]:
    """Choose a frame of each of H equal stretches, so that no rhythm of the footage meets that of the choice."""
    borders = np.linspace(0, total, min(HELD_OUT, int(total * HELD_OUT_SHARE)) + 1).astype(np.int64)
    return set(rng.integers(borders[:-1], borders[1:]).tolist())


def _views(pixels: Pixels, rng: np.random.Generator) -> list[Pixels]:
    """Give a picture, a crop of it, and the whole of it brighter or darker."""
    height, width = (round(side * rng.uniform(*CROP_SHARES)) for side in pixels.shape[:2])
    top, left = (rng.integers(whole - part + 1) for whole, part in zip(pixels.shape[:2], (height, width), strict=True))
    brightness = np.clip(np.rint(pixels * rng.uniform(*BRIGHTNESS)), 0, 255).astype(np.uint8)
    return [pixels, np.ascontiguousarray(pixels[top : top + height, left : left + width]), brightness]


def _place(folder: Path, encoder: FrameEncoder, name: str, frames: int, seed: int, source: str) -> Path:
    """Name the file that keeps some footage."""
    parts = f"{_RECIPE} {name} {frames} {seed} {source} {encoder.version}"
    return folder / f"{name}-{frames}-{seed}-{hashlib.sha256(parts.encode()).hexdigest()[:12]}.npz"


def _save(kept: Path, footage: Footage) -> None:
    """Write a file; under another name first, so that one that is there is whole."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    partial = kept.with_suffix(".partial.npz")
    queries: dict[str, Any] = {kind: vectors.astype(np.float16) for kind, vectors in footage.queries.items()}
    np.savez(
        partial,
        frames=footage.frames.astype(np.float16),  # which holds embeddings to the last bit
        times_us=footage.times_us,
        query_times_us=footage.query_times_us,
        **queries,
    )
    partial.rename(kept)


def _load(kept: Path, name: str) -> Footage | None:
    """Read a file, if it is there."""
    if not kept.exists():
        return None
    with np.load(kept) as arrays:
        return Footage(
            name,
            arrays["frames"].astype(np.float32),
            arrays["times_us"],
            {kind: arrays[kind].astype(np.float32) for kind in KINDS},
            arrays["query_times_us"],
        )
