"""Tables of `benchmarks.tune`, and what stands in its last line."""

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table

from benchmarks.figures import Figures

_WIDTH = 140


def _print(title: str, rows: Sequence[Figures], columns: dict[str, str]) -> None:
    table = Table(title=title)
    for heading in columns.values():
        table.add_column(heading, justify="right")
    for row in rows:
        table.add_row(*("-" if row[name] is None else str(row[name]) for name in columns))
    Console(width=_WIDTH).print(table)


def print_what_if(rows: Sequence[Figures]) -> dict[str, object]:
    """Print what curves told, and sum it up."""
    columns = {
        "footage": "footage",
        "case": "held",
        "frames": "frames",
        "threshold": "threshold",
        "kept": "kept",
        "told": "told",
        "error": "error",
        "stated_error": "stated",
        "on_record": "novelty on record",
        "latest_scaled": "latest, scaled",
    }
    _print("What would have been kept", rows, columns)
    fits, longer = ([row for row in rows if row["case"] == case] for case in ("fits", "10 times"))
    holds = [_number(row["error"]) <= _number(row["stated_error"]) for row in rows]
    return {
        "error_max": max((_number(row["error"]) for row in fits), default=None),
        "error_max_10_times": max((_number(row["error"]) for row in longer), default=None),
        "stated_holds": sum(holds) / len(holds),
        "latest_scaled_error_max_10_times": max(
            (abs(_number(row["latest_scaled"]) / _number(row["kept"]) - 1) for row in longer), default=None
        ),
        "rows": list(rows),
    }


def print_budget(rows: Sequence[Figures]) -> dict[str, object]:
    """Print how budgets were kept, and sum it up."""
    columns = {
        "regimes": "regimes",
        "frames_each": "frames each",
        "target": "target",
        "kept": "kept",
        "off_target": "off target",
        "thresholds": "thresholds",
        "fixed_threshold": "fixed",
        "fixed_off_target": "fixed off target",
    }
    _print("Streams held to a budget", rows, columns)
    off = [_number(row["off_target"]) for row in rows if row["off_target"] is not None]
    fixed = [_number(row["fixed_off_target"]) for row in rows if row["fixed_off_target"] is not None]
    return {
        "off_target_max": max(off, default=None),
        "fixed_off_target_max": max(fixed, default=None),
        "rows": list(rows),
    }


def print_latency(rows: Sequence[Figures]) -> dict[str, object]:
    """Print what curves cost, and sum it up."""
    columns = {
        "thresholds": "thresholds",
        "frames": "frames",
        "curves": "curves",
        "curve_s_median": "median s",
        "curve_s_max": "longest s",
        "frames_per_s_quiet": "frames/s quiet",
        "frames_per_s_asked": "frames/s asked",
        "slowed": "slowed by",
    }
    _print("Curves while a stream is encoded", rows, columns)
    by_kind = {row["thresholds"]: row for row in rows}
    standard, others = by_kind["standard"], by_kind["others, tried out"]
    return {
        "curve_s": standard["curve_s_max"],
        "slowed": standard["slowed"],
        "others_curve_s": others["curve_s_max"],
        "others_slowed": others["slowed"],
        "rows": list(rows),
    }


def _number(value: float | int | str | None) -> float:
    if not isinstance(value, int | float):
        raise TypeError(f"expected a number, got {value!r}")
    return float(value)
