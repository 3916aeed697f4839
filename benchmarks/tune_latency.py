"""What curves cost, on a real server that encodes a stream meanwhile. Part of `benchmarks.tune`.

A game is streamed as fast as the server takes it. Once 10,000 frames are held, quiet seconds and seconds that begin
with the question for a curve of nine thresholds take turns: of standard thresholds, where gates have run all along, and
of others, which are tried out while all frames are held. A second lasts until its curve is there. The clocks of the
client tell how many frames were answered in each kind.
"""

import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from benchmarks.atari import played
from benchmarks.figures import Figures
from benchmarks.tune_what_if import THRESHOLDS
from framekeep import Client
from framekeep.local_server import LocalServer

HELD = 10_000
"""Frames that curves are over, at least."""

_SECONDS = 40
"""Of each kind, for standard thresholds; a tenth of that for others, before so many more frames have come."""

_OTHERS = tuple(round(threshold * 1.1, 4) for threshold in THRESHOLDS)
"""Thresholds at which no gate runs."""

_HELD_AT_MOST = 20_480
"""Embeddings that the server holds, so that others can be tried out on all of them."""

_MEMORY = "shown"


def latency_figures(game: str, seed: int) -> list[Figures]:
    """Measure how long curves take and how many frames are answered meanwhile: a row for each kind of threshold."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Path(folder) / "settings.toml"
        settings.write_text(f"[memory]\ncurve_frames = {_HELD_AT_MOST}\n")
        with (
            LocalServer(Path(folder) / "data", options=["--config", str(settings)]) as server,
            Client(server.address) as client,
        ):
            return _measured(client, game, seed)


def _measured(client: Client, game: str, seed: int) -> list[Figures]:
    answered = [0]
    stopping = threading.Event()

    def stream() -> None:
        def count(_verdict: object) -> None:
            answered[0] += 1

        with client.open_stream("camera", memory=_MEMORY, on_verdict=count) as session:
            for picture in played(game, 10**9, seed):
                if stopping.is_set():
                    return
                session.send(picture)

    client.create_memory(_MEMORY)
    streaming = threading.Thread(target=stream)
    streaming.start()
    try:
        while answered[0] < HELD:
            time.sleep(0.1)
        kinds = (("others, tried out", _OTHERS, _SECONDS // 10), ("standard", THRESHOLDS, _SECONDS))
        return [
            _seconds(name, seconds, partial(_ask, client, thresholds), lambda: answered[0])
            for name, thresholds, seconds in kinds
        ]
    finally:
        stopping.set()
        streaming.join()


def _ask(client: Client, thresholds: Sequence[float]) -> int:
    return client.evaluate_thresholds(_MEMORY, thresholds).frame_count


def _seconds(name: str, number: int, ask: Callable[[], int], answered: Callable[[], int]) -> Figures:
    """Let quiet seconds and seconds with a curve take turns."""
    times: list[float] = []
    frames: list[int] = []

    def curve() -> None:
        begun = time.monotonic()
        frames.append(ask())
        times.append(time.monotonic() - begun)
        time.sleep(max(0.0, 1 - times[-1]))

    quiet, busy = np.zeros(2), np.zeros(2)  # frames, seconds
    for _ in range(number):
        quiet += _counted(answered, partial(time.sleep, 1))
        busy += _counted(answered, curve)
    return {
        "thresholds": name,
        "frames": frames[0],
        "curves": len(times),
        "curve_s_median": round(float(np.median(times)), 4),
        "curve_s_max": round(max(times), 4),
        "frames_per_s_quiet": round(float(quiet[0] / quiet[1]), 1),
        "frames_per_s_asked": round(float(busy[0] / busy[1]), 1),
        "slowed": round(1 - float(busy[0] / busy[1] / (quiet[0] / quiet[1])), 4),
    }


def _counted(answered: Callable[[], int], during: Callable[[], object]) -> tuple[float, float]:
    before, begun = answered(), time.monotonic()
    during()
    return answered() - before, time.monotonic() - begun
