"""How a run of a stream comes along, for people who watch it on a terminal."""

import time
from contextlib import AbstractContextManager, nullcontext

from rich.console import Console, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from framekeep.forever import ForeverRun
from framekeep.ingest import StreamRun

_UPDATES_PER_SECOND = 1

_BAR_COLUMNS = 40


class _Line:
    """`1,234 frames, 56 kept, 24.9 frames/s`, with a bar before it where the end is known."""

    def __init__(self, run: StreamRun | ForeverRun) -> None:
        self._run = run
        self._last_s, self._last_frames = time.monotonic(), 0

    def shown(self) -> RenderableType:
        summary, expected = self._run.summary, self._run.expected_frames
        now_s = time.monotonic()
        rate = (summary.frames - self._last_frames) / max(now_s - self._last_s, 1e-3)
        self._last_s, self._last_frames = now_s, summary.frames
        of_all = "" if expected is None else f" of {expected:,}"
        dropped = f", {summary.dropped_frames:,} dropped" if summary.dropped_frames else ""
        text = Text(f"{summary.frames:,}{of_all} frames, {summary.novel_frames:,} kept{dropped}, {rate:.1f} frames/s")
        if expected is None:
            return text
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=expected, completed=summary.frames, width=_BAR_COLUMNS), text)
        return row


def progress_of(run: StreamRun | ForeverRun) -> AbstractContextManager[object]:
    """While this lasts, a line on standard error is brought up to date every second, if that is a terminal."""
    console = Console(stderr=True)
    if not console.is_terminal:
        return nullcontext()
    line = _Line(run)
    return Live(console=console, refresh_per_second=_UPDATES_PER_SECOND, transient=True, get_renderable=line.shown)
