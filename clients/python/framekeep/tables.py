"""Tables and trees for terminals and pipes, and numbers in the form that fits into their cells."""

from collections.abc import Sequence
from datetime import timedelta
from decimal import ROUND_CEILING, Context, Decimal

from rich.console import Console
from rich.table import Table
from rich.tree import Tree

_PIPE_COLUMNS = 200
"""Width of tables that do not go to a terminal: wide enough that no cell is folded."""

_NUMBERS = frozenset(
    (
        *("duration", "exemplar", "exemplars", "floats", "frames", "largest novelty", "level", "novel"),
        *("forgotten", "novelty", "withheld", "in answers"),
        *("+-", "a day", "bytes a day", "a day of a stream", "bytes a day of a stream"),
        *("mean dropped", "largest dropped"),
        *("novelty to the first", "on disk", "rejected", "repeat", "sightings", "total", "weight"),
        *("kept", "share", "frames/s", "mean", "99 %", "largest", "seen", "within 1 s", "similarity"),
    )
)
"""Columns that stand to the right."""

_TWO_DIGITS_UP = Context(prec=2, rounding=ROUND_CEILING)


def print_table(table: Table | Tree) -> None:
    """Print a table or a tree on standard output, as wide as the terminal; without one, without folding."""
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=_PIPE_COLUMNS)
    console.print(table)


def table_of(*columns: str) -> Table:
    """An empty table with these columns."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, justify="right" if column in _NUMBERS else "left", no_wrap=True)
    return table


def facts_of(rows: Sequence[tuple[str, str]]) -> Table:
    """A table of names and values."""
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


def shown_age(age: timedelta) -> str:
    """`30 d`, `36 h`: in the largest unit that says it exactly."""
    for length, unit in ((timedelta(days=1), "d"), (timedelta(hours=1), "h"), (timedelta(minutes=1), "min")):
        if age and not age % length:
            return f"{age // length} {unit}"
    return f"{age.total_seconds():g} s"


def shown_share(share: float) -> str:
    """`20.1 %`; `<0.1 %` where that would be 0.0 % although it is more."""
    return "<0.1 %" if 0 < share < 0.0005 else f"{100 * share:.1f} %"


def shown_bound(share: float) -> str:
    """`0.62 %`: a share that something is at most, to two digits, and never rounded down."""
    percent = 100 * Decimal(repr(share))
    return f"{float(_TWO_DIGITS_UP.create_decimal(percent)):g} %"


def shown_size(size_bytes: int) -> str:
    """`130.6 MB`: in units of a thousand."""
    for size, unit in ((10**12, "TB"), (10**9, "GB"), (10**6, "MB"), (10**3, "kB")):
        if size_bytes >= size:
            return f"{size_bytes / size:.1f} {unit}"
    return f"{size_bytes} bytes"
