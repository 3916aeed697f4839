"""Tables for people who read what the command prints."""

from collections.abc import Sequence
from datetime import datetime, timedelta

import click
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from framekeep.answers import Answer, Sighting
from framekeep.memories import Contents, Exemplar, Memory, Stream
from framekeep.times import shown_time
from framekeep.verdicts import StreamSummary

_PIPE_COLUMNS = 200
"""Width of tables that do not go to a terminal: wide enough that no cell is folded."""

_NUMBERS = frozenset(
    (
        *("duration", "exemplar", "exemplars", "floats", "frames", "largest novelty", "level", "novel", "novelty"),
        *("novelty to the first", "on disk", "rejected", "repeat", "sightings", "total", "weight"),
    )
)
"""Columns that stand to the right."""


def _print(table: Table) -> None:
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_COLUMNS)
    console.print(table)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=True)
    return table


def _facts(rows: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    for row in rows:
        table.add_row(*row)
    return table


def shown_duration(duration: timedelta) -> str:
    """`12.3 s`, `4:05 min`, `1:02:03 h`: short enough for a table."""
    seconds = duration.total_seconds()
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02}:{rest:02} h"


def _shown_size(size_bytes: int) -> str:
    for size, unit in ((10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"


def _shown_time(time: datetime | None) -> str:
    return "-" if time is None else shown_time(time)


def print_summary(summary: StreamSummary) -> None:
    """What became of the frames of a run."""
    rows = [
        ("memory / stream", f"{summary.memory} / {summary.stream}"),
        ("session", summary.session_id),
        ("frames", f"{summary.frames:,}"),
        ("  novel", f"{summary.novel_frames:,} (kept as exemplars: {100 * summary.kept_share:.1f} %)"),
        ("  repeat", f"{summary.repeat_frames:,}"),
        ("  rejected", f"{summary.rejected_frames:,}"),
        ("speed", f"{summary.frames_per_second:.1f} frames/s over {summary.elapsed_s:.1f} s"),
        ("sent", _shown_size(summary.sent_bytes)),
    ]
    for name, number in (
        ("skipped", f"{summary.skipped_frames:,} frames that the session had acknowledged before"),
        ("damaged", f"{summary.damaged_frames:,} packets or pictures that could not be decoded"),
        ("reconnected", f"{summary.reconnections:,} times"),
    ):
        if not number.startswith("0 "):
            rows.append((name, number))
    _print(_facts(rows))


def print_answer(answer: Answer) -> None:
    """When something was last seen, the matches, and the blocks that drew the attention."""
    click.echo(_verdict_on(answer))
    if answer.matches:
        click.echo("\nMatches, most similar first")
        table = _table("exemplar", "novelty", "first seen", "last seen", "total", "sightings", "frames")
        for match in answer.matches:
            table.add_row(
                str(match.exemplar),
                f"{match.novelty:.4f}",
                shown_time(match.first_time),
                shown_time(match.last_time),
                shown_duration(match.total_duration),
                f"{match.sighting_count:,}",
                f"{match.frame_count:,}",
            )
        _print(table)
    if answer.attention is not None:
        attention = answer.attention
        click.echo(
            f"\nAttention over {attention.frame_count:,} frames in {attention.stay_count:,} stays "
            f"(in effect {attention.effective_stays:.1f}) at inverse temperature {attention.inverse_temperature:g}"
        )
        table = _table("level", "stream", "block", "weight", "from", "to", "frames")
        for block in answer.blocks:
            table.add_row(
                str(block.level),
                block.stream,
                str(block.index),
                f"{100 * block.weight:.1f} %",
                shown_time(block.start_time),
                shown_time(block.end_time),
                f"{block.frame_count:,}",
            )
        _print(table)


def _verdict_on(answer: Answer) -> str:
    if not answer.matches:
        return "never seen (nothing within the filter)"
    best = answer.matches[0]
    if not answer.seen:
        return (
            f"never seen (nearest exemplar {best.exemplar} at novelty {best.novelty:.4f}, "
            f"threshold {answer.novelty_threshold:g})"
        )
    times = "once" if best.sighting_count == 1 else f"{best.sighting_count:,} times"
    return f"last seen {shown_time(best.last_time)}, {times}, total {shown_duration(best.total_duration)}"


def print_exemplars(exemplars: Sequence[Exemplar], *, total: int) -> None:
    """Exemplars in a table, and how many more there are."""
    table = _table("exemplar", "stream", "captured", "last seen", "total", "sightings", "frames")
    for exemplar in exemplars:
        table.add_row(
            str(exemplar.id),
            exemplar.stream,
            shown_time(exemplar.capture_time),
            shown_time(exemplar.last_time),
            shown_duration(exemplar.total_duration),
            f"{exemplar.sighting_count:,}",
            f"{exemplar.frame_count:,}",
        )
    _print(table)
    if len(exemplars) < total:
        click.echo(f"{len(exemplars):,} of {total:,} exemplars; --limit shows more", err=True)


def print_timeline(sightings: Sequence[Sighting]) -> None:
    """Sightings in a table."""
    table = _table("from", "to", "duration", "exemplar", "frames", "largest novelty", "threshold")
    for sighting in sightings:
        table.add_row(
            shown_time(sighting.start_time),
            shown_time(sighting.end_time),
            shown_duration(sighting.end_time - sighting.start_time),
            str(sighting.exemplar),
            f"{sighting.frame_count:,}",
            f"{sighting.largest_novelty:.4f}",
            f"{sighting.novelty_threshold:g}",
        )
    _print(table)


def print_memories(memories: Sequence[Memory], unreadable: Sequence[str]) -> None:
    """Memories in a table, and those that the server cannot read."""
    table = _table("memory", "threshold", "frames", "exemplars", "on disk", "first frame", "last frame")
    for memory in memories:
        table.add_row(
            memory.name,
            f"{memory.novelty_threshold:g}",
            f"{memory.contents.frames:,}",
            f"{memory.contents.exemplars:,}",
            _shown_size(memory.contents.stored_bytes),
            _shown_time(memory.contents.first_time),
            _shown_time(memory.contents.last_time),
        )
    _print(table)
    for name in unreadable:
        click.echo(f"{name}: cannot be read; `framekeep memories show {name}` says why", err=True)


def print_memory(memory: Memory, streams: Sequence[Stream]) -> None:
    """All about a memory, and a line for each of its streams."""
    rows = [
        ("memory", memory.name),
        ("threshold", f"{memory.novelty_threshold:g} (policy revision {memory.policy_revision})"),
        ("encoder", f"{memory.encoder_version}, {memory.dimension} floats an embedding"),
        ("created", shown_time(memory.create_time)),
        *_contents_rows(memory.contents),
    ]
    _print(_facts(rows))
    if streams:
        click.echo()
        table = _table("stream", "threshold", "frames", "novel", "repeat", "rejected", "first frame", "last frame")
        for stream in streams:
            own = "" if stream.novelty_threshold is None else " (its own)"
            table.add_row(
                stream.name,
                f"{stream.effective_novelty_threshold:g}{own}",
                f"{stream.contents.frames:,}",
                f"{stream.contents.novel_frames:,}",
                f"{stream.contents.repeat_frames:,}",
                f"{stream.contents.rejected_frames:,}",
                _shown_time(stream.contents.first_time),
                _shown_time(stream.contents.last_time),
            )
        _print(table)


def _contents_rows(contents: Contents) -> list[tuple[str, str]]:
    share = 100 * contents.novel_frames / contents.frames if contents.frames else 0.0
    return [
        ("frames", f"{contents.frames:,}"),
        ("  novel", f"{contents.novel_frames:,} ({share:.1f} %)"),
        ("  repeat", f"{contents.repeat_frames:,}"),
        ("  rejected", f"{contents.rejected_frames:,}"),
        ("exemplars", f"{contents.exemplars:,}"),
        ("stays", f"{contents.stays:,}"),
        ("sightings", f"{contents.sightings:,}"),
        ("received", _shown_size(contents.received_bytes)),
        ("on disk", _shown_size(contents.stored_bytes)),
        ("first frame", _shown_time(contents.first_time)),
        ("last frame", _shown_time(contents.last_time)),
    ]


def print_threshold(changed: Memory | Stream) -> None:
    """The threshold in force."""
    match changed:
        case Memory():
            click.echo(f"{changed.name}: threshold {changed.novelty_threshold:g}")
        case Stream():
            own = "that of the memory" if changed.novelty_threshold is None else "its own"
            click.echo(f"{changed.memory} / {changed.name}: threshold {changed.effective_novelty_threshold:g} ({own})")


def print_embeddings(names: Sequence[str], embeddings: NDArray[np.float32]) -> None:
    """Pictures, and how far each is from the first.

    Args:
        names: of the B pictures.
        embeddings: float32 [B, D], unit length.
    """
    distances = 1.0 - embeddings.astype(np.float64) @ embeddings[0].astype(np.float64)  # [B]
    table = _table("picture", "floats", "novelty to the first")
    for name, distance in zip(names, distances, strict=True):
        table.add_row(name, str(embeddings.shape[1]), f"{max(0.0, float(distance)):.4f}")
    _print(table)
