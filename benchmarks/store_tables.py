"""The tables that the store's benchmark prints."""

from collections.abc import Sequence

import click

from benchmarks.figures import Figures
from benchmarks.growth import STRIDE_FRAMES

Cell = float | int | str | None

TARGETS_AT = 1_000_000
"""Exemplars that the targets speak of."""

# Of our own figures: name, unit, what is asked for, and whether more is better.
_TARGETS = (
    ("check_p50_ms", "ms", 1.0, False),
    ("check_p99_while_building_ms", "ms", 20.0, False),
    ("repeats_recognised", "", 0.995, True),
    ("strangers_called_repeats", "", 0.0, False),
    ("inserts_per_s", "/s", 2000.0, True),
    ("rss_bytes_per_exemplar", "bytes", 3000.0, False),
    ("reopen_s", "s", 20.0, False),
)

_TIMES_FASTER = 20.0
"""Than FAISS flat, at the median."""

_COLUMNS = (
    ("check_p50_ms", "check p50"),
    ("check_p99_ms", "p99 ms"),
    ("checks", "checks"),
    ("repeats_recognised", "recognised"),
    ("inserts_per_s", "inserts/s"),
    ("rss_bytes_per_exemplar", "RSS B/ex"),
    ("disk_bytes_per_exemplar", "disk B/ex"),
    ("reopen_s", "reopen s"),
)

_NOTES = """\
Inserts are measured in batches of 64: ours over the last tenth of the fill, and they look, decide, count, keep a
thumbnail and are synced to the disk. Peers store vectors only, at the end of a fill in bulk; faiss keeps them in
memory, lancedb writes files without syncing them, sqlite-vec syncs each batch.
RSS is of the whole process. Disk: ours without thumbnails. Reopened until the first answer, from a warm page cache."""

_DETAILS = (
    "novel_share",
    "inserts_per_s_overall",
    "group_p50_ms",
    "group_p99_ms",
    "group_max_ms",
    "checks_while_building",
    "check_p50_while_building_ms",
    "check_p99_while_building_ms",
    "check_max_while_building_ms",
    "settle_s",
    "nearest_found",
    "repeats",
    "repeat_novelty_p10",
    "repeat_novelty_p50",
    "repeat_novelty_p90",
    "strangers",
    "strangers_called_repeats",
    "rss_bytes_empty",
    "rss_bytes",
    "peak_rss_bytes",
    "rss_bytes_reopened",
    "peak_rss_bytes_reopened",
    "thumbnail_bytes_per_exemplar",
    "reopen_without_copy_s",
    "check_p50_after_reopening_ms",
)

_LIKENESS = (
    *(f"novelty_after_{lag}_frames_p{percent}" for lag in (1, 5, STRIDE_FRAMES) for percent in (10, 50, 90)),
    "mean_length",
    "effective_dimension",
    *(f"dimensions_of_{percent}_percent" for percent in (50, 90, 99)),
)

_NEAREST = (
    "exemplar_number",
    "exemplar_within_threshold",
    *(f"exemplar_nearest_other_p{percent}" for percent in (1, 10, 50, 90, 99)),
)


def print_tables(ours: Sequence[Figures], peers: Sequence[Figures], likeness: Sequence[Figures]) -> None:
    """Print what was measured: all beside each other, our own in detail, the vectors, and the targets."""
    click.echo(_line(f"{'exemplars':>9}  {'way':12}", [title for _, title in _COLUMNS]))
    for row in sorted([*ours, *peers], key=_size):
        way = f"{_size(row):9,}  {row.get('peer', 'framekeep'):12}"
        click.echo(_line(way, [row.get(name) for name, _ in _COLUMNS]))
    click.echo(_NOTES)
    _print_block("framekeep in detail", _DETAILS, [(f"{_size(row):,}", row) for row in ours])
    _print_block("the vectors", _LIKENESS, [(str(row["vectors"]), row) for row in likeness])
    kept = [("real", likeness[0])] + [(f"{_size(row):,}", row) for row in ours]
    _print_block("exemplars: novelty to the nearest other", _NEAREST, kept)
    _print_targets(ours, peers)


def _size(row: Figures) -> int:
    return int(row["n"] or 0)


def _print_block(title: str, names: Sequence[str], columns: Sequence[tuple[str, Figures]]) -> None:
    click.echo(_line(f"\n{title:38}", [name for name, _ in columns]))
    for name in names:
        click.echo(_line(f"{name:38}", [row.get(name) for _, row in columns]))


def _print_targets(ours: Sequence[Figures], peers: Sequence[Figures]) -> None:
    row = ours[-1]
    click.echo(f"\nTargets are for {TARGETS_AT:,} exemplars; the figures are for {_size(row):,}")
    for name, unit, target, more in _TARGETS:
        click.echo(f"{name:38} {_told(row.get(name)):>12} {unit:5} target {'>=' if more else '<='} {target:g}")
    flat = [peer for peer in peers if peer["peer"] == "faiss" and peer["n"] == row["n"]]
    if flat:
        times = float(flat[0]["check_p50_ms"] or 0) / float(row["check_p50_ms"] or 1)
        click.echo(f"{'times faster than faiss flat, p50':38} {times:12.1f} {'':5} target >= {_TIMES_FASTER:g}")


def _line(first: str, cells: Sequence[Cell]) -> str:
    return first + "".join(f" {_told(cell):>13}" for cell in cells)


def _told(cell: Cell) -> str:
    return "-" if cell is None else f"{cell:,}" if isinstance(cell, int) else str(cell)
