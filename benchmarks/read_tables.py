"""The tables that `benchmarks.read` prints."""

import textwrap
from collections.abc import Sequence
from itertools import groupby

import click

from benchmarks.figures import Figures
from benchmarks.footage import KINDS
from benchmarks.read_targets import Target

_WIDTH = 120

Column = tuple[str, str, int, str]
"""Name of a figure, title, width, and how it is told: a format, or % for a share in percent."""

_ABOUT: tuple[Column, ...] = (
    ("case", "case", 10, ""),
    ("queries", "asked", 6, "d"),
    ("inverse_temperature", "beta", 7, ".1f"),
    ("effective_size", "eff.size", 11, ",.0f"),
    ("blind_error", "blind %", 8, "%"),
)

_SIZED: tuple[Column, ...] = (("n", "stays", 10, ",d"), *_ABOUT)

_STORING: tuple[Column, ...] = (
    *_ABOUT,
    ("error_median", "error %", 8, "%"),
    ("of_blind_median", "/blind", 7, ".3f"),
    ("of_blind_p95", "p95", 6, ".3f"),
    *((kind, kind[:6], 7, ".3f") for kind in KINDS),
    ("stated_holds", "holds %", 8, "%"),
    ("stated_ratio", "ratio", 6, ".1f"),
    ("p50_ms", "ms", 6, ".0f"),
    ("default_of_blind_median", "default", 9, ".3f"),
    ("default_stated_holds", "holds %", 8, "%"),
    ("default_stated_ratio", "ratio", 6, ".1f"),
    ("default_p50_ms", "ms", 6, ".1f"),
    ("means_of_blind_median", "means", 7, ".3f"),
    ("means_stated_holds", "holds %", 8, "%"),
    ("exemplars_of_blind_median", "exempl.", 8, ".3f"),
)

_READING: tuple[Column, ...] = (
    *_SIZED,
    ("error_median", "error %", 8, "%"),
    ("error_p95", "p95", 6, "%"),
    ("denominator_error", "denom.", 7, "%"),
    ("touched_share", "touched", 8, "%"),
    ("codes_share", "codes", 6, "%"),
    ("p50_ms", "p50 ms", 7, ".1f"),
    ("p99_ms", "p99", 6, ".1f"),
    ("p50_with_view_ms", "w.view", 7, ".1f"),
    ("p50_cpu_ms", "CPU", 6, ".1f"),
    ("exact_by_blas_p50_ms", "BLAS", 7, ".1f"),
    ("times_faster", "times", 6, ".1f"),
)

_COVERED: tuple[Column, ...] = (
    *_SIZED,
    ("stated_holds", "holds %", 8, "%"),
    ("stated_median", "stated %", 9, "%"),
    ("error_median", "error %", 8, "%"),
    ("stated_ratio", "stated / true", 14, ".2f"),
)

_NEEDLE: tuple[Column, ...] = (
    ("n", "stays", 10, ",d"),
    ("nudge", "nudge", 16, ""),
    ("queries", "asked", 6, "d"),
    ("distance_p50", "moved p50", 10, ".4f"),
    ("distance_p95", "p95", 8, ".4f"),
    ("first", "first %", 9, "%"),
    ("first_by_a_look", "by a look %", 12, "%"),
    ("others_nearer_by_p50", "others nearer by", 17, ".4f"),
)


def print_storing(rows: Sequence[Figures]) -> None:
    """Print what storing costs, a block a video."""
    click.echo(
        "\nstoring: the fully opened answer against softmax over every frame. Errors are shares of the exact context\n"
        "vector's length; /blind: of the blind answer's error, median, 95th percentile and medians by kind of query;\n"
        "holds, ratio: the stated error of storing; default: with as many frames looked at as by default; means: with\n"
        "none; exempl.: exemplars without counts"
    )
    for video, of_video in groupby(rows, key=lambda row: row["video"]):
        of_cases = [list(of_case) for _, of_case in groupby(of_video, key=lambda row: row["case"])]
        first = of_cases[0][0]
        click.echo(
            f"\n{video}: {first['frames']:,} frames, {first['exemplars']:,} exemplars, {first['stays']:,} stays, "
            f"{first['bytes_on_record_a_frame']} bytes on record a frame"
        )
        together: list[Figures] = [
            of_case[0] | {str(row["kind"]): row["of_blind_median"] for row in of_case[1:]} for of_case in of_cases
        ]
        _print(_STORING, together)


def print_reading(rows: Sequence[Figures]) -> None:
    """Print how memories are read."""
    click.echo(
        "\nreading: against the exact read, which takes BLAS as long as said; w.view: with making the view;\n"
        "CPU: p50 of the time on a core, which other programs do not lengthen by waiting"
    )
    _print(_READING, rows)


def print_covered(rows: Sequence[Figures]) -> None:
    """Print how far stated errors can be trusted."""
    click.echo("\ncovered: the stated error of reading; - where everything was read")
    _print(_COVERED, rows)


def print_peers(rows: Sequence[Figures]) -> None:
    """Print the errors of all ways, those of a case beside each other."""
    click.echo(
        "\npeers: median error in %, as many vectors read. The searches of exact top-k and SoftmaxLift are free,\n"
        "though they look at all stays; HCAM and the design's lead pay for the summaries of blocks"
    )
    ways = list(dict.fromkeys(str(row["way"]) for row in rows))
    columns = (
        ("n", "stays", 10, ",d"),
        ("case", "case", 10, ""),
        ("effective_size", "eff.size", 11, ",.0f"),
        ("blind_error", "blind", 7, "%"),
        ("touched_share", "touched", 8, "%"),
        *((way, way, max(10, len(way) + 1), "%") for way in ways),
    )
    of_cases = (list(of_case) for _, of_case in groupby(rows, key=lambda row: (row["n"], row["case"])))
    _print(
        columns,
        [of_case[0] | {str(row["way"]): row["error_median"] for row in of_case} for of_case in of_cases],
    )


def print_needle(rows: Sequence[Figures]) -> None:
    """Print whether needles are found."""
    click.echo("\nneedle: exemplars seen once, asked for by a nudged copy")
    _print(_NEEDLE, rows)


def print_learned(rows: Sequence[Figures]) -> None:
    """Print what learned attention brings, a line or two a row."""
    click.echo("\nlearned")
    for row in rows:
        told = "  ".join(f"{name} {figure}" for name, figure in row.items())
        click.echo(textwrap.fill(told, _WIDTH, subsequent_indent="    "))


def print_targets(targets: Sequence[Target]) -> None:
    """Print what was asked for."""
    click.echo("\ntargets, in the worst case")
    for target in targets:
        measured = "-" if target.measured is None else f"{target.measured:g}"
        asked = f"{'>=' if target.at_least else '<='} {target.asked:g}"
        click.echo(f"{target.name:46} {measured:>12} {asked:>12}  {'met' if target.is_met else 'missed'}")


def _print(columns: Sequence[Column], rows: Sequence[Figures]) -> None:
    click.echo("".join(f"{title:>{width}}" for _, title, width, _ in columns))
    for row in rows:
        click.echo("".join(f"{_told(row.get(name), how):>{width}}" for name, _, width, how in columns))


def _told(figure: float | int | str | None, how: str) -> str:
    if figure is None:
        return "-"
    return f"{100 * float(figure):.2f}" if how == "%" else format(figure, how)
